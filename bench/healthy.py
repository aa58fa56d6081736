"""False alarms: healthy sites over a bad line, 5 % of the packets lost each way, 150 ms round trip.

    python bench/healthy.py [--measurements 10000] [--sites 250] [--concurrency 64] [--loss 0.05] [--rtt-ms 150] [--seed 1]
    python bench/healthy.py --measurements 50 --sites 12 --concurrency 4 --loss 0 --rate-kbit 100    # narrow, and full

Prints every measurement that is not `ok`, and the count of each verdict. Exit 1 if a healthy site was called blocked.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from pathlib import Path

from healthy_lab import FAST, healthy_lab, measured

from monitor.lab.box import Lab
from monitor.lab.namespaces import LabError
from monitor.models import Measurement, Status, to_json

Seen = Counter[tuple[str, str, str]]


def main() -> int:
    """Measure, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=10_000)
    parser.add_argument("--sites", type=int, default=250)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--rtt-ms", type=float, default=150.0)
    parser.add_argument("--rate-kbit", type=int, default=FAST * 8 // 1000, help="of the line, kbit/s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="append the measurements that are not plainly ok to this file")
    chosen = parser.parse_args()
    try:
        line = {"rtt_s": chosen.rtt_ms / 1000, "loss": chosen.loss, "rate": chosen.rate_kbit * 1000 // 8}
        with healthy_lab(chosen.seed, chosen.sites, **line) as (lab, urls):
            found = asyncio.run(_count(lab, urls, chosen))
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1
    return _report(found)


async def _count(lab: Lab, urls: list[str], chosen: argparse.Namespace) -> Seen:
    found: Seen = Counter()
    began = time.monotonic()
    every = list(itertools.islice(itertools.cycle(urls), chosen.measurements))
    async for measurement in measured(lab, every, chosen.concurrency):
        found[_verdict(measurement)] += 1
        if _verdict(measurement)[0] != Status.OK or _verdict(measurement)[1]:
            sys.stderr.write(f"{measurement.url}: {' '.join(_verdict(measurement))}\n")
            if chosen.keep:
                with chosen.keep.open("ab") as file:
                    file.write(to_json(measurement) + b"\n")
        if found.total() % 500 == 0:
            sys.stderr.write(f"{found.total()} in {time.monotonic() - began:.0f} s\n")
    return found


def _verdict(measurement: Measurement) -> tuple[str, str, str]:
    verdict = measurement.verdict
    return (verdict.status, ",".join(verdict.methods), verdict.rule) if verdict else ("not judged", "", "")


def _report(found: Seen) -> int:
    for (status, methods, rule), count in found.most_common():
        sys.stdout.write(f"{count:>7}  {status:<13} {rule:<28} {methods}\n")
    false = sum(count for (status, _, _), count in found.items() if status == Status.BLOCKED)
    named = sum(count for (_, methods, _), count in found.items() if methods)
    sys.stdout.write(f"false blocks: {false} of {found.total()}; with a method named: {named}\n")
    return 1 if false else 0


if __name__ == "__main__":
    sys.exit(main())
