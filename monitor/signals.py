"""What a signal does, while something runs that must end in order."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@asynccontextmanager
async def handled(handlers: Mapping[signal.Signals, Callable[[], object]]) -> AsyncIterator[None]:
    """Call these, on the loop, when their signal comes."""
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


async def until_signal(work: Coroutine[Any, Any, None]) -> signal.Signals | None:
    """Does the work, or as much of it as there was time for; which signal ended it.

    Only the first one counts: what is then put in order is not interrupted. What this process was told to ignore
    (`nohup`) it ignores.
    """
    task, ended = asyncio.ensure_future(work), list[signal.Signals]()

    def end(number: signal.Signals) -> None:
        if not ended:
            task.cancel()
        ended.append(number)

    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    async with handled({number: partial(end, number) for number in heard}):
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return ended[0] if ended else None
