"""The bytes a day that measuring may take. Pure: the pace is stretched evenly over what is left of the UTC day.

A share is kept for quick re-measurements: when regular rounds have used theirs up, a block can still be confirmed.
"""

import math
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from monitor.language import ENGLISH, Words
from monitor.moments import length

BURST_SHARE = 0.2
FIRST_GUESS = 250_000  # bytes of one measurement, until some have been made: a page, its retries, the control's answer
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
LEARNING = 0.05  # weight of each new measurement in their average


class Spent(Struct, frozen=True, kw_only=True):
    """What is remembered over a restart. each: bytes of one measurement, on average."""

    day: date
    used: int
    each: float = FIRST_GUESS


class Budget:
    """limit: bytes a UTC day, or None. used: so far today."""

    def __init__(self, limit: int | None, spent: Spent) -> None:
        self.limit = limit
        self._day, self._used, self._each = spent.day, spent.used, spent.each

    @property
    def used(self) -> int:
        """Bytes so far today."""
        return self._used

    def spent(self) -> Spent:
        """What to remember."""
        return Spent(day=self._day, used=self._used, each=self._each)

    def spend(self, used: int, now: datetime, *, measurements: int) -> None:
        """So many bytes were sent and received, by so many measurements."""
        today = now.astimezone(UTC).date()
        if today != self._day:
            self._day, self._used = today, 0
        self._used += max(0, used)
        if measurements and used > 0:
            weight = 1 - (1 - LEARNING) ** measurements
            self._each += weight * (used / measurements - self._each)

    def exhausted(self) -> bool:
        """Is nothing left of today's?"""
        return self.limit is not None and self._used >= self.limit

    def left_s(self, now: datetime) -> float:
        """Seconds until the UTC day turns."""
        midnight = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
        return (midnight - now).total_seconds()

    def stretch(self, wanted: float) -> float:
        """How much slower than asked for to go, when `wanted` measurements are due before the day turns; inf: stop."""
        if self.limit is None:
            return 1.0
        left = self.limit * (1 - BURST_SHARE) - self._used
        return math.inf if left <= 0 else max(1.0, wanted * self._each / left)


class Pace:
    """Notices when sites are measured twice, or half, as often as was last told, or as often as configured again."""

    def __init__(self) -> None:
        self._told = 1.0

    def changed(self, stretch: float) -> bool:
        """stretch: as `Budget.stretch`. True once per change."""
        told = self._told
        if stretch == told or not (stretch == 1 or stretch >= 2 * told or 2 * stretch <= told):
            return False
        self._told = stretch
        return True


def pace_text(budget: Budget, stretch: float, every_s: float, w: Words = ENGLISH) -> str:
    """How often sites are measured, and why. every_s: as configured, of the most frequent."""
    if budget.limit is None or stretch == 1:
        return w.text("sites are measured as often as configured")
    limit, used = amount(budget.limit), amount(budget.used)
    if math.isinf(stretch):
        return w.text(
            "the budget of {limit} a day has nothing left for regular measurements, {used} are used: "
            "until midnight UTC only what changed is measured again",
            limit=limit, used=used,
        )  # fmt: skip
    now, asked = length(timedelta(seconds=every_s * stretch)), length(timedelta(seconds=every_s))
    return w.text(
        "sites are measured every {now} instead of every {asked}, for a budget of {limit} a day; {used} are used",
        now=now, asked=asked, limit=limit, used=used,
    )  # fmt: skip


def amount(count: int) -> str:
    """Bytes as people read them: `250 KB`, `1.2 MB`, `40 MB`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if count >= size), (1, "bytes"))
    value = count / size
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + f" {unit}"
