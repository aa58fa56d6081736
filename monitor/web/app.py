"""What the service answers over HTTP: is it well, and reload your configuration.

The page and the API are for readers anywhere; what changes something is for this machine alone, and not for the web pages
that its user's browser has open (cross-site requests, DNS rebinding).
"""

import ipaddress
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import encode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Health(Struct, frozen=True, kw_only=True):
    """How the service is. status: "ok" or what is wrong; the rest for people."""

    status: str
    problem: str | None
    sites: int
    waiting: int
    vantages: int
    unsaved: int
    last_measurement: str | None


class Served(Protocol):
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
        refusal = _refusal(request)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403)
        problem = await service.reload()
        if problem:
            return PlainTextResponse(problem + "\n", status_code=400)
        return PlainTextResponse("reloaded\n")

    return Starlette(
        routes=[Route("/healthz", healthz, methods=["GET"]), Route("/-/reload", reload, methods=["POST", "PUT"])]
    )


def _refusal(request: Request) -> str | None:
    """Why a request may not change anything; None where it may."""
    checks: tuple[tuple[Callable[[Request], bool], str], ...] = (
        (_from_here, "only for this machine"),
        (_undisguised, "not through a proxy"),
        (_named_as_here, "not by that host name"),
        (_own_origin, "not from another site's page"),
    )
    return next((why for holds, why in checks if not holds(request)), None)


def _from_here(request: Request) -> bool:
    return request.client is not None and _is_loopback(request.client.host)


def _undisguised(request: Request) -> bool:
    return not any(name in request.headers for name in _FORWARDED)


def _named_as_here(request: Request) -> bool:
    """A page that rebinds its own name to this machine still says its own name."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return host == "localhost" or _is_loopback(host)


def _own_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = origin is None or origin == f"{request.scope['scheme']}://{request.headers.get('host')}"
    return own and site in (None, "none", "same-origin")


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
