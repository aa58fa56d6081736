"""Prometheus, promtool and Alertmanager of Debian's for tests, on free ports of the loopback, with their data in a folder
of the test; each is stopped by its process id. And a desk: the webhook that alerts arrive at.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

STARTS_S = 30.0
Series = list[dict[str, Any]]
Kind = TypeVar("Kind", bound="Server")


def program(name: str, package: str) -> str:
    """Where a program is. Where it is not: pytest's skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def promtool(*arguments: str | Path, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Prometheus' own checker. text: its standard input."""
    command = [program("promtool", "prometheus"), *map(str, arguments)]
    env = os.environ | {"GOGC": "400"}  # by default a fifth of its time goes into collecting garbage
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False, env=env)


def amtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Alertmanager's."""
    command = [program("amtool", "prometheus-alertmanager"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Answered(Exception):
    """Prometheus refused a query; its message."""


class Server:
    """A running server at a URL."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def ask(self, path: str, **parameters: Any) -> Any:
        """The JSON of an answer. Raises Answered where it refuses."""
        answer = self._client.get(path, params=parameters).json()
        if isinstance(answer, dict) and answer.get("status", "success") != "success":
            raise Answered(f"{answer.get('errorType')}: {answer.get('error')}")
        return answer

    def close(self) -> None:
        """No more questions."""
        self._client.close()

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()


class Prometheus(Server):
    """A running Prometheus."""

    def now(self, expression: str, at: float | None = None) -> Series:
        """What a query answers at a moment, by default now."""
        data = self.ask("/api/v1/query", query=expression, **({} if at is None else {"time": at}))["data"]
        return [data["result"]] if data["resultType"] == "scalar" else data["result"]

    def over(self, expression: str, start: float, end: float, step_s: float) -> Series:
        """What a query answers over a range of time."""
        asked = {"query": expression, "start": start, "end": end, "step": step_s}
        return self.ask("/api/v1/query_range", **asked)["data"]["result"]

    def value(self, expression: str) -> float | None:
        """The one value that a query answers now; None where there is none."""
        found = self.now(expression)
        return float(found[0]["value"][1]) if found else None

    def alerts(self, name: str, state: str = "firing") -> list[dict[str, str]]:
        """The labels of the alerts of a name."""
        alerts = self.ask("/api/v1/alerts")["data"]["alerts"]
        return [one["labels"] for one in alerts if one["labels"]["alertname"] == name and one["state"] == state]


class Desk:
    """Receives Alertmanager's notifications. messages: their JSON, in order."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def alerts(self, name: str, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts of a name that have arrived with that status."""
        received = [alert for message in self.messages for alert in message["alerts"]]
        return [one for one in received if one["labels"]["alertname"] == name and one["status"] == status]


@contextmanager
def desk() -> Iterator[tuple[Desk, str]]:
    """A desk, and its URL."""
    receiving = Desk()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiving.messages.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiving, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def prometheus(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus of that configuration while the block runs."""
    file = folder / "prometheus.json"
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [program("prometheus", "prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with _running(folder, "prometheus", [*command, "--web.listen-address={address}"], Prometheus) as server:
        yield server


@contextmanager
def alertmanager(folder: Path, config: dict[str, Any]) -> Iterator[Server]:
    """An Alertmanager of that configuration while the block runs, alone."""
    file = folder / "alertmanager.json"
    file.write_text(json.dumps(config))
    command = [program("prometheus-alertmanager", "prometheus-alertmanager"), f"--config.file={file}"]
    command += [f"--storage.path={folder / 'alerts'}", "--cluster.listen-address=", "--web.listen-address={address}"]
    with _running(folder, "alertmanager", command, Server) as server:
        yield server


@contextmanager
def _running(folder: Path, name: str, command: list[str], kind: type[Kind]) -> Iterator[Kind]:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = "{}:{}".format(*unused.getsockname())
    log = folder / f"{name}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [word.format(address=address) for word in command], stdin=subprocess.DEVNULL, stdout=written, stderr=written
        )
    server = kind(f"http://{address}", log)
    try:
        _await_ready(process, server)
        yield server
    finally:
        server.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", server: Server) -> None:
    deadline = time.monotonic() + STARTS_S
    while True:
        try:
            if httpx.get(f"{server.url}/-/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, server.log()[-2000:]
        assert time.monotonic() < deadline, server.log()[-2000:]
        time.sleep(0.1)


UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?<![\w.$])(\d+)([smhdw])(?![\w:])")


def faster(text: str, times: float) -> str:
    """PromQL or YAML whose durations (`[1h]`, `offset 1d`, `for: 5m`) are so many times as short, a second at the least."""

    def shorter(found: re.Match[str]) -> str:
        return f"{max(1, round(int(found[1]) * UNIT_S[found[2]] / times))}s"

    return _DURATION.sub(shorter, text)
