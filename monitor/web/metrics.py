"""/metrics: for Prometheus, and for anyone who can reach the port."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.metrics.collector import exposition
from monitor.metrics.scrape import Scrape

MOST_AT_ONCE = 8  # scrapes, one of which is told at a time; an operator has one Prometheus, or two


class Metered(Protocol):
    """The service, as metrics see it."""

    async def scrape(self) -> Scrape:
        """All there is to tell now."""


def metrics(service: Metered) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint. Telling of thousands of sites takes a while: it is done in a thread, and measuring goes on."""
    turn = asyncio.Lock()
    at_once = 0

    async def answer(request: Request) -> Response:
        nonlocal at_once
        if at_once >= MOST_AT_ONCE:
            return PlainTextResponse("too many scrapes at once\n", status_code=503, headers={"Retry-After": "10"})
        at_once += 1
        try:
            async with turn:
                return await _told(request, await service.scrape())
        finally:
            at_once -= 1

    return answer


async def _told(request: Request, scrape: Scrape) -> Response:
    compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
    accept = ",".join(request.headers.getlist("accept"))
    text, media_type = await asyncio.to_thread(exposition, scrape, accept, compressed=compressed)
    headers = {"Content-Type": media_type, "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
    return Response(text, headers=headers | ({"Content-Encoding": "gzip"} if compressed else {}))


def _takes_gzip(accepted: str) -> bool:
    """Is it named, and not with a weight of nothing?"""
    for one in accepted.lower().split(","):
        coding, _, weight = one.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" or not weight
    return False
