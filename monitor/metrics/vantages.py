"""The metrics of each vantage: is it there, and what has come of all that was measured on it."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import Metric

from monitor.metrics import sites, words
from monitor.metrics.catalogue import counter, gauge, histogram, info
from monitor.metrics.counting import BUCKETS
from monitor.metrics.scrape import PERIODS, Scrape, Sign
from monitor.models import Status
from monitor.outcome import STEPS
from monitor.store import Counts, Tallied, Tally


def families(scrape: Scrape) -> Iterator[Metric]:
    """What memory tells, then what the store does."""
    up, last, known = gauge("vantage_up"), gauge("last_measurement_timestamp_seconds"), info("vantage_info")
    configured, fresh, running = gauge("sites_configured"), gauge("sites_fresh"), gauge("measurements_running")
    heard = Counter(vantage for (_, vantage), _ in sites.fresh(scrape))
    for vantage, network in scrape.networks.items():
        known.add_metric((), {
            "vantage": vantage, "asn": words.asn(network), "isp": words.plain(network.isp),
            "country": words.plain(network.country),
        })  # fmt: skip
        configured.add_metric((vantage,), len(scrape.watched))
        fresh.add_metric((vantage,), heard[vantage])
        running.add_metric((vantage,), sum(on == vantage for _, on in scrape.running))
        sign = scrape.signs.get(vantage)
        up.add_metric((vantage,), sign is not None and sign.well and not _silent(scrape, vantage, sign))
        if sign is not None:
            last.add_metric((vantage,), sign.started.timestamp())
    yield from (up, known, last, configured, fresh, running)
    if scrape.figures is not None:
        yield from _counted(scrape, scrape.figures.counts)


def _silent(scrape: Scrape, vantage: str, sign: Sign) -> bool:
    """Is it not there, or did nothing come for three of the shortest periods, though it should have?"""
    if vantage in scrape.absent:
        return True
    if scrape.paused or not scrape.watched:
        return False
    patience_s = PERIODS * scrape.shortest_s
    if any(on == vantage for _, on in scrape.running):
        patience_s += scrape.site_budget_s
    return scrape.age_s(max(sign.heard, scrape.slept or sign.heard)) > patience_s


def _counted(scrape: Scrape, counts: Counts) -> Iterator[Metric]:
    measured, steps = counter("measurements_total"), histogram("step_duration_seconds")
    failures, queries = counter("step_failures_total"), counter("resolver_queries_total")
    for vantage in scrape.networks:
        for status in Status:
            measured.add_metric(
                (vantage, status.value), counts.get(Tally(Tallied.MEASUREMENTS, vantage, status.value), 0)
            )
        for step in STEPS:
            taken = accumulate(counts.get(Tally(Tallied.STEP_BUCKETS, vantage, step, bound), 0) for bound in BUCKETS)
            spent = counts.get(Tally(Tallied.STEP_MICROSECONDS, vantage, step), 0)
            steps.add_metric((vantage, step), list(zip(BUCKETS, taken, strict=True)), spent / 1e6)
        for resolver in _resolvers(scrape, vantage, counts):
            for result in (words.OK, words.FAILURE):
                number = counts.get(Tally(Tallied.RESOLVER_QUERIES, vantage, resolver, result), 0)
                queries.add_metric((vantage, resolver, result), number)
    for tally, number in sorted(counts.items()):
        if tally.counter is Tallied.STEP_FAILURES and tally.vantage in scrape.networks:
            failures.add_metric((tally.vantage, tally.first, tally.second), number)
    yield from (measured, steps, failures, queries)


def _resolvers(scrape: Scrape, vantage: str, counts: Counts) -> list[str]:
    """Those that the configuration names, and others if any was asked."""
    others = (Tally(Tallied.RESOLVER_QUERIES, vantage, words.OTHER, result) for result in (words.OK, words.FAILURE))
    configured = scrape.resolvers[vantage].names if vantage in scrape.resolvers else ()
    return [*configured, *((words.OTHER,) if any(one in counts for one in others) else ())]
