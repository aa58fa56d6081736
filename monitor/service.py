"""`almenara run`: measure, judge, store, detect, tell; for months.

`schedule` decides when, APScheduler waits, `probers` measure, `ledger` stores, `conclusions` detects. A mistake in one
measurement costs that measurement.
"""

import asyncio
import logging
import math
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]

from monitor import assemble, consent, systemd
from monitor.asked import Asked, Busy
from monitor.budget import Budget, Pace, Spent, amount, pace_text
from monitor.changes import Changes
from monitor.clock import look_again, steps
from monitor.conclusions import Conclusions, point_of
from monitor.config import Config, ConfigError, MeasureConfig, load
from monitor.control.shared import Together
from monitor.journal import Clock, say, say_change, say_verdict
from monitor.ledger import Ledger
from monitor.lists import Lists, Watched
from monitor.live import View
from monitor.liveness import PATIENCE_S, Liveness
from monitor.metrics.meter import Meter
from monitor.metrics.scrape import Scrape
from monitor.models import Event, Measurement, Status
from monitor.picture import Picture
from monitor.probers import Probers
from monitor.schedule import Round, Schedule
from monitor.sites import ListUnavailable, site_name
from monitor.standing import Seen, Why
from monitor.store import Counts, Store, StoreError
from monitor.survival import survived
from monitor.web.app import Health, app
from monitor.web.server import opened, serving
from monitor.wording import counted, waiting_words

TICK_S = 60
VANTAGES_S = 60  # how often one that is not there is looked for
LISTS_S = 600  # how often a list that is old, or in trouble, is asked for
RETAIN_S = 3600
LEAVE_S = 2.0  # for measurements under way, when the service ends
STORE_LEAVES_S = 8.0  # for what is not stored yet
KEPT_FOR_BURSTS = 8  # one of so many places is for quick re-measurements
RECENT_S = 900.0  # a block that a restart kept from being confirmed
_SPENT = "bytes today"


class Service:
    """The loop. file: the configuration, read again on reload."""

    def __init__(self, file: Path, config: Config, store: Store, *, patience_s: float = PATIENCE_S) -> None:
        """patience_s: how long work may hang before systemd is let start us anew."""
        self.interrupted = self.began = False
        self.web, self._stored_at = config.web, config.store  # until a restart
        self._file, self._config, self._store = file, config, store
        self._schedule = Schedule(SystemRandom())
        self._probers = Probers(assemble.trust(), lambda line: say("vantage", line, level=logging.WARNING))
        self._lists = Lists(lambda line: say("list", line, level=logging.WARNING))
        self._watched = Watched(sites=())
        self._meter = Meter(store, config)
        self._ledger = Ledger(store, self._handled, count=self._meter.count)
        self._conclusions: Conclusions
        self._budget: Budget
        self._picture = Picture()
        self._changes, self._clock = Changes(), Clock()
        self._asked = Asked()
        self._doing: set[asyncio.Task[None]] = set()
        self._traffic = self._measured = self._ended = 0
        self._told_waiting = 0
        self._paused, self._pace_told = False, Pace()
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
            await until.enter_async_context(serving(app(self), listening))
            await until.enter_async_context(self._signals())
            writing = self._start(self._ledger.run(), "the store's writer")
            until.push_async_callback(self._leave, writing)
            self._timer.start()
            until.callback(self._timer.shutdown, wait=False)
            self._plan_jobs()
            following = asyncio.create_task(_told(self._follow_clock(), "watching the clock"))
            until.callback(following.cancel)
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
            status="ok" if problem is None else "store", problem=problem, sites=len(self._watched.sites),
            waiting=len(self._watched.waiting), vantages=len(self._probers.names()), unsaved=self._ledger.unsaved,
            last_measurement=self._picture.last.isoformat() if self._picture.last else None,
        )  # fmt: skip

    def view(self) -> View:
        """For the live view."""
        return View(
            sites=[(site.url, site.name or site_name(site.url)) for site in self._watched.sites],
            vantages={name: self._probers.isp(name) for name in self._probers.names()},
            cells=self._picture.cells, events=self._conclusions.events(), next_due=self._schedule.next(),
            running=self._schedule.running(), used=self._budget.used, budget=self._budget.limit, control=self._picture.control,
            waiting=len(self._watched.waiting), problem=self._ledger.problem,
        )  # fmt: skip

    async def scrape(self) -> Scrape:
        """For /metrics."""
        figures, now = await self._meter.figures(), _now()
        return self._meter.scrape(
            self._config, self._watched.sites, now=now, figures=figures, troubled=self._ledger.problem is not None,
            unsaved=self._ledger.unsaved, waiting=len(self._watched.waiting), watched=self._schedule.periods(),
            running=self._schedule.under_way(), lag_s=self._meter.lag_s(now, self._schedule.next()),
            networks=self._probers.networks(), active=self._conclusions.active(),
            incidents=self._conclusions.incident_ids(), paused=self._paused, budget=self._budget.limit,
            used=self._budget.used,
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
        pair = (url, vantage)
        fresh = self._asked.fresh(pair)
        if fresh is not None:
            return fresh
        if not (self._asked.under_way(pair) or self._schedule.is_running(url, vantage)):
            self._begin_asked(url, vantage, client)
        return await self._asked.result(pair)

    def _begin_asked(self, url: str, vantage: str, client: str) -> None:
        now = _now()
        self._pace(now)
        if self._stop.is_set():
            raise Busy("the service is stopping")
        if math.isinf(self._schedule.stretch):  # what is kept for quick re-measurements is not for others to spend
            raise Busy("the budget of bytes a day is spent", self._budget.left_s(now))
        self._asked.begin((url, vantage), client, self._config.measure.concurrency)
        why = Why.ASKED if self._schedule.begin_asked(url, vantage, now) else Why.ASIDE
        one = Round(url=url, vantages=(vantage,), why=why)
        self._start(self._round(one), f"measuring {url}, which somebody asked for")

    async def reload(self) -> str | None:
        """Read the configuration again; None, or what is wrong with it, in which case nothing changes."""
        async with self._reloading:
            try:
                config = load(self._file)
                consent.require(config.consent, ask=None, now=_now(), remembered=consent.remembered_at())
                watched = await self._lists.gather(config)
                await self._probers.arrange(config, self._file)
            except consent.ConsentMissing as exc:
                self._failed = exc  # a yes that was taken back ends measuring at once
                self._stop.set()
                return str(exc)
            except (ConfigError, ListUnavailable) as exc:
                say("reload_failed", f"{exc}; the old configuration stays", level=logging.ERROR, problem=str(exc))
                self._count(self._meter.reload(None))
                return str(exc)
            await self._take_over(config, watched)
            self._count(self._meter.reload(config))
        return None

    async def _take_over(self, config: Config, watched: Watched) -> None:
        self._config = config
        for key, runs in (("store", self._stored_at), ("web", self.web)):
            if runs != getattr(config, key):
                say("reload", f"{key}: another value takes effect after a restart", level=logging.WARNING)
        self._conclusions.ask(config.detect)
        self._budget.limit = config.schedule.budget
        self._places(config)
        self._arrange(watched)
        say("reloaded", self._watching())
        self._due()

    def _watching(self) -> str:
        vantages = ", ".join(self._probers.names()) or "no vantage so far"
        return f"watching {counted(len(self._watched.sites), 'site')} on {vantages}"

    async def _begin(self) -> None:
        """From what is stored to the first plan."""
        config, store = self._config, self._store
        await self._probers.arrange(config, self._file)
        watched = await self._lists.gather(config)
        self._changes.recall(await self._ledger.do(store.events))
        self._conclusions, news = await self._ledger.do(Conclusions.from_store, config.detect, store)
        self._tell(news)
        self._budget = Budget(config.schedule.budget, await self._ledger.do(_recalled, store))
        self._places(config)
        latest = [one for one in await self._ledger.do(store.latest) if one.url]
        last: dict[str, datetime] = {}
        for one in latest:
            last[one.url] = max(last.get(one.url, one.started), one.started)
        self._meter.recall(latest)
        self._picture.recall((one.url, one.vantage, one.verdict, one.started) for one in latest)
        blocked = {(event.site, event.network.asn) for event in self._active() if event.network}
        unsettled = [
            one for one in latest if one.verdict.status is Status.BLOCKED and (one.site, one.network.asn) not in blocked
        ]
        for one in unsettled:  # a restart came between a block and its confirmation
            if _now() - one.started < timedelta(seconds=RECENT_S):
                last.pop(one.url, None)
        self._arrange(watched, last)
        for one in latest:
            if one not in unsettled and one.verdict.status is not Status.INCONCLUSIVE:
                self._schedule.remember(one.url, one.vantage, Seen(status=one.verdict.status, asn=one.network.asn))

    def _active(self) -> list[Event]:
        return [event for event in self._conclusions.events() if event.ended is None]

    def _places(self, config: Config) -> None:
        """How many measure at once, a few places kept for quick re-measurements."""
        total = config.measure.concurrency
        self._slots = asyncio.Semaphore(total)
        self._regular_slots = asyncio.Semaphore(max(1, total - total // KEPT_FOR_BURSTS))

    def _arrange(self, watched: Watched, last: dict[str, datetime] | None = None) -> None:
        left = sorted({site.url for site in self._watched.sites} - {site.url for site in watched.sites})
        if left:
            say(
                "sites_left",
                f"{counted(len(left), 'site')} watched no more: {', '.join(left[:5])}{', …' * (len(left) > 5)}",
            )
        self._watched = watched
        self._schedule.arrange(watched.sites, self._probers.names(), self._config.schedule, _now(), last)
        urls = {site.url for site in watched.sites}
        self._picture.only(urls)
        self._meter.only(urls)
        if len(watched.waiting) > self._told_waiting:
            say("sites_waiting", waiting_words(len(watched.waiting)), waiting=len(watched.waiting))
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

    async def _follow_clock(self) -> None:
        async for step_s in steps():
            say("clock_set", f"the clock was set {step_s:+.0f} s", level=logging.WARNING, seconds=round(step_s, 1))
            look_again(self._timer)

    async def _alive(self) -> None:
        """Tell systemd, unless the work hangs: then it starts us anew."""
        next_due, patience_s = self._schedule.next(), RETAIN_S if self._retaining else 0.0
        overdue = next_due is not None and next_due < _now() - timedelta(seconds=TICK_S)
        hanging = self._liveness.hanging(
            waiting=overdue or self._schedule.running() > 0,
            ended=self._ended, storing_s=self._ledger.busy_s - patience_s, site_budget_s=self._config.measure.budget_s,
        )  # fmt: skip
        if hanging is None:
            systemd.notify("WATCHDOG=1")
        elif self._hanging is None:
            say("hanging", f"{hanging}; systemd may start the service anew", level=logging.ERROR)
        self._hanging = hanging

    async def _wake(self) -> None:
        self._due()

    def _due(self) -> None:
        """Begin what is due, and wait for what is due next."""
        now = _now()
        self._pace(now)
        for one in self._schedule.due(now):
            self._start(self._round(one), f"a round of {one.url}")
        self._wait()

    def _wait(self) -> None:
        at = self._schedule.next()
        if at is not None and not self._stop.is_set():
            self._timer.add_job(self._wake, "date", run_date=at, id="due", replace_existing=True)

    def _pace(self, now: datetime) -> None:
        """Count what measuring took, and go as slowly as the budget wants."""
        traffic, before = self._probers.traffic(), self._traffic
        self._traffic = traffic
        self._budget.spend(traffic - before, now, measurements=self._measured)
        self._measured = 0
        wanted = self._schedule.measurements_within(self._budget.left_s(now))
        self._schedule.stretch = self._budget.stretch(wanted)
        self._schedule.bursts = not self._budget.exhausted()
        if self._budget.exhausted() and not self._paused:
            limit = amount(self._budget.limit or 0)
            say("paused", f"the budget of {limit} a day is spent: measuring pauses until midnight UTC")
        self._paused = self._budget.exhausted()
        every_s, stretch = self._schedule.shortest_s(), self._schedule.stretch
        if self._pace_told.changed(stretch):
            every = None if math.isinf(stretch) else round(every_s * stretch)
            say("pace", pace_text(self._budget, stretch, every_s), every=every)

    async def _round(self, one: Round) -> None:
        async with Together(len(one.vantages)) as together:
            await asyncio.gather(*(self._one(one, vantage, together) for vantage in one.vantages))

    async def _one(self, one: Round, vantage: str, together: Together) -> None:
        try:
            measuring = self._probers.measure(one.url, vantage, together, self._place(one.why))
            measurement = await survived(measuring, f"measuring {one.url} on {vantage}")
            if measurement is not None:
                self._measured += 1
                if one.why is not Why.ASIDE:
                    self._note(measurement)
                self._asked.note((one.url, vantage), measurement)
        finally:
            self._ended += 1
            self._schedule.ended(one.url, vantage, _now())
            self._asked.ended((one.url, vantage))
            self._wait()

    @asynccontextmanager
    async def _place(self, why: Why) -> AsyncIterator[None]:
        async with AsyncExitStack() as places:
            with self._meter.waiting():
                if why in (Why.REGULAR, Why.ASKED, Why.ASIDE):
                    await places.enter_async_context(self._regular_slots)
                await places.enter_async_context(self._slots)
            yield

    def _note(self, measurement: Measurement) -> None:
        """A result: what it means for the schedule and the view, and on to the store."""
        verdict = measurement.verdict
        assert verdict is not None
        seen = Seen(status=verdict.status, asn=measurement.network.asn, echo_s=_echo_s(measurement))
        self._schedule.note(measurement.url, measurement.vantage, seen, _now())
        self._meter.note(measurement, self._schedule.period_s(measurement.url))
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
        try:
            watched = await asyncio.to_thread(self._lists.approved, self._config)
        except (ConfigError, ListUnavailable) as exc:
            say("list", str(exc), level=logging.WARNING)
        else:
            if watched != self._watched:
                self._arrange(watched)
        self._due()  # a clock that was set, or a machine that slept, shows here
        await self._quietly(self._store.remember, _SPENT, msgspec.json.encode(self._budget.spent()))

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
                say("list", str(exc), level=logging.WARNING)
                return
            if watched != self._watched:
                self._arrange(watched)
                self._due()

    async def _retain(self) -> None:
        keep = self._config.keep
        if keep.age_s is not None or keep.size is not None:
            self._retaining = True  # the first time it takes long
            removed = await self._quietly(_retained, self._store, keep.age_s, keep.size, _now())
            self._retaining = False
            if removed:
                say("retained", f"removed from the store: {counted(removed, 'old measurement')}", removed=removed)

    async def _quietly(self, work: Any, *arguments: Any) -> Any:
        """With the store; its trouble shows, and is told, when measurements are stored."""
        try:
            return await self._ledger.do(work, *arguments)
        except StoreError:
            return None

    def _count(self, counts: Counts) -> None:
        """For metrics, whenever the store has time."""
        self._start(_nothing(self._quietly(self._store.tally, counts)), "counting")

    def _start(self, work: Coroutine[Any, Any, None], doing: str) -> "asyncio.Task[None]":
        """Something beside the loop. A mistake in it is told, and ends nothing else."""
        task = asyncio.create_task(_told(work, doing))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return task

    async def _leave(self, writing: "asyncio.Task[None]") -> None:
        """Measurements under way get a moment, what is measured is stored."""
        rounds = self._doing - {writing}
        if rounds:
            await asyncio.wait(rounds, timeout=LEAVE_S)
        for task in rounds:
            task.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        try:
            async with asyncio.timeout(STORE_LEAVES_S):
                await self._ledger.flush()
                await self._quietly(self._store.remember, _SPENT, msgspec.json.encode(self._budget.spent()))
        except TimeoutError:
            pass
        if self._ledger.unsaved:
            lost = f"lost: {counted(self._ledger.unsaved, 'measurement')} that the store did not take"
            say("lost", lost, level=logging.ERROR)
        say("stopped", "stopped")

    @asynccontextmanager
    async def _signals(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            self.interrupted = True
            self._stop.set()

        def reload() -> None:
            self._start(_nothing(self.reload()), "reloading")

        handlers = {signal.SIGTERM: self._stop.set, signal.SIGINT: interrupt, signal.SIGHUP: reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


async def _told(work: Coroutine[Any, Any, None], doing: str) -> None:
    await survived(work, doing)


async def _nothing(work: Coroutine[Any, Any, object]) -> None:
    await work


def _recalled(store: Store) -> Spent:
    """The budget as remembered; a fresh one where nothing, or nonsense, is."""
    raw = store.recall(_SPENT)
    try:
        return msgspec.json.decode(raw or b"", type=Spent)
    except msgspec.DecodeError:
        return Spent(day=_now().date(), used=0)


def _retained(store: Store, age_s: float | None, size: int | None, now: datetime) -> int:
    return store.retain(age_s=age_s, size=size, now=now)


def _echo_s(measurement: Measurement) -> float | None:
    """Seconds since a neighbour's trigger that may have spoiled the measurement."""
    verdict = measurement.verdict
    if verdict is None or verdict.rule != "residual_neighbour":
        return None
    return min((neighbour.seconds_ago for neighbour in measurement.conditions.neighbours), default=0.0)


def _now() -> datetime:
    return datetime.now(UTC)
