"""The real `almenara run` in the lab: reloads, lists, signals; and what it refuses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab_service import SITES, lab, names, running

__all__ = ["lab", "names", "running"]  # fixtures
pytestmark = pytest.mark.lab
ROOT = Path(__file__).parent.parent


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
