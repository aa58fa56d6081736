"""OONI's web_connectivity measurements, classic and LTE, read as ours (data formats df-001, 002, 005, 006 and 008).

Where each of our fields comes from, and what OONI does not record:

    dns          queries: engine getaddrinfo and its kin are the system's resolver, which OONI does not name; "ANY" is
                 split into A and AAAA. late: x_dns_duplicate_responses
    tcp, tls     tcp_connect, tls_handshakes; 443 beside a plain-http URL (fetch_body=false) is its https side
    http         requests, which OONI stores newest first; times and bytes from network_events of the transaction
    hop          the tag depth=N (LTE), else the order of the requests (classic)
    hops         the requests' URLs, and where the last redirect led when no request was made there any more
    attempt      the n-th try of the same thing at the same hop
    sources      the resolvers whose answers for the hop's host hold the address; the helper's answers for the first hop
    verified     https whose handshake on the same transaction_id succeeded
    controls     control and control_failure, of the helper in test_helpers
    conditions   not recorded: all unknown
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor import ooni_entries as entries
from monitor.control.bounds import is_address, text
from monitor.control.protocol import endpoint, to_control
from monitor.messages import Said
from monitor.models import (
    Conditions,
    Control,
    Dns,
    Http,
    LateAnswer,
    Measurement,
    Network,
    Purpose,
    Role,
    Tcp,
    Tls,
)
from monitor.ooni_format import Handshake, Query, Recorded, Response, Timed, Transaction
from monitor.steps import page
from monitor.urls import DEFAULT_PORTS, BadUrl, Target, target

BODY_KEPT = 64 * 1024  # bytes of a page that is kept as evidence
SYSTEM = "system"  # the resolver of getaddrinfo: OONI does not record its address
_ASN = re.compile(r"AS(\d{1,10})")
_SYSTEM_ENGINES = frozenset({"", "system", "getaddrinfo", "golang_net_resolver", "go_net_resolver", "netgo", "unknown"})
_ENCRYPTED_ENGINES = frozenset({"doh", "doh3", "dot"})
# A system resolver in one of these is not the ISP's (resolver_asn is where its questions come from):
# Google, Cloudflare, Quad9 and its carrier, OpenDNS, AdGuard, NextDNS.
_PUBLIC_RESOLVER_ASNS = frozenset({15169, 13335, 19281, 42, 36692, 212772, 34939})


class OoniError(ValueError):
    """Not a web_connectivity measurement that can be read; the message is one short line."""


def from_ooni(raw: dict[str, Any]) -> Measurement:
    """Read one web_connectivity measurement, without a verdict; OoniError for anything else."""
    try:
        # By way of JSON, so that nothing JSON cannot say (half a surrogate, an infinity) gets further than this.
        data = msgspec.json.encode(raw, order="sorted")
        recorded = msgspec.json.decode(data, type=Recorded)
    except (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError, RecursionError) as exc:
        raise OoniError(Said("not an OONI measurement: {problem}", problem=text(str(exc)))) from exc
    if recorded.test_name != "web_connectivity":
        raise OoniError(Said("not web_connectivity but {problem}", problem=text(recorded.test_name)))
    try:
        return _Reader(recorded).measurement(recorded.measurement_uid or hashlib.sha256(data).hexdigest()[:32])
    except BadUrl as exc:
        raise OoniError(Said("input is {problem}", problem=text(str(exc)))) from exc


class _Reader:
    """One recorded measurement and what is known across its entries: the way it took, who gave which address."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.keys = recorded.test_keys
        self.start = target(recorded.input)
        self.system_role = _system_role(recorded)
        self.requests = entries.oldest_first(self.keys.requests or ())
        self.way = entries.way(self.start, self.requests)
        self.late = entries.by_question(self.keys.x_dns_duplicate_responses or ())
        self.dns = tuple(self._queries())
        self.controls = _controls(recorded, self.start)
        self.givers = self._givers()
        self.events = entries.by_transaction(self.keys.network_events or ())

    def measurement(self, identity: str) -> Measurement:
        """All of it, as ours. identity: OONI's, or for files that never got one the same for the same content."""
        recorded = self.recorded
        return Measurement(
            id=text(identity),
            url=self.start.url,
            site=self.start.site,
            vantage="ooni",
            probe="",
            network=_network(recorded),
            started=_moment(recorded.measurement_start_time),
            runtime=max(recorded.test_runtime or 0.0, 0.0),
            verdict=None,
            conditions=Conditions(),
            hops=tuple(here.url for hop, here in sorted(self.way.items()) if hop < entries.unbroken(self.way)),
            dns=self.dns,
            tcp=tuple(self._connects()),
            tls=tuple(self._handshakes()),
            http=tuple(self._transactions()),
            controls=self.controls,
            software=text(f"{recorded.software_name or 'ooni'} {recorded.software_version or ''}".strip()),
        )

    def _queries(self) -> Iterator[Dns]:
        tries: Counter[Any] = Counter()
        for query in self.keys.queries or ():
            hop = entries.depth(query) or 0
            resolver, role, transport = self._resolver(query)
            for kind in entries.kinds(query):
                tries[hop, resolver, query.hostname, kind] += 1
                failure = entries.failure(query.failure)
                yield Dns(
                    hop=hop,
                    attempt=tries[hop, resolver, query.hostname, kind],
                    **entries.times(query),
                    failure=failure,
                    name=query.hostname.rstrip(".").lower(),
                    type=kind,
                    resolver=resolver,
                    role=role,
                    transport=transport,
                    rcode=entries.rcode(query),
                    answers=entries.addresses(query, kind),
                    cnames=tuple(a.hostname.rstrip(".") for a in query.answers or () if a.hostname),
                    late=tuple(self._late(query, kind)),
                    raw=entries.in_base64(query.raw_response),
                )

    def _resolver(self, query: Query) -> tuple[str, Role, str]:
        """Its label, whose it is, and how it was asked."""
        engine = query.engine or ""
        address = query.resolver_address or query.resolver_hostname or ""
        if engine in _ENCRYPTED_ENGINES:
            return address, Role.DOH, "dot" if engine == "dot" else "doh"
        if engine in _SYSTEM_ENGINES or not address:
            return SYSTEM, self.system_role, "udp"
        host, port = endpoint(address) or (address, 53)
        ours = {self.recorded.resolver_ip, self.keys.client_resolver}
        label = host if port == 53 else address
        return label, self.system_role if host in ours else Role.PUBLIC, "tcp" if engine == "tcp" else "udp"

    def _late(self, query: Query, kind: str) -> Iterator[LateAnswer]:
        first = (entries.rcode(query), entries.addresses(query, kind))
        for other_kind, ended, rcode, answers in self.late.get(query.transaction_id or 0, ()):
            if other_kind == kind and (rcode, answers) != first:
                yield LateAnswer(delay=max(ended - (query.t or 0.0), 0.0), rcode=rcode, answers=answers)

    def _givers(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """(host, address) -> who gave it: the system's resolver first, the control last."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for answer in sorted(self.dns, key=lambda a: (a.role is not self.system_role, a.role is Role.DOH)):
            for address in answer.answers:
                found[answer.name, address].append(answer.role.value)
        for control in self.controls:
            for address in (a for answer in control.dns for a in answer.answers):
                found[self.start.host, address].append("control")
        return {key: tuple(dict.fromkeys(by)) for key, by in found.items()}

    def _sources(self, entry: Timed, hop: int, address: str) -> tuple[str, ...]:
        host = self.way[hop].host if hop in self.way else ""
        if host == address:
            return ("literal",)
        known = self.givers.get((host, address), ())
        # LTE tags what the system's resolver led to, classic measurements follow it only.
        own = "classic" in (entry.tags or ()) or entries.depth(entry) is None
        return (self.system_role.value,) if not known and own else known

    def _flow(self, entry: Timed, hop: int, address: str, port: int) -> dict[str, Any]:
        """What every operation on an address has in common."""
        here = self.way.get(hop)
        beside = here is not None and here.scheme == "http" and port == DEFAULT_PORTS["https"] != here.port
        return {
            "hop": hop,
            **entries.times(entry),
            "purpose": Purpose.HTTPS_SIDE if beside else Purpose.SITE,
            "address": address,
            "port": port,
            "sources": self._sources(entry, hop, address),
        }

    def _connects(self) -> Iterator[Tcp]:
        tries: Counter[Any] = Counter()
        for entry in self.keys.tcp_connect or ():
            if not is_address(entry.ip):  # "[scrubbed]", for one
                continue
            hop = entries.depth(entry) or 0
            tries[hop, entry.ip, entry.port] += 1
            yield Tcp(
                **self._flow(entry, hop, entry.ip, entry.port),
                attempt=tries[hop, entry.ip, entry.port],
                failure=entries.failure(entry.status.failure),
            )

    def _handshakes(self) -> Iterator[Tls]:
        tries: Counter[Any] = Counter()
        for entry in self.keys.tls_handshakes or ():
            peer = endpoint(entry.address or "")
            if peer is None or entry.network in ("udp", "quic"):
                continue
            hop = self._hop_of(entry)
            tries[hop, *peer] += 1
            moved = [e for e in self.events.get(entry.transaction_id or 0, ()) if entries.during(entry, e)]
            yield Tls(
                **self._flow(entry, hop, *peer),
                attempt=tries[hop, *peer],
                failure=entries.failure(entry.failure),
                server_name=entry.server_name or "",
                version=entry.tls_version or None,
                cipher=entry.cipher_suite or None,
                alpn=entry.negotiated_protocol or None,
                bytes_sent=entries.moved(moved, "write"),
                bytes_received=entries.moved(moved, "read"),
                chain=tuple(entries.chain(entry)),
            )

    def _hop_of(self, entry: Handshake) -> int:
        """Classic handshakes carry no depth, but the name of the hop's host."""
        depth = entries.depth(entry)
        if depth is not None:
            return depth
        return next((hop for hop, here in sorted(self.way.items()) if here.host == entry.server_name), 0)

    def _transactions(self) -> Iterator[Http]:
        tries: Counter[Any] = Counter()
        for hop, here, entry in self.requests:
            peer = endpoint(entry.address or "") or self._endpoint_of(hop, here)
            tries[hop, *peer] += 1
            yield Http(
                **self._flow(entry, hop, *peer),
                attempt=tries[hop, *peer],
                failure=entries.failure(entry.failure),
                url=here.url,
                method=entry.request.method or "GET",
                **self._response(entry, verified=here.scheme == "https" and self._verified(entry)),
                **self._progress(entry),
            )

    def _endpoint_of(self, hop: int, here: Target) -> tuple[str, int]:
        """Older probes do not record where a request went: to the first address that took the connection."""
        for entry in self.keys.tcp_connect or ():
            if not entry.status.failure and entry.port == here.port and (here.host, entry.ip) in self.givers:
                return entry.ip, entry.port
        given = (address for host, address in self.givers if host == here.host)
        return next(given, ""), here.port

    def _verified(self, entry: Transaction) -> bool:
        """A classic client answers over https only once it has verified the certificate."""
        same = [h for h in self.keys.tls_handshakes or () if entry.transaction_id == h.transaction_id]
        if not entry.transaction_id or not same:
            return bool(entry.response and entry.response.code) and not same
        return all(not h.failure and not h.no_tls_verify for h in same)

    def _response(self, entry: Transaction, *, verified: bool) -> dict[str, Any]:
        response = entry.response or Response()
        headers = entries.headers(response)
        first = {name.lower(): value for name, value in reversed(headers)}
        body = entries.raw_bytes(response.body)
        failure = entries.failure(entry.failure)
        status = response.code if response.code and 100 <= response.code <= 999 else None
        evidence = body and (failure is not None or not verified or status is None or status >= 400)
        length = first.get("content-length", "")
        return {
            "verified": verified,
            "status": status,
            "headers": headers,
            "location": first.get("location"),
            "title": page.title(body, first.get("content-type", "")) if body else None,
            "body_length": len(body),
            "declared_length": int(length) if re.fullmatch(r"[0-9]{1,15}", length) else None,
            # OONI also says truncated of a body that a failure cut; then it was not the cap.
            "truncated": bool(response.body_is_truncated) and failure is None,
            "complete": status is not None and failure is None and not response.body_is_truncated,
            "sha256": hashlib.sha256(body).hexdigest() if body else None,
            "simhash": page.simhash(body) if body else None,
            "body": page.kept(body[:BODY_KEPT]) if evidence else None,
        }

    def _progress(self, entry: Transaction) -> dict[str, Any]:
        """How the response trickled in, where the transaction's network events say it."""
        began = entry.t0 if entry.t0 is not None else entry.t or 0.0
        events = self.events.get(entry.transaction_id or 0, ())
        reads = [e for e in events if e.operation == "read" and e.num_bytes and (e.t or 0.0) >= began]
        # LTE's sampler counts what the connection received up to then.
        counts = [e for e in events if e.operation == "bytes_received_cumulative" and (e.t or 0.0) >= began]
        received = max((entries.moved(reads, "read"), *(max(e.num_bytes or 0, 0) for e in counts)))
        grown = [
            e for e, before in zip(counts[1:], counts, strict=False) if (e.num_bytes or 0) > (before.num_bytes or 0)
        ]
        times = [(e.t or 0.0) - began for e in reads or grown]
        return {
            "bytes_received": received,
            "first_byte_s": min(times, default=None),
            "last_byte_s": max(times, default=None),
        }


def _system_role(recorded: Recorded) -> Role:
    """Whose resolver the system uses: the ISP's, unless it asks from a public resolver's network."""
    asn = _asn(recorded.resolver_asn)
    return Role.PUBLIC if asn in _PUBLIC_RESOLVER_ASNS and asn != _asn(recorded.probe_asn) else Role.ISP


def _asn(said: str | None) -> int | None:
    """AS0 is OONI's word for unknown."""
    match = _ASN.fullmatch(said or "")
    return int(match[1]) or None if match else None


def _network(recorded: Recorded) -> Network:
    country = recorded.probe_cc if recorded.probe_cc and re.fullmatch(r"[A-Z]{2}", recorded.probe_cc) else None
    return Network(
        asn=_asn(recorded.probe_asn),
        isp=text(recorded.probe_network_name or "") or None,
        country=None if country == "ZZ" else country,
        source="observed",
    )


def _moment(said: str) -> datetime:
    try:
        return datetime.strptime(said, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as exc:
        raise OoniError(Said("measurement_start_time is no time: {problem}", problem=text(said))) from exc


def _controls(recorded: Recorded, start: Target) -> tuple[Control, ...]:
    """What the test helper saw, or why it could not be asked."""
    keys, helper = recorded.test_keys, _helper(recorded.test_helpers)
    failure = entries.failure(keys.control_failure)
    if failure is not None:
        return (Control(kind="helper", id=helper, failure=failure),)
    if keys.control is None or not (keys.control.dns or keys.control.tcp_connect or keys.control.http_request):
        return ()
    return (to_control(keys.control, start, hop=0, helper=helper),)


def _helper(recorded: Any) -> str:
    """Its URL: {"backend": {"address": URL, "type": "https"}}, and in old files {"backend": URL}."""
    backend = recorded.get("backend") if isinstance(recorded, dict) else None
    address = backend.get("address") if isinstance(backend, dict) else backend
    return text(address) if isinstance(address, str) and address else "ooni"
