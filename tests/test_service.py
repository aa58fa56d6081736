"""The real `almenara run` in the lab: two ISPs watched at once, through blocks, reloads, kills and a full disk."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import LabError
from monitor.models import Event, Kind, Status
from monitor.store import Store

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent
PORT = 9105
SITES = 3


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        with Lab(draw(7, healthy=SITES + 1)) as running:
            running.start_helper()
            yield running
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def names(lab: Lab) -> list[str]:
    """Healthy sites."""
    services = {url.split("/")[2] for url in (*lab.world.neutral, *lab.world.doh)}
    return [name for name in lab.world.sites if name not in services][:SITES]


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
        """Asked inside the service's own network."""
        code = (
            "import sys, httpx\n"
            "method, url, host, roots = sys.argv[1:]\n"
            "with httpx.Client(trust_env=False, verify=roots) as client:\n"
            "    more = {'headers': {'Host': host}, 'extensions': {'sni_hostname': host}}\n"
            "    answer = client.request(method, url, **more)\n"
            "print(answer.status_code, answer.text)"
        )
        command = [sys.executable, "-c", code, method, base + path, host, str(self.lab.ca_file)]
        asking = self.lab.run_in(self.lab.control_netns, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        status, _, text = asking.communicate(timeout=30)[0].decode().partition(" ")
        return int(status or 0), text.strip()

    def stored(self) -> list[str]:
        """The ids of what is stored."""
        if not self.database.exists():
            return []
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            return [point.id for point in store.points()]

    def blocked(self, site: str) -> list[str]:
        """The ids of measurements that found a site blocked."""
        with Store.open(f"sqlite:{self.database}", create=False) as store:
            return [point.id for point in store.points(site=site) if point.status is Status.BLOCKED]

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


@pytest.mark.slow
def test_a_block_is_measured_again_at_once_and_an_event_when_the_detector_is_sure(lab, running, names):
    running.configure(every="30s")
    running.start()
    running.until(lambda: len(running.stored()) >= 4 * SITES, 90)
    number = lab.censor("cantv", "tls-reset", names[0])
    try:
        running.until(lambda: running.said("verdict"), 60)  # a period, and what measuring takes
        told = running.until(lambda: [line for line in running.said("event") if line["kind"] == "blocking"], 180)
        assert (told[0]["site"], told[0]["network"]["asn"], told[0]["change"]) == (names[0], 8048, "started")
    finally:
        lab.lift(number)
    assert running.stop() == 0
    assert len(running.blocked(names[0])) >= 4
    [event] = running.events()
    assert (event.site, event.methods, event.ended) == (names[0], ("tls.reset",), None)
    assert [line for line in running.said() if line.get("level") == "error"] == []


def test_reload_by_signal_and_by_request(running, names):
    running.configure(names=names[:1])
    process = running.start()
    running.until(lambda: running.said("started"))
    running.until(lambda: running.stored())
    running.configure(more="nonsense: 1\n")
    assert running.request("POST", "/-/reload") == (400, f"{running.file}:10: nonsense: unknown key, expected consent")
    process.send_signal(signal.SIGHUP)
    failed = running.until(lambda: len(running.said("reload_failed")) == 2 and running.said("reload_failed"))
    assert failed[1]["text"].endswith("the old configuration stays")
    assert json.loads(running.request("GET", "/healthz")[1])["sites"] == 1
    running.configure()
    process.send_signal(signal.SIGHUP)
    running.until(lambda: running.said("reloaded"))
    assert json.loads(running.request("GET", "/healthz")[1])["sites"] == SITES
    running.until(lambda: running.request("POST", "/-/reload") == (200, "reloaded"), 5)
    running.file.write_text(running.file.read_text().replace("consent: true", "consent: false"))
    assert running.request("POST", "/-/reload")[0] == 400
    assert process.wait(15) == 2  # a yes that is taken back ends measuring
    assert "consent: false" in running.said()[-1]["text"]


def test_a_vantage_may_leave_and_return_while_it_runs(running):
    process = running.start()
    running.until(lambda: running.stored())
    whole = running.file.read_text()
    vantages = json.loads(re.search(r"^vantages: (.*)$", whole, re.MULTILINE)[1])
    running.file.write_text(whole.replace(json.dumps(vantages), json.dumps(vantages[:1])))
    process.send_signal(signal.SIGHUP)
    running.until(lambda: running.said("reloaded"))
    assert json.loads(running.request("GET", "/healthz")[1])["vantages"] == 1
    running.file.write_text(whole.replace(json.dumps(vantages[0]["via"]), '{"netns": "/proc/1/ns/none"}'))
    assert running.request("POST", "/-/reload")[0] == 200
    assert "no network namespace /proc/1/ns/none here" in running.said("vantage")[0]["text"]
    health = json.loads(running.request("GET", "/healthz")[1])
    assert (health["vantages"], health["absent"]) == (1, [vantages[0]["name"]])
    running.file.write_text(whole)
    assert running.request("POST", "/-/reload")[0] == 200
    assert json.loads(running.request("GET", "/healthz")[1])["vantages"] == 2
    assert running.stop() == 0
    assert running.said("bug") == []


def test_what_was_acknowledged_survives_kill_9_and_it_goes_on_by_the_stored_times(running):
    running.configure(every="60s")
    running.start()
    first = running.until(lambda: len(found := running.stored()) == 2 * SITES and found, 90)
    running.process.kill()
    running.process.wait()
    running.start()
    running.until(lambda: running.said("started")[1:])
    time.sleep(2)  # what is not due is not measured
    assert len(running.stored()) <= len(first) + 2
    running.until(lambda: len(running.stored()) >= 3 * SITES, 120)
    assert set(first) <= set(running.stored())
    assert running.stop() == 0


@pytest.mark.root
def test_a_full_disk_is_told_once_and_measuring_goes_on(running):
    small = running.folder / "small"
    small.mkdir()
    running.database = small / "almenara.db"
    running.configure()
    mounted = f'mount -t tmpfs -o size=1500k none {small} && exec "$@"'
    process = running.start("unshare", "-m", "sh", "-c", mounted, "sh")
    running.until(lambda: running.said("started"))
    inside = Path(f"/proc/{process.pid}/root{small}")
    with (inside / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass
    running.until(lambda: running.said("store_trouble"))
    assert running.request("GET", "/healthz")[0] == 503
    before = json.loads(running.request("GET", "/healthz")[1])["unsaved"]
    running.until(lambda: json.loads(running.request("GET", "/healthz")[1])["unsaved"] > before)
    (inside / "ballast").unlink()
    running.until(lambda: running.said("store_well"))
    running.until(lambda: running.request("GET", "/healthz")[0] == 200)
    assert len(running.said("store_trouble")) == 1
    assert running.stop() == 0


def test_two_vantages_share_one_control(lab, running):
    def served() -> int:
        text = running.request("GET", "/metrics", f"https://{lab.world.control.addresses[0]}", lab.world.helper)[1]
        return int(float(re.search(r'almenara_helper_requests_total\{result="measured"\} (\S+)', text)[1]))

    running.start()
    running.until(lambda: len(running.stored()) >= 2 * SITES)  # each vantage has learnt its own address
    running.until(lambda: json.loads(running.request("GET", "/healthz")[1])["last_measurement"])
    before, stored = served(), len(running.stored())
    running.until(lambda: len(running.stored()) >= stored + 8 * SITES)
    asked, measured = served() - before, len(running.stored()) - stored
    assert asked <= 0.75 * measured
    assert running.stop() == 0
    with Store.open(f"sqlite:{running.database}", create=False) as store:
        for measurement in store.measurements():
            assert measurement.verdict.status is Status.OK
            assert any(control.failure is None for control in measurement.controls)


def test_sites_that_join_a_list_wait_and_are_measured_when_approved(lab, running, names):
    urls = [lab.world.sites[name].url for name in names]
    path = running.folder / "ve.csv"

    def listed(*some: str) -> None:
        path.write_text("url,category_code\n" + "".join(f"{url},NEWS\n" for url in some))

    listed(urls[0])
    running.configure(names=[names[1]], more=f"lists: [{{path: {path}}}]\n")
    running.start()
    running.until(lambda: running.said("started"))
    listed(urls[0], urls[2])
    assert running.request("POST", "/-/reload")[0] == 200
    assert running.said("sites_waiting")[0]["waiting"] == 1
    assert json.loads(running.request("GET", "/healthz")[1])["sites"] == 2
    command = [sys.executable, "-m", "monitor", "sites", "-c", str(running.file), "--approve", urls[2]]
    environment = os.environ | {"XDG_STATE_HOME": str(running.folder / "xdg_state_home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert running.request("POST", "/-/reload")[0] == 200
    assert json.loads(running.request("GET", "/healthz")[1])["sites"] == 3
    assert running.stop() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_within_seconds_and_says_so(running, number, code):
    running.start()
    running.until(lambda: running.stored())
    begun = time.monotonic()
    assert running.stop(number) == code
    assert time.monotonic() - begun < 8
    assert running.said()[-1]["event"] == "stopped"
    assert "Traceback" not in running.log.read_text()


def test_a_second_one_on_the_same_store_is_refused(running):
    running.start()
    running.until(lambda: running.said("started"))
    again = Running(running.lab, running.folder, running.names)
    again.log = running.folder / "again"
    assert again.start().wait(30) == 1
    assert again.log.read_text().count("\n") == 1
    assert "another `almenara run` uses this store" in again.log.read_text()
    assert running.process.poll() is None


def command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`almenara run` outside the lab, where it must not come to measure anything."""
    home = {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    return subprocess.run(
        [sys.executable, "-m", "monitor", "run", *arguments], cwd=folder, env=inherited | home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_nothing_is_watched_without_consent(tmp_path):
    (tmp_path / "probes.yaml").write_text("sites: ['https://a.example/']\n")
    done = command(tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nothing is measured without consent" in done.stderr


def test_a_stores_folder_that_is_not_there_is_one_line_and_worth_another_try(tmp_path):
    (tmp_path / "probes.yaml").write_text(f"consent: true\nstore: 'sqlite:{tmp_path}/usb/x.db'\n")
    done = command(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"the folder {tmp_path}/usb is not there" in done.stderr
    assert not (tmp_path / "usb").exists()


def test_a_taken_port_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "probes.yaml").write_text(f"consent: true\nweb: {{listen: '127.0.0.1:{port}'}}\n")
        done = command(tmp_path)
    assert (done.returncode, done.stderr) == (
        1, f"almenara: web.listen: cannot serve on 127.0.0.1:{port}: address already in use\n",
    )  # fmt: skip


def test_without_a_configuration_it_says_where_one_is_expected(tmp_path):
    done = command(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
