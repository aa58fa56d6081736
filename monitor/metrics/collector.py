"""What Prometheus reads, of one scrape."""

import gzip
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from monitor.metrics import concluded, running, sites, telling, vantages
from monitor.metrics.scrape import Scrape

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_LEVEL = 3  # a tenth of the bytes in a tenth of the time that the text takes


class Scraped(Collector):
    """A collector of one moment."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        """Every metric that can be told now."""
        for told in (sites, vantages, concluded, telling, running):
            yield from told.families(self._scrape)


def is_openmetrics(accept: str) -> bool:
    """Whether a client that says so reads OpenMetrics, which Prometheus prefers.

    Of its own words only whether the format is among them: others' versions are nothing we speak.
    """
    return "application/openmetrics-text" in accept.lower()


def exposition(scrape: Scrape, *, openmetrics: bool = False, compressed: bool = False) -> tuple[bytes, str]:
    """The text, and its media type."""
    encode, media_type = choose_encoder(OPENMETRICS if openmetrics else "")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Scraped(scrape))
    text = encode(registry)
    return gzip.compress(text, _LEVEL) if compressed else text, media_type
