"""What the newest results say of an event that is not over: its end is told when it is sure, which takes a while."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec.structs import replace

from monitor.backing import opens_since
from monitor.models import Event, Point
from monitor.store import Head, Wanted

MOST = 100  # results, of which it is seen whether an event may be ending


Since = tuple[datetime, int]  # since when it opens, and in how many results


class Heads(Protocol):
    """A store, or what a decision sees of it."""

    def heads(self, wanted: Wanted, *, most: int) -> list[Head]:
        """As `Store.heads`."""
        ...


def opened(store: Heads, events: Sequence[Event]) -> dict[str, Since]:
    """By id, those that the newest results no longer show, and do not end yet: since when, and how many results."""
    found = {}
    for event in events:
        if event.ended is not None:
            continue
        newest = replace(during(event), since=event.detected, newest_first=True)
        heads = on_its_network(event, store.heads(newest, most=MOST))
        if since := opens_since(event, map(point_of, heads)):
            found[event.id] = since
    return found


def during(event: Event) -> Wanted:
    """The measurements of an event's site and network from its beginning to its end."""
    asn = None if event.network is None else event.network.asn or 0  # 0: not known
    last = event.ended_range[1] if event.ended_range else None
    return Wanted(
        site=event.site, asn=asn, since=event.started_range[0] or event.started,
        until=last and last + timedelta(microseconds=1),
    )  # fmt: skip


def on_its_network(event: Event, heads: Sequence[Head]) -> list[Head]:
    """Without those of others that have no number either."""
    network = event.network
    nameless = network is not None and network.asn is None
    return [one for one in heads if not nameless or (network and one.network.isp == network.isp)]


def point_of(head: Head) -> Point:
    """What detection needs of it."""
    return Point(
        id=head.id, site=head.site, network=head.network, probe=head.probe, started=head.started,
        status=head.verdict.status, rule=head.verdict.rule, vantage=head.vantage, url=head.url,
    )  # fmt: skip
