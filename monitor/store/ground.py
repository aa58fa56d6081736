"""What a decision to tell somebody rests on, and where it is written down: in one transaction of the store."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, or_, select, update

from monitor.models import Event, Incident, Kind
from monitor.store import listing
from monitor.store.database import Database
from monitor.store.errors import consistent, damaged
from monitor.store.names import storable
from monitor.store.schema import (
    KINDS,
    Sending,
    deliveries,
    events,
    incidents,
    microseconds,
    moment,
    subscriptions,
    threads,
)
from monitor.store.told import Delivery, Subscriber, Thread
from monitor.store.wanted import Head, Wanted

_AT_ONCE = 500
_event = msgspec.json.Decoder(Event)
_incident = msgspec.json.Decoder(Incident)
_d = deliveries.c


class Ground:
    """The store as one transaction sees it: what a decision rests on, and where it is written down."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database, self._connection = database, connection

    def subscriber(self, key: str, now: datetime) -> Subscriber:
        """The one with that key; a new one from now on."""
        row = {"key": key, "since": microseconds(now), "digested": microseconds(now)}
        self._connection.execute(self._database.insert(subscriptions).on_conflict_do_nothing(), [row])
        found = self._connection.execute(select(subscriptions).where(subscriptions.c.key == key)).one()
        return Subscriber(key=key, since=moment(found.since), digested=moment(found.digested))

    def digested(self, key: str, until: datetime) -> None:
        """It was told all up to then."""
        change = update(subscriptions).where(subscriptions.c.key == key)
        self._connection.execute(change.values(digested=microseconds(until)))

    def incidents(self, since: datetime) -> list[Incident]:
        """Those that go on, or ended since then; in order of (started, id)."""
        going_on = or_(incidents.c.ended.is_(None), incidents.c.ended >= microseconds(since))
        query = select(incidents.c.data).where(going_on).order_by(incidents.c.started, incidents.c.id)
        with consistent(self._database.place):
            return [_incident.decode(data) for data in self._connection.scalars(query)]

    def incidents_named(self, ids: Iterable[str]) -> dict[str, Incident]:
        """By id."""
        return self._named(incidents.c.id, incidents.c.data, ids, _incident)

    def events(self, since: datetime) -> list[Event]:
        """Those that are in no incident and go on, or ended since then; in order of (started, id)."""
        going_on = or_(events.c.ended.is_(None), events.c.ended >= microseconds(since))
        query = select(events.c.data).where(going_on, events.c.kind != KINDS[Kind.BLOCKING])
        with consistent(self._database.place):
            return [
                _event.decode(data) for data in self._connection.scalars(query.order_by(events.c.started, events.c.id))
            ]

    def events_named(self, ids: Iterable[str]) -> dict[str, Event]:
        """By id."""
        return self._named(events.c.id, events.c.data, ids, _event)

    def _named(self, id: Any, data: Any, ids: Iterable[str], decoder: Any) -> dict[str, Any]:
        wanted, found = list(map(storable, ids)), {}
        with consistent(self._database.place):
            for start in range(0, len(wanted), _AT_ONCE):
                query = select(id, data).where(id.in_(wanted[start : start + _AT_ONCE]))
                found.update({row[0]: decoder.decode(row[1]) for row in self._connection.execute(query)})
        return found

    def heads(self, wanted: Wanted, *, most: int) -> list[Head]:
        """As `Store.heads`, of what was stored before."""
        return listing.heads(self._database, wanted, most)

    def threads(self, key: str, since: datetime) -> list[Thread]:
        """Those that are not over, or were told of since then; the newest last."""
        t = threads.c
        wanted = or_(t.over.is_(False), t.told >= microseconds(since))
        query = select(threads).where(t.subscription == key, wanted).order_by(t.told, t.id)
        return [
            Thread(subscription=key, id=row.id, over=row.over, told=moment(row.told), data=self._unpacked(row.data))
            for row in self._connection.execute(query)
        ]

    def keep(self, thread: Thread) -> None:
        """In place of what was known of it."""
        row = {
            "subscription": thread.subscription, "id": thread.id, "over": thread.over,
            "told": microseconds(thread.told), "data": zlib.compress(thread.data),
        }  # fmt: skip
        adding = self._database.insert(threads)
        newer = {name: adding.excluded[name] for name in ("over", "told", "data")}
        self._connection.execute(adding.on_conflict_do_update(index_elements=["subscription", "id"], set_=newer), [row])

    def add(self, delivery: Delivery) -> None:
        """To be sent. One with a known id is there already."""
        row = _row(delivery)
        self._connection.execute(self._database.insert(deliveries).on_conflict_do_nothing(index_elements=["id"]), [row])

    def held_up(self, key: str, now: datetime) -> list[Delivery]:
        """Those of one thread that wait because the channel failed, and are not under way now; the oldest first."""
        waiting = (_d.state == Sending.WAITING, _d.next > microseconds(now), _d.thread != "")
        return read(self._database, self._connection, [_d.subscription == key, *waiting])

    def merge(self, ids: Sequence[str], now: datetime) -> None:
        """A later one tells what these would have told."""
        change = update(deliveries).where(_d.id.in_(ids), _d.state == Sending.WAITING)
        self._connection.execute(change.values(state=Sending.MERGED, finished=microseconds(now)))

    def _unpacked(self, data: bytes) -> bytes:
        return _unpacked(self._database, data)


Decide = Callable[[Ground], None]


def read(database: Database, connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> list[Delivery]:
    """Those, the oldest first."""
    query = select(deliveries).where(*conditions).order_by(_d.n)
    return [delivery_of(row, _unpacked(database, row.data)) for row in connection.execute(query)]


def delivery_of(row: Any, data: bytes) -> Delivery:
    """A row as others see it."""
    return Delivery(
        id=row.id, subscription=row.subscription, channel=row.channel, thread=row.thread, what=row.what,
        state=Sending(row.state), created=moment(row.created), trying=moment(row.trying), next=moment(row.next),
        finished=None if row.finished is None else moment(row.finished), attempts=row.attempts, error=row.error, data=data,
    )  # fmt: skip


def _row(one: Delivery) -> dict[str, Any]:
    times = {"created": one.created, "trying": one.trying, "next": one.next, "finished": one.finished}
    return {
        "id": one.id, "subscription": one.subscription, "channel": one.channel, "thread": one.thread, "what": one.what,
        "state": int(one.state), "attempts": one.attempts, "error": one.error, "data": zlib.compress(one.data),
        **{name: None if when is None else microseconds(when) for name, when in times.items()},
    }  # fmt: skip


def _unpacked(database: Database, data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as exc:
        raise damaged(database.place) from exc
