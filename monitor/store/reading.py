"""Measurements, points and the newest verdicts out of the tables.

Long answers are read in pieces, each in a transaction of its own: nothing is held open while somebody writes a file.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, literal, select, tuple_

from monitor.models import Measurement, Point, Reason, Verdict
from monitor.outcome import Outcome
from monitor.store import networks
from monitor.store.database import Database
from monitor.store.errors import StoreError, consistent, damaged
from monitor.store.names import as_number, methods_of, network_of, storable
from monitor.store.packing import Damaged, unpack
from monitor.store.schema import (
    STATUS_OF,
    STATUSES,
    Word,
    certificates,
    facts,
    latest,
    microseconds,
    moment,
    reasons,
    shown,
    verdicts,
)
from monitor.store.wanted import MOST_IDS, Latest, Wanted

log = logging.getLogger(__name__)
_MEASUREMENTS_AT_ONCE = 200
_POINTS_AT_ONCE = 5000
_reasons = msgspec.json.Decoder(tuple[Reason, ...])
_outcome = msgspec.json.Decoder(Outcome)
_v = verdicts.c


def measurements(database: Database, wanted: Wanted) -> Iterator[Measurement]:
    """In order of (started, id); one whose bytes are damaged costs a warning and not the others."""
    left = wanted.limit
    while left is None or left > 0:
        most = _MEASUREMENTS_AT_ONCE if left is None else min(left, _MEASUREMENTS_AT_ONCE)
        with database.reading() as connection:
            rows = _rows(database, connection, wanted, most)
            found = list(_opened(database, connection, rows))
        for id, one in found:
            if isinstance(one, Measurement):
                yield one
            else:
                log.warning("measurement %s is left out: its bytes in the store are damaged", id)
        if len(rows) < most:
            return
        left = None if left is None else left - len(rows)
        wanted = msgspec.structs.replace(wanted, after=(moment(rows[-1].started), rows[-1].id))


def measurement(database: Database, id: str) -> Measurement | None:
    """The one with that id; StoreError where its bytes are damaged."""
    with database.reading() as connection:
        query = _with_facts().where(_v.id == storable(id))
        found = list(_opened(database, connection, connection.execute(query).all()))
    if not found:
        return None
    one = found[0][1]
    if not isinstance(one, Measurement):
        raise damaged(database.place)
    return one


def points(database: Database, wanted: Wanted) -> Iterator[Point]:
    """What detection needs of each judged measurement, in order of (started, id)."""
    columns = (
        _v.started,
        _v.id,
        _v.site,
        _v.network,
        _v.probe,
        _v.status,
        _v.methods,
        _v.confidence,
        _v.rule,
        _v.confirmed,
        _v.vantage,
        _v.url,
    )
    while True:
        with database.reading() as connection:
            conditions = matching(database, connection, wanted)
            if conditions is None:
                return
            query = select(*columns).where(_v.status.is_not(None), *conditions)
            rows = connection.execute(ordered(query, wanted).limit(_POINTS_AT_ONCE)).all()
            texts = database.names.texts(
                connection, {row[column] for column in (2, 3, 4, 6, 8, 10, 11) for row in rows}
            )
        with consistent(database.place):
            carriers = {number: network_of(texts[number]) for number in {row[3] for row in rows}}
            methods = {number: methods_of(texts[number]) for number in {row[6] for row in rows}}
            found = [
                Point(
                    id=id, site=texts[site], network=carriers[network], probe=texts[probe], started=moment(started),
                    status=STATUS_OF[status], methods=methods[how], confidence=confidence, confirmed=confirmed,
                    rule=texts[rule], vantage=texts[vantage], url=texts[url],
                )
                for started, id, site, network, probe, status, how, confidence, rule, confirmed, vantage, url in rows
            ]  # fmt: skip
        yield from found
        if len(rows) < _POINTS_AT_ONCE:
            return
        wanted = msgspec.structs.replace(wanted, after=(moment(rows[-1][0]), rows[-1][1]))


def newest(database: Database, after: int = 0) -> tuple[list[Latest], int]:
    """The newest verdict on each URL from each vantage, by site, URL and vantage; of those that were appended behind a
    mark, and the mark that is behind them all.
    """
    columns = (*_VERDICT, _v.site, _v.url, _v.vantage, _v.network, _v.started, _v.id, _v.n)
    query = (
        select(*columns, reasons.c.data.label("why"), latest.c.outcome)
        .join_from(latest, verdicts, latest.c.n == _v.n)
        .join(reasons, reasons.c.n == _v.n, isouter=True)
        .where(_v.status.is_not(None), latest.c.n > after)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
        numbers = {row[i] for row in rows for i in (_RULE_AT, _METHODS_AT)}
        numbers |= {number for row in rows for number in (row.site, row.url, row.vantage, row.network)}
        texts = database.names.texts(connection, numbers)
    with consistent(database.place):
        carriers = {number: network_of(texts[number]) for number in {row.network for row in rows}}
        found = [
        Latest(
            id=row.id, site=texts[row.site], url=texts[row.url], vantage=texts[row.vantage],
            network=carriers[row.network], started=moment(row.started), verdict=verdict,
            outcome=_outcome.decode(row.outcome) if row.outcome else None,
        )
        for row in rows
        if (verdict := _verdict(row, texts))
    ]  # fmt: skip
    found.sort(key=lambda one: (one.site, one.url, one.vantage))
    return found, max((row.n for row in rows), default=after)


def matching(database: Database, connection: Connection, wanted: Wanted) -> list[ColumnElement[bool]] | None:
    """Conditions on the table verdicts; None where nothing can match."""
    if wanted.ids is not None and len(wanted.ids) > MOST_IDS:
        raise ValueError(f"at most {MOST_IDS} ids at once")
    conditions: list[ColumnElement[bool]] = []
    for column, word, text in ((_v.site, Word.SITE, wanted.site), (_v.vantage, Word.VANTAGE, wanted.vantage)):
        if text is not None:
            number = database.names.number(connection, word, text)
            if number is None:
                return None
            conditions.append(column == number)
    if wanted.method is not None:
        sets = database.names.all_of(connection, Word.METHODS)
        conditions.append(_v.methods.in_([n for n, text in sets.items() if wanted.method in methods_of(text)]))
    if wanted.country is not None:
        conditions.append(_v.network.in_(networks.numbers_in(networks.known(database, connection), wanted.country)))
    return conditions + list(_simple(wanted))


def _simple(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.asn is not None:
        yield _v.asn == as_number(wanted.asn)
    if wanted.status is not None:
        yield _v.status == STATUSES[wanted.status]
    if wanted.since is not None:
        yield _v.started >= microseconds(wanted.since)
    if wanted.until is not None:
        yield _v.started < microseconds(wanted.until)
    if wanted.ids is not None:
        yield _v.id.in_([storable(id) for id in wanted.ids])


def narrowed(order: Sequence[ColumnElement[Any]], after: Sequence[Any], *, down: bool = False) -> ColumnElement[bool]:
    """What comes behind these values in that order."""
    here, there = tuple_(*order), tuple_(*(literal(value) for value in after))
    return here < there if down else here > there


def ordered(query: Select[Any], wanted: Wanted) -> Select[Any]:
    """By (started, id), behind `after`."""
    order = (_v.started, _v.id)
    if wanted.after is not None:
        behind = (microseconds(wanted.after[0]), storable(wanted.after[1]))
        query = query.where(narrowed(order, behind, down=wanted.newest_first))
    return query.order_by(*(column.desc() if wanted.newest_first else column for column in order))


# --- rows ----------------------------------------------------------------------------------------------------------

_VERDICT = (_v.status, _v.methods, _v.confidence, _v.confirmed, _v.rule, _v.rules_version)
_METHODS_AT, _RULE_AT = 1, 4


def _with_facts() -> Select[Any]:
    return (
        select(*_VERDICT, _v.n, _v.id, _v.started, facts.c.format, facts.c.data, reasons.c.data.label("why"))
        .join_from(verdicts, facts)
        .join(reasons, reasons.c.n == _v.n, isouter=True)
    )


def _rows(database: Database, connection: Connection, wanted: Wanted, most: int) -> Sequence[Any]:
    conditions = matching(database, connection, wanted)
    if conditions is None:
        return []
    return connection.execute(ordered(_with_facts().where(*conditions), wanted).limit(most)).all()


def _opened(
    database: Database, connection: Connection, rows: Sequence[Any]
) -> Iterator[tuple[str, Measurement | Exception]]:
    texts = database.names.texts(connection, {row[i] for row in rows for i in (_RULE_AT, _METHODS_AT)})
    known = certificates_of(connection, [row.n for row in rows])
    for row in rows:
        try:
            bare = unpack(row.format, row.data, known)
            with consistent(database.place):
                verdict = _verdict(row, texts)
        except (Damaged, StoreError) as exc:
            yield row.id, exc
        else:
            yield row.id, msgspec.structs.replace(bare, verdict=verdict)


def certificates_of(connection: Connection, numbers: Sequence[int]) -> dict[bytes, bytes]:
    """The certificates that these measurements saw, by fingerprint."""
    used = select(shown.c.certificate).where(shown.c.n.in_(numbers))
    rows = connection.execute(select(certificates.c.sha256, certificates.c.der).where(certificates.c.n.in_(used)))
    return {row.sha256: row.der for row in rows}


def _verdict(row: Any, texts: dict[int, str]) -> Verdict | None:
    if row.status is None:
        return None
    return Verdict(
        status=STATUS_OF[row.status], methods=methods_of(texts[row.methods]), confidence=row.confidence,
        confirmed=row.confirmed, rule=texts[row.rule], rules_version=row.rules_version,
        reasons=_reasons.decode(row.why) if row.why else (),
    )  # fmt: skip


def count(database: Database) -> int:
    """How many measurements there are."""
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(verdicts)) or 0
