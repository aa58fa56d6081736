"""Memory of a real `almenara run` in the lab after 500 measurements and after 5,000; and whether a small machine can do it.

    python bench/memory.py [--measurements 5000] [--sites 60] [--every 10s] [--held-minutes 5] [--seed N]

First unhindered, as fast as the schedule goes. Then held to 256 MB and a quarter of a core: measurements per minute, and
kills for want of memory. Exit 1 if memory grew by half, or the held run was killed or stood still.
"""

import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from held import hold
from watched_lab import Watched, parser_of, stop, told_seed, until, watched_lab

from monitor.lab.namespaces import LabError

FEWER = 10  # the first figure is taken after one in so many
MEGABYTES, CORES = 256, 0.25
SITES_OF_SMALL = 22  # as probes.yaml has
POLL_S = 2.0
MOST_S = 7200.0
GREW = 1.5


def main() -> int:
    """Measure, print; 1 where something is wrong, or the lab cannot run."""
    parser = parser_of(__doc__, sites=60, every="10s")
    parser.add_argument("--measurements", type=int, default=5000)
    parser.add_argument("--held-minutes", type=float, default=5.0)
    chosen = parser.parse_args()
    seed = told_seed(chosen)
    try:
        with watched_lab(seed, chosen.sites) as watched:
            watched.configure(every=chosen.every)
            grew = _growth(watched, chosen.measurements)
        with watched_lab(seed, SITES_OF_SMALL) as watched:
            watched.configure(every="60s", concurrency=4)
            held = _held(watched, chosen.held_minutes)
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1
    return grew or held


def _growth(watched: Watched, measurements: int) -> int:
    service = watched.start()
    resident: list[float] = []
    began = time.monotonic()
    try:
        for wanted in (measurements // FEWER, measurements):
            if not until(partial(_has, watched, wanted, service), MOST_S, every_s=POLL_S):
                sys.stdout.write("it took too long\n")
                return 1
            if service.poll() is not None:
                sys.stdout.write(f"the service ended by itself: {watched.said()[-3:]}\n")
                return 1
            now, peak = _mebibytes(service.pid, "VmRSS"), _mebibytes(service.pid, "VmHWM")
            resident.append(now)
            stored, rate = _stored(watched), 60 * _stored(watched) / (time.monotonic() - began)
            sys.stdout.write(
                f"after {stored:>6} measurements     {now:.0f} MiB, at most {peak:.0f} ({rate:.0f} a minute)\n"
            )
            sys.stdout.flush()
    finally:
        if service.poll() is None:
            stop(service)
    sys.stdout.write(f"{'ratio':<29} {resident[1] / resident[0]:.2f}\n")
    return 1 if resident[1] > GREW * resident[0] else 0


def _has(watched: Watched, wanted: int, service: "subprocess.Popen[bytes]") -> bool:
    return _stored(watched) >= wanted or service.poll() is not None


def _held(watched: Watched, minutes: float) -> int:
    held = hold(MEGABYTES, CORES)
    service = watched.start(wrapped=held.wrapper)
    try:
        until(lambda: service.poll() is not None, 60 * minutes, every_s=POLL_S)
        alive = service.poll() is None
        peak = _mebibytes(service.pid, "VmHWM") if alive else 0.0
        stored, kills = _stored(watched), held.oom_kills()
        ended = stop(service) if alive else service.returncode
    finally:
        if service.poll() is None:
            service.kill()
            service.wait()
        held.close()
    shown = "not known" if kills is None else str(kills)
    sys.stdout.write(f"held to {MEGABYTES} MB and {CORES} of a core by {held.how}\n")
    sys.stdout.write(
        f"{'  measurements per minute':<29} {stored / minutes:.1f} ({SITES_OF_SMALL} sites on 2 ISPs each minute)\n"
    )
    sys.stdout.write(f"{'  peak memory':<29} {peak:.0f} MiB\n")
    sys.stdout.write(f"{'  kills for want of memory':<29} {shown}\n")
    sys.stdout.write(f"{'  ended with exit code':<29} {ended}\n")
    return 0 if alive and stored and not kills and ended == 0 else 1


def _stored(watched: Watched) -> int:
    if not watched.database.exists():
        return 0
    with watched.stored() as store:
        return sum(1 for _ in store.points())


def _mebibytes(pid: int, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
