"""Messages on their way: a row before anybody tries to send one, until somebody has it or it was given up."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from monitor.models import Event
from monitor.store import tallies
from monitor.store.database import Database
from monitor.store.ground import Decide, Ground, delivery_of, read
from monitor.store.names import storable
from monitor.store.schema import Sending, Tallied, deliveries, microseconds, moment, threads
from monitor.store.told import Delivery, Thread, Waiting
from monitor.store.wanted import Tally

SENT, FAILED, GIVEN_UP = "sent", "failed", "given_up"  # results that are counted
_MOST_ERROR = 200  # characters
_NEVER = datetime.max.replace(tzinfo=UTC)
_d = deliveries.c

_LONGEST_CLAIM = timedelta(minutes=10)  # one that ends later was made by a clock that is wrong, and holds up nobody


class Outbox:
    """The messages of a store. Every method raises StoreError, and may be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decide(self, work: Decide) -> None:
        """Decide on what is stored; on disk when it returns."""
        with self._database.writing() as connection:
            self._database.alone_to_decide(connection)
            work(Ground(self._database, connection))

    def waiting(self, now: datetime) -> list[Waiting]:
        """The subscribers who wait for a message whose time has come and that nobody is sending, the longest first."""
        since = func.min(_d.next)
        query = select(_d.subscription, _d.channel, since).where(_is_due(now), _is_free(now))
        query = query.group_by(_d.subscription, _d.channel).order_by(since, func.min(_d.n))
        with self._database.reading() as connection:
            return [Waiting(subscription=key, channel=channel) for key, channel, _ in connection.execute(query)]

    def claim(self, key: str, now: datetime, until: datetime) -> Delivery | None:
        """The message that a subscriber is to get next, for this process alone until then.

        None where it is another's by now. A claim ends with `sent`, with `failed`, or with its time: then the process was
        killed, and another may send the message again. A file is one process's alone, so nothing is written there.
        """
        wanted = [_d.subscription == key, _is_due(now), _is_free(now)]
        first = select(_d.n).where(*wanted).order_by(_d.next, _d.n).limit(1).with_for_update(skip_locked=True)
        database = self._database
        with database.reading() if database.is_sqlite else database.writing() as connection:
            database.alone_to_claim(connection)
            n = connection.scalar(first)
            if n is None:
                return None
            if not database.is_sqlite:
                connection.execute(update(deliveries).where(_d.n == n).values(claimed=microseconds(until)))
            return next(iter(read(database, connection, [_d.n == n])), None)

    def release(self, ids: Sequence[str]) -> None:
        """Nobody is sending these any more."""
        if self._database.is_sqlite:
            return
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(_d.id.in_(list(ids))).values(claimed=None))

    def next_due(self) -> datetime | None:
        """When the next one's time comes."""
        with self._database.reading() as connection:
            soonest = connection.scalar(select(func.min(_d.next)).where(_d.state == Sending.WAITING))
        return None if soonest is None else moment(soonest)

    def sent(self, one: Delivery, now: datetime) -> None:
        """It arrived. On disk when it returns."""
        values: dict[str, Any] = {"state": Sending.SENT, "finished": microseconds(now), "error": ""}
        values |= {"attempts": _d.attempts + 1, "claimed": None}
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(_d.id == one.id).values(**values))
            _count(self._database, connection, one, SENT)

    def failed(self, one: Delivery, now: datetime, error: str, again: datetime | None) -> None:
        """It did not arrive. again: when it is tried next; None: never."""
        values: dict[str, Any] = {"attempts": _d.attempts + 1, "error": storable(error)[:_MOST_ERROR], "claimed": None}
        if again is None:
            values |= {"state": Sending.GIVEN_UP, "finished": microseconds(now)}
        else:
            values |= {"next": microseconds(again)}
        with self._database.writing() as connection:
            # One that was merged meanwhile stays so: a later one tells it.
            connection.execute(update(deliveries).where(_d.id == one.id, _d.state == Sending.WAITING).values(**values))
            _count(self._database, connection, one, FAILED)
            if again is None:
                _count(self._database, connection, one, GIVEN_UP)

    def postpone(self, key: str, until: datetime) -> None:
        """Nothing for that subscription is tried before then."""
        waiting = (_d.subscription == key, _d.state == Sending.WAITING, _d.next < microseconds(until))
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(*waiting).values(next=microseconds(until)))

    def retry(self, ids: Sequence[str] | None, now: datetime) -> int:
        """Try again, as if they were new: those, or all that were given up or wait; how many that are."""
        hopeful = _d.state.in_((Sending.GIVEN_UP, Sending.WAITING))
        conditions = [hopeful] if ids is None else [hopeful, _d.id.in_(list(ids))]
        at = microseconds(now)
        values = {"state": Sending.WAITING, "trying": at, "next": at, "finished": None, "claimed": None}
        with self._database.writing() as connection:
            return connection.execute(update(deliveries).where(*conditions).values(**values)).rowcount

    def listed(self, states: Sequence[Sending], most: int) -> list[Delivery]:
        """The newest first, without what they tell."""
        columns = [column for column in deliveries.columns if column is not _d.data]
        query = select(*columns).where(_d.state.in_(states)).order_by(_d.n.desc()).limit(most)
        with self._database.reading() as connection:
            return [delivery_of(row, b"") for row in connection.execute(query)]

    def delivery(self, id: str) -> Delivery | None:
        """The one with that id."""
        with self._database.reading() as connection:
            return next(iter(read(self._database, connection, [_d.id == storable(id)])), None)

    def open_threads(self, key: str) -> list[Thread]:
        """What a subscriber was told and not told the end of."""
        with self._database.reading() as connection:
            return [thread for thread in Ground(self._database, connection).threads(key, _NEVER) if not thread.over]

    def events_named(self, ids: Iterable[str]) -> dict[str, Event]:
        """By id."""
        with self._database.reading() as connection:
            return Ground(self._database, connection).events_named(ids)

    def left(self) -> Mapping[tuple[str, Sending], int]:
        """How many messages of each channel wait, or were given up."""
        with self._database.reading() as connection:
            return tallies.deliveries_left(connection)

    def forget(self, before: datetime) -> None:
        """Remove what was told, and what became of it, before then."""
        old = microseconds(before)
        with self._database.writing() as connection:
            connection.execute(delete(deliveries).where(_d.state != Sending.WAITING, _d.finished < old))
            connection.execute(delete(threads).where(threads.c.over.is_(True), threads.c.told < old))


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(_d.state == Sending.WAITING, _d.next <= microseconds(now))


def _is_free(now: datetime) -> ColumnElement[bool]:
    """Is its subscriber told nothing else at the moment? One message at a time, or they would overtake each other."""
    other = deliveries.alias()
    # Not for each row anew: a channel that was down for a day may have a thousand messages that wait.
    claimed = other.c.claimed.between(microseconds(now) + 1, microseconds(now + _LONGEST_CLAIM))
    claims = select(other.c.subscription).where(other.c.state == Sending.WAITING, claimed)
    return _d.subscription.not_in(claims)


def _count(database: Database, connection: Connection, one: Delivery, result: str) -> None:
    tallies.add(database, connection, {Tally(Tallied.ALERTS, first=one.channel, second=result): 1})
