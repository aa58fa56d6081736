"""Events, incidents and the service's small state."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, Table, select

from monitor.models import Event, Incident
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.ground import Decide, Ground
from monitor.store.names import Key, as_number, storable
from monitor.store.packing import encoded
from monitor.store.reading import narrowed
from monitor.store.schema import KINDS, Word, events, incidents, microseconds, moment, state
from monitor.store.wanted import WantedEvents

# Of the measurements around an event these are kept with it: how it was before and after.
PADDING = timedelta(hours=1)
_PADDING = PADDING // timedelta(microseconds=1)

_AT_ONCE = 500

_event = msgspec.json.Decoder(Event)
_incident = msgspec.json.Decoder(Incident)


def save(
    database: Database, found: Sequence[Event], together: Sequence[Incident], decide: Decide | None = None
) -> None:
    """The newest of each replaces what has its id; on disk when it returns. decide: on what is stored then."""
    newest = {storable(event.id): event for event in found}
    with database.writing() as connection:
        sites: set[Key] = {(Word.SITE, storable(event.site)) for event in newest.values() if event.site is not None}
        numbers = database.names.numbers(database, connection, sites)
        changed = _changed(database, connection, newest)
        rows = [_row(id, event, numbers) | {"changed": changed[id]} for id, event in sorted(newest.items())]
        _upsert(database, connection, events, "id", rows)
        kept = {storable(incident.id): incident for incident in together}
        _upsert(database, connection, incidents, "id", [_incident_row(id, one) for id, one in sorted(kept.items())])
        if decide is not None:
            database.alone_to_decide(connection)
            decide(Ground(database, connection))


def find(database: Database, wanted: WantedEvents) -> list[Event]:
    """Events in order of (started, id)."""
    query = _filtered(select(events.c.data), events, wanted)
    with database.reading() as connection, consistent(database.place):
        if wanted.kind is not None:
            query = query.where(events.c.kind == KINDS[wanted.kind])
        return [_event.decode(data) for data in connection.scalars(_about(database, connection, query, wanted))]


def changed_last(database: Database, wanted: WantedEvents) -> list[tuple[datetime, Event]]:
    """Events of a site, of a network or all, with when what they say was stored: what changed last comes first."""
    query = select(events.c.changed, events.c.data).order_by(events.c.changed.desc(), events.c.id).limit(wanted.limit)
    with database.reading() as connection, consistent(database.place):
        query = _about(database, connection, query, wanted)
        return [(moment(row.changed), _event.decode(row.data)) for row in connection.execute(query)]


def find_incidents(database: Database, wanted: WantedEvents) -> list[Incident]:
    """Incidents in order of (started, id)."""
    with database.reading() as connection, consistent(database.place):
        data = connection.scalars(_filtered(select(incidents.c.data), incidents, wanted))
        return [_incident.decode(one) for one in data]


def one(database: Database, id: str) -> Event | None:
    """The event with that id."""
    with database.reading() as connection:
        data = connection.scalar(select(events.c.data).where(events.c.id == storable(id)))
    with consistent(database.place):
        return None if data is None else _event.decode(data)


def one_incident(database: Database, id: str) -> Incident | None:
    """The incident with that id."""
    with database.reading() as connection:
        data = connection.scalar(select(incidents.c.data).where(incidents.c.id == storable(id)))
    with consistent(database.place):
        return None if data is None else _incident.decode(data)


def remember(database: Database, key: str, value: bytes) -> None:
    """Keep a small thing under a name; on disk when it returns."""
    with database.writing() as connection:
        note(database, connection, key, value)


def note(database: Database, connection: Connection, key: str, value: bytes) -> None:
    """Keep a small thing under a name, together with what else the transaction does."""
    _upsert(database, connection, state, "key", [{"key": key, "value": value}])


def recall(database: Database, key: str) -> bytes | None:
    """What is kept under a name."""
    with database.reading() as connection:
        return connection.scalar(select(state.c.value).where(state.c.key == key))


def _filtered(query: Select[Any], table: Table, wanted: WantedEvents) -> Select[Any]:
    """By what events and incidents both have."""
    columns = table.c
    if wanted.active is not None:
        query = query.where(columns.ended.is_(None) if wanted.active else columns.ended.is_not(None))
    if wanted.since is not None:
        query = query.where(columns.ended.is_(None) | (columns.ended >= microseconds(wanted.since)))
    if wanted.until is not None:
        query = query.where(columns.started < microseconds(wanted.until))
    order = (columns.started, columns.id)
    if wanted.after is not None:
        behind = (microseconds(wanted.after[0]), storable(wanted.after[1]))
        query = query.where(narrowed(order, behind, down=wanted.newest_first))
    return query.order_by(*(one.desc() if wanted.newest_first else one for one in order)).limit(wanted.limit)


def _about(database: Database, connection: Connection, query: Select[Any], wanted: WantedEvents) -> Select[Any]:
    """Only of that network, of that site."""
    if wanted.asn is not None:
        query = query.where(events.c.asn == as_number(wanted.asn))
    if wanted.site is not None:
        number = database.names.number(connection, Word.SITE, wanted.site)
        query = query.where(events.c.site == (-1 if number is None else number))
    return query


def _changed(database: Database, connection: Connection, newest: Mapping[str, Event]) -> dict[str, int]:
    """When what each event says was stored first: now, unless only its counts have grown since."""
    now, found = microseconds(datetime.now(UTC)), dict.fromkeys(newest, 0)
    ids = list(newest)
    with consistent(database.place):
        for start in range(0, len(ids), _AT_ONCE):
            query = select(events.c.id, events.c.changed, events.c.data).where(
                events.c.id.in_(ids[start : start + _AT_ONCE])
            )
            for id, at, data in connection.execute(query):
                found[id] = at if _said(_event.decode(data)) == _said(newest[id]) else 0
    return {id: at or now for id, at in found.items()}


def _said(event: Event) -> tuple[object, ...]:
    """What a reader is told; how sure it is, and by how many, moves with every measurement."""
    where = event.network and (event.network.asn, event.network.isp)
    return event.kind, event.site, where, event.methods, event.started, event.ended, event.confidence > 0


def _row(id: str, event: Event, numbers: dict[Key, int]) -> dict[str, Any]:
    since = min(_known(event.started, *event.started_range))
    until = None if event.ended is None else max(_known(event.ended, *(event.ended_range or ())))
    return {
        "id": id,
        "kind": KINDS[event.kind],
        "site": None if event.site is None else numbers[Word.SITE, storable(event.site)],
        "asn": None if event.network is None else as_number(event.network.asn),
        "started": microseconds(event.started),
        "ended": None if event.ended is None else microseconds(event.ended),
        "kept_from": microseconds(since) - _PADDING,
        "kept_until": None if until is None else microseconds(until) + _PADDING,
        "data": encoded(event),
    }


def _known(*moments: datetime | None) -> list[datetime]:
    return [moment for moment in moments if moment is not None]


def _incident_row(id: str, incident: Incident) -> dict[str, Any]:
    return {
        "id": id,
        "started": microseconds(incident.started),
        "ended": None if incident.ended is None else microseconds(incident.ended),
        "data": encoded(incident),
    }


def _upsert(database: Database, connection: Connection, table: Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        adding = database.insert(table)
        newer = {column: adding.excluded[column] for column in rows[0] if column != key}
        connection.execute(adding.on_conflict_do_update(index_elements=[key], set_=newer), list(rows))
