"""When each site is measured. Pure: sites, results, the time and chance come in, the rounds that are due come out.

A round is one site on all vantages at the same moment, so that one control serves all. Sites are spread evenly over
their period: each has a phase by its rank among all, and a little jitter, so that no clock of ours shows in a site's log.
What was missed, by sleep, a restart or overload, is measured once, spread over a few minutes.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from msgspec import Struct

from monitor.config import ScheduleConfig, SiteConfig
from monitor.standing import ECHO_S, Seen, Standing, Why

CLOSER = 3  # times as often, after a change
CLOSER_LEAST_S = 60.0
CLOSER_FOR_S = 3600.0
MISSED_S = 60.0  # later than this a round was missed, not merely late
CATCH_UP_S = 300.0  # what was missed is made up for within so long, or half a period
MOST_JITTER = 0.25  # of a period
TOWARDS_PHASE = 0.25  # of a period that a round may be moved, to be back at the site's phase
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Round(Struct, frozen=True, kw_only=True):
    """One site to be measured now, on these vantages."""

    url: str
    vantages: tuple[str, ...]
    why: Why


def every_s(site: SiteConfig, settings: ScheduleConfig) -> float:
    """How often a site is measured: as it says itself, else as its tags do, else as all are."""
    of_tags = [settings.tags[tag] for tag in site.tags if tag in settings.tags]
    return site.every_s or min(of_tags, default=settings.every_s)


class _Plan:
    """One site's rhythm. slot: when it is due without jitter."""

    def __init__(self, every: float) -> None:
        self.every_s = every
        self.phase = 0.0
        self.slot = self.due = _EPOCH
        self.closer_until = _EPOCH


class Schedule:
    """Which rounds are due. stretch: how much slower than asked for, for the budget's sake; inf: not at all.

    bursts: whether the budget has room for quick re-measurements.
    """

    def __init__(self, chance: Random) -> None:
        self.stretch = 1.0
        self.bursts = True
        self._chance = chance
        self._settings = ScheduleConfig()
        self._plans: dict[str, _Plan] = {}
        self._vantages: tuple[str, ...] = ()
        self._standings: dict[tuple[str, str], Standing] = {}

    def arrange(
        self,
        sites: Sequence[SiteConfig],
        vantages: Sequence[str],
        settings: ScheduleConfig,
        now: datetime,
        last: Mapping[str, datetime] | None = None,
    ) -> None:
        """Measure these from now on; what is known of a site stays. last: when a site was measured before, by URL."""
        self._settings, self._vantages = settings, tuple(vantages)
        rhythm = {site.url: every_s(site, settings) for site in sites}
        known, self._plans = self._plans, {}
        for url, every in rhythm.items():
            plan = known.get(url)
            self._plans[url] = plan if plan and plan.every_s == every else _Plan(every)
        self._spread()
        for url in rhythm:
            measured = (last or {}).get(url)
            before = known.get(url)
            if before is self._plans[url]:
                continue
            if before is not None:  # another period now: go on from its last turn
                measured = before.slot - timedelta(seconds=before.every_s)
            self._resume(self._plans[url], measured, now)
        self._catch_up([plan for plan in self._plans.values() if plan.due <= now], now)
        pairs = [(url, vantage) for url in self._plans for vantage in self._vantages]
        self._standings = {pair: self._standings.get(pair) or Standing(now) for pair in pairs}

    def remember(self, url: str, vantage: str, seen: Seen) -> None:
        """How a site stood on a vantage before a restart."""
        standing = self._standings.get((url, vantage))
        if standing:
            standing.status, standing.asn = seen.status, seen.asn

    def watches(self, url: str) -> bool:
        """Is it measured regularly?"""
        return url in self._plans

    def is_running(self, url: str, vantage: str) -> bool:
        """Is it being measured on that vantage, or does it wait for its turn?"""
        standing = self._standings.get((url, vantage))
        return standing is not None and standing.running

    def begin_asked(self, url: str, vantage: str, now: datetime) -> bool:
        """Somebody wants it measured now; whether it is watched there at all. `ended` is told, as after `due`."""
        standing = self._standings.get((url, vantage))
        if standing is None:
            return False
        standing.begin(Why.ASKED, now)
        return True

    def due_at(self, url: str) -> datetime:
        """When a site's next round is due; KeyError where it is not watched."""
        return self._plans[url].due

    def next(self) -> datetime | None:
        """When something is due next."""
        regular = [plan.due for plan in self._plans.values()]
        extras = [extra[0] for standing in self._standings.values() if (extra := standing.extra())]
        return min(regular + (extras if self.bursts else []), default=None)

    def due(self, now: datetime) -> list[Round]:
        """The rounds to begin now. Whoever takes them tells `ended` for each site and vantage, whatever comes of it."""
        self._after_a_jump(now)
        missed = [plan for plan in self._plans.values() if plan.due < now - timedelta(seconds=MISSED_S)]
        self._catch_up(missed, now)
        rounds = []
        for url, plan in self._plans.items():
            if plan.due > now:
                continue
            if not math.isinf(self.stretch):
                rounds.append(Round(url=url, vantages=self._free(url, now), why=Why.REGULAR))
                self._begin(rounds[-1], now)
            self._plan_next(plan, now)
        if self.bursts:
            for extra in self._extras(now):
                rounds.append(extra)
                self._begin(extra, now)
        return [one for one in rounds if one.vantages]

    def note(self, url: str, vantage: str, seen: Seen, now: datetime) -> None:
        """A result: it may call for quick re-measurements, or a closer watch."""
        standing = self._standings.get((url, vantage))
        if standing and standing.note(seen, now, bursts=self.bursts):
            plan = self._plans[url]
            plan.closer_until = now + timedelta(seconds=CLOSER_FOR_S)
            soon = now + timedelta(seconds=self._period_s(plan, now))
            plan.slot, plan.due = min(plan.slot, soon), min(plan.due, soon)

    def ended(self, url: str, vantage: str, now: datetime) -> None:
        """A measurement that `due` gave has ended, with or without a result."""
        standing = self._standings.get((url, vantage))
        if standing:
            standing.end(now)

    def measurements_within(self, seconds: float) -> float:
        """How many measurements the regular rounds of so many seconds are, at the pace that is asked for."""
        return sum(seconds / plan.every_s for plan in self._plans.values()) * len(self._vantages)

    def periods(self) -> dict[str, float]:
        """Seconds between two rounds of each site, by URL; as asked for, while the budget lets none begin."""
        return {url: self.period_s(url) for url in self._plans}

    def shortest_s(self) -> float:
        """Seconds between two rounds of the site that is measured most often, as asked for; 0 where none is."""
        return min((plan.every_s for plan in self._plans.values()), default=0.0)

    def period_s(self, url: str) -> float:
        """The same of one site; 0 where it is not watched."""
        plan = self._plans.get(url)
        return plan.every_s * (1.0 if math.isinf(self.stretch) else self.stretch) if plan else 0.0

    def under_way(self) -> set[tuple[str, str]]:
        """What is being measured, or waits for its turn, by URL and vantage."""
        return {pair for pair, standing in self._standings.items() if standing.running}

    def running(self) -> int:
        """How many measurements are under way, or wait for their turn."""
        return sum(standing.running for standing in self._standings.values())

    def _free(self, url: str, now: datetime) -> tuple[str, ...]:
        """The vantages it is not being measured on, nor has just been because somebody asked."""
        standings = ((vantage, self._standings[url, vantage]) for vantage in self._vantages)
        return tuple(vantage for vantage, one in standings if not one.running and one.asked_until <= now)

    def _begin(self, one: Round, now: datetime) -> None:
        for vantage in one.vantages:
            self._standings[one.url, vantage].begin(one.why, now)

    def _extras(self, now: datetime) -> list[Round]:
        found: dict[tuple[str, Why], list[str]] = {}
        for (url, vantage), standing in self._standings.items():
            extra = standing.extra()
            if extra and extra[0] <= now:
                found.setdefault((url, extra[1]), []).append(vantage)
        return [Round(url=url, vantages=tuple(on), why=why) for (url, why), on in found.items()]

    def _spread(self) -> None:
        """Phases: evenly among the sites of one period, in an order that has nothing to do with their names."""
        by_period: dict[float, list[tuple[bytes, _Plan]]] = {}
        for url, plan in self._plans.items():
            rank = hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()
            by_period.setdefault(plan.every_s, []).append((rank, plan))
        for plans in by_period.values():
            for i, (_, plan) in enumerate(sorted(plans, key=lambda pair: pair[0])):
                plan.phase = i / len(plans)

    def _resume(self, plan: _Plan, measured: datetime | None, now: datetime) -> None:
        """Go on from the last measurement; what was never measured is due."""
        if measured is None or measured > now:
            plan.slot = plan.due = now
        else:
            self._set(plan, self._towards_phase(plan, measured + timedelta(seconds=plan.every_s)), now)

    def _catch_up(self, plans: list[_Plan], now: datetime) -> None:
        """What was missed, the longest overdue first, spread over some minutes."""
        for i, plan in enumerate(sorted(plans, key=lambda plan: plan.due)):
            within_s = min(CATCH_UP_S, plan.every_s / 2)
            plan.slot = plan.due = now + timedelta(seconds=within_s * i / len(plans))

    def _plan_next(self, plan: _Plan, now: datetime) -> None:
        period_s = self._period_s(plan, now)
        if math.isinf(period_s):
            # Not today. The day's turn finds it too far ahead, and brings it back.
            plan.slot = plan.due = now + timedelta(days=2)
            return
        slot = max(plan.slot, now - timedelta(seconds=period_s / 2)) + timedelta(seconds=period_s)
        self._set(plan, self._towards_phase(plan, slot) if period_s == plan.every_s else slot, now)

    def _towards_phase(self, plan: _Plan, slot: datetime) -> datetime:
        """The slot, moved to the site's phase, or as far towards it as one may go at a time."""
        off_s = (self._grid(plan, slot - timedelta(seconds=plan.every_s / 2)) - slot).total_seconds()
        most_s = TOWARDS_PHASE * plan.every_s
        return slot + timedelta(seconds=max(-most_s, min(most_s, off_s)))

    def _set(self, plan: _Plan, slot: datetime, now: datetime) -> None:
        jitter_s = min(self._settings.jitter_s, MOST_JITTER * self._period_s(plan, now), MOST_JITTER * plan.every_s)
        plan.slot = slot
        plan.due = slot + timedelta(seconds=self._chance.uniform(-jitter_s, jitter_s))

    def _period_s(self, plan: _Plan, now: datetime) -> float:
        closer_s = max(CLOSER_LEAST_S, plan.every_s / CLOSER)
        asked_s = min(plan.every_s, closer_s) if now < plan.closer_until else plan.every_s
        return asked_s * self.stretch

    def _grid(self, plan: _Plan, after: datetime) -> datetime:
        """The first moment at the site's phase from `after` on."""
        turns = (after - _EPOCH).total_seconds() / plan.every_s - plan.phase
        return _EPOCH + timedelta(seconds=(math.ceil(turns) + plan.phase) * plan.every_s)

    def _after_a_jump(self, now: datetime) -> None:
        """A clock that was set back, or a budget that is fresh, leaves rounds too far ahead: they come back."""
        for plan in self._plans.values():
            plan.closer_until = min(plan.closer_until, now + timedelta(seconds=CLOSER_FOR_S))
            period_s = self._period_s(plan, now)
            if not math.isinf(period_s) and plan.due > now + timedelta(seconds=2 * period_s):
                self._set(plan, self._grid(plan, now), now)
        for standing in self._standings.values():
            standing.forget_the_future(now, 2 * ECHO_S + 10)
