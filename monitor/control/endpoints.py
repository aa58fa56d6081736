"""Endpoints that somebody else knows of: do they connect from here, and do they hold the site's certificate?"""

import asyncio
import ssl
from collections.abc import Iterable

import msgspec

from monitor.models import Observations, Purpose, Tcp, Tls
from monitor.steps import tcp, tls
from monitor.steps.occasion import Occasion
from monitor.urls import Target
from monitor.vantage import Vantage

MOST_AT_ONCE = 64
TIMEOUT_S = 5.0
_SOURCES = ("control",)


async def with_endpoints(
    seen: Observations,
    here: Target,
    endpoints: Iterable[tuple[str, int]],
    *,
    vantage: Vantage,
    trust: ssl.SSLContext,
    attempts: int,
) -> Observations:
    """`seen`, and a connection to those of the endpoints (address, port) that were not visited on the first hop.

    A measurement visits only some of the addresses it is told of, and only the URL's port. Port 443 of a plain-http
    site is its https side.
    """
    visited = {(one.address, one.port) for one in seen.tcp if one.hop == 0}
    since, places = asyncio.get_running_loop().time(), asyncio.Semaphore(MOST_AT_ONCE)

    async def knock(address: str, port: int, attempt: int) -> tuple[Tcp, Tls | None]:
        side = here.scheme == "http" and port == 443
        occasion = Occasion(since=since, attempt=attempt, purpose=Purpose.HTTPS_SIDE if side else Purpose.SITE)
        name = here.host if side or here.scheme == "https" else None
        async with places:
            return await _knock(vantage, trust, address, port, occasion, name)

    left = [pair for pair in dict.fromkeys(endpoints) if pair not in visited]
    found = await asyncio.gather(*(knock(*pair, n) for pair in left for n in range(1, attempts + 1)))
    return msgspec.structs.replace(
        seen,
        tcp=(*seen.tcp, *(connected for connected, _ in found)),
        tls=(*seen.tls, *(shaken for _, shaken in found if shaken)),
    )


async def _knock(
    vantage: Vantage, trust: ssl.SSLContext, address: str, port: int, occasion: Occasion, name: str | None
) -> tuple[Tcp, Tls | None]:
    """name: whose certificate is expected; None where no TLS is spoken."""
    connected, stream = await tcp.connect(
        vantage, address, port, occasion=occasion, sources=_SOURCES, timeout_s=TIMEOUT_S
    )
    if stream is None or name is None:
        if stream:
            stream.close()
        return connected, None
    try:
        shaken, _ = await tls.handshake(stream, name, trust, occasion=occasion, sources=_SOURCES, timeout_s=TIMEOUT_S)
    finally:
        stream.close()
    return connected, shaken
