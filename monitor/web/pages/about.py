"""`/about`: who runs this, what it rests on, under which terms its data is, and how to cite it."""

from starlette.requests import Request
from starlette.responses import Response

from monitor.verdict.rules import RULES_VERSION
from monitor.web.api.schema import LICENCE_URL
from monitor.web.pages import sentences
from monitor.web.pages.rendering import Pages


async def about(pages: Pages, request: Request) -> Response:
    """GET."""
    whole, said, web = await pages.overview.whole(), pages.words(request), pages.watching.web
    networks = await pages.archive.networks()
    contact = web.contact and (web.contact if web.contact.startswith("https://") else f"mailto:{web.contact}")
    return pages.page(
        request, "about.html", covered=whole.covered, gaps=sentences.gaps(said, whole.covered, whole.scope),
        vantages=len({(one.vantage, one.network.asn) for one in whole.latest}), networks=len(networks),
        operator=web.operator, contact=web.contact, contact_link=contact, licence=LICENCE_URL, address=web.public,
        rules_version=RULES_VERSION, today=whole.made,
    )  # fmt: skip
