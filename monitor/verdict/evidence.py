"""What a measurement comes to, before any rule is asked: how far the vantage came, and what interferes."""

from collections.abc import Sequence
from functools import cached_property

from monitor import failures as f
from monitor.models import Flow, Measurement, Role
from monitor.verdict import flows, names
from monitor.verdict.arrival import Arrival, Whose, arrive
from monitor.verdict.facts import INTERRUPTIONS, REDIRECTS, Count, Facts, Place
from monitor.verdict.finding import Finding
from monitor.verdict.fingerprints import KNOWN, Fingerprint
from monitor.verdict.likelihood import FLOOR, probability
from monitor.verdict.line import SILENCES
from monitor.verdict.names import NameView
from monitor.verdict.pages import challenges, same_page

CLOCK_WRONG_S = 86_400.0  # certificates are renewed weeks before they end; a day cannot make one invalid


class Evidence:
    """Everything that the rules ask."""

    def __init__(self, measurement: Measurement, fingerprints: tuple[Fingerprint, ...] = KNOWN) -> None:
        self.facts = Facts(measurement, fingerprints)
        self.conditions = measurement.conditions
        self.views: dict[int, NameView] = {place.hop: names.view(self.facts, place) for place in self.facts.places}
        self.arrival: Arrival = arrive(self.facts, self.views)

    @property
    def place(self) -> Place:
        """The hop where the own path ends."""
        return self.arrival.place

    @property
    def view(self) -> NameView:
        """The names of that hop."""
        return self.views.get(self.place.hop, NameView(truth=names.Truth(state="unknown")))

    @property
    def findings(self) -> list[Finding]:
        """All interference found: at the hop where the path ends first, the layer that decides before the others."""
        return [finding for finding in self._suspected if not finding.doubted]

    @cached_property
    def _suspected(self) -> list[Finding]:
        """The same, with what the line itself may have done."""
        found = []
        for place in self.facts.places:
            view = self.views[place.hop]
            if view.lie and view.blame is Role.ISP:
                found.append(view.lie)
            found += flows.findings(self.facts, place, view)
        foreign = self._foreign()
        if foreign:
            found.append(foreign)
        found.sort(key=lambda finding: (not finding.denies, finding.hop != self.place.hop))
        return found

    def _foreign(self) -> Finding | None:
        """The network's page in place of the site's, on the site's own address."""
        page = self.arrival.page
        if self.arrival.whose is not Whose.FOREIGN or page is None:
            return None
        if page.address in self.view.false and "fingerprint" not in self.arrival.proof:
            return None  # the address was the lie; what stands there is no layer of its own
        method = "http.redirect" if page.status in REDIRECTS else "http.blockpage"
        attempts = [p for p in self.facts.http(self.place) if p.address == page.address and same_page(p, page)]
        evidence = [method, *self.arrival.proof, *(["repeated"] if len(attempts) >= flows.REPEATED else [])]
        settled = {"fingerprint", "name_cut_elsewhere"} & set(self.arrival.proof)
        reason = {
            "id": "page_replaced",
            "method": method,
            "name": self.place.host,
            "status": page.status,
            "title": page.title,
        }
        return Finding(
            method=method, hop=self.place.hop, denies=True, confirmed=bool(settled), evidence=tuple(evidence), reason=reason
        )  # fmt: skip

    @cached_property
    def deciding(self) -> Finding | None:
        """The finding that keeps the vantage from the site, where its own path ends."""
        return self._kept_from_the_site(self.findings)

    def _kept_from_the_site(self, findings: Sequence[Finding]) -> Finding | None:
        if self.arrival.whose in (Whose.GENUINE, Whose.REFUSAL, Whose.LOOP):
            return None
        return next((finding for finding in findings if finding.denies and finding.hop == self.place.hop), None)

    @cached_property
    def layer(self) -> str:
        """The deepest layer that the own path reached at its last hop."""
        own = set(self.view.addresses) or {s.address for s in self.facts.tcp(self.place) if "literal" in s.sources}
        reached: list[tuple[str, Sequence[Flow]]] = [
            ("http", self.facts.http(self.place)),
            ("tls", self.facts.tls(self.place)),
            ("tcp", self.facts.tcp(self.place)),
        ]
        return next((layer for layer, seen in reached if any(s.address in own for s in seen)), "dns")

    @cached_property
    def control_ran(self) -> bool:
        """Is there anything to compare with in the layer where the path ends?"""
        return bool(self.facts.usable) or (self.layer == "dns" and self.view.truth.state != "unknown")

    @cached_property
    def control_gets_page(self) -> bool:
        """A control was served where the vantage was not."""
        pages = [p for p in self.facts.control_pages(self.place) if p.failure is None and p.status is not None]
        return any((p.status or 0) < 400 for p in pages) or (not pages and self.facts.control_arrives())

    @cached_property
    def control_refused(self) -> bool:
        """Every answer the controls got turned them away as well."""
        pages = [p for p in self.facts.control_pages(self.place) if p.failure is None and p.status is not None]
        return bool(pages) and all((p.status or 0) >= 400 for p in pages)

    @cached_property
    def control_fails(self) -> bool:
        """Every control fails in the layer where the own path ends."""
        if self.layer == "dns":
            return self.view.truth.state == "broken" and self.view.failure is not None
        if self.layer == "tcp":
            return _never(self.facts.control_tcp(self.place))
        if self.layer == "tls":
            return _never(self.facts.control_tls(self.place))
        pages = self.facts.control_pages(self.place)
        return bool(pages) and all(p.failure is not None for p in pages)

    @property
    def name_is_gone(self) -> bool:
        """The name does not exist, for anybody; what a resolver may answer for every such name is no block."""
        gone = self.view.truth.state == "nonexistent" and self.deciding is None and self.layer == "dns"
        return gone or self.view.wildcard

    @cached_property
    def line_is_overloaded(self) -> bool:
        """Connections are cut, and to most neutral sites as well; or silent or slow on a line not proven healthy."""
        if self.deciding is None:
            return self._kept_from_the_site(self._suspected) is not None
        if self.deciding.layer == "dns":
            return False
        neutral = [check for check in self.conditions.neutral if check.family == 4 or self.conditions.online6]
        return 2 * sum(1 for check in neutral if check.failure in INTERRUPTIONS) > len(neutral)

    @property
    def too_weak(self) -> bool:
        """Is what decides less likely than FLOOR, or a silence of which we saw too little? Others' recordings try once."""
        if self.deciding is None:
            return False
        ours = self.conditions.checked is not None
        once = ours and self.deciding.method in SILENCES and "repeated" not in self.deciding.evidence
        return once or probability(self.deciding.evidence) < FLOOR

    @property
    def refused_on_purpose(self) -> bool:
        """By its status or a challenge; an error, or "too many requests", comes by chance as well."""
        page = self.arrival.page
        return page is not None and ((page.status or 0) not in (429, *range(500, 600)) or challenges(page))

    @cached_property
    def certificates_are_replaced(self) -> bool:
        """A proxy of the house replaces certificates: of every neutral site, or of one, by the very same issuer."""
        if self.conditions.intercepted:
            return True
        issuers = {check.issuer for check in self.conditions.neutral if check.failure in f.CERTIFICATE_FAILURES}
        rejected = [s for s in self.facts.tls(self.place) if s.failure in f.CERTIFICATE_FAILURES]
        return any(s.chain and s.chain[0].issuer in issuers for s in rejected)

    @property
    def offline(self) -> bool:
        """No neutral site can be reached on any family."""
        return self.conditions.online4 is False and self.conditions.online6 is not True

    @property
    def clock_is_wrong(self) -> bool:
        """This machine's clock is far from the world's: every certificate looks expired or not yet valid."""
        return abs(self.conditions.clock_offset or 0.0) > CLOCK_WRONG_S

    @cached_property
    def residual(self) -> bool:
        """Cut where a neighbour met interference a moment ago, with nothing to show that it is about this name."""
        if not self.conditions.neighbours or self.deciding is None or self.deciding.layer == "dns":
            return False
        about_the_name = {"name_cut_elsewhere", "innocent_passes", "fingerprint"}
        return not about_the_name & set(self.deciding.evidence)


def _never(count: Count) -> bool:
    return not count.passed and bool(count.failed or count.rejected)
