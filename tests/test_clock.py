"""A clock that is set: nothing waits for a time that is hours away now."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from monitor.clock import look_again, steps


@pytest.mark.parametrize("set_by_s", [-21_600.0, 3600.0])
def test_a_clock_that_is_set_is_noticed_once(set_by_s: float) -> None:
    async def noticed() -> list[float]:
        began = time.monotonic()
        told: list[float] = []

        def wall() -> float:
            return time.time() + (set_by_s if time.monotonic() - began > 0.1 else 0.0)

        async def follow() -> None:
            async for step in steps(wall, every_s=0.02):
                told.append(step)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.4)
        following.cancel()
        return told

    assert asyncio.run(noticed()) == [pytest.approx(set_by_s, abs=1)]


def test_what_was_to_wait_for_hours_looks_again() -> None:
    async def ran() -> bool:
        timer = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})
        once, often = asyncio.Event(), asyncio.Event()

        async def act(done: asyncio.Event) -> None:
            done.set()

        timer.add_job(act, "date", run_date=datetime.now(UTC) + timedelta(hours=6), args=[once])
        timer.add_job(act, "interval", seconds=60, start_date=datetime.now(UTC) + timedelta(hours=6), args=[often])
        timer.start()
        look_again(timer)
        async with asyncio.timeout(10):
            await asyncio.gather(once.wait(), often.wait())
        [left] = timer.get_jobs()
        timer.shutdown(wait=False)
        return left.next_run_time < datetime.now(UTC) + timedelta(seconds=61)

    assert asyncio.run(ran()), "and goes on at its pace from now on, not from the time it was planned for"
