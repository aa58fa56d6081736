"""What no detector can do: how many verdicts in a row a full block needs before it can be told from noise.

    python bench/detect_bound.py [--site-years 200] [--seed N]

One site of one probe, never blocked, its noise as in detect.py, and a detector that is told the law of that noise: it waits
for as many false verdicts in a row as come by chance no oftener than is allowed (0.2 a site-year, 1 at 6 %). Fewer, and it
makes more false events. `mixed, own` leaves the bursts of the line out, as if a detector knew every one of them by the
other sites: it holds however many sites there are.
"""

import argparse
import sys
from collections import Counter
from itertools import islice
from random import Random

from detect_histories import Setting, Trouble

from monitor.models import Network

ALLOWED = {0.01: 0.2, 0.02: 0.2, 0.06: 1.0}
CADENCES_S = (300.0, 600.0, 3600.0)
LAWS = (("line-bursts", False), ("runs", False), ("mixed", False), ("mixed", True))
YEAR_S = 365.25 * 86_400
PIECES = 20  # each draws how long runs go on, and the bursts, anew


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site-years", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.stdout.write(f"{'noise':<14} share  in a row at 5, 10, 60 minutes\n")
    for kind, own in LAWS:
        for noise, allowed in ALLOWED.items():
            needed = [
                _needed(_runs(asked.seed, asked.site_years, cadence, noise, kind, own), asked.site_years * allowed)
                for cadence in CADENCES_S
            ]
            name = f"{kind}, own" if own else kind
            sys.stdout.write(f"{name:<14} {noise:>4.0%}   {', '.join(map(str, needed))}\n")
            sys.stdout.flush()
    return 0


def _runs(seed: int, years: int, cadence_s: float, noise: float, kind: str, own: bool) -> Counter[int]:
    """Length -> how many runs of false verdicts are that long."""
    random, lengths = Random(seed), Counter[int]()
    days = years * 365.25 / PIECES
    setting = Setting(cadence_s, days, ("site.example",), ("",), Network(), 0.0, False, 0.0)
    for _ in range(PIECES):
        length = 0
        verdicts = Trouble(random, setting, noise, kind, own=own).on("site.example")
        for false in islice(verdicts, round(days * 86_400 / cadence_s)):
            if not false:
                lengths[length] += 1
            length = length + 1 if false else 0
        lengths[length] += 1
    return lengths


def _needed(lengths: Counter[int], allowed: float) -> int:
    """The least length that no more runs than these reach."""
    length = 1
    while sum(count for run, count in lengths.items() if run >= length) > allowed:
        length += 1
    return length


if __name__ == "__main__":
    sys.exit(main())
