"""What is asked of the store, and what it answers besides the nouns."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from msgspec import Struct

from monitor.models import Kind, Measurement, Network, Status, Verdict
from monitor.outcome import Outcome
from monitor.store.schema import Sending, Tallied

MOST_IDS = 30_000  # in one question; databases take some more


class Wanted(Struct, frozen=True, kw_only=True):
    """Which measurements; None: all. since <= started < until. after: the (started, id) to go on behind."""

    site: str | None = None
    asn: int | None = None
    country: str | None = None
    vantage: str | None = None
    status: Status | None = None
    method: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[str, ...] | None = None
    limit: int | None = None
    newest_first: bool = False
    after: tuple[datetime, str] | None = None


class WantedEvents(Struct, frozen=True, kw_only=True):
    """Which events, or incidents (for them kind, site and asn say nothing). since, until: going on in between.

    after: the (started, id) to go on behind.
    """

    kind: Kind | None = None
    site: str | None = None
    asn: int | None = None
    active: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    newest_first: bool = False
    after: tuple[datetime, str] | None = None


class Latest(Struct, frozen=True, kw_only=True):
    """The newest verdict on a site as a vantage sees it. outcome: None where an older version stored it."""

    id: str
    site: str
    url: str
    vantage: str
    network: Network
    started: datetime
    verdict: Verdict
    outcome: Outcome | None = None


class Head(Struct, frozen=True, kw_only=True):
    """A judged measurement without its facts. The verdict has no reasons."""

    id: str
    site: str
    url: str
    vantage: str
    probe: str
    network: Network
    started: datetime
    verdict: Verdict


class Rollup(Struct, frozen=True, kw_only=True):
    """How many measurements of an hour, or a day, had one status; site, method None: of all. asn None: not known."""

    started: datetime
    site: str | None
    asn: int | None
    vantage: str
    status: Status
    method: str | None
    count: int


By = Literal["site", "asn", "country", "status", "method", "hour", "day", "week", "month"]
TIMES: tuple[By, ...] = ("hour", "day", "week", "month")


class Aggregate(Struct, frozen=True, kw_only=True):
    """How many measurements had each status; what they were not divided by is None. started: of the hour, day.."""

    counts: Mapping[Status, int]
    site: str | None = None
    asn: int | None = None
    country: str | None = None
    method: str | None = None
    started: datetime | None = None


class Tally(NamedTuple):
    """One counter. vantage: "" for none. first, second: its labels."""

    counter: Tallied
    vantage: str = ""
    first: str = ""
    second: str = ""


Counts = Mapping[Tally, int]
Count = Callable[[Measurement], Counts]


class Figures(Struct, frozen=True, kw_only=True):
    """What is told at every scrape. events: how many there ever were; bytes: on disk.

    deliveries: by channel, how many wait or were given up.
    """

    counts: Counts
    events: Mapping[Kind, int]
    bytes: int
    deliveries: Mapping[tuple[str, Sending], int] = {}

    @property
    def stored(self) -> int:
        """Measurements that there are now."""
        return self.counts.get(Tally(Tallied.STORED), 0)


class Rejudged(Struct, frozen=True, kw_only=True):
    """total: judged again. changed: with another conclusion. changes: how often a status became another."""

    total: int
    changed: int
    changes: Mapping[tuple[Status | None, Status], int] = {}
