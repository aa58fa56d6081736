"""What the service answers over HTTP: is it well, and reload your configuration.

The page and the API are for readers anywhere; what changes something is for this machine alone, and not for the web pages
that its user's browser has open (cross-site requests, DNS rebinding).
"""

from typing import Protocol

from msgspec import Struct
from msgspec.json import encode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from monitor.web import guard
from monitor.web.metrics import Metered, metrics
from monitor.web.probe import Probing, probing


class Health(Struct, frozen=True, kw_only=True):
    """How the service is. status: "ok" or what is wrong; the rest for people. absent: vantages that are not there now."""

    status: str
    problem: str | None
    sites: int
    waiting: int
    vantages: int
    absent: tuple[str, ...]
    unsaved: int
    last_measurement: str | None


class Served(Metered, Probing, Protocol):
    """The service, as the web sees it."""

    def health(self) -> Health: ...

    async def reload(self) -> str | None:
        """Read the configuration again: None, or the line that says what is wrong with it."""


def app(service: Served) -> Starlette:
    """The ASGI application."""

    async def healthz(_: Request) -> Response:
        health = service.health()
        code = 200 if health.status == "ok" else 503
        return Response(encode(health), status_code=code, media_type="application/json")

    async def reload(request: Request) -> Response:
        refusal = guard.changing(request)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403)
        problem = await service.reload()
        if problem:
            return PlainTextResponse(problem + "\n", status_code=400)
        return PlainTextResponse("reloaded\n")

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/metrics", metrics(service), methods=["GET"]),
            Route("/probe", probing(service), methods=["GET"]),
            Route("/-/reload", reload, methods=["POST", "PUT"]),
        ]
    )
