"""systemd's watchdog is told that we live while work goes on, and not while it hangs."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config import load
from monitor.ledger import Ledger
from monitor.liveness import MEASUREMENTS, PATIENCE_S, Liveness
from monitor.service import Service
from monitor.store import Counts, Store, locate


class Watched:
    """A service's liveness on a clock of the test's own, asked each minute."""

    def __init__(self) -> None:
        self.now = 0.0
        self.liveness = Liveness(clock=lambda: self.now)

    def minutes(self, count: float, *, ends: bool = False, waiting: bool = True, **more: float) -> str | None:
        """What is said at the end of so many minutes; ends: a measurement does each minute."""
        said = None
        until = self.now + 60 * count
        while self.now < until:
            self.now += 60
            ended = int(self.now) if ends else 0
            said = self.liveness.hanging(
                waiting=waiting, ended=ended, storing_s=more.get("storing_s", 0.0),
                site_budget_s=more.get("site_budget_s", 120.0),
            )  # fmt: skip
        return said


def test_it_lives_while_measurements_end_whatever_they_find():
    assert Watched().minutes(24 * 60, ends=True) is None


def test_it_lives_while_nothing_is_due():
    watched = Watched()
    assert watched.minutes(24 * 60, waiting=False) is None
    assert watched.minutes(PATIENCE_S / 60) is None  # from here on something is


def test_it_hangs_when_no_measurement_ends_for_long_though_some_are_due():
    watched = Watched()
    watched.minutes(60, ends=True)
    assert watched.minutes(PATIENCE_S / 60) is None
    assert watched.minutes(2) == "no measurement has ended for 16 min, though some are due"
    assert watched.minutes(1, ends=True) is None


def test_a_site_may_take_as_long_as_it_is_given():
    watched = Watched()
    assert watched.minutes(60 * MEASUREMENTS, site_budget_s=3600.0) is None
    assert watched.minutes(60, site_budget_s=3600.0) is not None


def test_it_hangs_when_the_store_does():
    assert Watched().minutes(1, storing_s=PATIENCE_S) is None
    assert Watched().minutes(1, storing_s=PATIENCE_S + 60) == "the store has not answered for 16 min"


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Stalling"]:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with Stalling.open(locate(None)) as opened:
        yield opened


class Stalling(Store):
    """A store on a disk that does not answer until it is let."""

    answers: threading.Event

    def tally(self, counts: Counts) -> None:
        self.answers.wait()


def test_the_ledger_knows_how_long_the_store_takes(store):
    async def work() -> None:
        async def handled(_: object) -> None:
            pass

        ledger, answers, begun = Ledger(store, handled), threading.Event(), threading.Event()

        def stall() -> None:
            begun.set()
            answers.wait()

        assert ledger.busy_s == 0
        doing = asyncio.create_task(ledger.do(stall))
        await asyncio.to_thread(begun.wait)
        before = ledger.busy_s
        await asyncio.sleep(0.01)
        assert ledger.busy_s > before
        answers.set()
        await doing
        assert ledger.busy_s == 0
        ledger.close()

    asyncio.run(work())


def test_systemd_hears_nothing_while_the_store_hangs(store, tmp_path, monkeypatch):
    store.answers = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path / "probes.yaml"  # no sites: nothing is measured
    file.write_text(f"consent: true\nnetwork: {{lookup: false}}\nweb: {{listen: '127.0.0.1:{port}'}}\n")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    hanging: list[logging.LogRecord] = []

    async def until(wanted: bytes) -> None:
        async with asyncio.timeout(20):
            while await asyncio.get_running_loop().sock_recv(listening, 100) != wanted:
                pass

    async def work() -> None:
        service = Service(file, load(file), store, patience_s=0.5)
        running = asyncio.create_task(service.run())
        await until(b"READY=1")
        await until(b"WATCHDOG=1")
        told = asyncio.Event()

        class Told(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if getattr(record, "event", "") == "hanging":
                    hanging.append(record)
                    told.set()

        handler = Told()
        logging.getLogger("almenara").addHandler(handler)
        await service.reload()  # counted in the store
        async with asyncio.timeout(20):
            await told.wait()
        while select_ready(listening):
            listening.recv(100)
        await asyncio.sleep(1.0)  # five times
        assert not select_ready(listening)
        store.answers.set()
        await until(b"WATCHDOG=1")
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        logging.getLogger("almenara").removeHandler(handler)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        listening.bind(str(tmp_path / "notify"))
        asyncio.run(work())
    assert len(hanging) == 1


def select_ready(listening: socket.socket) -> bool:
    """Is there something to be read?"""
    try:
        return bool(listening.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
