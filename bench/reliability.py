"""How often verdicts are right in the lab, and whether their confidence says so.

    python bench/reliability.py [--seeds 5 | --seed 7 --seed 8 ..] [--concurrency 16] [--only NAME ..]

Runs the whole table of scenarios in one world for each seed (by default five chosen at random) and prints: verdicts
right of all, what was wrong, false and missed blocks, methods named without cause, the Brier score and a reliability
table. The table is the lab's: it says whether confidence grows with being right, where one scenario in so many is
blocked as the table has them. It says nothing of the field, whose base rate is another. Exit 1 if anything was wrong.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import LabError
from monitor.lab.scenarios import BY_NAME, SCENARIOS
from monitor.lab.table import Outcome, line_of, measure_table
from monitor.models import Status

# Upper edges of the classes of confidence. Most verdicts are near certain: the classes are narrow there.
EDGES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


class Judged(Struct, frozen=True):
    """A verdict that states its confidence, and whether its status was right."""

    confidence: float
    right: bool


def main() -> int:
    """Measure, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="so many, chosen at random")
    parser.add_argument("--seed", type=int, action="append", help="this one; may be repeated")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument(
        "--only", action="append", choices=sorted(BY_NAME), metavar="NAME", help="this scenario; may be repeated"
    )
    chosen = parser.parse_args()
    outcomes: list[Outcome] = []
    try:
        for seed in chosen.seed or [secrets.randbelow(1_000_000) for _ in range(chosen.seeds)]:
            outcomes += _table(seed, chosen.only, chosen.concurrency)
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in (*_summary(outcomes), *_reliability(_judged(outcomes)))))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def _table(seed: int, only: Sequence[str] | None, concurrency: int) -> list[Outcome]:
    """The whole table in one world."""

    def told(outcome: Outcome) -> None:
        if outcome.faults:
            sys.stdout.write(f"  {line_of(outcome)}\n")

    began = time.monotonic()
    sys.stdout.write(f"seed {seed}\n")
    with Lab(draw(seed, [BY_NAME[name] for name in only] if only else SCENARIOS)) as lab:
        lab.start_helper()
        outcomes = asyncio.run(measure_table(lab, concurrency=concurrency, told=told))
    right = sum(1 for outcome in outcomes if not outcome.faults)
    sys.stdout.write(f"  {right} of {len(outcomes)} right in {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()
    return outcomes


def _summary(outcomes: Sequence[Outcome]) -> Iterable[str]:
    verdicts = [(o.scenario, o.measurement.verdict) for o in outcomes if o.measurement.verdict]
    due = [(s.methods, s.may, frozenset(v.methods)) for s, v in verdicts]
    wanted, named = sum(len(methods) for methods, _, _ in due), sum(len(methods & found) for methods, _, found in due)
    extra = sum(len(found - methods - may) for methods, may, found in due)
    false = sum(1 for s, v in verdicts if v.status is Status.BLOCKED and Status.BLOCKED not in s.statuses)
    missed = sum(1 for s, v in verdicts if v.status is not Status.BLOCKED and s.statuses == {Status.BLOCKED})
    yield f"\nscenarios right:             {sum(1 for o in outcomes if not o.faults)} of {len(outcomes)}"
    yield f"false blocks, missed blocks: {false}, {missed}"
    yield f"techniques named right:      {named} of {wanted}"
    yield f"methods named without cause: {extra}"


def _judged(outcomes: Iterable[Outcome]) -> list[Judged]:
    verdicts = [(o.scenario, o.measurement.verdict) for o in outcomes if o.measurement.verdict]
    return [Judged(v.confidence, v.status in s.statuses) for s, v in verdicts if v.confidence is not None]


def _reliability(judged: Sequence[Judged]) -> Iterable[str]:
    if not judged:
        return
    brier = sum((one.confidence - one.right) ** 2 for one in judged) / len(judged)
    yield f"Brier score:                 {brier:.4f} over {len(judged)} verdicts with a confidence"
    yield "\nreliability in the lab (its base rate is not the field's)"
    yield "  confidence      verdicts  stated   right"
    below = 0.0
    for edge in EDGES:
        within = [one for one in judged if below < one.confidence <= edge]
        if within:
            stated = sum(one.confidence for one in within) / len(within)
            right = sum(one.right for one in within) / len(within)
            yield f"  {below:.2f} to {edge:.2f} {len(within):>11} {stated:>7.3f} {right:>7.3f}"
        below = edge


if __name__ == "__main__":
    sys.exit(main())
