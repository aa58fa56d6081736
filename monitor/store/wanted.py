"""What is asked of the store, and what it answers besides the nouns."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from monitor.models import Kind, Network, Status, Verdict

MOST_IDS = 30_000  # in one question; databases take some more


class Wanted(Struct, frozen=True, kw_only=True):
    """Which measurements; None: all. since <= started < until. after: the (started, id) to go on behind."""

    site: str | None = None
    asn: int | None = None
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
    """Which events, or incidents (for them kind, site and asn say nothing). since, until: going on in between."""

    kind: Kind | None = None
    site: str | None = None
    asn: int | None = None
    active: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


class Latest(Struct, frozen=True, kw_only=True):
    """The newest verdict on a site as a vantage sees it."""

    site: str
    url: str
    vantage: str
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


class Rejudged(Struct, frozen=True, kw_only=True):
    """total: judged again. changed: with another conclusion. changes: how often a status became another."""

    total: int
    changed: int
    changes: Mapping[tuple[Status | None, Status], int] = {}
