"""The dns step over HTTPS (RFC 8484): many questions at once on one HTTP/2 connection of our own."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import h2.events
import msgspec

from monitor.failures import DNS_MISBEHAVING, EOF, RESOLVER_UNRESOLVED, TIMEOUT, UNREACHABLE_FAILURES, failure_string
from monitor.models import Dns, Role
from monitor.steps import http1, http2
from monitor.steps.dns import said
from monitor.steps.dns_messages import Answer, Question, Unreadable
from monitor.steps.messages import Headers, Request, Response, request
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream
from monitor.steps.tcp import connect
from monitor.steps.tls import handshake
from monitor.vantage import Vantage, is_address

Bootstrap = Callable[[str], Awaitable[Sequence[str]]]

MAX_ADDRESSES = 8
MAX_RECONNECTIONS = 3
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
        started, asked_at = occasion.elapsed(), asyncio.get_running_loop().time()
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
        if failure == TIMEOUT and self._connection is not None and self._connection.silent_since(asked_at):
            self.forget()  # dead, perhaps, and the kernel would keep it for a quarter of an hour
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

    def forget(self) -> None:
        """The next question goes by a new connection: the vantage is on another network, and this one leads nowhere."""
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None

    async def aclose(self) -> None:
        """Ends the connection; questions still open fail."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            await self._connection.aclose()

    async def _post(self, wire: bytes, occasion: Occasion, timeout_s: float) -> bytes:
        """The answer's bytes. A connection that has served before may have died of age: then a new one is made."""
        asked = msgspec.structs.replace(self._request, body=wire)
        for _ in range(MAX_RECONNECTIONS):
            connection = await self._connected(occasion, timeout_s)
            try:
                return await connection.post(asked)
            except (OSError, EOFError):
                if not connection.answered:
                    raise
        raise EOFError

    async def _connected(self, occasion: Occasion, timeout_s: float) -> "_Connection":
        """The connection that all questions share; whoever finds none starts to connect, and all wait for that."""
        if self._connection is not None and not self._connection.dead:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(occasion, timeout_s))
            self._connecting.add_done_callback(self._take_over)
        connecting = self._connecting
        # Not awaited itself: that one question's time is over must not end it for the others.
        await asyncio.wait([connecting])
        if connecting.cancelled():  # the client was closed
            raise EOFError
        return connecting.result()

    def _take_over(self, connecting: "asyncio.Task[_Connection]") -> None:
        self._connecting = None
        if not connecting.cancelled() and connecting.exception() is None:
            self._connection = connecting.result()

    async def _connect(self, occasion: Occasion, timeout_s: float) -> "_Connection":
        """By the first of its addresses that works, each with its share of the time. Raises OSError, _Failed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        addresses = [self._host] if is_address(self._host) else list(await self._bootstrap(self._host))[:MAX_ADDRESSES]
        failures = []
        for tried, address in enumerate(addresses):
            patience = (deadline - loop.time()) / (len(addresses) - tried)
            connection, failure = await self._connect_to(address, occasion, patience)
            if connection is not None:
                return connection
            failures.append(failure or EOF)
        # That IPv6 is not to be had here says nothing about the server.
        telling = [failure for failure in failures if failure not in UNREACHABLE_FAILURES]
        raise _Failed([*telling, *failures, RESOLVER_UNRESOLVED][0])

    async def _connect_to(
        self, address: str, occasion: Occasion, timeout_s: float
    ) -> "tuple[_Connection | None, str | None]":
        started = asyncio.get_running_loop().time()
        connected, plain = await connect(
            self._vantage, address, self._port, occasion=occasion, sources=(), timeout_s=timeout_s
        )
        if plain is None:
            return None, connected.failure
        left = timeout_s - (asyncio.get_running_loop().time() - started)
        shaken, stream = await handshake(plain, self._host, self._trust, occasion=occasion, sources=(), timeout_s=left)
        if stream is None:
            return None, shaken.failure
        return (_Http2(stream) if shaken.alpn == "h2" else _Http1(stream)), None


class _Failed(Exception):
    """A failure that already has its name."""

    def __init__(self, failure: str) -> None:
        super().__init__(failure)
        self.failure = failure


class _Connection(Protocol):
    """An open connection to the server. answered: how many questions it has served."""

    dead: bool
    answered: int
    local_port: int | None

    async def post(self, asked: Request) -> bytes:
        """The content of the answer. Raises OSError, EOFError, _Failed, http2.NotHttp2."""
        ...

    def silent_since(self, moment: float) -> bool:
        """Has nothing come since then (the loop's time)?"""
        ...

    def abandon(self) -> None:
        """Ends it without waiting for that; questions still open fail."""
        ...

    async def aclose(self) -> None:
        """Ends it, and all that wait for it."""
        ...


class _Http2:
    """Questions as streams of one connection; one task reads for all of them."""

    def __init__(self, stream: Stream) -> None:
        self.dead = False
        self.answered = 0
        self.local_port = stream.local_port
        self._stream = stream
        self._client = http2.Client()
        self._replies: dict[int, tuple[Response, asyncio.Future[None]]] = {}
        self._slots = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._reading = asyncio.create_task(self._read())
        # Not in the task: it may be cancelled before its first line.
        self._reading.add_done_callback(self._end)

    async def post(self, asked: Request) -> bytes:
        """See _Connection."""
        async with self._slots:
            if self.dead:
                raise EOFError
            stream_id = self._client.ask(asked)
            response = Response(MAX_MESSAGE_BYTES)
            reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._replies[stream_id] = (response, reply)
            try:
                if self._client.push(stream_id, asked.body):
                    raise http2.NotHttp2  # a window too small for one question
                await self._flush()
                await reply
                return _content(response)
            finally:
                del self._replies[stream_id]
                if reply.cancelled():
                    self._client.forget(stream_id)

    def silent_since(self, moment: float) -> bool:
        """See _Connection."""
        return (self._stream.received_at or 0.0) < moment

    def abandon(self) -> None:
        """See _Connection."""
        self.dead = True
        self._reading.cancel()

    async def aclose(self) -> None:
        """See _Connection."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _flush(self) -> None:
        pending = self._client.pending()
        sent = not pending
        try:
            if pending:
                await self._stream.send(pending)
                sent = True
        finally:
            if not sent:  # perhaps half a record is out: nothing can follow it
                self._reading.cancel()

    async def _read(self) -> None:
        """Hands out what arrives. Ends by raising why it ended."""
        try:
            while True:
                data = await self._stream.receive()
                if not data:
                    raise EOFError
                for event in self._client.receive(data):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        raise EOFError
                    self._take(event)
                await self._flush()
        finally:
            # At once: those whose answers came just now may ask again before this task's end is known.
            self.dead = True

    def _take(self, event: h2.events.Event) -> None:
        response, reply = self._replies.get(getattr(event, "stream_id", None) or 0, (None, None))
        if response is None or reply is None or reply.done():
            return
        if isinstance(event, h2.events.ResponseReceived):
            response.begin(http2.status_of(event.headers or ()), event.headers or ())
        elif isinstance(event, h2.events.DataReceived):
            http2.feed(response, event.data or b"")
        elif isinstance(event, h2.events.StreamEnded):
            self.answered += 1
            reply.set_result(None)
        elif isinstance(event, h2.events.StreamReset):
            reply.set_exception(_Failed(DNS_MISBEHAVING))

    def _end(self, reading: "asyncio.Task[None]") -> None:
        self.dead = True
        self._stream.close()
        error = None if reading.cancelled() else reading.exception()
        for _, reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error or EOFError())


class _Http1:
    """One question after another, for servers that know nothing newer."""

    def __init__(self, stream: Stream) -> None:
        self.dead = False
        self.answered = 0
        self.local_port = stream.local_port
        self._stream = stream
        self._turn = asyncio.Lock()

    async def post(self, asked: Request) -> bytes:
        """See _Connection."""
        async with self._turn:
            if self.dead:
                raise EOFError
            response = Response(MAX_MESSAGE_BYTES)
            try:
                await http1.converse(self._stream, asked, response)
            finally:
                closing = (response.header("connection") or "").lower() == "close"
                if self.dead or closing or not response.complete:
                    await self.aclose()
            self.answered += 1
            return _content(response)

    def silent_since(self, moment: float) -> bool:
        """See _Connection."""
        return (self._stream.received_at or 0.0) < moment

    def abandon(self) -> None:
        """See _Connection."""
        self.dead = True
        if not self._turn.locked():
            self._stream.close()  # else whoever has his turn does, when it is over

    async def aclose(self) -> None:
        """See _Connection."""
        self.dead = True
        self._stream.close()


def _content(response: Response) -> bytes:
    """The message in a complete response. Raises _Failed."""
    if response.status != 200 or response.failure or response.body.truncated:
        raise _Failed(DNS_MISBEHAVING)
    return bytes(response.body.content)
