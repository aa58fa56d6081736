"""Which changes of events are news: one that begins, ends, goes on after all or is withdrawn, and little else.

The detector raises an event's revision whenever it is a little surer. Nobody wants to read that.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from monitor.models import Event

STARTED, UPDATED, ENDED, REOPENED, WITHDRAWN = "started", "updated", "ended", "reopened", "withdrawn"


class Change(Struct, frozen=True, kw_only=True):
    """What became of an event. before: as it was told last; None: not yet."""

    what: str
    event: Event
    before: Event | None


class Changes:
    """What was told of each event."""

    def __init__(self) -> None:
        self._told: dict[str, Event] = {}
        self._methods: dict[str, set[str]] = {}

    def recall(self, events: Iterable[Event]) -> None:
        """Events that were told by an earlier run."""
        for event in events:
            self._note(event)

    def news(self, event: Event, period: timedelta) -> Change | None:
        """The change that this revision is, where it is worth a line. period: dates within it are the same."""
        before = self._told.get(event.id)
        what = _first(event) if before is None else self._what(before, event, period)
        if what is None:
            return None
        self._note(event)
        return Change(what=what, event=event, before=before)

    def _note(self, event: Event) -> None:
        self._told[event.id] = event
        self._methods.setdefault(event.id, set()).update(event.methods)

    def _what(self, before: Event, event: Event, period: timedelta) -> str | None:
        if not (before.confidence and event.confidence):
            return _believed(before, event)
        if (before.ended is None) != (event.ended is None):
            return ENDED if before.ended is None else REOPENED
        # A method that comes and goes is news once.
        another = set(event.methods) - self._methods[event.id]
        if another or _moved(before.started, event.started, period) or _moved(before.ended, event.ended, period):
            return UPDATED
        return None


def _first(event: Event) -> str | None:
    if not event.confidence:
        return None  # withdrawn before anybody heard of it
    return STARTED if event.ended is None else ENDED


def _believed(before: Event, event: Event) -> str | None:
    if not event.confidence:
        return WITHDRAWN if before.confidence else None
    return REOPENED if event.ended is None else ENDED


def _moved(before: datetime | None, now: datetime | None, period: timedelta) -> bool:
    return before is not None and now is not None and abs(now - before) > period
