"""What the store keeps of telling people: who is told, what was told, and what is on its way. It reads none of it."""

from datetime import datetime

from msgspec import Struct

from monitor.store.schema import Sending


class Subscriber(Struct, frozen=True, kw_only=True):
    """Who is told. since: of what ended before it nothing is told; digested: up to when a digest has told all."""

    key: str
    since: datetime
    digested: datetime


class Thread(Struct, frozen=True, kw_only=True):
    """What a subscriber was told of one thing. over: the end as well; told: when last. data: its memory."""

    subscription: str
    id: str
    over: bool
    told: datetime
    data: bytes


class Waiting(Struct, frozen=True, kw_only=True):
    """Who waits for a message whose time has come."""

    subscription: str
    channel: str


class Delivery(Struct, frozen=True, kw_only=True):
    """A message on its way, or arrived. thread: "" where it tells of several. trying: since when; next: when again.

    finished: when it was sent, given up, or merged with a later one. data: what it tells.
    """

    id: str
    subscription: str
    channel: str
    thread: str
    what: str
    state: Sending
    created: datetime
    trying: datetime
    next: datetime
    finished: datetime | None = None
    attempts: int = 0
    error: str = ""
    data: bytes = b""
