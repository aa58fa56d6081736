"""Measures the table of scenarios in a running lab, and says how each came out."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

from msgspec import Struct

from monitor import assemble
from monitor.config import parse
from monitor.lab.box import Lab
from monitor.lab.scenario import Scenario
from monitor.lab.scenarios import BY_NAME, FINGERPRINT, faults
from monitor.lab.world import Case
from monitor.measure import Prober
from monitor.models import Measurement
from monitor.steps.tls import client_context
from monitor.sweep import Sweep
from monitor.verdict.fingerprints import KNOWN, Fingerprint

FINGERPRINTS = (*KNOWN, Fingerprint(id="lab.known", where="body", text=FINGERPRINT, source="the lab"))


class Outcome(Struct, frozen=True, kw_only=True):
    """A scenario and what was measured. faults: what is wrong with the verdict."""

    scenario: Scenario
    measurement: Measurement
    faults: tuple[str, ...]


async def measure_table(
    lab: Lab, *, concurrency: int = 16, cases: Iterable[Case] | None = None, told: Callable[[Outcome], None]
) -> list[Outcome]:
    """The cases (by default all of the lab's world), `concurrency` at once over all lines, each from its own line."""
    by_line: dict[str, dict[str, Scenario]] = {}
    together = {scenario.beside for scenario in BY_NAME.values()}
    # Neighbours first: the echo of a trigger takes a minute to die away, while others are measured.
    for case in sorted(lab.world.cases if cases is None else cases, key=lambda case: case.scenario not in together):
        by_line.setdefault(case.line, {})[case.url] = BY_NAME[case.scenario]
    outcomes: list[Outcome] = []
    slots = asyncio.Semaphore(concurrency)

    async def one_line(prober: Prober, due: dict[str, Scenario]) -> None:
        async def put(measurement: Measurement) -> None:
            outcomes.append(_outcome(due[measurement.url], measurement))
            told(outcomes[-1])

        await Sweep(prober, put, slots).over(due)

    async with AsyncExitStack() as open_until:
        context = client_context(str(lab.ca_file))
        lines = [one_line(prober_on(lab, line, context, open_until), due) for line, due in by_line.items()]
        await asyncio.gather(*lines)
    return outcomes


def prober_on(lab: Lab, line: str, context: ssl.SSLContext, open_until: AsyncExitStack) -> Prober:
    """A prober on one of the lab's lines, configured as a volunteer's would be, who also knows the lab's block page."""
    config = parse(lab.probes_yaml([line]), "lab")
    prober = assemble.prober(config, config.vantages[0], context, open_until)
    prober.fingerprints = FINGERPRINTS
    return prober


def _outcome(scenario: Scenario, measurement: Measurement) -> Outcome:
    wrong = faults(scenario, measurement.verdict) if measurement.verdict else ["not judged"]
    return Outcome(scenario=scenario, measurement=measurement, faults=tuple(wrong))


def line_of(outcome: Outcome) -> str:
    """One row of the table: expected and found."""
    scenario, verdict = outcome.scenario, outcome.measurement.verdict
    due = "|".join(sorted(scenario.statuses)) + " " + ",".join(sorted(scenario.methods))
    found = f"{verdict.status} {','.join(verdict.methods)} ({verdict.rule})" if verdict else "not judged"
    wrong = f"  WRONG: {'; '.join(outcome.faults)}" if outcome.faults else ""
    return f"{scenario.name:<34} {outcome.measurement.runtime:6.1f} s  {due:<44} {found}{wrong}"
