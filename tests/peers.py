"""Peers that behave and misbehave, on real sockets of this machine."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.name
import dns.rrset
import trustme

from monitor.models import Network, Role
from monitor.steps import tcp
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream
from monitor.vantage import Resolver, Vantage

HERE = "127.0.0.1"


def vantage() -> Vantage:
    """This machine, by its default route."""
    return Vantage("here", Network(), ())


def now() -> Occasion:
    """An occasion whose measurement starts now."""
    return Occasion(since=asyncio.get_running_loop().time())


class Conn:
    """A peer's side of one connection."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        return await self._loop.sock_recv(self.socket, 65536)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    def reset(self) -> None:
        """An RST, as a censor sends it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def fin(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    async def silence(self) -> None:
        """Until the test is over."""
        await self._loop.create_future()


class TlsConn:
    """The same under TLS, with every byte in our hands."""

    def __init__(self, conn: Conn, context: ssl.SSLContext) -> None:
        self.conn = conn
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def shake(self) -> None:
        await self._do(self.tls.do_handshake)

    async def read(self) -> bytes:
        return await self._do(lambda: self.tls.read(65536))

    async def write(self, data: bytes) -> None:
        await self._do(lambda: self.tls.write(data))

    async def goodbye(self) -> None:
        """A close_notify, and a FIN."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.conn.write(self._out.read())
        self.conn.fin()

    async def _do(self, act):
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                await self._push()
                data = await self.conn.read()
                if not data:
                    raise EOFError from None
                self._in.write(data)
            else:
                await self._push()
                return result

    async def _push(self) -> None:
        if self._out.pending:
            await self.conn.write(self._out.read())


Behaviour = Callable[[Conn], Awaitable[None]]


@asynccontextmanager
async def tcp_peer(behave: Behaviour) -> AsyncIterator[int]:
    """Its port. Each connection is closed when its behaviour is over."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server((HERE, 0), backlog=512)
    listener.setblocking(False)
    serving: set[asyncio.Task[None]] = set()

    async def serve(accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError, EOFError):
            await behave(Conn(accepted))

    async def accept() -> None:
        while True:
            accepted, _ = await loop.sock_accept(listener)
            serving.add(asyncio.create_task(serve(accepted)))

    accepting = asyncio.create_task(accept())
    try:
        yield listener.getsockname()[1]
    finally:
        for task in (accepting, *serving):
            task.cancel()
        results = await asyncio.gather(accepting, *serving, return_exceptions=True)
        listener.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


@asynccontextmanager
async def connected(behave: Behaviour) -> AsyncIterator[Stream]:
    """Our side of a connection to such a peer."""
    async with tcp_peer(behave) as port:
        _, stream = await tcp.connect(vantage(), HERE, port, occasion=now(), sources=("literal",), timeout_s=5)
        assert stream is not None
        try:
            yield stream
        finally:
            stream.close()


def says(*pieces: bytes, then: str = "fin") -> Behaviour:
    """A peer that waits for the request, sends these bytes, and ends: fin, reset or silence."""

    async def behave(conn: Conn) -> None:
        await conn.read()
        for piece in pieces:
            await conn.write(piece)
            await asyncio.sleep(0)
        await _end(conn, then)

    return behave


async def _end(conn: Conn, then: str) -> None:
    if then == "reset":
        conn.reset()
    elif then == "fin":
        conn.fin()
        while await conn.read():
            pass
    else:
        await conn.silence()


# What a DNS peer sends for a question, and after how many seconds.
Replies = Iterable[tuple[float, bytes]]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[dns.message.Message], Replies]) -> None:
        self._reply = reply

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        for delay, wire in self._reply(dns.message.from_wire(data)):
            asyncio.get_running_loop().call_later(delay, self._send, wire, addr)

    def _send(self, wire: bytes, addr) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(wire, addr)


@asynccontextmanager
async def dns_peer(reply: Callable[[dns.message.Message], Replies], port: int = 0) -> AsyncIterator[Resolver]:
    """A resolver over UDP."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind((HERE, port))
    opened.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(reply), sock=opened)
    try:
        yield Resolver(address=HERE, port=transport.get_extra_info("sockname")[1], role=Role.ISP)
    finally:
        transport.close()
        await asyncio.sleep(0)


def answer(query: dns.message.Message, *records: str, rcode: int = 0) -> dns.message.Message:
    """An answer with records such as "name 60 IN A 192.0.2.1"."""
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    for record in records:
        name, ttl, klass, kind, *data = record.split()
        absolute = dns.name.from_text(name)
        text = [" ".join(data)]
        rrset = dns.rrset.from_text_list(absolute, int(ttl), klass, kind, text, origin=dns.name.root, relativize=False)
        response.answer.append(rrset)
    return response


class Authority:
    """A certificate authority and its bundle, as a file."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.file = str(folder / "authority.pem")
        self._authority.cert_pem.write_to_path(self.file)

    def server(self, name: str, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A server's context with a certificate for the name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context
