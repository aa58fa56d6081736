"""Which measurements are behind an event, and what they show together."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from monitor import timeline
from monitor.backing import counted, cut, opens_since
from monitor.explain import explain
from monitor.models import Control, Event, Incident, Measurement, Point, Reason, Status, Verdict
from monitor.publish.behind import behind, points_of
from monitor.store import Store, Wanted

_AT_ONCE = 200
FIRST_SHOWN, LAST_SHOWN = 30, 10  # measurements in the report's table
_MOST_REASONS = 1000  # different ones, while counting


class Behind:
    """The measurements behind one event. told: the event as it was told; event: as these measurements show it."""

    def __init__(self, store: Store, told: Event, event: Event, seen: Sequence[Point]) -> None:
        self.told = told
        points = behind(seen, event)
        self.event = counted(event, points)
        self.opens = opens_since(self.event, seen)
        self._store = store
        self._ids = [point.id for point in points]
        self.last = max((point.started for point in seen), default=None)

    def around(self, until: datetime) -> list[Point]:
        """The verdicts from some time before to some time after, for a chart that ends there."""
        margin = timeline.span_of(self.event, until)
        found = points_of(self._store, self.event, margin.since - timedelta(days=1))
        return [point for point in found if point.started <= until]

    def __iter__(self) -> Iterator[Measurement]:
        """In order of (started, id), a few at a time."""
        for start in range(0, len(self._ids), _AT_ONCE):
            yield from self._store.measurements(Wanted(ids=tuple(self._ids[start : start + _AT_ONCE])))


class Gathered(Struct, frozen=True, kw_only=True):
    """about: as what is behind it shows it. until: where it was cut."""

    about: Event | Incident
    behind: Sequence[Behind]
    until: datetime | None


def gathered(store: Store, about: Event | Incident, until: datetime | None) -> Gathered | None:
    """All that is behind an event, or an incident, by measurements that began before `until`; None where nothing of it
    was known then."""
    told = (about,) if isinstance(about, Event) else about.events
    behind = [found for event in told if (found := _behind(store, event, until)) is not None]
    return Gathered(about=_as_gathered(about, behind), behind=behind, until=until) if behind else None


def _behind(store: Store, told: Event, until: datetime | None) -> Behind | None:
    seen = list(points_of(store, told, told.started_range[0] or told.started))
    if until is None:
        return Behind(store, told, told, seen)
    seen = [point for point in seen if point.started < until]
    event = cut(told, until, seen)
    return None if event is None else Behind(store, told, event, seen)


def _as_gathered(about: Event | Incident, found: Sequence[Behind]) -> Event | Incident:
    events = tuple(one.event for one in found)
    if isinstance(about, Event):
        return events[0]
    over = all(event.ended is not None for event in events)
    state = about.state if over or about.ended is None else "updated"
    return replace(about, events=events, ended=about.ended if over else None, state=state)


class Asked(Struct):
    """A control, and how often it answered."""

    kind: str
    asn: int | None
    country: str | None
    times: int = 0
    answered: int = 0


class Shown(Struct, frozen=True, kw_only=True):
    """A row of the report's table."""

    started: datetime
    where: str
    probe: str
    verdict: Verdict


class Findings:
    """What the measurements show together, as they go by one after another."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.rules_versions: Counter[int] = Counter()
        self.software: Counter[str] = Counter()
        self.withheld = 0
        self.probes: set[str] = set()
        self.controls: dict[str, Asked] = {}
        self.first: list[Shown] = []
        self.last: deque[Shown] = deque(maxlen=LAST_SHOWN)
        self.same = self.different = 0
        self.as_of: datetime | None = None
        self._reasons: Counter[str] = Counter()
        self._worded: dict[str, Reason] = {}

    @property
    def published(self) -> int:
        """How many measurements there are in full."""
        return self.statuses.total()

    def add(self, one: Measurement, again: Verdict) -> bool:
        """A measurement, and how this version judges it; whether that is as it was judged then."""
        assert one.verdict is not None
        self.statuses[one.verdict.status] += 1
        self.rules_versions[one.verdict.rules_version] += 1
        self.software[one.software] += 1
        self.probes.add(one.probe)
        for control in one.controls:
            self._control(control)
        if one.verdict.status is Status.BLOCKED:
            self._count(one.verdict.reasons[1:] or one.verdict.reasons)
        self._show(one, one.verdict)
        same = is_same(one.verdict, again)
        self.same, self.different = self.same + same, self.different + (not same)
        return same

    def withhold(self, started: datetime) -> None:
        """A measurement of which nothing but that is published."""
        self.withheld += 1
        self._reach(started)

    def reasons(self, most: int) -> list[tuple[Reason, int]]:
        """Why the site was found blocked: the most frequent reasons."""
        ranked = sorted(self._reasons.items(), key=lambda one: (-one[1], one[0]))
        return [(self._worded[text], count) for text, count in ranked[:most]]

    @property
    def hidden(self) -> int:
        """How many measurements the report's table leaves out."""
        return max(0, self.published - len(self.first) - len(self.last))

    def _reach(self, started: datetime) -> None:
        self.as_of = max(self.as_of or started, started)

    def _control(self, control: Control) -> None:
        known = self.controls.setdefault(control.id, Asked(control.kind, control.asn, control.country))
        known.times += 1
        known.answered += control.failure is None

    def _count(self, reasons: Sequence[Reason]) -> None:
        for reason in reasons:
            text = explain(reason)
            if text in self._worded or len(self._worded) < _MOST_REASONS:
                self._worded.setdefault(text, reason)
                self._reasons[text] += 1

    def _show(self, one: Measurement, verdict: Verdict) -> None:
        self._reach(one.started)
        shown = Shown(started=one.started, where=one.site, probe=one.probe, verdict=verdict)
        self.first.append(shown) if len(self.first) < FIRST_SHOWN else self.last.append(shown)


def is_same(then: Verdict, now: Verdict) -> bool:
    """Do two verdicts conclude the same, for the same reason?"""
    return (then.status, then.methods, then.rule) == (now.status, now.methods, now.rule)
