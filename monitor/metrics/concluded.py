"""The metrics of events: how many, and which go on. What goes on where nobody looks any more is not told."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from monitor.metrics import words
from monitor.metrics.catalogue import counter, gauge
from monitor.metrics.scrape import Scrape
from monitor.models import Event, Kind
from monitor.urls import target

MOST_EVENTS = 500  # told of one by one, the newest


def families(scrape: Scrape) -> Iterator[Metric]:
    """Every watched network has its number of events, be it 0."""
    networks = _networks(scrape)
    active = _watched(scrape, networks)
    blocked = Counter(words.asn(event.network) for event in active if event.kind is Kind.BLOCKING)
    by_network = gauge("events_active")
    for asn in sorted(networks):
        by_network.add_metric((asn,), blocked[asn])
    outages, kinds = gauge("outages_active"), Counter(event.kind for event in active)
    for kind in (Kind.SITE_OUTAGE, Kind.NETWORK_OUTAGE, Kind.SILENCE):
        outages.add_metric((kind.value,), kinds[kind])
    yield from (by_network, outages, *_each(scrape, active))
    if scrape.figures is not None:
        found = counter("events_total")
        for kind in Kind:
            found.add_metric((kind.value,), scrape.figures.events.get(kind, 0))
        yield found


def _networks(scrape: Scrape) -> set[str]:
    """Those of the configured vantages. One that is not there now is on the network on which it was heard last."""
    heard = {sign.asn for vantage, sign in scrape.signs.items() if vantage in scrape.networks and sign.asn}
    return heard | {words.asn(network) for network in scrape.networks.values()}


def _watched(scrape: Scrape, networks: set[str]) -> list[Event]:
    """A site that left the list, or a network whose vantage did: what was so when it was last seen may be over."""
    hosts = {None, *(target(url).site for url in scrape.watched)}
    return [
        event for event in scrape.active
        if event.site in hosts and (event.network is None or words.asn(event.network) in networks)
    ]  # fmt: skip


def _each(scrape: Scrape, active: Sequence[Event]) -> tuple[Metric, Metric]:
    family, since = gauge("active_event"), gauge("active_event_started_timestamp_seconds")
    for event in sorted(active, key=lambda event: (event.started, event.id), reverse=True)[:MOST_EVENTS]:
        network = event.network
        family.add_metric(
            (
                event.id, scrape.incidents.get(event.id, ""), event.kind.value, words.site(event.site),
                words.asn(network), words.plain(network.isp if network else None),
            ),
            1.0,
        )  # fmt: skip
        since.add_metric((event.id,), event.started.timestamp())
    return family, since
