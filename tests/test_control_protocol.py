"""OONI's test-helper protocol: what others recorded is understood, what we answer is of the same form.

Invariant: whatever a peer sends, the outcome is a bounded Control, or a decoding error; nothing else.
"""

import contextlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import failures
from monitor.control import bounds, protocol
from monitor.control.answer import to_response
from monitor.control.protocol import HttpResult, Request, Response, TcpResult, TlsResult, to_control
from monitor.models import (
    Certificate,
    Control,
    Dns,
    Http,
    LateAnswer,
    Observations,
    Purpose,
    Role,
    Tcp,
    Tls,
    to_json,
)
from monitor.urls import target

DATA = Path(os.environ.get("ALMENARA_TEST_DATA", "../shared"))
RECORDED = sorted((DATA / "ooni" / "measurements").glob("*.json"))
HELPER = "https://helper.example/"
needs_recordings = pytest.mark.skipif(not RECORDED, reason="no OONI recordings under ALMENARA_TEST_DATA")

URL = "https://www.example.com/"
AT = {"attempt": 1, "started": 0.0, "duration": 0.1}


def recorded(name: str) -> tuple[Request, Response]:
    keys = json.loads((DATA / "ooni" / "measurements" / f"{name}.json").read_text())["test_keys"]
    return (
        msgspec.convert(keys["x_control_request"], Request),
        msgspec.json.decode(msgspec.json.encode(keys["control"]), type=Response),
    )


def controlled(name: str) -> Control:
    request, response = recorded(name)
    return to_control(response, target(request.http_request), hop=0, helper=HELPER)


def tcp(address: str = "93.184.216.34", port: int = 443, failure: str | None = None, **more: object) -> Tcp:
    return Tcp(**(AT | {"hop": 0, "sources": ("doh",)} | more), address=address, port=port, failure=failure)


def tls(address: str = "93.184.216.34", failure: str | None = None, **more: object) -> Tls:
    more = AT | {"hop": 0, "sources": ("doh",), "server_name": "www.example.com"} | more
    return Tls(**more, address=address, port=443, failure=failure)


def http(hop: int = 0, failure: str | None = None, status: int | None = 200, **more: object) -> Http:
    more = AT | {"sources": ("doh",), "url": URL, "address": "93.184.216.34", "port": 443} | more
    return Http(**more, hop=hop, failure=failure, status=status)


def dns(answers: tuple[str, ...] = ("93.184.216.34",), failure: str | None = None, **more: object) -> Dns:
    more = AT | {"hop": 0, "name": "www.example.com", "type": "A", "resolver": "x", "rcode": "NOERROR"} | more
    return Dns(**more, role=Role.DOH, transport="doh", answers=answers, failure=failure)


def answer_to(seen: Observations, url: str = URL, **more: object) -> Response:
    return to_response(seen, Request(http_request=url, **more), target(url))


# --- what OONI's helpers say ---


@needs_recordings
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_answer_survives_the_way_through_our_observations(path: Path) -> None:
    if json.loads(path.read_text())["test_keys"]["control"] is None:
        pytest.skip("no control was recorded")
    request, response = recorded(path.stem)
    control = controlled(path.stem)
    again = to_response(control, request, target(request.http_request))
    assert again.tcp_connect == response.tcp_connect
    assert again.tls_handshake == (response.tls_handshake or {})
    assert (again.dns.failure, again.dns.addrs) == (response.dns.failure, response.dns.addrs)
    assert again.http_request.status_code == response.http_request.status_code
    assert again.http_request.body_length == response.http_request.body_length
    assert again.http_request.title == response.http_request.title
    if response.http_request.failure is None:
        assert again.http_request.headers == response.http_request.headers
    assert {a: i.flags for a, i in again.ip_info.items()} == {a: i.flags for a, i in (response.ip_info or {}).items()}


@needs_recordings
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_request_is_understood(path: Path) -> None:
    asked = json.loads(path.read_text())["test_keys"]["x_control_request"]
    request = msgspec.json.decode(json.dumps(asked).encode(), type=Request)
    assert [protocol.endpoint_text(*pair) for pair in request.endpoints()] == (asked["tcp_connect"] or [])
    assert [name for name, _ in request.headers()] == ["Accept", "Accept-Language", "User-Agent"]


@needs_recordings
def test_a_good_page_is_verified_and_stands_at_the_hop_asked_for() -> None:
    request, response = recorded("successWithHTTPS")
    control = to_control(response, target(request.http_request), hop=2, helper=HELPER)
    assert control.failure is None
    (page,), (shaken,), (connected,), (answer,) = control.http, control.tls, control.tcp, control.dns
    assert (page.hop, page.url, page.status, page.body_length, page.title) == (2, URL, 200, 1533, "Default Web Page")
    assert page.verified
    assert page.complete
    assert (shaken.hop, shaken.server_name, shaken.failure) == (2, "www.example.com", None)
    assert (connected.address, connected.port, connected.failure) == ("93.184.216.34", 443, None)
    assert (answer.answers, answer.resolver, answer.role) == (("93.184.216.34",), HELPER, Role.DOH)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "dns_failure", "tcp_failures", "tls_failures", "pages"),
    [
        ("badSSLWithExpiredCertificate", None, [None], [failures.INVALID_CERTIFICATE], 0),
        ("ghostDNSBlockingWithHTTPS", failures.NXDOMAIN, [failures.REFUSED], [], 0),
        ("websiteDownNoAddrs", failures.NO_ANSWER, [], [], 0),
        ("localhostWithHTTP", None, [], [], 0),
        ("redirectWithMoreThanTenRedirectsAndHTTPS", None, [None], [None], 1),
    ],
)
def test_steps_that_were_not_reached_have_no_observation(
    name: str, dns_failure: str, tcp_failures: list[str], tls_failures: list[str], pages: int
) -> None:
    control = controlled(name)
    assert [seen.failure for seen in control.dns] == [dns_failure]
    assert [seen.failure for seen in control.tcp] == tcp_failures
    assert [seen.failure for seen in control.tls] == tls_failures
    assert len(control.http) == pages


@needs_recordings
def test_a_page_that_fills_the_helpers_buffer_is_truncated() -> None:
    (page,) = controlled("largeFileWithHTTP").http
    assert page.truncated
    assert not page.complete


def test_a_helper_older_than_the_tls_field_still_proves_its_page() -> None:
    response = Response(
        tcp_connect={"93.184.216.34:443": TcpResult(status=True)},
        http_request=HttpResult(status_code=200, body_length=10),
    )
    assert to_control(response, target(URL), hop=0, helper=HELPER).http[0].status == 200


def test_a_failure_without_a_name_is_still_a_failure() -> None:
    response = Response(tls_handshake={"93.184.216.34:443": TlsResult(status=False)})
    (shaken,) = to_control(response, target(URL), hop=0, helper=HELPER).tls
    assert shaken.failure == "unknown_failure: not_told"


# --- what our helper says ---


def test_the_final_page_is_reported() -> None:
    seen = Observations(
        dns=(dns(),),
        tcp=(tcp(), tcp(hop=1)),
        tls=(tls(), tls(hop=1)),
        http=(
            http(status=302, location="https://www.example.com/es"),
            http(hop=1, title="Noticias", body_length=5, headers=(("Alt-Svc", 'h3=":443"; ma=60'),)),
        ),
    )
    page = answer_to(seen).http_request
    assert (page.status_code, page.title, page.body_length, page.failure) == (200, "Noticias", 5, None)
    assert page.discovered_h3_endpoint == "www.example.com:443"


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        (Observations(), "dns_lookup_error"),
        (Observations(dns=(dns((), failures.NXDOMAIN),)), "dns_lookup_error"),
        (Observations(dns=(dns(),), tcp=(tcp(failure=failures.REFUSED),)), "connection_refused_error"),
        (Observations(dns=(dns(),), tcp=(tcp(failure=failures.TIMEOUT),)), failures.TIMEOUT),
        (Observations(tcp=(tcp(),), tls=(tls(failure=failures.RESET),)), "unknown_error"),
        (Observations(tcp=(tcp(),), tls=(tls(),), http=(http(failure=failures.EOF, status=None),)), "unknown_error"),
        # A redirect that was not followed: too many of them, or to where the helper does not go.
        (Observations(http=(http(status=301, location="http://10.0.0.1/"),)), "unknown_error"),
        (
            Observations(http=(http(status=301, location="https://gone.example/"),), dns=(dns((), "x", hop=1),)),
            "dns_lookup_error",
        ),
    ],
)
def test_a_page_that_did_not_come_says_why(seen: Observations, failure: str) -> None:
    page = answer_to(seen).http_request
    assert (page.failure, page.status_code, page.body_length) == (failure, -1, -1)


def test_one_attempt_that_came_through_is_enough() -> None:
    seen = Observations(
        tcp=(tcp(failure=failures.TIMEOUT), tcp(attempt=2), tcp("93.184.216.35", failure=failures.REFUSED)),
        tls=(tls(attempt=2, failure=failures.RESET),),
    )
    response = answer_to(seen)
    assert response.tcp_connect["93.184.216.34:443"] == TcpResult(status=True)
    assert response.tcp_connect["93.184.216.35:443"] == TcpResult(status=False, failure="connection_refused_error")
    assert response.tls_handshake["93.184.216.34:443"].failure == failures.RESET


def test_counterfactuals_are_not_reported_as_the_site() -> None:
    seen = Observations(tcp=(tcp(purpose=Purpose.NAME_ELSEWHERE),), http=(http(purpose=Purpose.INNOCENT_NAME),))
    response = answer_to(seen)
    assert response.tcp_connect == {}
    assert response.http_request.status_code == -1


def test_the_form_is_oonis() -> None:
    said = json.loads(to_json(answer_to(Observations(dns=(dns(),), tcp=(tcp(),), tls=(tls(),), http=(http(),)))))
    assert set(said) == {
        "tcp_connect",
        "tls_handshake",
        "quic_handshake",
        "http_request",
        "http3_request",
        "dns",
        "ip_info",
    }
    assert said["http3_request"] is None
    assert said["ip_info"] == {"93.184.216.34": {"asn": 0, "flags": 2 | 8}}


def test_our_own_field_is_for_our_own_probes_and_comes_back_whole() -> None:
    seen = Observations(dns=(dns(raw="AAAA"),), tcp=(tcp(attempt=2),), tls=(tls(),), http=(http(hop=3, simhash="f0"),))
    assert answer_to(seen).x_almenara is msgspec.UNSET
    response = msgspec.json.decode(to_json(answer_to(seen, x_almenara=1)), type=Response)
    control = to_control(response, target(URL), hop=0, helper=HELPER)
    assert (control.dns, control.tcp, control.tls, control.http) == (seen.dns, seen.tcp, seen.tls, seen.http)
    assert to_control(response, target(URL), hop=2, helper=HELPER).http[0].hop == 5


def test_a_version_we_cannot_read_falls_back_to_oonis_fields() -> None:
    response = Response(
        tcp_connect={"93.184.216.34:443": TcpResult(status=True)},
        x_almenara=msgspec.Raw(b'{"version": 9, "facts": []}'),
    )
    assert len(to_control(response, target(URL), hop=0, helper=HELPER).tcp) == 1


def test_pages_are_not_sent() -> None:
    response = answer_to(Observations(http=(http(body="x" * 1000),)), x_almenara=1)
    assert to_control(response, target(URL), hop=0, helper=HELPER).http[0].body is None


def test_an_answer_is_never_larger_than_a_probe_reads() -> None:
    leaf = Certificate(
        sha256="0" * 64, subject="s", issuer="i", names=(), not_before=None, not_after=None, der="A" * 12_000
    )
    seen = Observations(tls=tuple(tls(chain=(leaf,), attempt=n % 5 + 1) for n in range(400)))
    response = answer_to(seen, x_almenara=1)
    assert len(to_json(response)) < protocol.LARGEST_RESPONSE
    assert len(to_control(response, target(URL), hop=0, helper=HELPER).tls) == 400


# --- hostile text ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("93.184.216.34:443", ("93.184.216.34", 443)),
        ("[2606:2800::1]:80", ("2606:2800::1", 80)),
        ("2606:2800::1:80", ("2606:2800::1", 80)),
        ("93.184.216.34", None),
        ("93.184.216.34:0", None),
        ("93.184.216.34:65536", None),
        ("93.184.216.34:٤٤٣", None),
        ("93.184.216.34:+44", None),
        ("www.example.com:443", None),
        ("[fe80::1%eth0]:443", None),
        (":443", None),
        ("", None),
    ],
)
def test_endpoints(text: str, expected: tuple[str, int] | None) -> None:
    assert protocol.endpoint(text) == expected


def test_only_so_many_endpoints_are_taken() -> None:
    request = Request(http_request=URL, tcp_connect=tuple(f"93.184.216.{n}:443" for n in range(200)))
    assert len(request.endpoints()) == protocol.MOST_ENDPOINTS


def test_headers_that_do_not_pass() -> None:
    request = Request(
        http_request=URL,
        http_request_headers={
            "accept": ("a",),
            "Cookie": ("c",),
            "User-Agent": ("x\r\nHost: y",),
            "Accept-Language": (),
        },
    )
    assert request.headers() == (("Accept", "a"),)


ANY = st.text(max_size=40) | st.sampled_from(["93.184.216.34", "::1", "fe80::1%x", "dns_name_error", "\x1b[2J", "A"])
NUMBER = st.integers() | st.integers(0, 70_000)
WIDE = {
    "hop": NUMBER | st.just(0),
    "attempt": NUMBER | st.just(1),
    "started": st.floats(allow_nan=False, allow_infinity=False),
    "duration": st.floats(allow_nan=False, allow_infinity=False) | st.just(0.1),
    "failure": st.none() | ANY,
    "purpose": st.sampled_from(Purpose),
}
FLOW = WIDE | {"address": ANY, "port": NUMBER | st.just(443), "sources": st.lists(ANY, max_size=3).map(tuple)}
LATE = st.builds(
    LateAnswer, delay=st.floats(-1, 1), rcode=st.none() | ANY, answers=st.lists(ANY, max_size=3).map(tuple)
)
DNS = st.builds(
    Dns,
    **WIDE,
    name=ANY,
    type=ANY | st.just("AAAA"),
    resolver=ANY,
    role=st.sampled_from(Role),
    transport=ANY,
    rcode=st.none() | ANY,
    answers=st.lists(ANY, max_size=100).map(tuple),
    late=st.lists(LATE, max_size=3).map(tuple),
    raw=st.none() | ANY | st.just("A" * 20_000),
)
TCP, TLS = st.builds(Tcp, **FLOW), st.builds(Tls, **FLOW, server_name=ANY, version=st.none() | ANY)
HTTP = st.builds(
    Http,
    **FLOW,
    url=ANY,
    status=st.none() | NUMBER,
    headers=st.lists(st.tuples(ANY, ANY), max_size=80).map(tuple),
    title=st.none() | ANY | st.just("t" * 5000),
    body_length=NUMBER,
)


def many(one: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(one, max_size=4).map(tuple)


@settings(max_examples=150)
@given(st.builds(Observations, dns=many(DNS), tcp=many(TCP), tls=many(TLS), http=many(HTTP)))
def test_a_lying_helper_is_bounded(seen: Observations) -> None:
    told = msgspec.json.encode(protocol.Shared(version=1, observations=seen, you="\x00"))
    response = msgspec.json.decode(b'{"x_almenara":' + told + b"}", type=Response)
    control = to_control(response, target(URL), hop=0, helper=HELPER)
    for one in (*control.dns, *control.tcp, *control.tls, *control.http):
        assert 0 <= one.hop < bounds.MOST_HOPS
        assert 1 <= one.attempt <= bounds.MOST_ATTEMPTS
        assert "\x1b" not in str(one.failure)
    for flow in (*control.tcp, *control.tls, *control.http):
        assert bounds.is_address(flow.address)
        assert 0 < flow.port < 65536
    for answer in control.dns:
        assert all(map(bounds.is_address, answer.answers))
        assert len(answer.answers) <= bounds.MOST_ITEMS
        assert len(answer.raw or "") <= bounds.LONGEST_BINARY
    for page in control.http:
        assert len(page.title or "") <= bounds.LONGEST_TEXT
    assert msgspec.json.decode(to_json(control), type=Control) == control


RESULT = st.fixed_dictionaries(
    {}, optional={"status": st.none() | st.booleans(), "failure": st.none() | ANY, "server_name": st.none() | ANY}
)
ENDPOINT = ANY | st.sampled_from(["93.184.216.34:443", "[2606:2800::1]:443", "10.0.0.1:80"])
JSON = st.recursive(st.none() | st.booleans() | st.integers() | ANY, lambda c: st.lists(c) | st.dictionaries(ANY, c))
SAID = st.fixed_dictionaries(
    {},
    optional={
        "tcp_connect": st.none() | st.dictionaries(ENDPOINT, RESULT),
        "tls_handshake": st.none() | st.dictionaries(ENDPOINT, RESULT),
        "http_request": st.fixed_dictionaries(
            {},
            optional={
                "body_length": st.none() | st.integers(),
                "failure": st.none() | ANY,
                "title": st.none() | ANY,
                "headers": st.none() | st.dictionaries(ANY, ANY),
                "status_code": st.none() | st.integers(),
            },
        ),
        "dns": st.fixed_dictionaries({}, optional={"failure": st.none() | ANY, "addrs": st.none() | st.lists(ANY)}),
        "x_almenara": JSON,
    },
)


@settings(max_examples=150)
@given(SAID, st.sampled_from([URL, "http://www.example.com/", "https://[2606:2800::1]/"]))
def test_a_helper_that_talks_nonsense_makes_a_bounded_control(said: dict, url: str) -> None:
    response = msgspec.json.decode(json.dumps(said).encode("utf-8", "surrogatepass"), type=Response)
    control = to_control(response, target(url), hop=1, helper=HELPER)
    assert all(map(bounds.is_address, (flow.address for flow in (*control.tcp, *control.tls, *control.http))))
    assert msgspec.json.decode(to_json(control), type=Control) == control


@settings(max_examples=200)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_response_or_a_decoding_error(data: bytes) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        msgspec.json.decode(data, type=Response)
