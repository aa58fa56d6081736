"""Two ISPs watched at once by a real `almenara run`; a block put up on one of them: how soon is it an event?

    python bench/watch.py [--repeat 6] [--every 60s] [--sites 20] [--seed N]

Seconds from the block to the first blocked measurement, and to the event, both as found in the store. Exit 1 if an event
is missing or false.
"""

import itertools
import statistics
import sys
import time

from watched_lab import TECHNIQUES, Block, Watched, moment, parser_of, stop, told_seed, until, watched_lab

from monitor.lab.namespaces import LabError
from monitor.models import Event, Status

KNOWN_S = 300.0  # until every site was measured on both ISPs
FOUND_S = 900.0
POLL_S = 0.25
UNDER_WAY_S = 60.0  # a measurement that began so long before the block may be the first to meet it


def main() -> int:
    """Watch, block, print; 1 where the lab cannot run."""
    parser = parser_of(__doc__, sites=20, every="60s")
    parser.add_argument("--repeat", type=int, default=6, help="blocks, one after another, each by another technique")
    chosen = parser.parse_args()
    seed = told_seed(chosen)
    try:
        with watched_lab(seed, chosen.sites) as watched:
            watched.configure(every=chosen.every)
            service = watched.start()
            try:
                return _watch(watched, chosen.repeat)
            finally:
                sys.stdout.write(f"the service ended with exit code {stop(service)}\n")
                sys.stdout.writelines(f"{line}\n" for line in watched.said() if line["level"] in ("error", "critical"))
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1


def _watch(watched: Watched, repeat: int) -> int:
    if not until(lambda: _all_known(watched), KNOWN_S):
        sys.stdout.write(f"not every site was measured on both ISPs within {KNOWN_S:g} s\n")
        return 1
    seconds: list[tuple[float | None, float | None]] = []
    for technique in itertools.islice(itertools.cycle(TECHNIQUES), repeat):
        time.sleep(watched.chance.uniform(5, 65))
        block = watched.block(technique)
        seconds.append(_seconds(watched, block))
        watched.lift(block)
        measured, event = (f"{value:6.1f} s" if value is not None else " missing" for value in seconds[-1])
        sys.stdout.write(f"{technique:<14} {block.isp:<10} {block.site:<32} blocked {measured}   event {event}\n")
        sys.stdout.flush()
    with watched.stored() as store:
        false = watched.false_events(store.events())
    return _report(seconds, false)


def _all_known(watched: Watched) -> bool:
    if not watched.database.exists():
        return False
    with watched.stored() as store:
        known = {(point.site, point.network.asn) for point in store.points() if point.status is Status.OK}
    return len(known) == 2 * len(watched.sites)


def _seconds(watched: Watched, block: Block) -> tuple[float | None, float | None]:
    """Until the first blocked measurement, and until the event; None: it did not come."""
    measured: list[float] = []
    found: list[float] = []
    with watched.stored() as store:
        before = {event.id for event in block.found(store.events())}

        def is_found() -> bool:
            since = moment(block.since - UNDER_WAY_S)
            points = () if measured else store.points(since=since, site=block.site, asn=block.asn)
            if any(point.status is Status.BLOCKED for point in points):
                measured.append(time.time() - block.since)
            if any(event.id not in before for event in block.found(store.events())):
                found.append(time.time() - block.since)
            return bool(found)

        until(is_found, FOUND_S, every_s=POLL_S)
    return (measured[0] if measured else None, found[0] if found else None)


def _report(seconds: list[tuple[float | None, float | None]], false: list[Event]) -> int:
    for name, values in (("first blocked measurement", [m for m, _ in seconds]), ("event", [e for _, e in seconds])):
        there = [value for value in values if value is not None]
        if there:
            told = f"median {statistics.median(there):.0f} s, longest {max(there):.0f} s, {len(there)} of {len(values)}"
            sys.stdout.write(f"{name:<26} {told}\n")
    sys.stdout.write(f"{'false events':<26} {len(false)}\n")
    for event in false:
        sys.stdout.write(f"  {event}\n")
    return 1 if false or any(event is None for _, event in seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
