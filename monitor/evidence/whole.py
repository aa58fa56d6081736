"""What the events of an incident are together: the beginning of its report."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from monitor import backing
from monitor.language import Words
from monitor.models import Event
from monitor.web.strangers import line
from monitor.wording import network_words

_MOST_NAMED = 12


class Whole(Struct, frozen=True, kw_only=True):
    """Since when, until when, how, and what it rests on. earlier: some of it may be older; over: how many have ended;
    opening: of how many of the others the newest results open; least, most: how sure the events are.
    """

    sites: Sequence[str]
    networks: Sequence[str]
    country: str | None
    events: int
    started: datetime
    earlier: bool
    ended: datetime | None
    over: int
    opening: int
    methods: Sequence[str]
    least: float
    most: float
    measurements: int
    probes: int


def whole(events: Sequence[Event], opened: Iterable[str], words: Words) -> Whole:
    """Of an incident. opened: the events whose newest results open."""
    first = min(events, key=lambda event: event.started)
    ends = [event.ended for event in events if event.ended is not None]
    countries = {event.network.country if event.network else None for event in events}
    return Whole(
        sites=_once(line(event.site, 80) for event in events if event.site),
        networks=_once(line(network_words(event.network, words)) for event in events if event.network),
        country=countries.pop() if len(countries) == 1 else None, events=len(events), started=first.started,
        earlier=any(event.started_range[0] is None for event in events), over=len(ends),
        ended=max(ends) if len(ends) == len(events) else None, opening=len(set(opened)),
        methods=_once(method for event in events for method in event.methods),
        least=min(event.confidence for event in events), most=max(event.confidence for event in events),
        measurements=sum(event.measurements for event in events), probes=backing.probes(events),
    )  # fmt: skip


def named(names: Sequence[str], words: Words) -> str:
    """a, b and c; of many the first ones."""
    if len(names) <= _MOST_NAMED:
        return words.listed(names)
    some, more = ", ".join(names[:_MOST_NAMED]), words.number(len(names) - _MOST_NAMED)
    return words.text("{some} and {number} more", some=some, number=more)


def _once(names: Iterable[str]) -> Sequence[str]:
    return tuple(dict.fromkeys(names))
