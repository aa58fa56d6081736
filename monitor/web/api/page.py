"""`/api/`: what there is to ask, for people; from the same declarations as the schema."""

from starlette.requests import Request
from starlette.responses import Response

from monitor.web.api.endpoints import ENDPOINTS
from monitor.web.api.questions import allowed
from monitor.web.api.schema import LICENCE_URL, parameters
from monitor.web.pages.rendering import Pages

EXAMPLES = (
    "/api/v1/measurements?status=blocked&limit=5",
    "/api/v1/events?active=true",
    "/api/v1/aggregates?by=day,status",
    "/api/v1/aggregates?by=asn,method&format=csv",
    "/feed.atom",
)


async def open_data(pages: Pages, request: Request) -> Response:
    """GET."""
    published = pages.archive.is_published
    described = [
        (one, parameters(one, published=published), allowed(one.asked(published=published))) for one in ENDPOINTS
    ]
    return pages.page(request, "api.html", endpoints=described, examples=EXAMPLES, licence=LICENCE_URL)
