"""The real `almenara run` in the lab: it watches two ISPs from the uncensored network, and is asked there."""

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import labs
import pytest

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import enter
from monitor.models import Event, Kind, Point, Status
from monitor.store import Store

PORT = 9105
SITES = 3


def with_helper(seed: int, *, healthy: int) -> Iterator[Lab]:
    """A lab with so many healthy sites, neutral ones among them; skipped where it cannot run."""
    with labs.started(draw(seed, healthy=healthy)) as running:
        yield running


def healthy(lab: Lab) -> list[str]:
    """The names of its sites that are no service of its own."""
    services = {url.split("/")[2] for url in (*lab.world.neutral, *lab.world.doh)}
    return [name for name in lab.world.sites if name not in services]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from with_helper(7, healthy=SITES + 1)


@pytest.fixture(scope="module")
def names(lab: Lab) -> list[str]:
    """Healthy sites."""
    return healthy(lab)[:SITES]


class Running:
    """A service in the lab, its configuration, store and log."""

    def __init__(self, lab: Lab, folder: Path, names: list[str]) -> None:
        self.lab, self.folder, self.names = lab, folder, names
        self.file, self.log, self.database = folder / "probes.yaml", folder / "log", folder / "almenara.db"
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, *, every: str = "10s", more: str = "", names: list[str] | None = None) -> None:
        urls = [self.lab.world.sites[name].url for name in names or self.names]
        sections = {
            "schedule": {"every": every, "jitter": "1s"}, "store": f"sqlite:{self.database}",
            "network": {"lookup": False}, "web": {"listen": f"127.0.0.1:{PORT}"},
        }  # fmt: skip
        text = self.lab.probes_yaml(["cantv", "movilnet"], urls)
        self.file.write_text(text + "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items()) + more)

    def start(self, *wrapped: str) -> "subprocess.Popen[bytes]":
        command = [*wrapped, sys.executable, "-m", "monitor", "run", "-c", str(self.file), "--log-format", "json"]
        home = {key: str(self.folder / key.lower()) for key in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
        command = ["env", *(f"{key}={value}" for key, value in home.items()), *command]
        with self.log.open("ab") as log:
            self.process = self.lab.run_in(
                self.lab.control_netns, command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of the log so far; those that are no JSON are errors of the command."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        told = [json.loads(line) if line.startswith("{") else {"event": "", "text": line} for line in lines if line]
        return [line for line in told if event in ("", line["event"])]

    def until(self, holds: Callable[[], Any], within_s: float = 60.0) -> Any:
        """What the service does by itself, waited for."""
        deadline = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            assert self.process is None or self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.2)
        return found

    def request(
        self, method: str, path: str, base: str = f"http://127.0.0.1:{PORT}", host: str = "localhost"
    ) -> tuple[int, str]:
        """Asked inside the service's own network: its status, 0 where nothing answers, and its text."""
        with ThreadPoolExecutor(1) as thread:  # which goes there, and ends there
            return thread.submit(self._asked, method, base + path, host).result()

    def _asked(self, method: str, url: str, host: str) -> tuple[int, str]:
        enter(self.lab.control_netns)
        roots = ssl.create_default_context(cafile=str(self.lab.ca_file))
        with httpx.Client(trust_env=False, verify=roots, timeout=30) as client:
            try:
                answer = client.request(method, url, headers={"Host": host}, extensions={"sni_hostname": host})
            except httpx.TransportError:
                return 0, ""
        return answer.status_code, answer.text.strip()

    def stored(self) -> list[str]:
        """The ids of what is stored."""
        if not self.database.exists():
            return []
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            return [point.id for point in store.points()]

    def blocked(self, site: str) -> list[Point]:
        """The measurements that found a site blocked."""
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            return [point for point in store.points(site=site) if point.status is Status.BLOCKED]

    def events(self) -> list[Event]:
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            return [event for event in store.events() if event.kind is Kind.BLOCKING]


@pytest.fixture
def running(lab: Lab, names: list[str], tmp_path: Path) -> Iterator[Running]:
    service = Running(lab, tmp_path, names)
    yield service
    if service.process and service.process.poll() is None:
        service.process.kill()
        service.process.wait()
