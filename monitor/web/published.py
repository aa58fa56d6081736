"""The archive as strangers read it: what an evidence bundle takes out (monitor/redaction.py), pages and data do not tell either.

Moments are those of the minute, also where they are asked for: else a filter would tell the second, bit by bit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from msgspec.structs import replace

from monitor import redaction
from monitor.config import WebConfig
from monitor.models import Event, Incident, Measurement, Network, Status, Verdict
from monitor.outcome import Outcome
from monitor.redaction import WITHHELD_RULES, Redaction, is_withheld, minute
from monitor.store import Aggregate, By, Head, Latest, Wanted, WantedEvents
from monitor.verdict import judge
from monitor.web.archive import MOST_HEADS, Archive, Band, NetworkNow, SiteNow
from monitor.web.scope import Scope, Watching

MINUTE = timedelta(minutes=1)
# Which reason of the line it was tells of a hotel or a home.
WITHHELD = Verdict(
    status=Status.INCONCLUSIVE, methods=(), confidence=None, confirmed=False, rule="withheld", rules_version=0
)
_W = TypeVar("_W", Wanted, WantedEvents)


class _Begun(Protocol):
    @property
    def started(self) -> datetime: ...


class Published(Archive):
    """Every way to read, redacted; none is inherited, so that a new one tells nothing before it is written here."""

    is_published = True

    def __init__(self, archive: Archive) -> None:
        self._whole = archive

    async def latest(self) -> list[Latest]:
        """With vantages' names, by which they are told apart and which no page shows."""
        found = await self._whole.latest()
        return await asyncio.to_thread(lambda: [_latest(one) for one in found])

    async def sites(self) -> list[SiteNow]:
        """Of the minute."""
        return [replace(one, measured=minute(one.measured)) for one in await self._whole.sites()]

    async def networks(self) -> list[NetworkNow]:
        """Of the minute."""
        found = await self._whole.networks()
        return [replace(one, measured=one.measured and minute(one.measured)) for one in found]

    async def measurement(self, id: str) -> Measurement | None:
        """Redacted by itself: nothing in it is called the same in another. None also where it is withheld."""
        one = await self._whole.measurement(id)
        return None if one is None else await asyncio.to_thread(_measurement, one)

    async def heads(self, wanted: Wanted, most: int = 50) -> list[Head]:
        """Without who measured."""
        after = await self._place(wanted, self._whole.measurement)
        return [_head(one) for one in await self._whole.heads(replace(_by_minutes(wanted), after=after), most)]

    async def outcomes(self, ids: Sequence[str]) -> dict[str, Outcome]:
        """How long each step took."""
        return await self._whole.outcomes(ids)

    async def aggregate(self, by: Sequence[By], wanted: Wanted) -> list[Aggregate]:
        """In whole hours or days."""
        return await self._whole.aggregate(by, wanted)

    async def bands(
        self, site: str | None, since: datetime, until: datetime, step: timedelta, *, asn: int | None = None
    ) -> list[Band]:
        """In whole hours or days."""
        return await self._whole.bands(site, since, until, step, asn=asn)

    async def events(self, wanted: WantedEvents) -> list[Event]:
        """Of the minute."""
        after = await self._place(wanted, self._whole.event)
        found = await self._whole.events(replace(_by_minutes(wanted), after=after))
        return [redaction.event(one) for one in found]

    async def changed_events(self, wanted: WantedEvents) -> list[tuple[datetime, Event]]:
        """Of the minute; and what changes again in that minute moves a little all the same, by its revision."""
        found = await self._whole.changed_events(wanted)
        moved = [(minute(at) + timedelta(milliseconds=one.revision), redaction.event(one)) for at, one in found]
        return sorted(moved, key=lambda pair: pair[0], reverse=True)

    async def event(self, id: str) -> Event | None:
        """Of the minute."""
        found = await self._whole.event(id)
        return found and redaction.event(found)

    async def behind(self, event: Event, most: int = MOST_HEADS) -> list[Head]:
        """Of the event as it is kept, whose moments are exact."""
        exact = await self._whole.event(event.id)
        return [_head(one) for one in await self._whole.behind(exact, most)] if exact else []

    async def opened(self, events: Sequence[Event]) -> dict[str, tuple[datetime, int]]:
        """Of the minute."""
        found = await self._whole.opened(events)
        return {id: (minute(since), count) for id, (since, count) in found.items()}

    async def incidents(self, wanted: WantedEvents) -> list[Incident]:
        """Of the minute."""
        after = await self._place(wanted, self._whole.incident)
        found = await self._whole.incidents(replace(_by_minutes(wanted), after=after))
        return [redaction.incident(one) for one in found]

    async def incident(self, id: str) -> Incident | None:
        """Of the minute."""
        found = await self._whole.incident(id)
        return found and redaction.incident(found)

    async def _place(self, wanted: _W, find: Callable[[str], Awaitable[_Begun | None]]) -> tuple[datetime, str] | None:
        """Where a list goes on. Exactly, which its readers were not told and may not ask for: from what has that id."""
        if wanted.after is None:
            return None
        told, id = wanted.after
        found = await find(id)
        return found.started if found else minute(told), id


class PublishedScope:
    """What is watched, without the names that a volunteer gave the vantages."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    @property
    def web(self) -> WebConfig:
        """Where it is served."""
        return self._watching.web

    def scope(self) -> Scope:
        """Vantages by numbers."""
        scope = self._watching.scope()
        return replace(
            scope, places=tuple(replace(one, name=str(number)) for number, one in enumerate(scope.places, 1))
        )


def _latest(one: Latest) -> Latest:
    if one.verdict.rule in WITHHELD_RULES:
        return replace(one, started=minute(one.started), verdict=WITHHELD, outcome=None)
    return replace(one, started=minute(one.started), verdict=replace(one.verdict, reasons=()))


def _head(one: Head) -> Head:
    anyone = replace(one, started=minute(one.started), vantage="", probe="")
    if one.verdict.rule in WITHHELD_RULES:
        return replace(anyone, network=Network(), verdict=WITHHELD)
    return anyone


def _measurement(one: Measurement) -> Measurement | None:
    return None if is_withheld(one, judge(one)) else Redaction().measurement(one)


def _by_minutes(wanted: _W) -> _W:
    """As if what is kept had begun at the full minute that is told of it."""
    return replace(wanted, since=_next(wanted.since), until=_next(wanted.until))


def _next(moment: datetime | None) -> datetime | None:
    """The full minute at or after it."""
    if moment is None or moment == minute(moment):
        return moment
    return minute(moment) + MINUTE
