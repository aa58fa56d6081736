"""Which page answers where, and what is answered when there is none."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from monitor.store import StoreError
from monitor.web.api.page import open_data
from monitor.web.archive import Busy
from monitor.web.bundles import NotMade
from monitor.web.headers import cached
from monitor.web.live import News, live
from monitor.web.pages import evidence
from monitor.web.pages.about import about
from monitor.web.pages.events import event, events, incident
from monitor.web.pages.measurement import measurement
from monitor.web.pages.methods import methods
from monitor.web.pages.network import network, networks
from monitor.web.pages.now import now
from monitor.web.pages.rendering import STATIC, Missing, Pages
from monitor.web.pages.site import elsewhere, site

YEAR_S = 365 * 86_400
Page = Callable[[Pages, Request], Awaitable[Response]]
PAGES: dict[str, Page] = {
    "/": now,
    "/sites/{site}": site,
    "/sites/{site:path}": elsewhere,
    "/networks": networks,
    "/networks/{network}": network,
    "/events": events,
    "/events/{id}": event,
    "/events/{id}/evidence.zip": evidence.of_event,
    "/incidents/{id}": incident,
    "/incidents/{id}/evidence.zip": evidence.of_incident,
    "/measurements/{id:path}": measurement,
    "/methods": methods,
    "/about": about,
    "/api/": open_data,
}


def routes(pages: Pages, news: News) -> list[BaseRoute]:
    """All pages, and what they are dressed with. news: for those that are open."""
    found: list[BaseRoute] = [Route(path, _guarded(pages, page), methods=["GET"]) for path, page in PAGES.items()]
    return [
        *found,
        Route("/static/{name}", _static(pages), methods=["GET"]),
        Route("/live", live(news), methods=["GET"]),
    ]


def missing(pages: Pages) -> Callable[[Request, Exception], Awaitable[Response]]:
    """For paths that lead nowhere."""

    async def answer(request: Request, _: Exception) -> Response:
        return pages.trouble(request, HTTPStatus.NOT_FOUND)

    return answer


def _guarded(pages: Pages, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await page(pages, request)
        except Missing:
            return pages.trouble(request, HTTPStatus.NOT_FOUND)
        except Busy:
            return pages.trouble(request, HTTPStatus.TOO_MANY_REQUESTS)
        except StoreError:
            return pages.trouble(request, HTTPStatus.SERVICE_UNAVAILABLE)
        except NotMade:
            return pages.trouble(request, HTTPStatus.INTERNAL_SERVER_ERROR)

    return answer


def _static(pages: Pages) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return pages.trouble(request, HTTPStatus.NOT_FOUND)
        current = request.url.query == pages.files.version(name)
        return cached(request, pages.files.content[name], STATIC[name], seconds=YEAR_S if current else 0)

    return answer
