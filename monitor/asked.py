"""Measurements that somebody outside asks for and waits for (`/probe`): shared, apart from each other, and bounded.

Whoever asks while a site is being measured on a vantage, or has just been, shares that result, whoever wanted it first:
however often somebody asks, a site is not measured more often than the configuration could have it measured.
"""

import asyncio
from collections import Counter

from monitor.models import Measurement
from monitor.standing import APART_S

KEPT_FROM_ONE = 4  # one of so many places is never one client's
RETRY_S = 5.0

Pair = tuple[str, str]  # URL and vantage


class Busy(Exception):
    """Nothing is measured now. Its text is one line; retry_after_s: when it may be."""

    def __init__(self, line: str, retry_after_s: float = RETRY_S) -> None:
        super().__init__(line)
        self.retry_after_s = retry_after_s


class Asked:
    """Who waits for what, what was begun for whom, and what has just been measured."""

    def __init__(self) -> None:
        self._waiting: dict[Pair, asyncio.Future[Measurement | None]] = {}
        self._begun: dict[Pair, str] = {}
        self._fresh: dict[Pair, tuple[float, Measurement]] = {}

    def fresh(self, pair: Pair) -> Measurement | None:
        """What a measurement found that has only just ended."""
        until, measurement = self._fresh.get(pair, (0.0, None))
        return measurement if until > asyncio.get_running_loop().time() else None

    def under_way(self, pair: Pair) -> bool:
        """Was it begun for somebody who asked?"""
        return pair in self._begun

    def begin(self, pair: Pair, client: str, places: int) -> None:
        """A measurement begins because that client asks; Busy where the places are taken. `ended` is told."""
        if len(self._begun) >= places:
            raise Busy("too many measurements that were asked for are under way: ask later")
        if Counter(self._begun.values())[client] >= max(1, places - places // KEPT_FROM_ONE):
            raise Busy("too many measurements that you asked for are under way: ask later")
        self._begun[pair] = client

    async def result(self, pair: Pair) -> Measurement:
        """What the measurement that is under way finds; Busy where it comes to nothing."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(pair, loop.create_future())
        measurement = await asyncio.shield(waiting)  # one who does not wait any longer leaves the others waiting
        if measurement is None:
            raise Busy("the measurement was broken off: ask later")
        return measurement

    def note(self, pair: Pair, measurement: Measurement) -> None:
        """A result, of whatever measurement."""
        now = asyncio.get_running_loop().time()
        self._fresh.pop(pair, None)
        self._fresh[pair] = (now + APART_S, measurement)
        while self._fresh[oldest := next(iter(self._fresh))][0] <= now:
            del self._fresh[oldest]
        self._tell(pair, measurement)

    def ended(self, pair: Pair) -> None:
        """A measurement has ended, with or without a result."""
        self._begun.pop(pair, None)
        self._tell(pair, None)

    def _tell(self, pair: Pair, measurement: Measurement | None) -> None:
        waiting = self._waiting.pop(pair, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(measurement)
