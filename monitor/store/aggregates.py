"""How many measurements, divided by any two things: added up from the counts by hour and day, never from measurements."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from monitor.models import Network, Status
from monitor.store import networks
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.rollups import ALL, SECONDS, Every, matching_counts
from monitor.store.schema import STATUSES, Word, moment, names, rollups
from monitor.store.wanted import TIMES, Aggregate, By, Wanted

MOST_COUNTS = 400_000  # rows of counts that are added up for one question
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday, weeks begin on Monday
_r = rollups.c

Key = tuple[Any, ...]


class TooMuch(ValueError):
    """The question would take too many rows. Its text says what to do."""


def aggregate(database: Database, wanted: Wanted, by: Sequence[By], every: Every, most: int) -> list[Aggregate]:
    """At most so many, in order; TooMuch. every: which counts; of `wanted` what rollups take, and a country.

    By method a measurement counts for each of its methods, and those without any do not count.
    """
    divided = [one for one in by if one != "status"]
    with database.reading() as connection:
        conditions = matching_counts(database, connection, wanted, every, sites="site" in by, methods="method" in by)
        if conditions is None:
            return []
        if "site" in by and wanted.site is None and (wanted.since or wanted.until):
            # Site by site, along the index: else the counts of all times would be read.
            conditions.append(_r.site.in_(select(names.c.n).where(names.c.kind == int(Word.SITE))))
        rows = _added_up(connection, conditions, divided, every, most)
        carriers = networks.by_asn(networks.known(database, connection)) if {"asn", "country"} & {*by} else {}
        places = [i for i, one in enumerate(divided) if one in ("site", "method")]
        texts = database.names.texts(connection, {row[i] for row in rows for i in places})
    with consistent(database.place):
        read = {one: _reader(one, texts, carriers, every) for one in divided}
        totals: dict[Key, Counter[Status]] = {}
        for row in rows:
            key = tuple(read[one](value) for one, value in zip(divided, row, strict=False))
            counts = {
                status: int(number) for status, number in zip(STATUSES, row[len(divided) :], strict=False) if number
            }
            if counts:
                totals.setdefault(key, Counter()).update(counts)
    return [one for key, counts in sorted(totals.items(), key=_order) for one in _told(divided, key, counts, by)]


def _told(divided: Sequence[By], key: Key, counts: Counter[Status], by: Sequence[By]) -> list[Aggregate]:
    fields = {"started" if one in TIMES else one: value for one, value in zip(divided, key, strict=True)}
    if "status" in by:
        return [Aggregate(counts={status: counts[status]}, **fields) for status in Status if counts[status]]
    return [Aggregate(counts=counts, **fields)]


def _order(item: tuple[Key, Counter[Status]]) -> tuple[tuple[bool, Any], ...]:
    """What is not known comes last."""
    return tuple((value is None, 0 if value is None else value) for value in item[0])


def _reader(one: By, texts: Mapping[int, str], carriers: Mapping[int, Network], every: Every) -> Callable[[int], Any]:
    """What the numbers of a column mean."""
    if one in TIMES:
        return lambda bucket: moment(bucket * SECONDS[every] * 1_000_000)
    if one == "asn":
        return lambda asn: asn or None
    if one == "country":
        return lambda asn: carriers[asn].country if asn in carriers else None
    return lambda number: texts[number]


def _added_up(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], divided: Sequence[By], every: Every, most: int
) -> Sequence[Any]:
    """Rows of the columns by which is divided, and the number with each status."""
    columns = [_column(connection, one, every).label(f"by{i}") for i, one in enumerate(divided)]
    counted = select(*columns, _r.status, _r.count).where(*conditions).limit(MOST_COUNTS + 1).subquery()
    keys = list(counted.c)[: len(columns)]
    # A sum for each status, not a row: they are half as dear to group.
    numbers = [func.sum(case((counted.c.status == one, counted.c.count), else_=0)) for one in STATUSES.values()]
    added: Select[Any] = select(*keys, *numbers, func.sum(func.count()).over().label("of"))
    rows = connection.execute(added.group_by(*keys).limit(most + 1)).all()
    if rows and rows[0].of > MOST_COUNTS:
        raise TooMuch("too much to add up: ask for a shorter time, for one site, or not by site")
    if len(rows) > most:
        raise TooMuch(f"more than {most} rows: ask for a shorter time, longer steps, one site or one network")
    return rows


def _column(connection: Connection, one: By, every: Every) -> ColumnElement[Any]:
    if one in TIMES:
        return _steps(connection, one, every)
    return _r.asn if one == "country" else _r[one]


def _steps(connection: Connection, one: By, every: Every) -> ColumnElement[Any]:
    """The day, or hour, with which the step begins that a count is in."""
    if one == "week":
        return (_r.bucket + _EPOCH_WEEKDAY) // 7 * 7 - _EPOCH_WEEKDAY
    if one == "month":
        # Asked one by one: both together are not read off the index's ends.
        ends = (
            select(end(_r.bucket)).where(_r.seconds == SECONDS[every], _r.site == ALL) for end in (func.min, func.max)
        )
        first, last = (connection.scalar(end) or 0 for end in ends)
        begins = _months(first, last)
        return case(*((_r.bucket >= begin, begin) for begin in reversed(begins)), else_=begins[0])
    return _r.bucket


def _months(first: int, last: int) -> list[int]:
    """The days with which the months from one day to another begin."""
    day = moment(first * SECONDS["day"] * 1_000_000)
    year, month, found = day.year, day.month, list[int]()
    while not found or found[-1] <= last:
        found.append(int(datetime(year, month, 1, tzinfo=UTC).timestamp()) // SECONDS["day"])
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return found
