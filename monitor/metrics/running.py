"""The metrics of the service itself: controls, store, schedule, budget, configuration, version."""

import math
import platform
from collections.abc import Iterator

from prometheus_client.core import Metric

from monitor import __version__
from monitor.metrics import words
from monitor.metrics.catalogue import counter, gauge, info, single
from monitor.metrics.scrape import PERIODS, Scrape
from monitor.store import Tallied, Tally
from monitor.verdict import RULES_VERSION


def families(scrape: Scrape) -> Iterator[Metric]:
    """What is not known is left out."""
    yield _controls(scrape)
    yield from _store(scrape)
    yield single("lists_waiting_sites", scrape.waiting)
    yield single("schedule_lag_seconds", scrape.lag_s)
    if scrape.watched:
        yield single("schedule_period_seconds", math.inf if scrape.paused else scrape.shortest_s)
    if scrape.budget is not None:
        yield single("budget_bytes_limit", scrape.budget)
    yield single("budget_used_bytes", scrape.used)
    yield single("config_last_reload_successful", scrape.reloaded)
    yield single("config_last_reload_success_timestamp_seconds", scrape.reloaded_at.timestamp())
    yield single("start_time_seconds", scrape.started.timestamp())
    build = info("build_info")
    versions = {"version": __version__, "python": platform.python_version(), "rules_version": str(RULES_VERSION)}
    build.add_metric((), versions)
    yield build


def _controls(scrape: Scrape) -> Metric:
    """One that nobody needed to ask lately is neither up nor down."""
    family = gauge("control_up")
    for helper in dict.fromkeys(scrape.helpers):
        sign = scrape.controls.get(helper)
        if sign is not None and scrape.age_s(sign.heard) <= PERIODS * scrape.shortest_s + scrape.site_budget_s:
            family.add_metric((words.plain(helper),), sign.well)
    return family


def _store(scrape: Scrape) -> Iterator[Metric]:
    figures = scrape.figures
    yield single("store_up", figures is not None and not scrape.troubled)
    yield single("measurements_unsaved", scrape.unsaved)
    if figures is not None:
        yield single("store_measurements", figures.stored)
        yield single("store_size_bytes", figures.bytes)
        reloads = counter("reloads_total")
        for result in (words.OK, words.FAILURE):
            reloads.add_metric((result,), figures.counts.get(Tally(Tallied.RELOADS, first=result), 0))
        yield reloads
