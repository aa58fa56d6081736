"""What becomes of measurements when the store is in trouble. The stores here are of the test's own."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.journal import open_journal
from monitor.ledger import MOST_UNSAVED, Ledger
from monitor.models import Conditions, Event, Incident, Kind, Measurement, Network
from monitor.store import StoreError

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
EVENT = Event(
    id="e", revision=1, kind=Kind.SILENCE, site=None, network=None, methods=(), started=NOON, started_range=(None, NOON),
    detected=NOON, ended=None, ended_range=None, confidence=0.9, measurements=3, probes=1,
)  # fmt: skip


def measurement(number: int) -> Measurement:
    return Measurement(
        id=str(number), url="https://a.example/", site="a.example", vantage="cantv", probe="p", network=Network(),
        started=NOON, runtime=1.0, verdict=None, conditions=Conditions(),
    )  # fmt: skip


class Disk:
    """A store that can be full, or have a bug with one measurement."""

    def __init__(self) -> None:
        self.full = False
        self.poison: str | None = None
        self.stored: list[str] = []
        self.events: list[Event] = []
        self.threads: set[int] = set()

    def append(self, measurements: Sequence[Measurement], count: Any = None) -> int:
        self._write()
        if self.poison in [one.id for one in measurements]:
            raise TypeError("a bug")
        self.stored += [one.id for one in measurements]
        return len(measurements)

    def save_events(self, events: Sequence[Event], incidents: Sequence[Incident] = ()) -> None:
        self._write()
        self.events += events

    def _write(self) -> None:
        self.threads.add(threading.get_ident())
        if self.full:
            raise StoreError("full", "the disk is full")


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    written: list[dict[str, Any]] = []
    root = logging.getLogger()
    before = root.handlers[:], root.level
    open_journal("json", lambda line: written.append(json.loads(line)))
    yield written
    root.handlers[:] = before[0]
    root.setLevel(before[1])


class Kept:
    """A disk, a ledger on it, and what the ledger handed on."""

    def __init__(self) -> None:
        self.disk, self.handled = Disk(), list[str]()
        self.handle = self._note
        self.ledger = Ledger(self.disk, lambda measurements: self.handle(measurements), retry_s=0.05)

    async def _note(self, measurements: Sequence[Measurement]) -> None:
        self.handled += [one.id for one in measurements]


def run(work: Callable[[Kept], Any]) -> None:
    async def ready() -> None:
        kept = Kept()
        try:
            await work(kept)
        finally:
            kept.ledger.close()

    asyncio.run(asyncio.wait_for(ready(), 20))


def test_everything_is_stored_in_order_from_one_thread_and_handed_on(said):
    async def work(kept: Kept) -> None:
        for number in range(120):
            kept.ledger.put(measurement(number))
        kept.ledger.put_events([EVENT], [])
        await kept.ledger.flush()
        assert kept.disk.stored == kept.handled == [str(number) for number in range(120)]
        assert kept.disk.events == [EVENT]
        assert len(kept.disk.threads) == 1
        assert kept.disk.threads != {threading.get_ident()}
        assert kept.ledger.unsaved == 0

    run(work)
    assert said == []


def test_a_full_disk_stops_neither_measuring_nor_detecting_and_is_told_once(said):
    async def work(kept: Kept) -> None:
        kept.disk.full = True
        for number in range(5):
            kept.ledger.put(measurement(number))
            kept.ledger.put_events([EVENT], [])
            await kept.ledger.flush()
        assert kept.handled == ["0", "1", "2", "3", "4"]
        assert (str(kept.ledger.problem), kept.ledger.unsaved) == ("the disk is full", 5)
        kept.disk.full = False
        await kept.ledger.flush()
        assert kept.disk.stored == ["0", "1", "2", "3", "4"]
        assert kept.disk.events == [EVENT]
        assert (kept.ledger.problem, kept.ledger.unsaved) == (None, 0)
        assert kept.handled == ["0", "1", "2", "3", "4"]

    run(work)
    assert [line["event"] for line in said] == ["store_trouble", "store_well"]
    assert "nothing was lost" in said[1]["text"]


def test_memory_is_bounded_and_the_loss_is_told(said):
    async def work(kept: Kept) -> None:
        kept.disk.full = True
        for number in range(MOST_UNSAVED + 7):
            kept.ledger.put(measurement(number))
        await kept.ledger.flush()
        assert kept.ledger.unsaved == MOST_UNSAVED
        kept.disk.full = False
        await kept.ledger.flush()
        assert kept.disk.stored[0] == "7"
        assert len(kept.disk.stored) == MOST_UNSAVED

    run(work)
    assert said[-1]["lost"] == 7


def test_one_measurement_that_cannot_be_stored_costs_itself(said):
    async def work(kept: Kept) -> None:
        kept.disk.poison = "3"
        for number in range(10):
            kept.ledger.put(measurement(number))
        await kept.ledger.flush()
        assert sorted(kept.disk.stored) == sorted(str(number) for number in range(10) if number != 3)
        assert kept.ledger.problem is None

    run(work)
    assert [line["event"] for line in said] == ["bug"]


def test_a_bug_in_detection_does_not_keep_measurements_from_being_stored(said):
    async def work(kept: Kept) -> None:
        async def broken(_: Sequence[Measurement]) -> None:
            raise IndexError("a bug")

        kept.handle = broken
        for number in range(3):
            kept.ledger.put(measurement(number))
            await kept.ledger.flush()
        assert kept.disk.stored == ["0", "1", "2"]

    run(work)
    assert {line["event"] for line in said} == {"bug"}


def test_it_stores_by_itself_as_things_come_and_when_the_disk_has_room_again(said):
    async def work(kept: Kept) -> None:
        running = asyncio.create_task(kept.ledger.run())
        kept.disk.full = True
        kept.ledger.put(measurement(0))
        await until(lambda: kept.ledger.problem is not None)
        kept.disk.full = False
        await until(lambda: kept.disk.stored == ["0"])
        kept.ledger.put(measurement(1))
        await until(lambda: kept.disk.stored == ["0", "1"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(work)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another task does; the test's own deadline ends it."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
