"""What the service does beside its loop: measurements, counting, a reload. A mistake in one is told, and ends no other."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from monitor.survival import survived


class Errands:
    """All that is under way."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, object], doing: str) -> "asyncio.Task[None]":
        """Begin one. doing: what it is, for the log."""
        task = asyncio.create_task(_done(work, doing))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def leave(self, *, patience_s: float) -> None:
        """All get so long to end by themselves."""
        left = set(self._under_way)
        if left:
            await asyncio.wait(left, timeout=patience_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _done(work: Coroutine[Any, Any, object], doing: str) -> None:
    await survived(work, doing)
