"""Measures a list of sites on one vantage, many at once, and hands on each result as it comes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from monitor.measure import Prober, Unfiled
from monitor.models import Measurement
from monitor.standing import ECHO_S
from monitor.survival import survived


class Sweep:
    """put: is given each measurement; slots: as many are made at a time, by all that share them."""

    def __init__(self, prober: Prober, put: Callable[[Measurement], Awaitable[None]], slots: asyncio.Semaphore) -> None:
        self._prober, self._put, self._slots = prober, put, slots
        self._concurrency = prober.tools.settings.concurrency
        # Those that are measured and wait for their network's name included.
        self._unfiled = asyncio.Semaphore(2 * self._concurrency)
        self._echoes: list[Measurement] = []

    async def over(self, urls: Iterable[str]) -> None:
        """Measure the URLs; what a neighbour's echo may have spoiled, once more at the end. A bug in one costs that one."""
        waiting = iter(urls)
        await asyncio.gather(*(self._work(waiting) for _ in range(self._concurrency)))
        for echo in self._echoes:
            since = min(neighbour.seconds_ago for neighbour in echo.conditions.neighbours)
            await asyncio.sleep(max(0.0, ECHO_S - since))
            again = await survived(self._prober.measure(echo.url), f"measuring {echo.url}")
            await self._put(again or echo)

    async def _work(self, waiting: Iterable[str]) -> None:
        filing: set[asyncio.Task[None]] = set()
        try:
            for url in waiting:
                await self._unfiled.acquire()
                async with self._slots:
                    seen = await survived(self._prober.observe(url), f"measuring {url}")
                if seen is None:
                    self._unfiled.release()
                    continue
                filing = {task for task in filing if not task.done() or task.result()}  # raises what `put` raised
                filing.add(asyncio.create_task(self._file(seen)))
            await asyncio.gather(*filing)
        finally:
            for task in filing:
                task.cancel()

    async def _file(self, seen: Unfiled) -> None:
        try:
            measurement = await survived(self._prober.file(seen), f"filing {seen.measurement.url}")
            if measurement is None:
                return
            if measurement.verdict and measurement.verdict.rule == "residual_neighbour":
                self._echoes.append(measurement)
            else:
                await self._put(measurement)
        finally:
            self._unfiled.release()
