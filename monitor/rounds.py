"""Measuring what is due, and what somebody asks for: each at its place, shared where both want the same."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from monitor.asked import Asked, Busy
from monitor.control.shared import Together
from monitor.errands import Errands
from monitor.metrics.meter import Meter
from monitor.models import Measurement
from monitor.pacing import Pacing
from monitor.probers import Probers
from monitor.schedule import Round, Schedule
from monitor.standing import Seen, Why
from monitor.survival import survived

KEPT_FOR_BURSTS = 8  # one of so many places is for quick re-measurements


class Rounds:
    """ended: how many measurements are over, whatever came of them."""

    def __init__(
        self, schedule: Schedule, probers: Probers, pacing: Pacing, meter: Meter, errands: Errands, *,
        places: int, result: Callable[[Measurement], None], wait: Callable[[], None],
    ) -> None:  # fmt: skip
        """result: is given each that is to be kept; wait: the schedule has changed. places: how many measure at once."""
        self.ended = 0
        self._schedule, self._probers, self._pacing, self._meter = schedule, probers, pacing, meter
        self._errands, self._result, self._wait = errands, result, wait
        self._asked = Asked()
        self.limit(places)

    def limit(self, places: int) -> None:
        """So many measure at once, of which a few places are kept for quick re-measurements."""
        self._most = places
        self._places = asyncio.Semaphore(places)
        self._regular_places = asyncio.Semaphore(max(1, places - places // KEPT_FOR_BURSTS))

    def begin_due(self, now: datetime) -> None:
        """All that the schedule wants by now."""
        for one in self._schedule.due(now):
            self._errands.start(self._measure(one), f"a round of {one.url}")

    async def measured(self, url: str, vantage: str, client: str) -> Measurement:
        """How a site is on a vantage, for somebody who asks: measured now, unless it is being, or just was; Busy."""
        pair = (url, vantage)
        fresh = self._asked.fresh(pair)
        if fresh is not None:
            return fresh
        if not (self._asked.under_way(pair) or self._schedule.is_running(url, vantage)):
            self._begin_asked(url, vantage, client)
        return await self._asked.result(pair)

    def _begin_asked(self, url: str, vantage: str, client: str) -> None:
        now = _now()
        if math.isinf(self._schedule.stretch):  # what is kept for quick re-measurements is not for others to spend
            raise Busy("the budget of bytes a day is spent", self._pacing.left_s(now))
        self._asked.begin((url, vantage), client, self._most)
        why = Why.ASKED if self._schedule.begin_asked(url, vantage, now) else Why.ASIDE
        one = Round(url=url, vantages=(vantage,), why=why)
        self._errands.start(self._measure(one), f"measuring {url}, which somebody asked for")

    async def _measure(self, one: Round) -> None:
        async with Together(len(one.vantages)) as together:
            await asyncio.gather(*(self._one(one, vantage, together) for vantage in one.vantages))

    async def _one(self, one: Round, vantage: str, together: Together) -> None:
        try:
            measuring = self._probers.measure(one.url, vantage, together, self._place(one.why))
            measurement = await survived(measuring, f"measuring {one.url} on {vantage}")
            if measurement is not None:
                self._pacing.note()
                if one.why is not Why.ASIDE:
                    self._note(measurement)
                self._asked.note((one.url, vantage), measurement)
        finally:
            self.ended += 1
            self._schedule.ended(one.url, vantage, _now())
            self._asked.ended((one.url, vantage))
            self._wait()

    @asynccontextmanager
    async def _place(self, why: Why) -> AsyncIterator[None]:
        async with AsyncExitStack() as places:
            with self._meter.waiting():
                if why in (Why.REGULAR, Why.ASKED, Why.ASIDE):
                    await places.enter_async_context(self._regular_places)
                await places.enter_async_context(self._places)
            yield

    def _note(self, measurement: Measurement) -> None:
        """A result: what it means for the schedule, and on to who wants it."""
        verdict = measurement.verdict
        assert verdict is not None
        seen = Seen(status=verdict.status, asn=measurement.network.asn, echo_s=_echo_s(measurement))
        self._schedule.note(measurement.url, measurement.vantage, seen, _now())
        self._meter.note(measurement, self._schedule.period_s(measurement.url))
        self._result(measurement)


def _echo_s(measurement: Measurement) -> float | None:
    """Seconds since a neighbour's trigger that may have spoiled the measurement."""
    verdict = measurement.verdict
    if verdict is None or verdict.rule != "residual_neighbour":
        return None
    return min((neighbour.seconds_ago for neighbour in measurement.conditions.neighbours), default=0.0)


def _now() -> datetime:
    return datetime.now(UTC)
