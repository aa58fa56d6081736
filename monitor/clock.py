"""The machine's clock is set, or the machine slept: what waits for a time by that clock is to look again.

A Raspberry Pi has no clock of its own. It starts with the time it went off at, and is set when it reaches a time server.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.base import BaseScheduler  # type: ignore[import-untyped]

from monitor.journal import say, spoken

LOOK_S = 5.0
_STEP_S = 2.0  # less is a clock that is drawn slowly to the right time


async def steps(
    wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic, every_s: float = LOOK_S
) -> AsyncIterator[float]:
    """Each time that the wall clock jumped against the steady one: by how many seconds, back where negative."""
    before = wall() - steady()
    while True:
        await asyncio.sleep(every_s)
        now = wall() - steady()
        step, before = now - before, now
        if abs(step) >= _STEP_S:
            yield step


async def follow(timer: BaseScheduler) -> None:
    """Whenever the clock jumps, say so, and let every job look again."""
    async for step_s in steps():
        text = spoken().text("the clock was set {step} s", step=f"{step_s:+.0f}")
        say("clock_set", text, level=logging.WARNING, seconds=round(step_s, 1))
        look_again(timer)


def look_again(timer: BaseScheduler) -> None:
    """Every job runs now; those that repeat go on from there."""
    for job in timer.get_jobs():
        job.modify(next_run_time=datetime.now(UTC))
