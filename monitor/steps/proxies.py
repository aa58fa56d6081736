"""Connections through a proxy: SOCKS5 by python-socks, CONNECT by h11, over TLS where the proxy is an https one.

What a proxy says of the address is an error like any other; what it does itself is a ProxyFailure, and never evidence.
"""

import asyncio
import base64
import os
import socket
import ssl
from functools import cache

import h11
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy as Socks

from monitor.failures import ProxyFailure, socks_failure
from monitor.steps.stream import SocketWire, Stream, TlsStream, Wire
from monitor.steps.tls import client_context
from monitor.vantage import Proxy, Traffic

_LONGEST_CONNECT_S = 60.0  # whoever connects is less patient
_MOST_HEAD_BYTES = 16 * 1024


class ProxyWire:
    """A tunnel to one address. It has no local port: the one that counts is the proxy's."""

    local_port: int | None = None

    def __init__(self, proxy: Proxy, traffic: Traffic) -> None:
        self._proxy = proxy
        self._traffic = traffic
        self._inner: Wire | None = None

    async def connect(self, address: str, port: int) -> None:
        """See Wire. Raises ProxyFailure where it is the proxy that fails."""
        if "%" in address:
            raise ValueError("an address that means nothing to a proxy")
        if self._proxy.scheme == "socks5":
            self._inner = await self._by_socks(address, port)
        else:
            self._inner = await self._by_connect(address, port)

    async def send(self, data: bytes) -> None:
        """See Wire."""
        await self._open().send(data)

    async def receive(self) -> bytes:
        """See Wire."""
        return await self._open().receive()

    def send_at_once(self, data: bytes) -> int:
        """See Wire."""
        return self._open().send_at_once(data)

    def close(self) -> None:
        """See Wire."""
        if self._inner is not None:
            self._inner.close()

    def _open(self) -> Wire:
        assert self._inner is not None, "not connected"
        return self._inner

    async def _by_socks(self, address: str, port: int) -> Wire:
        proxy = self._proxy
        socks = Socks(ProxyType.SOCKS5, proxy.host, proxy.port, proxy.username or None, proxy.password or None)
        try:
            opened = await socks.connect(address, port, timeout=_LONGEST_CONNECT_S)
        except ProxyConnectionError:
            raise ProxyFailure("proxy_unreachable") from None
        except ProxyTimeoutError:
            raise ProxyFailure("proxy_silent") from None
        except ProxyError as error:
            raise socks_failure(error.error_code) from None
        except (OSError, ValueError):  # it broke off, or talks nonsense
            raise ProxyFailure("proxy_broken") from None
        return SocketWire(opened, self._traffic)

    async def _by_connect(self, address: str, port: int) -> Wire:
        stream = await self._to_proxy()
        answered = False
        try:
            rest = await _ask(stream, self._proxy, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
            answered = True
        except (OSError, EOFError, h11.RemoteProtocolError) as error:
            raise error if isinstance(error, ProxyFailure) else ProxyFailure("proxy_broken") from None
        finally:
            if not answered:
                stream.close()
        return _Tunnel(stream, rest)

    async def _to_proxy(self) -> Stream:
        """A connection to the proxy itself, by the first of its addresses that works."""
        stream = await self._connected()
        if self._proxy.scheme == "http":
            return stream
        secured = False
        try:
            secure = TlsStream(stream, _context(os.environ.get("SSL_CERT_FILE")), self._proxy.host)
            await secure.handshake()
            secured = True
        except (OSError, EOFError, ValueError) as error:
            rejected = isinstance(error, ssl.SSLCertVerificationError)
            raise ProxyFailure("proxy_certificate" if rejected else "proxy_broken") from None
        finally:
            if not secured:
                stream.close()
        return secure

    async def _connected(self) -> Stream:
        proxy = self._proxy
        try:
            found = await asyncio.get_running_loop().getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
        except OSError:
            raise ProxyFailure("proxy_unreachable") from None
        for family, kind, _, _, place in sorted(found, key=lambda one: one[0]):  # IPv4 first
            try:
                opened = socket.socket(family, kind)
                opened.setblocking(False)
                stream = Stream(SocketWire(opened, self._traffic), str(place[0]), proxy.port)
                await stream.connect()
            except (OSError, ValueError):
                continue
            return stream
        raise ProxyFailure("proxy_unreachable")


class _Tunnel:
    """What passes once a proxy has connected us. rest: what came right behind its answer."""

    local_port: int | None = None

    def __init__(self, stream: Stream, rest: bytes) -> None:
        self._stream = stream
        self._rest = rest

    async def connect(self, address: str, port: int) -> None:
        """See Wire: it is."""

    async def send(self, data: bytes) -> None:
        """See Wire."""
        try:
            await self._stream.send(data)
        except ssl.SSLError:
            raise ProxyFailure("proxy_broken") from None

    async def receive(self) -> bytes:
        """See Wire."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        try:
            return await self._stream.receive()
        except ssl.SSLError:  # of the proxy's TLS, and not of the site's inside it
            raise ProxyFailure("proxy_broken") from None

    def send_at_once(self, data: bytes) -> int:
        """See Wire: nothing."""
        return 0

    def close(self) -> None:
        """See Wire."""
        self._stream.close()


async def _ask(stream: Stream, proxy: Proxy, place: str) -> bytes:
    """CONNECT: what came behind the proxy's consent. Raises ProxyFailure, OSError, h11.RemoteProtocolError.

    Not by python-socks, which takes what one `recv` gives for the whole answer: of one that comes in two pieces the
    second would be read as the site's.
    """
    headers = [("Host", place)]
    if proxy.username:
        told = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        headers.append(("Proxy-Authorization", f"Basic {told}"))
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
    asked = client.send(h11.Request(method="CONNECT", target=place, headers=headers))
    await stream.send((asked or b"") + (client.send(h11.EndOfMessage()) or b""))
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(await stream.receive())
        elif isinstance(event, h11.Response) and 200 <= event.status_code < 300:
            return bytes(client.trailing_data[0])
        elif not isinstance(event, h11.InformationalResponse):
            raise ProxyFailure("proxy_refuses")


@cache
def _context(trust_file: str | None) -> ssl.SSLContext:
    """For proxies, to whom HTTP/2 is not offered."""
    context = client_context(trust_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
