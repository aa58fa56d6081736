"""What the service says as it goes on: one line per change, for people or as JSON, on stderr.

Everything goes through the standard `logging`, so that libraries' words come out in the same form.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor.config_yaml import one_line
from monitor.explain import STATUS_WORDS
from monitor.models import Event, Kind, Measurement, Status

FORMATS = ("text", "json")
_LOG = logging.getLogger("almenara")
_MOST_TRACE = 8000  # characters


def open_journal(log_format: str, write: Callable[[str], None] | None = None) -> None:
    """From now on. write: takes each line (text without its end); by default to stderr."""
    handler = _Lines(write or _to_stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _LOG.setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it is told by us what it should do; we tell the rest


def say(event: str, text: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """One line. event: its name, for programs; text: for people."""
    _LOG.log(level, "%s", text, extra={"event": event, "fields": fields})


def say_bug(doing: str, problem: BaseException) -> None:
    """A mistake of ours, which cost one piece of work and no more; with its traceback."""
    trace = (type(problem), problem, problem.__traceback__)
    text = f"a bug in this program, while {doing}: {type(problem).__name__}; the watch goes on"
    _LOG.error("%s", text, exc_info=trace, extra={"event": "bug", "fields": {}})


def say_change(event: Event) -> None:
    """An event that began, changed or ended."""
    say("event", change_text(event), change=change_of(event), **msgspec.to_builtins(event))


def change_of(event: Event) -> str:
    """What a revision of an event is: `started`, `updated` or `ended`."""
    if event.ended is not None:
        return "ended"
    return "started" if event.revision <= 1 else "updated"


def change_text(event: Event) -> str:
    """An event's change for people."""
    where = " on ".join(text for text in (event.site, network_text(event)) if text) or "everything"
    words = {
        Kind.BLOCKING: "is blocked", Kind.SITE_OUTAGE: "is down", Kind.NETWORK_OUTAGE: "network is down",
        Kind.SILENCE: "reports nothing",
    }  # fmt: skip
    methods = f" ({', '.join(event.methods)})" if event.methods else ""
    told = f"{where} {words[event.kind]}{methods} since {moment(event.started)}, {event.confidence:.0%} sure"
    change = change_of(event)
    if change == "ended":
        return f"over: {told}, until {moment(event.ended)}"
    return told if change == "started" else f"changed: {told}"


def network_text(event: Event) -> str:
    """An event's network for people."""
    network = event.network
    if network is None:
        return ""
    return " ".join(text for text in (network.isp or "", f"AS{network.asn}" if network.asn else "") if text)


def say_verdict(measurement: Measurement) -> None:
    """A verdict that differs from the one before."""
    verdict = measurement.verdict
    if verdict is None:
        return
    methods = f" ({', '.join(verdict.methods)})" if verdict.methods else ""
    words = STATUS_WORDS[verdict.status] if verdict.status is not Status.BLOCKED else "is blocked"
    say(
        "verdict", f"{measurement.site} on {measurement.vantage} {words}{methods}",
        site=measurement.site, url=measurement.url, vantage=measurement.vantage, asn=measurement.network.asn,
        status=verdict.status.value, methods=list(verdict.methods), confidence=verdict.confidence, rule=verdict.rule,
        id=measurement.id,
    )  # fmt: skip


def moment(when: datetime | None) -> str:
    """A time as it is written in a line."""
    return "?" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


class _Lines(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{moment(_when(record))} {record.levelname.lower()} {one_line(record.getMessage())}"
        return f"{line}\n{_traced(self, record)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        line = {
            "time": _when(record), "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name), "text": one_line(record.getMessage()),
        }  # fmt: skip
        if record.exc_info:
            line["traceback"] = _traced(self, record)
        own = {key: value for key, value in fields.items() if key not in line}
        return msgspec.json.encode(line | own).decode()


def _traced(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info
    text = formatter.formatException(record.exc_info)[-_MOST_TRACE:]
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _when(record: logging.LogRecord) -> datetime:
    whole = datetime.fromtimestamp(record.created, UTC)
    return whole.replace(microsecond=whole.microsecond // 1000 * 1000)


def _to_stderr(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:  # whoever read the log has gone; the watch goes on
        return
