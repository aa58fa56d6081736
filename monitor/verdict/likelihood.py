"""From evidence to a probability: log10 likelihood ratios, kept apart from the prior.

A ratio says how much more often a finding is made where the site is blocked than where it is not. Ratios fitted on 126
human labels by OONI's analysis (facts.md): TLS reset +2.0, bogon +1.8, an unmatched answer alone +0.6. The others are set
beside those by how easily an innocent network produces the same finding; `bench/reliability.py` checks all of them in
the lab, whose base rate says nothing of the field's.
"""

import math
from collections.abc import Iterable

# What is watched is watched for a reason: one site in ten of a news list is taken to be blocked on a network that blocks.
# For a list of arbitrary sites it would be one in a hundred (-2); ratios and prior are kept apart so that it can be changed.
PRIOR_LOG10_ODDS = -1.0

LOG10_LR = {
    # what was found
    "dns.nxdomain": 2.0,
    "dns.no_answer": 1.5,
    "dns.servfail": 1.0,  # may be a broken zone or an authoritative server out of reach
    "dns.refused": 1.5,
    "dns.timeout": 1.0,
    "dns.bogon": 1.8,
    "dns.hijack": 2.0,
    "dns.injection": 2.5,
    "tcp.timeout": 1.0,
    "tcp.refused": 1.5,
    "tcp.unreachable": 1.5,
    "tls.reset": 2.0,
    "tls.timeout": 1.5,
    "tls.eof": 1.8,
    "tls.alert": 1.8,
    "tls.certificate": 2.0,
    "http.reset": 2.0,
    "http.timeout": 1.5,
    "http.eof": 1.5,
    "http.blockpage": 1.5,
    "http.redirect": 1.5,
    "http.modified": 1.0,
    "throttling.rate": 1.5,
    "throttling.stall": 1.5,
    # what supports it
    "repeated": 1.0,  # three attempts agree: 21 % of first failures are transient, about none after three (CensMon)
    "control_passes": 0.5,  # the control made the same step, every time
    "innocent_passes": 1.5,
    "innocent_cut": -1.5,  # whatever is said there is cut: the address is, and the server itself may do that
    "name_cut_elsewhere": 2.0,
    "name_passes_elsewhere": -1.0,
    "genuine_reached": 2.0,  # a valid certificate at an address the resolver withheld
    "several_sources": 0.5,
    "forged_answer_seen": 2.0,
    "dead_name_denied": 1.0,
    "fingerprint": 3.0,
    "https_side_differs": 1.5,
}

# A verdict of `blocked` less sure than that is not given: weak evidence accuses nobody.
FLOOR = 0.75
CAP = 0.999  # no single measurement is surer than that


def probability(evidence: Iterable[str]) -> float:
    """The posterior probability of interference, 0 to CAP."""
    log_odds = PRIOR_LOG10_ODDS + sum(LOG10_LR[name] for name in evidence)
    return round(min(CAP, 1 / (1 + math.pow(10, -log_odds))), 3)


def same_rate(failed_a: int, passed_a: int, failed_b: int, passed_b: int) -> float:
    """How likely a is to fail at least this much more often than b if both failed alike (Fisher's exact test)."""
    failed, a, b = failed_a + failed_b, failed_a + passed_a, failed_b + passed_b
    ways = [math.comb(a, k) * math.comb(b, failed - k) for k in range(failed_a, min(failed, a) + 1)]
    return sum(ways) / math.comb(a + b, failed)
