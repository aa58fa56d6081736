"""A letter: all that a message says, as data. Its words are chosen when it is sent, and can be chosen again."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from monitor.alerts.threads import Changes, Memory, Step, What
from monitor.models import Event
from monitor.newest import Since
from monitor.verdict import RULES_VERSION


class Part(Struct, frozen=True, kw_only=True):
    """What one thread has to say. number: of the message in it, from 1. events: by pair, the newest of each; earlier: the
    others. before: what was told by then.

    revision: of what it is about. opened: by event id, what the newest results no longer show though it is not over.
    """

    thread: str
    revision: int
    what: What
    number: int
    changes: Changes
    events: Mapping[str, Event]
    started: datetime
    before: Memory | None = None
    opened: Mapping[str, Since] = {}
    earlier: tuple[Event, ...] = ()


class Letter(Struct, frozen=True, kw_only=True):
    """id: the delivery's, the same at each attempt. what: of a single part, else a digest. number: of the thread's message."""

    id: str
    what: What
    written: datetime
    rules_version: int
    parts: tuple[Part, ...]

    @property
    def thread(self) -> str:
        """What it continues; "" where it tells of several."""
        return self.parts[0].thread if self.what is not What.DIGEST and self.parts else ""


def part_of(thread: str, step: Step, before: Memory | None, opened: Mapping[str, Since]) -> Part:
    """A thread's next message. step: that has something to tell."""
    assert step.what is not None
    began = [event.started for event in (*step.events.values(), *step.earlier)]
    return Part(
        thread=thread, revision=step.revision, what=step.what, number=step.memory.number, changes=step.changes, events=step.events,
        started=min(began, default=step.memory.first), before=before, opened=opened, earlier=step.earlier,
    )  # fmt: skip


def letter(key: str, parts: Sequence[Part], now: datetime) -> Letter:
    """What a subscription is told now."""
    what = parts[0].what if len(parts) == 1 else What.DIGEST
    names = "\n".join(f"{part.thread} {part.number}" for part in parts)
    id = hashlib.sha256(f"{key}\n{now.isoformat()}\n{names}".encode()).hexdigest()[:16]
    return Letter(id=id, what=what, written=now, rules_version=RULES_VERSION, parts=tuple(parts))


def encoded(letter: Letter) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(letter)


_letter = msgspec.json.Decoder(Letter)


def decoded(data: bytes) -> Letter:
    """From the store."""
    return _letter.decode(data)
