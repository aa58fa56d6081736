"""What the service says as it goes on: one line per change, for people or as JSON, on stderr.

Everything goes through the standard `logging`, so that libraries' words come out in the same form.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from monitor.changes import REOPENED, WITHDRAWN, Change
from monitor.config_yaml import one_line
from monitor.explain import STATUS_WORDS, explain
from monitor.models import Measurement, Status, Verdict
from monitor.moments import length, utc_text
from monitor.verdict.evidence import CLOCK_WRONG_S
from monitor.wording import WHY_NOT_JUDGED, event_text, told

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


def say_change(change: Change) -> None:
    """What became of an event."""
    say("event", change_text(change), change=change.what, **told(change.event))


def change_text(change: Change) -> str:
    """An event's change for people."""
    text = event_text(change.event)
    if change.what == WITHDRAWN:
        before = change.before or change.event
        return f"withdrawn: {event_text(before)}; the evidence no longer shows it"
    if change.what == REOPENED:
        ended = change.before and change.before.ended
        return f"it goes on after all: {text}" + (f" (it seemed over at {utc_text(ended)})" if ended else "")
    return {"ended": "over: ", "updated": "changed: "}.get(change.what, "") + text


def say_verdict(measurement: Measurement) -> None:
    """A verdict that differs from the one before."""
    verdict = measurement.verdict
    if verdict is None:
        return
    say(
        "verdict", f"{measurement.site} on {measurement.vantage} {_verdict_text(verdict)}",
        site=measurement.site, url=measurement.url, vantage=measurement.vantage, asn=measurement.network.asn,
        status=verdict.status.value, methods=list(verdict.methods), confidence=verdict.confidence, rule=verdict.rule,
        reason=_reason(verdict), id=measurement.id,
    )  # fmt: skip


def _verdict_text(verdict: Verdict) -> str:
    if verdict.status is Status.INCONCLUSIVE and verdict.rule in WHY_NOT_JUDGED:
        return f"cannot be judged: {WHY_NOT_JUDGED[verdict.rule]}"
    methods = f" ({', '.join(verdict.methods)})" if verdict.methods else ""
    return (STATUS_WORDS[verdict.status] if verdict.status is not Status.BLOCKED else "is blocked") + methods


def _reason(verdict: Verdict) -> str:
    """Why, in whole sentences."""
    reasons = verdict.reasons[1:] or verdict.reasons or ({"id": verdict.rule},)
    return "; ".join(map(explain, reasons))


class Clock:
    """Whether this machine's clock can be right: told when it changes. It is no verdict's fault, and spoils them all."""

    def __init__(self) -> None:
        self._wrong = False

    def note(self, offset: float | None) -> None:
        """offset: seconds that the clock is ahead of neutral sites'; None: not known."""
        if offset is None or self._wrong == (abs(offset) > CLOCK_WRONG_S):
            return
        self._wrong = not self._wrong
        if self._wrong:
            text = (
                f"this machine's clock is {_far(offset)}: set it, until then little can be judged and times are wrong"
            )
            say("clock", text, level=logging.WARNING, offset_s=offset)
        else:
            say("clock", "this machine's clock is right again", offset_s=offset)


def _far(offset: float) -> str:
    off = timedelta(seconds=abs(offset))
    told = f"{off.days / 365.25:.0f} years" if off.days > 730 else length(off)
    return f"{told} {'fast' if offset > 0 else 'slow'}"


class _Lines(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{utc_text(_when(record))} {record.levelname.lower()} {one_line(record.getMessage())}"
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
