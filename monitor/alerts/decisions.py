"""What people are told, and when: a pure function of what is stored, of what was told before, and of the time.

One incident is one thread. Its beginning and its end are told at once, what happens in between is gathered. What comes
and goes is told to be back, and from then on its end must last: half an hour, then an hour, and so on. The same holds of
what is believed, and then is not, and then is again: its second correction must last as an end must.
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
    """Is the subject what that thread is about, or the same block: still, or come back, whatever incident it is in now?"""
    if subject.id in memory.incidents:
        return True
    returned = {pair_of(event): event for event in subject.events if event.confidence > 0}
    return any(pair in memory.pairs and _is_soon_after(event, memory.pairs[pair]) for pair, event in returned.items())


def _is_soon_after(event: Event, before: Told) -> bool:
    """What was told to be untrue may come back as what it was, with the beginning that it had."""
    if before.ended is None:
        return True
    return (before.denied or event.started >= before.ended) and event.started - before.ended <= SAME_THREAD


class _Now(Struct, frozen=True, kw_only=True):
    """events: of each pair that is told of; earlier: of the same pairs, those before it. lost: pairs whose events went to
    another thread. denied: are not believed.
    """

    events: Mapping[str, Event]
    earlier: tuple[Event, ...]
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
    noted = _noted(subject, found, memory, now)
    changes = _changes(terms, found, noted, now)
    after = _after(found, noted, changes, now)
    what = _what(noted, after, changes)
    waits = what is What.UPDATE or (what is What.WITHDRAWN and noted.over)
    if what is None or (waits and not (at_once or _is_time(terms, noted, changes, now))):
        return Step(what=None, changes=Changes(), events={}, memory=noted) if noted != memory else None
    number, last = memory.number + 1, now
    memory = replace(after, number=number, last=last)
    return Step(what=what, changes=changes, events=found.events, memory=memory, earlier=found.earlier)


def _noted(subject: Subject, found: _Now, memory: Memory, now: datetime) -> Memory:
    """What is to be remembered though nothing is told: what went elsewhere, and since when something is in doubt."""
    incidents = tuple(dict.fromkeys((*memory.incidents, *subject.incidents)))
    pairs = {}
    for pair, before in memory.pairs.items():
        if pair not in found.lost:
            doubted = (before.doubted or now) if pair in found.denied and not before.denied else None
            pairs[pair] = replace(before, doubted=doubted)
    return replace(memory, incidents=incidents, pairs=pairs)


def _first(subject: Subject, found: _Now, now: datetime, since: datetime) -> Step | None:
    going_on = [event for event in found.events.values() if event.ended is None]
    ends = [event.ended for event in found.events.values() if event.ended is not None]
    if not going_on and (not ends or max(ends) < since):
        return None
    pairs = {pair: told(event) for pair, event in found.events.items()}
    memory = Memory(incidents=subject.incidents, pairs=pairs, first=now, last=now)
    what = What.FIRST if going_on else What.OVER
    joined = Changes(joined=tuple(pairs))
    return Step(what=what, changes=joined, events=found.events, memory=memory, earlier=found.earlier)


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
    latest = {pair: newest(events) for pair, events in pairs.items()}
    return _Now(
        events=latest,
        earlier=tuple(event for pair, events in pairs.items() for event in events if event is not latest[pair]),
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
    withdrawn = [
        pair
        for pair, before in memory.pairs.items()
        if before.doubted is not None and now - before.doubted >= _hold(terms, before.returns)
    ]
    return Changes(
        joined=tuple(joined), left=tuple(left), back=tuple(back), withdrawn=tuple(withdrawn), methods=methods,
    )  # fmt: skip


def _hold(terms: Terms, returns: int) -> timedelta:
    """How long an end or a doubt must last before it is told: nothing the first time, longer each time it did not."""
    if not returns:
        return timedelta()
    return min(timedelta(seconds=terms.hold_s * 2.0 ** min(returns - 1, 30)), MOST_HOLD)


def _after(found: _Now, memory: Memory, changes: Changes, now: datetime) -> Memory:
    """What has been told when all changes are."""
    pairs = dict(memory.pairs)
    for pair in (*changes.joined, *changes.left, *changes.methods):
        pairs[pair] = told(found.events[pair], pairs.get(pair))
    for pair in changes.back:
        again = told(found.events[pair], pairs[pair])
        pairs[pair] = replace(again, returns=again.returns + 1)
    for pair in changes.withdrawn:
        pairs[pair] = replace(pairs[pair], ended=now, denied=True, doubted=None)
    return replace(memory, pairs=pairs)


def _what(memory: Memory, after: Memory, changes: Changes) -> What | None:
    if not changes.any():
        return None
    if memory.over:
        return None if after.over and not changes.withdrawn else (What.WITHDRAWN if after.over else What.AGAIN)
    if after.over:
        return What.WITHDRAWN if all(one.denied for one in after.pairs.values()) else What.END
    return What.UPDATE


def _is_time(terms: Terms, memory: Memory, changes: Changes, now: datetime) -> bool:
    """Has enough been gathered? A correction does not wait; those that follow it do."""
    corrected = any(one.denied and one.ended == memory.last for one in memory.pairs.values())
    waited = now - memory.last >= timedelta(seconds=terms.gather_s)
    return waited or (bool(changes.withdrawn) and not corrected)
