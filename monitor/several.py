"""Blocks of several sites, or on several networks, in one sentence: what goes on, and where.

Two sites and two networks are not always four blocks. Who reads that two sites are blocked on CANTV and Movilnet takes it
for four; where one of them opens on Movilnet, that is a false accusation.
"""

from collections.abc import Callable, Container, Sequence

from monitor.language import Words
from monitor.messages import N_
from monitor.models import Event, Network
from monitor.show import printable

MOST_NAMED = 4
# What was, and what is.
_ONE = (N_("{site} was blocked on {where}"), N_("{site} is blocked on {where}"))
_ALL = (N_("{count} sites were blocked on {where}"), N_("{count} sites are blocked on {where}"))
_DIVIDED = (N_("{count} sites were blocked, {on}"), N_("{count} sites are blocked, {on}"))


def going_on(events: Sequence[Event], opened: Container[str] = ()) -> list[Event]:
    """What is not over, and what the newest results do not find open; else all. opened: ids of those that they do."""
    return [event for event in events if event.ended is None and event.id not in opened] or list(events)


def headline(
    events: Sequence[Event],
    w: Words,
    name: Callable[[Network | None], str],
    opened: Container[str] = (),
    sites: str = "",
) -> str:
    """What goes on counts; where nothing does, what was. events: blocking, one at the least. name: of a network. sites:
    their names, told where they are several.
    """
    told = going_on(events, opened)
    is_now = any(event.ended is None and event.id not in opened for event in told)
    said = _said(told, w, name, is_now)
    if sites and len({event.site for event in told}) > 1:
        said = w.text("{what}: {sites}", what=said, sites=sites)
    if is_now or all(event.ended is not None for event in told):
        return said
    return w.text("{what}; the newest results no longer show it", what=said)


def _said(events: Sequence[Event], w: Words, name: Callable[[Network | None], str], is_now: bool) -> str:
    where: dict[str, set[str | None]] = {}
    for event in events:
        where.setdefault(name(event.network) or w.text("an unknown network"), set()).add(event.site)
    sites = {event.site for event in events}
    if any(found != sites for found in where.values()):
        return _divided(len(sites), w, {network: len(found) for network, found in where.items()}, is_now)
    named = w.some(list(where), MOST_NAMED)
    if len(sites) > 1:
        return w.text(_ALL[is_now], count=w.number(len(sites)), where=named)
    return w.text(_ONE[is_now], site=printable(events[0].site or "", 60), where=named)


def _divided(count: int, w: Words, where: dict[str, int], is_now: bool) -> str:
    """So many of them on the one, so many on the other."""
    if len(where) > MOST_NAMED:
        on = w.text("on {count} networks in all", count=w.number(len(where)))
    else:
        on = w.listed([w.text("{count} on {network}", count=w.number(n), network=one) for one, n in where.items()])
    return w.text(_DIVIDED[is_now], count=w.number(count), on=on)
