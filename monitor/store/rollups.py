"""Counts by hour and by day, kept up with every append: a chart over a year reads thousands of rows, not millions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, func, select

from monitor.models import Status
from monitor.store import networks
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.names import as_number, methods_of
from monitor.store.reading import narrowed
from monitor.store.schema import STATUS_OF, STATUSES, Word, microseconds, moment, rollups
from monitor.store.wanted import Rollup, Wanted

Every = Literal["hour", "day"]
SECONDS: dict[Every, int] = {"hour": 3600, "day": 86400}
ALL = 0  # in place of a site or a method
_AT_ONCE = 5000
_ORDER = tuple(rollups.c[name] for name in ("site", "bucket", "asn", "vantage", "status", "method"))
_KEYS = ("seconds", "site", "bucket", "asn", "vantage", "status", "method")

Key = tuple[int, ...]
Deltas = Counter[Key]


def count(deltas: Deltas, row: Mapping[str, Any], methods: Iterable[int], by: int = 1) -> None:
    """Add one measurement, or take it away. row: of the table verdicts; methods: their numbers."""
    if row["status"] is None:
        return
    kinds = (ALL, *dict.fromkeys(methods))
    for seconds in SECONDS.values():
        bucket = row["started"] // (seconds * 1_000_000)
        for site in (ALL, row["site"]):
            for method in kinds:
                deltas[seconds, site, bucket, row["asn"], row["vantage"], row["status"], method] += by


def apply(database: Database, connection: Connection, deltas: Deltas) -> None:
    """Add what was counted; always in the same order, so that no two writers wait for each other."""
    rows = [dict(zip(_KEYS, key, strict=True), count=by) for key, by in sorted(deltas.items()) if by]
    if not rows:
        return
    adding = database.insert(rollups)
    added = {"count": rollups.c.count + adding.excluded.count}
    connection.execute(adding.on_conflict_do_update(index_elements=list(_KEYS), set_=added), rows)
    if any(by < 0 for by in deltas.values()):
        connection.execute(delete(rollups).where(rollups.c.count <= 0))


def numbers_of_methods(database: Database, connection: Connection, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The numbers of the single methods in each name of several."""
    lists = {text: methods_of(text) for text in set(texts)}
    keys = {(Word.METHOD, method) for methods in lists.values() for method in methods}
    numbers = database.names.numbers(database, connection, keys)
    return {text: tuple(numbers[Word.METHOD, method] for method in methods) for text, methods in lists.items()}


def read(database: Database, wanted: Wanted, every: Every, *, sites: bool, methods: bool) -> Iterator[Rollup]:
    """The counts, in order of site and time."""
    after: Key | None = None
    while True:
        with database.reading() as connection:
            conditions = matching_counts(database, connection, wanted, every, sites=sites, methods=methods)
            if conditions is None:
                return
            if after is not None:
                conditions.append(narrowed(_ORDER, after))
            query = select(*_ORDER, rollups.c.count).where(*conditions).order_by(*_ORDER).limit(_AT_ONCE)
            rows: Sequence[Any] = connection.execute(query).all()
            texts = database.names.texts(connection, {number for row in rows for number in (row[0], row[3], row[5])})
        with consistent(database.place):
            found = [
                Rollup(
                    started=moment(bucket * SECONDS[every] * 1_000_000), site=texts.get(site), asn=asn or None,
                    vantage=texts[vantage], status=STATUS_OF[status], method=texts.get(method), count=number,
                )
                for site, bucket, asn, vantage, status, method, number in rows
            ]  # fmt: skip
        yield from found
        if len(rows) < _AT_ONCE:
            return
        after = tuple(rows[-1][:6])


def matching_counts(
    database: Database, connection: Connection, wanted: Wanted, every: Every, *, sites: bool, methods: bool
) -> list[ColumnElement[bool]] | None:
    """Conditions on the table rollups; None where nothing can match."""
    conditions = [rollups.c.seconds == SECONDS[every]]
    named = (
        (rollups.c.site, Word.SITE, wanted.site, sites),
        (rollups.c.method, Word.METHOD, wanted.method, methods),
        (rollups.c.vantage, Word.VANTAGE, wanted.vantage, True),
    )
    for column, word, text, each in named:
        if text is not None:
            number = database.names.number(connection, word, text)
            if number is None:
                return None
            conditions.append(column == number)
        elif column is not rollups.c.vantage:
            conditions.append(column > ALL if each else column == ALL)
    if wanted.country is not None:
        asns = networks.asns_in(networks.known(database, connection), wanted.country)
        conditions.append(rollups.c.asn.in_(asns))
    return conditions + list(_simple(wanted, SECONDS[every]))


def _simple(wanted: Wanted, seconds: int) -> Iterator[ColumnElement[bool]]:
    if wanted.asn is not None:
        yield rollups.c.asn == as_number(wanted.asn)
    if wanted.status is not None:
        yield rollups.c.status == STATUSES[wanted.status]
    if wanted.since is not None:
        yield rollups.c.bucket >= microseconds(wanted.since) // (seconds * 1_000_000)
    if wanted.until is not None:
        yield rollups.c.bucket < -(-microseconds(wanted.until) // (seconds * 1_000_000))


def totals(database: Database) -> dict[tuple[str, Status], int]:
    """Measurements ever made by vantage and status; retention takes nothing away."""
    where = (rollups.c.seconds == SECONDS["day"], rollups.c.site == ALL, rollups.c.method == ALL)
    columns = (rollups.c.vantage, rollups.c.status)
    with database.reading() as connection:
        rows = connection.execute(select(*columns, func.sum(rollups.c.count)).where(*where).group_by(*columns)).all()
        texts = database.names.texts(connection, {row[0] for row in rows})
    with consistent(database.place):
        return {(texts[vantage], STATUS_OF[status]): int(number) for vantage, status, number in rows}
