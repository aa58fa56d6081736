"""How fast the service measures: the budget of bytes a day, what is used of it, and what is said of it."""

import math
from datetime import UTC, datetime

import msgspec

from monitor.budget import Budget, Pace, Spent, amount, pace_text
from monitor.journal import say, spoken
from monitor.schedule import Schedule
from monitor.store import Store

_SPENT = "bytes today"


class Pacing:
    """paused: is all of today's budget spent?"""

    def __init__(self, schedule: Schedule, spent: Spent, limit: int | None) -> None:
        self.paused = False
        self._schedule, self._budget, self._told = schedule, Budget(limit, spent), Pace()
        self._traffic = self._measured = 0

    @property
    def used(self) -> int:
        """Bytes so far today."""
        return self._budget.used

    @property
    def limit(self) -> int | None:
        """Bytes a UTC day."""
        return self._budget.limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._budget.limit = limit

    def left_s(self, now: datetime) -> float:
        """Seconds until there is a new budget."""
        return self._budget.left_s(now)

    def note(self) -> None:
        """One more measurement was made."""
        self._measured += 1

    def keep(self, traffic: int, now: datetime) -> None:
        """Count what measuring took, and go as slowly as the budget wants. traffic: bytes since the service began."""
        self._budget.spend(traffic - self._traffic, now, measurements=self._measured)
        self._traffic, self._measured = traffic, 0
        wanted = self._schedule.measurements_within(self._budget.left_s(now))
        self._schedule.stretch = self._budget.stretch(wanted)
        self._schedule.bursts = not self._budget.exhausted()
        self._tell()

    def remember(self, store: Store) -> None:
        """Over a restart."""
        store.remember(_SPENT, msgspec.json.encode(self._budget.spent()))

    def _tell(self) -> None:
        exhausted = self._budget.exhausted()
        if exhausted and not self.paused:
            limit = amount(self._budget.limit or 0)
            text = spoken().text(
                "the budget of {limit} a day is spent: measuring pauses until midnight UTC", limit=limit
            )
            say("paused", text)
        self.paused = exhausted
        every_s, stretch = self._schedule.shortest_s(), self._schedule.stretch
        if self._told.changed(stretch):
            every = None if math.isinf(stretch) else round(every_s * stretch)
            say("pace", pace_text(self._budget, stretch, every_s, spoken()), every=every)


def recalled(store: Store) -> Spent:
    """The budget as remembered; a fresh one where nothing, or nonsense, is."""
    raw = store.recall(_SPENT)
    try:
        return msgspec.json.decode(raw or b"", type=Spent)
    except msgspec.DecodeError:
        return Spent(day=datetime.now(UTC).date(), used=0)
