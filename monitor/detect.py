"""`almenara detect`: the events in a history of verdicts, read from files in whatever order.

What lies in a file was written by somebody else: every line is bounded and checked, and one that says nothing costs one
message and not the others.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from monitor.classify import Reading, UnreadableError, documents
from monitor.control.bounds import text
from monitor.events import Minimum, detect
from monitor.language import here
from monitor.messages import N_, Said
from monitor.models import Event, Kind, Network, Point, Status
from monitor.show import PIPE_WIDTH, results_console
from monitor.wording import told

_LONGEST = 255  # characters of a site, a probe, a method: a name of the DNS has no more
_MOST_METHODS = 32
_LARGEST_ASN = 2**32 - 1
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_KINDS = {
    Kind.BLOCKING: "bold red",
    Kind.SITE_OUTAGE: "yellow",
    Kind.NETWORK_OUTAGE: "yellow",
    Kind.SILENCE: "magenta",
}

# The names that JSON has for them, except where a reader has words of his own.
_KIND_NAMES = {
    Kind.BLOCKING: N_("blocking"),
    Kind.SITE_OUTAGE: N_("site_outage"),
    Kind.NETWORK_OUTAGE: N_("network_outage"),
    Kind.SILENCE: N_("silence"),
}
_TITLES = {
    "kind": N_("kind"),
    "site": N_("site"),
    "network": N_("network"),
    "started": N_("started"),
    "ended": N_("ended"),
    "detected": N_("detected"),
    "methods": N_("methods"),
    "confidence": N_("confidence"),
    "n": N_("n"),
    "probes": N_("probes"),
}


class _Network(Struct):
    asn: int | None = None
    isp: str | None = None
    country: str | None = None


class _Verdict(Struct):
    status: Status
    methods: tuple[str, ...] = ()
    confidence: float | None = None
    confirmed: bool | None = None
    rule: str | None = None


class _Line(Struct):
    """What is needed of a measurement; all else in the line is passed over."""

    site: str
    network: _Network
    started: datetime
    verdict: _Verdict
    id: str | None = None
    probe: str | None = None


_DECODER = msgspec.json.Decoder(_Line)
_LINES = msgspec.json.Decoder(list[_Line])


def run(files: Sequence[Path], *, json: bool, all_kinds: bool, minimum: Minimum) -> int:
    """Print the events in the files (`-`: standard input); 1 when something could not be read."""
    reading = _Points()
    events = detect(reading.all(files), minimum)
    if not all_kinds:
        events = [event for event in events if event.kind is Kind.BLOCKING]
    (_print_json if json else _print_table)(events)
    return 1 if reading.unread else 0


class _Points(Reading):
    """Lines become points; what repeats in them is kept once."""

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[str, str] = {}
        self._networks: dict[tuple[int | None, str | None, str | None], Network] = {}
        self._methods: dict[tuple[str, ...], tuple[str, ...]] = {}

    def all(self, files: Sequence[Path]) -> Iterator[Point]:
        """Every point in the files; what cannot be read is told."""
        for file in files:
            yield from self.readable(file, self.points(file))

    def points(self, file: Path) -> Iterator[tuple[str, Point | UnreadableError]]:
        """Every point in a file, or why there is none, each with the place."""
        for where, data in documents(file):
            if isinstance(data, UnreadableError):
                yield where, data
                continue
            try:
                lines = _LINES.decode(data) if data.lstrip()[:1] == b"[" else (_DECODER.decode(data),)
            except msgspec.ValidationError as exc:
                yield (
                    where,
                    UnreadableError(
                        Said("not a measurement with a verdict: {problem}", problem=text(str(exc), _LONGEST))
                    ),
                )
            except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                yield where, UnreadableError(Said("not JSON: {problem}", problem=text(str(exc), _LONGEST)))
            except RecursionError:
                yield where, UnreadableError(Said("not a measurement: nested too deeply"))
            else:
                for line in lines:
                    yield where, self._point(line)

    def _point(self, line: _Line) -> Point | UnreadableError:
        verdict, network = line.verdict, line.network
        wrong = _wrong(line)
        if wrong:
            return UnreadableError(Said("not a measurement with a verdict: {problem}", problem=wrong))
        asn, isp, country = key = (network.asn, self._name(network.isp), self._name(network.country))
        where = self._networks.get(key)
        if where is None:
            where = self._networks[key] = Network(asn=asn, isp=isp, country=country, source="observed")
        site, probe = self._word(line.site), self._word(line.probe or "")
        return Point(
            id=_identity(where, site, probe, line),
            site=site,
            network=where,
            probe=probe,
            started=line.started.astimezone(UTC),
            status=verdict.status,
            methods=self._named(verdict.methods),
            confidence=verdict.confidence,
            confirmed=verdict.confirmed is True,
            rule=self._word(verdict.rule or ""),
        )

    def _word(self, word: str) -> str:
        word = word[:_LONGEST]  # before it is kept: a line may hold megabytes
        return self._words.get(word) or self._words.setdefault(word, text(word))

    def _name(self, value: str | None) -> str | None:
        return self._word(value) if value else value

    def _named(self, methods: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(self._word(method) for method in methods[:_MOST_METHODS])
        return self._methods.setdefault(named, named)


def _wrong(line: _Line) -> Said | None:
    """What is implausible about a line that has the right form."""
    started, confidence, asn = line.started, line.verdict.confidence, line.network.asn
    if started.tzinfo is None:
        return Said("started: a time without its zone")
    if not _EARLIEST <= started < _LATEST:
        return Said("started: expected a time between 2000 and 2199")
    if not line.site or len(line.site) > _LONGEST:
        return Said("site: expected 1 to {number} characters", number=_LONGEST)
    if confidence is not None and not 0 <= confidence <= 1:
        return Said("verdict.confidence: expected 0 to 1")
    if asn is not None and not 0 <= asn <= _LARGEST_ASN:
        return Said("network.asn: expected 0 to 4294967295")
    return None


def _identity(network: Network, site: str, probe: str, line: _Line) -> str:
    """The line's id, or one that the same measurement has again; a digest where it is long."""
    if line.id and len(line.id) <= _LONGEST:
        return line.id
    told = line.id or (network.asn, network.isp, site, probe, line.started.timestamp(), line.verdict.status)
    return hashlib.blake2b(repr(told).encode(), digest_size=12).hexdigest()


# --- what is printed -----------------------------------------------------------------------------------------------


def _print_json(events: Sequence[Event]) -> None:
    for event in events:
        sys.stdout.buffer.write(msgspec.json.encode(told(event)) + b"\n")


def _print_table(events: Sequence[Event]) -> None:
    """A line for each, or where the terminal is too narrow for that a few."""
    console = results_console()
    if not events:
        console.print(here().text("no events"), style="dim")
        return
    rows = [_cells(event) for event in events]
    w = here()
    table = Table(*(w.gettext(_TITLES[name]) for name in rows[0]), box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for event, row in zip(events, rows, strict=True):
        table.add_row(*map(_shown, row.values()), style=_KINDS[event.kind])
    unbounded = console.options.update(max_width=PIPE_WIDTH)
    fits = console.measure(table, options=unbounded).maximum <= console.width
    console.print(table if fits else _stacked(events, rows))


def _cells(event: Event) -> dict[str, str]:
    return {
        "kind": here().gettext(_KIND_NAMES[event.kind]),
        "site": event.site or "-",
        "network": _network(event.network),
        "started": ("" if event.started_range[0] else "<= ") + _minute(event.started),
        "ended": "-" if event.ended is None else _minute(event.ended),
        "detected": _minute(event.detected),
        "methods": ", ".join(event.methods) or "-",
        "confidence": f"{event.confidence:.3f}",
        "n": str(event.measurements),
        "probes": str(event.probes),
    }


def _stacked(events: Sequence[Event], rows: Sequence[dict[str, str]]) -> Table:
    """The same in three columns, for eighty characters."""
    w = here()
    table = Table(w.text("what"), w.text("when"), w.text("how"), box=None, pad_edge=False, header_style="bold")
    for event, row in zip(events, rows, strict=True):
        when = [f"{w.gettext(_TITLES[name]):<8} {row[name]}" for name in ("started", "ended", "detected")]
        how = [
            row["methods"],
            w.text("confidence {number}", number=row["confidence"]),
            w.text("n {n}, probes {probes}", n=row["n"], probes=row["probes"]),
        ]
        columns = ([row["kind"], row["site"], row["network"]], when, how)
        table.add_row(*map(_shown, map("\n".join, columns)), style=_KINDS[event.kind])
        table.add_row("")
    table.columns[0].overflow = table.columns[2].overflow = "fold"
    table.columns[1].no_wrap = True  # a time that is cut says nothing
    return table


def _shown(cell: str) -> Text:
    return Text("\n".join(text(line, 200) for line in cell.split("\n")))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"


def _network(network: Network | None) -> str:
    if network is None:
        return "-"
    known = (f"AS{network.asn}" if network.asn is not None else None, network.isp or network.country)
    return " ".join(word for word in known if word) or "-"
