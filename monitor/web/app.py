"""What the service answers over HTTP: is it well, and reload your configuration.

The page and the API are for readers anywhere; what changes something is for this machine alone, and not for the web pages
that its user's browser has open (cross-site requests, DNS rebinding).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct
from msgspec.json import encode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from monitor.config import WebConfig
from monitor.web import badge, feed, guard, readers
from monitor.web.api.routes import PREFIX, api, refused
from monitor.web.archive import Archive
from monitor.web.bundles import Bundles
from monitor.web.headers import Secured
from monitor.web.live import News
from monitor.web.metrics import Metered, metrics
from monitor.web.pages.rendering import Pages
from monitor.web.pages.routes import missing
from monitor.web.pages.routes import routes as pages_routes
from monitor.web.probe import Probing, probing
from monitor.web.published import Published, PublishedScope
from monitor.web.scope import Watching


class Health(Struct, frozen=True, kw_only=True):
    """How the service is. status: "ok" or what is wrong; the rest for people. absent: vantages that are not there now.

    undelivered: alerts that were given up.
    """

    status: str
    problem: str | None
    sites: int
    waiting: int
    vantages: int
    absent: tuple[str, ...]
    unsaved: int
    last_measurement: str | None
    undelivered: int = 0


class Served(Metered, Probing, Watching, Protocol):
    """The service, as the web sees it."""

    def health(self) -> Health: ...

    async def reload(self) -> str | None:
        """Read the configuration again: None, or the line that says what is wrong with it."""


def app(
    service: Served, archive: Archive | None = None, bundles: Bundles | None = None, *,
    per_minute: int = readers.PER_MINUTE,
) -> Starlette:  # fmt: skip
    """The ASGI application. archive: what pages and data are read from. bundles: of evidence. per_minute: requests of one
    reader."""

    async def healthz(request: Request) -> Response:
        refusal = guard.watching(request, service.web)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403)
        health = service.health()
        code = 200 if health.status == "ok" else 503
        return Response(encode(health), status_code=code, media_type="application/json")

    async def reload(request: Request) -> Response:
        refusal = guard.changing(request, service.web)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403)
        problem = await service.reload()
        if problem:
            return PlainTextResponse(problem + "\n", status_code=400)
        return PlainTextResponse("reloaded\n")

    own: list[BaseRoute] = [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/metrics", metrics(service), methods=["GET"]),
        Route("/probe", probing(service), methods=["GET"]),
        Route("/-/reload", reload, methods=["POST", "PUT"]),
    ]
    if archive is None:
        return _dressed(own, service.web, per_minute)
    return reading(service, archive, bundles, own, per_minute=per_minute)


def reading(
    watching: Watching, archive: Archive, bundles: Bundles | None = None, more: Sequence[BaseRoute] = (), *,
    per_minute: int = readers.PER_MINUTE, made_up: bool = False,
) -> Starlette:  # fmt: skip
    """Pages and data for readers. more: the service's own routes, which the demo does not have. made_up: every page says so."""
    web = watching.web
    whole = Pages(archive, watching, bundles, made_up=made_up)
    published = Pages(Published(archive), PublishedScope(watching), bundles, made_up=made_up)
    news = News(whole if web.public is None else published)
    inner = {False: _told(whole, news, web), True: _told(published, news, web)}

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        await inner[guard.is_strangers(Request(scope), web)](scope, receive, send)

    made = _dressed(more, web, per_minute)
    made.router.default = told  # no Mount, which leads past paths with a line break
    made.state.on_stop = news.end
    return made


def _told(pages: Pages, news: News, web: WebConfig) -> Starlette:
    """What is read from one archive."""
    routes = [
        *feed.routes(pages, web), *badge.routes(pages), *pages_routes(pages, news), Mount(PREFIX, api(pages.archive)),
    ]  # fmt: skip
    made = Starlette(routes=routes, exception_handlers={404: _nothing(pages)})
    made.router.redirect_slashes = False
    return made


def _nothing(pages: Pages) -> Callable[[Request, Exception], Awaitable[Response]]:
    """For paths that lead nowhere: a page for people, a problem for programs."""
    page = missing(pages)

    async def answer(request: Request, exc: Exception) -> Response:
        return await (refused if request.url.path.startswith(f"{PREFIX}/") else page)(request, exc)

    return answer


def _dressed(routes: Sequence[BaseRoute], web: WebConfig, per_minute: int) -> Starlette:
    made = Starlette(
        routes=routes,
        middleware=[
            Middleware(Secured, is_public=partial(guard.is_public, web=web)),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
            Middleware(readers.Readers, web=web, per_minute=per_minute),
        ],
    )
    made.router.redirect_slashes = False  # it would send people to whatever name the request gives
    # What is public stands behind a reverse proxy on this machine, which says who asks.
    made.state.proxies = ("127.0.0.1", "::1") if web.public else ()
    return made
