"""A network path we measure from: opens its sockets there, and knows its resolvers."""

import ctypes
import errno
import os
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from monitor.messages import Said
from monitor.models import Network, Role

DNS_PORT = 53
# As many as the system's own resolver would ask (MAXNS in resolv.h).
MAX_SYSTEM_RESOLVERS = 3

PROXY_SCHEMES = {"socks5": "socks5", "socks5h": "socks5", "http": "http", "https": "https"}
MAX_CREDENTIAL = 255  # characters

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


class Proxy(Struct, frozen=True, kw_only=True):
    """Whom a vantage's connections go through. scheme: "socks5", "http" or "https" (CONNECT, the latter over TLS)."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = ""

    @property
    def label(self) -> str:
        """As it may be shown: without its user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.label})"


class Traffic:
    """Bytes that measuring has sent and received, as its sockets count them; they only grow."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0


class Vantage:
    """A network path: by a namespace (a name or a path), an interface, a source address or a proxy; else the default route.

    network: as declared. resolvers: those to be asked now; `reread` says them anew where the machine's are among them.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        resolvers: tuple[Resolver, ...],
        *,
        netns: str | None = None,
        interface: str | None = None,
        source: str | None = None,
        proxy: Proxy | None = None,
        reread: Callable[[], tuple[Resolver, ...]] | None = None,
    ) -> None:
        """Raises OSError where there is no such network namespace or way, ValueError where the source is no address."""
        if interface is not None and not hasattr(socket, "SO_BINDTODEVICE"):
            raise OSError(errno.EOPNOTSUPP, "only Linux lets a program choose the interface")
        self.name = name
        self.network = network
        self.resolvers = resolvers
        self.netns = netns
        self.interface = interface
        self.source = source
        self.proxy = proxy
        self.traffic = Traffic()
        self._reread = reread
        self._source_family = None if source is None else ip_address(source).version
        self._netns = None if netns is None else os.open(_netns_path(netns), os.O_RDONLY | os.O_CLOEXEC)
        self._closing = None if self._netns is None else weakref.finalize(self, os.close, self._netns)

    @property
    def namespace(self) -> tuple[int, int] | None:
        """Which network namespace it is: one that was made anew under the same name is another."""
        if self._netns is None:
            return None
        found = os.fstat(self._netns)
        return found.st_dev, found.st_ino

    def try_out(self) -> None:
        """Raises OSError where nothing can leave on this path now. Sends nothing."""
        if self.proxy is None:
            self._open(self._source_family or 4, socket.SOCK_DGRAM).close()

    def close(self) -> None:
        """Open no more sockets, and let go of the namespace: its interfaces go home when nobody holds it."""
        if self._closing is not None:
            self._netns = -1  # its number may soon be another file's
            self._closing()

    def reread_resolvers(self) -> None:
        """Take over what the machine's resolvers are now: a laptop that moved has others."""
        if self._reread is not None:
            self.resolvers = self._reread()

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A non-blocking socket on this path, not yet connected; family: 4 or 6. Raises OSError.

        A proxy is a path for connections that it makes itself (`steps.proxies`): no socket of ours is on it.
        """
        if self.proxy is not None:
            raise OSError(errno.EOPNOTSUPP, "a proxied vantage has no sockets of its own")
        return self._open(family, kind)

    def local_addresses(self) -> dict[int, str]:
        """Family -> the address that packets leave this machine from. Connecting a UDP socket sends nothing."""
        found = {}
        for family, anywhere in ((4, "192.0.2.1"), (6, "2001:db8::1")):
            try:
                with self._open(family, socket.SOCK_DGRAM) as asking:
                    asking.connect((anywhere, 9))
                    found[family] = asking.getsockname()[0].partition("%")[0]
            except OSError:
                continue
        return found

    def read(self, path: str, limit: int) -> str:
        """The beginning of a file of the kernel's, as this path's namespace sees it; "" where there is none."""
        try:
            with self._there(), open(path, "rb") as file:
                return file.read(limit).decode("ascii", "replace")
        except OSError:
            return ""

    @contextmanager
    def _there(self) -> Iterator[None]:
        if self._netns is None:
            yield
        else:
            with _inside(self._netns):
                yield

    def _open(self, family: int, kind: int) -> socket.socket:
        with self._there():
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


def proxy(url: str) -> Proxy:
    """A proxy: `SCHEME://[USER:PASSWORD@]HOST:PORT`. Raises ValueError, whose text shows nothing of the URL.

    socks5h is socks5: it is addresses that we ask for, and names are resolved by the vantage's resolvers.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme not in PROXY_SCHEMES:
        raise ValueError(Said("expected a proxy such as socks5://127.0.0.1:9050"))
    for said in (username, password):  # what SOCKS can carry (RFC 1929), and no header can be smuggled with
        if not said.isascii() or not said.isprintable() or len(said) > MAX_CREDENTIAL:
            raise ValueError(
                Said("expected user and password of at most {number} printable ASCII characters", number=MAX_CREDENTIAL)
            )
    if bool(username) != bool(password) or ":" in username:
        raise ValueError(Said("expected both user and password, or neither; no colon in the user"))
    return Proxy(scheme=PROXY_SCHEMES[parts.scheme], host=host, port=port, username=username, password=password)


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
