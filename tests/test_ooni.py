"""What must always hold: any JSON value is read as a Measurement that can be stored, or refused with one OoniError."""

import base64
import copy
import json
import os
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.models import Measurement, Purpose, Role, to_json
from monitor.ooni import OoniError, from_ooni

RECORDINGS = Path(os.environ.get("ALMENARA_TEST_DATA", "../shared")) / "ooni" / "measurements"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no OONI recordings in {RECORDINGS}")

PAGE = "<html><head><title>La Patilla</title></head><body>noticias</body></html>"


def recorded(name: str) -> Measurement:
    return from_ooni(json.loads((RECORDINGS / f"{name}.json").read_text()))


def measurement(**keys: Any) -> dict[str, Any]:
    """A small measurement by the classic experiment; keys: of test_keys."""
    return {
        "test_name": "web_connectivity",
        "input": "http://Example.com/",
        "measurement_start_time": "2018-01-15 13:05:00",
        "test_runtime": 1.5,
        "probe_asn": "AS8048",
        "probe_cc": "VE",
        "probe_network_name": "CANTV",
        "software_name": "ooniprobe",
        "software_version": "3.9.0",
        "test_helpers": {"backend": {"address": "https://helper.example/", "type": "https"}},
        "test_keys": keys,
    }


def query(engine: str = "getaddrinfo", kind: str = "ANY", **more: Any) -> dict[str, Any]:
    answers = [{"answer_type": "A", "ipv4": "198.51.100.7"}, {"answer_type": "AAAA", "ipv6": "2001:db8::7"}]
    return {"engine": engine, "query_type": kind, "hostname": "example.com", "answers": answers, "failure": None} | more


def answered(url: str, code: int, address: str | None = "198.51.100.7:80", **more: Any) -> dict[str, Any]:
    response = {"code": code, "body": PAGE, "headers": {"Content-Type": "text/html"}} | more.pop("response", {})
    return {"request": {"url": url, "method": "GET"}, "response": response, "address": address, "failure": None} | more


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.com")])
    now = datetime(2018, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=90))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


# --- by hand -------------------------------------------------------------------------------------------------------


def test_who_when_and_where() -> None:
    read = from_ooni(measurement())
    assert (read.site, read.url, read.started) == (
        "example.com",
        "http://example.com/",
        datetime(2018, 1, 15, 13, 5, tzinfo=UTC),
    )
    assert (read.network.asn, read.network.isp, read.network.country) == (8048, "CANTV", "VE")
    assert read.verdict is None
    assert read.conditions.online4 is None
    assert read.controls == ()


def test_unknown_networks_are_not_numbered_zero() -> None:
    read = from_ooni(measurement() | {"probe_asn": "AS0", "probe_cc": "ZZ"})
    assert (read.network.asn, read.network.country) == (None, None)


def test_the_same_content_has_the_same_id_and_other_content_another() -> None:
    one, again = measurement(queries=[query()]), dict(reversed(measurement(queries=[query()]).items()))
    assert from_ooni(one).id == from_ooni(again).id != from_ooni(measurement()).id
    assert from_ooni(measurement() | {"measurement_uid": "20180115-x"}).id == "20180115-x"


def test_any_is_split_into_what_it_answered() -> None:
    four, six = from_ooni(measurement(queries=[query()])).dns
    assert (four.type, four.answers, four.role, four.resolver) == ("A", ("198.51.100.7",), Role.ISP, "system")
    assert (six.type, six.answers) == ("AAAA", ("2001:db8::7",))


def test_any_that_failed_failed_for_both() -> None:
    failed = query(answers=None, failure="dns_nxdomain_error")
    assert [(d.type, d.rcode) for d in from_ooni(measurement(queries=[failed])).dns] == [
        ("A", "NXDOMAIN"),
        ("AAAA", "NXDOMAIN"),
    ]


@pytest.mark.parametrize(
    ("engine", "address", "resolver", "role", "transport"),
    [
        ("udp", "8.8.8.8:53", "8.8.8.8", Role.PUBLIC, "udp"),
        ("udp", "200.44.32.12:53", "200.44.32.12", Role.ISP, "udp"),
        ("tcp", "[2001:4860:4860::8888]:5353", "[2001:4860:4860::8888]:5353", Role.PUBLIC, "tcp"),
        ("doh", "https://dns.google/dns-query", "https://dns.google/dns-query", Role.DOH, "doh"),
        ("dot", "9.9.9.9:853", "9.9.9.9:853", Role.DOH, "dot"),
        ("golang_net_resolver", "", "system", Role.ISP, "udp"),
        ("system", None, "system", Role.ISP, "udp"),
    ],
)
def test_whose_resolver(engine: str, address: str | None, resolver: str, role: Role, transport: str) -> None:
    raw = measurement(queries=[query(engine, "A", resolver_address=address)]) | {"resolver_ip": "200.44.32.12"}
    (asked,) = from_ooni(raw).dns
    assert (asked.resolver, asked.role, asked.transport) == (resolver, role, transport)


def test_a_system_resolver_at_google_is_not_the_isps() -> None:
    asked = from_ooni(measurement(queries=[query()]) | {"resolver_asn": "AS15169"}).dns[0]
    assert asked.role is Role.PUBLIC


def test_a_second_different_answer_is_kept_with_its_delay() -> None:
    first = query("udp", "A", resolver_address="8.8.8.8:53", transaction_id=4, t=0.1)
    other = first | {"answers": [{"answer_type": "A", "ipv4": "203.0.113.9"}], "t": 0.3}
    (asked,) = from_ooni(measurement(queries=[first], x_dns_duplicate_responses=[other, first])).dns
    assert [(late.answers, round(late.delay, 3)) for late in asked.late] == [(("203.0.113.9",), 0.2)]


def test_classic_requests_are_stored_newest_first() -> None:
    moved = answered("http://example.com/", 301, response={"headers": {"Location": "https://www.example.com/"}})
    page = answered("https://www.example.com/", 200, "198.51.100.7:443", response={"headers_list": [["A", "b"]]})
    first, second = from_ooni(measurement(requests=[page, moved])).http
    assert (first.hop, first.status, first.location) == (0, 301, "https://www.example.com/")
    assert (second.hop, second.status, second.headers) == (1, 200, (("A", "b"),))
    assert not first.verified
    assert second.verified


def test_a_request_without_an_address_went_to_the_one_that_took_the_connection() -> None:
    refused = {"ip": "198.51.100.6", "port": 80, "status": {"failure": "connection_refused"}}
    taken = {"ip": "198.51.100.7", "port": 80, "status": {"failure": None}}
    request = answered("http://example.com/", 200, None)
    read = from_ooni(measurement(queries=[query()], tcp_connect=[refused, taken], requests=[request]))
    assert (read.http[0].address, read.http[0].port) == ("198.51.100.7", 80)
    assert read.http[0].sources == ("isp",)


def test_pages_keep_what_they_are_known_by() -> None:
    (page,) = from_ooni(measurement(requests=[answered("http://example.com/", 200)])).http
    assert (page.title, page.body_length, page.complete, page.truncated) == ("La Patilla", len(PAGE), True, False)
    assert page.body is not None
    assert zlib.decompress(base64.b64decode(page.body)).decode() == PAGE


def test_a_body_of_bytes_is_base64() -> None:
    body = {"format": "base64", "data": base64.b64encode(b"\xff\xfe\x00").decode()}
    (page,) = from_ooni(measurement(requests=[answered("http://example.com/", 200, response={"body": body})])).http
    assert page.body_length == 3


def test_a_cut_body_is_not_called_complete() -> None:
    cut = answered("http://example.com/", 200, response={"body_is_truncated": True})
    (capped,) = from_ooni(measurement(requests=[cut])).http
    assert (capped.truncated, capped.complete) == (True, False)
    (stalled,) = from_ooni(measurement(requests=[cut | {"failure": "generic_timeout_error"}])).http
    assert (stalled.truncated, stalled.complete) == (False, False)


def test_bytes_and_times_come_from_the_transactions_events() -> None:
    reads = [
        {"operation": "read", "num_bytes": 1000, "t": t, "transaction_id": 7, "failure": None} for t in (0.5, 2.0, 9.0)
    ]
    elsewhere = [{"operation": "read", "num_bytes": 999, "t": 1.0, "transaction_id": 8}]
    request = answered("http://example.com/", 200, transaction_id=7, t0=1.0, t=10.0)
    (page,) = from_ooni(measurement(requests=[request], network_events=[*reads, *elsewhere])).http
    assert (page.bytes_received, page.first_byte_s, page.last_byte_s) == (2000, 1.0, 8.0)
    assert (page.started, page.duration) == (1.0, 9.0)


def test_the_sampler_of_slow_connections_is_read_too() -> None:
    counts = [(1.0, 300), (2.0, 4000), (3.0, 4000)]
    events = [
        {"operation": "bytes_received_cumulative", "num_bytes": n, "t": t, "transaction_id": 7} for t, n in counts
    ]
    request = answered("http://example.com/", 200, transaction_id=7, t0=1.0, t=10.0)
    (page,) = from_ooni(measurement(requests=[request], network_events=events)).http
    assert (page.bytes_received, page.last_byte_s) == (4000, 1.0)


def test_certificates_are_read() -> None:
    der = certificate()
    shaken = {
        "address": "198.51.100.7:443",
        "server_name": "example.com",
        "failure": "ssl_unknown_authority",
        "peer_certificates": [{"format": "base64", "data": base64.b64encode(der).decode()}, "no certificate"],
        "t0": 0.1,
        "t": 0.3,
        "transaction_id": 5,
    }
    events = [
        {"operation": operation, "num_bytes": 10, "t": 0.2, "transaction_id": 5} for operation in ("write", "read")
    ]
    (seen,) = from_ooni(measurement(tls_handshakes=[shaken], network_events=events)).tls
    assert seen.chain[0].subject == "CN=example.com"
    assert (seen.bytes_sent, seen.bytes_received, seen.failure) == (10, 10, "ssl_unknown_authority")


def test_an_address_in_the_url_was_given_by_nobody() -> None:
    connect = {"ip": "198.51.100.7", "port": 80, "status": {"failure": None}}
    raw = measurement(tcp_connect=[connect]) | {"input": "http://198.51.100.7/"}
    assert from_ooni(raw).tcp[0].sources == ("literal",)


def test_handshakes_of_quic_are_not_taken_for_tls_over_tcp() -> None:
    shaken = {"address": "198.51.100.7:443", "network": "udp", "failure": "generic_timeout_error"}
    assert from_ooni(measurement(tls_handshakes=[shaken])).tls == ()


def test_classic_handshakes_belong_to_the_hop_of_their_name() -> None:
    moved = answered("http://example.com/", 301, response={"headers": {"Location": "https://www.example.com/"}})
    shaken = {"address": "198.51.100.7:443", "server_name": "www.example.com", "failure": "connection_reset"}
    (seen,) = from_ooni(measurement(requests=[moved], tls_handshakes=[shaken])).tls
    assert (seen.hop, seen.sources, seen.purpose) == (1, ("isp",), Purpose.SITE)


def test_the_oldest_probes_said_false_for_no_failure() -> None:
    connects = [{"ip": "198.51.100.7", "port": 80, "status": {"failure": failure}} for failure in (False, True, "")]
    seen = from_ooni(measurement(tcp_connect=connects)).tcp
    assert [(one.attempt, one.failure) for one in seen] == [
        (1, None),
        (2, "unknown_failure: not recorded"),
        (3, None),
    ]


def test_what_is_no_base64_is_no_body() -> None:
    odd = answered("http://example.com/", 200, response={"body": {"format": "base64", "data": "ñ"}})
    assert from_ooni(measurement(requests=[odd])).http[0].body_length == 0


def test_the_largest_lists_are_read_in_moderate_time() -> None:
    """Entries are compared with each other: what a file may hold of them is bounded."""
    same = {"transaction_id": 1, "tags": ["classic"]}
    raw = measurement(
        queries=[query("udp", "A", **same)] * 256,
        x_dns_duplicate_responses=[query("udp", "A", **same)] * 256,
        tcp_connect=[{"ip": "198.51.100.9", "port": 80, "status": {"failure": None}, **same}] * 256,
        tls_handshakes=[{"address": "198.51.100.9:443", "server_name": "x", "t0": 0, "t": 1, **same}] * 256,
        requests=[answered(f"https://{n}.example/", 200, None, response={"body": ""}, **same) for n in range(256)],
        network_events=[{"operation": "read", "num_bytes": 1, "t": 0.5, **same}] * 10_000,
    )
    assert len(from_ooni(raw).http) == 256


def test_scrubbed_addresses_are_left_out() -> None:
    scrubbed = query(answers=[{"answer_type": "A", "ipv4": "[scrubbed]"}])
    connect = {"ip": "[scrubbed]", "port": 80, "status": {"failure": None}}
    read = from_ooni(measurement(queries=[scrubbed], tcp_connect=[connect]))
    assert all(asked.answers == () for asked in read.dns)
    assert read.tcp == ()


def test_a_control_that_failed_is_a_control_that_failed() -> None:
    (control,) = from_ooni(measurement(control={}, control_failure="connection_reset")).controls
    assert (control.kind, control.id, control.failure) == ("helper", "https://helper.example/", "connection_reset")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_name": "telegram"}, "not web_connectivity but telegram"),
        ({"input": "mailto:x@example.com"}, "input is"),
        ({"input": None}, "Expected `str`"),
        ({"measurement_start_time": "yesterday"}, "measurement_start_time is no time"),
        ({"test_keys": {"queries": [query(hostname=None)]}}, "$.test_keys.queries[0].hostname"),
        ({"test_keys": {"queries": [query()] * 257}}, "length <= 256"),
        ({"software_name": "\ud800"}, "surrogates"),
    ],
)
def test_what_is_no_measurement_is_refused_in_one_line(change: dict[str, Any], said: str) -> None:
    with pytest.raises(OoniError) as caught:
        from_ooni(measurement() | change)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


# --- recordings ----------------------------------------------------------------------------------------------------


@needs_recordings
def test_recording_of_redirects_over_three_names() -> None:
    read = recorded("idnaWithoutCensorshipLowercase")
    assert read.site == "xn--d1acpjx3f.xn--p1ai"
    assert [(page.hop, page.status, page.verified) for page in read.http] == [
        (0, 308, False),
        (1, 308, True),
        (2, 200, True),
    ]
    assert [flow.purpose for flow in read.tcp] == [Purpose.SITE, Purpose.HTTPS_SIDE, Purpose.SITE, Purpose.SITE]
    assert read.tcp[0].sources == ("isp", "public", "doh", "control")
    assert read.tcp[2].sources == ("isp", "public")


@needs_recordings
def test_recording_of_a_lie_and_a_reset_behind_it() -> None:
    read = recorded("tlsBlockingConnectionResetWithInconsistentDNS")
    assert {(d.role, d.answers) for d in read.dns if d.type == "A"} == {
        (Role.DOH, ("93.184.216.34",)),
        (Role.ISP, ("130.192.182.17",)),
        (Role.PUBLIC, ("130.192.182.17",)),
    }
    assert [(t.address, t.failure, t.sources) for t in read.tls] == [
        ("130.192.182.17", "connection_reset", ("isp", "public")),
        ("93.184.216.34", "connection_reset", ("doh", "control")),
    ]
    (control,) = read.controls
    assert [t.failure for t in control.tls] == [None, None]


@needs_recordings
def test_recording_of_a_second_hop_that_was_never_reached() -> None:
    read = recorded("redirectWithConsistentDNSAndThenConnectionRefusedForHTTP")
    assert read.hops == ("https://bit.ly/32447", "http://www.example.com/")
    last = [flow for flow in read.tcp if flow.hop == 1]
    assert [(flow.port, flow.purpose, flow.failure, flow.sources) for flow in last] == [
        (80, Purpose.SITE, "connection_refused", ("isp", "public")),
        (443, Purpose.HTTPS_SIDE, "connection_refused", ("isp", "public")),
    ]


@needs_recordings
def test_recording_of_a_large_file_cut_at_the_cap() -> None:
    read = recorded("largeFileWithHTTP")
    assert (read.http[0].truncated, read.http[0].complete) == (True, False)
    assert read.controls[0].http[0].body_length == 1 << 24


@needs_recordings
def test_recording_of_eleven_hops_to_one_host() -> None:
    read = recorded("redirectWithMoreThanTenRedirectsAndHTTPS")
    assert [page.hop for page in read.http] == list(range(11))
    assert {flow.sources for flow in read.tcp} == {("isp", "public", "doh", "control")}
    assert read.http[-1].failure == "unknown_failure: stopped after too many redirects"


@needs_recordings
def test_recording_without_a_control() -> None:
    (control,) = recorded("controlFailureWithSuccessfulHTTPSWebsite").controls
    assert control.failure == "connection_reset"
    assert control.dns == control.tcp == control.tls == control.http == ()


# --- anything ------------------------------------------------------------------------------------------------------

SYNTHETIC = measurement(
    queries=[query(), query("udp", "A", resolver_address="8.8.8.8:53", transaction_id=2, rcode=3, raw_response="x")],
    x_dns_duplicate_responses=[query("udp", "A", transaction_id=2, failure="dns_nxdomain_error")],
    tcp_connect=[{"ip": "198.51.100.7", "port": 443, "status": {"failure": None}, "t": 1, "tags": ["depth=0"]}],
    tls_handshakes=[
        {
            "address": "198.51.100.7:443",
            "server_name": "example.com",
            "transaction_id": 3,
            "t": 2,
            "peer_certificates": [{"format": "base64", "data": "MAA="}],
        }
    ],
    requests=[
        answered("https://example.com/", 200, "198.51.100.7:443", transaction_id=3, tags=["depth=1"]),
        answered("http://example.com/", 301, None, response={"headers": {"Location": "/", "Content-Length": "7"}}),
    ],
    network_events=[{"operation": "read", "num_bytes": 3, "t": 2, "transaction_id": 3}],
    control={
        "tcp_connect": {"198.51.100.7:443": {"status": True, "failure": None}},
        "tls_handshake": {"198.51.100.7:443": {"server_name": "example.com", "status": True, "failure": None}},
        "http_request": {"body_length": 7, "failure": None, "title": "x", "headers": {"a": "b"}, "status_code": 200},
        "dns": {"failure": None, "addrs": ["198.51.100.7"]},
        "ip_info": {"198.51.100.7": {"asn": 64496, "flags": 11}},
    },
    control_failure=None,
    client_resolver="200.44.32.12",
)
ORIGINALS = [SYNTHETIC, *(json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json")))]

ODDITIES = st.sampled_from(
    [
        "",
        "-1",
        "depth=999999",
        "depth=0",
        "[::1]:99999",
        "1.2.3.4:0",
        "http://",
        "/",
        "\x00",
        "\ud800",
        "A",
        "ANY",
        "AS1",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODDITIES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in inside for path in [(*here, key), *places(inner, (*here, key))]]


PLACES = [places(original) for original in ORIGINALS]


def holds(value: Any, key: Any) -> bool:
    """Whether it is still there: another change may have replaced what it was in."""
    return (
        key in value
        if isinstance(value, dict)
        else isinstance(value, list) and isinstance(key, int) and key < len(value)
    )


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A recorded measurement with one to four of its values replaced by anything."""
    which = draw(st.integers(0, len(ORIGINALS) - 1))
    copied = copy.deepcopy(ORIGINALS[which])
    for path in draw(st.lists(st.sampled_from(PLACES[which]), min_size=1, max_size=4)):
        within = copied
        for key in path[:-1]:
            within = within[key] if holds(within, key) else None
        if holds(within, path[-1]):
            within[path[-1]] = draw(VALUES)
    return copied


def read_or_refused(raw: Any) -> None:
    try:
        read, said = from_ooni(raw), "read"
    except OoniError as refused:
        read, said = None, str(refused)
    assert said
    assert said.isprintable()
    if read is not None:
        assert msgspec.json.decode(to_json(read), type=Measurement) == read


@settings(max_examples=300)
@given(mutated())
def test_a_measurement_with_anything_in_it_is_read_or_refused(raw: Any) -> None:
    read_or_refused(raw)


@given(VALUES)
def test_anything_is_read_or_refused(raw: Any) -> None:
    read_or_refused(raw)
