"""What OONI's probes have written over the years, as far as it is read: web_connectivity, classic and LTE.

Everything may be absent or null; what is there must have the type OONI gives it. `failure` was false in the oldest.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from monitor.control.protocol import Response as HelperResponse

Failure = str | bool | None
Port = Annotated[int, Meta(ge=0, le=65535)]
# Far above what a probe records for one site; below what makes comparing entries with each other slow.
Few = Meta(max_length=256)
Many = Meta(max_length=10_000)


class Binary(Struct):
    """Bytes that are no text."""

    format: str
    data: str


Text = str | Binary | None


class Timed(Struct):
    """What all entries share. t0, t: seconds since the start when it began and ended. tags: "classic", "depth=N".."""

    failure: Failure = None
    t: float | None = None
    t0: float | None = None
    tags: list[str] | None = None
    transaction_id: int | None = None


class Answer(Struct):
    """One record of a DNS answer."""

    answer_type: str = ""
    ipv4: str | None = None
    ipv6: str | None = None
    hostname: str | None = None


class Query(Timed, kw_only=True):
    """df-002: one lookup."""

    hostname: str
    query_type: str
    engine: str | None = None
    resolver_address: str | None = None
    resolver_hostname: str | None = None
    resolver_port: int | str | None = None
    rcode: int | None = None
    answers: list[Answer] | None = None
    raw_response: Text = None


class ConnectStatus(Struct):
    """Of a connection attempt."""

    failure: Failure = None


class Connect(Timed, kw_only=True):
    """df-005: one connection attempt."""

    ip: str
    port: Port
    status: ConnectStatus


class Handshake(Timed, kw_only=True):
    """df-006: one TLS handshake. network: "udp" when QUIC carried it."""

    address: str | None = None
    network: str | None = None
    server_name: str | None = None
    tls_version: str | None = None
    cipher_suite: str | None = None
    negotiated_protocol: str | None = None
    no_tls_verify: bool | None = None
    peer_certificates: list[str | Binary] | None = None


class Request(Struct):
    """Of an HTTP transaction."""

    url: str = ""
    method: str | None = None


class Response(Struct):
    """Of an HTTP transaction; code 0: none came."""

    code: int | None = None
    body: Text = None
    body_is_truncated: bool | None = None
    headers_list: list[tuple[str, Text]] | None = None
    headers: dict[str, Text] | None = None


class Transaction(Timed, kw_only=True):
    """df-001: one request and its response."""

    request: Request
    response: Response | None = None
    address: str | None = None
    network: str | None = None


class Event(Timed, kw_only=True):
    """df-008: bytes that moved."""

    operation: str = ""
    num_bytes: int | None = None


class TestKeys(Struct):
    """What the experiment found."""

    queries: Annotated[list[Query], Few] | None = None
    x_dns_duplicate_responses: Annotated[list[Query], Few] | None = None
    tcp_connect: Annotated[list[Connect], Few] | None = None
    tls_handshakes: Annotated[list[Handshake], Few] | None = None
    requests: Annotated[list[Transaction], Few] | None = None
    network_events: Annotated[list[Event], Many] | None = None
    control: HelperResponse | None = None
    control_failure: Failure = None
    client_resolver: str | None = None


class Recorded(Struct, kw_only=True):
    """One measurement, as OONI publishes it."""

    test_name: str
    input: str
    measurement_start_time: str
    test_keys: TestKeys
    test_runtime: float | None = None
    probe_asn: str | None = None
    probe_cc: str | None = None
    probe_network_name: str | None = None
    resolver_asn: str | None = None
    resolver_ip: str | None = None
    measurement_uid: str | None = None
    software_name: str | None = None
    software_version: str | None = None
    test_helpers: Any = None
