"""What a webhook is told: every change at once, as it is; what to make of it is its program's."""

from datetime import datetime

from monitor.alerts.terms import Terms, wanted
from monitor.alerts.threads import Changes, Memory, Step, Subject, Told, What, told
from monitor.models import Event

FIELDS = (
    "network",
    "methods",
    "started",
    "ended",
    "confidence",
    "measurements",
    "probes",
)  # of an event, that may change


def decide(terms: Terms, subject: Subject, memory: Memory | None, now: datetime, *, since: datetime) -> Step | None:
    """The next message; None: nothing has changed. Here a pair is an event, by its id.

    since: of what ended before it nothing is told.
    """
    known = memory.pairs if memory else {}
    events = {
        event.id: event
        for event in subject.events
        if event.confidence > 0 and (event.id in known or wanted(terms, event, now))
    }
    seen = {id: event.revision for id, event in events.items()}
    if memory is None and (not events or _is_past(list(events.values()), since)):
        return None
    if memory is not None and memory.seen == seen:
        return None
    pairs = {id: told(event) for id, event in events.items()}
    first, number = (memory.first, memory.number + 1) if memory else (now, 1)
    after = Memory(incidents=subject.incidents, pairs=pairs, first=first, last=now, number=number, seen=seen)
    before = memory.seen if memory else {}
    changes = Changes(
        joined=tuple(id for id in pairs if id not in known),
        left=tuple(id for id, one in known.items() if id not in pairs or (one.ended is None and pairs[id].ended)),
        back=tuple(id for id, one in known.items() if one.ended and id in pairs and pairs[id].ended is None),
        changed={
            id: _differing(known[id], one) for id, one in pairs.items() if id in known and seen[id] != before.get(id)
        },
    )
    return Step(what=_what(memory, after), changes=changes, events=events, memory=after)


def _differing(before: Told, now: Told) -> tuple[str, ...]:
    """Something always: where it is a range or another detail, the revision."""
    return tuple(name for name in FIELDS if getattr(before, name) != getattr(now, name)) or ("revision",)


def _is_past(events: list[Event], since: datetime) -> bool:
    return all(event.ended is not None and event.ended < since for event in events)


def _what(memory: Memory | None, after: Memory) -> What:
    if memory is None:
        return What.OVER if after.over else What.FIRST
    return What.END if after.over else What.UPDATE
