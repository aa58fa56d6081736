"""The store: what the rest of the program knows of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from monitor.models import Event, Incident, Kind, Measurement, Network, Point, Status, Verdict
from monitor.store import aggregates, events, listing, opening, reading, rejudging, retention, rollups, tallies, writing
from monitor.store.database import Database
from monitor.store.ground import Decide
from monitor.store.outbox import Outbox
from monitor.store.rollups import Every
from monitor.store.wanted import (
    Aggregate,
    By,
    Count,
    Counts,
    Figures,
    Head,
    Latest,
    Rejudged,
    Rollup,
    Wanted,
    WantedEvents,
)

PATIENCE_S = 10.0  # with another process that writes; its transactions take milliseconds


class Store:
    """An open store. Every method raises StoreError; after one, when its cause is gone, the same Store works again.

    One writer at a time, in this process and all others; readers never wait. It may be used from any thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.outbox = Outbox(database)

    @classmethod
    def open(cls, url: str, *, create: bool = True, patience_s: float = PATIENCE_S) -> "Store":
        """The store at `sqlite:FILE` or `postgresql://...`, its tables brought up to date."""
        return cls(opening.opened(url, create=create, patience_s=patience_s))

    def close(self) -> None:
        """End its connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Where it is, for people: a file, or a server and database without a password."""
        return self._database.place.name

    # --- measurements --------------------------------------------------------------------------------------------

    def append(self, measurements: Sequence[Measurement], count: Count | None = None) -> int:
        """Store all in one transaction; when it returns they survive power loss. How many were new: ids are unique.

        count: what each new one adds to counters, besides those of statuses.
        """
        return writing.append(self._database, measurements, count)

    def measurement(self, id: str) -> Measurement | None:
        """The one with that id."""
        return reading.measurement(self._database, id)

    def measurements(self, wanted: Wanted | None = None) -> Iterator[Measurement]:
        """In order of (started, id), however many."""
        return reading.measurements(self._database, wanted or Wanted())

    def points(
        self, *, since: datetime | None = None, site: str | None = None, asn: int | None = None
    ) -> Iterator[Point]:
        """The judged ones as detection needs them, in order of (started, id)."""
        return reading.points(self._database, Wanted(since=since, site=site, asn=asn))

    def latest(self) -> list[Latest]:
        """The newest verdict on each URL from each vantage."""
        return reading.newest(self._database)[0]

    def latest_after(self, mark: int) -> tuple[list[Latest], int]:
        """Those of them that came after a mark (0: all), and the mark for the next question.

        What was judged again, and what retention removed, shows only from 0 on.
        """
        return reading.newest(self._database, mark)

    def rollups(
        self, wanted: Wanted | None = None, *, every: Every = "hour", sites: bool = False, methods: bool = False
    ) -> Iterator[Rollup]:
        """Counts by hour or day, network, vantage and status, in order of site and time; retention leaves them.

        sites: of each site instead of all together (one that is wanted is told alone). methods: of each method that
        verdicts name instead of all measurements. Of `wanted`: site, asn, vantage, status, method, since and until.
        """
        return rollups.read(self._database, wanted or Wanted(), every, sites=sites, methods=methods)

    def heads(self, wanted: Wanted | None = None, *, most: int) -> list[Head]:
        """The first of the judged ones in order of (started, id), without their facts; quick, however rare they are."""
        return listing.heads(self._database, wanted or Wanted(), most)

    def aggregate(
        self, wanted: Wanted, by: Sequence[By], *, every: Every = "day", most: int = 10_000
    ) -> list[Aggregate]:
        """Numbers of measurements, divided by what is named; TooMuch. By hour only of the counts of every hour."""
        return aggregates.aggregate(self._database, wanted, by, every, most)

    def networks(self) -> dict[int, Network]:
        """Each ASN (0: not known) that was ever measured from, as it was told of last."""
        return listing.networks_by_asn(self._database)

    def totals(self) -> Mapping[tuple[str, Status], int]:
        """How many measurements were ever stored, by vantage and status; retention takes nothing away."""
        return rollups.totals(self._database)

    def count(self) -> int:
        """How many measurements there are now."""
        return reading.count(self._database)

    def rejudge(
        self, judge: Callable[[Measurement], Verdict], version: int, progress: Callable[[int, int], None]
    ) -> Rejudged:
        """Replace every verdict by a new one; an interrupted run by the same version goes on where it was.

        progress: told how many are done, of how many.
        """
        return rejudging.rejudge(self._database, judge, version, progress)

    def retain(self, *, age_s: float | None, size: int | None, now: datetime) -> int:
        """Delete measurements that are too old, or too many bytes, oldest first; how many. Evidence of events stays."""
        return retention.retain(self._database, age_s=age_s, size=size, now=now)

    def used_bytes(self) -> int:
        """What it takes on disk, without what is free in it."""
        return self._database.used_bytes()

    def tally(self, counts: Counts) -> None:
        """Add to counters."""
        tallies.tally(self._database, counts)

    def figures(self) -> Figures:
        """All counters, and the store's size; quick, however much is stored."""
        return tallies.figures(self._database)

    # --- events and state ----------------------------------------------------------------------------------------

    def save_events(
        self, found: Sequence[Event], together: Sequence[Incident] = (), decide: Decide | None = None
    ) -> None:
        """Store events and incidents; one with a known id replaces it. decide: who is told, in the same transaction."""
        events.save(self._database, found, together, decide)

    def events(
        self, *, kind: Kind | None = None, site: str | None = None, asn: int | None = None,
        active: bool | None = None, since: datetime | None = None, until: datetime | None = None,
        limit: int | None = None,
    ) -> list[Event]:  # fmt: skip
        """In order of (started, id). since, until: those that were going on at some moment in between."""
        wanted = WantedEvents(
            kind=kind, site=site, asn=asn, active=active, since=since, until=until, limit=limit
        )  # fmt: skip
        return events.find(self._database, wanted)

    def event(self, id: str) -> Event | None:
        """The one with that id."""
        return events.one(self._database, id)

    def incidents(
        self, *, active: bool | None = None, since: datetime | None = None, until: datetime | None = None,
        limit: int | None = None,
    ) -> list[Incident]:  # fmt: skip
        """In order of (started, id)."""
        wanted = WantedEvents(active=active, since=since, until=until, limit=limit)
        return events.find_incidents(self._database, wanted)

    def find_events(self, wanted: WantedEvents) -> list[Event]:
        """In order of (started, id)."""
        return events.find(self._database, wanted)

    def changed_events(self, wanted: WantedEvents) -> list[tuple[datetime, Event]]:
        """Those of a site, of a network or all, and when what they say was stored; what changed last comes first."""
        return events.changed_last(self._database, wanted)

    def find_incidents(self, wanted: WantedEvents) -> list[Incident]:
        """In order of (started, id)."""
        return events.find_incidents(self._database, wanted)

    def incident(self, id: str) -> Incident | None:
        """The one with that id."""
        return events.one_incident(self._database, id)

    def remember(self, key: str, value: bytes) -> None:
        """Keep a small thing."""
        events.remember(self._database, key, value)

    def recall(self, key: str) -> bytes | None:
        """A small thing that was kept."""
        return events.recall(self._database, key)
