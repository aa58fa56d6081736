"""Every stored measurement judged again by the rules of now: verdicts and counts change, facts do not.

In small transactions, each of which also notes how far it got: a run that was interrupted goes on from there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, func, select, update

from monitor.models import Measurement, Status, Verdict
from monitor.store import events, rollups
from monitor.store.database import Database
from monitor.store.errors import damaged
from monitor.store.packing import Damaged, unpack
from monitor.store.reading import certificates_of
from monitor.store.schema import STATUS_OF, facts, reasons, state, verdicts
from monitor.store.wanted import Rejudged
from monitor.store.writing import save_reasons, verdict_columns, verdict_names

Judge = Callable[[Measurement], Verdict]
Progress = Callable[[int, int], None]

_AT_ONCE = 100
_KEY = "rejudging"
_v = verdicts.c
_COLUMNS = ("status", "methods", "confidence", "confirmed", "rule", "rules_version")


class Position(Struct, frozen=True, kw_only=True):
    """How far a run by these rules got. changes: old status or "", new status, how often."""

    version: int
    n: int = 0
    total: int = 0
    changed: int = 0
    changes: tuple[tuple[str, str, int], ...] = ()


def rejudge(database: Database, judge: Judge, version: int, progress: Progress) -> Rejudged:
    """Judge all again; progress: told how many are done, and of how many."""
    position = _position(database, version)
    with database.reading() as connection:
        left = connection.scalar(select(func.count()).select_from(verdicts).where(_v.n > position.n)) or 0
    every = position.total + left
    while True:
        with database.writing() as connection:
            further = _batch(database, connection, judge, position)
            if further is None:
                connection.execute(delete(state).where(state.c.key == _KEY))
                break
            events.note(database, connection, _KEY, msgspec.json.encode(further))
        position = further
        progress(position.total, max(every, position.total))
    changes = {(Status(old) if old else None, Status(new)): number for old, new, number in position.changes}
    return Rejudged(total=position.total, changed=position.changed, changes=changes)


def _position(database: Database, version: int) -> Position:
    noted = events.recall(database, _KEY)
    position = msgspec.json.decode(noted, type=Position) if noted else Position(version=version)
    return position if position.version == version else Position(version=version)


def _batch(database: Database, connection: Connection, judge: Judge, position: Position) -> Position | None:
    """The next measurements; None: there are no more."""
    query = select(*(_v[name] for name in (*_COLUMNS, "n", "site", "asn", "vantage", "started")), facts.c.format)
    query = query.add_columns(facts.c.data, reasons.c.data.label("why")).join_from(verdicts, facts)
    query = query.join(reasons, reasons.c.n == _v.n, isouter=True).where(_v.n > position.n).order_by(_v.n)
    rows = connection.execute(query.limit(_AT_ONCE).with_for_update(of=verdicts)).all()
    if not rows:
        return None
    judged = _judged(database, connection, judge, rows)
    numbers = database.names.numbers(database, connection, verdict_names(judged.values()))
    fresh = {n: verdict_columns(verdict, numbers) for n, verdict in judged.items()}
    changed = [row for row in rows if _differs(row, fresh[row.n])]
    _replace(connection, [{"key": n, **columns} for n, columns in fresh.items()], judged)
    _recount(database, connection, changed, fresh)
    changes = Counter({(old, new): number for old, new, number in position.changes})
    changes.update((_status(row.status), _status(fresh[row.n]["status"])) for row in changed)
    return Position(
        version=position.version, n=rows[-1].n, total=position.total + len(rows),
        changed=position.changed + len(changed), changes=tuple((*pair, number) for pair, number in changes.items()),
    )  # fmt: skip


def _judged(database: Database, connection: Connection, judge: Judge, rows: Sequence[Any]) -> dict[int, Verdict]:
    known = certificates_of(connection, [row.n for row in rows])
    try:
        return {row.n: judge(unpack(row.format, row.data, known)) for row in rows}
    except Damaged as exc:
        raise damaged(database.place) from exc


def _differs(row: Any, fresh: dict[str, Any]) -> bool:
    """Is it another conclusion, and not only another version's?"""
    return any(getattr(row, name) != fresh[name] for name in _COLUMNS if name != "rules_version")


def _replace(connection: Connection, rows: list[dict[str, Any]], judged: dict[int, Verdict]) -> None:
    connection.execute(
        update(verdicts).where(_v.n == bindparam("key")).values({name: bindparam(name) for name in _COLUMNS}), rows
    )
    connection.execute(delete(reasons).where(reasons.c.n.in_(judged)))
    save_reasons(connection, judged)


def _recount(
    database: Database, connection: Connection, changed: Sequence[Any], fresh: dict[int, dict[str, Any]]
) -> None:
    sets = {row.methods for row in changed} | {fresh[row.n]["methods"] for row in changed}
    texts = database.names.texts(connection, sets)
    numbers = rollups.numbers_of_methods(database, connection, texts.values())
    deltas: rollups.Deltas = Counter()
    for row in changed:
        before: dict[str, Any] = {name: getattr(row, name) for name in ("site", "asn", "vantage", "started", "status")}
        after = before | {"status": fresh[row.n]["status"]}
        rollups.count(deltas, before, numbers[texts[row.methods]], by=-1)
        rollups.count(deltas, after, numbers[texts[fresh[row.n]["methods"]]])
    rollups.apply(database, connection, deltas)


def _status(number: int | None) -> str:
    return STATUS_OF[number].value if number else ""
