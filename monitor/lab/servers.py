"""The servers: one process that is every web server and every resolver of the lab.

Reads a line of JSON ({"world", "netns"}), then commands, on stdin; says on stdout when it is ready, with the lab's
root certificate and the helper's own. It ends when stdin ends.
"""

import asyncio
import gc
import json
import os
import resource
import socket
import sys

import msgspec

from monitor.lab import namespaces
from monitor.lab.certificates import Certificates
from monitor.lab.content import Content
from monitor.lab.names import Conversation, Datagrams, Names
from monitor.lab.policy import Policy
from monitor.lab.web import Web
from monitor.lab.world import World

_BACKLOG = 2048
_LONGEST_COMMAND = 1 << 26  # bytes: a world


class Start(msgspec.Struct):
    """The first line: the world, and the namespace to be in."""

    world: World
    netns: str


async def serve() -> None:
    """Listens on every address, obeys commands until there are no more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    commands = await _commands()
    start = msgspec.json.decode(await commands.readline(), type=Start)
    namespaces.enter(start.netns)
    world = start.world
    doh = (world.sites[url.split("/")[2]] for url in world.doh)
    names, certificates = Names(world), Certificates({site.name: site.addresses for site in doh})
    content = Content(world, names.ask_privately)
    await _listen(world, names, content, certificates)
    leaf = certificates.leaf(world.helper)
    _say(
        {
            "authority": certificates.authority.cert_pem.bytes().decode(),
            "certificate": "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems),
            "key": leaf.private_key_pem.bytes().decode(),
        }
    )
    gc.collect()
    gc.freeze()
    while line := await commands.readline():
        command = json.loads(line)
        if command["do"] == "put":
            names.put(command["number"], msgspec.convert(command["policy"], Policy))
        elif command["do"] == "lift":
            names.lift(command["number"])
        _say({"done": command["do"]})


async def _listen(world: World, names: Names, content: Content, certificates: Certificates) -> None:
    loop = asyncio.get_running_loop()
    Datagrams(names)
    await loop.create_server(lambda: Conversation(names), sock=_listener(socket.AF_INET, 53))
    for family in (socket.AF_INET, socket.AF_INET6):
        for port in (80, 443):
            await loop.create_server(lambda: Web(world, content, certificates), sock=_listener(family, port))


def _listener(family: int, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("", port))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


async def _commands() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_LONGEST_COMMAND)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(answer: object) -> None:
    os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    namespaces.die_with(os.getppid())
    asyncio.run(serve())
