"""`almenara events`: the stored events, listed; or one of them with its timeline and the measurements behind it.

Names in events come from measurements, and measurements may come from strangers: nothing of theirs is printed as it is.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from monitor import timeline
from monitor.backing import counted, opens_since
from monitor.config import Config
from monitor.language import Words, here
from monitor.messages import N_
from monitor.models import Event, Incident, Kind, Measurement, Network
from monitor.moments import length, local_and_utc
from monitor.newest import opened
from monitor.publish.behind import behind, named, points_of
from monitor.publish.options import between, read, site_named, told_if_unknown
from monitor.show import counts_text, printable, results_console, status_text, sureness
from monitor.store import Store, Wanted, locate
from monitor.wording import headline, is_local, network_words, opened_words, told

SHAPE_AND_WORD = {
    Kind.BLOCKING: ("✗", N_("blocked"), "bold red"),
    Kind.SITE_OUTAGE: ("↓", N_("site down"), "yellow"),
    Kind.NETWORK_OUTAGE: ("▽", N_("network down"), "yellow"),
    Kind.SILENCE: ("∅", N_("silent"), "dim"),
}
NOT_THE_NETWORK = ("▽", N_("no connection"), "yellow")  # a network's outage that one probe saw: its own line, perhaps
NO_BLOCKING = {
    Kind.SITE_OUTAGE: N_("{event}, which is no blocking"),
    Kind.NETWORK_OUTAGE: N_("{event}, which is no blocking of one"),
}
SHORT_ID = 12  # characters, as long as they tell the listed ones apart
SHOWN = 20  # measurements of an event; `--json` has the ids of all
Row = dict[str, list[Text]]  # column -> its words
ROOMY = 130  # columns from which on an event fits into one line
AS_ABOVE = "″"
_MOST_SITES = 3  # named on each network of an incident


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
            known: list[Event | Incident] = [*store.events(), *store.incidents()]
            _one(store, named(known, event), now, json=json)
            return 0
        chosen: Sequence[Event | Incident] = _incidents(store, wanted) if incidents else _events(store, wanted)
        if not chosen:
            told_if_unknown(store, site=wanted.site)
        if json:
            for one in chosen:
                _write(msgspec.json.encode(told(one)))
        else:
            _print(partial(_listed, chosen, _opened(store, chosen), now))
    return 0


def _one(store: Store, found: Event | Incident, now: datetime, *, json: bool) -> None:
    """An event in full; of an incident, which alerts name, its events."""
    if isinstance(found, Event):
        _write(_with_ids(store, found)) if json else _print(_Single(store, found, now).shown)
    elif json:
        _write(msgspec.json.encode(told(found)))
    else:
        _print(partial(_listed, found.events, _opened(store, found.events), now))


def _events(store: Store, wanted: Filter) -> list[Event]:
    return sorted((one for one in store.events() if wanted.passes(one)), key=_newest_first)


def _incidents(store: Store, wanted: Filter) -> list[Incident]:
    found = (one for one in store.incidents() if any(map(wanted.passes, one.events)))
    return sorted(found, key=_newest_first)


def _newest_first(one: Event | Incident) -> tuple[float, str]:
    return -one.started.timestamp(), one.id


def _with_ids(store: Store, event: Event) -> bytes:
    first = event.started_range[0] or event.started
    found = behind(points_of(store, event, first), event)
    return msgspec.json.encode({**told(counted(event, found)), "measurement_ids": [point.id for point in found]})


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")


def _print(parts: Callable[[bool], Iterable[Table | Text]]) -> None:
    """parts: told whether there is room for an event on each line."""
    console = results_console()
    for part in parts(console.width >= ROOMY):
        console.print(part)
    sys.stdout.flush()


def _opened(store: Store, found: Sequence[Event | Incident]) -> set[str]:
    """Of which of them, and of their events, the newest results no longer show what is not over."""
    events = [event for one in found for event in (one.events if isinstance(one, Incident) else (one,))]
    ids = set(opened(store, events))
    for one in found:
        if isinstance(one, Incident) and ids.issuperset(event.id for event in one.events if event.ended is None):
            ids.add(one.id)
    return ids


def _listed(found: Sequence[Event | Incident], opened: Set[str], now: datetime, roomy: bool) -> Iterator[Table | Text]:
    w = here()
    if not found:
        yield Text(w.text("No event: nothing of the kind was found so far."))
        return
    width = _telling(found)
    rows = [
        _event_row(one, one.id in opened, now, w) if isinstance(one, Event) else _incident_row(one, one.id in opened, now, w)
        for one in found
    ]  # fmt: skip
    titles = [_TITLES[name] for name in (rows[0] if roomy else ("what", "since", "how"))]
    table = Table(w.text("id"), *map(w.gettext, titles), box=None, padding=(0, 2, 0, 0))
    for one, row in zip(found, rows, strict=True):
        cells = [Text(", ").join(cell) for cell in row.values()] if roomy else _stacked(row)
        table.add_row(Text(printable(one.id[:width], width), style="dim"), *cells)
        if not roomy:
            table.add_row("")
    yield table


_TITLES = {
    "what": N_("what"),
    "where": N_("where"),
    "since": N_("since"),
    "how long": N_("how long"),
    "how": N_("how"),
    "how sure": N_("how sure"),
    "measured": N_("measured"),
    "events": N_("events"),
}


def _stacked(row: Row) -> list[Text]:
    """The same in three columns, for eighty characters."""
    last = list(row)[-1]
    columns = (("what", "where"), ("since", "how long"), ("how", "how sure", last))
    return [Text("\n").join(part for name in names for part in row[name]) for names in columns]


def _telling(found: Sequence[Event | Incident]) -> int:
    """How much of the ids tells them apart."""
    longest = max(len(one.id) for one in found)
    return next((n for n in range(SHORT_ID, longest) if len({one.id[:n] for one in found}) == len(found)), longest)


def _event_row(event: Event, opens: bool, now: datetime, w: Words) -> Row:
    return {
        "what": [_what(event, w)],
        "where": _texts((_site(event), network_words(event.network, w))),
        "since": [Text(_began(event, w))],
        "how long": _how_long(event.started, event.ended, opens, now, w),
        "how": _texts(event.methods, 32),
        "how sure": [Text(sureness(event.confidence, w))],
        "measured": [Text(_measured(event, w))],
    }


def _began(event: Event, w: Words) -> str:
    began = local_and_utc(event.started)
    return began if event.started_range[0] else w.text("{time} or earlier", time=began)


def _measured(event: Event, w: Words) -> str:
    number = w.number(event.measurements)
    return w.many("{number} by {count} probe", "{number} by {count} probes", event.probes, number=number)


def _incident_row(incident: Incident, opens: bool, now: datetime, w: Words) -> Row:
    events = incident.events
    return {
        "what": list({text.plain: text for text in (_what(one, w) for one in events)}.values()),
        "where": [Text(line) for line in _places(events, w)],
        "since": [Text(local_and_utc(incident.started))],
        "how long": _how_long(incident.started, incident.ended, opens, now, w),
        "how": _texts([method for one in events for method in one.methods], 32),
        "how sure": [Text(sureness(max((one.confidence for one in events), default=0.0), w))],
        "events": _texts([one.id[:SHORT_ID] for one in events]),
    }


def _places(events: Sequence[Event], w: Words) -> Iterator[str]:
    """Each network with its sites: not each of all is blocked on each. What is over, beside what goes on, is told so."""
    found: dict[tuple[str, bool], list[str]] = {}
    for one in sorted(events, key=lambda one: one.ended is not None):
        found.setdefault((network_words(one.network, w), one.ended is not None), []).append(_site(one))
    mixed = len({is_over for _, is_over in found}) > 1
    for (network, is_over), sites in found.items():
        place = w.text("{network}: {sites}", network=network, sites=w.some(list(dict.fromkeys(sites)), _MOST_SITES))
        yield w.text("{place} (over)", place=place) if mixed and is_over else place


def _texts(words: Iterable[str], width: int = 80) -> list[Text]:
    """Each word once, none of them empty."""
    return [Text(printable(word, width)) for word in dict.fromkeys(words) if word]


def _what(event: Event, w: Words) -> Text:
    shape, word, style = NOT_THE_NETWORK if is_local(event) else SHAPE_AND_WORD[event.kind]
    return Text(f"{shape} {w.gettext(word)}", style=style)


def _site(event: Event) -> str:
    return printable(event.site, 60) if event.site else ""


def _how_long(started: datetime, ended: datetime | None, opens: bool, now: datetime, w: Words) -> list[Text]:
    if ended is None and opens:
        return [Text(length(now - started)), Text(w.text("open in the newest results"), style="green")]
    if ended is None:
        return [Text(length(now - started)), Text(w.text("going on"), style="bold")]
    return [Text(length(ended - started)), Text(w.text("over"), style="dim")]


class _Single:
    """One event, told in full."""

    def __init__(self, store: Store, event: Event, now: datetime) -> None:
        self._store, self._words = store, here()
        first = event.started_range[0] or event.started
        self._last = max((point.started for point in points_of(store, event, first)), default=None)
        # What goes on went on when last measured: a probe that was off for a month says nothing about that month.
        self._span = timeline.span_of(event, self._last or now)
        self._seen = list(points_of(store, event, min(self._span.since, first)))
        self._behind = behind(self._seen, event)
        self._event = counted(event, self._behind)

    def shown(self, _: bool = True) -> Iterator[Table | Text]:
        """Part by part: what, the facts, what the methods mean, the timeline, the measurements."""
        w = self._words
        yield self._headline()
        yield self._facts()
        if self._event.methods:
            yield Text("\n" + w.text("How"), style="bold")
            yield self._methods()
        yield Text("\n" + w.text("Timeline"), style="bold")
        yield self._timeline()
        yield Text("\n" + w.text("Measurements: {number}", number=w.number(len(self._behind))), style="bold")
        yield from self._measurements()

    def _headline(self) -> Text:
        event = self._event
        shape, _, style = SHAPE_AND_WORD[event.kind]
        opens = opens_since(event, self._seen) is not None
        what, message = headline(event, self._words, opened=opens), NO_BLOCKING.get(event.kind)
        if message is not None and not is_local(event) and not opens:
            what = self._words.text(message, event=what)
        return Text(f"{shape} {what}", style=style)

    def _facts(self) -> Table:
        event, w = self._event, self._words
        table = Table.grid(padding=(0, 2))
        table.add_row(w.text("id"), printable(event.id, 64))
        table.add_row(w.text("since"), Text(self._since()))
        table.add_row(w.text("until"), Text(self._until()))
        table.add_row(w.text("found out"), Text(local_and_utc(event.detected)))
        table.add_row(w.text("how sure"), Text(self._rests_on()))
        return table

    def _since(self) -> str:
        event, w = self._event, self._words
        before, first = event.started_range
        began = local_and_utc(event.started)
        if before is None:
            return w.text("{time} or earlier: it was so when first measured", time=began)
        return f"{began}, {_between(before, first or event.started, w)}"

    def _until(self) -> str:
        event, w = self._event, self._words
        if event.ended is None:
            if since := opens_since(event, self._seen):
                return opened_words(since[1], local_and_utc(since[0]), w)
            if self._last is None:
                return w.text("going on")
            return w.text("going on when last measured, {time}", time=local_and_utc(self._last))
        last, first = event.ended_range or (None, None)
        ended = local_and_utc(event.ended) + (f", {_between(last, first, w)}" if last and first else "")
        return w.text("{ended}; it lasted {length}", ended=ended, length=length(event.ended - event.started))

    def _rests_on(self) -> str:
        event, w = self._event, self._words
        seen = Counter(point.status for point in self._behind)
        found = counts_text(seen, w)
        told = w.text(
            "{share}: it rests on {measurements} by {probes}", share=sureness(event.confidence, w),
            measurements=w.many("{count} measurement", "{count} measurements", event.measurements),
            probes=w.many("{count} probe", "{count} probes", event.probes),
        )  # fmt: skip
        return w.text("{rests}; in that time {found}", rests=told, found=found) if found else told

    def _methods(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for method in self._event.methods:
            table.add_row(Text(printable(method, 32)), Text(self._words.method_meaning(method)))
        return table

    def _timeline(self) -> Text:
        found = timeline.counts(self._seen, self._span)
        ends = self._words.text(
            "{since} to {until}, {length} each", since=local_and_utc(self._span.since),
            until=local_and_utc(self._span.until), length=length(self._span.stretch),
        )  # fmt: skip
        parts = (
            timeline.line(found),
            timeline.ruler(self._event, self._span),
            timeline.legend(found, self._words),
            Text(ends, style="dim"),
        )
        return Text("\n").join(parts)

    def _measurements(self) -> Iterator[Table | Text]:
        w, ids = self._words, [point.id for point in islice(self._behind, SHOWN)]
        if not ids:
            yield Text(w.text("Those behind it are no longer kept."), style="dim")
            return
        titles = (w.text("when (UTC)"), w.text("id"), w.text("verdict"), w.text("why"))
        table = Table(*titles, box=None, padding=(0, 2, 0, 0))
        above = ""
        for measurement in self._store.measurements(Wanted(ids=tuple(ids))):
            why = _why(measurement, w)
            table.add_row(*_measurement_cells(measurement, w), Text(AS_ABOVE if why and why == above else why))
            above = why
        yield table
        if len(self._behind) > SHOWN:
            more = len(self._behind) - SHOWN
            told = w.many(
                "and {count} more: --json has the ids of all", "and {count} more: --json has the ids of all", more
            )
            yield Text(told, style="dim")


def _between(one: datetime, other: datetime, w: Words) -> str:
    one, other = one.astimezone(UTC), other.astimezone(UTC)
    if f"{one:%Y-%m-%d %H:%M}" == f"{other:%Y-%m-%d %H:%M}":
        form = "%H:%M:%S"
    else:
        form = "%H:%M" if one.date() == other.date() else "%Y-%m-%d %H:%M"
    return w.text("between {one} and {other} UTC", one=f"{one:{form}}", other=f"{other:{form}}")


def _measurement_cells(measurement: Measurement, w: Words) -> tuple[Text, ...]:
    return (
        Text(f"{measurement.started.astimezone(UTC):%Y-%m-%d %H:%M:%S}"),
        Text(printable(measurement.id, 40), style="dim"),
        status_text(measurement.verdict, w),
    )


def _why(measurement: Measurement, w: Words) -> str:
    verdict = measurement.verdict
    return "; ".join(map(w.reason, verdict.reasons[1:] or verdict.reasons)) if verdict else ""
