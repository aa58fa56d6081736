"""Connections of which only so much is read: a receiver that says `103 Early Hints` without end would keep this program busy."""

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx

MOST_BYTES = 128 * 1024  # of an answer's head, which is all that is read; h11 takes no header of more than 100 KiB


@asynccontextmanager
async def bound(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """While the block runs; then all are closed, also those that httpcore forgets when a SOCKS proxy says garbage.

    httpx has no door for it: this is where it keeps what opens its connections.
    """
    opened: list[httpcore.AsyncNetworkStream] = []
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            pool: Any = transport._pool
            pool._network_backend = _Network(pool._network_backend, opened)
    try:
        yield
    finally:
        for stream in opened:
            await stream.aclose()


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend, opened: list[httpcore.AsyncNetworkStream]) -> None:
        self._network, self._opened = network, opened

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        self._opened.append(stream)
        return _Stream(stream)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream, self._left = stream, MOST_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._stream.read(max_bytes, timeout)
        self._left -= len(data)
        if self._left < 0:
            raise httpcore.RemoteProtocolError("an answer without end")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
