"""What people are told, and when: a pure function of what is stored, of what was told before, and of the time.

One incident is one thread. Its beginning and its end are told at once, what happens in between is gathered. What comes
and goes is told to be back, and from then on its end must last: half an hour, then an hour, and so on.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from monitor.alerts.terms import Terms, wanted
from monitor.alerts.threads import Changes, Memory, Step, Subject, Told, What, newest, pair_of, told
from monitor.models import Event

# A block that is back so soon after its end goes on in the thread that told the end; the same hours as an incident's.
SAME_THREAD = timedelta(hours=6)
MOST_HOLD = timedelta(hours=6)


def continues(memory: Memory, subject: Subject) -> bool:
    """Is the subject what that thread is about, or the same block come back?"""
    if subject.id in memory.incidents:
        return True
    returned = {pair_of(event): event for event in subject.events if event.confidence > 0}
    return any(pair in memory.pairs and _is_soon_after(event, memory.pairs[pair]) for pair, event in returned.items())


def _is_soon_after(event: Event, before: Told) -> bool:
    return before.ended is not None and timedelta() <= event.started - before.ended <= SAME_THREAD


class _Now(Struct, frozen=True, kw_only=True):
    """events: of each pair that is told of. lost: pairs whose events went to another thread. denied: are not believed."""

    events: Mapping[str, Event]
    lost: tuple[str, ...]
    denied: tuple[str, ...]


def decide(
    terms: Terms, subject: Subject, memory: Memory | None, now: datetime, *, since: datetime, at_once: bool = False
) -> Step | None:
    """The next message; None: there is nothing to tell, or not yet.

    since: of what ended before it nothing is told. at_once: without waiting for more updates.
    """
    found = _seen(terms, subject, memory, now)
    if memory is None:
        return _first(subject, found, now, since)
    changes = _changes(terms, found, memory, now)
    after = _after(subject, found, memory, changes, now)
    what = _what(memory, after, changes)
    if what is What.UPDATE and not (at_once or changes.withdrawn or _waited(terms, memory, now)):
        return None
    if what is None:
        return Step(what=None, changes=changes, events={}, memory=after) if found.lost else None
    number, last = memory.number + 1, now
    return Step(what=what, changes=changes, events=found.events, memory=replace(after, number=number, last=last))


def _first(subject: Subject, found: _Now, now: datetime, since: datetime) -> Step | None:
    going_on = [event for event in found.events.values() if event.ended is None]
    ends = [event.ended for event in found.events.values() if event.ended is not None]
    if not going_on and (not ends or max(ends) < since):
        return None
    pairs = {pair: told(event) for pair, event in found.events.items()}
    memory = Memory(incidents=subject.incidents, pairs=pairs, first=now, last=now)
    what = What.FIRST if going_on else What.OVER
    return Step(what=what, changes=Changes(joined=tuple(pairs)), events=found.events, memory=memory)


def _seen(terms: Terms, subject: Subject, memory: Memory | None, now: datetime) -> _Now:
    pairs: dict[str, list[Event]] = {}
    known = memory.pairs if memory else {}
    for event in subject.events:
        pair = pair_of(event)
        before = known.get(pair)
        if event.confidence > 0 and (wanted(terms, event, now) or (before is not None and before.event == event.id)):
            pairs.setdefault(pair, []).append(event)
    missing = [pair for pair in known if pair not in pairs]
    lost = tuple(pair for pair in missing if _is_believed(subject, known[pair].event))
    return _Now(
        events={pair: newest(events) for pair, events in pairs.items()},
        lost=lost,
        denied=tuple(pair for pair in missing if pair not in lost),
    )


def _is_believed(subject: Subject, id: str) -> bool:
    """Is an event that the thread has lost still believed in, somewhere else?"""
    return id in subject.gone and subject.gone[id].confidence > 0


def _changes(terms: Terms, found: _Now, memory: Memory, now: datetime) -> Changes:
    joined, left, back = [], [], []
    methods: dict[str, tuple[str, ...]] = {}
    for pair, event in found.events.items():
        before = memory.pairs.get(pair)
        if before is None:
            joined.append(pair)
        elif before.ended is not None:
            if event.ended is None:
                back.append(pair)
        elif event.ended is not None:
            if now - event.ended >= _hold(terms, before.returns):
                left.append(pair)
        elif more := tuple(method for method in event.methods if method not in before.methods):
            methods[pair] = more
    return Changes(
        joined=tuple(joined), left=tuple(left), back=tuple(back), withdrawn=found.denied, methods=methods,
    )  # fmt: skip


def _hold(terms: Terms, returns: int) -> timedelta:
    """How long an end must last before it is told: nothing the first time, longer each time it did not."""
    if not returns:
        return timedelta()
    return min(timedelta(seconds=terms.hold_s * 2.0 ** min(returns - 1, 30)), MOST_HOLD)


def _after(subject: Subject, found: _Now, memory: Memory, changes: Changes, now: datetime) -> Memory:
    """What has been told when all changes are."""
    gone = {*found.lost, *found.denied}
    pairs = {pair: before for pair, before in memory.pairs.items() if pair not in gone}
    for pair in (*changes.joined, *changes.left, *changes.methods):
        pairs[pair] = told(found.events[pair], pairs.get(pair))
    for pair in changes.back:
        again = told(found.events[pair], pairs[pair])
        pairs[pair] = replace(again, returns=again.returns + 1)
    incidents = tuple(dict.fromkeys((*memory.incidents, *subject.incidents)))
    return replace(memory, incidents=incidents, pairs=pairs)


def _what(memory: Memory, after: Memory, changes: Changes) -> What | None:
    if not changes.any():
        return None
    if memory.over:
        return None if after.over and not changes.withdrawn else (What.WITHDRAWN if after.over else What.AGAIN)
    if after.over:
        return What.WITHDRAWN if not after.pairs else What.END
    return What.UPDATE


def _waited(terms: Terms, memory: Memory, now: datetime) -> bool:
    return now - memory.last >= timedelta(seconds=terms.gather_s)
