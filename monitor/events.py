"""Verdicts over time -> events. A fold: the same points give the same events, whatever the order they came in.

The model is in `monitor.detection`; here it is fed, and its episodes get their names. `detect` reads a whole history,
`monitor.watch` follows one as it grows; both say the same. docs/events.md tells the parameters and where they come from.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from monitor.detection.episode import Minimum, moment, standing
from monitor.detection.network import NetworkFold
from monitor.detection.outage import SiteFold, SitesFold, network_outage
from monitor.detection.replay import Folded, in_order
from monitor.detection.silence import Arrival, Gap
from monitor.models import Event, Kind, Network, Point, Status

__all__ = ["Minimum", "detect", "network_key"]

# A measurement during which the vantage moved to another network belongs to none.
NOWHERE = "network_changed"
# One by a clock that is wrong happened at no time that can be known.
UNTIMED = "clock_wrong"


def detect(points: Iterable[Point], minimum: Minimum | None = None, *, now: datetime | None = None) -> list[Event]:
    """Every event of every kind in a history, in order of their start. now: up to when silence is looked for (the
    newest point where not given)."""
    networks: dict[str, list[Point]] = {}
    sites: dict[str, list[Point]] = {}
    roaming: list[float] = []
    newest: datetime | None = now
    for point in points:
        if point.rule == UNTIMED:
            continue
        if now is None and (newest is None or point.started > newest):
            newest = point.started
        if point.rule == NOWHERE:
            roaming.append(point.started.timestamp())
            continue
        networks.setdefault(network_key(point.network), []).append(point)
        sites.setdefault(point.site, []).append(point)
    if newest is None:
        return []
    minimum = minimum or Minimum()
    folds = {key: _folded(network_fold(found[0].network, minimum), found) for key, found in networks.items()}
    drafts: list[Draft] = []
    for key, fold in folds.items():
        drafts += of_network(key, fold, newest, arrivals(key, folds, roaming))
    for found in sites.values():
        if any(point.status is Status.DOWN for point in found):
            of_sites = _folded(SitesFold(minimum), found)
            drafts += of_site(of_sites.sites[found[0].site])
    return in_order_of_start(name(drafts, {}))


def _folded(fold: Folded, points: Iterable[Point]) -> Folded:
    for point in in_order(points):
        fold.take(point)
    return fold


def network_key(network: Network) -> str:
    """What tells networks apart: the ASN; where it is not known, the ISP's name and the country."""
    if network.asn is not None:
        return f"AS{network.asn}"
    return f"{(network.isp or '').casefold()}/{network.country or ''}"


# --- naming --------------------------------------------------------------------------------------------------------


class Draft(Struct, frozen=True):
    """An event without its name. series: whose event it is (kind, site, network)."""

    series: str
    event: Event


def name(drafts: Iterable[Draft], known: Mapping[str, Sequence[Event]]) -> list[Event]:
    """Each event with an id: that of the known event it overlaps, else one that its series, day and place in the day give.

    known: events of each series. A late measurement may shift an event; as long as it overlaps what it was, it is the
    same. Without known events, an id changes only where another event of that series and day appears before it.
    """
    named: list[Event] = []
    taken: set[str] = set()
    unnamed: list[Draft] = []
    for draft in sorted(drafts, key=lambda draft: (draft.series, draft.event.started)):
        same = next(
            (old for old in known.get(draft.series, ()) if old.id not in taken and overlap(old, draft.event)), None
        )
        if same is None:
            unnamed.append(draft)
        else:
            taken.add(same.id)
            named.append(_renewed(draft.event, same))
    taken.update(old.id for events in known.values() for old in events)
    for draft in unnamed:
        ordinal = 0
        while (id := _id(draft.series, draft.event.started, ordinal)) in taken:
            ordinal += 1
        taken.add(id)
        named.append(replace(draft.event, id=id))
    return named


def overlap(one: Event, other: Event) -> bool:
    """Whether two events of one series have a moment in common."""
    return (one.ended is None or other.started <= one.ended) and (other.ended is None or one.started <= other.ended)


def _renewed(event: Event, old: Event) -> Event:
    """The event under the name it had. One that was there before the first point keeps what was known of its start."""
    if event.started_range[0] is None and old.started < event.started:
        event = replace(
            event,
            started=old.started,
            started_range=old.started_range,
            detected=old.detected,
            measurements=max(old.measurements, event.measurements),
            probes=max(old.probes, event.probes),
        )
    return replace(event, id=old.id, revision=old.revision)


def _id(series: str, started: datetime, ordinal: int) -> str:
    day = started.astimezone(UTC).date().isoformat()
    return hashlib.sha256(f"{series}\n{day}\n{ordinal}".encode()).hexdigest()[:16]


def series_of(kind: Kind, site: str | None, network: Network | None) -> str:
    """Whose events these are."""
    return f"{kind}\n{site or ''}\n{'' if network is None else network_key(network)}"


def in_order_of_start(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.started, event.kind, event.site or "", event.id))


# --- folds ---------------------------------------------------------------------------------------------------------


def network_fold(network: Network, minimum: Minimum) -> NetworkFold:
    return NetworkFold(minimum, network, network_outage(minimum))


def of_network(key: str, fold: NetworkFold, now: datetime, elsewhere: Sequence[Arrival]) -> list[Draft]:
    """What a network's fold says. elsewhere: arrivals on other networks."""
    episodes = [*fold.closed, *fold.outage.closed]
    episodes += [standing(fold.series[site], episode) for site, episode in fold.episodes.items()]
    if fold.outage.episode is not None:
        episodes.append(standing(fold.outage.series, fold.outage.episode))
    drafts = [Draft(f"{episode.kind}\n{episode.site or ''}\n{key}", episode.event()) for episode in episodes]
    for gap in fold.silence.all(now.timestamp(), elsewhere) if _is_known(fold.network) else ():
        drafts.append(Draft(f"{Kind.SILENCE}\n\n{key}", _silence(gap, fold.network)))
    return drafts


def of_site(fold: SiteFold) -> list[Draft]:
    """What a site's fold says."""
    outage = fold.outage
    episodes = list(outage.closed)
    if outage.episode is not None:
        episodes.append(standing(outage.series, outage.episode))
    return [Draft(f"{episode.kind}\n{episode.site}\n", episode.event()) for episode in episodes]


def arrivals(key: str, folds: Mapping[str, NetworkFold], roaming: Sequence[float]) -> list[Arrival]:
    """Of other networks than this; and measurements between networks, at these times."""
    found = [arrival for other, fold in folds.items() if other != key for arrival in fold.silence.arrivals]
    return [*found, *map(Arrival, roaming)]


def _is_known(network: Network) -> bool:
    return network.asn is not None or bool(network.isp)


def _silence(gap: Gap, network: Network) -> Event:
    """Nothing supports it but what did not come: no measurements and no probes."""
    ended = None if gap.next is None else moment(gap.next)
    return Event(
        id="",
        revision=1,
        kind=Kind.SILENCE,
        site=None,
        network=network,
        methods=(),
        started=moment(gap.expected),
        started_range=(moment(gap.last), moment(gap.expected)),
        detected=moment(gap.told),
        ended=ended,
        ended_range=None if ended is None else (moment(gap.told), ended),
        confidence=0.95,
        measurements=0,
        probes=0,
    )
