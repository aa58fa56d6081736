"""A mistake of ours costs one piece of work, not the watch."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from monitor.journal import say_bug

T = TypeVar("T")


async def survived(work: Coroutine[Any, Any, T], doing: str) -> T | None:
    """Its result; None, and the traceback in the log, where it raises."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    if task.cancelled():
        return None
    problem = task.exception()
    if problem is None:
        return task.result()
    say_bug(doing, problem)
    return None
