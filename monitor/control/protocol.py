"""OONI's test-helper protocol, both ways, and what Almenara adds to it.

A helper of ours answers OONI's probes in OONI's form (`answer`); a probe of ours understands OONI's helpers. Between our own,
`x_almenara` asks for every observation of every hop and carries them, `x_attempts` asks for more than one attempt. A
peer that does not know these names ignores them.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from monitor import failures
from monitor.control import bounds
from monitor.models import Control, Dns, Http, Observation, Observations, Role, Tcp, Tls
from monitor.urls import Target

VERSION = 1
MOST_ENDPOINTS = 32
MOST_ATTEMPTS = 5
LARGEST_REQUEST = 64 * 1024
LARGEST_RESPONSE = 2 * 1024 * 1024
PASSED_HEADERS = ("Accept", "Accept-Language", "User-Agent")


_OONI_BODY_CAP = 1 << 24  # where OONI's helper stops reading a page
# OONI's helper tells neither when nor how long, and counts no attempts.
_AT_ONCE: dict[str, Any] = {"hop": 0, "attempt": 1, "started": 0.0, "duration": 0.0}

# OONI's helper has names of its own for failures; they are coarser than df-007.
_FROM_OONI = {
    "dns_name_error": failures.NXDOMAIN,
    "dns_server_failure": failures.SERVFAIL,
    "connection_refused_error": failures.REFUSED,
    "connect_error": "unknown_failure: connect_error",
    "unknown_error": "unknown_failure: unknown_error",
    "http_request_failed": "unknown_failure: http_request_failed",
    "dns_lookup_error": "unknown_failure: dns_lookup_error",
}
_RCODES = {None: "NOERROR", failures.NXDOMAIN: "NXDOMAIN", failures.SERVFAIL: "SERVFAIL"}

Seen = TypeVar("Seen", bound=Observation)
Result = TypeVar("Result", "TcpResult", "TlsResult")
Word = Annotated[str, Meta(max_length=1024)]


class Request(Struct, frozen=True, kw_only=True):
    """What a probe asks. tcp_connect: "address:port", for the URL's host. x_almenara: the version of our own fields the
    probe understands; x_attempts: attempts at every address."""

    http_request: Annotated[str, Meta(max_length=4096)]
    http_request_headers: dict[Word, tuple[Word, ...]] | None = None
    tcp_connect: tuple[Word, ...] | None = None
    x_quic_enabled: bool = False
    x_almenara: int = 0
    x_attempts: Annotated[int, Meta(ge=1, le=MOST_ATTEMPTS)] = 1

    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """The first addresses and ports asked for; what is none is left out."""
        found = dict.fromkeys(filter(None, map(endpoint, self.tcp_connect or ())))
        return tuple(found)[:MOST_ENDPOINTS]

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The three headers that pass, those of them that were given."""
        given = {name.lower(): values[0] for name, values in (self.http_request_headers or {}).items() if values}
        return tuple(
            (name, value) for name in PASSED_HEADERS if (value := given.get(name.lower())) and _is_header(value)
        )


class TcpResult(Struct, frozen=True, kw_only=True):
    """Whether one address answered on one port."""

    status: bool | None = None
    failure: str | None = None


class TlsResult(Struct, frozen=True, kw_only=True):
    """Whether one address holds a valid certificate for the name."""

    server_name: str | None = None
    status: bool | None = None
    failure: str | None = None


class HttpResult(Struct, frozen=True, kw_only=True):
    """The page at the end of the redirects; -1 where there is none."""

    body_length: int | None = -1
    discovered_h3_endpoint: str | None = ""
    failure: str | None = None
    title: str | None = ""
    headers: dict[str, str] | None = None
    status_code: int | None = -1


class DnsResult(Struct, frozen=True, kw_only=True):
    """The addresses of the URL's host."""

    failure: str | None = None
    addrs: tuple[str, ...] | None = None


class IpInfo(Struct, frozen=True, kw_only=True):
    """What the helper knows of an address. asn: 0 where it does not know."""

    asn: int | None = 0
    flags: int | None = 0


class Response(Struct, frozen=True, kw_only=True):
    """What a helper answers. x_almenara: a `Shared`, where both sides know it."""

    tcp_connect: dict[str, TcpResult] | None = None
    tls_handshake: dict[str, TlsResult] | None = None
    quic_handshake: dict[str, TlsResult] | None = None
    http_request: HttpResult | None = None
    http3_request: HttpResult | None = None
    dns: DnsResult | None = None
    ip_info: dict[str, IpInfo] | None = None
    x_almenara: Raw | UnsetType = UNSET


class Shared(Struct, frozen=True, kw_only=True):
    """What only our own helpers and probes tell each other. you: the probe's address, so that it can scrub it."""

    version: int
    observations: Observations
    you: str | None = None


def _is_header(value: str) -> bool:
    return value.isascii() and value.isprintable()


def endpoint(text: str) -> tuple[str, int] | None:
    """An "address:port" or "[address]:port" as a pair; None where it is neither."""
    address, colon, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not colon or not bounds.is_address(address) or not re.fullmatch(r"[0-9]{1,5}", port):
        return None
    return (address, int(port)) if 0 < int(port) < 65536 else None


def endpoint_text(address: str, port: int) -> str:
    """An address and a port as the protocol writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def to_control(
    response: Response,
    target: Target,
    *,
    hop: int,
    helper: str,
    started: datetime | None = None,
    runtime: float | None = None,
    address: str | None = None,
) -> Control:
    """A helper's answer about the URL that the vantage met at `hop`, validated and bounded.

    OONI's helpers report one page, the one where the redirects of the URL end: its `Http` stands at `hop` under the
    URL that was asked, and it is the only one. Of the steps that were never reached there is no observation.
    """
    told = shared(response)
    seen = at_hop(told.observations if told else bounds.bounded(_converted(response, target, helper)), hop)
    return Control(
        kind="helper",
        id=helper,
        failure=None,
        started=started,
        runtime=runtime,
        address=address,
        hops=seen.hops,
        dns=seen.dns,
        tcp=seen.tcp,
        tls=seen.tls,
        http=seen.http,
    )


def shared(response: Response) -> Shared | None:
    """What a helper of ours adds, bounded; None where it is not ours, or speaks a version that we cannot read."""
    if isinstance(response.x_almenara, UnsetType):
        return None
    try:
        told = msgspec.json.decode(response.x_almenara, type=Shared)
    except (ValueError, RecursionError):
        return None
    you = told.you if told.you and bounds.is_address(told.you) else None
    return Shared(version=told.version, observations=bounds.bounded(told.observations), you=you)


def at_hop(seen: Observations, hop: int) -> Observations:
    """Observations of a URL that the vantage met at `hop`."""
    return Observations(
        hops=seen.hops,
        dns=_shifted(seen.dns, hop),
        tcp=_shifted(seen.tcp, hop),
        tls=_shifted(seen.tls, hop),
        http=_shifted(seen.http, hop),
    )


def _shifted(seen: tuple[Seen, ...], hop: int) -> tuple[Seen, ...]:
    return tuple(msgspec.structs.replace(one, hop=one.hop + hop) for one in seen) if hop else seen


def _converted(response: Response, target: Target, helper: str) -> Observations:
    """OONI's fields as observations, before they are bounded."""
    by_dns = set(response.dns.addrs or ()) if response.dns else set()
    tcp = [_tcp(pair, result) for pair, result in _endpoints(response.tcp_connect)]
    tls = [_tls(pair, result, target) for pair, result in _endpoints(response.tls_handshake)]
    # Addresses the helper found itself first: one of them served its page.
    below = sorted(
        (one for one in (tls or tcp if target.scheme == "https" else tcp) if one.port == target.port),
        key=lambda one: one.address not in by_dns,
    )
    reached = next((one for one in below if one.failure is None), None)
    page = _http(response.http_request, target, reached) if response.http_request and reached else None
    return Observations(
        dns=_dns(response.dns, target, helper), tcp=tuple(tcp), tls=tuple(tls), http=(page,) if page else ()
    )


def _endpoints(results: Mapping[str, Result] | None) -> list[tuple[tuple[str, int], Result]]:
    found = ((endpoint(text), result) for text, result in (results or {}).items())
    return [(pair, result) for pair, result in found if pair is not None]


def _tcp(pair: tuple[str, int], result: TcpResult) -> Tcp:
    return Tcp(**_AT_ONCE, address=pair[0], port=pair[1], sources=("control",), failure=_failed(result))


def _tls(pair: tuple[str, int], result: TlsResult, target: Target) -> Tls:
    name = result.server_name or target.host
    return Tls(
        **_AT_ONCE, address=pair[0], port=pair[1], sources=("control",), failure=_failed(result), server_name=name
    )


def _failed(result: TcpResult | TlsResult) -> str | None:
    told = _from_ooni(result.failure)
    return told if told or result.status else "unknown_failure: not_told"


def _from_ooni(failure: str | None) -> str | None:
    return _FROM_OONI.get(failure, failure) if failure else None


def _dns(result: DnsResult | None, target: Target, helper: str) -> tuple[Dns, ...]:
    if result is None or bounds.is_address(target.host):
        return ()
    addresses = [address for address in result.addrs or () if bounds.is_address(address)]
    failure = _from_ooni(result.failure)

    def answer(type: str, answers: tuple[str, ...]) -> Dns:
        told = failure or (None if answers else failures.NO_ANSWER)
        return Dns(
            **_AT_ONCE,
            failure=None if answers else told,
            name=target.host,
            type=type,
            resolver=helper,
            role=Role.DOH,
            transport="doh",
            rcode=_RCODES.get(None if answers else failure),
            answers=answers,
        )

    six = tuple(address for address in addresses if ":" in address)
    four = tuple(address for address in addresses if ":" not in address)
    found = (answer("A", four) if four or not six else None, answer("AAAA", six) if six else None)
    return tuple(one for one in found if one)


def _http(result: HttpResult, target: Target, reached: Tcp | Tls) -> Http:
    length = max(result.body_length or 0, 0)
    failure = _from_ooni(result.failure)
    headers = tuple((result.headers or {}).items())
    # Content-Length may be that of the compressed page; body_length is what was read.
    truncated = length >= _OONI_BODY_CAP
    return Http(
        **_AT_ONCE,
        address=reached.address,
        port=reached.port,
        sources=("control",),
        failure=failure,
        url=target.url,
        verified=target.scheme == "https" and failure is None,
        status=result.status_code if result.status_code and result.status_code > 0 else None,
        headers=headers,
        title=result.title or None,
        body_length=length,
        truncated=truncated,
        complete=failure is None and not truncated,
    )
