"""Flows: the connections a censor follows, and its hands."""

from typing import Protocol

from monitor.lab.packets import Packet
from monitor.lab.policy import Policy

Fate = float | None
PASS: Fate = 0.0
DROP: Fate = None  # a positive number: held back so many seconds


class Hands(Protocol):
    """What a technique can do besides deciding the packet's fate."""

    now: float

    def to_client(self, raw: bytes) -> None:
        """Sends a packet to the censored side, from the censor's place at the edge of its network."""

    def to_server(self, raw: bytes) -> None:
        """Sends a packet on to the other side."""

    def cut(self, client: bytes, server: bytes, seconds: float) -> None:
        """Nothing passes between two addresses for a while."""


class Flow:
    """One connection, as its censor sees it. settled: nothing more to look for."""

    __slots__ = ("acted", "diverted", "expected", "free_at", "high", "opening", "policy", "server", "settled", "stream")

    def __init__(self, server: bytes, opening: int = 0) -> None:
        self.server = server
        self.opening = opening  # the client's first sequence number
        self.expected = (opening + 1) & 0xFFFFFFFF
        self.policy: Policy | None = None
        self.settled = False
        self.acted = False
        self.stream = b""  # the client's first bytes, in order
        self.diverted: bytes | None = None
        self.free_at = 0.0
        self.high: int | None = None

    def first(self) -> bool:
        """True once: when the technique strikes."""
        struck, self.acted = self.acted, True
        return not struck

    def gather(self, packet: Packet) -> bool:
        """Adds a segment to the client's first bytes; False where it is not the next one."""
        if packet.seq != self.expected:
            return False
        self.expected = packet.end
        self.stream += packet.payload
        return True
