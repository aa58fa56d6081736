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
from monitor.language import ENGLISH, Words, here
from monitor.messages import N_
from monitor.models import Measurement, Status, Verdict
from monitor.moments import length, utc_text
from monitor.verdict.evidence import CLOCK_WRONG_S
from monitor.wording import WHY_NOT_JUDGED, event_text, told

FORMATS = ("text", "json")
_LOG = logging.getLogger("almenara")
_MOST_TRACE = 8000  # characters
_language = ENGLISH


def open_journal(log_format: str, write: Callable[[str], None] | None = None) -> None:
    """From now on. write: takes each line (text without its end); by default to stderr.

    People read the text, in their language; programs read the JSON, which is in English everywhere.
    """
    global _language
    _language = ENGLISH if log_format == "json" else here()
    handler = _Lines(write or _to_stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _LOG.setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it is told by us what it should do; we tell the rest


def spoken() -> Words:
    """The language that the journal is kept in."""
    return _language


def say(event: str, text: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """One line. event: its name, for programs; text: for people."""
    _LOG.log(level, "%s", text, extra={"event": event, "fields": fields})


def say_bug(doing: str, problem: BaseException) -> None:
    """A mistake of ours, which cost one piece of work and no more; with its traceback."""
    trace = (type(problem), problem, problem.__traceback__)
    text = spoken().text(
        "a bug in this program, while {doing}: {problem}; the watch goes on",
        doing=doing,
        problem=type(problem).__name__,
    )
    _LOG.error("%s", text, exc_info=trace, extra={"event": "bug", "fields": {}})


def say_change(change: Change) -> None:
    """What became of an event."""
    say("event", change_text(change, spoken()), change=change.what, **told(change.event))


def change_text(change: Change, w: Words = ENGLISH) -> str:
    """An event's change for people."""
    event = event_text(change.event, w)
    if change.what == WITHDRAWN:
        before = event_text(change.before or change.event, w)
        return w.text("withdrawn: {event}; the evidence no longer shows it", event=before)
    if change.what == REOPENED:
        ended = change.before.ended if change.before else None
        if ended is None:
            return w.text("it goes on after all: {event}", event=event)
        return w.text("it goes on after all: {event} (it seemed over at {time})", event=event, time=utc_text(ended))
    messages = {"ended": N_("over: {event}"), "updated": N_("changed: {event}")}
    return w.text(messages.get(change.what, "{event}"), event=event)


def say_verdict(measurement: Measurement) -> None:
    """A verdict that differs from the one before."""
    verdict = measurement.verdict
    if verdict is None:
        return
    what = _verdict_text(verdict, spoken())
    text = spoken().text("{site} on {vantage} {what}", site=measurement.site, vantage=measurement.vantage, what=what)
    say(
        "verdict", text,
        site=measurement.site, url=measurement.url, vantage=measurement.vantage, asn=measurement.network.asn,
        status=verdict.status.value, methods=list(verdict.methods), confidence=verdict.confidence, rule=verdict.rule,
        reason=_reason(verdict), id=measurement.id,
    )  # fmt: skip


def _verdict_text(verdict: Verdict, w: Words) -> str:
    if verdict.status is Status.INCONCLUSIVE and verdict.rule in WHY_NOT_JUDGED:
        return w.text("cannot be judged: {why}", why=w.gettext(WHY_NOT_JUDGED[verdict.rule]))
    methods = f" ({', '.join(verdict.methods)})" if verdict.methods else ""
    blocked = verdict.status is Status.BLOCKED
    return (w.text("is blocked") if blocked else w.gettext(STATUS_WORDS[verdict.status])) + methods


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
        self._wrong, w = not self._wrong, spoken()
        if self._wrong:
            message = _FAST if offset > 0 else _SLOW
            say("clock", w.text(message, length=_far(offset, w)), level=logging.WARNING, offset_s=offset)
        else:
            say("clock", w.text("this machine's clock is right again"), offset_s=offset)


_FAST = N_("this machine's clock is {length} fast: set it, until then little can be judged and times are wrong")
_SLOW = N_("this machine's clock is {length} slow: set it, until then little can be judged and times are wrong")


def _far(offset: float, w: Words) -> str:
    off = timedelta(seconds=abs(offset))
    years = round(off.days / 365.25)
    return w.many("{count} year", "{count} years", years) if off.days > 730 else length(off)


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
