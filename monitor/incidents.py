"""Events -> incidents: the blocking events that belong together, so that one national block is one incident that grows.

Together belong events of one country that began within the same hours and were going on at the same time. Outages and
silence stay apart: they say that nothing could be seen, not that somebody interfered, and an incident accuses.
"""

import hashlib
from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from monitor.models import Event, Incident, Kind

# A national block reached the ISPs of Venezuela one after another within an afternoon; a tactical one ends after an
# hour, and the next morning's is another.
SAME_HOURS = timedelta(hours=6)
SAME_TIME = timedelta(minutes=30)  # so much later than another's end an event may begin and still belong to it


class _Cluster(Struct):
    country: str | None
    events: list[Event] = field(default_factory=list)


def incidents(events: Iterable[Event], known: Iterable[Incident] = ()) -> list[Incident]:
    """The incidents of all events there are, in order of their start.

    known: as told before; an incident keeps its id while it keeps an event, and its revision grows when it changes. One
    that has lost all its events, to another incident or because they were withdrawn, ends empty; and is itself again when
    they are believed again.
    """
    # A withdrawn event is still in the store; nobody believes in it.
    blocking = {event.id: event for event in events if event.kind is Kind.BLOCKING and event.confidence > 0}
    clusters = _clustered(sorted(blocking.values(), key=lambda event: (event.started, event.id)))
    before = sorted(known, key=lambda incident: (incident.started, incident.id))
    owner = {event.id: incident for incident in before for event in incident.events}
    told: dict[str, Incident] = {}
    fresh: list[list[Event]] = []
    for cluster in clusters:
        same = next((old for event in cluster if (old := owner.get(event.id)) and old.id not in told), None)
        if same is None:
            fresh.append(cluster)
        else:
            told[same.id] = _grown(same, cluster)
    named = {old.id: old for old in before}
    for cluster in fresh:
        id = _id(cluster, told)
        told[id] = _grown(named[id], cluster) if id in named else _new(id, cluster)
    for old in before:
        if old.id not in told:
            told[old.id] = _left(old) if old.events else old
    return sorted(told.values(), key=lambda incident: (incident.started, incident.id))


def _clustered(events: Sequence[Event]) -> list[list[Event]]:
    clusters: list[_Cluster] = []
    for event in events:
        country = event.network.country if event.network else None
        joined = next((cluster for cluster in clusters if _belongs(event, country, cluster)), None)
        if joined is None:
            joined = _Cluster(country)
            clusters.append(joined)
        joined.country = joined.country or country
        joined.events.append(event)
    return [cluster.events for cluster in clusters]


def _belongs(event: Event, country: str | None, cluster: _Cluster) -> bool:
    if country and cluster.country and country != cluster.country:
        return False
    earliest = event.started_range[0] or event.started
    return any(
        earliest - other.started <= SAME_HOURS and (other.ended is None or event.started - other.ended <= SAME_TIME)
        for other in reversed(cluster.events)
    )


def _id(events: Sequence[Event], taken: Container[str]) -> str:
    """By its first event; where an incident of that name went on without it, by its place among such."""
    ordinal = 0
    while (id := _hashed(f"incident\n{events[0].id}" + (f"\n{ordinal}" if ordinal else ""))) in taken:
        ordinal += 1
    return id


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _new(id: str, events: Sequence[Event]) -> Incident:
    ended = _ended(events)
    return Incident(
        id=id,
        revision=1,
        state="started" if ended is None else "ended",
        started=min(event.started for event in events),
        ended=ended,
        events=tuple(events),
    )


def _grown(old: Incident, events: Sequence[Event]) -> Incident:
    if old.events == tuple(events):
        return old
    new = _new(old.id, events)
    return replace(new, revision=old.revision + 1, state="updated" if new.ended is None else "ended")


def _left(old: Incident) -> Incident:
    """None of its events is left."""
    return replace(old, revision=old.revision + 1, state="ended", ended=old.started, events=())


def _ended(events: Sequence[Event]) -> datetime | None:
    ends = [event.ended for event in events if event.ended is not None]
    return max(ends) if len(ends) == len(events) else None
