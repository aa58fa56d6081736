"""The read side: what pages, API and feeds know of the store. Nothing here writes.

It reads over its own connections and in its own few threads, so that measuring never waits for a reader: neither in the
loop nor behind the ledger's writer. Whoever comes when too many wait already is turned away at once.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from monitor.models import Event, Incident, Kind, Measurement, Network, Status
from monitor.newest import during, on_its_network
from monitor.outcome import Outcome, outcome
from monitor.store import Aggregate, By, Every, Head, Latest, Store, Wanted, WantedEvents
from monitor.web.openings import Openings

THREADS = 4
MOST_WAITING = 64
MOST_ADDING = 8  # aggregates that wait: each may take a second, so they are made one after the other
KEPT_S = 1.0  # what many pages ask for, and nobody minds being a second old
STALE_S = 10.0  # so old it may be while it is read anew
WHOLE_S = 60.0  # how long it may take until a verdict shows that was judged again
OVERLAP = 1000  # measurements: several processes may append, and the one that began first end last
MOST_ROWS = 10_000  # of an aggregate
MOST_HEADS = 1001  # a page of the API, and the one that tells that there are more
SHORT = timedelta(days=8)  # times of which hours are counted, not days

T = TypeVar("T")


class Busy(Exception):
    """Too many read already. Its text is one line."""


class Slot(Struct, frozen=True, kw_only=True):
    """What was measured from `started` on for one step. methods: how many measurements named each."""

    started: datetime
    counts: Mapping[Status, int]
    methods: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many measurements."""
        return sum(self.counts.values())


class Band(Struct, frozen=True, kw_only=True):
    """One network's slots, oldest first; where nothing was measured there is none."""

    network: Network
    slots: tuple[Slot, ...]


class SiteNow(Struct, frozen=True, kw_only=True):
    """A site, and how many of its newest verdicts (one for each URL and vantage) have each status."""

    site: str
    urls: tuple[str, ...]
    asns: tuple[int | None, ...]
    counts: Mapping[Status, int]
    measured: datetime


class NetworkNow(Struct, frozen=True, kw_only=True):
    """A network, and how many of the newest verdicts from it have each status. measured: None where none is kept."""

    network: Network
    sites: int
    counts: Mapping[Status, int]
    measured: datetime | None


class Archive:
    """A store for readers. Every method raises StoreError, and Busy. is_published: strangers read it, redacted."""

    is_published = False

    def __init__(
        self,
        url: str,
        *,
        threads: int = THREADS,
        most_rows: int = MOST_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The store need not be there yet: it is opened when it is first asked for. most_rows: of an aggregate."""
        self._url, self._most_rows, self._clock = url, most_rows, clock
        self._store: Store | None = None
        self._opening = threading.Lock()
        self._threads, self._adding = _Threads(threads, MOST_WAITING), _Threads(1, MOST_ADDING)
        self._now, self._openings = _Now(clock), Openings(clock)
        self._kept: dict[str, _Kept] = {}
        self._made: dict[str, tuple[list[Latest], list[Any]]] = {}

    async def aclose(self) -> None:
        """Ends the threads, when they have finished, and the connections."""
        for kept in self._kept.values():
            kept.reading.cancel()
        for threads in (self._threads, self._adding):
            await threads.aclose()
        if self._store is not None:
            self._store.close()

    # --- now ---------------------------------------------------------------------------------------------------

    async def latest(self) -> list[Latest]:
        """The newest verdict on each URL from each vantage, by site, URL and vantage."""
        return await self._keep("latest", self._now.read)

    async def sites(self) -> list[SiteNow]:
        """Every site of which a measurement is kept, by name."""
        return await self._derived("sites", lambda _, latest: _sites(latest))

    async def networks(self) -> list[NetworkNow]:
        """Every network that was ever measured from, by number; the one without is last."""
        return await self._derived("networks", lambda store, latest: _networks(store.networks(), latest))

    # --- measurements ------------------------------------------------------------------------------------------

    async def measurement(self, id: str) -> Measurement | None:
        """The one with that id, with all its facts."""
        return await self._read(Store.measurement, id)

    async def heads(self, wanted: Wanted, most: int = 50) -> list[Head]:
        """The first ones in order of (started, id), without facts, at most MOST_HEADS; `after` turns pages."""
        return await self._read(partial(Store.heads, most=min(most, MOST_HEADS)), wanted)

    async def outcomes(self, ids: Sequence[str]) -> dict[str, Outcome]:
        """What became of these: how long each step took. Each is opened for it: a hundred take some 50 ms."""
        return await self._read(_outcomes, tuple(ids))

    async def aggregate(self, by: Sequence[By], wanted: Wanted) -> list[Aggregate]:
        """How many measurements, divided by at most two things; TooMuch. Hours are counted where they are short."""
        every: Every = "hour" if "hour" in by or (_short(wanted) and not {"day", "week", "month"} & {*by}) else "day"
        work = partial(Store.aggregate, every=every, most=self._most_rows)
        return await self._adding.run(self._with_store, work, wanted, by)

    async def bands(
        self, site: str | None, since: datetime, until: datetime, step: timedelta, *, asn: int | None = None
    ) -> list[Band]:
        """What was measured of a site (None: of all) from each network (asn: one of them), in whole hours or days."""
        return await self._read(_bands, Wanted(site=site, asn=asn, since=since, until=until), step)

    # --- events ------------------------------------------------------------------------------------------------

    async def events(self, wanted: WantedEvents) -> list[Event]:
        """In order of (started, id)."""
        return await self._read(Store.find_events, wanted)

    async def changed_events(self, wanted: WantedEvents) -> list[tuple[datetime, Event]]:
        """With when what they say was stored; what changed last comes first."""
        return await self._read(Store.changed_events, wanted)

    async def event(self, id: str) -> Event | None:
        """The one with that id."""
        return await self._read(Store.event, id)

    async def behind(self, event: Event, most: int = MOST_HEADS) -> list[Head]:
        """The measurements from an event's beginning, at the earliest, to its end, at the latest; the oldest first."""
        if event.kind is Kind.SILENCE:
            return []
        return on_its_network(event, await self.heads(during(event), most))

    async def opened(self, events: Sequence[Event]) -> dict[str, tuple[datetime, int]]:
        """By id, those that the newest results no longer show, and do not end yet: since when, and how many results."""
        active = [event for event in events if event.ended is None]
        return await self._read(self._openings.read, active, await self.latest()) if active else {}

    async def incidents(self, wanted: WantedEvents) -> list[Incident]:
        """In order of (started, id)."""
        return await self._read(Store.find_incidents, wanted)

    async def incident(self, id: str) -> Incident | None:
        """The one with that id."""
        return await self._read(Store.incident, id)

    # --- threads -----------------------------------------------------------------------------------------------

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._threads.run(self._with_store, work, *arguments)

    def _with_store(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._opening:
            if self._store is None:
                self._store = Store.open(self._url, create=False)
        return work(self._store, *arguments)

    async def _derived(self, key: str, work: Callable[[Store, list[Latest]], list[T]]) -> list[T]:
        """What follows from the newest verdicts: made again when they are others."""
        latest = await self.latest()
        made: tuple[list[Latest], list[T]] | None = self._made.get(key)
        if made is None or made[0] is not latest:
            made = self._made[key] = (latest, await self._read(lambda store: work(store, latest)))
        return made[1]

    async def _keep(self, key: str, work: Callable[[Store], T]) -> T:
        """Read once for all who ask within a moment; while it is read anew, the old is good enough for a while."""
        kept = self._kept.get(key)
        age_s = self._clock() - kept.begun if kept else 0.0
        if kept is None or kept.failed or (kept.reading.done() and age_s >= KEPT_S):
            old = kept.reading if kept and not kept.failed and age_s < STALE_S else None
            kept = self._kept[key] = _Kept(self._clock(), asyncio.create_task(self._read(work)), old)
        found: T = await asyncio.shield(kept.reading if kept.reading.done() or kept.old is None else kept.old)
        return found


class _Threads:
    """So many at once; some more wait, and the rest is turned away."""

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="archive")
        self._inside, self._most = 0, threads + most_waiting

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """In one of them; Busy."""
        if self._inside >= self._most:
            raise Busy("too many readers at once; try again in a moment")
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._inside -= 1

    async def aclose(self) -> None:
        """When they have finished what they do."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class _Kept:
    """What was read, or is being read; old: what there was before, where that is not too old."""

    def __init__(self, begun: float, reading: asyncio.Task[Any], old: asyncio.Task[Any] | None) -> None:
        self.begun, self.reading, self.old = begun, reading, old
        reading.add_done_callback(self._done)

    @property
    def failed(self) -> bool:
        """Nothing came of it."""
        return self.reading.done() and (self.reading.cancelled() or self.reading.exception() is not None)

    def _done(self, reading: asyncio.Task[Any]) -> None:
        if not reading.cancelled():
            reading.exception()  # whoever asked is told; nobody may have asked
        self.old = None


class _Now:
    """The newest verdicts: what is new is read every time, all of it from time to time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Latest] = {}
        self._order: list[Latest] = []
        self._mark, self._whole_at = 0, float("-inf")
        self._turn = threading.Lock()

    def read(self, store: Store) -> list[Latest]:
        """In any thread."""
        with self._turn:
            return self._read(store)

    def _read(self, store: Store) -> list[Latest]:
        anew = self._clock() - self._whole_at >= WHOLE_S
        found, mark = store.latest_after(0 if anew else max(0, self._mark - OVERLAP))
        if anew:
            self._known, self._whole_at = {}, self._clock()
        fresh = {(one.url, one.vantage): one for one in found}
        if anew or any(self._known.get(key) != one for key, one in fresh.items()):
            self._known |= fresh
            self._order = sorted(self._known.values(), key=lambda one: (one.site, one.url, one.vantage))
        self._mark = mark if anew else max(self._mark, mark)
        return self._order


def _short(wanted: Wanted) -> bool:
    return wanted.since is not None and (wanted.until is not None and wanted.until - wanted.since <= SHORT)


def _outcomes(store: Store, ids: Sequence[str]) -> dict[str, Outcome]:
    return {one.id: outcome(one) for one in store.measurements(Wanted(ids=tuple(ids)))}


def _sites(latest: Sequence[Latest]) -> list[SiteNow]:
    by_site: dict[str, list[Latest]] = {}
    for one in latest:
        by_site.setdefault(one.site, []).append(one)
    return [
        SiteNow(
            site=site, urls=tuple(dict.fromkeys(one.url for one in seen)),
            asns=tuple(dict.fromkeys(one.network.asn for one in seen)),
            counts=Counter(one.verdict.status for one in seen), measured=max(one.started for one in seen),
        )
        for site, seen in by_site.items()
    ]  # fmt: skip


def _networks(known: Mapping[int, Network], latest: Sequence[Latest]) -> list[NetworkNow]:
    by_asn: dict[int, list[Latest]] = {}
    for one in latest:
        by_asn.setdefault(one.network.asn or 0, []).append(one)
    found = []
    for asn, network in sorted(known.items(), key=lambda item: item[0] or 2**32):
        seen = by_asn.get(asn, [])
        counts = Counter(one.verdict.status for one in seen)
        measured = max((one.started for one in seen), default=None)
        sites = len({one.site for one in seen})
        found.append(NetworkNow(network=network, sites=sites, counts=counts, measured=measured))
    return found


def _bands(store: Store, wanted: Wanted, step: timedelta) -> list[Band]:
    every: Every = "day" if step % timedelta(days=1) == timedelta() else "hour"
    found: dict[int, dict[datetime, tuple[Counter[Status], Counter[str]]]] = {}
    for methods in (False, True):
        for one in store.rollups(wanted, every=every, methods=methods):
            slots = found.setdefault(one.asn or 0, {})
            counts, named = slots.setdefault(_begin(one.started, wanted.since, step), (Counter(), Counter()))
            if one.method is None:
                counts[one.status] += one.count
            else:
                named[one.method] += one.count
    networks = store.networks()
    return [
        Band(
            network=networks.get(asn, Network(asn=asn or None)),
            slots=tuple(
                Slot(started=at, counts=counts, methods=named) for at, (counts, named) in sorted(slots.items())
            ),
        )
        for asn, slots in sorted(found.items(), key=lambda item: item[0] or 2**32)
    ]


def _begin(moment: datetime, since: datetime | None, step: timedelta) -> datetime:
    """Of the step that the moment is in; what began before `since` belongs to the first one."""
    since = since or moment
    return since + max(timedelta(), moment - since) // step * step
