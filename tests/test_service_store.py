"""The real `almenara run` in the lab and its store: killed, on a full disk, wanted by another."""

import json
import time
from pathlib import Path

import pytest
from lab_service import SITES, Running, lab, names, running

__all__ = ["lab", "names", "running"]  # fixtures
pytestmark = pytest.mark.lab


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


def test_a_second_one_on_the_same_store_is_refused(running):
    running.start()
    running.until(lambda: running.said("started"))
    again = Running(running.lab, running.folder, running.names)
    again.log = running.folder / "again"
    assert again.start().wait(30) == 1
    assert again.log.read_text().count("\n") == 1
    assert "another `almenara run` uses this store" in again.log.read_text()
    assert running.process.poll() is None
