"""What is too old, or too much, goes; counts and the measurements behind events stay.

Age never takes the evidence of an event. Size is a promise to the volunteer's disk: where nothing else is left, the
middle of long events goes as well, never the week around their beginning and their end.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select

from monitor.store import tallies
from monitor.store.database import Database
from monitor.store.reading import narrowed
from monitor.store.schema import Tallied, certificates, events, facts, microseconds, shown, verdicts
from monitor.store.wanted import Tally

ESSENTIAL = timedelta(days=7)  # of an event's beginning, and of its end
ROW_BYTES = 700  # a verdict with its indexes, reasons and links, as far as the size to free is estimated
_AT_ONCE = 200  # short transactions: measuring waits for the store meanwhile
_v = verdicts.c


def retain(database: Database, *, age_s: float | None, size: int | None, now: datetime) -> int:
    """Delete what is not to be kept; how many measurements that were. StoreError; what was deleted until then, is."""
    gone = 0
    if age_s is not None:
        gone += _delete(database, [_v.started < microseconds(now - timedelta(seconds=age_s)), ~_protected()])
    if size is not None:
        gone += _fit(database, size)
    if gone:
        _forget_certificates(database)
        database.shrink()
    return gone


def _fit(database: Database, size: int) -> int:
    """Oldest first, until the store is no larger."""
    gone = 0
    for spared in (_protected(), _protected(essential=True)):
        while (excess := database.used_bytes() - size) > 0:
            deleted = _delete(database, [~spared], excess=excess)
            if not deleted:
                break
            gone += deleted
    return gone


def _delete(database: Database, conditions: Sequence[ColumnElement[bool]], *, excess: int | None = None) -> int:
    """Oldest first; with `excess`, until about so many bytes are free."""
    gone, freed = 0, 0
    after: tuple[int, int] | None = None
    while excess is None or freed < excess:
        with database.writing() as connection:
            query = select(_v.started, _v.n, func.length(facts.c.data).label("bytes")).join_from(verdicts, facts)
            if after is not None:
                query = query.where(narrowed((_v.started, _v.n), after))
            query = query.where(*conditions).order_by(_v.started, _v.n).limit(_AT_ONCE)
            rows = _first(connection.execute(query).all(), None if excess is None else excess - freed)
            if rows:
                connection.execute(delete(verdicts).where(_v.n.in_([row.n for row in rows])))
                tallies.add(database, connection, {Tally(Tallied.STORED): -len(rows)})
        if not rows:
            break
        gone += len(rows)
        freed += sum(row.bytes + ROW_BYTES for row in rows)
        after = (rows[-1].started, rows[-1].n)
    return gone


def _first(rows: Sequence[Any], excess: int | None) -> Sequence[Any]:
    """As many as free so many bytes."""
    if excess is None:
        return rows
    freed = 0
    for number, row in enumerate(rows, 1):
        freed += row.bytes + ROW_BYTES
        if freed >= excess:
            return rows[:number]
    return rows


def _protected(*, essential: bool = False) -> ColumnElement[bool]:
    """The measurement is behind an event; essential: near its beginning or its end."""
    kept = events.c
    behind = [
        or_(kept.site.is_(None), kept.site == _v.site),
        or_(kept.asn.is_(None), kept.asn == _v.asn),
        _v.started >= kept.kept_from,
        or_(kept.kept_until.is_(None), _v.started <= kept.kept_until),
    ]
    if essential:
        week = ESSENTIAL // timedelta(microseconds=1)
        behind.append(or_(_v.started <= kept.kept_from + week, _v.started >= kept.kept_until - week))
    return exists().where(*behind)


def _forget_certificates(database: Database) -> None:
    """Certificates that no measurement saw."""
    with database.writing() as connection:
        database.removing_certificates(connection)
        unused = ~exists().where(shown.c.certificate == certificates.c.n)
        connection.execute(delete(certificates).where(unused))
