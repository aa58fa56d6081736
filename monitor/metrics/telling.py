"""The metrics of alerts: what became of the attempts to tell somebody, and who was not told so far."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from monitor.metrics import words
from monitor.metrics.catalogue import counter, gauge
from monitor.metrics.scrape import Scrape
from monitor.store import Sending, Tallied, Tally

RESULTS = ("sent", "failed", "given_up")


def families(scrape: Scrape) -> Iterator[Metric]:
    """Every configured channel has its numbers, be they 0."""
    if scrape.figures is None:
        return
    counts, undelivered = scrape.figures.counts, scrape.figures.deliveries
    tried = {tally.first for tally in counts if tally.counter is Tallied.ALERTS}
    channels = sorted(tried.union(scrape.channels, (channel for channel, _ in undelivered)))
    total, left = counter("alerts_total"), gauge("alerts_undelivered")
    for channel in channels:
        for result in RESULTS:
            number = counts.get(Tally(Tallied.ALERTS, first=channel, second=result), 0)
            total.add_metric((words.plain(channel), result), number)
        for state in (Sending.WAITING, Sending.GIVEN_UP):
            left.add_metric((words.plain(channel), state.name.lower()), undelivered.get((channel, state), 0))
    yield from (total, left)
