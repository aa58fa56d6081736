"""The table of scenarios, measured in the lab with seeds drawn at random: what the censor does -> the verdict that is due.

ALMENARA_SEEDS: how many seeds (5), or the seeds themselves ("17,99"), to see a failure again.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from random import SystemRandom

import pytest
from labs import possible

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.scenarios import SCENARIOS
from monitor.lab.table import Outcome, line_of, measure_table
from monitor.models import Status

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHOSEN = os.environ.get("ALMENARA_SEEDS", "5")
GIVEN = [int(seed) for seed in CHOSEN.split(",") if seed] if "," in CHOSEN else []
TABLES = range(len(GIVEN) or int(CHOSEN))
# A table waits more than it computes, but other tests measure beside it: more would colour each other's figures.
AT_ONCE = 3
Tables = dict[int, Future[list[Outcome]]]


def measure(seed: int) -> list[Outcome]:
    """The whole table, with one seed."""
    with Lab(draw(seed, SCENARIOS)) as lab:
        lab.start_helper()
        outcomes = asyncio.run(measure_table(lab, told=lambda outcome: None))
        busy = {outcome.measurement.url for outcome in outcomes if outcome.faults and overloaded(outcome)}
        cases = [case for case in lab.world.cases if case.url in busy]
        again = asyncio.run(measure_table(lab, concurrency=2, cases=cases, told=lambda outcome: None)) if cases else []
        return [outcome for outcome in outcomes if outcome.measurement.url not in busy] + again


def overloaded(outcome: Outcome) -> bool:
    """The machine was too busy for the lab's lines: as `almenara run` does, measure again, a minute later and alone."""
    verdict = outcome.measurement.verdict
    return verdict is not None and verdict.rule == "line_overloaded"


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    """Under way, by seed. Seeds are drawn anew each time, so that nothing can be tuned to them."""
    possible()
    seeds = GIVEN or SystemRandom().sample(range(1_000_000), len(TABLES))
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        yield {seed: pool.submit(measure, seed) for seed in seeds}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("number", TABLES)
def test_every_scenario_gets_the_verdict_that_is_due(tables: Tables, number: int, capsys):
    seed, table = list(tables.items())[number]
    outcomes = sorted(table.result(), key=lambda outcome: outcome.scenario.name)
    with capsys.disabled():
        print(f"\nseed {seed}", *map(line_of, outcomes), sep="\n")
    assert len(outcomes) == len(SCENARIOS)
    wrong = [f"seed {seed}: {line_of(outcome)}" for outcome in outcomes if outcome.faults]
    assert not wrong, "\n".join(wrong)


def test_nobody_is_accused_falsely_and_no_block_is_missed(tables: Tables):
    outcomes = [outcome for table in tables.values() for outcome in table.result()]
    accused = [o for o in outcomes if o.measurement.verdict.status is Status.BLOCKED]
    assert not [line_of(o) for o in accused if Status.BLOCKED not in o.scenario.statuses]
    due = [o for o in outcomes if o.scenario.statuses == {Status.BLOCKED}]
    assert not [line_of(o) for o in due if o.measurement.verdict.status is not Status.BLOCKED]
