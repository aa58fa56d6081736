"""Interference with connections to the genuine site: TCP, TLS, HTTP, and speed."""

from collections import Counter
from collections.abc import Mapping, Sequence

from monitor import failures as f
from monitor.models import Flow, Http, Purpose, Tcp, Tls
from monitor.verdict.facts import INTERRUPTIONS, Count, Facts, Place
from monitor.verdict.finding import Finding
from monitor.verdict.likelihood import same_rate
from monitor.verdict.line import SILENCES, began, healthy, same_place
from monitor.verdict.names import NameView
from monitor.verdict.pages import same_page

_TCP = {f.TIMEOUT: "tcp.timeout", f.REFUSED: "tcp.refused", f.RESET: "tcp.refused"} | dict.fromkeys(
    f.UNREACHABLE_FAILURES, "tcp.unreachable"
)
_TLS = {
    f.RESET: "reset",
    f.TIMEOUT: "timeout",
    f.EOF: "eof",
    f.FAILED_HANDSHAKE: "alert",
    "connection_aborted": "reset",
}

# Throttling is slower by ten times and more than what else the line carries at the moment (facts.md).
SLOWER = 10.0
STALLED_SHARE = 0.5  # of the time nothing came any more
# When a control also fails, the two must differ by more than chance allows.
CHANCE = 0.02
# A share of attempts that fail, the others passing: named only if nobody else fails, and chance is unlikely.
PARTIAL_CHANCE = 0.1
REPEATED = 3


def genuine(facts: Facts, place: Place, view: NameView) -> set[str]:
    """The addresses to look at, on families that work here: the own path's, or where those are false, the site's."""
    dead = {4: facts.m.conditions.online4 is False, 6: facts.m.conditions.online6 is False}
    visited = {s.address for s in facts.tcp(place) if not dead[s.family]} - view.false
    theirs = {a: facts.control_tcp(place, a) for a in visited - view.truth.addresses}
    visited -= {a for a, count in theirs.items() if count.failed and not count.passed}
    return visited & set(view.addresses) or visited


def findings(facts: Facts, place: Place, view: NameView) -> list[Finding]:
    """What interferes at this hop, layer by layer."""
    addresses = genuine(facts, place, view)
    seen = [
        _tcp(facts, place, [s for s in facts.tcp(place) if s.address in addresses]),
        _tls(facts, place, [s for s in facts.tls(place) if s.address in addresses]),
        _http(facts, place, [s for s in facts.http(place) if s.address in addresses]),
    ]
    return [finding for finding in seen if finding is not None]


def _tcp(facts: Facts, place: Place, tries: Sequence[Tcp]) -> Finding | None:
    failed = [s for s in tries if s.failure is not None]
    method = _TCP.get(_usual(failed) or "")
    if not method or len(failed) < len(tries):
        return None
    per_address = [facts.control_tcp(place, address) for address in {s.address for s in tries}]
    control = Count(sum(c.passed for c in per_address), sum(c.failed for c in per_address))
    if not _differs(len(failed), 0, control, facts.control_arrives(place)):
        return None
    evidence = [method, *_support(failed, control)]
    settled = len(failed) >= REPEATED + 2 and control.passed >= 2 and not control.failed
    return _finding(facts, place, method, failed, evidence, confirmed=settled, reason_id="tcp_cut")


def _tls(facts: Facts, place: Place, tries: Sequence[Tls]) -> Finding | None:
    passed = [s for s in tries if s.failure is None]
    rejected = [s for s in tries if s.failure in f.CERTIFICATE_FAILURES]
    if rejected and not passed:
        return _certificate(facts, place, rejected)
    cut = [s for s in tries if s.failure in INTERRUPTIONS]
    if not cut:
        return None
    method = _tls_method(facts, cut)
    if method is None:
        return None
    innocent, elsewhere = facts.tls(place, Purpose.INNOCENT_NAME), facts.tls(place, Purpose.NAME_ELSEWHERE)
    if passed and method in ("tls.timeout", "throttling.rate"):
        return None  # what packet loss does as well
    control, arrives = facts.control_tls(place), facts.control_arrives(place)
    return _cut(facts, place, method, cut, len(passed), control, innocent, elsewhere, arrives=arrives)


def _tls_method(facts: Facts, cut: Sequence[Tls]) -> str | None:
    failure = _usual(cut) or ""
    trickled = [s for s in cut if began(s)]
    if failure == f.TIMEOUT and len(trickled) * 2 > len(cut):  # the server's answer was on its way
        return None if line_is_slow(facts, trickled) else "throttling.rate"
    return f"tls.{_TLS[failure]}"


def _certificate(facts: Facts, place: Place, rejected: Sequence[Tls]) -> Finding | None:
    control = facts.control_tls(place)
    if not control.passed or control.rejected:
        return None
    evidence = ["tls.certificate", *_support(rejected, control)]
    settled = len(rejected) >= 2 and bool(facts.control_genuine(place) & {s.address for s in rejected})
    reason = {"issuer": rejected[0].chain[0].issuer if rejected[0].chain else None}
    return _finding(
        facts,
        place,
        "tls.certificate",
        rejected,
        evidence,
        confirmed=settled,
        reason_id="certificate_replaced",
        more=reason,
    )


def _http(facts: Facts, place: Place, tries: Sequence[Http]) -> Finding | None:
    passed = [s for s in tries if s.failure is None]
    cut = [s for s in tries if s.failure in INTERRUPTIONS]
    if not cut:
        return None
    method = _http_method(facts, cut)
    if method is None or (passed and not method.endswith(("reset", "eof"))):
        return None
    pages = facts.control_pages(place)
    if cut[0].failure == f.TIMEOUT and not _quicker(facts, pages, cut):
        return None
    complete = sum(1 for p in pages if p.failure is None)
    control = Count(complete or int(facts.control_arrives(place)), len(pages) - complete)
    innocent = [s for s in facts.http(place, Purpose.INNOCENT_NAME) if s.port == place.port]  # not the plain side
    elsewhere = facts.http(place, Purpose.NAME_ELSEWHERE)
    return _cut(facts, place, method, cut, len(passed), control, innocent, elsewhere)


def _http_method(facts: Facts, cut: Sequence[Http]) -> str | None:
    failure = _usual(cut)
    if failure != f.TIMEOUT:
        return f"http.{_TLS[failure or '']}" if failure in (f.RESET, f.EOF, "connection_aborted") else None
    trickled = [s for s in cut if began(s)]
    if len(trickled) * 2 <= len(cut):
        return "http.timeout"
    stalled = [s for s in trickled if s.last_byte_s is not None and s.last_byte_s < s.duration * STALLED_SHARE]
    if facts.m.conditions.checked is None:  # nobody knows how fast this line is; what still flows may be all it carries
        flowing = [s for s in trickled if s.last_byte_s is not None and s not in stalled]
        return None if flowing else "http.timeout"
    if len(stalled) == len(cut) and same_place(cut):
        return "throttling.stall"
    if line_is_slow(facts, trickled):
        return None
    return "throttling.stall" if len(stalled) * 2 > len(trickled) else "throttling.rate"


def _quicker(facts: Facts, pages: Sequence[Http], cut: Sequence[Http]) -> bool:
    """Did a control have the whole page in half the time that we waited? It may be more patient than we are."""
    if facts.m.conditions.checked is None:
        return True
    return any(p.failure is None and 0 < p.duration < cut[0].duration / 2 for p in pages)


def line_is_slow(facts: Facts, trickled: Sequence[Http] | Sequence[Tls]) -> bool:
    """Is the site not slower by SLOWER than what else this line carries, or does nobody know what it carries?"""
    best = max(s.bytes_received / max(s.duration, 0.001) for s in trickled)
    return facts.m.conditions.speed is None or facts.m.conditions.speed < best * SLOWER


def _cut(
    facts: Facts,
    place: Place,
    method: str,
    cut: Sequence[Flow],
    passed: int,
    control: Count,
    innocent: Sequence[Flow],
    elsewhere: Sequence[Flow],
    *,
    arrives: bool = False,
) -> Finding | None:
    """Connections cut after they were made: by the name, if an innocent name passes or the name is cut elsewhere too."""
    innocent_cut = sum(1 for s in innocent if s.failure in INTERRUPTIONS)
    innocent_passed = len(innocent) - innocent_cut
    named = len(elsewhere) >= 2 and all(s.failure in INTERRUPTIONS for s in elsewhere)
    if facts.proxied and not named and (innocent_cut or innocent_passed < 2):
        return None  # some proxies say "connected" before they are, and hang up: it may not be the name
    if passed:
        others = Count(control.passed + innocent_passed, control.failed + innocent_cut)
        if others.failed or same_rate(len(cut), passed, 0, others.passed) > PARTIAL_CHANCE or len(cut) < 2:
            return None
    elif not _differs(len(cut), 0, control, arrives) and not (
        facts.usable and not control.failed and named and innocent_passed >= 2 and not innocent_cut
    ):
        return None
    evidence = [method, *_support(cut, control)]
    if innocent_passed >= 2 and not innocent_cut:
        evidence.append("innocent_passes")
    if innocent_cut and not innocent_passed:
        evidence.append("innocent_cut")
        if elsewhere and all(s.failure not in INTERRUPTIONS for s in elsewhere):
            evidence.append("name_passes_elsewhere")
    if named:
        evidence.append("name_cut_elsewhere")
    settled = not passed and not innocent_cut and (innocent_passed >= 2 or named) and control.passed > 0
    return _finding(facts, place, method, cut, evidence, confirmed=settled, reason_id="flow_cut", denies=not passed)


def _differs(failed: int, passed: int, control: Count, arrives: bool) -> bool:
    """Does the control fare better than the vantage, beyond chance where it fails at times itself?"""
    if not control.passed:
        return arrives and not control.failed and not control.rejected
    return not control.failed or same_rate(failed, passed, control.failed, control.passed) < CHANCE


def _support(failed: Sequence[Flow], control: Count) -> list[str]:
    names = ["repeated"] if len(failed) >= REPEATED else []
    return [*names, "control_passes"] if control.passed and not control.failed else names


def _usual(failed: Sequence[Flow]) -> str | None:
    """The most frequent failure; the first of equals."""
    counted = Counter(s.failure for s in failed).most_common(1)
    return counted[0][0] if counted else None


def _finding(
    facts: Facts,
    place: Place,
    method: str,
    failed: Sequence[Flow],
    evidence: list[str],
    *,
    confirmed: bool,
    reason_id: str,
    denies: bool = True,
    more: Mapping[str, object] | None = None,
) -> Finding:
    reason = {
        "id": reason_id,
        "method": method,
        "name": place.host,
        "address": failed[0].address,
        "port": place.port,
        "failure": _usual(failed),
        "attempts": len(failed),
        **(more or {}),
    }
    return Finding(
        method=method, hop=place.hop, denies=denies, confirmed=confirmed, evidence=tuple(evidence), reason=reason,
        doubted=method in SILENCES and not healthy(facts, place, method, failed),
    )  # fmt: skip


def differing_page(facts: Facts, place: Place, page: Http) -> bool:
    """Does no control see such a page at this URL?"""
    pages = [p for p in facts.control_pages(place) if p.failure is None]
    return bool(pages) and not any(same_page(page, p) for p in pages)
