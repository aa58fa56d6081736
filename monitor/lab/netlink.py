"""Just enough rtnetlink to give a network namespace addresses and routes (a netlink library takes 0.4 s to import)."""

import os
import socket
import struct
from ipaddress import ip_address

_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_ERROR = 2
_MAIN, _LOCAL = 254, 255
_UNICAST, _LOCAL_ROUTE = 1, 2
_BATCH = 100  # messages: their acknowledgements must fit the socket's receive buffer


def link(index: int, *, mtu: int = 0, queue: int = 0) -> bytes:
    """Sets an interface up; queue: packets that may wait in it."""
    attributes = b""
    if mtu:
        attributes += _attribute(4, struct.pack("I", mtu))
    if queue:
        attributes += _attribute(13, struct.pack("I", queue))
    return _message(_NEWLINK, 0, struct.pack("BxHiII", 0, 0, index, 1, 1) + attributes)


def address(index: int, text: str) -> bytes:
    """Gives an interface one address, without looking for duplicates."""
    family, packed, bits = _packed(text)
    body = struct.pack("BBBBi", family, bits, 2, 0, index)
    return _message(_NEWADDR, _CREATE, body + _attribute(2, packed) + _attribute(1, packed))


def default_route(index: int, family: int) -> bytes:
    """Everything goes out by this interface. family: 4 or 6."""
    return _route(family, b"", 0, _MAIN, _UNICAST, index)


def any_ip(text: str, loopback: int = 1) -> bytes:
    """Makes this host the owner of an address that no interface carries (AnyIP)."""
    _, packed, bits = _packed(text)
    return _route(4 if bits == 32 else 6, packed, bits, _LOCAL, _LOCAL_ROUTE, loopback)


def apply(messages: list[bytes]) -> None:
    """Sends the messages in order. Raises OSError where the kernel refuses one."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as channel:
        channel.bind((0, 0))
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            channel.send(b"".join(batch))
            _await_acknowledgements(channel, len(batch))


def _await_acknowledgements(channel: socket.socket, count: int) -> None:
    while count:
        data = channel.recv(1 << 16)
        while data:
            length, kind = struct.unpack_from("IH", data)
            if kind == _ERROR:
                code = -struct.unpack_from("i", data, 16)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                count -= 1
            data = data[(length + 3) & ~3 :]


def _route(family: int, packed: bytes, bits: int, table: int, kind: int, index: int) -> bytes:
    scope = 254 if kind == _LOCAL_ROUTE else 253
    head = struct.pack(
        "BBBBBBBBI", socket.AF_INET if family == 4 else socket.AF_INET6, bits, 0, 0, table, 4, scope, kind, 0
    )
    attributes = _attribute(4, struct.pack("i", index)) + (_attribute(1, packed) if packed else b"")
    return _message(_NEWROUTE, _CREATE, head + attributes)


def _packed(text: str) -> tuple[int, bytes, int]:
    address = ip_address(text)
    return (socket.AF_INET, address.packed, 32) if address.version == 4 else (socket.AF_INET6, address.packed, 128)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 0, 0) + body
