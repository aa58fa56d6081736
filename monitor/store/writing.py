"""Measurements into the tables: facts, verdict, counts and the newest of each, all in one transaction or not at all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from monitor.models import Measurement, Verdict
from monitor.outcome import outcome
from monitor.store import rollups, tallies
from monitor.store.database import Database
from monitor.store.names import Key, as_number, methods_text, network_text, storable
from monitor.store.packing import FORMAT, Packed, encoded, pack
from monitor.store.schema import (
    STATUSES,
    Tallied,
    Word,
    certificates,
    facts,
    latest,
    microseconds,
    reasons,
    shown,
    verdicts,
)
from monitor.store.wanted import Count, Tally

_AT_ONCE = 500
_LARGEST_VERSION = 2**31 - 1

Numbers = Mapping[Key, int]


def append(database: Database, measurements: Sequence[Measurement], count: Count | None = None) -> int:
    """Store what is new, all of it or nothing; how many that were. On disk when it returns. count: adds to tallies."""
    new = 0
    with database.writing() as connection:
        for start in range(0, len(measurements), _AT_ONCE):
            new += _append(database, connection, measurements[start : start + _AT_ONCE], count)
    return new


def _append(
    database: Database, connection: Connection, measurements: Sequence[Measurement], count: Count | None
) -> int:
    by_id = {storable(measurement.id): measurement for measurement in reversed(measurements)}
    known = set(connection.scalars(select(verdicts.c.id).where(verdicts.c.id.in_(by_id))))
    fresh = {id: measurement for id, measurement in by_id.items() if id not in known}
    numbers = database.names.numbers(database, connection, _names(fresh.values()))
    rows = {id: _row(id, measurement, numbers) for id, measurement in reversed(fresh.items())}
    if not rows:
        return 0
    # Another process of a hub may have been quicker with one of them: only what comes back is ours.
    adding = database.insert(verdicts).on_conflict_do_nothing(index_elements=["id"])
    for n, id in connection.execute(adding.returning(verdicts.c.n, verdicts.c.id), list(rows.values())):
        rows[id]["n"] = n
    rows = {id: row for id, row in rows.items() if "n" in row}
    _add_facts(database, connection, [(row["n"], fresh[id]) for id, row in rows.items()])
    save_reasons(connection, {row["n"]: fresh[id].verdict for id, row in rows.items()})
    stored = [(row, fresh[id]) for id, row in rows.items()]
    _note_newest(database, connection, stored)
    _count(database, connection, [(row, measurement.verdict) for row, measurement in stored])
    _tally(database, connection, [measurement for _, measurement in stored], count)
    return len(rows)


def verdict_columns(verdict: Verdict | None, numbers: Numbers) -> dict[str, Any]:
    """What the table verdicts has of a verdict."""
    return {
        "status": STATUSES[verdict.status] if verdict else None,
        "methods": numbers[Word.METHODS, methods_text(verdict.methods) if verdict else ""],
        "confidence": verdict.confidence if verdict else None,
        "confirmed": verdict.confirmed if verdict else False,
        "rule": numbers[Word.RULE, storable(verdict.rule) if verdict else ""],
        "rules_version": max(0, min(verdict.rules_version, _LARGEST_VERSION)) if verdict else 0,
    }


def verdict_names(verdicts: Iterable[Verdict | None]) -> set[Key]:
    """The names that verdicts need."""
    told = [verdict for verdict in verdicts if verdict]
    return {(Word.METHODS, ""), (Word.RULE, "")}.union(
        ((Word.METHODS, methods_text(verdict.methods)) for verdict in told),
        ((Word.RULE, storable(verdict.rule)) for verdict in told),
    )


def save_reasons(connection: Connection, verdicts: Mapping[int, Verdict | None]) -> None:
    """By the measurements' numbers; where there were none before."""
    rows = [{"n": n, "data": encoded(one.reasons)} for n, one in verdicts.items() if one and one.reasons]
    if rows:
        connection.execute(insert(reasons), rows)


def _names(measurements: Iterable[Measurement]) -> set[Key]:
    measurements = list(measurements)
    keys = verdict_names(measurement.verdict for measurement in measurements)
    for measurement in measurements:
        keys.update(_own_names(measurement).values())
    return keys


def _own_names(measurement: Measurement) -> dict[str, Key]:
    """Column -> name."""
    return {
        "site": (Word.SITE, storable(measurement.site)),
        "url": (Word.URL, storable(measurement.url)),
        "vantage": (Word.VANTAGE, storable(measurement.vantage)),
        "network": (Word.NETWORK, network_text(measurement.network)),
        "probe": (Word.PROBE, storable(measurement.probe)),
    }


def _row(id: str, measurement: Measurement, numbers: Numbers) -> dict[str, Any]:
    return {
        "id": id,
        "started": microseconds(measurement.started),
        "asn": as_number(measurement.network.asn),
        **{column: numbers[key] for column, key in _own_names(measurement).items()},
        **verdict_columns(measurement.verdict, numbers),
    }


def _add_facts(database: Database, connection: Connection, measurements: Sequence[tuple[int, Measurement]]) -> None:
    packed = {n: pack(measurement) for n, measurement in measurements}
    if packed:
        rows = [{"n": n, "format": FORMAT, "data": one.data} for n, one in packed.items()]
        connection.execute(insert(facts), rows)
        _add_certificates(database, connection, packed)


def _add_certificates(database: Database, connection: Connection, packed: Mapping[int, Packed]) -> None:
    ders = {fingerprint: der for one in packed.values() for fingerprint, der in one.certificates.items()}
    if not ders:
        return
    database.using_certificates(connection)
    known = _known_certificates(connection, list(ders))
    rows = [{"sha256": key, "der": der} for key, der in sorted(ders.items()) if key not in known]
    if rows:
        connection.execute(database.insert(certificates).on_conflict_do_nothing(index_elements=["sha256"]), rows)
        known = _known_certificates(connection, list(ders))
    links = [{"n": n, "certificate": known[key]} for n, one in packed.items() for key in one.certificates]
    connection.execute(insert(shown), links)


def _known_certificates(connection: Connection, fingerprints: Sequence[bytes]) -> dict[bytes, int]:
    known: dict[bytes, int] = {}
    for start in range(0, len(fingerprints), _AT_ONCE):
        part = fingerprints[start : start + _AT_ONCE]
        columns = (certificates.c.sha256, certificates.c.n)
        known.update((row.sha256, row.n) for row in connection.execute(select(*columns).where(columns[0].in_(part))))
    return known


def _note_newest(
    database: Database, connection: Connection, stored: Iterable[tuple[Mapping[str, Any], Measurement]]
) -> None:
    newest: dict[tuple[int, int], Mapping[str, Any]] = {}
    for row, measurement in sorted(stored, key=lambda pair: pair[0]["started"]):
        if row["status"] is not None:
            newest[row["url"], row["vantage"]] = {**row, "outcome": encoded(outcome(measurement))}
    if not newest:
        return
    adding = database.insert(latest)
    newer = {column: adding.excluded[column] for column in ("site", "started", "n", "outcome")}
    keys = ("url", "vantage")
    connection.execute(
        adding.on_conflict_do_update(
            index_elements=list(keys), set_=newer, where=latest.c.started <= adding.excluded.started
        ),
        [{key: row[key] for key in (*keys, *newer)} for _, row in sorted(newest.items())],
    )


def _count(
    database: Database, connection: Connection, rows: Sequence[tuple[Mapping[str, Any], Verdict | None]]
) -> None:
    texts = [methods_text(verdict.methods) if verdict else "" for _, verdict in rows]
    numbers = rollups.numbers_of_methods(database, connection, texts)
    deltas: rollups.Deltas = Counter()
    for (row, _), text in zip(rows, texts, strict=True):
        rollups.count(deltas, row, numbers[text])
    rollups.apply(database, connection, deltas)


def _tally(database: Database, connection: Connection, stored: Sequence[Measurement], count: Count | None) -> None:
    counts: Counter[Tally] = Counter({Tally(Tallied.STORED): len(stored)})
    for measurement in stored:
        if measurement.verdict:
            counts[Tally(Tallied.MEASUREMENTS, measurement.vantage, measurement.verdict.status.value)] += 1
        if count:
            counts.update(count(measurement))
    tallies.add(database, connection, counts)
