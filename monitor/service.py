"""`almenara run`: measure, judge, store, detect, tell; for months.

`schedule` decides when, APScheduler waits, `probers` measure, `ledger` stores, `conclusions` detects. A mistake in one
measurement costs that measurement.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]

from monitor import assemble, clock, consent, pacing, signals, systemd
from monitor.alerts.alerting import Alerts
from monitor.alerts.subscriptions import subscribed
from monitor.asked import Busy
from monitor.changes import Changes
from monitor.conclusions import Conclusions, point_of
from monitor.config import Config, ConfigError, MeasureConfig, load
from monitor.errands import Errands
from monitor.journal import Clock, say, say_change, say_verdict, spoken
from monitor.ledger import Ledger
from monitor.lists import Lists, Watched
from monitor.live import View
from monitor.liveness import PATIENCE_S, Liveness
from monitor.metrics.meter import Meter
from monitor.metrics.scrape import Scrape
from monitor.models import Event, Measurement
from monitor.pacing import Pacing
from monitor.picture import Picture
from monitor.probers import Probers
from monitor.resumption import resumed
from monitor.rounds import Rounds
from monitor.schedule import Schedule
from monitor.sites import ListUnavailable, site_name
from monitor.store import Counts, Store, StoreError, locate
from monitor.survival import survived
from monitor.web.app import Health, app
from monitor.web.archive import Archive
from monitor.web.bundles import Bundles
from monitor.web.scope import Scope, scope_of
from monitor.web.server import opened, serving
from monitor.wording import left_words, lost_words, removed_words, waiting_words, watching_words

TICK_S = 60
VANTAGES_S = 60  # how often one that is not there is looked for
LISTS_S = 600  # how often a list that is old, or in trouble, is asked for
RETAIN_S = 3600
LEAVE_S = 2.0  # for measurements under way, when the service ends
STORE_LEAVES_S = 8.0  # for what is not stored yet


class Service:
    """The loop. file: the configuration, read again on reload."""

    def __init__(self, file: Path, config: Config, store: Store, *, patience_s: float = PATIENCE_S) -> None:
        """patience_s: how long work may hang before systemd is let start us anew."""
        self.interrupted = self.began = False
        self.web, self._stored_at = config.web, config.store  # until a restart
        self._file, self._config, self._store = file, config, store
        self._schedule = Schedule(SystemRandom())
        self._probers = Probers(assemble.trust(), lambda line: say("vantage", line, level=logging.WARNING))
        self._lists = Lists(lambda line: say("list", line, level=logging.WARNING), spoken)
        self._watched = Watched(sites=())
        self._meter = Meter(store, config)
        self._alerts = Alerts(store)
        self._ledger = Ledger(store, self._handled, count=self._meter.count, save_events=self._alerts.save_events)
        self._conclusions: Conclusions
        self._pacing: Pacing
        self._rounds: Rounds
        self._picture = Picture()
        self._changes, self._clock = Changes(), Clock()
        self._errands = Errands()
        self._told_waiting = 0
        self._liveness, self._retaining = Liveness(patience_s), False
        self._hanging: str | None = None
        self._stop = asyncio.Event()
        self._failed: Exception | None = None
        self._reloading = asyncio.Lock()
        self._timer = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    async def run(self) -> None:
        """Until a signal ends it. Raises ConfigError, ListUnavailable, StoreError, PortTaken where it cannot begin."""
        listening = opened(self._config.web.listen)
        async with AsyncExitStack() as until:
            until.callback(listening.close)
            until.push_async_callback(self._probers.aclose)
            until.callback(self._ledger.close)
            await self._begin()
            self.began = True
            url = locate(self._stored_at)
            archive, bundles = Archive(url), Bundles(url)
            until.push_async_callback(archive.aclose)
            until.push_async_callback(bundles.aclose)
            await until.enter_async_context(serving(app(self, archive, bundles), listening))
            await until.enter_async_context(signals.handled(self._handlers()))
            writing = asyncio.create_task(survived(self._ledger.run(), "the store's writer"))
            until.push_async_callback(self._leave, writing)
            self._timer.start()
            until.callback(self._timer.shutdown, wait=False)
            self._plan_jobs()
            following = asyncio.create_task(survived(clock.follow(self._timer), "watching the clock"))
            until.callback(following.cancel)
            telling = asyncio.create_task(survived(self._alerts.sender.run(), "sending alerts"))
            until.callback(telling.cancel)
            systemd.notify("READY=1")
            say("started", self._watching())
            await self._stop.wait()
            systemd.notify("STOPPING=1")
        if self._failed is not None:
            raise self._failed

    def health(self) -> Health:
        """For /healthz."""
        problem = self._ledger.problem
        return Health(
            status="ok" if problem is None else "store", problem=str(problem) if problem else None, sites=len(self._watched.sites),
            waiting=len(self._watched.waiting), vantages=len(self._probers.names()),
            absent=tuple(self._probers.absent()), unsaved=self._ledger.unsaved,
            last_measurement=self._picture.last.isoformat() if self._picture.last else None,
            undelivered=self._alerts.sender.undelivered,
        )  # fmt: skip

    def view(self) -> View:
        """For the live view."""
        return View(
            sites=[(site.url, site.name or site_name(site.url)) for site in self._watched.sites],
            vantages={name: self._probers.isp(name) for name in self._probers.names()},
            cells=self._picture.cells, events=self._conclusions.events(), next_due=self._schedule.next(),
            running=self._schedule.running(), used=self._pacing.used, budget=self._pacing.limit, control=self._picture.control,
            waiting=len(self._watched.waiting), problem=self._ledger.problem, absent=self._probers.absent(),
        )  # fmt: skip

    def scope(self) -> Scope:
        """For the pages."""
        return scope_of(
            self._watched.sites, self._schedule.periods(), self._probers.networks(), self._probers.absent(),
            troubled=self._ledger.problem is not None,
        )  # fmt: skip

    async def scrape(self) -> Scrape:
        """For /metrics."""
        figures, now = await self._meter.figures(), _now()
        return self._meter.scrape(
            self._config, self._watched.sites, now=now, figures=figures, troubled=self._ledger.problem is not None,
            unsaved=self._ledger.unsaved, waiting=len(self._watched.waiting), watched=self._schedule.periods(),
            running=self._schedule.under_way(), lag_s=self._meter.lag_s(now, self._schedule.next()),
            networks=self._probers.networks(), active=self._conclusions.active(),
            incidents=self._conclusions.incident_ids(), stretch=self._schedule.stretch, budget=self._pacing.limit,
            used=self._pacing.used, absent=self._probers.absent(),
        )  # fmt: skip

    @property
    def measuring(self) -> MeasureConfig:
        """How sites are measured."""
        return self._config.measure

    def vantages(self) -> tuple[str, ...]:
        """Where sites can be measured."""
        return self._probers.names()

    def watches(self, url: str) -> bool:
        """Is the site measured regularly?"""
        return self._schedule.watches(url)

    async def measured(self, url: str, vantage: str, client: str) -> Measurement:
        """How a site is on a vantage, for somebody who asks: measured now, unless it is being, or just was; Busy."""
        if self._stop.is_set():
            raise Busy("the service is stopping")
        self._keep_pace()
        return await self._rounds.measured(url, vantage, client)

    async def reload(self) -> str | None:
        """Read the configuration again; None, or what is wrong with it, in which case nothing changes."""
        async with self._reloading:
            try:
                config = load(self._file)
                consent.require(config.consent, ask=None, now=_now(), remembered=consent.remembered_at())
                subscriptions = subscribed(config, self._file)
                watched = await self._lists.gather(config)
                await self._probers.arrange(config, self._file)
            except consent.ConsentMissing as exc:
                self._failed = exc  # a yes that was taken back ends measuring at once
                self._stop.set()
                return str(exc)
            except (ConfigError, ListUnavailable) as exc:
                text = spoken().text("{problem}; the old configuration stays", problem=exc)
                say("reload_failed", text, level=logging.ERROR, problem=str(exc))
                self._count(self._meter.reload(None))
                return str(exc)
            self._alerts.subscriptions = subscriptions
            await self._take_over(config, watched)
            self._count(self._meter.reload(config))
        return None

    async def _take_over(self, config: Config, watched: Watched) -> None:
        self._config = config
        for key, runs in (("store", self._stored_at), ("web", self.web)):
            if runs != getattr(config, key):
                text = spoken().text("{key}: another value takes effect after a restart", key=key)
                say("reload", text, level=logging.WARNING)
        self._conclusions.ask(config.detect)
        self._pacing.limit = config.schedule.budget
        self._rounds.limit(config.measure.concurrency)
        self._arrange(watched)
        say("reloaded", self._watching())
        self._due()

    def _watching(self) -> str:
        return watching_words(len(self._watched.sites), self._probers.names(), spoken())

    async def _begin(self) -> None:
        """From what is stored to the first plan."""
        config, store = self._config, self._store
        self._alerts.subscriptions = subscribed(config, self._file)
        await self._probers.arrange(config, self._file)
        watched = await self._lists.gather(config)
        self._changes.recall(await self._ledger.do(store.events))
        self._conclusions, news = await self._ledger.do(Conclusions.from_store, config.detect, store)
        self._tell(news)
        spent = await self._ledger.do(pacing.recalled, store)
        self._pacing = Pacing(self._schedule, spent, config.schedule.budget)
        self._rounds = Rounds(
            self._schedule, self._probers, self._pacing, self._meter, self._errands, places=config.measure.concurrency,
            result=self._note, wait=self._wait,
        )  # fmt: skip
        latest = [one for one in await self._ledger.do(store.latest) if one.url]
        self._meter.recall(latest)
        self._picture.recall((one.url, one.vantage, one.verdict, one.started) for one in latest)
        before = resumed(latest, self._conclusions.active(), _now())
        self._arrange(watched, before.last)
        for url, vantage, seen in before.seen:
            self._schedule.remember(url, vantage, seen)

    def _arrange(self, watched: Watched, last: dict[str, datetime] | None = None) -> None:
        left = sorted({site.url for site in self._watched.sites} - {site.url for site in watched.sites})
        if left:
            say("sites_left", left_words(left, spoken()))
        self._watched = watched
        self._alerts.arrange(watched.sites)
        self._schedule.arrange(watched.sites, self._probers.names(), self._config.schedule, _now(), last)
        urls = {site.url for site in watched.sites}
        self._picture.only(urls)
        self._meter.only(urls)
        if len(watched.waiting) > self._told_waiting:
            say("sites_waiting", waiting_words(len(watched.waiting), spoken()), waiting=len(watched.waiting))
        self._told_waiting = len(watched.waiting)

    def _plan_jobs(self) -> None:
        repeated: tuple[tuple[Any, float], ...] = (
            (self._tick, TICK_S), (self._renew_vantages, VANTAGES_S), (self._renew_lists, LISTS_S), (self._retain, RETAIN_S),
        )  # fmt: skip
        for work, seconds in repeated:
            self._timer.add_job(work, "interval", seconds=seconds)
        alive_s = systemd.watchdog_s()
        if alive_s:
            self._timer.add_job(self._alive, "interval", seconds=alive_s)
        self._due()

    async def _alive(self) -> None:
        """Tell systemd, unless the work hangs: then it starts us anew."""
        next_due, patience_s = self._schedule.next(), RETAIN_S if self._retaining else 0.0
        overdue = next_due is not None and next_due < _now() - timedelta(seconds=TICK_S)
        hanging = self._liveness.hanging(
            waiting=overdue or self._schedule.running() > 0,
            ended=self._rounds.ended, storing_s=self._ledger.busy_s - patience_s, site_budget_s=self._config.measure.budget_s,
        )  # fmt: skip
        if hanging is None:
            systemd.notify("WATCHDOG=1")
        elif self._hanging is None:
            text = spoken().text("{problem}; systemd may start the service anew", problem=hanging)
            say("hanging", text, level=logging.ERROR)
        self._hanging = hanging

    async def _wake(self) -> None:
        self._due()

    def _due(self) -> None:
        """Begin what is due, and wait for what is due next."""
        self._keep_pace()
        self._rounds.begin_due(_now())
        self._wait()

    def _wait(self) -> None:
        at = self._schedule.next()
        if at is not None and not self._stop.is_set():
            self._timer.add_job(self._wake, "date", run_date=at, id="due", replace_existing=True)

    def _keep_pace(self) -> None:
        self._pacing.keep(self._probers.traffic(), _now())

    def _note(self, measurement: Measurement) -> None:
        """A result: what it means for the view, and on to the store."""
        self._clock.note(measurement.conditions.clock_offset)
        if self._picture.note(measurement):
            say_verdict(measurement)
        self._ledger.put(measurement)

    async def _handled(self, measurements: Sequence[Measurement]) -> None:
        """The store has these, or keeps us waiting: detect."""
        self._tell(self._conclusions.add([point for one in measurements if (point := point_of(one))]))

    def _tell(self, news: Sequence[Event]) -> None:
        if news:
            self._ledger.put_events(news, self._conclusions.incidents())
        period = timedelta(seconds=self._config.schedule.every_s)
        for event in news:
            change = self._changes.news(event, period)
            if change is not None:
                say_change(change)

    async def _tick(self) -> None:
        now = _now()
        self._tell(self._conclusions.tick(now))
        await self._quietly(self._alerts.look)
        try:
            watched = await asyncio.to_thread(self._lists.approved, self._config)
        except (ConfigError, ListUnavailable) as exc:
            say("list", spoken().said(exc), level=logging.WARNING)
        else:
            if watched != self._watched:
                self._arrange(watched)
        self._due()  # a clock that was set, or a machine that slept, shows here
        await self._quietly(self._pacing.remember, self._store)

    async def _renew_vantages(self) -> None:
        """One that was not there joins when it is, one that vanished leaves."""
        async with self._reloading:
            before = self._probers.names()
            await self._probers.arrange(self._config, self._file)
            if self._probers.names() != before:
                self._arrange(self._watched)
                self._due()

    async def _renew_lists(self) -> None:
        async with self._reloading:
            try:
                watched = await self._lists.gather(self._config)
            except (ConfigError, ListUnavailable) as exc:
                say("list", spoken().said(exc), level=logging.WARNING)
                return
            if watched != self._watched:
                self._arrange(watched)
                self._due()

    async def _retain(self) -> None:
        keep = self._config.keep
        await self._quietly(self._alerts.forget, _now())
        if keep.age_s is not None or keep.size is not None:
            self._retaining = True  # the first time it takes long
            removed = await self._quietly(partial(self._store.retain, age_s=keep.age_s, size=keep.size, now=_now()))
            self._retaining = False
            if removed:
                say("retained", removed_words(removed, spoken()), removed=removed)

    async def _quietly(self, work: Any, *arguments: Any) -> Any:
        """With the store; its trouble shows, and is told, when measurements are stored."""
        try:
            return await self._ledger.do(work, *arguments)
        except StoreError:
            return None

    def _count(self, counts: Counts) -> None:
        """For metrics, whenever the store has time."""
        self._errands.start(self._quietly(self._store.tally, counts), "counting")

    async def _leave(self, writing: "asyncio.Task[None]") -> None:
        """Measurements under way get a moment, what is measured is stored."""
        await self._errands.leave(patience_s=LEAVE_S)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        try:
            async with asyncio.timeout(STORE_LEAVES_S):
                await self._ledger.flush()
                await self._quietly(self._pacing.remember, self._store)
        except TimeoutError:
            pass
        if self._ledger.unsaved:
            say("lost", lost_words(self._ledger.unsaved, spoken()), level=logging.ERROR)
        say("stopped", spoken().text("stopped"))

    def _handlers(self) -> Mapping[signal.Signals, Callable[[], object]]:
        def interrupt() -> None:
            self.interrupted = True
            self._stop.set()

        return {
            signal.SIGTERM: self._stop.set, signal.SIGINT: interrupt,
            signal.SIGHUP: lambda: self._errands.start(self.reload(), "reloading"),
        }  # fmt: skip


def _now() -> datetime:
    return datetime.now(UTC)
