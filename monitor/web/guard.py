"""Who may change something here, who may have something measured, and who may read what is not for everyone.

The dangers: pages that the user's browser has open and that send requests here (cross-site), or that give their own name
our address (DNS rebinding); and strangers, where a reverse proxy opens to the world what was meant for this machine.
"""

import hmac
import ipaddress
import re
import socket
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.requests import Request

from monitor.config import WebConfig

_FORWARDED = (
    "forwarded", "x-real-ip", "via", "cdn-loop", "cf-connecting-ip", "cf-ray", "true-client-ip", "x-client-ip", "client-ip",
    "x-cluster-client-ip", "x-envoy-external-address", "fly-client-ip", "fastly-client-ip",
)  # fmt: skip
# Names that nobody can own on the internet, and so point at us from a page of his.
_HOME_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa", ".localhost")

# RFC 9110, 7.2: an address in brackets or a name, and perhaps a port; nothing else, whatever libraries make of it.
_ENDPOINT = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]{2,45}(?:%[\w.-]{1,40})?)\]|(?P<name>[\w.-]{1,254}))(?::(?P<port>\d{0,5}))?",
    re.ASCII | re.IGNORECASE,
)
_USUAL_PORTS = ("", "80", "443")

Checks = tuple[tuple[Callable[[Request], bool], str], ...]


def changing(request: Request, web: WebConfig) -> str | None:
    """Why a request may not change anything; None where it may: it has the token, or nobody else can come here at all."""
    if "authorization" in request.headers:
        return None if _has_token(request, web) else "not with that token"
    checks: Checks = (
        # Where it is public there is a proxy, and perhaps one that does not say so.
        (lambda _: _listens_here(web) and web.public is None, "only with the token (web.token)"),
        (_from_here, "only for this machine"),
        (_undisguised, "not through a proxy"),
        (_named_as_here, "not by that host name"),
        (_own_page, "not from another site's page"),
    )
    return _first(checks, request)


def watching(request: Request, web: WebConfig) -> str | None:
    """Why a request may not read how the service does; None where it may. What is public is not this."""
    checks: Checks = (
        (_own_origin, "not for another site's page"),
        (lambda request: _named_as_known(request, _names(web)), "not by that host name: see web: hosts"),
        # What a proxy passes on by the name of this machine, the whole internet may have asked for.
        (
            lambda request: _undisguised(request) or _asked_of(request) in web.hosts,
            "not through a proxy",
        ),
    )
    return _first(checks, request)


def measuring(request: Request, web: WebConfig, *, stray: bool) -> str | None:
    """Why a request may not have anything measured; None where it may.

    web: beyond loopback others may ask. stray: a site that is not configured, for which no client is believed that he is
    no browser.
    """

    def named(request: Request) -> bool:
        host = host_of(web.listen)
        if host == "localhost" or is_loopback(host):
            return _named_as_here(request)
        return _named_as_known(request, _names(web)) or not (stray or _browser(request))

    checks: Checks = (
        (_undisguised, "not through a proxy"),
        (_own_page, "not from another site's page"),
        (_says_whence, "not from a browser that does not say whose page asks"),
        (named, "not by that host name"),
    )
    return _first(checks, request)


def reading(request: Request, web: WebConfig) -> str | None:
    """Why a request may not read pages and data; None where it may.

    What a volunteer measures is nobody else's business: a page of another site that his browser has open must not learn
    it, neither by our address under a name of its own nor by asking in his name. What is public everyone may read.
    """
    if is_public(request, web):
        return None
    checks: Checks = ((_named_for(web), "not by that host name"), (_visits, "not from another site's page"))
    return _first(checks, request)


def is_public(request: Request, web: WebConfig) -> bool:
    """Is it asked for by the name under which everyone may read?"""
    if web.public is None:
        return False
    public, asked = urlsplit(web.public).netloc, _told_host(request)
    return host_of(asked) == host_of(public) and _port_of(asked) == _port_of(public)


def is_strangers(request: Request, web: WebConfig) -> bool:
    """Is it to be told no more than everyone may know?

    Whatever a proxy passes on; and where the service is public everything but what is asked for by one of its own names
    (web.hosts): a proxy that says nothing of itself, nor by which name it was asked, looks like this machine's user.
    """
    if is_public(request, web) or not _undisguised(request):
        return True
    return web.public is not None and _asked_of(request) not in web.hosts


def _has_token(request: Request, web: WebConfig) -> bool:
    scheme, _, told = request.headers["authorization"].partition(" ")
    if web.token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(told.strip().encode(), web.token.encode())


def _listens_here(web: WebConfig) -> bool:
    """Only for this machine?"""
    host = host_of(web.listen)
    return host == "localhost" or is_loopback(host)


def _named_for(web: WebConfig) -> Callable[[Request], bool]:
    if _listens_here(web):
        return lambda request: _named_as_here(request) or _asked_of(request) in web.hosts
    return lambda request: _named_as_known(request, _names(web))


def _visits(request: Request) -> bool:
    """Somebody follows a link to here, or a page of ours asks; no page of another site's in the background."""
    site = request.headers.get("sec-fetch-site", "none")
    return site in ("none", "same-origin") or request.headers.get("sec-fetch-mode") == "navigate"


def host_of(endpoint: str) -> str:
    """The host of HOST:PORT, lower-case and without brackets; "" where there is none, or more than that.

    A name with a dot at its end is the same name; but one without any other would be a top-level domain, which somebody
    owns, and not this network's machine of that name.
    """
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None:
        return ""
    host = (found["v6"] or found["name"]).lower()
    rooted = host.removesuffix(".")
    return rooted if "." in rooted or rooted == "localhost" else host


def _port_of(endpoint: str) -> str:
    """The port of HOST:PORT; "" where it is one that nobody writes."""
    found = _ENDPOINT.fullmatch(endpoint)
    port = (found["port"] or "") if found else ""
    return "" if port in _USUAL_PORTS else port


def _told_host(request: Request) -> str:
    """What a request says whom it asks; "" where it does not say, or says it twice."""
    told = request.headers.getlist("host")
    return told[0] if len(told) == 1 else ""


def _asked_of(request: Request) -> str:
    return host_of(_told_host(request))


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
    """Does nothing tell of a proxy? Some say nothing but ask in HTTP/1.0, which no browser does."""
    passed_on = any(name in _FORWARDED or name.startswith("x-forwarded-") for name in request.headers)
    return not passed_on and request.scope.get("http_version") != "1.0"


def _named_as_here(request: Request) -> bool:
    """A page that rebinds its own name to this machine still says its own name."""
    host = _asked_of(request)
    return host == "localhost" or is_loopback(host)


def _named_as_known(request: Request, names: Collection[str]) -> bool:
    """The same, where others may ask: by an address, or by a name that no page on the internet can have."""
    host = _asked_of(request)
    return bool(host) and (_address(host) is not None or is_home_name(host) or host in names)


def _names(web: WebConfig) -> set[str]:
    """Those that are the machine's own, as configured and by itself."""
    return {host_of(web.listen), socket.gethostname().lower(), *web.hosts}


def _own_page(request: Request) -> bool:
    return _own_origin(request) and request.headers.get("sec-fetch-site") in (None, "none", "same-origin")


def _own_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.scope['scheme']}://{request.headers.get('host')}"


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
