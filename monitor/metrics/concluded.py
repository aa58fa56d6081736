"""The metrics of events: how many, and which go on."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from monitor.metrics import words
from monitor.metrics.catalogue import counter, gauge
from monitor.metrics.scrape import Scrape
from monitor.models import Kind

MOST_EVENTS = 500  # told of one by one, the newest


def families(scrape: Scrape) -> Iterator[Metric]:
    """Every watched network has its number of events, be it 0."""
    blocked = Counter(words.asn(event.network) for event in scrape.active if event.kind is Kind.BLOCKING)
    active = gauge("events_active")
    for asn in sorted({words.asn(network) for network in scrape.networks.values()} | blocked.keys()):
        active.add_metric((asn,), blocked[asn])
    outages, kinds = gauge("outages_active"), Counter(event.kind for event in scrape.active)
    for kind in (Kind.SITE_OUTAGE, Kind.NETWORK_OUTAGE, Kind.SILENCE):
        outages.add_metric((kind.value,), kinds[kind])
    yield from (active, outages, _each(scrape))
    if scrape.figures is not None:
        found = counter("events_total")
        for kind in Kind:
            found.add_metric((kind.value,), scrape.figures.events.get(kind, 0))
        yield found


def _each(scrape: Scrape) -> Metric:
    family = gauge("active_event")
    newest = sorted(scrape.active, key=lambda event: (event.started, event.id), reverse=True)[:MOST_EVENTS]
    for event in newest:
        network = event.network
        family.add_metric(
            (
                event.id, scrape.incidents.get(event.id, ""), event.kind.value, words.plain(event.site),
                words.asn(network), words.plain(network.isp if network else None),
            ),
            1.0,
        )  # fmt: skip
    return family
