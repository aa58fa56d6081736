"""What an event rests on: the measurements that support it, counted, and what was known of it at an earlier time.

An event is told anew when its count has doubled, not at each measurement (`monitor.watch`), so what was told lags behind
what is stored. Whoever shows both counts what is stored.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from monitor.detection.outage import NETWORK_RULES
from monitor.models import Event, Kind, Network, Point, Status

_SUPPORTING = {Kind.BLOCKING: Status.BLOCKED, Kind.SITE_OUTAGE: Status.DOWN, Kind.NETWORK_OUTAGE: Status.INCONCLUSIVE}


def supports(event: Event, point: Point) -> bool:
    """Does it lie between the event's beginning and end, and say so? point: on its site and its network."""
    if point.status is not _SUPPORTING.get(event.kind) or point.started < event.started:
        return False
    if event.kind is Kind.NETWORK_OUTAGE and point.rule not in NETWORK_RULES:
        return False
    return event.ended is None or point.started < event.ended


def counted(event: Event, points: Iterable[Point]) -> Event:
    """The event with the measurements and probes that are there; as it was told where none is, or who measured is not
    told.
    """
    found = [point for point in points if supports(event, point)]
    if not found:
        return event
    probes = {(point.network.asn, point.probe) for point in found}
    known = all(point.probe for point in found)
    return replace(event, measurements=len(found), probes=len(probes) if known else event.probes)


def cut(event: Event, until: datetime, points: Iterable[Point]) -> Event | None:
    """The event as far as it went until then; None where it was not known yet. points: that began before."""
    if event.detected >= until:
        return None
    if event.ended is not None and event.ended < until:
        return event
    seen = {method for point in points if supports(event, point) for method in point.methods}
    methods = tuple(method for method in event.methods if method in seen)
    return replace(event, ended=None, ended_range=None, methods=methods)


def opens_since(event: Event, points: Iterable[Point]) -> tuple[datetime, int] | None:
    """Since when all results that tell anything found the site open, and how many: of an event that is not over, after
    the last that supports it, of which the same vantage found the same URL open since. None where the newest does not.
    points: on its site and its network.

    The end is told when the detector is sure of it, which takes it a while.
    """
    if event.ended is not None or event.confidence <= 0 or event.kind is Kind.SILENCE:
        return None
    found: list[Point] = []
    for point in sorted(points, key=lambda point: point.started, reverse=True):
        if supports(event, point):
            # Who always gets in, by another resolver or another address, says nothing of who does not.
            found = found if _who(event, point) in {_who(event, one) for one in found} else []
            break
        if point.started <= event.detected or point.status not in (Status.OK, Status.INCONCLUSIVE):
            break
        if point.status is Status.OK:
            found.append(point)
    return (found[-1].started, len(found)) if found else None


def _who(event: Event, point: Point) -> tuple[str, str, str]:
    """Who asked for what; of a whole network it is all the same for what."""
    return point.probe, point.vantage, "" if event.kind is Kind.NETWORK_OUTAGE else point.url


def probes(events: Sequence[Event]) -> int:
    """How many probes saw something of it, at least: of each network's events those of the one that most saw.

    A machine is another probe on another network: nobody shall tell that it is the same.
    """
    most: dict[tuple[int | None, str | None], int] = {}
    for event in events:
        network = event.network or Network()
        key = (network.asn, network.isp if network.asn is None else None)
        most[key] = max(most.get(key, 0), event.probes)
    return sum(most.values())
