"""The border of a network: where the packets of its hosts pass its censors."""

import socket
from collections.abc import Callable

from monitor.lab import packets
from monitor.lab.censors import TECHNIQUES, Sees
from monitor.lab.flows import DROP, PASS, Fate, Flow
from monitor.lab.packets import TCP, Packet
from monitor.lab.policy import ANYWHERE, ANYWHERE6, Policy
from monitor.lab.triggers import Incomplete, host, question, server_name

_FLOWS = 20_000  # remembered at once
_HANDSHAKE = 0x16

Send = Callable[[bytes], None]
Key = tuple[bytes, bytes, int, int]


class Border:
    """The censors of one host's traffic. `to_client`, `to_server`: how they send packets of their own."""

    def __init__(self, to_client: Send, to_server: Send) -> None:
        self.to_client, self.to_server = to_client, to_server
        self.now = 0.0
        self._policies: dict[int, Policy] = {}
        self._named: dict[tuple[Sees, str], list[int]] = {}
        self._placed: list[int] = []
        self._counts: dict[int, int] = {}
        self._flows: dict[Key, Flow] = {}
        self._cuts: dict[tuple[bytes, bytes], float] = {}

    def __bool__(self) -> bool:
        return bool(self._policies)

    def put(self, number: int, policy: Policy) -> None:
        """Puts a censor up. Connections that are already open are left alone."""
        self._policies[number] = policy
        self._index()

    def lift(self, number: int) -> None:
        """Takes a censor away, and what it holds."""
        gone = self._policies.pop(number, None)
        if gone is None:
            return  # another border's
        self._counts.pop(number, None)
        self._cuts.clear()
        self._flows = {key: flow for key, flow in self._flows.items() if flow.policy is not gone}
        self._index()

    def cut(self, client: bytes, server: bytes, seconds: float) -> None:
        """Nothing passes between two addresses for a while."""
        self._cuts[client, server] = self.now + seconds

    def see(self, raw: bytes, up: bool, now: float) -> tuple[Fate, bytes]:
        """What becomes of a packet, and the packet. up: from the client."""
        packet = Packet.parse(raw)
        if packet is None:
            return PASS, raw
        self.now = now
        client, server = (packet.src, packet.dst) if up else (packet.dst, packet.src)
        if self._cuts and self._cuts.get((client, server), 0.0) > now:
            return DROP, raw
        if packet.protocol != TCP:
            return (self._datagram(packet) if up else PASS), raw
        return self._segment(packet, up, client, server)

    def _index(self) -> None:
        self._named, self._placed = {}, []
        for number, policy in self._policies.items():
            sees = TECHNIQUES[policy.technique].sees
            if sees in (Sees.ADDRESS, Sees.PAYLOAD):
                self._placed.append(number)
            for name in policy.names:
                self._named.setdefault((sees, name), []).append(number)

    def _datagram(self, packet: Packet) -> Fate:
        policy = self._placed_at(packet, Sees.ADDRESS)
        if policy is None and packet.dport == 53:
            asked = question(packet.payload)
            policy = self._named_as(Sees.QUESTION, asked[0]) if asked else None
        if policy is None:
            return PASS
        return TECHNIQUES[policy.technique].act(Flow(packet.dst), packet, True, policy, self)

    def _segment(self, packet: Packet, up: bool, client: bytes, server: bytes) -> tuple[Fate, bytes]:
        key = (client, server, packet.sport, packet.dport) if up else (client, server, packet.dport, packet.sport)
        flow = self._flows.get(key)
        if flow is None or (up and packet.opens and flow.opening != packet.seq):
            if not (up and packet.opens):
                return PASS, packet.raw
            flow = self._meet(key, packet)
        if up and not flow.settled and packet.payload:
            self._read(flow, packet)
        if flow.policy is None:
            return PASS, packet.raw
        raw = packet.raw
        if flow.diverted:
            raw = packets.readdressed(packet, dst=flow.diverted) if up else packets.readdressed(packet, src=flow.server)
        return TECHNIQUES[flow.policy.technique].act(flow, packet, up, flow.policy, self), raw

    def _meet(self, key: Key, packet: Packet) -> Flow:
        if len(self._flows) >= _FLOWS:
            for old in list(self._flows)[: _FLOWS // 2]:
                del self._flows[old]
        flow = self._flows[key] = Flow(packet.dst, packet.seq)
        flow.policy = self._placed_at(packet, Sees.ADDRESS)
        flow.settled = flow.policy is not None
        if flow.policy and flow.policy.divert:
            self._lead_away(flow, key)
        return flow

    def _lead_away(self, flow: Flow, key: Key) -> None:
        assert flow.policy is not None
        places = (
            socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in flow.policy.divert
        )
        flow.diverted = next((place for place in places if len(place) == len(flow.server)), None)
        if flow.diverted:
            self._flows[key[0], flow.diverted, key[2], key[3]] = flow

    def _read(self, flow: Flow, packet: Packet) -> None:
        """Looks for a name in the client's first bytes."""
        if not flow.gather(packet):
            return
        if len(flow.stream) == len(packet.payload):
            flow.policy = self._placed_at(packet, Sees.PAYLOAD)
        if flow.policy is None:
            sees, reader = (Sees.SERVER_NAME, server_name) if flow.stream[0] == _HANDSHAKE else (Sees.HOST, host)
            try:
                name = reader(flow.stream)
            except Incomplete:
                return
            flow.policy = self._named_as(sees, name) if name else None
        flow.settled = True
        flow.stream = b""

    def _placed_at(self, packet: Packet, sees: Sees) -> Policy | None:
        if not self._placed:
            return None
        place = packets.text(packet.dst)
        for number in self._placed:
            policy = self._policies[number]
            if (
                TECHNIQUES[policy.technique].sees is sees
                and _aims_at(policy, place)
                and (not policy.ports or packet.dport in policy.ports)
                and self._strikes(number, policy)
            ):
                return policy
        return None

    def _named_as(self, sees: Sees, name: str) -> Policy | None:
        for number in self._named.get((sees, name), ()):
            if self._strikes(number, self._policies[number]):
                return self._policies[number]
        return None

    def _strikes(self, number: int, policy: Policy) -> bool:
        """Whether this connection is one of those that the pattern hits."""
        count = self._counts.get(number, 0)
        self._counts[number] = count + 1
        if policy.once and count >= len(policy.pattern):
            return False
        return policy.pattern[count % len(policy.pattern)] == "x"


def _aims_at(policy: Policy, place: str) -> bool:
    if place in policy.spared:
        return False
    return place in policy.addresses or ANYWHERE in policy.addresses or (ANYWHERE6 in policy.addresses and ":" in place)
