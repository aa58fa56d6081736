"""Counters for metrics: they grow with what is stored, in the same transaction, and stay when it goes."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from monitor.models import Kind
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.names import storable
from monitor.store.schema import KINDS, Sending, Tallied, Word, deliveries, events, names, tallies
from monitor.store.wanted import Counts, Figures, Tally

_NOBODY = 0  # in place of a vantage
_KEYS = ("counter", "vantage", "first", "second")
_KIND_OF = {number: kind for kind, number in KINDS.items()}


def add(database: Database, connection: Connection, counts: Counts) -> None:
    """Add to each counter; always in the same order, so that no two writers wait for each other."""
    words = {(Word.VANTAGE, storable(one.vantage)) for one in counts if one.vantage}
    numbers = database.names.numbers(database, connection, words)
    totals: dict[tuple[int, int, str, str], int] = {}
    for one, by in counts.items():
        vantage = numbers[Word.VANTAGE, storable(one.vantage)] if one.vantage else _NOBODY
        key = (int(one.counter), vantage, storable(one.first), storable(one.second))
        totals[key] = totals.get(key, 0) + by
    rows = [dict(zip(_KEYS, key, strict=True), count=by) for key, by in sorted(totals.items()) if by]
    if rows:
        adding = database.insert(tallies)
        added = {"count": tallies.c.count + adding.excluded.count}
        connection.execute(adding.on_conflict_do_update(index_elements=list(_KEYS), set_=added), rows)


def tally(database: Database, counts: Counts) -> None:
    """Count something besides measurements; on disk when it returns."""
    with database.writing() as connection:
        add(database, connection, counts)


def figures(database: Database) -> Figures:
    """All counters, and what else is cheap to tell however much is stored."""
    columns = (tallies.c.counter, names.c.text, tallies.c.first, tallies.c.second, tallies.c.count)
    query = select(*columns).join_from(tallies, names, names.c.n == tallies.c.vantage, isouter=True)
    with database.reading() as connection:
        rows = connection.execute(query).all()
        found = connection.execute(select(events.c.kind, func.count()).group_by(events.c.kind)).all()
        undelivered = deliveries_left(connection)
    with consistent(database.place):
        counts = {Tally(Tallied(row[0]), row[1] or "", row[2], row[3]): int(row[4]) for row in rows}
        kinds: dict[Kind, int] = {_KIND_OF[kind]: int(number) for kind, number in found}
    return Figures(counts=counts, events=kinds, bytes=database.disk_bytes(), deliveries=undelivered)


def deliveries_left(connection: Connection) -> Mapping[tuple[str, Sending], int]:
    """How many messages of each channel wait, or were given up."""
    columns = deliveries.c
    query = select(columns.channel, columns.state, func.count()).group_by(columns.channel, columns.state)
    rows = connection.execute(query.where(columns.state.in_((Sending.WAITING, Sending.GIVEN_UP))))
    return {(channel, Sending(state)): int(number) for channel, state, number in rows}
