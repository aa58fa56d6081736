"""A real `almenara run` in the lab, ended by `kill -9` at a random moment of each minute, while blocks come and go.

    python bench/soak.py [--minutes 20] [--every 20s] [--sites 20] [--seed N]

Everything that the store acknowledged must be in it at the end, once; the database whole; each block that stood for long
enough one event, and no other events. Exit 1 otherwise.
"""

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from msgspec import Struct
from watched_lab import TECHNIQUES, Block, Watched, integrity, parser_of, stop, told_seed, until, watched_lab

from monitor.lab.namespaces import LabError
from monitor.models import Event
from monitor.store import Store, StoreError

ACKNOWLEDGING = os.path.join(os.path.dirname(__file__), "acknowledging.py")
MINUTE_S = 60.0
WARMS_UP_S = 90.0  # before the first block: a site that is blocked when first seen is another case
BLOCKED_S = (520.0, 640.0)  # how long a block stands
EVERY_S = 75.0  # a new block
LONG_ENOUGH_S = 500.0  # for an event: reports within 90 s repeat each other, and restarts come in between
SETTLES_S = 60.0  # after the last block, without a kill


class Figures(Struct, kw_only=True):
    """What is counted."""

    kills: int = 0
    starts: int = 0
    failed_starts: int = 0


class Censor:
    """Puts blocks up and lifts them, as time passes."""

    def __init__(self, watched: Watched, now: float, last: float) -> None:
        """last: after it no new block comes."""
        self._watched, self._last = watched, last
        self._techniques = itertools.cycle(TECHNIQUES)
        self._next = now + WARMS_UP_S
        self._lift: list[tuple[float, Block]] = []

    def act(self, now: float) -> None:
        """What is due."""
        for at, block in [due for due in self._lift if due[0] <= now]:
            self._watched.lift(block)
            self._lift.remove((at, block))
        if self._next <= now < self._last:
            block = self._watched.block(next(self._techniques))
            self._lift.append((now + self._watched.chance.uniform(*BLOCKED_S), block))
            self._next = now + EVERY_S


def main() -> int:
    """Soak and count; 1 where something is wrong, or the lab cannot run."""
    parser = parser_of(__doc__, sites=20, every="20s")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--keep", type=Path, help="copy the database, the log and the rest to this new folder")
    chosen = parser.parse_args()
    seed = told_seed(chosen)
    try:
        with watched_lab(seed, chosen.sites) as watched:
            os.environ["ALMENARA_ACKNOWLEDGED"] = str(watched.folder / "acknowledged")
            watched.configure(every=chosen.every)
            figures = _soak(watched, chosen.minutes * MINUTE_S)
            if chosen.keep:
                shutil.copytree(watched.folder, chosen.keep)
            return _report(watched, figures)
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1


def _soak(watched: Watched, seconds: float) -> Figures:
    figures = Figures()
    began = time.monotonic()
    censor = Censor(watched, began, began + seconds - LONG_ENOUGH_S)
    service = _start(watched, figures)
    for minute in range(int(seconds // MINUTE_S)):
        kill_at = began + minute * MINUTE_S + watched.chance.uniform(5.0, MINUTE_S)
        _pass(censor, kill_at)
        service.send_signal(signal.SIGKILL)
        service.wait()
        figures.kills += 1
        _note(watched, figures, began)
        service = _start(watched, figures)
    _pass(censor, time.monotonic() + SETTLES_S)
    if stop(service) != 0:
        figures.failed_starts += 1
    return figures


def _pass(censor: Censor, moment: float) -> None:
    def come() -> bool:
        censor.act(time.monotonic())
        return time.monotonic() >= moment

    until(come, max(0.0, moment - time.monotonic()) + 1.0, every_s=0.1)


def _start(watched: Watched, figures: Figures) -> "subprocess.Popen[bytes]":
    figures.starts += 1
    return watched.start(program=(ACKNOWLEDGING,))


def _note(watched: Watched, figures: Figures, began: float) -> None:
    up = sum(block.until is None for block in watched.blocks)
    sys.stderr.write(f"{time.monotonic() - began:6.0f} s: kill {figures.kills}, {up} blocks up\n")


def _report(watched: Watched, figures: Figures) -> int:
    notes = (watched.folder / "acknowledged").read_text().splitlines()
    acknowledged = {note for note in notes if note}
    with watched.stored() as store:
        points = list(store.points())
        events = store.events()
        lost = acknowledged - {point.id for point in points}
        unread = sum(not _is_readable(store, point.id) for point in points)
    same_start = len(points) - len({(point.site, point.network.asn, point.started) for point in points})
    whole = integrity(watched.database)
    long = [block for block in watched.blocks if (block.until or time.time()) - block.since >= LONG_ENOUGH_S]
    found = [len(block.found(events)) for block in long]
    false = watched.false_events(events)
    errors = [line for line in watched.said() if line["level"] in ("error", "critical")]
    rows = {
        "kills, starts": f"{figures.kills}, {figures.starts} ({figures.failed_starts} that did not end cleanly)",
        "measurements stored": str(len(points)),
        "acknowledged": str(len(acknowledged)),
        "acknowledged and lost": str(len(lost)),
        "stored, but unreadable": str(unread),
        "stored twice": str(len(points) - len({point.id for point in points}) + same_start),
        "database": f"{whole}, {watched.database.stat().st_size / 1e6:.1f} MB, {_journal(watched)}",
        "blocks that stood long": f"{len(long)}, found {sum(n > 0 for n in found)}, as several events {sum(n > 1 for n in found)}",
        "false events": str(len(false)),
        "errors in the log": str(len(errors)),
    }
    for name, figure in rows.items():
        sys.stdout.write(f"{name:<26} {figure}\n")
    _details(long, events, false, errors)
    wrong = lost or unread or whole != "ok" or false or same_start or 0 in found or max(found, default=0) > 1
    return 1 if wrong or errors or figures.failed_starts else 0


def _is_readable(store: Store, id: str) -> bool:
    try:
        return store.measurement(id) is not None
    except StoreError:
        return False


def _journal(watched: Watched) -> str:
    with sqlite3.connect(watched.database) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return f"journal {mode}"


def _details(long: list[Block], events: list[Event], false: list[Event], errors: list[dict[str, object]]) -> None:
    for block in long:
        found = block.found(events)
        if len(found) != 1:
            sys.stdout.write(f"  {len(found)} events of {block.technique} on {block.isp} {block.site}\n")
            sys.stdout.writelines(f"    {event}\n" for event in found)
    sys.stdout.writelines(f"  false: {event}\n" for event in false)
    sys.stdout.writelines(f"  error: {line}\n" for line in errors[:10])


if __name__ == "__main__":
    sys.exit(main())
