"""Packets: reads and forges IPv4 and IPv6 with TCP, UDP and ICMP, checksums included."""

import struct
from ipaddress import ip_address
from typing import Self

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SEGMENT = 1400  # bytes of payload in a forged segment
_TTL = 57  # of what a censor sends

# ICMP "unreachable" codes and what ICMPv6 calls the same thing.
HOST_UNREACHABLE, PORT_UNREACHABLE, PROHIBITED = 1, 3, 13
_ICMP6_CODES = {HOST_UNREACHABLE: 3, PORT_UNREACHABLE: 4, PROHIBITED: 3}


class Packet:
    """One TCP or UDP packet: addresses packed, ports, and for TCP its numbers."""

    __slots__ = ("ack", "dport", "dst", "flags", "payload", "protocol", "raw", "seq", "sport", "src", "start")

    def __init__(self, raw: bytes, src: bytes, dst: bytes, protocol: int, start: int) -> None:
        self.sport: int
        self.dport: int
        self.seq: int
        self.ack: int
        self.flags: int
        self.payload: bytes
        self.raw, self.src, self.dst, self.protocol, self.start = raw, src, dst, protocol, start
        self.sport, self.dport = struct.unpack_from("!HH", raw, start)
        if protocol == TCP:
            self.seq, self.ack, offset, self.flags = struct.unpack_from("!IIBB", raw, start + 4)
            self.payload = raw[start + (offset >> 4) * 4 :]
        else:
            self.seq = self.ack = self.flags = 0
            self.payload = raw[start + 8 :]

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """The packet, None for anything but whole TCP and UDP over IPv4 or IPv6 without extension headers."""
        if len(raw) < 28:
            return None
        if raw[0] >> 4 == 4:
            start, protocol, src, dst = (raw[0] & 15) * 4, raw[9], raw[12:16], raw[16:20]
            if struct.unpack_from("!H", raw, 6)[0] & 0x3FFF:
                return None
        else:
            start, protocol, src, dst = 40, raw[6], raw[8:24], raw[24:40]
        if protocol not in (TCP, UDP) or len(raw) < start + (20 if protocol == TCP else 8):
            return None
        return cls(raw, src, dst, protocol, start)

    @property
    def opens(self) -> bool:
        """The SYN of a new connection."""
        return self.flags & (SYN | ACK) == SYN

    @property
    def end(self) -> int:
        """The sequence number after this segment."""
        return (self.seq + len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)) & 0xFFFFFFFF


def answer(packet: Packet, flags: int, payload: bytes = b"", sent: int = 0) -> bytes:
    """A segment as the packet's receiver would send it back. sent: bytes already answered."""
    seq = 0 if packet.opens else (packet.ack + sent) & 0xFFFFFFFF
    return tcp(packet.dst, packet.src, packet.dport, packet.sport, seq, packet.end, flags | ACK, payload)


def in_place_of(packet: Packet, flags: int) -> bytes:
    """An empty segment that the packet's receiver takes for its sender's next one."""
    return tcp(packet.src, packet.dst, packet.sport, packet.dport, packet.seq, packet.ack, flags | ACK, b"")


def tcp(src: bytes, dst: bytes, sport: int, dport: int, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    """One TCP segment."""
    body = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload
    return _wrap(src, dst, TCP, _summed(src, dst, TCP, body, 16))


def udp(src: bytes, dst: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    """One UDP datagram."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return _wrap(src, dst, UDP, _summed(src, dst, UDP, body, 6))


def unreachable(packet: Packet, code: int) -> bytes:
    """The ICMP or ICMPv6 error for a packet, as if from its destination. code: ICMP's."""
    if len(packet.src) == 4:
        body = struct.pack("!BBHI", 3, code, 0, 0) + packet.raw[: packet.start + 8]
        body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
        return _wrap(packet.dst, packet.src, ICMP, body)
    body = struct.pack("!BBHI", 1, _ICMP6_CODES[code], 0, 0) + packet.raw[:1200]
    return _wrap(packet.dst, packet.src, ICMP6, _summed(packet.dst, packet.src, ICMP6, body, 2))


def readdressed(packet: Packet, *, src: bytes | None = None, dst: bytes | None = None) -> bytes:
    """The same packet from or to another address."""
    src, dst = src or packet.src, dst or packet.dst
    at = 16 if packet.protocol == TCP else 6
    return _wrap(src, dst, packet.protocol, _summed(src, dst, packet.protocol, packet.raw[packet.start :], at))


def text(packed: bytes) -> str:
    """An address in words."""
    return str(ip_address(packed))


def _summed(src: bytes, dst: bytes, protocol: int, body: bytes, at: int) -> bytes:
    """The body with its checksum, which stands `at` bytes into it."""
    head, tail = body[:at], body[at + 2 :]
    value = _checksum(src + dst + struct.pack("!HH", protocol, len(body)) + head + b"\0\0" + tail)
    if protocol == UDP and not value:
        value = 0xFFFF
    return head + struct.pack("!H", value) + tail


def _wrap(src: bytes, dst: bytes, protocol: int, body: bytes) -> bytes:
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, _TTL) + src + dst + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, _TTL, protocol, 0) + src + dst
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + body


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
