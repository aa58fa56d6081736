"""A real `almenara run` that watches two ISPs of the lab: what the benches of the service share."""

import argparse
import json
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.lines import ISPS
from monitor.models import Event, Kind
from monitor.store import Store

TECHNIQUES: dict[str, dict[str, Any]] = {
    "dns-nxdomain": {},
    "tls-reset": {},
    "drop": {},
    "dns-injection": {"answers": ("10.10.34.34",)},
    "tls-silence": {},
    "tcp-reset": {},
    "tls-eof": {},
}
LEAVES_S = 30.0


def parser_of(doc: str | None, *, sites: int, every: str) -> argparse.ArgumentParser:
    """The options that every bench of the service has, with its own defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=sites)
    parser.add_argument("--every", default=every, help="schedule: every; 10s is the least")
    parser.add_argument("--seed", type=int, default=None)
    return parser


def told_seed(chosen: argparse.Namespace) -> int:
    """The seed that was asked for, or any; printed, so that the run can be repeated."""
    seed: int = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    sys.stdout.write(f"seed {seed}\n")
    return seed


class Block(Struct, kw_only=True):
    """A site that an ISP cuts off, from when to when (seconds since the epoch). number: the lab's."""

    isp: str
    asn: int
    site: str
    technique: str
    number: int
    since: float
    until: float | None = None

    def found(self, events: list[Event]) -> list[Event]:
        """The events of blocking about it."""
        return [one for one in events if one.kind is Kind.BLOCKING and (one.site, _asn(one)) == (self.site, self.asn)]


def _asn(event: Event) -> int | None:
    return event.network.asn if event.network else None


class Watched:
    """The lab, its healthy sites, the folder of the configuration and the store, and the censors that are up."""

    def __init__(self, lab: Lab, folder: Path, sites: list[str], chance: random.Random) -> None:
        self.lab, self.folder, self.sites, self.chance = lab, folder, sites, chance
        self.database = folder / "almenara.db"
        self.log = folder / "log.jsonl"
        self.blocks: list[Block] = []

    def configure(self, *, every: str, concurrency: int = 16) -> Path:
        """Write the configuration: all sites on both ISPs."""
        urls = [self.lab.world.sites[site].url for site in self.sites]
        text = self.lab.probes_yaml(list(ISPS), urls).replace('"concurrency": 16', f'"concurrency": {concurrency}')
        more = {
            "schedule": {"every": every, "jitter": "5s"},
            "store": f"sqlite:{self.database}",
        }
        file = self.folder / "probes.yaml"
        file.write_text(text + "".join(f"{key}: {json.dumps(value)}\n" for key, value in more.items()))
        return file

    def start(
        self, *, wrapped: tuple[str, ...] = (), program: tuple[str, ...] = ("-m", "monitor")
    ) -> "subprocess.Popen[bytes]":
        """Start the service in the uncensored network, where it can reach nothing but the lab."""
        command = [
            *wrapped,
            sys.executable,
            *program,
            "run",
            "-c",
            str(self.folder / "probes.yaml"),
            "--log-format",
            "json",
        ]
        with self.log.open("ab") as log:
            return self.lab.run_in(
                self.lab.control_netns, command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )

    def block(self, technique: str) -> Block:
        """Cut a site off that is not, on one ISP."""
        taken = {block.site for block in self.blocks if block.until is None}
        unused = [site for site in self.sites if site not in {block.site for block in self.blocks}]
        site = self.chance.choice(unused or [site for site in self.sites if site not in taken])
        isp = self.chance.choice(list(ISPS))
        number = self.lab.censor(isp, technique, site, **TECHNIQUES[technique])
        block = Block(
            isp=isp, asn=self.lab.isps[isp].asn, site=site, technique=technique, number=number, since=time.time()
        )
        self.blocks.append(block)
        return block

    def lift(self, block: Block) -> None:
        """Let it through again."""
        self.lab.lift(block.number)
        block.until = time.time()

    @contextmanager
    def stored(self) -> Iterator[Store]:
        """What the service has stored, read beside it."""
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            yield store

    def false_events(self, events: list[Event]) -> list[Event]:
        """Events of any kind that no censor of ours is behind."""
        return [one for one in events if not any(one in block.found([one]) for block in self.blocks)]

    def said(self) -> list[dict[str, Any]]:
        """The lines of the service's log. What is no JSON (a traceback, a line cut short by a kill) as a critical one."""
        return [_line(line) for line in self.log.read_text("utf-8", "replace").splitlines()]


def _line(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {"level": "critical", "text": text}


@contextmanager
def watched_lab(seed: int, sites: int) -> Iterator[Watched]:
    """The lab, running, with a folder of its own that goes with it."""
    with tempfile.TemporaryDirectory(prefix="almenara-bench-") as folder, Lab(draw(seed, healthy=sites)) as lab:
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            os.environ[name] = str(Path(folder) / name.lower())
        lab.start_helper()
        services = {url.split("/")[2] for url in (*lab.world.neutral, *lab.world.doh)}
        healthy = [name for name in lab.world.sites if name not in services]
        yield Watched(lab, Path(folder), healthy, random.Random(seed))


def stop(service: "subprocess.Popen[bytes]") -> int:
    """End it as systemd would; its exit code."""
    service.send_signal(signal.SIGTERM)
    return service.wait(LEAVES_S)


def until(holds: Callable[[], bool], within_s: float, *, every_s: float = 0.5) -> bool:
    """Wait for something that the service does by itself; False where it does not."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def integrity(database: Path) -> str:
    """`ok`, or what SQLite finds wrong."""
    with sqlite3.connect(database) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as the models have it."""
    return datetime.fromtimestamp(seconds, UTC)
