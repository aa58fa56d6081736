"""Censors: each technique is a few lines and a name.

A technique sees every packet of a flow from the one that set it off, decides its fate and may send packets of its own.
To add one: write the function, name it, say what it looks at.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from monitor.lab import packets
from monitor.lab.flows import DROP, PASS, Fate, Flow, Hands
from monitor.lab.packets import ACK, FIN, PSH, RST, SEGMENT, Packet
from monitor.lab.policy import Policy
from monitor.lab.triggers import dns_answer

_ALERT = bytes((21, 3, 3, 0, 2, 2, 112))  # fatal: unrecognized_name
_HALF = 1 << 31


class Sees(Enum):
    """What sets a technique off."""

    QUESTION = "dns"  # the name in a DNS question over UDP
    ADDRESS = "address"  # where a packet goes
    SERVER_NAME = "sni"  # the name in a ClientHello
    HOST = "host"  # the name in a plain HTTP request
    PAYLOAD = "payload"  # the first bytes sent to an address


Act = Callable[[Flow, Packet, bool, Policy, Hands], Fate]  # bool: from the client


class Technique(Struct, frozen=True):
    """A way to censor."""

    name: str
    sees: Sees
    act: Act


TECHNIQUES: dict[str, Technique] = {}


def technique(sees: Sees, *names: str) -> Callable[[Act], Act]:
    """Names a way to censor; the same act may have several names where only its trigger differs."""

    def register(act: Act) -> Act:
        for name in names:
            TECHNIQUES[name] = Technique(name, sees, act)
        return act

    return register


@technique(Sees.QUESTION, "dns-injection")
def inject(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Answers before the resolver can, whoever is asked; the true answer follows."""
    _forge_answer(packet, policy, hands)
    return PASS


@technique(Sees.QUESTION, "dns-interception")
def intercept_question(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Answers instead of the resolver, whoever is asked."""
    _forge_answer(packet, policy, hands)
    return DROP


@technique(Sees.SERVER_NAME, "tls-silence")
@technique(Sees.HOST, "http-silence")
@technique(Sees.ADDRESS, "drop")
def drop(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Nothing passes, nothing is said."""
    return DROP


@technique(Sees.ADDRESS, "tcp-reset")
@technique(Sees.PAYLOAD, "payload-reset")
@technique(Sees.SERVER_NAME, "tls-reset")
@technique(Sees.HOST, "http-reset")
def reset(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Resets both ends, each in the other's name."""
    if up and flow.first():
        hands.to_client(packets.answer(packet, RST))
        if not packet.opens:
            hands.to_server(packets.in_place_of(packet, RST))
    return DROP


@technique(Sees.SERVER_NAME, "tls-residual")
def reset_and_remember(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Resets, and keeps the two addresses apart for a while, whatever they say."""
    if not flow.acted:
        hands.cut(packet.src, packet.dst, policy.seconds)
    return reset(flow, packet, up, policy, hands)


@technique(Sees.ADDRESS, "tcp-icmp")
def refuse_by_icmp(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Says that the address is unreachable."""
    if up:
        hands.to_client(packets.unreachable(packet, policy.code))
    return DROP


@technique(Sees.SERVER_NAME, "tls-eof")
@technique(Sees.HOST, "http-eof")
def finish(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Ends the connection politely in the server's name."""
    return _answer_and_end(flow, packet, up, b"", hands)


@technique(Sees.SERVER_NAME, "tls-alert")
def alert(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Refuses the handshake in the server's name."""
    return _answer_and_end(flow, packet, up, _ALERT, hands)


@technique(Sees.HOST, "http-page")
def forge_page(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Answers the request with a page, or a redirect, of its own."""
    return _answer_and_end(flow, packet, up, policy.response.encode(), hands)


@technique(Sees.ADDRESS, "divert")
def divert(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Leads the connection to another server, in the middle of the path."""
    return PASS  # the border rewrites the addresses of a flow whose policy says where to


@technique(Sees.SERVER_NAME, "tls-throttle")
@technique(Sees.HOST, "http-throttle")
def throttle(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Lets the server's data through at `rate`."""
    if up or not packet.payload:
        return PASS
    # A retransmission of what still waits here would take the place of new data and halve the rate.
    if flow.high is not None and hands.now < flow.free_at and (flow.high - packet.end) % (1 << 32) < _HALF:
        return DROP
    flow.high = packet.end
    flow.free_at = max(hands.now, flow.free_at) + len(packet.raw) / policy.rate
    return flow.free_at - hands.now


@technique(Sees.SERVER_NAME, "tls-stall")
@technique(Sees.HOST, "http-stall")
def stall(flow: Flow, packet: Packet, up: bool, policy: Policy, hands: Hands) -> Fate:
    """Lets the first `after` bytes of the server through, and no more."""
    if up:
        return PASS
    if flow.high is None:
        flow.high = packet.seq
    return PASS if (packet.end - flow.high) % (1 << 32) <= policy.after else DROP


def _answer_and_end(flow: Flow, packet: Packet, up: bool, payload: bytes, hands: Hands) -> Fate:
    if up and flow.first():
        for start in range(0, len(payload), SEGMENT):
            hands.to_client(packets.answer(packet, PSH, payload[start : start + SEGMENT], start))
        hands.to_client(packets.answer(packet, FIN, b"", len(payload)))
        hands.to_server(packets.in_place_of(packet, RST))
    elif up and packet.flags & FIN:
        hands.to_client(packets.answer(packet, ACK))
    return DROP


def _forge_answer(packet: Packet, policy: Policy, hands: Hands) -> None:
    forged = dns_answer(packet.payload, policy.rcode, policy.answers)
    if forged is not None:
        hands.to_client(packets.udp(packet.dst, packet.src, packet.dport, packet.sport, forged))
