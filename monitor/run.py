"""Measures a list of sites on every vantage, many at once, and hands on each result as it comes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor import assemble
from monitor.absence import NoVantage
from monitor.config import Config
from monitor.explain import worded_measurement
from monitor.language import here
from monitor.models import Measurement, to_json
from monitor.show import Table
from monitor.sweep import Sweep
from monitor.wording import waiting_words

if TYPE_CHECKING:
    from monitor.saving import Saving

Result = Callable[[Measurement], None]


def run_measure(config: Config, urls: Sequence[str], *, json: bool, save: bool, file: Path | None = None) -> int:
    """Measure now and print; 0, whatever was found, but 1 where a list could not be had. Raises StoreError at the end
    where it could not be saved.

    file: the configuration's, for its lines. NoVantage where none is there; of several those that are, are measured on.
    """
    config = _there(config, file)
    table = None if json else Table()
    saving = _saving(config) if save else None

    def show(measurement: Measurement) -> None:
        if table:
            table.row(measurement)
        else:
            sys.stdout.buffer.write(to_json(worded_measurement(measurement)) + b"\n")
            sys.stdout.flush()

    async def work() -> bool:
        found, complete = await _wanted(config, urls)
        if table:
            table.expect(len(found) * len(config.vantages))
        async for measurement in measure_all(config, found):
            show(measurement)
            if saving:
                await saving.save(measurement)
        return complete

    try:
        complete = asyncio.run(work())
    finally:
        if table:
            table.close()
        if saving:
            saving.finish()
    return 0 if complete else 1


async def _wanted(config: Config, urls: Sequence[str]) -> tuple[list[str], bool]:
    """What to measure, and whether that is all there is: a URL that is given is consent to that site; a list is not
    consent to sites that joined it later. ConfigError, ListUnavailable.
    """
    from monitor import lists, sites

    if urls:
        return [site.url for site in await sites.gather(config, urls)], True
    listed = lists.Lists(_warn)
    watched = await listed.gather(config)
    if watched.waiting:
        _warn(waiting_words(len(watched.waiting), here()))
    return [site.url for site in watched.sites], listed.complete


def _warn(line: str) -> None:
    sys.stderr.write(f"almenara: {line}\n")


def _there(config: Config, file: Path | None) -> Config:
    """With the vantages that are there, the others told of."""
    present = assemble.present(config, file)
    if all(one.name == config.control.vantage for one in present.config.vantages):
        raise NoVantage("; ".join(map(here().said, present.absent.values())))
    for name, problem in present.absent.items():
        _warn(here().text("vantage {name} is left out: {problem}", name=name, problem=problem))
    return present.config


def _saving(config: Config) -> "Saving":
    from monitor.saving import Saving
    from monitor.store import locate

    return Saving(locate(config.store), config)


async def measure_all(config: Config, urls: Sequence[str]) -> AsyncIterator[Measurement]:
    """Every URL on every vantage but the one named as the control; in the order they finish."""
    context = assemble.trust()
    results: asyncio.Queue[Measurement] = asyncio.Queue(maxsize=config.measure.concurrency)
    async with AsyncExitStack() as open_until:
        measuring = [one for one in config.vantages if one.name != config.control.vantage]
        probers = [assemble.prober(config, one, context, open_until) for one in measuring]
        slots = asyncio.Semaphore(config.measure.concurrency)
        work = asyncio.gather(*(Sweep(prober, results.put, slots).over(urls) for prober in probers))
        try:
            while not (work.done() and results.empty()):
                getting = asyncio.ensure_future(results.get())
                waited: set[asyncio.Future[Any]] = {getting, work}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    yield getting.result()
                else:
                    getting.cancel()
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
