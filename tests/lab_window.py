"""A window into a namespace of the lab: a port of this machine's loopback that is a port of the loopback in there.

The child inherits a socket that listens out here, and connects in there: a socket stays where it was made.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from monitor.lab.box import Lab

_CHUNK = 65536


@contextmanager
def window(lab: Lab, netns: str, port: int) -> Iterator[str]:
    """While the block runs: the `host:port` out here that leads to that port in there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "{}:{}".format(*listening.getsockname())
        command = [sys.executable, __file__, str(listening.fileno()), str(port)]
        child = lab.run_in(netns, command, pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL)
        try:
            yield address
        finally:
            child.terminate()
            child.wait(10)


async def _serve(listening: socket.socket, port: int) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(outer):
                await asyncio.gather(_copy(reader, outer), _copy(inner, writer))

    async with await asyncio.start_server(relay, sock=listening) as server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
