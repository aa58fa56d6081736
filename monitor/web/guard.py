"""Who may change something here, and who may have something measured.

The dangers: pages that the user's browser has open and that send requests here (cross-site), or that give their own name
our address (DNS rebinding); and strangers, where a reverse proxy opens to the world what was meant for this machine.
"""

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
# Names that nobody can own on the internet, and so point at us from a page of his.
_HOME_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa", ".localhost")

Checks = tuple[tuple[Callable[[Request], bool], str], ...]


def changing(request: Request) -> str | None:
    """Why a request may not change anything; None where it may."""
    checks: Checks = (
        (_from_here, "only for this machine"),
        (_undisguised, "not through a proxy"),
        (_named_as_here, "not by that host name"),
        (_own_origin, "not from another site's page"),
    )
    return _first(checks, request)


def measuring(request: Request, listen: str, *, stray: bool) -> str | None:
    """Why a request may not have anything measured; None where it may.

    listen: as configured; beyond loopback others may ask. stray: a site that is not configured, for which no client is
    believed that he is no browser.
    """

    def named(request: Request) -> bool:
        host = host_of(listen)
        if host == "localhost" or is_loopback(host):
            return _named_as_here(request)
        return _named_as_known(request, host) or not (stray or _browser(request))

    checks: Checks = (
        (_undisguised, "not through a proxy"),
        (_own_origin, "not from another site's page"),
        (_says_whence, "not from a browser that does not say whose page asks"),
        (named, "not by that host name"),
    )
    return _first(checks, request)


def host_of(endpoint: str) -> str:
    """The host of HOST:PORT, lower-case and without brackets; "" where there is none."""
    try:
        return urlsplit(f"//{endpoint}").hostname or ""
    except ValueError:
        return ""


def is_loopback(text: str) -> bool:
    """An address of this machine for itself?"""
    address = _address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and (mapped or address).is_loopback


def is_home_name(host: str) -> bool:
    """A name without a meaning on the public internet?"""
    return "." not in host or host.endswith(_HOME_SUFFIXES)


def _first(checks: Checks, request: Request) -> str | None:
    return next((why for holds, why in checks if not holds(request)), None)


def _from_here(request: Request) -> bool:
    return request.client is not None and is_loopback(request.client.host)


def _undisguised(request: Request) -> bool:
    return not any(name in request.headers for name in _FORWARDED)


def _named_as_here(request: Request) -> bool:
    """A page that rebinds its own name to this machine still says its own name."""
    host = host_of(request.headers.get("host", ""))
    return host == "localhost" or is_loopback(host)


def _named_as_known(request: Request, listens: str) -> bool:
    """The same, where others may ask: by an address, or by a name that no page on the internet can have."""
    host = host_of(request.headers.get("host", ""))
    return bool(host) and (
        _address(host) is not None or is_home_name(host) or host in (listens, socket.gethostname().lower())
    )


def _own_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = origin is None or origin == f"{request.scope['scheme']}://{request.headers.get('host')}"
    return own and site in (None, "none", "same-origin")


def _browser(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith("Mozilla/") or "sec-fetch-site" in request.headers


def _says_whence(request: Request) -> bool:
    """Browsers say which site asks only of https and of this machine; a picture in a page then looks like a visit."""
    return "sec-fetch-site" in request.headers or not _browser(request)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
