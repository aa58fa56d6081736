"""`almenara events`: the stored events, listed; or one of them with its timeline and the measurements behind it.

Names in events come from measurements, and measurements may come from strangers: nothing of theirs is printed as it is.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor import timeline
from monitor.config import Config
from monitor.explain import METHOD_WORDS, explain
from monitor.models import Event, Incident, Kind, Measurement, Network, Point, Status
from monitor.moments import length, local_and_utc
from monitor.publish.options import between, read, site_named, told_if_unknown
from monitor.show import printable, status_text, sureness
from monitor.store import Store, Wanted, locate
from monitor.wording import counted, headline, is_local, network_words, told

SHAPE_AND_WORD = {
    Kind.BLOCKING: ("✗", "blocked", "bold red"),
    Kind.SITE_OUTAGE: ("↓", "site down", "yellow"),
    Kind.NETWORK_OUTAGE: ("▽", "network down", "yellow"),
    Kind.SILENCE: ("∅", "silent", "dim"),
}
NOT_THE_NETWORK = ("▽", "no connection", "yellow")  # a network's outage that one probe saw: its own line, perhaps
NO_BLOCKING = {Kind.SITE_OUTAGE: ", which is no blocking", Kind.NETWORK_OUTAGE: ", which is no blocking of one"}
NO_WORDS = "A method that this version has no words for."
SHORT_ID = 12  # characters, as long as they tell the listed ones apart
SHOWN = 20  # measurements of an event; `--json` has the ids of all
Row = dict[str, list[Text]]  # column -> its words
PIPE_WIDTH = 1000  # columns where there is no terminal to fit into: nothing is wrapped
ROOMY = 130  # columns from which on an event fits into one line
AS_ABOVE = "″"


class EventUnknown(Exception):
    """No event, or more than one, has that id. Its text is one line."""


class Filter(Struct, frozen=True, kw_only=True):
    """Which events are wanted; None: all. since, until: those that were going on at some moment between them."""

    kind: Kind | None = None
    site: str | None = None
    asn: int | None = None
    country: str | None = None
    active: bool = False
    since: datetime | None = None
    until: datetime | None = None
    minimum_confidence: float = 0.0

    def passes(self, event: Event) -> bool:
        """Is the event one of them?"""
        network = event.network or Network()
        return (
            self.kind in (None, event.kind)
            and self.site in (None, event.site)
            and self.asn in (None, network.asn)
            and self.country in (None, network.country)
            and not (self.active and event.ended)
            and self._overlaps(event)
            and event.confidence >= self.minimum_confidence
        )

    def _overlaps(self, event: Event) -> bool:
        begins_in_time = self.until is None or event.started < self.until
        ends_in_time = self.since is None or event.ended is None or event.ended >= self.since
        return begins_in_time and ends_in_time


def wanted(*, kind: str | None, site: str | None, since: str | None, until: str | None, **others: Any) -> Filter:
    """A filter from what the command line says; NotUnderstood."""
    after, before = between(since, until)
    site = read("--site", site, site_named)
    return Filter(kind=Kind(kind) if kind else None, site=site, since=after, until=before, **others)


def run(config: Config, event: str | None, wanted: Filter, *, json: bool, incidents: bool) -> int:
    """Print and return 0, whatever there is. Raises StoreError, EventUnknown."""
    now = datetime.now(UTC)
    with Store.open(locate(config.store), create=False) as store:
        if event is not None:
            found = _named(store.events(), event)
            _write(_with_ids(store, found)) if json else _print(_Single(store, found, now).shown)
            return 0
        chosen: Sequence[Event | Incident] = _incidents(store, wanted) if incidents else _events(store, wanted)
        if not chosen:
            told_if_unknown(store, site=wanted.site)
        if json:
            for one in chosen:
                _write(msgspec.json.encode(told(one)))
        else:
            _print(partial(_listed, chosen, now))
    return 0


def _events(store: Store, wanted: Filter) -> list[Event]:
    return sorted((one for one in store.events() if wanted.passes(one)), key=_newest_first)


def _incidents(store: Store, wanted: Filter) -> list[Incident]:
    found = (one for one in store.incidents() if any(map(wanted.passes, one.events)))
    return sorted(found, key=_newest_first)


def _newest_first(one: Event | Incident) -> tuple[float, str]:
    return -one.started.timestamp(), one.id


def _named(events: Iterable[Event], start: str) -> Event:
    """The event whose id is, or alone begins with, that text."""
    found = [one for one in events if one.id.startswith(start)]
    exact = next((one for one in found if one.id == start), None)
    if exact is None and len(found) > 1:
        several = ", ".join(sorted(printable(one.id, 64) for one in found)[:3])
        raise EventUnknown(f"{len(found)} events begin with {printable(start, 64)}: {several}...; write more of it")
    if exact is None and not found:
        raise EventUnknown(f"no event has the id {printable(start, 64)}: `almenara events` lists them")
    return exact or found[0]


def _points(store: Store, event: Event, since: datetime) -> Iterator[Point]:
    """The verdicts on the event's site (of a whole network: on all of them) on its network."""
    network = event.network
    for point in store.points(since=since, site=event.site, asn=network.asn if network else None):
        known = network is None or network.asn is not None or point.network.isp == network.isp
        if known and (network is None or point.network.asn == network.asn):
            yield point


def _behind(points: Iterable[Point], event: Event) -> list[Point]:
    """Those from the event's beginning, at the earliest, to its end, at the latest."""
    first = event.started_range[0] or event.started
    last = event.ended_range[1] if event.ended_range else None
    return [point for point in points if first <= point.started and (last is None or point.started <= last)]


def _with_ids(store: Store, event: Event) -> bytes:
    first = event.started_range[0] or event.started
    ids = [point.id for point in _behind(_points(store, event, first), event)]
    return msgspec.json.encode({**told(event), "measurement_ids": ids})


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")


def _print(parts: Callable[[bool], Iterable[Table | Text]]) -> None:
    """parts: told whether there is room for an event on each line."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)
    for part in parts(console.width >= ROOMY):
        console.print(part)
    sys.stdout.flush()


def _listed(found: Sequence[Event | Incident], now: datetime, roomy: bool) -> Iterator[Table | Text]:
    if not found:
        yield Text("No event: nothing of the kind was found so far.")
        return
    width = _telling(found)
    rows = [_event_row(one, now) if isinstance(one, Event) else _incident_row(one, now) for one in found]
    table = Table("id", *(rows[0] if roomy else ("what", "since", "how")), box=None, padding=(0, 2, 0, 0))
    for one, row in zip(found, rows, strict=True):
        cells = [Text(", ").join(cell) for cell in row.values()] if roomy else _stacked(row)
        table.add_row(Text(printable(one.id[:width], width), style="dim"), *cells)
        if not roomy:
            table.add_row("")
    yield table


def _stacked(row: Row) -> list[Text]:
    """The same in three columns, for eighty characters."""
    last = list(row)[-1]
    columns = (("what", "where"), ("since", "how long"), ("how", "how sure", last))
    return [Text("\n").join(part for name in names for part in row[name]) for names in columns]


def _telling(found: Sequence[Event | Incident]) -> int:
    """How much of the ids tells them apart."""
    longest = max(len(one.id) for one in found)
    return next((n for n in range(SHORT_ID, longest) if len({one.id[:n] for one in found}) == len(found)), longest)


def _event_row(event: Event, now: datetime) -> Row:
    return {
        "what": [_what(event)],
        "where": _texts((_site(event), network_words(event.network))),
        "since": [Text(local_and_utc(event.started) + ("" if event.started_range[0] else " or earlier"))],
        "how long": _how_long(event.started, event.ended, now),
        "how": _texts(event.methods, 32),
        "how sure": [Text(sureness(event.confidence))],
        "measured": [Text(f"{event.measurements} by {counted(event.probes, 'probe')}")],
    }


def _incident_row(incident: Incident, now: datetime) -> Row:
    events = incident.events
    return {
        "what": list({text.plain: text for text in map(_what, events)}.values()),
        "where": _texts([*map(_site, events), *(network_words(one.network) for one in events)]),
        "since": [Text(local_and_utc(incident.started))],
        "how long": _how_long(incident.started, incident.ended, now),
        "how": _texts([method for one in events for method in one.methods], 32),
        "how sure": [Text(sureness(max((one.confidence for one in events), default=0.0)))],
        "events": _texts([one.id[:SHORT_ID] for one in events]),
    }


def _texts(words: Iterable[str], width: int = 80) -> list[Text]:
    """Each word once, none of them empty."""
    return [Text(printable(word, width)) for word in dict.fromkeys(words) if word]


def _what(event: Event) -> Text:
    shape, word, style = NOT_THE_NETWORK if is_local(event) else SHAPE_AND_WORD[event.kind]
    return Text(f"{shape} {word}", style=style)


def _site(event: Event) -> str:
    return printable(event.site, 60) if event.site else ""


def _how_long(started: datetime, ended: datetime | None, now: datetime) -> list[Text]:
    if ended is None:
        return [Text(length(now - started)), Text("going on", style="bold")]
    return [Text(length(ended - started)), Text("over", style="dim")]


class _Single:
    """One event, told in full."""

    def __init__(self, store: Store, event: Event, now: datetime) -> None:
        self._store, self._event = store, event
        first = event.started_range[0] or event.started
        self._last = max((point.started for point in _points(store, event, first)), default=None)
        # What goes on went on when last measured: a probe that was off for a month says nothing about that month.
        self._span = timeline.span_of(event, self._last or now)
        self._seen = list(_points(store, event, min(self._span.since, first)))
        self._behind = _behind(self._seen, event)

    def shown(self, _: bool = True) -> Iterator[Table | Text]:
        """Part by part: what, the facts, what the methods mean, the timeline, the measurements."""
        yield self._headline()
        yield self._facts()
        if self._event.methods:
            yield Text("\nHow", style="bold")
            yield self._methods()
        yield Text("\nTimeline", style="bold")
        yield self._timeline()
        yield Text(f"\nMeasurements: {len(self._behind)}", style="bold")
        yield from self._measurements()

    def _headline(self) -> Text:
        event = self._event
        shape, _, style = SHAPE_AND_WORD[event.kind]
        tail = "" if is_local(event) else NO_BLOCKING.get(event.kind, "")
        return Text(f"{shape} {headline(event)}{tail}", style=style)

    def _facts(self) -> Table:
        event = self._event
        table = Table.grid(padding=(0, 2))
        table.add_row("id", printable(event.id, 64))
        table.add_row("since", Text(self._since()))
        table.add_row("until", Text(self._until()))
        table.add_row("found out", Text(local_and_utc(event.detected)))
        table.add_row("how sure", Text(self._rests_on()))
        return table

    def _since(self) -> str:
        event = self._event
        before, first = event.started_range
        if before is None:
            return f"{local_and_utc(event.started)} or earlier: it was so when first measured"
        return f"{local_and_utc(event.started)}, {_between(before, first or event.started)}"

    def _until(self) -> str:
        event = self._event
        if event.ended is None:
            return "going on" + (f" when last measured, {local_and_utc(self._last)}" if self._last else "")
        last, first = event.ended_range or (None, None)
        told = f", {_between(last, first)}" if last and first else ""
        return f"{local_and_utc(event.ended)}{told}; it lasted {length(event.ended - event.started)}"

    def _rests_on(self) -> str:
        event = self._event
        seen = Counter(point.status for point in self._behind)
        found = ", ".join(f"{seen[status]} {status.value}" for status in Status if seen[status])
        rests = f"{counted(event.measurements, 'measurement')} by {counted(event.probes, 'probe')}"
        return f"{sureness(event.confidence)}: it rests on {rests}" + (f"; in that time {found}" if found else "")

    def _methods(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for method in self._event.methods:
            table.add_row(Text(printable(method, 32)), Text(METHOD_WORDS.get(method, NO_WORDS)))
        return table

    def _timeline(self) -> Text:
        found = timeline.counts(self._seen, self._span)
        ends = (
            f"{local_and_utc(self._span.since)} to {local_and_utc(self._span.until)}, {length(self._span.stretch)} each"
        )
        parts = (
            timeline.line(found),
            timeline.ruler(self._event, self._span),
            timeline.legend(found),
            Text(ends, style="dim"),
        )
        return Text("\n").join(parts)

    def _measurements(self) -> Iterator[Table | Text]:
        ids = [point.id for point in islice(self._behind, SHOWN)]
        if not ids:
            yield Text("Those behind it are no longer kept.", style="dim")
            return
        table = Table("when (UTC)", "id", "verdict", "why", box=None, padding=(0, 2, 0, 0))
        above = ""
        for measurement in self._store.measurements(Wanted(ids=tuple(ids))):
            why = _why(measurement)
            table.add_row(*_measurement_cells(measurement), Text(AS_ABOVE if why and why == above else why))
            above = why
        yield table
        if len(self._behind) > SHOWN:
            yield Text(f"and {len(self._behind) - SHOWN} more: --json has the ids of all", style="dim")


def _between(one: datetime, other: datetime) -> str:
    one, other = one.astimezone(UTC), other.astimezone(UTC)
    form = "%H:%M" if one.date() == other.date() else "%Y-%m-%d %H:%M"
    return f"between {one:{form}} and {other:{form}} UTC"


def _measurement_cells(measurement: Measurement) -> tuple[Text, ...]:
    return (
        Text(f"{measurement.started.astimezone(UTC):%Y-%m-%d %H:%M:%S}"),
        Text(printable(measurement.id, 40), style="dim"),
        status_text(measurement.verdict),
    )


def _why(measurement: Measurement) -> str:
    verdict = measurement.verdict
    return "; ".join(map(explain, verdict.reasons[1:] or verdict.reasons)) if verdict else ""
