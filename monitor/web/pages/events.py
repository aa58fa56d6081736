"""`/events` and `/events/ID`: what was found, and one of them in full."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from monitor import several
from monitor.backing import counted, probes, supports
from monitor.models import Event, Incident, Kind, Measurement, Network
from monitor.newest import during, point_of
from monitor.store import Head, WantedEvents
from monitor.urls import BadUrl, site_written
from monitor.web.pages import doubts, history
from monitor.web.pages.asked import Read, any_number, moment, not_understood, number, one_of, word
from monitor.web.pages.matrix import NOWHERE
from monitor.web.pages.periods import around
from monitor.web.pages.rendering import Missing, Pages
from monitor.web.pages.turning import Turning, turning, with_query

AT_ONCE = 40
MOST_INCIDENTS = 10
MOST_ROWS = 50  # events of an incident
MOST_BEHIND = 25  # measurements that the page lists; the API has all
MOST_READ = 1000
KINDS = {kind.value: kind for kind in Kind}
ACTIVE = ("1", "true")
ASKED: Mapping[str, Collection[str] | Read] = {"kind": KINDS, "network": any_number, "active": ACTIVE}


async def events(pages: Pages, request: Request) -> Response:
    """GET, with a filter and where to go on in the query."""
    said, wanted = pages.words(request), _wanted(request)
    found = await pages.archive.events(wanted)
    shown = found[:AT_ONCE]
    incidents = await pages.archive.incidents(WantedEvents(newest_first=True, limit=MOST_INCIDENTS))
    older = None
    if len(found) > AT_ONCE:
        older = with_query(request, before=shown[-1].started.isoformat(), id=shown[-1].id)
    return pages.page(
        request, "events.html", events=shown, since=await pages.archive.opened(shown),
        kinds=tuple(Kind), kind=one_of(request, "kind", KINDS), left_aside=not_understood(said, request, ASKED),
        site=word(request, "site"),
        active=_active(request), incidents=[one for one in incidents if len(one.events) > 1],
        turning=Turning(later=older, later_words=said.text("Earlier events")), networks=await pages.archive.networks(),
        asn=any_number(request, "network"),
    )  # fmt: skip


def _wanted(request: Request) -> WantedEvents:
    before = moment(request, "before")
    return WantedEvents(
        kind=KINDS.get(word(request, "kind")), site=_site(word(request, "site").strip()), newest_first=True,
        asn=number(request, "network", None, least=0), active=_active(request) or None,
        after=(before, word(request, "id")) if before else None, limit=AT_ONCE + 1,
    )  # fmt: skip


def _active(request: Request) -> bool:
    """Only what goes on; written as the API has it, too."""
    return word(request, "active") in ACTIVE


def _site(text: str) -> str | None:
    """A site's name from a host or a URL; as it is where it is neither."""
    if not text:
        return None
    try:
        return site_written(text)
    except BadUrl:
        return text


class Behind(Struct, frozen=True, kw_only=True):
    """What an event rests on. heads: oldest first; shown: the most telling of them; telling: one of them in full.

    last: when the last of them was made, where all are known.
    """

    heads: list[Head]
    shown: list[Head]
    telling: Measurement | None
    last: datetime | None


async def event(pages: Pages, request: Request) -> Response:
    """GET."""
    one = await pages.archive.event(request.path_params["id"])
    if one is None:
        raise Missing
    said, now = pages.words(request), datetime.now(UTC)
    behind = await _behind(pages, one)
    if len(behind.heads) < MOST_READ:
        one = counted(one, map(point_of, behind.heads))
    together = await _incident(pages, one)
    since = await pages.archive.opened(together.events if together else [one])
    shown = around(one.started, one.ended or now, now)
    asn = (one.network.asn or NOWHERE) if one.network else None
    bands = await pages.archive.bands(one.site, shown.since, shown.until, shown.step, asn=asn)
    return pages.page(
        request, "event.html", event=one, since=since.get(one.id), behind=behind,
        incident=together, opened_too=since,
        doubts=doubts.of_event(said, one, behind.heads), download=_download(one),
        has_bundle=one.confidence > 0 and pages.bundles is not None,
        history=history.history(said, said.text("Before, during and after"), bands, [one], shown),
    )  # fmt: skip


async def _behind(pages: Pages, one: Event) -> Behind:
    heads = await pages.archive.behind(one, MOST_READ)
    supporting = [head for head in heads if supports(one, point_of(head))]
    best = max(supporting, key=lambda head: (head.verdict.confirmed, head.verdict.confidence or 0.0), default=None)
    telling = await pages.archive.measurement(best.id) if best else None
    last = heads[-1].started if 0 < len(heads) < MOST_READ else None
    return Behind(heads=heads, shown=(supporting or heads)[:MOST_BEHIND], telling=telling, last=last)


async def _incident(pages: Pages, one: Event) -> Incident | None:
    """The one that it belongs to."""
    found = await pages.archive.incidents(
        WantedEvents(since=one.started, until=one.ended, newest_first=True, limit=100)
    )
    return next((incident for incident in found if any(event.id == one.id for event in incident.events)), None)


def _download(one: Event) -> dict[str, str]:
    """The measurements behind it, in each format."""
    wanted = during(one)
    asked = {
        "site": wanted.site, "asn": wanted.asn, "since": wanted.since and wanted.since.isoformat(),
        "until": wanted.until and wanted.until.isoformat(), "format": "csv",
    }  # fmt: skip
    table = urlencode({key: value for key, value in asked.items() if value is not None})
    return {"json": f"/api/v1/events/{quote(one.id, safe='')}", "csv": f"/api/v1/measurements?{table}"}


async def incident(pages: Pages, request: Request) -> Response:
    """GET."""
    one = await pages.archive.incident(request.path_params["id"])
    if one is None:
        raise Missing
    surest = max(one.events, key=lambda event: event.confidence, default=None)
    since = await pages.archive.opened(one.events)
    going_on = several.going_on(one.events, since)
    sites, networks, still = _sites(one.events), _networks(one.events), _networks(going_on)
    said, page = pages.words(request), number(request, "page", 1)
    turned = turning(said, request, page, -(-len(one.events) // MOST_ROWS))
    return pages.page(
        request, "incident.html", incident=one, sites=sites, networks=list(networks.values()), surest=surest, since=since,
        sites_open=[site for site in sites if site not in _sites(going_on)],
        networks_open=[network for key, network in networks.items() if key not in still],
        shown=one.events[(page - 1) * MOST_ROWS : page * MOST_ROWS], most_sites=MOST_ROWS,
        turning=replace(turned, earlier_words=said.text("Previous events"), later_words=said.text("More events")),
        measurements=sum(event.measurements for event in one.events), probes=probes(one.events),
        telling=(await _behind(pages, surest)).telling if surest else None,
        doubts=doubts.of_incident(said, one), has_bundle=bool(one.events) and pages.bundles is not None,
    )  # fmt: skip


def _sites(events: Sequence[Event]) -> list[str]:
    return sorted({event.site or "" for event in events})


def _networks(events: Sequence[Event]) -> dict[tuple[int | None, str | None], Network]:
    """Each once, however its country was found."""
    return {(event.network.asn, event.network.isp): event.network for event in events if event.network}
