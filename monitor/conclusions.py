"""Events and incidents, kept up as verdicts come in."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from monitor.config import DetectConfig
from monitor.events import Minimum
from monitor.incidents import incidents
from monitor.models import Event, Incident, Measurement, Point
from monitor.store import Store, Wanted
from monitor.watch import Watch

# What is read at the start: enough to know each line's noise, and what a Raspberry Pi reads within a minute.
HISTORY = timedelta(days=60)
MOST_HISTORY = 500_000


class Conclusions:
    """What has been concluded from all that was measured."""

    def __init__(self, settings: DetectConfig, events: Iterable[Event], known: Iterable[Incident]) -> None:
        stored = list(events)
        self._watch = Watch(_minimum(settings), stored)
        self._revisions = {event.id: event.revision for event in stored}
        self._incidents = {incident.id: incident for incident in known}

    @classmethod
    def from_store(cls, settings: DetectConfig, store: Store) -> "tuple[Conclusions, list[Event]]":
        """From what is stored; and the events of it that the store does not have yet."""
        conclusions = cls(settings, store.events(), store.incidents())
        return conclusions, conclusions.add(store.points(since=_since(store, datetime.now(UTC))))

    def add(self, points: Iterable[Point]) -> list[Event]:
        """Verdicts: the events that they begin or change."""
        return self._news(self._watch.add(points, datetime.now(UTC)))

    def tick(self, now: datetime) -> list[Event]:
        """The events that time alone settles."""
        return self._news(self._watch.tick(now))

    def ask(self, settings: DetectConfig) -> None:
        """Another minimum from now on."""
        self._watch.ask(_minimum(settings))

    def events(self) -> list[Event]:
        """All of them."""
        return self._watch.events()

    def incidents(self) -> list[Incident]:
        """Those that have changed since this was asked last."""
        found = {incident.id: incident for incident in incidents(self.events(), self._incidents.values())}
        changed = [incident for incident in found.values() if self._incidents.get(incident.id) != incident]
        self._incidents |= found
        return changed

    def active(self) -> list[Event]:
        """Those that go on, and are believed in."""
        return [event for event in self.events() if event.ended is None and event.confidence > 0]

    def incident_ids(self) -> dict[str, str]:
        """The incident of each event that belongs to one that goes on."""
        going_on = [incident for incident in self._incidents.values() if incident.ended is None]
        return {event.id: incident.id for incident in going_on for event in incident.events}

    def _news(self, changed: Sequence[Event]) -> list[Event]:
        news = [event for event in changed if self._revisions.get(event.id) != event.revision]
        self._revisions |= {event.id: event.revision for event in news}
        return news


def _minimum(settings: DetectConfig) -> Minimum:
    return Minimum(measurements=settings.measurements, probes=settings.probes)


def _since(store: Store, now: datetime) -> datetime:
    """From when on the stored verdicts are read."""
    days: Counter[datetime] = Counter()
    for rollup in store.rollups(Wanted(since=now - HISTORY), every="day"):
        days[rollup.started] += rollup.count
    total = 0
    for day in sorted(days, reverse=True):
        total += days[day]
        if total > MOST_HISTORY:
            return day
    return now - HISTORY


def point_of(measurement: Measurement) -> Point | None:
    """What detection needs of a measurement; None where it was not judged."""
    verdict = measurement.verdict
    if verdict is None:
        return None
    return Point(
        id=measurement.id, site=measurement.site, network=measurement.network, probe=measurement.probe,
        started=measurement.started, status=verdict.status, methods=verdict.methods, confidence=verdict.confidence,
        confirmed=verdict.confirmed, rule=verdict.rule, vantage=measurement.vantage, url=measurement.url,
    )  # fmt: skip
