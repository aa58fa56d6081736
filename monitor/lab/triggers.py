"""What a censor reads in passing: the name in a DNS question, a ClientHello or a Host header; and the lies it writes."""

import socket
import struct

_LONGEST = 8192  # bytes a censor keeps of a connection while it waits for a name

RCODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}


class Incomplete(Exception):
    """The name may still come with the next segment."""


def question(message: bytes) -> tuple[str, int, int] | None:
    """A DNS question's name, its type, and where the question section ends."""
    if len(message) < 17 or message[2] & 0x80:
        return None
    labels, at = [], 12
    while at < len(message) and message[at]:
        length = message[at]
        if length > 63:
            return None
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    if at + 5 > len(message):
        return None
    return b".".join(labels).decode("ascii", "replace").lower(), struct.unpack_from("!H", message, at + 1)[0], at + 5


def dns_answer(query: bytes, rcode: str, addresses: tuple[str, ...], ttl_s: int = 300) -> bytes | None:
    """A forged answer to a query: those of the addresses that fit its type."""
    asked = question(query)
    if asked is None:
        return None
    family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(asked[1])
    data = [socket.inet_pton(family, a) for a in addresses if family and (":" in a) == (family == socket.AF_INET6)]
    records = b"".join(struct.pack("!HHHIH", 0xC00C, asked[1], 1, ttl_s, len(d)) + d for d in data)
    return (
        query[:2] + struct.pack("!HHHHH", 0x8180 | RCODES[rcode], 1, len(data), 0, 0) + query[12 : asked[2]] + records
    )


def server_name(stream: bytes) -> str | None:
    """The SNI of a ClientHello; None where there is none. Raises Incomplete."""
    if len(stream) < 5 and b"\x16\x03".startswith(stream[:2]):
        raise Incomplete
    if stream[:2] != b"\x16\x03":
        return None
    length = 5 + struct.unpack_from("!H", stream, 3)[0]
    if len(stream) < length <= _LONGEST:
        raise Incomplete
    try:
        return _server_name_of(stream[5:length])
    except (struct.error, IndexError):
        return None


def _server_name_of(hello: bytes) -> str | None:
    at = 38  # type, length, version, random
    at += 1 + hello[at]  # session
    at += 2 + struct.unpack_from("!H", hello, at)[0]  # ciphers
    at += 1 + hello[at]  # compression
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at += 2
    while at < end:
        kind, length = struct.unpack_from("!HH", hello, at)
        if kind == 0:
            size = struct.unpack_from("!H", hello, at + 7)[0]
            return hello[at + 9 : at + 9 + size].decode("ascii", "replace").lower()
        at += 4 + length
    return None


def host(stream: bytes) -> str | None:
    """The Host of a plain HTTP request, without its port; None where there is none. Raises Incomplete."""
    head, separator, _ = stream.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1 : None if separator else -1]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"host":
            return value.strip().decode("ascii", "replace").lower().partition(":")[0]
    if not separator and len(stream) < _LONGEST:
        raise Incomplete
    return None
