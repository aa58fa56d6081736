"""Which event is meant, and which measurements are behind it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from monitor.language import here
from monitor.messages import N_
from monitor.models import Event, Incident, Point
from monitor.show import printable
from monitor.store import Store

_Named = TypeVar("_Named", Event, Event | Incident)


class EventUnknown(Exception):
    """No event, or more than one, has that id. Its text is one line."""


def named(known: Iterable[_Named], start: str) -> _Named:
    """The one whose id is, or alone begins with, that text; EventUnknown."""
    found = [one for one in known if one.id.startswith(start)]
    exact = next((one for one in found if one.id == start), None)
    if exact is None and len(found) > 1:
        several = ", ".join(sorted(printable(one.id, 64) for one in found)[:3])
        message = N_("{number} events begin with {id}: {several}...; write more of it")
        text = here().text(message, number=len(found), id=printable(start, 64), several=several)
        raise EventUnknown(text)
    if exact is None and not found:
        message = N_("no event has the id {id}: `almenara events` lists them")
        raise EventUnknown(here().text(message, id=printable(start, 64)))
    return exact or found[0]


def points_of(store: Store, event: Event, since: datetime) -> Iterator[Point]:
    """The verdicts on the event's site (of a whole network: on all of them) on its network."""
    network = event.network
    for point in store.points(since=since, site=event.site, asn=network.asn if network else None):
        known = network is None or network.asn is not None or point.network.isp == network.isp
        if known and (network is None or point.network.asn == network.asn):
            yield point


def behind(points: Iterable[Point], event: Event) -> list[Point]:
    """Those from the event's beginning, at the earliest, to its end, at the latest."""
    first = event.started_range[0] or event.started
    last = event.ended_range[1] if event.ended_range else None
    return [point for point in points if first <= point.started and (last is None or point.started <= last)]
