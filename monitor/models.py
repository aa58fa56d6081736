"""The nouns: what is observed (facts) and what is concluded from it (verdicts).

Facts never change once recorded; a verdict can always be computed again from them. All structs are frozen and
print to JSON with `msgspec.json.encode`. Times inside a measurement are seconds since its `started`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct


class Status(StrEnum):
    """What the vantage can do with the site; docs/verdicts.md tells each."""

    OK = "ok"
    BLOCKED = "blocked"
    DOWN = "down"
    GEOBLOCKED = "geoblocked"
    INCONCLUSIVE = "inconclusive"


class Role(StrEnum):
    """Whose resolver it is. Only the ISP's own may incriminate the ISP."""

    ISP = "isp"
    LAN = "lan"
    PUBLIC = "public"
    DOH = "doh"


class Purpose(StrEnum):
    """Why an observation was made. Everything but SITE is a counterfactual: a check that changes one thing."""

    SITE = "site"
    INNOCENT_NAME = "innocent_name"  # the site's address, asked for a name nobody blocks
    NAME_ELSEWHERE = "name_elsewhere"  # the site's name, asked at an address that has nothing to do with it
    HTTPS_SIDE = "https_side"  # https on the host of a plain-http site
    PLAIN_SIDE = "plain_side"  # plain http at the address of an https site that could not be connected to
    CHECKING_DISABLED = "checking_disabled"  # the same DNS question with CD=1
    NEUTRAL = "neutral"  # a site nobody blocks


class Observation(Struct, frozen=True, kw_only=True):
    """One network operation and what happened, not what it means.

    hop: 0 for the URL itself, n after n redirects. attempt: from 1. started, duration: seconds.
    failure: None, or an OONI df-007 string.
    """

    hop: int
    attempt: int
    started: float
    duration: float
    failure: str | None
    purpose: Purpose = Purpose.SITE


class LateAnswer(Struct, frozen=True, kw_only=True):
    """A further, different answer to a question already answered; delay: seconds after the first answer."""

    delay: float
    rcode: str | None
    answers: tuple[str, ...]


class Dns(Observation, frozen=True, kw_only=True):
    """One question to one resolver. `raw`: the answer's bytes, base64. `errors`: extended DNS error codes (RFC 8914)."""

    name: str
    type: str  # "A" or "AAAA"
    resolver: str  # an address, or a DoH URL
    role: Role
    transport: str  # "udp", "tcp", "doh"
    rcode: str | None
    answers: tuple[str, ...] = ()
    cnames: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    late: tuple[LateAnswer, ...] = ()
    local_port: int | None = None
    raw: str | None = None


class Flow(Observation, frozen=True, kw_only=True):
    """An operation on one address. sources: who gave the address: resolver roles, "control", "literal", "counterfactual"."""

    address: str
    port: int
    sources: tuple[str, ...]
    local_port: int | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


class Tcp(Flow, frozen=True, kw_only=True):
    """One connection attempt."""


class Certificate(Struct, frozen=True, kw_only=True):
    """One certificate of a chain, leaf first. `der`: base64."""

    sha256: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime | None
    not_after: datetime | None
    der: str


class Tls(Flow, frozen=True, kw_only=True):
    """One handshake. `verify`: why the certificate was rejected (OpenSSL's words). bytes: on the wire, to the end."""

    server_name: str
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    alert: int | None = None
    verify: str | None = None
    verify_code: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    chain: tuple[Certificate, ...] = ()


class Http(Flow, frozen=True, kw_only=True):
    """One request and its response.

    `body_length`: bytes of body received, decoded; `declared_length`: Content-Length where given; `truncated`: our cap
    cut it; `complete`: the response ended as its framing says. `simhash`: 64-bit, hex, over the page's words.
    `first_byte_s`, `last_byte_s`: on the wire, seconds after the request was sent. `body`: base64 of zlib, kept where it
    is evidence. `verified`: over TLS with a valid certificate for the name.
    """

    url: str
    method: str = "GET"
    verified: bool = False
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    location: str | None = None
    title: str | None = None
    body_length: int = 0
    declared_length: int | None = None
    truncated: bool = False
    complete: bool = False
    sha256: str | None = None
    simhash: str | None = None
    bytes_received: int = 0
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    body: str | None = None


class Observations(Struct, frozen=True, kw_only=True):
    """What one network saw of one site: the steps of every hop and attempt. `hops`: the URL of each hop visited."""

    hops: tuple[str, ...] = ()
    dns: tuple[Dns, ...] = ()
    tcp: tuple[Tcp, ...] = ()
    tls: tuple[Tls, ...] = ()
    http: tuple[Http, ...] = ()


class Control(Observations, frozen=True, kw_only=True):
    """What an uncensored network saw of the same hops. failure: the control itself could not be asked."""

    kind: str  # "helper", "vantage"
    id: str  # the helper's URL, the vantage's name
    failure: str | None
    asn: int | None = None
    country: str | None = None
    started: datetime | None = None
    runtime: float | None = None
    address: str | None = None  # where the helper answers
    signature: str | None = None


class NeutralCheck(Struct, frozen=True, kw_only=True):
    """What became of a site that nobody blocks, on one address family. `expected`: the page was the one we know."""

    url: str
    family: int
    failure: str | None
    layer: str | None  # where it failed
    status: int | None = None
    expected: bool = False
    issuer: str | None = None  # of a rejected certificate
    speed: float | None = None  # bytes per second, on the wire


class ResolverCheck(Struct, frozen=True, kw_only=True):
    """How a resolver answers names that nobody blocks, and a random name that does not exist."""

    resolver: str
    role: Role
    control_names: int  # asked
    control_names_answered: int
    nonexistent: str | None  # rcode or failure
    nonexistent_answers: tuple[str, ...] = ()


class Neighbour(Struct, frozen=True, kw_only=True):
    """Another site on the same address whose measurement met interference a short while before (residual censorship)."""

    site: str
    address: str
    seconds_ago: float


class Conditions(Struct, frozen=True, kw_only=True):
    """The state of the vantage itself. None: not known."""

    checked: datetime | None = None
    online4: bool | None = None
    online6: bool | None = None
    captive_portal: bool | None = None
    intercepted: bool | None = None  # every certificate is replaced
    clock_offset: float | None = None  # seconds; this machine's clock minus the world's
    speed: float | None = None  # bytes per second, from neutral sites
    neutral: tuple[NeutralCheck, ...] = ()
    resolvers: tuple[ResolverCheck, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    proxied: bool | None = None  # connections go through a proxy, which hides some of what becomes of them
    network_changed: bool | None = None  # the vantage was on another network at the end than at the beginning


class Network(Struct, frozen=True, kw_only=True):
    """Who carries the vantage's packets. source: "observed" or "declared"."""

    asn: int | None = None
    isp: str | None = None
    country: str | None = None
    source: str = "declared"


Reason = dict[str, Any]  # {"id": ..., parameter: value, ...}; "text" is added at the edge


class Verdict(Struct, frozen=True, kw_only=True):
    """A conclusion. confidence: the probability, 0 to 1, that `status` is right; None when inconclusive."""

    status: Status
    methods: tuple[str, ...]
    confidence: float | None
    confirmed: bool
    rule: str
    rules_version: int
    reasons: tuple[Reason, ...] = ()


class Measurement(Observations, frozen=True, kw_only=True):
    """All observations of one site from one vantage at one time, its controls and conditions, and the verdict."""

    id: str
    url: str
    site: str
    vantage: str
    probe: str
    network: Network
    started: datetime
    runtime: float
    verdict: Verdict | None
    conditions: Conditions
    controls: tuple[Control, ...] = ()
    software: str = ""


class Point(Struct, frozen=True, kw_only=True):
    """What detection needs of a measurement: one verdict of one site on one network.

    probe, vantage, url: "" where it is not told.
    """

    id: str
    site: str
    network: Network
    probe: str
    started: datetime
    status: Status
    methods: tuple[str, ...] = ()
    confidence: float | None = None
    confirmed: bool = False
    rule: str = ""
    vantage: str = ""
    url: str = ""


class Kind(StrEnum):
    """What an event is about; docs/events.md tells each."""

    BLOCKING = "blocking"
    SITE_OUTAGE = "site_outage"
    NETWORK_OUTAGE = "network_outage"
    SILENCE = "silence"


Range = tuple[datetime | None, datetime | None]


class Event(Struct, frozen=True, kw_only=True):
    """One episode of one kind. started, ended: best estimates; the ranges: the last contrary and the first supporting
    measurement. detected: the time of the measurement that settled it. revision: grows with every change.
    """

    id: str
    revision: int
    kind: Kind
    site: str | None
    network: Network | None
    methods: tuple[str, ...]
    started: datetime
    started_range: Range
    detected: datetime
    ended: datetime | None
    ended_range: Range | None
    confidence: float
    measurements: int
    probes: int


class Incident(Struct, frozen=True, kw_only=True):
    """The events that belong together. state: "started", "updated" or "ended"."""

    id: str
    revision: int
    state: str
    started: datetime
    ended: datetime | None
    events: tuple[Event, ...]


def to_json(value: Struct) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(value)
