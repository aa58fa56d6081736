"""The rules: facts -> verdict. A table with stable ids; the first that matches decides.

Renaming an id is a breaking change for whoever analyses historical verdicts. Every change of rules raises
RULES_VERSION and is told in CHANGELOG.md under "Verdicts".
"""

from collections.abc import Callable

from msgspec import Struct

from monitor.models import Status
from monitor.verdict.arrival import ALIKE, Whose
from monitor.verdict.evidence import Evidence
from monitor.verdict.likelihood import probability

RULES_VERSION = 3


class Rule(Struct, frozen=True):
    """id, when it holds, what follows, and why that is right. confidence: for statuses that no finding decides."""

    id: str
    holds: Callable[[Evidence], bool]
    status: Status
    why: str
    confidence: float | None = None


def _decided(layer: str) -> Callable[[Evidence], bool]:
    return lambda e: e.deciding is not None and e.deciding.layer == layer


def _blocked(layer: str, why: str) -> Rule:
    return Rule(f"blocked_{layer}", _decided(layer), Status.BLOCKED, why)


# Confidences of rules without findings: a verified page is wrong only if a public authority was subverted; OONI's page
# comparison is wrong for 1.4 % of pages (Jones et al. 2014); the others are checked by bench/reliability.py.
RULES: tuple[Rule, ...] = (
    Rule("network_changed", lambda e: e.conditions.network_changed is True,
         Status.INCONCLUSIVE, "The vantage changed networks while it measured: what was seen belongs to neither."),
    Rule("page_verified", lambda e: e.arrival.whose is Whose.GENUINE and bool(e.arrival.page and e.arrival.page.verified),
         Status.OK, "A complete page over a valid certificate is the site, whatever else was seen.", 0.999),
    Rule("page_alike", lambda e: e.arrival.whose is Whose.GENUINE and ALIKE in e.arrival.proof,
         Status.OK, "A page over plain http that resembles the control's by its length or its headers only.", 0.9),
    Rule("page_same", lambda e: e.arrival.whose is Whose.GENUINE,
         Status.OK, "A page over plain http that the control, or the https side of the host, confirms.", 0.98),
    Rule("network_down", lambda e: e.offline,
         Status.INCONCLUSIVE, "No neutral site can be reached: this vantage has no network."),
    Rule("clock_wrong", lambda e: e.clock_is_wrong,
         Status.INCONCLUSIVE, "With a clock that far off no certificate can be judged."),
    Rule("captive_portal", lambda e: e.conditions.captive_portal is True,
         Status.INCONCLUSIVE, "Every plain page is replaced by a sign-in page."),
    Rule("certificates_replaced", lambda e: e.certificates_are_replaced,
         Status.INCONCLUSIVE, "Every certificate is replaced: a company's or an antivirus program's proxy, not a censor of sites."),
    Rule("site_refuses_vantage", lambda e: e.arrival.whose is Whose.REFUSAL and e.control_gets_page and e.refused_on_purpose,
         Status.GEOBLOCKED, "The site itself turns this vantage away and serves the control.", 0.97),
    Rule("site_error", lambda e: e.arrival.whose is Whose.REFUSAL and e.control_refused and _server_error(e),
         Status.DOWN, "The site answers everyone with an error.", 0.98),
    Rule("site_refuses_everyone", lambda e: e.arrival.whose is Whose.REFUSAL and e.control_refused,
         Status.OK, "The site itself answers, the same to everyone.", 0.95),
    Rule("error_here", lambda e: e.arrival.whose is Whose.REFUSAL and e.control_gets_page,
         Status.INCONCLUSIVE, "The site itself answers with an error here and not to the control: trouble of its own, perhaps."),
    Rule("refused_without_control", lambda e: e.arrival.whose is Whose.REFUSAL,
         Status.INCONCLUSIVE, "The site turns this vantage away; nobody can say whether only this one."),
    Rule("loop_for_everyone", lambda e: e.arrival.whose is Whose.LOOP and bool(e.facts.usable) and not e.facts.control_arrives(),
         Status.DOWN, "Redirects without end, for the control too.", 0.97),
    Rule("loop_here", lambda e: e.arrival.whose is Whose.LOOP,
         Status.INCONCLUSIVE, "Redirects that lead nowhere, and no control that says whether for everyone."),
    Rule("site_at_bogon", lambda e: e.view.truth.state == "bogon",
         Status.DOWN, "The name leads to an address that cannot be public, for everyone.", 0.98),
    Rule("ghost_name", lambda e: e.view.ghost,
         Status.INCONCLUSIVE, "The name does not exist and is answered; a forgery or a wildcard for every dead name."),
    Rule("name_gone", lambda e: e.name_is_gone,
         Status.DOWN, "The name does not exist, for everyone.", 0.99),
    Rule("resolver_outage", lambda e: e.view.outage and not (e.deciding and e.deciding.layer != "dns"),
         Status.INCONCLUSIVE, "The resolver fails for every name."),
    Rule("local_resolver", lambda e: e.view.lie is not None and e.deciding is None,
         Status.INCONCLUSIVE, "A resolver that is not the ISP's denies the name: a Pi-hole or a filtering service, perhaps."),
    Rule("residual_neighbour", lambda e: e.residual,
         Status.INCONCLUSIVE, "A neighbour on the same address was cut a moment ago; what follows may be its echo."),
    Rule("line_overloaded", lambda e: e.line_is_overloaded,
         Status.INCONCLUSIVE, "Neutral sites are cut, silent or slow as well, or nothing proves that they are not."),
    Rule("weak_evidence", lambda e: e.too_weak,
         Status.INCONCLUSIVE, "Something interferes, perhaps; it is not sure enough to accuse anybody."),
    _blocked("dns", "The resolver's answer is false while trusted sources and the site itself say otherwise."),
    _blocked("tcp", "The genuine address cannot be connected to from here; the control connects."),
    _blocked("tls", "The handshake with the genuine address is cut or its certificate replaced; the control's is not."),
    _blocked("http", "The request is cut, or another page comes than the control gets."),
    _blocked("throttling", "The page comes ten times slower than what else this line carries, or stops; not for the control."),
    Rule("no_control", lambda e: not e.control_ran,
         Status.INCONCLUSIVE, "Without a control, blocked and down look the same."),
    Rule("fails_for_everyone", lambda e: e.arrival.whose is Whose.NOTHING and e.control_fails,
         Status.DOWN, "The control fails in the same layer.", 0.97),
    Rule("page_unproven", lambda e: e.arrival.whose in (Whose.UNPROVEN, Whose.FOREIGN),
         Status.INCONCLUSIVE, "Another page than the control's, and nothing that tells whose."),
    Rule("undecided", lambda e: True,
         Status.INCONCLUSIVE, "The evidence contradicts itself or does not suffice."),
)  # fmt: skip


def _server_error(e: Evidence) -> bool:
    return e.arrival.page is not None and (e.arrival.page.status or 0) >= 500


def confidence(rule: Rule, e: Evidence) -> float | None:
    """The probability that the status is right; None where none is given."""
    if rule.status is Status.INCONCLUSIVE:
        return None
    if rule.status is Status.BLOCKED and e.deciding is not None:
        return probability(e.deciding.evidence)
    return rule.confidence
