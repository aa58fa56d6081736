"""Events as verdicts come in: the same as `monitor.events.detect` would find in all of them."""

from bisect import insort
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from msgspec.structs import replace

from monitor.detection.network import NetworkFold
from monitor.detection.outage import SitesFold
from monitor.detection.replay import Replay
from monitor.events import (
    NOWHERE,
    UNTIMED,
    Draft,
    Minimum,
    arrivals,
    in_order_of_start,
    name,
    network_fold,
    network_key,
    of_network,
    of_site,
    series_of,
)  # fmt: skip
from monitor.models import Event, Kind, Point

_AHEAD = timedelta(minutes=10)  # what claims to come from later than that was timed by a wrong clock
_PIECE = 4096  # points taken at once, so that a long history is never in memory as a whole
_MOST_ROAMING = 256


class Watch:
    """Follows a growing history. known: events from the store, whose ids stay.

    Kept per network: the state, and the latest points, so that a late one can be set in its place (`replay.MOST_KEPT`).
    Points later than that are counted in `refused`; `detect` on the whole history takes them in.
    """

    def __init__(self, minimum: Minimum | None = None, known: Iterable[Event] = ()) -> None:
        self._minimum = minimum or Minimum()
        self._networks: dict[str, Replay[NetworkFold]] = {}
        self._sites = Replay(partial(SitesFold, self._minimum))
        self._roaming: list[float] = []  # when measurements were between networks, of late
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

    def add(self, points: Iterable[Point], now: datetime | None = None) -> list[Event]:
        """Take more points; the events that are new or changed.

        now: by a clock to go by; what claims to be later is left out. Else the newest point says what time it is.
        """
        if now is not None:
            self._now = now
        networks: set[str] = set()
        sites: set[str] = set()
        for piece in _pieces(points):
            self._take([point for point in piece if self._in_time(point, now)], networks, sites)
        return self._renew(networks, sites)

    def tick(self, now: datetime) -> list[Event]:
        """What time alone settles; the events that are new or changed. now: by a clock to go by."""
        self._now = now
        for replay in self._networks.values():
            replay.cut(now + _AHEAD)
        self._sites.cut(now + _AHEAD)
        return self._renew(self._networks, ())

    def ask(self, minimum: Minimum) -> None:
        """Another minimum from now on; what was announced stays announced."""
        self._minimum = minimum
        for replay in self._networks.values():
            replay.change(minimum)
        self._sites.change(minimum)

    def events(self) -> list[Event]:
        """All of them, the stored ones included, in order of their start."""
        return in_order_of_start(event for events in self._events.values() for event in events.values())

    # --- points --------------------------------------------------------------------------------------------------

    def _in_time(self, point: Point, now: datetime | None) -> bool:
        if point.rule == UNTIMED or (now is not None and point.started > now + _AHEAD):
            return False
        if now is None and (self._now is None or point.started > self._now):
            self._now = point.started
        return True

    def _take(self, points: Iterable[Point], networks: set[str], sites: set[str]) -> None:
        """Fold them; whose they were is added to `networks` and `sites`."""
        by_network: dict[str, list[Point]] = {}
        settled: list[Point] = []
        for point in points:
            if point.rule == NOWHERE:
                self._roamed(point.started.timestamp())
            else:
                by_network.setdefault(network_key(point.network), []).append(point)
                settled.append(point)
        for key, fresh in by_network.items():
            if key not in self._networks:
                self._networks[key] = Replay(partial(network_fold, fresh[0].network, self._minimum))
            self._networks[key].add(fresh)
        self._sites.add(settled)
        networks.update(by_network)
        sites.update(point.site for point in settled)

    def _roamed(self, at: float) -> None:
        insort(self._roaming, at)
        del self._roaming[:-_MOST_ROAMING]

    # --- events --------------------------------------------------------------------------------------------------

    def _renew(self, networks: Iterable[str], sites: Iterable[str]) -> list[Event]:
        """Compare what the folds say now with what was said before."""
        if self._now is None:
            return []
        changed: list[Event] = []
        folds = {key: replay.fold for key, replay in self._networks.items()}
        for key in networks:
            drafts: dict[str, list[Draft]] = {series: [] for series in self._events if series.endswith(f"\n{key}")}
            for draft in of_network(key, folds[key], self._now, arrivals(key, folds, self._roaming)):
                drafts.setdefault(draft.series, []).append(draft)
            for series, found in drafts.items():
                changed += self._compare(series, found, self._networks[key])
            self._networks[key].settle()
        for site in sites:
            if site in self._sites.fold.sites:
                series = series_of(Kind.SITE_OUTAGE, site, None)
                changed += self._compare(series, of_site(self._sites.fold.sites[site]), self._sites)
        self._sites.settle()
        return in_order_of_start(changed)

    def _compare(self, series: str, found: list[Draft], replay: Replay[NetworkFold] | Replay[SitesFold]) -> list[Event]:
        before = self._events.get(series, {})
        changed: list[Event] = []
        after: dict[str, Event] = {}
        for event in name(found, {series: in_order_of_start(before.values())}):
            old = before.get(event.id)
            if old is None:
                event = replace(event, revision=self._withdrawn.pop(event.id, 0) + 1)
                changed.append(event)
            elif _differs(old, event):
                event = replace(event, revision=old.revision + 1)
                changed.append(event)
            after[event.id] = event
        for id, old in before.items():
            if id in after:
                continue
            if not replay.settled(old.ended) and (id in self._found or self._denied(old, replay)):
                # A late measurement took its ground away. It was told, so its end must be.
                gone = withdrawn(old)
                changed.append(gone)
                self._withdrawn[id] = gone.revision
            else:
                after[id] = old
        self._found = (self._found - set(before)) | {
            id for id in after if id not in before or after[id] is not before[id]
        }
        if after:
            self._events[series] = after
        else:
            self._events.pop(series, None)
        return changed

    def _denied(self, stored: Event, replay: Replay[NetworkFold] | Replay[SitesFold]) -> bool:
        """Whether what a stored event rests on was read again and says otherwise: judged anew, or more is asked for now.

        Only of one that goes on, or it would go on for ever; one that is over stays as it was told.
        """
        read = replay.since is not None and replay.since <= stored.started
        return stored.ended is None and read and self._now is not None and self._now >= stored.detected


def _pieces(points: Iterable[Point]) -> Iterator[list[Point]]:
    left = iter(points)
    while piece := list(islice(left, _PIECE)):
        yield piece


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
