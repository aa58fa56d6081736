"""Writes to the store from one thread, and keeps what the store does not take until it does.

A measurement is acknowledged when the store has it; detection goes on meanwhile, since a full disk is no reason to miss
a block.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from monitor.journal import say, say_bug, spoken
from monitor.models import Event, Incident, Measurement
from monitor.store import Count, Store, StoreError
from monitor.survival import survived

MOST_UNSAVED = 1000  # measurements in memory while the store is in trouble: some 20 MB
BATCH = 50
RETRY_S = 10.0

T = TypeVar("T")


class Ledger:
    """problem: why the store does not take anything now. handled: told of each measurement once, stored or not."""

    def __init__(
        self,
        store: Store,
        handled: Callable[[Sequence[Measurement]], Coroutine[Any, Any, None]],
        *,
        count: Count | None = None,
        save_events: Callable[[Sequence[Event], Sequence[Incident]], None] | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        """count: what the store is to count of each. save_events: stores them, and what comes of them."""
        self.problem: StoreError | None = None
        self._handled = handled
        self._append = partial(store.append, count=count)
        self._save_all = save_events or store.save_events
        self._retry_s = retry_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._new: deque[Measurement] = deque()
        self._unsaved: deque[Measurement] = deque()
        self._events: dict[str, Event] = {}
        self._incidents: dict[str, Incident] = {}
        self._dropped = 0
        self._begun: float | None = None
        self._awake = asyncio.Event()

    @property
    def unsaved(self) -> int:
        """Measurements that only memory has."""
        return len(self._new) + len(self._unsaved)

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Anything with the store, in its thread; StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._timed, work, *arguments))

    @property
    def busy_s(self) -> float:
        """How long the store takes for what it does now; 0 where it does nothing."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    def _timed(self, work: Callable[..., T], *arguments: Any) -> T:
        """In the thread."""
        self._begun = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self._begun = None

    def put(self, measurement: Measurement) -> None:
        """To be stored soon."""
        self._new.append(measurement)
        self._awake.set()

    def put_events(self, events: Sequence[Event], incidents: Sequence[Incident]) -> None:
        """To be stored soon, in their newest revision."""
        self._events |= {event.id: event for event in events}
        self._incidents |= {incident.id: incident for incident in incidents}
        self._awake.set()

    async def run(self) -> None:
        """Stores what comes, until cancelled; between two attempts in trouble a pause."""
        while True:
            try:
                async with asyncio.timeout(self._retry_s if self.problem else None):
                    await self._awake.wait()
            except TimeoutError:
                pass
            await survived(self.flush(), "storing")
            if self.problem:
                await asyncio.sleep(self._retry_s / 10)

    async def flush(self) -> None:
        """Store all there is, or leave it for later where the store is in trouble."""
        self._awake.clear()
        while self._new:
            fresh = [self._new.popleft() for _ in range(min(BATCH, len(self._new)))]
            self._hold(fresh)
            if self.problem is None:
                await self._save()
            await survived(self._handled(fresh), "detecting")
        await self._save()

    def close(self) -> None:
        """The thread ends when it has finished."""
        self._thread.shutdown()

    def _hold(self, fresh: Sequence[Measurement]) -> None:
        self._unsaved.extend(fresh)
        while len(self._unsaved) > MOST_UNSAVED:
            self._unsaved.popleft()
            self._dropped += 1

    async def _save(self) -> None:
        most = BATCH
        while self._unsaved:
            batch = [self._unsaved[i] for i in range(min(most, len(self._unsaved)))]
            failure = await self._failure(self._append, batch)
            if isinstance(failure, StoreError):
                return self._troubled(failure)
            if failure is not None and len(batch) > 1:
                most = 1  # one of them is what the store cannot take
                continue
            if failure is not None:
                say_bug(f"storing a measurement of {batch[0].url}", failure)
            for _ in batch:
                self._unsaved.popleft()
        await self._save_events()

    async def _save_events(self) -> None:
        events, incidents = list(self._events.values()), list(self._incidents.values())
        if events or incidents:
            failure = await self._failure(self._save_all, events, incidents)
            if isinstance(failure, StoreError):
                return self._troubled(failure)
            if failure is not None:
                say_bug("storing events", failure)
            self._events = {id: event for id, event in self._events.items() if event not in events}
            self._incidents = {id: one for id, one in self._incidents.items() if one not in incidents}
        if self.problem is not None:
            self._healed()

    async def _failure(self, work: Callable[..., object], *arguments: Any) -> BaseException | None:
        doing = asyncio.get_running_loop().run_in_executor(self._thread, partial(self._timed, work, *arguments))
        await asyncio.wait({doing})
        return doing.exception()

    def _troubled(self, problem: StoreError) -> None:
        if self.problem is None:
            text = spoken().text(
                "{problem}; measuring goes on, at most {number} measurements are kept in memory",
                problem=problem, number=MOST_UNSAVED,
            )  # fmt: skip
            say("store_trouble", text, level=logging.ERROR, problem=str(problem))
        self.problem = problem

    def _healed(self) -> None:
        text = spoken().text("the store takes measurements again, nothing was lost")
        if self._dropped:
            text = spoken().many(
                "the store takes measurements again; {count} measurement was lost",
                "the store takes measurements again; {count} measurements were lost",
                self._dropped,
            )
        say("store_well", text, lost=self._dropped)
        self.problem, self._dropped = None, 0
