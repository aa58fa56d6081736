"""`almenara run` in a network namespace of its own, without any network: what it says and does by itself."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def written(folder: Path, *vantages: str, more: str = "") -> Path:
    """A configuration of these vantages, each on a line of its own, the first on line 6."""
    file = folder / "probes.yaml"
    head = (
        "consent: true\nnetwork: {lookup: false}\nmeasure: {timeout: 1s, budget: 2s}\n"
        "control: {resolvers: [], helpers: []}\nvantages:\n"
    )
    file.write_text(head + "".join(f"- {{{vantage}, resolvers: ['127.0.0.1:1']}}\n" for vantage in vantages) + more)
    return file


class Running:
    """`almenara run` in a network namespace of its own, without any network."""

    def __init__(self, file: Path) -> None:
        self.log = file.parent / "log"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(file.parent)}
        environment |= {key: str(file.parent / key) for key in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        command += [sys.executable, "-m", "monitor", "run", "-c", str(file), "--log-format", "json"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def said(self, event: str) -> list[str]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["text"] for line in lines if line["event"] == event]

    def until(self, holds: Callable[[], Any], within_s: float = 30.0) -> None:
        """What the service does by itself, waited for."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def inside(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command], check=True)
