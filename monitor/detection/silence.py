"""A network that stops reporting, told by its own cadence: a shutdown looks like that."""

import math
from collections.abc import Sequence

from msgspec import Struct, field

_PERIODS = 4.0  # a site's measurement may be late, a run skipped, the next one slow
_LEAST_S = 1800.0
_KNOWN = 20  # reports before a cadence is believed
_WEEK = 7 * 86400.0
_HABIT = 1.3  # a laptop that sleeps every night is silent again when it sleeps that much longer
_MOST_GAPS = 32


class Gap(Struct, frozen=True):
    """Nothing was heard from `last` until `next`; it was clear at `told`. expected: when the next report was due."""

    last: float
    expected: float
    told: float
    next: float | None


class Arrival(Struct, frozen=True):
    """A network was first heard, or again after a pause. before: when it had been heard last."""

    at: float
    before: float = -math.inf


class Silence(Struct):
    """When a network was heard, and how often it is."""

    last: float | None = None
    period: float = 0.0  # seconds between two measurements of one site, smoothed
    reports: int = 0
    sites: dict[str, float] = field(default_factory=dict)
    gaps: list[tuple[float, float]] = field(default_factory=list)  # of the last week, when and how long
    past: list[Gap] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)  # of late
    probes: dict[str, float] = field(default_factory=dict)  # when each was heard last

    def heard(self, at: float, site: str, probe: str) -> None:
        """A measurement of whatever status."""
        self.probes[probe] = at
        if self.last is None:
            self.arrivals.append(Arrival(at))
        before = self.sites.get(site)
        self.sites[site] = at
        last, self.last = self.last, at
        self.reports += 1
        if last is not None and at - last > _LEAST_S and at - last > 2 * self.period > 0:
            self._paused(last, at)
        elif before is not None and at - before > 0:
            gap = at - before
            self.period = gap if not self.period else self.period + (min(gap, 4 * self.period) - self.period) * 0.05

    def _paused(self, last: float, at: float) -> None:
        gap = self.since(last, at)
        if gap is not None:
            self.past.append(Gap(gap.last, gap.expected, gap.told, at))
        self.gaps = [(when, long) for when, long in self.gaps if at - when < _WEEK][-_MOST_GAPS:]
        self.gaps.append((at, at - last))
        self.sites.clear()  # the pause is no site's cadence
        self.arrivals = [*self.arrivals[-_MOST_GAPS:], Arrival(at, last)]

    def since(self, last: float, now: float) -> Gap | None:
        """The silence that `now` shows, if it is one."""
        if self.reports < _KNOWN or not self.period:
            return None
        usual = sorted(long for when, long in self.gaps if now - when < _WEEK)
        limit = max(_PERIODS * self.period, _LEAST_S, _HABIT * usual[-2] if len(usual) > 1 else 0.0)
        if now - last <= limit:
            return None
        return Gap(last, last + self.period, last + limit, None)

    def all(self, now: float, elsewhere: Sequence[Arrival]) -> list[Gap]:
        """Every silence, the present one included, but those in which the only probe had moved to another network.

        elsewhere: of other networks. One that was heard until this one fell silent was measured beside it, and is no move.
        """
        gap = None if self.last is None else self.since(self.last, now)
        found = [*self.past, gap] if gap is not None else self.past
        return [one for one in found if not (self._alone(one) and any(_moved(one, other) for other in elsewhere))]

    def _alone(self, gap: Gap) -> bool:
        """Whether no more than one probe was heard shortly before."""
        return sum(gap.last - at < _WEEK for at in self.probes.values()) <= 1

    def settle(self, before: float) -> None:
        """Forget silences that were over before that."""
        self.past = [gap for gap in self.past if gap.next is None or gap.next >= before]


def _moved(gap: Gap, other: Arrival) -> bool:
    return other.before < gap.last - _LEAST_S and gap.last < other.at <= gap.told
