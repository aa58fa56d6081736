"""`/networks` and `/networks/asnNUMBER`: what is known of each network, and how all sites were on it over time."""

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from monitor.models import Status
from monitor.store import Wanted, WantedEvents
from monitor.web.archive import NetworkNow
from monitor.web.pages import history
from monitor.web.pages.asked import moment, not_understood, number, word
from monitor.web.pages.matrix import NOWHERE, Choice, chosen, part
from monitor.web.pages.periods import period
from monitor.web.pages.rendering import Missing, Pages
from monitor.web.pages.sentences import network_name
from monitor.web.pages.turning import turning
from monitor.web.pages.whole import Whole

MOST_EVENTS = 30
MOST_NETWORKS = 300
MOST_DIGITS = 11


async def networks(pages: Pages, request: Request) -> Response:
    """GET."""
    whole, known = await pages.overview.whole(), await pages.archive.networks()
    counts = {one.network.asn or NOWHERE: _counted(whole, one.network.asn or NOWHERE) for one in known}
    return pages.page(request, "networks.html", networks=known[:MOST_NETWORKS], counts=counts)


async def network(pages: Pages, request: Request) -> Response:
    """GET. range, until: as of a site; page: of its sites."""
    whole, said = await pages.overview.whole(), pages.words(request)
    one = await _known(pages, request.path_params["network"])
    asn = one.network.asn or NOWHERE
    events = await pages.archive.events(WantedEvents(asn=asn, newest_first=True, limit=MOST_EVENTS))
    table, _, count = part(chosen(whole.table, Choice(asn=asn)), page := number(request, "page", 1))
    shown = period(word(request, "range"), moment(request, "until") or whole.made, whole.made)
    bands = await pages.archive.bands(None, shown.since, shown.until, shown.step, asn=asn)
    title = said.text("All sites on {network}", network=network_name(said, one.network))
    told = history.history(said, title, bands, events, shown)
    return pages.page(
        request, "network.html", network=one.network, table=table, events=events, since=await pages.archive.opened(events),
         counts=_counted(whole, asn),
        places=[place for place in whole.scope.places if (place.network.asn or NOWHERE) == asn],
        history=told, ranges=history.ranges(request), left_aside=not_understood(said, request, history.ASKED),
        turning=await history.turning(pages, request, Wanted(asn=asn), told, whole.made),
        pages=turning(said, request, page, count), columns=table.columns,
    )  # fmt: skip


async def _known(pages: Pages, name: str) -> NetworkNow:
    """The network that a path names: asn8048, unknown; Missing."""
    asn = NOWHERE if name == "unknown" else _number(name)
    found = next((one for one in await pages.archive.networks() if (one.network.asn or NOWHERE) == asn), None)
    if found is not None:
        return found
    scope = pages.watching.scope()
    declared = next((place.network for place in scope.places if (place.network.asn or NOWHERE) == asn), None)
    if declared is None:
        raise Missing
    return NetworkNow(network=declared, sites=0, counts={}, measured=None)


def _number(path: str) -> int:
    """Of asn8048; one that no network has, where it is something else."""
    digits = path.removeprefix("asn")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < MOST_DIGITS else -1


def _counted(whole: Whole, asn: int) -> Counter[Status | None]:
    """How many sites are how on a network now; what is old counts as not known."""
    places = [i for i, column in enumerate(whole.table.columns) if (column.network.asn or NOWHERE) == asn]
    cells = [row.cells[place] for row in whole.table.rows for place in places]
    return Counter(None if cell.old else cell.state for cell in cells)
