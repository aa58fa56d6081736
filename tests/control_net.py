"""A network of the test's own: a namespace whose loopback carries public addresses, with servers on them.

The real steps refuse addresses that are not public, so the servers they visit stand on addresses that look it. No
packet leaves the namespace.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import dns.flags
import dns.message
import dns.rrset
import pytest
import trustme
from pyroute2 import IPRoute

from monitor.models import Network, Role
from monitor.vantage import Resolver, Vantage

CLONE_NEWNET = 0x40000000
SITE, OTHER, RESOLVER, REDIRECTOR = "93.184.216.34", "93.184.216.35", "198.41.0.4", "93.184.216.36"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Net:
    """A network namespace that lives as long as this object. names: what its resolver says."""

    def __init__(self) -> None:
        self._fd = -1
        self._error: OSError | None = None
        thread = threading.Thread(target=self._make)
        thread.start()
        thread.join()
        if self._error is not None:
            raise self._error
        self.names: dict[str, str] = {}
        resolver = Resolver(address=RESOLVER, role=Role.ISP)
        self.vantage = Vantage("helper", Network(), (resolver,), netns=f"/proc/{os.getpid()}/fd/{self._fd}")

    def _make(self) -> None:
        """In a thread of its own, which the namespace change ends with."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            self._error = OSError(ctypes.get_errno(), "unshare")
            return
        with IPRoute() as route:
            route.link("set", index=1, state="up")
            for address in (SITE, OTHER, RESOLVER, REDIRECTOR):
                route.addr("add", index=1, address=address, prefixlen=32)
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def close(self) -> None:
        os.close(self._fd)

    def bound(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket inside, bound to one of its addresses."""
        opened = self.vantage.open_socket(4, kind)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address, port))
        return opened

    @contextlib.asynccontextmanager
    async def resolver(self) -> AsyncIterator[None]:
        """Answers for `names`, and NXDOMAIN for the rest."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Resolver(self.names), sock=self.bound(RESOLVER, 53, socket.SOCK_DGRAM)
        )
        try:
            yield
        finally:
            transport.close()

    @contextlib.asynccontextmanager
    async def server(
        self, address: str, port: int, answer: Answer, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        """A server inside; counts nothing, forgets everything."""
        async with server(answer, context, self.bound(address, port)):
            yield


class _Resolver(asyncio.DatagramProtocol):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        address = self._names.get(question.name.to_text(omit_final_dot=True))
        if address is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
        self._transport.sendto(response.to_wire(), addr)


@contextlib.asynccontextmanager
async def server(
    answer: Answer, context: ssl.SSLContext | None = None, listening: socket.socket | None = None
) -> AsyncIterator[int]:
    """A server of any kind, by default on the loopback; its port. Ends its connections when it ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort() if answer is silence else writer.close()

    listening = listening or socket.create_server(("127.0.0.1", 0))
    running = await asyncio.start_server(handle, sock=listening, ssl=context)
    try:
        yield listening.getsockname()[1]
    finally:
        running.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def responding(status: str, body: bytes = b"", *headers: str) -> Answer:
    """Answers every request with the same response, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return answer


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads, and says nothing."""
    while await reader.read(65536):
        pass


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for the names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def loopback() -> Vantage:
    """This machine, as a vantage without resolvers."""
    return Vantage("here", Network(), ())


needs_namespaces = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")
