"""A network path we measure from: opens its sockets there, and knows its resolvers."""

import ctypes
import errno
import os
import socket
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from msgspec import Struct

from monitor.models import Network, Role

DNS_PORT = 53
# As many as the system's own resolver would ask (MAXNS in resolv.h).
MAX_SYSTEM_RESOLVERS = 3

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_CLONE_NEWNET = 0x40000000
# On machines with systemd-resolved resolv.conf names only its stub; the network's resolvers are listed here.
_UPLINK = Path("/run/systemd/resolve/resolv.conf")
_STUBS = frozenset({"127.0.0.53", "127.0.0.54"})

# Google, Cloudflare, Quad9, OpenDNS, AdGuard, Yandex, CleanBrowsing, Control D, DNS.SB, Level 3, Verisign.
_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "8.8.8.8/32",
        "8.8.4.4/32",
        "2001:4860:4860::/48",
        "1.1.1.0/30",
        "1.0.0.0/30",
        "2606:4700:4700::/48",
        "9.9.9.0/28",
        "149.112.112.0/24",
        "2620:fe::/48",
        "208.67.222.0/24",
        "208.67.220.0/24",
        "2620:119::/32",
        "94.140.14.0/24",
        "94.140.15.0/24",
        "2a10:50c0::/32",
        "77.88.8.0/24",
        "2a02:6b8::feed:0/112",
        "185.228.168.0/24",
        "185.228.169.0/24",
        "76.76.2.0/24",
        "76.76.10.0/24",
        "185.222.222.0/24",
        "45.11.45.0/24",
        "4.2.2.0/29",
        "64.6.64.0/24",
        "64.6.65.0/24",
    )
)
_LAN = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.100.100.100/32",  # a Tailscale network's own; the rest of that range is an ISP's (RFC 6598)
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)


class Resolver(Struct, frozen=True, kw_only=True):
    """A resolver that is asked in the clear. `address` may carry a zone (`fe80::1%eth0`)."""

    address: str
    port: int = DNS_PORT
    role: Role

    @property
    def label(self) -> str:
        """As written and as stored: the port only where it is unusual."""
        if self.port == DNS_PORT:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Vantage:
    """A network path: by a namespace (a name or a path), an interface or a source address; else the default route."""

    def __init__(
        self,
        name: str,
        network: Network,
        resolvers: tuple[Resolver, ...],
        *,
        netns: str | None = None,
        interface: str | None = None,
        source: str | None = None,
    ) -> None:
        """Raises OSError where the network namespace does not exist, ValueError where the source is no address."""
        self.name = name
        self.network = network
        self.resolvers = resolvers
        self.interface = interface
        self.source = source
        self._source_family = None if source is None else ip_address(source).version
        self._netns = None if netns is None else os.open(_netns_path(netns), os.O_RDONLY | os.O_CLOEXEC)
        if self._netns is not None:
            weakref.finalize(self, os.close, self._netns)

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A non-blocking socket on this path, not yet connected; family: 4 or 6. Raises OSError."""
        if self._netns is None:
            opened = socket.socket(_FAMILIES[family], kind)
        else:
            with _inside(self._netns):
                opened = socket.socket(_FAMILIES[family], kind)
        try:
            opened.setblocking(False)
            self._bind(opened, family)
        except OSError:
            opened.close()
            raise
        return opened

    def _bind(self, opened: socket.socket, family: int) -> None:
        if self.interface is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode() + b"\0")
        if self.source is not None:
            if family != self._source_family:
                raise OSError(errno.EAFNOSUPPORT, "the vantage's source address is of the other family")
            opened.bind((self.source, 0))


def sockaddr(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A numeric address as `connect` wants it, a zone (`fe80::1%eth0`) as its index. Raises OSError, ValueError."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.scope_id:
        zone = parsed.scope_id
        return address.partition("%")[0], port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return address, port


def system_resolvers(path: Path = Path("/etc/resolv.conf"), *, uplink: Path = _UPLINK) -> tuple[Resolver, ...]:
    """The resolvers this machine would ask, in its order; none where the file is absent or names none."""
    found = _nameservers(path)
    if found and all(address in _STUBS for address in found):
        found = _nameservers(uplink) or found
    return tuple(Resolver(address=address, role=_role(address)) for address in found[:MAX_SYSTEM_RESOLVERS])


def resolver(text: str, *, role: Role | None = None) -> Resolver:
    """A resolver: `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; its role by its address. Raises ValueError."""
    address, port = _split_port(text.strip())
    ip_address(address)
    return Resolver(address=address, port=port, role=role or _role(address))


def _split_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else "" if rest or not closed else str(DNS_PORT)
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        return text, DNS_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"{text!r}: no such port")
    return address, int(port)


def _role(address: str) -> Role:
    parsed = _without_zone(address)
    if any(parsed in network for network in _LAN):
        return Role.LAN
    if any(parsed in network for network in _PUBLIC):
        return Role.PUBLIC
    return Role.ISP


def _without_zone(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])


def _nameservers(path: Path) -> list[str]:
    """The addresses of resolv.conf's `nameserver` lines, without repetition."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    named = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return [address for address in dict.fromkeys(named) if is_address(address)]


def is_address(text: str) -> bool:
    """Whether a text is a numeric address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _netns_path(netns: str) -> str:
    return netns if "/" in netns else f"/run/netns/{netns}"


@contextmanager
def _inside(netns: int) -> Iterator[None]:
    """This thread, in another network namespace. Nothing may await in here: other tasks would go along."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(netns)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


if sys.version_info >= (3, 12):

    def _setns(netns: int) -> None:
        os.setns(netns, _CLONE_NEWNET)
else:
    _LIBC = ctypes.CDLL(None, use_errno=True)

    def _setns(netns: int) -> None:
        if _LIBC.setns(netns, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
