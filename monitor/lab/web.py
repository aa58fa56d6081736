"""The lab's web servers: one protocol for every address, with TLS on 443."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import h11

from monitor.lab.certificates import Certificates
from monitor.lab.content import Content, Reply, Request
from monitor.lab.http2 import Http2
from monitor.lab.triggers import Incomplete, server_name
from monitor.lab.world import World

_HTTPS = 443
_CHUNK = 65536
_LONGEST_BODY = 65536


class Web(asyncio.Protocol):
    """One connection to a web server."""

    def __init__(self, world: World, content: Content, certificates: Certificates) -> None:
        self._world, self._content, self._certificates = world, content, certificates
        self._tls: ssl.SSLObject | None = None
        self._engine: Http1 | Http2 | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._hello = b""
        self._record = _CHUNK

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server, port = transport.get_extra_info("sockname")[:2]
        self._client: str = transport.get_extra_info("peername")[0]
        self._secure = port == _HTTPS
        if not self._secure:
            self._engine = Http1(self._write, self._close, self._ask)

    def data_received(self, data: bytes) -> None:
        if not self._secure:
            assert self._engine is not None
            self._engine.receive(data)
            return
        self._incoming.write(data)
        try:
            self._read_tls(self._tls or self._greet(data))
        except (ssl.SSLWantReadError, Incomplete):
            self._flush()
        except (ssl.SSLError, OSError):
            self._flush()
            self._close()

    def _greet(self, data: bytes) -> ssl.SSLObject:
        """Chooses the certificate by the name in the ClientHello. Raises Incomplete."""
        self._hello += data
        context = self._context(server_name(self._hello))
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        return self._tls

    def _read_tls(self, tls: ssl.SSLObject) -> None:
        if self._engine is None:
            tls.do_handshake()
            engine = Http2 if tls.selected_alpn_protocol() == "h2" else Http1
            self._engine = engine(self._write, self._close, self._ask)
        while data := tls.read(_CHUNK):
            self._engine.receive(data)
        self._flush()
        self._close()

    def _context(self, name: str | None) -> ssl.SSLContext:
        """What this address presents to who asks for a name."""
        days = self._content.clock_days(self._client)
        place = self._world.places[self._server]
        site = self._world.served(name or "", self._server)
        if place.kind in ("notice", "portal"):
            return self._certificates.context(name or "localhost", "self-signed", days)
        if place.kind == "interceptor":
            return self._certificates.context(name or "localhost", "false", days)
        if place.kind == "overloaded":
            return self._certificates.context(name or "localhost", "good", days)
        if site is None:
            own = (other for other in self._world.sites.values() if self._server in other.addresses)
            site = next(own, None)
        if site is None:
            return self._certificates.context("default.invalid", "self-signed", days)
        self._record = site.record
        return self._certificates.context(site.name, site.certificate, days, site.http2)

    def _ask(
        self, method: str, host: str, path: str, headers: dict[str, str], body: bytes, done: Callable[[Reply], None]
    ) -> None:
        request = Request(
            method=method,
            host=host.lower().partition(":")[0],
            path=path,
            headers=headers,
            body=body,
            server=self._server,
            client=self._client,
            secure=self._secure,
        )
        reply = self._content.reply(request)
        if reply.wait_s:
            asyncio.get_running_loop().call_later(reply.wait_s, done, reply)
        else:
            done(reply)

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write(data)
            return
        for start in range(0, len(data), self._record):
            self._tls.write(data[start : start + self._record])
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        self._transport.close()


class Http1:
    """HTTP/1.1 on the server's side."""

    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None], ask: Any) -> None:
        self._write, self._close, self._ask = write, close, ask
        self._connection = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        self._connection.receive_data(data)
        self._proceed()

    def _proceed(self) -> None:
        try:
            while True:
                event = self._connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                if isinstance(event, h11.ConnectionClosed):
                    self._close()
                    return
                self._handle(event)
        except h11.RemoteProtocolError:
            self._close()

    def _handle(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request, self._body = event, b""
        elif isinstance(event, h11.Data):
            self._body = (self._body + bytes(event.data))[:_LONGEST_BODY]
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers}
            target = self._request.target.decode("latin-1")
            self._ask(self._request.method.decode(), headers.get("host", ""), target, headers, self._body, self._reply)

    def _reply(self, reply: Reply) -> None:
        headers = list(reply.headers)
        if not reply.chunked:
            headers.append(("Content-Length", str(len(reply.body))))
        try:
            self._send(h11.Response(status_code=reply.status, headers=headers))
            if reply.body:
                self._send(h11.Data(data=reply.body))
            self._send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            self._close()  # the client is gone
            return
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
            self._proceed()
        else:
            self._close()

    def _send(self, event: Any) -> None:
        data = self._connection.send(event)
        if data:
            self._write(data)
