"""What there is under `/api/v1`: one entry each, from which routes, schema and page are made."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from monitor.models import Event, Measurement
from monitor.store import TIMES, TooMuch, Wanted, WantedEvents
from monitor.web.api import answers, cursor
from monitor.web.api.problems import Problem
from monitor.web.api.questions import (
    AggregatesQuestion,
    EventsQuestion,
    IncidentsQuestion,
    MeasurementsQuestion,
    OneQuestion,
    OwnMeasurementsQuestion,
    PagedQuestion,
    Question,
    known,
)
from monitor.web.archive import Archive

MOST_IDS = 1000  # of the measurements behind an event
_EVENTS_AT_ONCE = 500
_MOST_LOOKED_THROUGH = 20_000  # events, for one page of them
_EVENT_COLUMNS = ("kind", "site", "asn", "active", "since", "until")


class Answer(Struct, frozen=True, kw_only=True):
    """body: the JSON. rows: what CSV has of it; next: the cursor of the next page."""

    body: Struct
    rows: Sequence[Struct] = ()
    by: tuple[str, ...] = ()
    next: str | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """work: from the archive, the question and the id in the path (else "") to the answer. row: where there is CSV.

    seconds: for which a cache may keep the answer. own: the question where readers are no strangers, if it is another.
    """

    name: str
    path: str
    summary: str
    question: type[Struct]
    answer: type[Struct]
    work: Callable[[Archive, Any, str], Awaitable[Answer]]
    row: type[Struct] | None = None
    seconds: int = 30
    own: type[Struct] | None = None

    def asked(self, *, published: bool) -> type[Struct]:
        """What may be asked. published: by strangers."""
        return self.question if published or self.own is None else self.own


async def sites(archive: Archive, _: Question, __: str) -> Answer:
    """All of them."""
    found = tuple(map(answers.site, await archive.sites()))
    return Answer(body=answers.SitesAnswer(sites=found), rows=found)


async def networks(archive: Archive, _: Question, __: str) -> Answer:
    """All of them."""
    found = tuple(map(answers.network, await archive.networks()))
    return Answer(body=answers.NetworksAnswer(networks=found), rows=found)


async def measurements(archive: Archive, question: MeasurementsQuestion, _: str) -> Answer:
    """A page of them."""
    names = ("site", "asn", "country", "vantage", "status", "method", "since", "until")
    filters = known(question, *(name for name in names if hasattr(question, name)))
    wanted = Wanted(**filters, newest_first=question.order == "newest", after=_after(question))
    found = await archive.heads(wanted, question.limit + 1)
    page, next = _page(found, question)
    listed = tuple(map(answers.head, page))
    return Answer(body=answers.MeasurementsAnswer(measurements=listed, next=next), rows=listed, next=next)


async def measurement(archive: Archive, _: OneQuestion, id: str) -> Answer:
    """One, with all its facts."""
    found = await archive.measurement(id)
    if found is None:
        raise Problem(404, "No measurement with that id is kept.")
    return Answer(body=answers.measurement(found))


async def events(archive: Archive, question: EventsQuestion, _: str) -> Answer:
    """A page of them, the newest first."""
    found: list[Event] = []
    async for event in _newest_events(archive, question):
        if _passes(event, question):
            found.append(event)
        if len(found) > question.limit:
            break
    page, next = _page(found, question)
    listed = tuple(map(answers.event, page))
    return Answer(body=answers.EventsAnswer(events=listed, next=next), rows=listed, next=next)


async def _newest_events(archive: Archive, question: EventsQuestion) -> AsyncIterator[Event]:
    """Those that the store can tell apart, one after the other."""
    after = _after(question)
    for _ in range(_MOST_LOOKED_THROUGH // _EVENTS_AT_ONCE):
        filters = known(question, *_EVENT_COLUMNS)
        found = await archive.events(WantedEvents(**filters, newest_first=True, after=after, limit=_EVENTS_AT_ONCE))
        for event in found:
            yield event
        if len(found) < _EVENTS_AT_ONCE:
            return
        after = found[-1].started, found[-1].id
    raise Problem(422, "Too many events to look through: name a site, a network, a kind or a time.")


def _passes(event: Event, question: EventsQuestion) -> bool:
    country = event.network.country if event.network else None
    return (
        question.country in (UNSET, country)
        and (question.method is UNSET or question.method in event.methods)
        and (question.minimum_confidence is UNSET or event.confidence >= question.minimum_confidence)
    )


async def event(archive: Archive, _: OneQuestion, id: str) -> Answer:
    """One, with the ids of the measurements behind it."""
    found = await archive.event(id)
    if found is None:
        raise Problem(404, "There is no event with that id.")
    behind = await archive.behind(found, MOST_IDS + 1)
    return Answer(body=answers.whole_event(found, behind, MOST_IDS))


async def incidents(archive: Archive, question: IncidentsQuestion, _: str) -> Answer:
    """A page of them, the newest first."""
    filters = known(question, "active", "since", "until")
    wanted = WantedEvents(**filters, newest_first=True, after=_after(question), limit=question.limit + 1)
    page, next = _page(await archive.incidents(wanted), question)
    listed = tuple(map(answers.incident, page))
    return Answer(body=answers.IncidentsAnswer(incidents=listed, next=next), rows=listed, next=next)


async def incident(archive: Archive, _: OneQuestion, id: str) -> Answer:
    """One."""
    found = await archive.incident(id)
    if found is None:
        raise Problem(404, "There is no incident with that id.")
    return Answer(body=answers.incident(found))


async def aggregates(archive: Archive, question: AggregatesQuestion, _: str) -> Answer:
    """Numbers, divided by one or two things."""
    by = question.by
    if len(set(by)) < len(by) or len({*by} & {*TIMES}) > 1:
        raise Problem(400, "Expected two different things, and at most one of them a time.", parameter="by")
    wanted = Wanted(**known(question, "site", "asn", "country", "status", "method", "since", "until"))
    try:
        found = await archive.aggregate(by, wanted)
    except TooMuch as exc:
        raise Problem(422, f"{str(exc).capitalize()}.") from None
    rows = await asyncio.to_thread(lambda: tuple(answers.row(one, by) for one in found))  # there may be many
    return Answer(body=answers.AggregatesAnswer(by=by, rows=rows), rows=rows, by=by)


def _after(question: PagedQuestion) -> cursor.Place | None:
    return None if question.cursor is UNSET else cursor.read(question.cursor, question)


def _page(found: Sequence[Any], question: PagedQuestion) -> tuple[Sequence[Any], str | None]:
    """Without the one that was looked for to know whether there are more; and the cursor."""
    page = found[: question.limit]
    if len(found) <= question.limit:
        return page, None
    return page, cursor.written((page[-1].started, page[-1].id), question)


ENDPOINTS = (
    Endpoint(name="sites", path="/api/v1/sites", summary="Every site, and how it is now",
             question=Question, answer=answers.SitesAnswer, row=answers.SiteAnswer, work=sites),
    Endpoint(name="networks", path="/api/v1/networks", summary="Every network, and how sites are on it now",
             question=Question, answer=answers.NetworksAnswer, row=answers.NetworkAnswer, work=networks),
    Endpoint(name="measurements", path="/api/v1/measurements", summary="Measurements, without their facts",
             question=MeasurementsQuestion, answer=answers.MeasurementsAnswer, row=answers.MeasurementHead,
             work=measurements, own=OwnMeasurementsQuestion),
    Endpoint(name="measurement", path="/api/v1/measurements/{id}", summary="A measurement with all its facts",
             question=OneQuestion, answer=Measurement, work=measurement, seconds=300),
    Endpoint(name="events", path="/api/v1/events", summary="Blocks, outages and silences",
             question=EventsQuestion, answer=answers.EventsAnswer, row=answers.EventAnswer, work=events),
    Endpoint(name="event", path="/api/v1/events/{id}", summary="An event, and the measurements behind it",
             question=OneQuestion, answer=answers.EventWhole, work=event),
    Endpoint(name="incidents", path="/api/v1/incidents", summary="Events that belong together",
             question=IncidentsQuestion, answer=answers.IncidentsAnswer, row=answers.IncidentAnswer,
             work=incidents),
    Endpoint(name="incident", path="/api/v1/incidents/{id}", summary="An incident",
             question=OneQuestion, answer=answers.IncidentAnswer, work=incident),
    Endpoint(name="aggregates", path="/api/v1/aggregates", summary="Numbers of measurements, divided by two things",
             question=AggregatesQuestion, answer=answers.AggregatesAnswer, row=answers.AggregateRow,
             work=aggregates, seconds=60),
)  # fmt: skip
