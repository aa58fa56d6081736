"""A measurement's observations, indexed by what rules ask: by hop, name, address, and whose they are."""

import ipaddress
from collections.abc import Callable, Sequence
from functools import cached_property
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from monitor import failures as f
from monitor.addresses import is_public
from monitor.models import Control, Dns, Flow, Http, Measurement, Purpose, Role, Tcp, Tls
from monitor.verdict.fingerprints import KNOWN, Fingerprint

MOST_ATTEMPTS = 6  # of one control that count: as many as it is asked for, and the first look
MAX_HOPS = 11  # the URL and ten redirects
REDIRECTS = frozenset({301, 302, 303, 307, 308})
INTERRUPTIONS = frozenset({f.RESET, f.TIMEOUT, f.EOF, f.FAILED_HANDSHAKE, "connection_aborted"})
_NEXT_RESOLVER = frozenset(
    {f.TIMEOUT, f.SERVFAIL, f.DNS_REFUSED, f.DNS_MISBEHAVING, f.REFUSED, *f.UNREACHABLE_FAILURES}
)


class Place(Struct, frozen=True, kw_only=True):
    """A hop: its number and where its URL points."""

    hop: int
    url: str
    scheme: str
    host: str
    port: int


class Count(Struct, frozen=True):
    """How often an operation passed and failed; rejected: the certificate."""

    passed: int = 0
    failed: int = 0
    rejected: int = 0


class Facts:
    """Reads one measurement."""

    def __init__(self, measurement: Measurement, fingerprints: tuple[Fingerprint, ...] = KNOWN) -> None:
        self.m = measurement
        self.fingerprints = fingerprints
        self.usable: tuple[Control, ...] = tuple(c for c in measurement.controls if c.failure is None)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The hops, in order."""
        return tuple(_place(hop, url) for hop, url in enumerate(self._urls()))

    def _urls(self) -> list[str]:
        if self.m.hops:
            return list(self.m.hops[:MAX_HOPS])
        urls = [self.m.url]
        last = max((seen.hop for seen in (*self.m.dns, *self.m.tcp, *self.m.http)), default=0)
        for hop in range(1, min(last + 1, MAX_HOPS)):
            locations = [p.location for p in self.m.http if p.hop == hop - 1 and p.location]
            urls.append(_joined(urls[-1], locations[0]) if locations else urls[-1])
        return urls

    @property
    def proxied(self) -> bool:
        """Did the vantage see all this through a proxy?"""
        return self.m.conditions.proxied is True

    # --- names -------------------------------------------------------------------------------------------------

    def own_resolvers(self, place: Place) -> list[tuple[str, Role]]:
        """The vantage's assigned resolvers, in the order the system would ask them."""
        asked = self._questions(place)
        if self.proxied:  # a resolver that the proxy does not connect us to is none; without any, DoH takes its place
            asked = [a for a in asked if not f.is_unknown(a.failure)]
            asked = [a for a in asked if a.role is not Role.DOH] or asked
        else:
            asked = [a for a in asked if a.role is not Role.DOH]
        seen = dict.fromkeys((a.resolver, a.role) for a in asked)
        assigned = [(resolver, role) for resolver, role in seen if role is Role.ISP or role is Role.LAN]
        return list(assigned) or list(seen)

    def answers(self, place: Place, resolver: str) -> list[Dns]:
        """All that one resolver said of the name."""
        return [a for a in self._questions(place) if a.resolver == resolver]

    def usable_answers(self, place: Place, resolver: str) -> list[Dns]:
        """The same for the address families that count: an honest AAAA is of no use on a line without IPv6, and the missing
        A of a site that has none is no denial."""
        told = {address for said in self.trusted(place) for a in said for address in a.answers}
        answers = self.answers(place, resolver)
        if told and all(":" in address for address in told):
            return [a for a in answers if a.type == "AAAA"] or answers
        both = not told or self.m.conditions.checked is None or self.m.conditions.online6
        return [a for a in answers if both or a.type == "A"] or answers

    def public_resolvers(self, place: Place) -> list[str]:
        """Clear-text resolvers asked beside the assigned ones."""
        own = {resolver for resolver, _ in self.own_resolvers(place)}
        return list(
            dict.fromkeys(a.resolver for a in self._questions(place) if a.role is Role.PUBLIC and a.resolver not in own)
        )

    def _questions(self, place: Place) -> list[Dns]:
        return [a for a in self.m.dns if a.name == place.host and a.purpose is Purpose.SITE]

    def trusted(self, place: Place) -> list[list[Dns]]:
        """What each trusted source said of the name: DoH from the vantage, the controls' own resolvers."""
        doh: dict[str, list[Dns]] = {}
        for answer in self._questions(place):
            if answer.role is Role.DOH:
                doh.setdefault(answer.resolver, []).append(answer)
        controls: dict[str, list[Dns]] = {}
        for control in self.usable:
            controls.setdefault(control.id, []).extend(a for a in control.dns if a.name == place.host)
        return [answers for answers in (*doh.values(), *controls.values()) if answers]

    def counter_answers(self, place: Place) -> list[Dns]:
        """Answers that came from a host which is no resolver: forged on the path."""
        return [
            a for a in self.m.dns
            if a.name == place.host and a.purpose is Purpose.NAME_ELSEWHERE and a.rcode is not None
        ]  # fmt: skip

    # --- flows -------------------------------------------------------------------------------------------------

    def tcp(self, place: Place, purpose: Purpose = Purpose.SITE) -> list[Tcp]:
        return [s for s in self.m.tcp if s.hop == place.hop and s.purpose is purpose]

    def tls(self, place: Place, purpose: Purpose = Purpose.SITE) -> list[Tls]:
        return [s for s in self.m.tls if s.hop == place.hop and s.purpose is purpose]

    def http(self, place: Place, purpose: Purpose = Purpose.SITE) -> list[Http]:
        return [s for s in self.m.http if s.hop == place.hop and s.purpose is purpose]

    def proven(self, place: Place) -> set[str]:
        """Addresses where a valid certificate for the name was seen from the vantage, on any hop."""
        return {s.address for s in self.m.tls if s.server_name == place.host and s.failure is None}

    # --- controls ----------------------------------------------------------------------------------------------

    def control_tcp(self, place: Place, address: str | None = None) -> Count:
        known = self._control_addresses(place) if address is None else {address}
        return self._votes(lambda c: [s for s in c.tcp if s.port == place.port and s.address in known])

    def control_tls(self, place: Place, address: str | None = None) -> Count:
        secure = (place.host, place.port if place.scheme == "https" else 443)

        def handshakes(control: Control) -> list[Tls]:
            named = [s for s in control.tls if (s.server_name, s.port) == secure]
            return named if address is None else [s for s in named if s.address == address]

        return self._votes(handshakes)

    def _votes(self, seen_by: Callable[[Control], Sequence[Tcp | Tls]]) -> Count:
        by_control: dict[str, list[Tcp | Tls]] = {}
        for control in self.usable:
            seen = seen_by(control)
            if seen:
                by_control.setdefault(control.id, []).extend(seen)
        return _count(by_control)

    def control_genuine(self, place: Place) -> set[str]:
        """Addresses where a control saw a valid certificate for the name."""
        return {s.address for c in self.usable for s in c.tls if s.server_name == place.host and s.failure is None}

    def control_pages(self, place: Place) -> list[Http]:
        """Responses of this hop's URL to the controls, complete or failed."""
        return [s for c in self.usable for s in c.http if _same_url(s.url, place.url)]

    def control_arrives(self, place: Place | None = None) -> bool:
        """A control got a page at the end of the redirects; and, as far as it tells, by way of this hop."""
        return any(_arrives(control) and (place is None or _by_way_of(control, place)) for control in self.usable)

    def _control_addresses(self, place: Place) -> set[str]:
        return {a for c in self.usable for answer in c.dns if answer.name == place.host for a in answer.answers} or {
            s.address
            for c in self.usable
            for s in (*c.tls, *c.http)
            if place.host in (getattr(s, "server_name", None), _host(s))
        }


def _host(seen: Flow) -> str | None:
    return urlsplit(seen.url).hostname if isinstance(seen, Http) else None


def _by_way_of(control: Control, place: Place) -> bool:
    """Was the control at this hop? OONI's helper reports the end of its redirects alone, under the first URL."""
    if place.hop == 0:
        return True
    hops = {s.hop for s in control.http}
    ends_only = hops == {0} and not any(s.status in REDIRECTS for s in control.http) and not control.hops
    return ends_only or any(_same_url(s.url, place.url) for s in control.http)


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return base


def _arrives(control: Control) -> bool:
    pages = [s for s in control.http if s.failure is None and s.status is not None]
    last = max((page.hop for page in pages), default=0)
    return any(s.hop == last and (s.status or 0) < 400 and s.status not in REDIRECTS for s in pages)


def _place(hop: int, url: str) -> Place:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host, parts = None, None, urlsplit("")
    scheme = parts.scheme if parts.scheme in ("http", "https") else "http"
    return Place(hop=hop, url=url, scheme=scheme, host=host or "", port=port or (443 if scheme == "https" else 80))


def _same_url(a: str, b: str) -> bool:
    return a.rstrip("/").split("#")[0] == b.rstrip("/").split("#")[0]


def _count(by_control: dict[str, list[Tcp | Tls]]) -> Count:
    """One vote a control, of MOST_ATTEMPTS at the most; where they contradict each other, one each way."""
    counts = []
    for seen in by_control.values():
        rejected = sum(1 for s in seen if s.failure in f.CERTIFICATE_FAILURES)
        passed = sum(1 for s in seen if s.failure is None)
        counts.append(Count(*(min(n, MOST_ATTEMPTS) for n in (passed, len(seen) - passed - rejected, rejected))))
    always = any(c.passed and not c.failed and not c.rejected for c in counts)
    never = any(not c.passed and (c.failed or c.rejected) for c in counts)
    if always and never:
        return Count(1, 1)
    return Count(sum(c.passed for c in counts), sum(c.failed for c in counts), sum(c.rejected for c in counts))


def outcome(answers: list[Dns]) -> tuple[tuple[str, ...], str | None]:
    """What a resolver's answers come to: addresses, or the failure that most attempts at the A question got, the last of equals.

    Lost ones do not count against what two others got alike. One odd answer among others is no denial.
    """
    addresses = tuple(dict.fromkeys(a for answer in answers for a in answer.answers))
    if addresses:
        return addresses, None
    ordered = sorted(answers, key=lambda a: (a.type == "A", a.attempt))
    failures = [a.failure for a in ordered if a.type == ordered[-1].type]
    repeated = [failure for failure in failures if failure != f.TIMEOUT and failures.count(failure) >= 2]
    most = max(reversed(repeated or failures), key=failures.count, default=f.NO_ANSWER)  # of equals the first it meets
    return (), most


def falls_through(failure: str | None) -> bool:
    """Would the system ask its next resolver? (glibc: silence, SERVFAIL, NOTIMP, REFUSED)"""
    return failure in _NEXT_RESOLVER


def bogon(address: str) -> bool:
    """Cannot be on the public internet."""
    try:
        return not is_public(str(ipaddress.ip_address(address)))
    except ValueError:
        return False  # no address, or one that was scrubbed: no evidence
