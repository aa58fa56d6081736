"""facts -> Verdict: pure, total, and the same years later."""

from monitor.models import Measurement, Status, Verdict
from monitor.verdict.evidence import Evidence
from monitor.verdict.fingerprints import KNOWN, Fingerprint
from monitor.verdict.rules import RULES, RULES_VERSION, confidence

__all__ = ["RULES", "RULES_VERSION", "judge"]

_NAMES_INTERFERENCE = (Status.OK, Status.BLOCKED, Status.GEOBLOCKED)


def judge(measurement: Measurement, fingerprints: tuple[Fingerprint, ...] = KNOWN) -> Verdict:
    """The one verdict that the rules give this measurement, whatever is in it. fingerprints: block pages known."""
    evidence = Evidence(measurement, fingerprints)
    rule = next(rule for rule in RULES if rule.holds(evidence))
    findings = [f for f in evidence.findings if f.denies == (rule.status is Status.BLOCKED) or not f.denies]
    findings = findings if rule.status in _NAMES_INTERFERENCE else []
    reasons = [{"id": rule.id}, *(finding.reason for finding in findings)]
    return Verdict(
        status=rule.status,
        methods=tuple(dict.fromkeys(finding.method for finding in findings)),
        confidence=confidence(rule, evidence),
        confirmed=rule.status is Status.BLOCKED and bool(evidence.deciding and evidence.deciding.confirmed),
        rule=rule.id,
        rules_version=RULES_VERSION,
        reasons=tuple(reasons),
    )
