"""What a signal does, while the service runs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager


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
