"""What every answer says to browsers: run no foreign script, show it in no frame, tell no other site who reads here.

And what it says to caches: answers have an ETag, and whoever has the same one already gets nothing but that.
"""

import hashlib
import re
from collections.abc import Callable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# A picture or data opened by itself: nothing in it runs, wherever it comes from.
DATA_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
_SAFE = {
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), browsing-topics=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
PUBLIC = "almenara.public"  # in a request's scope: is it for everyone on the internet?
# What other sites may read and show, where the service is public.
_OPEN = re.compile(r"/api/v1(/.*)?|/api/schema|(/.*)?/feed\.atom|/sites/[^/]+/(badge|chart)\.svg")


class Secured:
    """Adds the headers. is_public: whether what is served by that name is for everyone on the internet."""

    def __init__(self, app: ASGIApp, is_public: Callable[[Request], bool]) -> None:
        self._app, self._is_public = app, is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope[PUBLIC] = self._is_public(Request(scope))
        is_open = _OPEN.fullmatch(scope["path"]) is not None and scope[PUBLIC]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), is_open)
            await send(message)

        await self._app(scope, receive, sending)


def _add(headers: MutableHeaders, is_open: bool) -> None:
    for name, value in _SAFE.items():
        headers.setdefault(name, value)
    headers.setdefault("cross-origin-resource-policy", "cross-origin" if is_open else "same-origin")
    if is_open:
        headers.setdefault("access-control-allow-origin", "*")
        headers.setdefault("access-control-expose-headers", "ETag, Link, Retry-After")


def cached(
    request: Request, body: bytes, media_type: str, *, seconds: int, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer, or that it is still the same. seconds: for which a cache may give it without asking."""
    # Weak: compressed on the way it is the same to the reader, and not byte for byte.
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    # What is for this machine alone, no cache on the way may keep for others.
    kept_by = "public" if request.scope.get(PUBLIC) else "private"
    told = {"ETag": tag, "Cache-Control": f"{kept_by}, max-age={seconds}", **(headers or {})}
    if tag.removeprefix("W/") in _tags(request) or request.headers.get("if-none-match") == "*":
        return Response(status_code=304, headers=told)
    return Response(body, media_type=media_type, headers=told)


def _tags(request: Request) -> set[str]:
    """Those that the client has, without what makes them weak."""
    listed = request.headers.get("if-none-match", "").split(",")
    return {one.strip().removeprefix("W/") for one in listed}
