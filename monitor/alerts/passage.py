"""A process that reaches the network through one proxy only, names included: what would go another way, fails.

Who watches a line must not see that it asks for Telegram or a newsroom's mail server; that a library forgets the proxy
must not tell them. Python reports every connection and every look-up before it happens (PEP 578): here those to anywhere
but the proxy are refused, whoever asks.
"""

import os
import smtplib
import socket
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.sync import Proxy

_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LOOKS_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_MOST_HEAD = 16_384
_STARTS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"})  # they would not be confined


def confine(proxy: str, outside: Callable[[str], None]) -> None:
    """From now on, for good. outside: is told of what was refused."""
    parts = urlsplit(proxy)
    assert parts.hostname is not None
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    places = {(parts.hostname, parts.port), *(address[:2] for *_, address in found)}
    _point_requests(proxy)
    _point_mail(proxy)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _LOOKS_UP and arguments[0] != parts.hostname and not _is_place(arguments, places):
            # A machine that looks for its own name does without, and tells the mail server none.
            if arguments[0] != socket.gethostname():
                outside(event)
            raise socket.gaierror(socket.EAI_FAIL, "not through the proxy")
        if event in _STARTS or (event in _CONNECTS and not _is_to(arguments[1], places)):
            outside(event)
            raise PermissionError("not through the proxy")

    sys.addaudithook(refuse)


def _is_to(address: Any, places: set[tuple[Any, ...]]) -> bool:
    return isinstance(address, tuple) and address[:2] in places


def _is_place(arguments: tuple[Any, ...], places: set[tuple[Any, ...]]) -> bool:
    return arguments[0] in {address for address, _ in places}


def _point_requests(proxy: str) -> None:
    """What speaks HTTP reads it from the environment. By socks5 it would look names up here, by socks5h it does not."""
    for name in list(os.environ):
        if name.upper() in (*_VARIABLES, "NO_PROXY"):
            del os.environ[name]
    scheme, _, rest = proxy.partition("://")
    for name in _VARIABLES:
        os.environ[name] = f"{'socks5h' if scheme == 'socks5' else scheme}://{rest}"


def _point_mail(proxy: str) -> None:
    """The standard library's mail knows no proxies; STARTTLS and implicit TLS go over the socket that it is given here."""
    scheme, _, rest = proxy.partition("://")
    ahead = _Tunnel() if scheme == "http" else None
    url = f"{scheme.removesuffix('h')}://{rest}"
    through = Proxy.from_url(url, rdns=True, forward=ahead) if scheme != "https" else None

    def open_socket(_: smtplib.SMTP, host: str, port: int, timeout: float) -> socket.socket:
        if through is None:
            raise OSError("not through the proxy")
        try:
            opened = through.connect(host, port, timeout=timeout)
            return _same(opened, socket.socket, timeout)
        except (ProxyConnectionError, ProxyError, ProxyTimeoutError) as exc:
            raise OSError(f"the proxy refuses: {exc}") from None

    smtplib.SMTP._get_socket = open_socket  # type: ignore[attr-defined]


class _Tunnel:
    """Opens the connection to an HTTP proxy."""

    def connect(self, dest_host: str, dest_port: int, timeout: float) -> socket.socket:
        """One of which not more is read than the proxy's own answer."""
        return _same(socket.create_connection((dest_host, dest_port), timeout), _Answer, timeout)


class _Answer(socket.socket):
    """python-socks takes all that is there for the proxy's answer, the greeting of the mail server behind it, too."""

    def recv(self, *_: Any) -> bytes:
        """All of the answer's head."""
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_HEAD and (byte := super().recv(1)):
            head += byte
        return head


def _same(opened: socket.socket, kind: type[socket.socket], timeout: float) -> socket.socket:
    other = kind(fileno=opened.detach())
    other.settimeout(timeout)
    return other
