"""A network of the test's own: a namespace whose loopback carries public addresses, with servers on them.

The real steps refuse addresses that are not public, so the servers they visit stand on addresses that look it. No
packet leaves the namespace.
"""

import asyncio
import contextlib
import ctypes
import functools
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
import trustme
from pyroute2 import IPRoute

from monitor.config import MeasureConfig
from monitor.control import door, helper
from monitor.models import Network, Role
from monitor.trail import Tools, observe
from monitor.vantage import Resolver, Vantage

CLONE_NEWNET = 0x40000000
SITE, OTHER, RESOLVER, REDIRECTOR = "93.184.216.34", "93.184.216.35", "198.41.0.4", "93.184.216.36"

AUTHORITY = trustme.CA()
URL = "https://site.test/"
QUICK = MeasureConfig(timeout_s=1.0, budget_s=5.0, attempts=2)
PAGE = b"<title>La Patilla</title>" + b"<p>noticias de hoy</p>" * 50

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


def tools(**more: Any) -> Tools:
    """Quick timeouts, and trust in the test's authority."""
    return Tools(settings=QUICK, trust=client_context(AUTHORITY), **more)


@contextlib.asynccontextmanager
async def serving(
    vantage: Vantage,
    limits: helper.Limits | None = None,
    at_the_door: door.Door | None = None,
    used: Tools | None = None,
    listen: str = "127.0.0.1:0",
    **more: Any,
) -> AsyncIterator[int]:
    """A helper on the loopback that measures on the vantage; its port. Sees that it leaves nothing."""
    limits, used = limits or helper.Limits(), used or tools()
    measure = functools.partial(observe, vantage=vantage, tools=used, ports=limits.ports)
    served = helper.Helper(measure, vantage, used.trust, limits)
    listening = helper.listener(listen)
    port, started = listening.getsockname()[1], asyncio.Event()
    before = asyncio.all_tasks()
    task = asyncio.create_task(helper.serve(served, listening, at_the_door=at_the_door, ready=started.set, **more))
    try:
        await started.wait()
        yield port
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert asyncio.all_tasks() <= before | {asyncio.current_task()}


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Runs a test's work, which does not take long."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(limited())


@contextlib.contextmanager
def network() -> Iterator[Net]:
    """A network of the test's own."""
    net = Net()
    try:
        yield net
    finally:
        net.close()


@contextlib.asynccontextmanager
async def site(net: Net) -> AsyncIterator[None]:
    """site.test on 443 and 80."""
    net.names["site.test"] = SITE
    page = responding("200 OK", PAGE, "Content-Type: text/html", "X-Site: yes")
    context = server_context(AUTHORITY, "site.test")
    async with net.resolver(), net.server(SITE, 443, page, context), net.server(SITE, 80, page):
        yield


def _has_namespaces() -> bool:
    try:
        Net().close()
    except OSError:
        return False
    return True


needs_namespaces = pytest.mark.skipif(not _has_namespaces(), reason="a network namespace of its own needs root")
needs_both_families = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
