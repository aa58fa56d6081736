"""What the vantage's resolvers said of a name, held against what trusted sources say."""

from msgspec import Struct
from msgspec.structs import replace

from monitor import failures as f
from monitor.models import Dns, Http, Purpose, ResolverCheck, Role
from monitor.verdict.facts import REDIRECTS, Facts, Place, bogon, falls_through, outcome
from monitor.verdict.finding import Finding
from monitor.verdict.fingerprints import fingerprint, text_of
from monitor.verdict.pages import same_content, same_page

_METHODS = {
    f.NXDOMAIN: "dns.nxdomain",
    f.NO_ANSWER: "dns.no_answer",
    f.SERVFAIL: "dns.servfail",
    f.DNS_REFUSED: "dns.refused",
    f.TIMEOUT: "dns.timeout",
    "android_dns_cache_no_data": "dns.nxdomain",
}
_DENIALS = frozenset({f.NXDOMAIN, f.NO_ANSWER})
_TROUBLES = frozenset({f.SERVFAIL, f.DNS_REFUSED, f.DNS_MISBEHAVING})
# RFC 8914: DNSSEC Indeterminate .. NSEC Missing, No Reachable Authority, Network Error. The zone is broken; not a block.
_ZONE_ERRORS = frozenset({*range(5, 13), 22, 23})
# Blocked, Censored, Filtered: the resolver itself says that it denies the name.
_DENIED_ERRORS = frozenset({15, 16, 17})


class Truth(Struct, frozen=True, kw_only=True):
    """What trusted sources say. state: resolves, nonexistent, bogon, broken, unknown. sources: how many say so."""

    state: str
    addresses: frozenset[str] = frozenset()
    sources: int = 0


class NameView(Struct, frozen=True, kw_only=True):
    """addresses, failure: what the system would get, from `resolver`. false: addresses that are not the site's.

    lie: the finding, if there is one. blame: whose lie it is. outage: the resolver fails for every name.
    ghost: an answer for a name that does not exist, with nothing to tell a forgery from a wildcard.
    """

    truth: Truth
    addresses: tuple[str, ...] = ()
    failure: str | None = None
    resolver: str | None = None
    blame: Role = Role.ISP
    false: frozenset[str] = frozenset()
    lie: Finding | None = None
    outage: bool = False
    ghost: bool = False
    wildcard: bool = False


def view(facts: Facts, place: Place) -> NameView:
    """The DNS side of one hop."""
    told = truth(facts, place)
    own = [
        (resolver, role, *outcome(facts.usable_answers(place, resolver)))
        for resolver, role in facts.own_resolvers(place)
    ]
    if not own:
        return NameView(truth=told)
    resolver, role, addresses, failure = next((o for o in own if not falls_through(o[3])), own[-1])
    false = frozenset(a for _, _, found, _ in own for a in found if is_false(facts, place, told, a))
    seen = NameView(truth=told, addresses=addresses, failure=failure, resolver=resolver, blame=role, false=false)
    return _judged(facts, place, seen, own)


def truth(facts: Facts, place: Place) -> Truth:
    """What DoH and the controls agree on. Where as many deny the name as resolve it, nobody knows: one may be lying."""
    outcomes = [outcome(answers) for answers in facts.trusted(place)]
    addresses = frozenset(a for found, _ in outcomes for a in found)
    public = frozenset(a for a in addresses if not bogon(a))
    resolving = sum(1 for found, _ in outcomes if found)
    denying = sum(1 for _, failure in outcomes if failure in _DENIALS | _TROUBLES)
    if public and resolving > denying:
        return Truth(state="resolves", addresses=public, sources=resolving)
    if public:
        return Truth(state="unknown", addresses=public)
    if addresses:
        return Truth(state="bogon", addresses=addresses, sources=len(outcomes))
    denials = [failure for _, failure in outcomes]
    for state, names in (("nonexistent", _DENIALS), ("broken", _TROUBLES)):
        count = sum(1 for failure in denials if failure in names)
        if count:
            return Truth(state=state, sources=count)
    if not outcomes and facts.control_arrives(place):
        return Truth(state="resolves", sources=1)  # a control that reports only the end of its redirects got there
    return Truth(state="unknown")


def is_false(facts: Facts, place: Place, told: Truth, address: str) -> bool:
    """Is this address shown not to be the site's? Certificates first: they settle what addresses only suggest."""
    if bogon(address):
        return told.state in ("resolves", "nonexistent")
    if told.state == "nonexistent":
        return _serves_anyone(facts, place, address)
    if (
        told.state != "resolves"
        or address in told.addresses
        or address in facts.proven(place) | facts.control_genuine(place)
    ):
        return False
    if _page_is_genuine(facts, place, address):
        return False
    return _shown_false(facts, place, address)


def _page_is_genuine(facts: Facts, place: Place, address: str) -> bool:
    pages = [p for p in facts.http(place) if p.address == address and p.failure is None]
    elsewhere = [p for p in facts.control_pages(place) if p.failure is None and p.address != address]
    there = [p for p in facts.control_pages(place) if p.failure is None and p.address == address]
    return any(same_page(p, c) for p in (*pages, *there) for c in elsewhere)


def _shown_false(facts: Facts, place: Place, address: str) -> bool:
    """By its certificate, or by its page; an address that only fails to answer may be one dead server of many."""
    if _foreign_certificate(facts, place, address) and (facts.proven(place) or facts.control_genuine(place)):
        return True
    pages = [p for p in facts.control_pages(place) if p.failure is None and (p.status or 0) < 500]
    if any(p.address == address for p in pages) and any(p.address != address for p in pages):
        return True
    return _serves_anyone(facts, place, address) and bool(facts.proven(place) or facts.control_arrives(place))


def _foreign_certificate(facts: Facts, place: Place, address: str) -> bool:
    """A certificate by nobody known, for the vantage or the control.

    The site's own may have expired at one node; a known authority's for another name is what a stale address shows.
    """
    mine = [s for s in facts.m.tls if s.server_name == place.host]
    theirs = [s for control in facts.usable for s in control.tls if s.server_name == place.host]
    return any(s.address == address and s.failure == f.UNKNOWN_AUTHORITY for s in (*mine, *theirs))


def _serves_anyone(facts: Facts, place: Place, address: str) -> bool:
    """Does the address answer an innocent name with the very page it gives for this one, as a block page's server does?"""
    plain = (*facts.http(place), *facts.http(place, Purpose.PLAIN_SIDE))
    here = [p for p in plain if p.address == address and p.failure is None and not p.verified]
    innocent = [p for p in facts.http(place, Purpose.INNOCENT_NAME) if p.address == address and p.failure is None]
    alike = any(
        p.status not in REDIRECTS and p.body_length and same_content(p, other) for p in here for other in innocent
    )
    return alike or _foreign_certificate(facts, place, address) or _has_fingerprint(facts, here)


def _has_fingerprint(facts: Facts, pages: list[Http]) -> bool:
    return any(fingerprint(p, text_of(p), facts.fingerprints) for p in pages)


def _judged(
    facts: Facts, place: Place, seen: NameView, own: list[tuple[str, Role, tuple[str, ...], str | None]]
) -> NameView:
    method = _method(facts, place, seen)
    if method is None:
        return seen
    check = _check(facts, seen.resolver)
    if seen.truth.state == "nonexistent":
        if check is not None and check.nonexistent_answers:
            return replace(seen, wildcard=True)
        if check is None or check.nonexistent != f.NXDOMAIN or not _all_deny(facts, place, seen):
            return replace(seen, ghost=True)
        if not all(a in seen.false for a in seen.addresses):
            return replace(seen, ghost=True)  # an expired name that is still cached, perhaps
    if seen.failure and _unhealthy(check, seen.failure):
        return replace(seen, outage=True)
    blame = _blame(facts, place, seen, own)
    if blame is Role.ISP and _injected(facts, place, seen):
        method = "dns.injection"
    return replace(seen, blame=blame, lie=_finding(facts, place, seen, method))


def _method(facts: Facts, place: Place, seen: NameView) -> str | None:
    """The name of what is wrong with the answer, None where nothing is."""
    if seen.truth.state not in ("resolves", "nonexistent"):
        return None
    if seen.addresses:
        if seen.truth.state == "nonexistent":
            return "dns.bogon" if all(map(bogon, seen.addresses)) else "dns.hijack"
        if not all(a in seen.false for a in seen.addresses):
            return None
        return "dns.bogon" if all(map(bogon, seen.addresses)) else "dns.hijack"
    if seen.truth.state != "resolves" or _zone_is_broken(facts, place, seen):
        return None
    if seen.failure != f.NXDOMAIN and seen.truth.addresses and all(":" in address for address in seen.truth.addresses):
        return None  # many resolvers leave out or spoil every answer of IPv6, and no random name shows it
    return _METHODS.get(seen.failure or "")


def _zone_is_broken(facts: Facts, place: Place, seen: NameView) -> bool:
    answers = facts.answers(place, seen.resolver or "")
    unchecked = [a for a in facts.m.dns if a.purpose is Purpose.CHECKING_DISABLED and a.name == place.host]
    if any(set(a.errors) & _DENIED_ERRORS for a in answers):
        return False
    return seen.failure == f.SERVFAIL and (
        any(set(a.errors) & _ZONE_ERRORS for a in answers)
        or any(a.answers for a in unchecked if a.resolver == seen.resolver)
    )


def _all_deny(facts: Facts, place: Place, seen: NameView) -> bool:
    """Is the name gone for several trusted sources, and for public resolvers, unless answers are forged on the path?"""
    public = [outcome(facts.answers(place, resolver))[0] for resolver in facts.public_resolvers(place)]
    return seen.truth.sources >= 2 and (bool(facts.counter_answers(place)) or not all(public) or not public)


def _unhealthy(check: ResolverCheck | None, failure: str) -> bool:
    """Does the resolver fail for other names as well? Unchecked, its silence or its troubles accuse nobody."""
    if check is None or not check.control_names:
        return failure == f.TIMEOUT or failure in _TROUBLES
    if failure == f.TIMEOUT:  # one that loses questions at times loses some of ours, too
        return check.control_names_answered < check.control_names
    return 2 * check.control_names_answered <= check.control_names


def _check(facts: Facts, resolver: str | None) -> ResolverCheck | None:
    return next((c for c in facts.m.conditions.resolvers if c.resolver == resolver), None)


def _blame(
    facts: Facts, place: Place, seen: NameView, own: list[tuple[str, Role, tuple[str, ...], str | None]]
) -> Role:
    """A lie told by the home's own device is the ISP's only if the ISP's resolver tells it too."""
    lying = [role for _, role, found, failure in own if failure == seen.failure and all(a in seen.false for a in found)]
    return Role.ISP if Role.ISP in lying else seen.blame


def _injected(facts: Facts, place: Place, seen: NameView) -> bool:
    """Forged on the path, whoever is asked: by a host that is no resolver, or alike in the name of every resolver."""
    if facts.counter_answers(place):
        return True
    if seen.failure and seen.failure not in _DENIALS:
        return False
    answers = facts.answers(place, seen.resolver or "")
    contradicted = any(set(late.answers) & seen.truth.addresses for a in answers for late in a.late)
    public = [facts.answers(place, resolver) for resolver in facts.public_resolvers(place)]
    public = [said for said in public if outcome(said)[1] != f.TIMEOUT]
    return contradicted or (len(public) >= 2 and all(_lies_alike(facts, place, seen, said) for said in public))


def _lies_alike(facts: Facts, place: Place, seen: NameView, said: list[Dns]) -> bool:
    addresses, failure = outcome(said)
    if seen.addresses:
        return bool(addresses) and all(a in seen.addresses or is_false(facts, place, seen.truth, a) for a in addresses)
    return failure == seen.failure


def _finding(facts: Facts, place: Place, seen: NameView, method: str) -> Finding:
    answers = facts.answers(place, seen.resolver or "")
    evidence = [method]
    alike = [
        a for a in answers if a.type == "A" and (a.failure, bool(a.answers)) == (seen.failure, bool(seen.addresses))
    ]
    if len(alike) >= 3 or seen.addresses:
        evidence.append("repeated")
    reached = facts.proven(place) & seen.truth.addresses
    if reached:
        evidence.append("genuine_reached")
    if seen.truth.sources >= 2:
        evidence.append("several_sources")
    if facts.counter_answers(place):
        evidence.append("forged_answer_seen")
    if seen.truth.state == "nonexistent":
        evidence.append("dead_name_denied")
    if any(set(a.errors) & _DENIED_ERRORS for a in answers):
        evidence.append("fingerprint")
    settled = bool(reached or facts.control_genuine(place) & seen.truth.addresses) and len(alike) >= 2
    settled = settled and method != "dns.timeout"
    return Finding(
        method=method,
        hop=place.hop,
        denies=True,
        confirmed="fingerprint" in evidence or len(facts.counter_answers(place)) >= 2 or settled,
        evidence=tuple(evidence),
        reason=_reason(place, seen, method),
    )


def _reason(place: Place, seen: NameView, method: str) -> dict[str, object]:
    common = {"name": place.host, "resolver": seen.resolver, "sources": seen.truth.sources}
    if method == "dns.injection":
        return {"id": "answers_forged", **common}
    if seen.addresses:
        return {"id": "resolver_lies", **common, "addresses": ", ".join(seen.addresses[:4])}
    return {"id": "resolver_denies", **common, "failure": seen.failure}
