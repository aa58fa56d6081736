"""The table of scenarios: what a censor does, and the verdict that is due.

A scenario is a row in `interference.py`, `innocence.py` or `troubles.py`; docs/lab.md says how to add one.
"""

from monitor.lab.draw import KNOWN_PHRASE
from monitor.lab.innocence import INNOCENCE
from monitor.lab.interference import INTERFERENCE
from monitor.lab.scenario import Scenario
from monitor.lab.troubles import TROUBLES
from monitor.models import Verdict

SCENARIOS: tuple[Scenario, ...] = (*INTERFERENCE, *INNOCENCE, *TROUBLES)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

# What is known of the lab's known block page; the judge's list of fingerprints must be given it.
FINGERPRINT = KNOWN_PHRASE


def faults(scenario: Scenario, verdict: Verdict) -> list[str]:
    """What is wrong with a verdict on a scenario; nothing when it is right."""
    wrong = []
    if verdict.status not in scenario.statuses:
        wrong.append(f"status {verdict.status}, expected {' or '.join(sorted(scenario.statuses))}")
    named = frozenset(verdict.methods)
    wrong += [f"{method} not named" for method in sorted(scenario.methods - named)]
    wrong += [f"{method} named without cause" for method in sorted(named - scenario.methods - scenario.may)]
    return wrong
