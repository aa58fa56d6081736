"""Verdicts over time -> events. A fold: the same points give the same events, whatever the order they came in.

The model is in `monitor.detection`; here it is fed, and its episodes get their names. `detect` reads a whole history,
`Watch` follows one as it grows; both say the same. docs/events.md tells the parameters and where they come from.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from monitor.detection.episode import Minimum, moment, standing
from monitor.detection.network import NetworkFold
from monitor.detection.outage import SiteFold, network_outage, site_fold
from monitor.detection.replay import Replay, in_order
from monitor.detection.silence import Gap
from monitor.models import Event, Kind, Network, Point, Status

__all__ = ["Minimum", "Watch", "detect", "network_key"]

# A measurement during which the vantage moved to another network belongs to none.
_NOWHERE = "network_changed"


def detect(points: Iterable[Point], minimum: Minimum | None = None, *, now: datetime | None = None) -> list[Event]:
    """Every event of every kind in a history, in order of their start. now: up to when silence is looked for (the
    newest point where not given)."""
    networks: dict[str, list[Point]] = {}
    sites: dict[str, list[Point]] = {}
    down: set[str] = set()
    newest: datetime | None = now
    for point in points:
        if now is None and (newest is None or point.started > newest):
            newest = point.started
        if point.rule == _NOWHERE:
            continue
        networks.setdefault(network_key(point.network), []).append(point)
        sites.setdefault(point.site, []).append(point)
        if point.status is Status.DOWN:
            down.add(point.site)
    if newest is None:
        return []
    minimum = minimum or Minimum()
    drafts: list[Draft] = []
    for key, of_network in networks.items():
        fold = _network_fold(of_network[0].network, minimum)
        for point in in_order(of_network):
            fold.take(point)
        drafts += _of_network(key, fold, newest)
    for site in down:
        of_site = site_fold(site, minimum)
        for point in in_order(sites[site]):
            of_site.take(point)
        drafts += _of_site(of_site)
    return _in_order(name(drafts, {}))


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


def _in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.started, event.kind, event.site or "", event.id))


# --- folds ---------------------------------------------------------------------------------------------------------


def _network_fold(network: Network, minimum: Minimum) -> NetworkFold:
    return NetworkFold(minimum, network, network_outage(minimum))


def _of_network(key: str, fold: NetworkFold, now: datetime) -> list[Draft]:
    episodes = [*fold.closed, *fold.outage.closed]
    episodes += [standing(fold.series[site], episode) for site, episode in fold.episodes.items()]
    if fold.outage.episode is not None:
        episodes.append(standing(fold.outage.series, fold.outage.episode))
    drafts = [Draft(f"{episode.kind}\n{episode.site or ''}\n{key}", episode.event()) for episode in episodes]
    for gap in fold.silence.all(now.timestamp()):
        drafts.append(Draft(f"{Kind.SILENCE}\n\n{key}", _silence(gap, fold.network)))
    return drafts


def _of_site(fold: SiteFold) -> list[Draft]:
    outage = fold.outage
    episodes = list(outage.closed)
    if outage.episode is not None:
        episodes.append(standing(outage.series, outage.episode))
    return [Draft(f"{episode.kind}\n{episode.site}\n", episode.event()) for episode in episodes]


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


# --- watching ------------------------------------------------------------------------------------------------------


class Watch:
    """The same as `detect`, as points come in. known: events from the store, whose ids stay.

    Kept per network and per site: the state, and the latest twenty thousand points, so that a late one can be set in
    its place. Points later than that are counted in `refused`; `detect` on the whole history takes them in.
    """

    def __init__(self, minimum: Minimum | None = None, known: Iterable[Event] = ()) -> None:
        self._minimum = minimum or Minimum()
        self._networks: dict[str, Replay[NetworkFold]] = {}
        self._sites: dict[str, Replay[SiteFold]] = {}
        self._now: datetime | None = None
        self._events: dict[str, dict[str, Event]] = {}  # series -> id -> event
        self._found: set[str] = set()  # ids of those that came out of points seen here
        self._withdrawn: dict[str, int] = {}  # id -> revision, should one come back
        for event in known:
            if not event.confidence:
                self._withdrawn[event.id] = event.revision
                continue
            self._events.setdefault(series_of(event.kind, event.site, event.network), {})[event.id] = event

    @property
    def refused(self) -> int:
        """Points that came too late to be set in their place."""
        return sum(replay.refused for replay in self._networks.values())

    def add(self, points: Iterable[Point]) -> list[Event]:
        """Take more points; the events that are new or changed."""
        networks: dict[str, list[Point]] = {}
        sites: dict[str, list[Point]] = {}
        for point in points:
            if self._now is None or point.started > self._now:
                self._now = point.started
            if point.rule != _NOWHERE:
                networks.setdefault(network_key(point.network), []).append(point)
                sites.setdefault(point.site, []).append(point)
        for key, fresh in networks.items():
            begin = partial(_network_fold, fresh[0].network, self._minimum)
            self._networks.setdefault(key, Replay(begin)).add(fresh)
        for site, fresh in sites.items():
            self._sites.setdefault(site, Replay(partial(site_fold, site, self._minimum))).add(fresh)
        return self._renew(networks, sites)

    def tick(self, now: datetime) -> list[Event]:
        """What time alone settles; the events that are new or changed."""
        if self._now is None or now > self._now:
            self._now = now
        return self._renew(self._networks, ())

    def events(self) -> list[Event]:
        """All of them, the stored ones included, in order of their start."""
        return _in_order(event for events in self._events.values() for event in events.values())

    def _renew(self, networks: Iterable[str], sites: Iterable[str]) -> list[Event]:
        """Compare what the folds say now with what was said before."""
        if self._now is None:
            return []
        drafts: dict[str, list[Draft]] = {}
        for key in networks:
            for series in self._series_of_network(key):
                drafts.setdefault(series, [])
            for draft in _of_network(key, self._networks[key].fold, self._now):
                drafts.setdefault(draft.series, []).append(draft)
        for site in sites:
            series = f"{Kind.SITE_OUTAGE}\n{site}\n"
            drafts[series] = _of_site(self._sites[site].fold)
        changed: list[Event] = []
        for series, found in drafts.items():
            changed += self._compare(series, found)
        return _in_order(changed)

    def _series_of_network(self, key: str) -> list[str]:
        return [series for series in self._events if series.endswith(f"\n{key}")]

    def _compare(self, series: str, found: list[Draft]) -> list[Event]:
        before = self._events.get(series, {})
        changed: list[Event] = []
        after: dict[str, Event] = {}
        for event in name(found, {series: _in_order(before.values())}):
            old = before.get(event.id)
            if old is None:
                event = replace(event, revision=self._withdrawn.pop(event.id, 0) + 1)
                changed.append(event)
            elif _differs(old, event):
                event = replace(event, revision=old.revision + 1)
                changed.append(event)
            after[event.id] = event
        for id, old in before.items():
            if id not in after and (id in self._found or self._denied(old)):
                # A late measurement took its ground away. It was told, so its end must be.
                gone = withdrawn(old)
                changed.append(gone)
                self._withdrawn[id] = gone.revision
            elif id not in after:
                after[id] = old
        self._found = (self._found - set(before)) | {
            id for id in after if id not in before or after[id] is not before[id]
        }
        if after:
            self._events[series] = after
        else:
            self._events.pop(series, None)
        return changed

    def _denied(self, stored: Event) -> bool:
        """Whether what a stored event rests on was read again and says otherwise: judged anew, or more is asked for now.

        Only of one that goes on, or it would go on for ever; one that is over stays as it was told.
        """
        if stored.ended is not None or stored.kind is Kind.SILENCE:
            return False
        network = stored.network
        replay = self._networks.get(network_key(network)) if network else self._sites.get(stored.site or "")
        read = replay is not None and replay.since is not None and replay.since <= stored.started
        return read and self._now is not None and self._now >= stored.detected


def withdrawn(event: Event) -> Event:
    """An event that later knowledge denies: it ends where it began, and nobody believes in it."""
    return replace(
        event,
        revision=event.revision + 1,
        ended=event.started,
        ended_range=(event.started, event.started),
        confidence=0.0,
    )


def _differs(old: Event, new: Event) -> bool:
    """Whether it is worth telling: everything but counts that grow, and those when they have doubled."""
    return _told(old) != _told(new)


def _told(event: Event) -> Event:
    return replace(
        event, revision=0, measurements=event.measurements.bit_length(), confidence=round(event.confidence, 2)
    )
