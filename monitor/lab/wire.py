"""The wire: a process that joins the lab's hosts, and where their packets meet delay, loss and censors.

Reads the World and then commands on stdin, one JSON value a line; says on stdout where the hosts are and what is done.
It ends, and every host with it, when stdin ends.
"""

import gc
import heapq
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

import msgspec

from monitor.lab import namespaces
from monitor.lab.border import Border
from monitor.lab.links import Link
from monitor.lab.packets import Packet, readdressed
from monitor.lab.policy import EVERYONE, LIES, Policy
from monitor.lab.world import Host, World
from monitor.language import here

_PACKET = 2048  # bytes: more than the largest packet; reading costs what the buffer costs
_COMMANDS = 65536  # bytes
_TURN = 64  # packets read from one host before the others get theirs
SERVERS = "servers"


class Port:
    """A host's end of the wire. rank: of two hosts, the higher one is the client, whose censors look."""

    __slots__ = ("addresses", "border", "down", "faces", "fd", "network", "rank", "up")

    def __init__(self, fd: int, rank: int, up: Link | None, down: Link | None) -> None:
        self.fd, self.rank, self.up, self.down = fd, rank, up, down
        self.border: Border | None = None
        self.addresses: tuple[bytes, ...] = ()
        # Where it has moved to, and its addresses as seen from there: the router there translates them, both ways.
        self.network = self
        self.faces: dict[bytes, bytes] = {}


class Wire:
    """The loop: reads packets, decides what becomes of each and when, delivers."""

    def __init__(self) -> None:
        self.carried = 0
        self._ports: dict[str, Port] = {}
        self._by_fd: dict[int, Port] = {}
        self._routes: dict[bytes, tuple[Port, Link | None]] = {}
        self._due: list[tuple[float, int, Port, Link | None, bytes]] = []
        self._count = 0
        self._poll = select.epoll()

    def attach(self, name: str, fd: int, rank: int, host: Host | None, chance: Random) -> Port:
        """Adds a host; `servers` has no line of its own, its addresses have."""
        up, down = (Link(host.delay_s, host.loss, host.rate, chance) if host else None for _ in range(2))
        port = Port(fd, rank, up, down)
        if host:
            port.border = Border(partial(self._to_client, port), partial(self._to_server, port))
            port.addresses = tuple(map(_packed, host.addresses))
            for address in port.addresses:
                self._routes[address] = (port, None)
        self._ports[name] = self._by_fd[fd] = port
        self._poll.register(fd, select.EPOLLIN)
        return port

    def place(self, address: str, port: Port, link: Link) -> None:
        """Adds a server's address."""
        self._routes[_packed(address)] = (port, link)

    def move(self, name: str, to: str, faces: dict[str, str]) -> None:
        """Puts a host into another's network, behind a router: its own address -> the one that others see."""
        port = self._ports[name]
        for old in port.faces:
            self._routes.pop(old, None)
        for address in port.addresses:
            self._routes[address] = (port, None)
        port.network = self._ports[to]
        port.faces = {}
        for own, face in faces.items():
            port.faces |= {_packed(own): _packed(face), _packed(face): _packed(own)}
            self._routes[_packed(face)] = (port, None)

    def border(self, name: str) -> Border:
        """The censors of a host."""
        border = self._ports[name].border
        assert border is not None
        return border

    def hosts(self) -> list[str]:
        """Those that can be censored."""
        return [name for name, port in self._ports.items() if port.border is not None]

    def run(self, commands: int, obey: Callable[[bytes], bool]) -> None:
        """Carries packets until `obey` says that it is over."""
        self._poll.register(commands, select.EPOLLIN)
        while True:
            wait = -1.0 if not self._due else max(0.0, self._due[0][0] - time.monotonic())
            for fd, _ in self._poll.poll(wait):
                if fd != commands:
                    self._read(self._by_fd[fd])
                elif not obey(os.read(commands, _COMMANDS)):
                    return
            self._deliver()

    def _read(self, port: Port) -> None:
        now = time.monotonic()
        for _ in range(_TURN):
            try:
                raw = os.read(port.fd, _PACKET)
            except BlockingIOError:
                return
            self._carry(raw, port, now)

    def _carry(self, raw: bytes, port: Port, now: float) -> None:
        self.carried += 1
        if port.network is not port:
            translated = _translated(raw, port.faces, outward=True)
            if translated is None:
                return
            raw = translated
        route = self._routes.get(_destination(raw))
        # Censors see what goes nowhere, too: an answer from where no resolver is gives them away.
        goal = route[0] if route else self._ports[SERVERS]
        client, up = (port, True) if port.rank > goal.rank else (goal, False)
        held = 0.0
        border = client.network.border
        if border:
            fate, seen = border.see(raw, up, now)
            if fate is None:
                return
            held = fate
            if seen is not raw:
                raw = seen
                route = self._routes.get(_destination(raw))
        if route is None:
            return
        link = port.network.up or self._link_of(raw)
        at = link.carry(len(raw), now) if link else now
        if at is not None:
            self._onward(at + held, route, raw)

    def _link_of(self, raw: bytes) -> Link | None:
        route = self._routes.get(_source(raw))
        return route[1] if route else None

    def _onward(self, at: float, route: tuple[Port, Link | None], raw: bytes) -> None:
        """Past the sender's line; the receiver's comes next, unless it is a server's, which only delays."""
        goal, link = route
        if link is not None:
            self._push(at + link.delay_s, goal, None, raw)
        else:
            self._push(at, goal, goal.network.down, raw)

    def _to_client(self, port: Port, raw: bytes) -> None:
        """From the edge of the client's network: the packet that drew this one has to get there first."""
        delay = port.up.delay_s if port.up else 0.0
        goal, _ = self._routes.get(_destination(raw), (port, None))  # a host that moved here has an address of its own
        self._push(time.monotonic() + 2 * delay, goal, None, raw)

    def _to_server(self, port: Port, raw: bytes) -> None:
        route = self._routes.get(_destination(raw))
        if route is not None:
            delay = port.up.delay_s if port.up else 0.0
            self._onward(time.monotonic() + delay, route, raw)

    def _push(self, at: float, port: Port, link: Link | None, raw: bytes) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, port, link, raw))

    def _deliver(self) -> None:
        due = self._due
        now = time.monotonic()
        while due and due[0][0] <= now:
            at, _, port, link, raw = heapq.heappop(due)
            if link is None:
                if port.network is not port:
                    raw = _translated(raw, port.faces, outward=False) or b""
                _write(port.fd, raw)
                continue
            after = link.carry(len(raw), at)
            if after is not None:
                self._push(after, port, None, raw)


class Desk:
    """Obeys commands: censors go up and down while packets pass."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._buffer = b""

    def read(self, data: bytes) -> bool:
        """Obeys the whole lines so far; False when there will be no more."""
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            _say(self._obey(json.loads(line)))
        return bool(data)

    def _obey(self, command: dict[str, object]) -> dict[str, object]:
        number = int(str(command.get("number", 0)))
        if command["do"] == "put":
            put(self._wire, str(command["host"]), number, msgspec.convert(command["policy"], Policy))
        elif command["do"] == "move":
            faces = msgspec.convert(command["faces"], dict[str, str])
            self._wire.move(str(command["host"]), str(command["to"]), faces)
        elif command["do"] == "lift":
            for name in self._wire.hosts():
                self._wire.border(name).lift(number)
        return {"done": command["do"], "carried": self._wire.carried}


def put(wire: Wire, host: str, number: int, policy: Policy) -> None:
    """Puts a censor up for one host, or for everyone."""
    for name in wire.hosts() if host == EVERYONE else [host]:
        wire.border(name).put(number, policy)


def build(world: World) -> tuple[Wire, dict[str, int]]:
    """The wire and its hosts: name -> the namespace's fd."""
    wire, spaces = Wire(), {}
    chance = Random(world.seed)
    for rank, host in [(2, line) for line in world.lines.values()] + [(1, world.control)]:
        spaces[host.name], tun = namespaces.create()
        namespaces.furnish(host.addresses, routed=host.routed)
        wire.attach(host.name, tun, rank, host, chance)
    spaces[SERVERS], tun = namespaces.create()
    namespaces.furnish(("100.127.255.1", "fd00::1"), tuple(world.places))
    servers = wire.attach(SERVERS, tun, 0, None, chance)
    for address, place in world.places.items():
        wire.place(address, servers, Link(place.delay_s, 0.0, place.rate, chance))
    for number, (name, policy) in enumerate(world.policies):
        if policy.technique not in LIES:
            put(wire, name, -1 - number, policy)
    return wire, spaces


def main() -> int:
    """The process."""
    parent = os.getppid()
    first, rest = _first_line()
    namespaces.die_with(parent)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # the wire must not be slower because the probe is busy
    try:
        wire, spaces = build(msgspec.json.decode(first, type=World))
    except namespaces.LabError as error:
        _say({"error": here().said(error)})
        return 1
    _say({"hosts": spaces})
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a pause would look like the network
    desk = Desk(wire)
    if rest:
        desk.read(rest)
    wire.run(sys.stdin.fileno(), desk.read)
    return 0


def _first_line() -> tuple[bytes, bytes]:
    data = b""
    while b"\n" not in data:
        more = os.read(sys.stdin.fileno(), _COMMANDS)
        if not more:
            raise SystemExit(1)
        data += more
    first, _, rest = data.partition(b"\n")
    return first, rest


def _say(answer: object) -> None:
    os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


def _translated(raw: bytes, faces: dict[bytes, bytes], *, outward: bool) -> bytes | None:
    """As a home router does with TCP and UDP; None for all else, which it drops."""
    packet = Packet.parse(raw)
    face = faces.get(packet.src if outward else packet.dst) if packet else None
    if packet is None or face is None:
        return None
    return readdressed(packet, src=face) if outward else readdressed(packet, dst=face)


def _destination(raw: bytes) -> bytes:
    return raw[16:20] if raw[0] >> 4 == 4 else raw[24:40]


def _source(raw: bytes) -> bytes:
    return raw[12:16] if raw[0] >> 4 == 4 else raw[8:24]


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _write(fd: int, raw: bytes) -> None:
    try:
        os.write(fd, raw)
    except OSError:
        return  # a host that refuses a packet (malformed, or no memory for it) has lost it


if __name__ == "__main__":
    sys.exit(main())
