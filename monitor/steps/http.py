"""The http step: one request, as a browser would send it, on the stream that was just opened, and its response."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monitor.failures import HTTP_PROTOCOL, failure_string
from monitor.models import Http
from monitor.steps import http1, http2, page
from monitor.steps.messages import MAX_LOCATION_CHARACTERS, Headers, Request, Response, request
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream

# What a current Firefox in Spanish sends; only encodings that are decoded here are offered.
BROWSER: Headers = (
    ("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "es-ES,es;q=0.8,en-US;q=0.5,en;q=0.3"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Connection", "keep-alive"),
    ("Upgrade-Insecure-Requests", "1"),
)
# As much of a page as is looked at; a home page has a tenth of it.
BODY_CAP_BYTES = 512 * 1024


async def exchange(
    stream: Stream,
    url: str,
    *,
    occasion: Occasion,
    sources: Sequence[str],
    timeout_s: float,
    method: str = "GET",
    headers: Headers = BROWSER,
    body: bytes = b"",
    verified: bool = False,
    cap: int = BODY_CAP_BYTES,
    protocol: str = "http/1.1",
    address: str | None = None,
    port: int | None = None,
) -> tuple[Http, bytes]:
    """Asks for a URL. timeout_s: for the whole exchange; what arrived by then is kept. Returns the decoded body too.

    protocol: "http/1.1" or "h2", as agreed with the peer. cap: bytes of body. The stream stays open.
    """
    started = occasion.elapsed()
    received = stream.received
    response = Response(cap)
    failure = await _converse(stream, partial(request, method, url, headers, body), response, protocol, timeout_s)
    content = bytes(response.body.content)
    observation = Http(
        hop=occasion.hop, attempt=occasion.attempt, purpose=occasion.purpose, started=started,
        duration=round(occasion.elapsed() - started, 6), failure=response.failure or failure,
        address=address or stream.address, port=port or stream.port, local_port=stream.local_port, sources=tuple(sources),
        url=url, method=method, verified=verified, bytes_received=stream.received - received,
        # On the wire: a slow TLS record shows nothing until it is whole.
        last_byte_s=_since(response.sent_at, stream.received_at),
        **_facts(response, content),
    )  # fmt: skip
    return observation, content


async def _converse(
    stream: Stream, asking: Callable[[], Request], response: Response, protocol: str, timeout_s: float
) -> str | None:
    """Ask, and take in what comes; the failure."""
    converse = http2.converse if protocol == "h2" else http1.converse
    try:
        async with asyncio.timeout(timeout_s):
            await converse(stream, asking(), response)
    except http2.NotHttp2:
        return HTTP_PROTOCOL
    except (OSError, EOFError, ValueError) as error:
        return failure_string(error)
    return None


def _facts(response: Response, content: bytes) -> dict[str, Any]:
    """What is kept of a response."""
    location = response.header("location")
    return {
        "status": response.status,
        "headers": response.headers,
        "location": None if location is None else location[:MAX_LOCATION_CHARACTERS],
        "title": page.title(content, response.header("content-type")),
        "body_length": len(content),
        "declared_length": response.declared_length(),
        "truncated": response.body.truncated,
        "complete": response.complete,
        "sha256": hashlib.sha256(content).hexdigest() if content else None,
        "simhash": page.simhash(content) if content else None,
        "first_byte_s": _since(response.sent_at, response.first_at),
    }


def _since(sent_at: float | None, moment: float | None) -> float | None:
    return None if sent_at is None or moment is None or moment < sent_at else round(moment - sent_at, 6)
