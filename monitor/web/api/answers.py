"""What is answered: the shapes of the JSON, and of its rows in CSV.

Of a measurement that is what `almenara export` prints, without the vantage's own port numbers: with them, and what
an ISP keeps of its customers' connections, a volunteer could be found. Everyone on the internet gets less, from another
archive (monitor/web/published.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from monitor.explain import worded_measurement
from monitor.models import Event, Incident, Measurement, Network, Observations, Status
from monitor.store import TIMES, Aggregate, By, Head
from monitor.web.archive import NetworkNow, SiteNow
from monitor.wording import told


class SiteAnswer(Struct, frozen=True, kw_only=True):
    """A site. statuses: how many of its newest verdicts (one for each URL and vantage) have each status."""

    site: str
    urls: tuple[str, ...]
    asns: tuple[int | None, ...]
    statuses: dict[Status, int]
    measured: datetime


class SitesAnswer(Struct, frozen=True, kw_only=True):
    """Every site of which a measurement is kept."""

    sites: tuple[SiteAnswer, ...]


class Place(Struct, frozen=True, kw_only=True):
    """A network: asn None where it is not known."""

    asn: int | None
    isp: str | None
    country: str | None


class NetworkAnswer(Struct, frozen=True, kw_only=True):
    """A network, as it was told of last, and how many of the newest verdicts from it have each status."""

    network: Place
    sites: int
    statuses: dict[Status, int]
    measured: datetime | None


class NetworksAnswer(Struct, frozen=True, kw_only=True):
    """Every network that was ever measured from."""

    networks: tuple[NetworkAnswer, ...]


class VerdictHead(Struct, frozen=True, kw_only=True):
    """A verdict; its reasons are with the whole measurement."""

    status: Status
    methods: tuple[str, ...]
    confidence: float | None
    confirmed: bool
    rule: str
    rules_version: int


class MeasurementHead(Struct, frozen=True, kw_only=True):
    """A measurement without its facts, which `/api/v1/measurements/{id}` has. Who measured is not told to everyone."""

    id: str
    started: datetime
    site: str
    url: str
    network: Network
    verdict: VerdictHead
    vantage: str | UnsetType = UNSET
    probe: str | UnsetType = UNSET


class MeasurementsAnswer(Struct, frozen=True, kw_only=True):
    """A page of measurements. next: the cursor of the next page; null: there is none."""

    measurements: tuple[MeasurementHead, ...]
    next: str | None


class EventAnswer(Struct, frozen=True, kw_only=True):
    """An episode. The ranges: the last contrary and the first supporting measurement. site: null where it is of all."""

    id: str
    revision: int
    kind: str
    site: str | None
    network: Place | None
    methods: tuple[str, ...]
    started: datetime
    started_range: tuple[datetime | None, datetime | None]
    detected: datetime
    ended: datetime | None
    ended_range: tuple[datetime | None, datetime | None] | None
    confidence: float
    measurements: int
    probes: int


class EventWhole(EventAnswer, frozen=True, kw_only=True):
    """An episode with the ids of the measurements from its beginning to its end that are still kept, oldest first;
    complete: false where there are more, which `/api/v1/measurements` lists.
    """

    measurement_ids: tuple[str, ...]
    complete: bool


class EventsAnswer(Struct, frozen=True, kw_only=True):
    """A page of events, the newest first. next: the cursor of the next page; null: there is none."""

    events: tuple[EventAnswer, ...]
    next: str | None


class IncidentAnswer(Struct, frozen=True, kw_only=True):
    """Events that belong together."""

    id: str
    revision: int
    state: str
    started: datetime
    ended: datetime | None
    events: tuple[EventAnswer, ...]


class IncidentsAnswer(Struct, frozen=True, kw_only=True):
    """A page of incidents, the newest first. next: the cursor of the next page; null: there is none."""

    incidents: tuple[IncidentAnswer, ...]
    next: str | None


class AggregateRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many measurements, and how many of them had each status. started: of the hour, day, week or month, in UTC.

    What was not asked for in `by` is left out; what is not known is null.
    """

    measurements: int
    started: datetime | UnsetType = UNSET
    site: str | UnsetType = UNSET
    asn: int | UnsetType | None = UNSET
    country: str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    ok: int | UnsetType = UNSET
    blocked: int | UnsetType = UNSET
    down: int | UnsetType = UNSET
    geoblocked: int | UnsetType = UNSET
    inconclusive: int | UnsetType = UNSET


class AggregatesAnswer(Struct, frozen=True, kw_only=True):
    """Numbers of measurements. Divided by method, a measurement counts for each of its methods."""

    by: tuple[str, ...]
    rows: tuple[AggregateRow, ...]


S = TypeVar("S", bound=Observations)
_VERDICT = tuple(field.name for field in msgspec.structs.fields(VerdictHead))


def site(one: SiteNow) -> SiteAnswer:
    """A site."""
    return SiteAnswer(site=one.site, urls=one.urls, asns=one.asns, statuses=dict(one.counts), measured=one.measured)


def network(one: NetworkNow) -> NetworkAnswer:
    """A network."""
    return NetworkAnswer(network=_place(one.network), sites=one.sites, statuses=dict(one.counts), measured=one.measured)


def head(one: Head) -> MeasurementHead:
    """A measurement as it is listed."""
    verdict = VerdictHead(**{name: getattr(one.verdict, name) for name in _VERDICT})
    return MeasurementHead(
        id=one.id, started=one.started, site=one.site, url=one.url, vantage=one.vantage or UNSET, probe=one.probe or UNSET,
        network=one.network, verdict=verdict,
    )  # fmt: skip


def event(one: Event) -> EventAnswer:
    """An event."""
    return msgspec.convert(told(one), EventAnswer)


def whole_event(one: Event, behind: Sequence[Head], most: int) -> EventWhole:
    """An event and the measurements behind it, of which one more than `most` were looked for."""
    ids = [head.id for head in behind[:most]]
    return msgspec.convert(told(one) | {"measurement_ids": ids, "complete": len(behind) <= most}, EventWhole)


def incident(one: Incident) -> IncidentAnswer:
    """An incident."""
    return msgspec.convert(told(one), IncidentAnswer)


def measurement(one: Measurement) -> Measurement:
    """A measurement as everyone may have it."""
    controls = tuple(map(_portless, one.controls))
    return worded_measurement(msgspec.structs.replace(_portless(one), controls=controls))


def row(one: Aggregate, by: Sequence[By]) -> AggregateRow:
    """A row of an aggregate."""
    fields: dict[str, Any] = {"started" if name in TIMES else name: None for name in by}
    fields = {name: getattr(one, name, None) for name in fields}
    if "status" in by:
        [fields["status"]] = one.counts
    else:
        fields |= {status.value: one.counts.get(status, 0) for status in Status}
    return AggregateRow(measurements=sum(one.counts.values()), **fields)


def _portless(seen: S) -> S:
    """What a network saw, without the ports that its own connections had."""
    without = {
        step: tuple(msgspec.structs.replace(one, local_port=None) for one in getattr(seen, step))
        for step in ("dns", "tcp", "tls", "http")
    }
    return msgspec.structs.replace(seen, **without)


def _place(network: Network) -> Place:
    return Place(asn=network.asn, isp=network.isp, country=network.country)
