"""The dns step over HTTPS (RFC 8484): many questions at once on one HTTP/2 connection of our own."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import h2.events

from monitor.failures import DNS_MISBEHAVING, EOF, UNREACHABLE_FAILURES, failure_string
from monitor.models import Dns, Role
from monitor.steps import http1, http2
from monitor.steps.dns import said
from monitor.steps.dns_messages import Answer, Question, Unreadable
from monitor.steps.messages import Headers, Request, Response, request
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream
from monitor.steps.tcp import connect
from monitor.steps.tls import handshake
from monitor.vantage import Vantage

Bootstrap = Callable[[str], Awaitable[Sequence[str]]]

MAX_ADDRESSES = 8
MAX_MESSAGE_BYTES = 65535
# Servers commonly allow 100 streams at once.
QUESTIONS_AT_ONCE = 64

_HEADERS: Headers = (
    ("Accept", "application/dns-message"),
    ("Content-Type", "application/dns-message"),
)


class DohClient:
    """Asks one DoH server. Connects when first asked, and again when the connection died. Its errors are observations."""

    def __init__(self, vantage: Vantage, url: str, *, trust: ssl.SSLContext, bootstrap: Bootstrap) -> None:
        """bootstrap: the addresses of the server's name. Raises ValueError where the URL is none."""
        self.url = url
        self._vantage = vantage
        self._trust = trust
        self._bootstrap = bootstrap
        self._request = request("POST", url, _HEADERS, b"")
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 443
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def ask(self, name: str, type: str, *, occasion: Occasion, timeout_s: float) -> Dns:
        """Asks for a name's addresses (type: A or AAAA). The failure of connecting is the failure of the question."""
        started = occasion.elapsed()
        failure: str | None = None
        answer: Answer | None = None
        try:
            question = Question(name, type)
            async with asyncio.timeout(timeout_s):
                answer = question.read(await self._post(question.wire, occasion, timeout_s))
            failure = DNS_MISBEHAVING if answer is None else None
        except _Failed as failed:
            failure = failed.failure
        except (Unreadable, http2.NotHttp2):
            failure = DNS_MISBEHAVING
        except (OSError, EOFError, ValueError) as error:
            failure = failure_string(error)
        return Dns(
            hop=occasion.hop,
            attempt=occasion.attempt,
            purpose=occasion.purpose,
            started=started,
            duration=round(occasion.elapsed() - started, 6),
            name=name,
            type=type,
            resolver=self.url,
            role=Role.DOH,
            transport="doh",
            local_port=None if self._connection is None else self._connection.local_port,
            **said(answer, failure),
        )

    async def aclose(self) -> None:
        """Ends the connection; questions still open fail."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            await self._connection.aclose()

    async def _post(self, wire: bytes, occasion: Occasion, timeout_s: float) -> bytes:
        """The answer's bytes. A connection that had been in use may have died of age: one more is tried."""
        asked = Request(**{**_fields(self._request), "body": wire})
        used = self._connection is not None and not self._connection.dead
        try:
            return await (await self._connected(occasion, timeout_s)).post(asked)
        except (OSError, EOFError):
            if not used:
                raise
        return await (await self._connected(occasion, timeout_s)).post(asked)
