"""Measurements as they are listed: without their facts, newest first or last, however rare what is asked for.

The index of a site, or of a network, gives its newest. For what no index has (a method, a country, two things at once)
the counts by day and hour tell where to look, so that a million other measurements are never read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from monitor.models import Network, Verdict
from monitor.store import networks
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.names import methods_of, network_of
from monitor.store.reading import matching, ordered
from monitor.store.rollups import SECONDS, Every, matching_counts
from monitor.store.schema import STATUS_OF, microseconds, moment, rollups, verdicts
from monitor.store.wanted import Head, Wanted

_v = verdicts.c
_NAMES = ("site", "url", "vantage", "probe", "network", "methods", "rule")
_COLUMNS = tuple(_v[name] for name in ("id", "started", "status", "confidence", "confirmed", "rules_version", *_NAMES))
_DAY_US = SECONDS["day"] * 1_000_000
_HOUR_US = SECONDS["hour"] * 1_000_000

# So many a day are found soon enough among all of that day; of a site there are never many.
_DENSE = 10

Stretch = tuple[int, int]  # microseconds: from, to
Counted = tuple[int, int]  # a day or hour since 1970, and how many measurements


def heads(database: Database, wanted: Wanted, most: int) -> list[Head]:
    """The first `most` in order of (started, id)."""
    rows: list[Any] = []
    with database.reading() as connection:
        conditions = matching(database, connection, wanted)
        if conditions is None:
            return []
        query = ordered(select(*_COLUMNS).where(_v.status.is_not(None), *conditions), wanted)
        for stretch in _stretches(database, connection, wanted, most):
            rows += connection.execute(_within(query, stretch).limit(most - len(rows))).all()
            if len(rows) >= most:
                break
        texts = database.names.texts(connection, {getattr(row, name) for row in rows for name in _NAMES})
    with consistent(database.place):
        carriers = {number: network_of(texts[number]) for number in {row.network for row in rows}}
        methods = {number: methods_of(texts[number]) for number in {row.methods for row in rows}}
        return [
            Head(
                id=row.id, site=texts[row.site], url=texts[row.url], vantage=texts[row.vantage], probe=texts[row.probe],
                network=carriers[row.network], started=moment(row.started),
                verdict=Verdict(
                    status=STATUS_OF[row.status], methods=methods[row.methods], confidence=row.confidence,
                    confirmed=row.confirmed, rule=texts[row.rule], rules_version=row.rules_version,
                ),
            )
            for row in rows
        ]  # fmt: skip


def networks_by_asn(database: Database) -> dict[int, Network]:
    """Each ASN as it was told of last."""
    with database.reading() as connection:
        return networks.by_asn(networks.known(database, connection))


def _within(query: Select[Any], stretch: Stretch | None) -> Select[Any]:
    return query if stretch is None else query.where(_v.started >= stretch[0], _v.started < stretch[1])


def _stretches(database: Database, connection: Connection, wanted: Wanted, most: int) -> Iterator[Stretch | None]:
    """Where to look, one after the other; None: everywhere, since an index leads there."""
    named = [value for value in (wanted.site, wanted.asn, wanted.status) if value is not None]
    if wanted.ids is not None or (len(named) <= 1 and wanted.method is wanted.country is wanted.vantage is None):
        yield None
        return
    oldest = connection.scalar(select(func.min(_v.started)))
    if oldest is None:
        return
    days = _counted(database, connection, wanted, "day", (oldest // _DAY_US, None))
    for run in _runs(days, most):
        if wanted.site is not None or sum(number for _, number in run) >= _DENSE * len(run):
            yield _stretch(run, _DAY_US)
        else:
            first, last = run[0][0], run[-1][0]
            within = (min(first, last) * 24, (max(first, last) + 1) * 24)
            hours = _counted(database, connection, wanted, "hour", within)
            yield from (_stretch(some, _HOUR_US) for some in _runs(hours, most))


def _counted(
    database: Database, connection: Connection, wanted: Wanted, every: Every, buckets: tuple[int, int | None]
) -> list[Counted]:
    """The days or hours in which something of the kind was measured, in the order that is wanted, and how much of it."""
    conditions = matching_counts(database, connection, wanted, every, sites=False, methods=False)
    if conditions is None:
        return []
    bucket = rollups.c.bucket
    conditions += [bucket >= buckets[0], *([bucket < buckets[1]] if buckets[1] is not None else [])]
    conditions += _behind(wanted, every)
    order: ColumnElement[Any] = bucket.desc() if wanted.newest_first else bucket.asc()
    query = select(bucket, func.sum(rollups.c.count)).where(*conditions).group_by(bucket).order_by(order)
    return [(found, int(number)) for found, number in connection.execute(query)]


def _behind(wanted: Wanted, every: Every) -> list[ColumnElement[bool]]:
    if wanted.after is None:
        return []
    here = microseconds(wanted.after[0]) // (SECONDS[every] * 1_000_000)
    return [rollups.c.bucket <= here if wanted.newest_first else rollups.c.bucket >= here]


def _runs(counted: Sequence[Counted], most: int) -> Iterator[list[Counted]]:
    """Neighbouring days, or hours, together, as long as they do not hold more than is wanted."""
    run: list[Counted] = []
    held = 0
    for bucket, number in counted:
        if run and (abs(bucket - run[-1][0]) > 1 or held >= most):
            yield run
            run, held = [], 0
        run.append((bucket, number))
        held += number
    if run:
        yield run


def _stretch(run: Sequence[Counted], bucket_us: int) -> Stretch:
    first, last = run[0][0], run[-1][0]
    return min(first, last) * bucket_us, (max(first, last) + 1) * bucket_us
