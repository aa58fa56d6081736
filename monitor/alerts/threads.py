"""What was told in a thread: one incident, or one outage, as one subscriber has heard of it.

A thread remembers each site on each network that it told of. It is written and read as JSON, by other versions too:
a new field needs a default.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import Struct

from monitor.events import network_key
from monitor.messages import N_
from monitor.models import Event, Kind, Network


class What(StrEnum):
    """What a message is. Persisted: never rename, only add."""

    FIRST = "first"
    UPDATE = "update"
    AGAIN = "again"  # it was over, and has come back
    END = "end"
    OVER = "over"  # it was over before anything could be told: all of it at once
    WITHDRAWN = "withdrawn"  # what was told is not believed any more
    DIGEST = "digest"  # several threads at once
    TEST = "test"


# For people.
WORDS: Mapping[str, str] = {
    What.FIRST: N_("first"), What.UPDATE: N_("update"), What.AGAIN: N_("again"), What.END: N_("end"), What.OVER: N_("over"),
    What.WITHDRAWN: N_("withdrawn"), What.DIGEST: N_("digest"), What.TEST: N_("test"),
}  # fmt: skip


class Told(Struct, frozen=True, kw_only=True):
    """A site on a network, as it was told last. returns: how often it came back after it was told as over, or as untrue.

    denied: it was told to be untrue, when `ended` says. doubted: since when nobody believes in it, which was not told.
    named: the pair's first event in the thread. The others as the event had them.
    """

    event: str
    site: str | None
    network: Network | None
    methods: tuple[str, ...]
    ended: datetime | None
    kind: Kind = Kind.BLOCKING
    returns: int = 0
    denied: bool = False
    doubted: datetime | None = None
    started: datetime | None = None
    confidence: float = 0.0
    measurements: int = 0
    probes: int = 0
    named: str = ""


class Memory(Struct, frozen=True, kw_only=True):
    """What a thread has told. incidents: those it is about; pairs: by `pair_of`; number: of messages; seen: revisions."""

    incidents: tuple[str, ...]
    pairs: Mapping[str, Told]
    first: datetime
    last: datetime
    number: int = 1
    seen: Mapping[str, int] = {}

    @property
    def over(self) -> bool:
        """Was the end of everything told?"""
        return all(told.ended is not None for told in self.pairs.values())


class Changes(Struct, frozen=True, kw_only=True):
    """What is new since the last message of the thread, as pairs. methods: those that were not told before.

    changed: for programs, which fields of an event have another value.
    """

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    methods: Mapping[str, tuple[str, ...]] = {}
    changed: Mapping[str, tuple[str, ...]] = {}

    def any(self) -> bool:
        """Is there anything?"""
        return bool(self.joined or self.left or self.back or self.withdrawn or self.methods)


class Step(Struct, frozen=True, kw_only=True):
    """The next message of a thread, and what it then has told. what None: nothing to say, but something to remember.

    events: by pair, as they are now; earlier: those of the same pairs that ended before. revision: of what the thread is
    about.
    """

    what: What | None
    changes: Changes
    events: Mapping[str, Event]
    memory: Memory
    revision: int = 0
    earlier: tuple[Event, ...] = ()


class Subject(Struct, frozen=True, kw_only=True):
    """What a thread is about, as it is now. id: of the incident, or the event, that is looked at.

    gone: events that were told in the thread and belong to it no more, as they are now.
    """

    id: str
    revision: int
    incidents: tuple[str, ...]
    events: tuple[Event, ...]
    gone: Mapping[str, Event] = {}


def pair_of(event: Event) -> str:
    """What stays the same when a block ends and comes back: the site and the network."""
    return f"{event.kind}\n{event.site or ''}\n{network_key(event.network) if event.network else ''}"


def told(event: Event, before: Told | None = None) -> Told:
    """An event as it is told; with the methods that were told before."""
    known = before.methods if before else ()
    return Told(
        event=event.id, site=event.site, network=event.network, ended=event.ended, kind=event.kind,
        methods=tuple(dict.fromkeys((*known, *event.methods))), returns=before.returns if before else 0,
        started=event.started, confidence=event.confidence, measurements=event.measurements, probes=event.probes,
        named=before.named if before else event.id,
    )  # fmt: skip


def newest(events: Iterable[Event]) -> Event:
    """Of one pair's events the one to tell of: one that goes on, else the last that ended."""
    return max(events, key=lambda event: (event.ended is None, event.ended or event.started, event.started, event.id))


def encoded(memory: Memory) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(memory)


_memory = msgspec.json.Decoder(Memory)


def decoded(data: bytes) -> Memory:
    """From the store."""
    return _memory.decode(data)
