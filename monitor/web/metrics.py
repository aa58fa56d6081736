"""/metrics: for Prometheus, and for anyone who can reach the port, but no web page.

Telling of thousands of sites takes a while: it is done in a thread, and measuring goes on. One answer is made at a time.
Whoever asks while it is made, or within a second after, is given the same one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.config import WebConfig
from monitor.metrics.collector import exposition, is_openmetrics
from monitor.metrics.scrape import Scrape
from monitor.web import guard

SHARED_S = 1.0
_NOSNIFF = {"X-Content-Type-Options": "nosniff"}
_SAFE = _NOSNIFF | {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}

Text = tuple[bytes, str]  # and its media type
Form = tuple[bool, bool]  # OpenMetrics, compressed


class Metered(Protocol):
    """The service, as metrics see it."""

    @property
    def web(self) -> WebConfig: ...

    async def scrape(self) -> Scrape:
        """All there is to tell now."""


def metrics(service: Metered) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint."""
    shared = _Shared(service)

    async def answer(request: Request) -> Response:
        refusal = guard.watching(request, service.web)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403, headers=_NOSNIFF)
        compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
        accept = ",".join(request.headers.getlist("accept"))
        text, media_type = await shared.text((is_openmetrics(accept), compressed))
        # Said in either case, so that nobody on the way compresses it, or once more.
        headers = {"Content-Type": media_type, "Content-Encoding": "gzip" if compressed else "identity"}
        return Response(text, headers=_SAFE | headers)

    return answer


class _Shared:
    """What is being told, or has just been, in each form that somebody asked for."""

    def __init__(self, service: Metered) -> None:
        self._service = service
        self._turn = asyncio.Lock()
        self._told: dict[Form, asyncio.Future[Text]] = {}

    async def text(self, form: Form) -> Text:
        """Of now, or of a second ago. Who asked first and leaves takes it from nobody."""
        told = self._told.get(form)
        if told is None:
            told = self._told[form] = asyncio.ensure_future(self._made(form))
            told.add_done_callback(partial(self._keep_a_while, form))
        return await asyncio.shield(told)

    async def _made(self, form: Form) -> Text:
        openmetrics, compressed = form
        async with self._turn:
            scrape = await self._service.scrape()
            return await asyncio.to_thread(exposition, scrape, openmetrics=openmetrics, compressed=compressed)

    def _keep_a_while(self, form: Form, done: "asyncio.Future[Text]") -> None:
        failed = done.cancelled() or done.exception() is not None
        asyncio.get_running_loop().call_later(0.0 if failed else SHARED_S, self._told.pop, form, None)


def _takes_gzip(accepted: str) -> bool:
    """Is it named, and not with a weight of nothing?"""
    for one in accepted.lower().split(","):
        coding, _, weight = one.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" or not weight
    return False
