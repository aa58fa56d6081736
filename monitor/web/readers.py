"""Who may read pages and data, and how often: at the door, before anything is looked up."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.config import WebConfig
from monitor.control.quota import Quota, client_of
from monitor.web import guard
from monitor.web.api.problems import Problem

PER_MINUTE = 600  # requests of one client; a page takes up to four
# Whose own endpoints look themselves who asks, and how often.
_ELSEWHERE = ("/healthz", "/metrics", "/probe", "/-/")


class Readers:
    """Turns away who may not read, and who asks too often."""

    def __init__(
        self, app: ASGIApp, web: WebConfig, *, per_minute: int = PER_MINUTE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._web, self._clock = app, web, clock
        self._quota = Quota(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] == "http" and not scope["path"].startswith(_ELSEWHERE):
            refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, send)

    def _refused(self, request: Request) -> Response | None:
        refusal = guard.reading(request, self._web)
        if refusal:
            return _told(request, Problem(403, f"{refusal.capitalize()}."))
        wait_s = self._quota.wait_s(client_of(request.client.host if request.client else ""), self._clock())
        if wait_s:
            return _told(
                request, Problem(429, "Too many requests from your address.", Retry_After=str(int(wait_s) + 1))
            )
        return None


def _told(request: Request, problem: Problem) -> Response:
    """To a program as it expects it, to people as one line."""
    if request.url.path.startswith("/api"):
        return problem.response()
    headers = {"Cache-Control": "no-store"} | problem.headers
    return PlainTextResponse(f"{problem.details.detail}\n", status_code=problem.details.status, headers=headers)
