"""What our helper answers: observations in the form of OONI's test-helper protocol."""

import re
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from monitor import failures
from monitor.addresses import is_public
from monitor.control import bounds
from monitor.control.protocol import (
    LARGEST_RESPONSE,
    VERSION,
    DnsResult,
    HttpResult,
    IpInfo,
    Request,
    Response,
    Shared,
    TcpResult,
    TlsResult,
    endpoint_text,
)
from monitor.models import Dns, Flow, Http, Observation, Observations, Purpose, Tls
from monitor.urls import Target

ASKED, RESOLVED, BOGON, VALID_TLS = 1, 2, 4, 8  # the flags of ip_info

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_H3 = re.compile(r'\bh3="([A-Za-z0-9.-]*):(\d{1,5})"')

# OONI's helper has names of its own for failures, coarser than df-007. What is not here is "unknown_error", except for
# TCP ("connect_error") and TLS, which keeps df-007.
_DNS_TO_OONI = {failures.NXDOMAIN: "dns_name_error", failures.NO_ANSWER: None, failures.TIMEOUT: failures.TIMEOUT}
_DNS_TO_OONI |= dict.fromkeys((failures.SERVFAIL, failures.DNS_REFUSED, failures.DNS_MISBEHAVING), "dns_server_failure")
_TCP_TO_OONI = {failures.REFUSED: "connection_refused_error", failures.TIMEOUT: failures.TIMEOUT}


def to_response(observations: Observations, request: Request, target: Target, *, you: str | None = None) -> Response:
    """The observations in OONI's form, and whole where the probe is one of ours. you: the probe's address as seen."""
    here = [_of_hop(kind, 0) for kind in (observations.tcp, observations.tls)]
    response = Response(
        tcp_connect={
            name: TcpResult(
                status=failure is None, failure=_TCP_TO_OONI.get(failure, "connect_error") if failure else None
            )
            for name, failure in _by_endpoint(here[0]).items()
        },
        tls_handshake={
            name: TlsResult(server_name=target.host, status=failure is None, failure=failure)
            for name, failure in _by_endpoint(here[1]).items()
        },
        quic_handshake={},
        http_request=_http_result(observations),
        dns=_dns_result(observations, target),
        ip_info=_ip_info(observations, request, target),
    )
    return _shared(response, observations, you) if request.x_almenara else response


def _of_hop(seen: Iterable[Flow], hop: int) -> list[Flow]:
    return [one for one in seen if one.hop == hop and one.purpose in (Purpose.SITE, Purpose.HTTPS_SIDE)]


def _by_endpoint(seen: Iterable[Flow]) -> dict[str, str | None]:
    """Endpoint -> its failure: none if any attempt came through, else the first one's."""
    found: dict[str, str | None] = {}
    for one in seen:
        name = endpoint_text(one.address, one.port)
        found[name] = one.failure if name not in found else (found[name] and one.failure and found[name])
    return found


def _dns_result(observations: Observations, target: Target) -> DnsResult:
    if bounds.is_address(target.host):
        return DnsResult(addrs=(target.host,))
    asked = [
        one for one in observations.dns if one.hop == 0 and one.purpose is Purpose.SITE and one.name == target.host
    ]
    addresses = tuple(dict.fromkeys(address for one in asked for address in one.answers))
    if addresses or not asked:
        return DnsResult(addrs=addresses)
    told = next((one.failure for one in asked if one.type == "A"), asked[0].failure)
    return DnsResult(failure=_DNS_TO_OONI.get(told or failures.NO_ANSWER, "unknown_error"), addrs=())


def _http_result(observations: Observations) -> HttpResult:
    layers: tuple[Sequence[Observation], ...] = (
        observations.http,
        observations.tls,
        observations.tcp,
        observations.dns,
    )
    mine = [[one for one in layer if one.purpose is Purpose.SITE] for layer in layers]
    last = max((one.hop for layer in mine for one in layer), default=0)
    reached = [one for one in mine[0] if isinstance(one, Http) and one.hop == last and one.failure is None]
    pages = [one for one in reached if not (one.status in _REDIRECTS and one.location)]
    if pages:
        return _page(pages[0])
    broken = next((one.failure for layer in mine[:3] for one in layer if one.hop == last and one.failure), None)
    if not reached and broken is None:
        return HttpResult(failure="dns_lookup_error", headers={})
    return HttpResult(failure=_TCP_TO_OONI.get(broken or "", "unknown_error"), headers={})


def _page(seen: Http) -> HttpResult:
    h3 = next(
        (found for name, value in seen.headers if name.lower() == "alt-svc" and (found := _H3.search(value))), None
    )
    host = seen.url.split("/")[2].split(":")[0] if seen.url.count("/") > 1 else ""
    return HttpResult(
        body_length=seen.body_length,
        discovered_h3_endpoint=f"{h3[1] or host}:{h3[2]}" if h3 else "",
        title=seen.title or "",
        headers={_canonical(name): value for name, value in reversed(seen.headers)},
        status_code=seen.status if seen.status is not None else -1,
    )


def _canonical(name: str) -> str:
    """A header's name as OONI's helper writes it."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _ip_info(observations: Observations, request: Request, target: Target) -> dict[str, IpInfo]:
    asked = {address for address, _ in request.endpoints()}
    resolved = set(_dns_result(observations, target).addrs or ())
    valid = {one.address for one in _of_hop(observations.tls, 0) if one.failure is None}
    return {
        address: IpInfo(
            flags=ASKED * (address in asked)
            | RESOLVED * (address in resolved)
            | BOGON * (not is_public(address))
            | VALID_TLS * (address in valid)
        )
        for address in sorted(asked | resolved)
    }


def _shared(response: Response, observations: Observations, you: str | None) -> Response:
    """With our own field, made smaller in steps until the whole fits. Pages are never sent, only their prints."""
    for leave_out in (("body",), ("body", "raw"), ("body", "raw", "der")):
        told = Shared(version=VERSION, observations=_without(observations, leave_out), you=you)
        full = msgspec.structs.replace(response, x_almenara=Raw(msgspec.json.encode(told)))
        if len(msgspec.json.encode(full)) <= LARGEST_RESPONSE:
            return full
    return response


def _without(observations: Observations, fields: Iterable[str]) -> Observations:
    def http(seen: Http) -> Http:
        return msgspec.structs.replace(seen, body=None) if "body" in fields else seen

    def dns(seen: Dns) -> Dns:
        return msgspec.structs.replace(seen, raw=None) if "raw" in fields else seen

    def tls(seen: Tls) -> Tls:
        if "der" not in fields:
            return seen
        return msgspec.structs.replace(seen, chain=tuple(msgspec.structs.replace(c, der="") for c in seen.chain))

    return Observations(
        dns=tuple(map(dns, observations.dns)),
        tcp=observations.tcp,
        tls=tuple(map(tls, observations.tls)),
        http=tuple(map(http, observations.http)),
    )
