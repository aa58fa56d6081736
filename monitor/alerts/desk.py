"""Decides for every subscription, in the store's own transaction: what is told, and that it was."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from monitor import newest
from monitor.alerts import decisions, hours, letters, machines, threads
from monitor.alerts.letters import Letter, Part
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.terms import Terms
from monitor.alerts.threads import Memory, Step, Subject, What
from monitor.config import SiteConfig
from monitor.models import Event, Incident, Kind
from monitor.newest import Since
from monitor.store import Delivery, Ground, Sending, Thread

# What ended earlier is told no more: a weekly digest, and a day for whatever kept it.
WINDOW = timedelta(days=8)
# More threads than this that begin at the same moment are one message.
MOST_AT_ONCE = 3
# What was announced so lately is told at once, and nothing newer is known of it.
YOUNG = timedelta(minutes=5)


class _Told(Struct, kw_only=True):
    """What a subscription was told. before: of threads with messages that wait, as it was before them; held: their ids."""

    memories: dict[str, Memory]
    before: dict[str, Memory | None]
    held: dict[str, list[str]]


class Desk:
    """For these subscriptions. sites: that are watched, with their tags."""

    def __init__(self, subscriptions: Sequence[Subscription], sites: Iterable[SiteConfig]) -> None:
        watched = list(sites)
        self._terms = [(one, one.terms(watched)) for one in subscriptions]

    def decide(self, ground: Ground) -> None:
        """On what is stored now."""
        self.decide_at(ground, datetime.now(UTC))

    def decide_at(self, ground: Ground, now: datetime) -> None:
        """As of a moment."""
        if not self._terms:
            return
        incidents = ground.incidents(now - WINDOW)
        others = ground.events(now - WINDOW) if any(_wants_others(terms) for _, terms in self._terms) else []
        opened = _Opened(ground, now)
        for subscription, terms in self._terms:
            _Deciding(ground, subscription, terms, now, opened).go(incidents, others)


def _wants_others(terms: Terms) -> bool:
    return set(terms.kinds) != {Kind.BLOCKING}


class _Opened:
    """What the newest results no longer show, read once for all who are told."""

    def __init__(self, ground: Ground, now: datetime) -> None:
        self._ground, self._now = ground, now
        self._known: dict[str, Since | None] = {}

    def among(self, step: Step) -> dict[str, Since]:
        """Of what begins for somebody, who may hear of it late; its end is told to the others when it is sure."""
        if step.what not in (What.FIRST, What.AGAIN):
            return {}
        asked = [event for event in step.events.values() if self._now - event.detected >= YOUNG]
        unknown = [event for event in asked if event.id not in self._known]
        found = newest.opened(self._ground, unknown)
        self._known |= {event.id: found.get(event.id) for event in unknown}
        return {event.id: since for event in asked if (since := self._known[event.id]) is not None}


class _Deciding:
    """One subscription's turn."""

    def __init__(
        self, ground: Ground, subscription: Subscription, terms: Terms, now: datetime, opened: _Opened
    ) -> None:
        self._ground, self._subscription, self._terms, self._now = ground, subscription, terms, now
        self._opened = opened
        self._who = ground.subscriber(subscription.key, now)

    def go(self, incidents: Sequence[Incident], others: Sequence[Event]) -> None:
        """Tell what is to be told now."""
        settings, zone = self._subscription.settings, self._subscription.zone
        hour = hours.latest(settings.digest, zone, self._now)
        if hours.is_quiet(settings.quiet, zone, self._now) or (hour is not None and hour <= self._who.digested):
            return
        told = self._recalled()
        subjects = _subjects(incidents, others, self._terms)
        by_thread: dict[str, list[Subject]] = {}
        for subject in [*subjects, *self._left_over(subjects, told)]:
            by_thread.setdefault(self._thread_of(subject, told), []).append(subject)
        steps = {thread: self._next(thread, _together(found), told) for thread, found in by_thread.items()}
        self._write([(thread, step) for thread, step in steps.items() if step], told, digest=hour is not None)
        if hour is not None:
            self._ground.digested(self._subscription.key, hour)

    def _recalled(self) -> _Told:
        stored = self._ground.threads(self._subscription.key, self._now - WINDOW)
        told = _Told(memories={one.id: threads.decoded(one.data) for one in stored}, before={}, held={})
        if self._subscription.hears_all:  # in whatever order they arrive
            return told
        for delivery in self._ground.held_up(self._subscription.key, self._now):
            told.held.setdefault(delivery.thread, []).append(delivery.id)
            if delivery.thread not in told.before:
                told.before[delivery.thread] = letters.decoded(delivery.data).parts[0].before
        return told

    def _left_over(self, subjects: Sequence[Subject], told: _Told) -> list[Subject]:
        """What ended so long ago that it is looked at no more, and was never told to be over."""
        known = {subject.id for subject in subjects}
        ids = {
            memory.incidents[-1] for memory in told.memories.values() if memory.incidents and not memory.over
        } - known
        incidents = self._ground.incidents_named(sorted(ids)).values()
        return _subjects(list(incidents), list(self._ground.events_named(sorted(ids)).values()), self._terms)

    def _next(self, thread: str, subject: Subject, told: _Told) -> Step | None:
        memory = told.memories.get(thread)
        if memory is not None and memory.number == 0:
            memory = None  # nothing of it was ever sent
        whole = self._whole(subject, memory)
        step = self._step(whole, memory)
        if step is None:
            return None
        if thread in told.held:  # these are merged: all that they would have told is told now
            before = told.before[thread]
            step = self._step(whole, before, at_once=True) or _nothing(before, self._now)
        told.before.setdefault(thread, memory)
        return replace(step, revision=subject.revision)

    def _thread_of(self, subject: Subject, told: _Told) -> str:
        """Where it is told: its own thread, or one that it goes on in."""
        if self._subscription.hears_all:
            return subject.id
        own = [id for id, memory in told.memories.items() if subject.id in memory.incidents]
        returned = [id for id, memory in told.memories.items() if decisions.continues(memory, subject)]
        return next(iter([*own, *reversed(returned)]), subject.id)

    def _whole(self, subject: Subject, memory: Memory | None) -> Subject:
        """With what the thread told of before: other incidents, and events that have left it."""
        if memory is None:
            return subject
        others = [id for id in memory.incidents if id not in subject.incidents]
        earlier = self._ground.incidents_named(others).values()
        events = self._ground.events_named(others)  # an outage is its own
        events |= {event.id: event for incident in earlier for event in incident.events}
        events |= {event.id: event for event in subject.events}
        lost = {told.event for told in memory.pairs.values()} - set(events)
        ids = tuple(dict.fromkeys((*memory.incidents, *subject.incidents)))
        gone = self._ground.events_named(sorted(lost))
        return replace(subject, incidents=ids, events=tuple(events.values()), gone=gone)

    def _step(self, subject: Subject, memory: Memory | None, *, at_once: bool = False) -> Step | None:
        since = self._who.since
        if self._subscription.hears_all:
            return machines.decide(self._terms, subject, memory, self._now, since=since)
        at_once = at_once or bool(self._subscription.settings.digest)
        return decisions.decide(self._terms, subject, memory, self._now, since=since, at_once=at_once)

    def _write(self, steps: Sequence[tuple[str, Step]], told: _Told, *, digest: bool) -> None:
        parts = []
        for thread, step in steps:
            self._ground.merge(told.held.get(thread, ()), self._now)
            self._keep(thread, step.memory)
            if step.what is not None:
                parts.append(letters.part_of(thread, step, told.before.get(thread), self._opened.among(step)))
        for several in _sorted(parts, together=digest, apart=self._subscription.hears_apart):
            self._add(letters.letter(self._subscription.key, several, self._now))

    def _keep(self, thread: str, memory: Memory) -> None:
        data = threads.encoded(memory)
        key = self._subscription.key
        self._ground.keep(Thread(subscription=key, id=thread, over=memory.over, told=self._now, data=data))

    def _add(self, letter: Letter) -> None:
        now = self._now
        self._ground.add(Delivery(
            id=letter.id, subscription=self._subscription.key, channel=self._subscription.channel, thread=letter.thread,
            what=letter.what.value, state=Sending.WAITING, created=now, trying=now, next=now, data=letters.encoded(letter),
        ))  # fmt: skip


def _together(subjects: Sequence[Subject]) -> Subject:
    """What one thread is about: an incident that lost what another has now would be told as over else."""
    incidents = dict.fromkeys(id for one in subjects for id in one.incidents)
    events = {event.id: event for one in subjects for event in one.events}
    return replace(subjects[-1], incidents=tuple(incidents), events=tuple(events.values()))


def _nothing(before: Memory | None, now: datetime) -> Step:
    """What was to be told is not so any more, and was never sent."""
    memory = before or Memory(incidents=(), pairs={}, first=now, last=now, number=0)
    return Step(what=None, changes=threads.Changes(), events={}, memory=memory)


def _subjects(incidents: Sequence[Incident], others: Sequence[Event], terms: Terms) -> list[Subject]:
    found = [Subject(id=one.id, revision=one.revision, incidents=(one.id,), events=one.events) for one in incidents]
    alone = [event for event in others if event.kind in terms.kinds]
    return found + [
        Subject(id=event.id, revision=event.revision, incidents=(event.id,), events=(event,)) for event in alone
    ]


def _sorted(parts: Sequence[Part], *, together: bool, apart: bool) -> list[list[Part]]:
    """The parts of each message: all in a digest; else one each, but of many that begin at once one in all."""
    if not parts:
        return []
    if apart:
        return [[part] for part in parts]
    fresh = [part for part in parts if part.what in (What.FIRST, What.OVER)]
    if together:
        return [list(parts)]
    if len(fresh) <= MOST_AT_ONCE:
        return [[part] for part in parts]
    return [fresh, *([part] for part in parts if part not in fresh)]
