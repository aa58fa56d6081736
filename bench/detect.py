"""Events in synthetic histories: found or missed, how soon, in how many pieces, and how often without cause.

    python bench/detect.py [--seed 1] [--site-years 20] [--blocks 150] [--only NAME] [--replay 1000000]

Everything is drawn anew for each seed: cadence, jitter, number of sites and probes, inconclusive share, how noise comes.
Exit 1 if a target of the issue is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from statistics import median

from detect_histories import NOISES, History, Truth, blocked_history, calm_history
from msgspec import Struct, field

from monitor.events import detect
from monitor.models import Event, Kind, Point

_YEAR_S = 365.25 * 86400.0


class Score(Struct):
    """What became of the blocks of one kind."""

    blocks: int = 0
    found: int = 0
    delays: list[int] = field(default_factory=list)
    pieces: int = 0
    onsets: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    spurious: int = 0
    site_s: float = 0.0


def main() -> int:
    """Draw, detect, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--site-years", type=float, default=20.0, help="of calm history, for each kind of noise")
    parser.add_argument("--blocks", type=int, default=150, help="of each kind, at each level of noise")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--replay", type=int, default=0, metavar="N", help="time a replay of N verdicts and stop")
    chosen = parser.parse_args()
    if chosen.replay:
        return _replay(chosen.replay, chosen.seed)
    missed = False
    for name, run in _scenarios(chosen):
        if chosen.only in name:
            line, good = run(Random(f"{chosen.seed} {name}"))
            missed |= not good
            sys.stdout.write(f"{name:<28} {line}{'' if good else '   MISSED'}\n")
            sys.stdout.flush()
    return int(missed)


def _scenarios(chosen: argparse.Namespace) -> Iterator[tuple[str, Callable[[Random], tuple[str, bool]]]]:
    for percent in (2, 6):
        for noise in NOISES:
            yield f"calm {percent} % {noise}", lambda random, p=percent, n=noise: _calm(random, p, n, chosen.site_years)
    for percent in (1, 2, 6):
        for kind in ("full", "partial", "tactical", "national", "daily"):
            for noise in ("lone", "line-bursts", "mixed"):
                yield (
                    f"{kind} {percent} % {noise}",
                    lambda random, p=percent, n=noise, k=kind: _blocks(random, p, n, k, chosen.blocks),
                )


def _calm(random: Random, percent: int, noise: str, site_years: float) -> tuple[str, bool]:
    """False events where nothing was blocked."""
    false, site_s, others = 0, 0.0, 0
    by_cadence: dict[float, list[float]] = {}
    while site_s < site_years * _YEAR_S:
        history = calm_history(random, percent / 100, noise)
        events = detect(history.points)
        blocking = sum(event.kind is Kind.BLOCKING for event in events)
        false += blocking
        others += len(events) - blocking
        site_s += history.site_s
        tally = by_cadence.setdefault(history.cadence_s, [0, 0.0])
        tally[0] += blocking
        tally[1] += history.site_s / _YEAR_S
    rate = false * _YEAR_S / site_s
    shares = " ".join(
        f"{cadence / 60:g}min:{count:g}/{years:.0f}" for cadence, (count, years) in sorted(by_cadence.items())
    )
    limit = 0.2 if percent <= 2 else 1.0
    return (
        f"{rate:.2f} false events a site-year ({false} in {site_s / _YEAR_S:.0f}: {shares}), other kinds {others}",
        rate <= limit or noise == "uneasy",  # no target: nothing tells such hours of a single site from a partial block
    )


def _blocks(random: Random, percent: int, noise: str, kind: str, blocks: int) -> tuple[str, bool]:
    score = Score()
    while score.blocks < blocks:
        history = blocked_history(random, percent / 100, noise, kind)
        _compare(history, detect(history.points), score)
    good = score.found == score.blocks and median(score.delays) <= _limit(kind, percent) and score.pieces == score.found
    delays = sorted(score.delays) or [0]
    line = (
        f"found {score.found}/{score.blocks}, delay median {median(delays):g} 90 % {delays[int(len(delays) * 0.9)]}, "
        f"pieces {score.pieces / max(1, score.found):.2f}, onset off by {_median(score.onsets):.1f}, "
        f"end by {_median(score.ends):.1f} measurements, "
        f"{score.spurious * _YEAR_S / score.site_s:.1f} false a site-year ({score.spurious})"
    )
    return line, good


def _limit(kind: str, percent: int) -> float:
    return {"partial": 15, "tactical": 5, "national": 12, "daily": 4}.get(kind, 4 if percent <= 2 else 6)


def _compare(history: History, events: list[Event], score: Score) -> None:
    """Each block with the events that overlap it; events that overlap none are false."""
    events = [event for event in events if event.kind is Kind.BLOCKING]
    of_site: dict[str, list[Point]] = {}
    for point in sorted(history.points, key=lambda point: point.started):
        of_site.setdefault(point.site, []).append(point)
    used: set[str] = set()
    for block in history.blocks:
        score.blocks += 1
        inside = [event for event in events if _overlaps(event, block)]
        used |= {event.id for event in inside}
        if not inside:
            continue
        score.found += 1
        score.pieces += len(inside)
        first, last = inside[0], inside[-1]
        score.delays.append(
            sum(
                block.started <= point.started.timestamp() and point.started <= first.detected
                for point in of_site[block.site]
            )
        )
        score.onsets.append(abs(first.started.timestamp() - block.started) / history.cadence_s)
        if last.ended and block.ended:
            score.ends.append(abs(last.ended.timestamp() - block.ended) / history.cadence_s)
    score.spurious += sum(event.id not in used for event in events)
    score.site_s += history.site_s


def _overlaps(event: Event, block: Truth) -> bool:
    ended = event.ended.timestamp() if event.ended else float("inf")
    return event.site == block.site and event.started.timestamp() < block.ended and ended > block.started


def _median(values: list[float]) -> float:
    return median(values) if values else float("nan")


def _replay(count: int, seed: int) -> int:
    random = Random(seed)
    points: list[Point] = []
    while len(points) < count:
        points += calm_history(
            random, random.choice((0.01, 0.02, 0.06)), random.choice(NOISES), prefix=f"{len(points)}"
        ).points
    points = points[:count]
    began = time.process_time()
    sorted(points, key=lambda point: (point.started, point.id))
    sorting = time.process_time() - began
    began = time.process_time()
    events = detect(points)
    took = time.process_time() - began
    sys.stdout.write(
        f"{count} verdicts in {took:.1f} s of CPU, {count / took:.0f} a second, {took / sorting:.0f} times as long as "
        f"sorting them takes, {len(events)} events\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
