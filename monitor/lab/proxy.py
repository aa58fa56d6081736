"""A proxy whose way out is a line of the lab: SOCKS5 and CONNECT on one port of the loopback, told apart by the first byte.

`python -m monitor.lab.proxy NETNS [early]` says its port on stdout and ends when stdin does. early: it says that it is
connected before it is, and hangs up where that was not so, as `ssh -D` does.
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys

from monitor.lab.namespaces import die_with
from monitor.models import Network
from monitor.vantage import Vantage, sockaddr

_CHUNK = 65536
_CONNECTS_S = 75.0
# RFC 1928, 6.
_REPLIES = {
    errno.ENETUNREACH: 3,
    errno.EHOSTUNREACH: 4,
    errno.ECONNREFUSED: 5,
    errno.ETIMEDOUT: 6,
    errno.EAFNOSUPPORT: 8,
}
_GENERAL_FAILURE = 1


class Proxy:
    """Relays connections onto a vantage's path."""

    def __init__(self, way_out: Vantage, *, early: bool = False) -> None:
        self._way_out = way_out
        self._early = early
        self._serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, to its end."""
        serving = asyncio.current_task()
        self._serving.add(serving)  # asyncio itself would let it be collected while it waits
        try:
            with contextlib.suppress(OSError, EOFError, ValueError):
                first = await reader.readexactly(1)
                await (self._socks(reader, writer) if first == b"\5" else self._connect(reader, writer))
        finally:
            self._serving.discard(serving)
            writer.close()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\5\0")
        _, _, _, kind = await reader.readexactly(4)
        address = socket.inet_ntop(*_family(kind), await reader.readexactly(4 if kind == 1 else 16))
        port = int.from_bytes(await reader.readexactly(2))
        await self._relay(reader, writer, address, port, socks=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().rpartition(":")
        await self._relay(reader, writer, host.strip("[]"), int(port), socks=False)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int, *, socks: bool
    ) -> None:
        if self._early:
            writer.write(_said(0, socks))
        opened, code = await self._opened(address, port)
        if not self._early:
            writer.write(_said(code, socks))
        if opened is None:
            return
        there_reader, there_writer = await asyncio.open_connection(sock=opened)
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            there_writer.close()

    async def _opened(self, address: str, port: int) -> tuple[socket.socket | None, int]:
        """A connection, or the SOCKS reply that says why there is none."""
        opened = None
        try:
            opened = self._way_out.open_socket(6 if ":" in address else 4, socket.SOCK_STREAM)
            async with asyncio.timeout(_CONNECTS_S):
                await asyncio.get_running_loop().sock_connect(opened, sockaddr(address, port))
        except OSError as error:
            if opened:
                opened.close()
            return None, _REPLIES.get(error.errno or errno.ETIMEDOUT, _GENERAL_FAILURE)
        return opened, 0


def _family(kind: int) -> tuple[int]:
    return ({1: socket.AF_INET, 4: socket.AF_INET6}[kind],)


def _said(code: int, socks: bool) -> bytes:
    if socks:
        return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))
    return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n" if code else b"HTTP/1.1 200 OK\r\n\r\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end; an error ends both."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def _main(netns: str, *, early: bool) -> None:
    server = await asyncio.start_server(
        Proxy(Vantage("proxy", Network(), (), netns=netns), early=early).serve, "127.0.0.1"
    )
    os.write(sys.stdout.fileno(), b"%d\n" % server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    die_with(os.getppid())
    asyncio.run(_main(sys.argv[1], early="early" in sys.argv[2:]))
