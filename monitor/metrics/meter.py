"""What only metrics remember: the newest outcome of every site, of every control, of reloading; and who waits how long."""

import asyncio
import math
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from monitor.config import Config, SiteConfig
from monitor.config_alerts import channel_of
from monitor.metrics import words
from monitor.metrics.counting import Counting
from monitor.metrics.scrape import Newest, Scrape, Sign
from monitor.models import Measurement
from monitor.outcome import Outcome, outcome
from monitor.store import Counts, Figures, Latest, Store, StoreError, Tallied, Tally
from monitor.survival import survived

PATIENCE_S = 3.0  # with the store; Prometheus gives a scrape ten seconds


class Meter:
    """newest: by URL and vantage. vantages, controls: by name. reloaded: whether the last attempt succeeded."""

    def __init__(self, store: Store, config: Config, *, patience_s: float = PATIENCE_S) -> None:
        self.counting = Counting(config)
        self.started = self.reloaded_at = datetime.now(UTC)
        self.reloaded = True
        self.newest: dict[tuple[str, str], Newest] = {}
        self.vantages: dict[str, Sign] = {}
        self.controls: dict[str, Sign] = {}
        self.slept: datetime | None = None  # when the budget was last seen to let nothing be measured
        self._store, self._patience_s = store, patience_s
        self._waiting: dict[object, float] = {}
        self._reading: asyncio.Future[Figures | None] | None = None

    def count(self, measurement: Measurement) -> Counts:
        """What the store is to count of a measurement, by the configuration of now."""
        return self.counting.of(measurement)

    def recall(self, latest: Iterable[Latest]) -> None:
        """What was stored before this run."""
        for one in latest:
            ended = one.outcome or Outcome()
            self._keep(one.url, one.vantage, Newest(
                site=one.site, asn=words.asn(one.network), verdict=one.verdict, outcome=ended, started=one.started,
                heard=one.started,
            ))  # fmt: skip

    def note(self, measurement: Measurement, period_s: float) -> None:
        """A result. period_s: how often the site is measured."""
        verdict, now = measurement.verdict, datetime.now(UTC)
        if verdict is not None:
            self._keep(measurement.url, measurement.vantage, Newest(
                site=measurement.site, asn=words.asn(measurement.network), verdict=verdict, outcome=outcome(measurement),
                started=measurement.started, heard=now, period_s=period_s,
            ))  # fmt: skip
        for control in measurement.controls:
            sign = Sign(started=control.started or measurement.started, heard=now, well=control.failure is None)
            _keep_later(self.controls, control.id, sign)

    def _keep(self, url: str, vantage: str, one: Newest) -> None:
        before = self.newest.get((url, vantage))
        if before is None or before.started <= one.started:
            self.newest[url, vantage] = replace(one, verdict=replace(one.verdict, reasons=()))
        known = self.vantages.get(vantage)
        sign = Sign(
            started=one.started, heard=one.heard, well=one.outcome.online is not False,
            asn=one.asn or (known.asn if known else ""),
        )  # fmt: skip
        _keep_later(self.vantages, vantage, sign)

    def only(self, urls: Container[str]) -> None:
        """Forget sites that are not watched any more."""
        self.newest = {pair: one for pair, one in self.newest.items() if pair[0] in urls}

    def reload(self, config: Config | None) -> Counts:
        """The configuration was read again; None: it was wrong. What to count."""
        done = self.reloaded = config is not None
        if config is not None:
            self.counting, self.reloaded_at = Counting(config), datetime.now(UTC)
        return {Tally(Tallied.RELOADS, first=words.OK if done else words.FAILURE): 1}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While something that is due waits for its turn."""
        who = object()
        self._waiting[who] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[who]

    def lag_s(self, now: datetime, due: datetime | None) -> float:
        """How late the oldest is of what is due. due: when the next is that has not even begun to wait."""
        since = next(iter(self._waiting.values()), None)  # in the order in which they came
        waited_s = 0.0 if since is None else time.monotonic() - since
        return max(0.0, waited_s, 0.0 if due is None else (now - due).total_seconds())

    def scrape(
        self, config: Config, sites: Sequence[SiteConfig], *, now: datetime, stretch: float, **others: Any
    ) -> Scrape:
        """What a scrape tells. sites: those that are watched; others: fields of a Scrape that the service knows."""
        control = (config.control.vantage,) if config.control.vantage else ()
        self.slept = now if math.isinf(stretch) else self.slept
        return Scrape(
            now=now, stretch=stretch, slept=self.slept,
            newest=self.newest.copy(), signs=self.vantages.copy(), controls=self.controls.copy(),
            helpers=(*config.control.helpers, *control), resolvers=self.counting.resolvers,
            wanted=frozenset(config.metrics.sites), tags={site.url: site.tags for site in sites if site.tags},
            channels={channel_of(alert.to) for alert in config.alerts or ()} - {""},
            site_budget_s=config.measure.budget_s, started=self.started, reloaded=self.reloaded,
            reloaded_at=self.reloaded_at, **others,
        )  # fmt: skip

    async def figures(self) -> Figures | None:
        """What the store tells; None where it is in trouble, or takes longer than a scrape can wait.

        In a thread of its own: the store's is busy storing, and readers do not wait for writers.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(
                survived(asyncio.to_thread(self._read), "reading the store's figures")
            )
        reading = self._reading
        await asyncio.wait({reading}, timeout=self._patience_s)
        return reading.result() if reading.done() else None

    def _read(self) -> Figures | None:
        try:
            return self._store.figures()
        except StoreError:
            return None


def _keep_later(signs: dict[str, Sign], name: str, sign: Sign) -> None:
    if name not in signs or signs[name].started <= sign.started:
        signs[name] = sign
