"""A service without a network that has measured something: a store on disk, a meter, and what a scrape of them tells."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from verdict_cases import SITE, measured

from monitor.config import MeasureConfig, parse
from monitor.metrics.collector import exposition, is_openmetrics
from monitor.metrics.meter import Meter
from monitor.metrics.scrape import Scrape
from monitor.models import Measurement, Network, Status, Verdict
from monitor.web.app import Health

CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
PERIOD_S = 1800.0
HELPER = "https://helper.example/"
CONFIG = """
sites: [{url: https://elpitazo.example/, tags: [news]}, https://lapatilla.example/]
vantages: [{name: cantv, resolvers: [system, 200.44.32.12]}, {name: movilnet}]
control: {helpers: [https://helper.example/], resolvers: [https://dns.quad9.net/dns-query]}
measure: {public_resolvers: [8.8.8.8]}
alerts: [{to: "webhook:https://desk.example/"}]
"""
OPENMETRICS = "application/openmetrics-text;version=1.0.0"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def opens(number: int, **more: Any) -> Measurement:
    """A site that opens over https, with what was asked and answered."""
    case = measured().dns(isp=SITE, public=SITE, doh=SITE).opens().control().dns(helper=SITE).opens()
    return as_of_now(case.measurement(), number, Status.OK, (), **more)


def blocked(number: int, *methods: str, **more: Any) -> Measurement:
    """A site that is cut when its name is seen."""
    case = measured().dns(isp=SITE, doh=SITE).cut("tls.reset", times=1).control().dns(helper=SITE).opens()
    return as_of_now(case.measurement(), number, Status.BLOCKED, methods or ("tls.reset",), **more)


def as_of_now(
    measurement: Measurement, number: int, status: Status, methods: tuple[str, ...], **more: Any
) -> Measurement:
    """The measurement, judged so, of this moment."""
    verdict = Verdict(
        status=status, methods=methods, confidence=None if status is Status.INCONCLUSIVE else 0.98, confirmed=False,
        rule="r", rules_version=1,
    )  # fmt: skip
    known = {"id": f"m{number}", "verdict": verdict, "started": datetime.now(UTC), "network": CANTV}
    return msgspec.structs.replace(measurement, **(known | more))


class Watching:
    """A service. Its time goes on when `later` says so."""

    def __init__(self, store: Any, config: str = CONFIG, patience_s: float = 30.0) -> None:
        self.store, self.config = store, parse(config, "probes.yaml")
        self.meter = Meter(store, self.config, patience_s=patience_s)
        self.web, self.measuring = self.config.web, MeasureConfig()
        self.later = timedelta()
        self.told: dict[str, Any] = {}
        self.meter.recall(store.latest())

    def measure(self, *measurements: Measurement, period_s: float = PERIOD_S) -> None:
        """They have just come."""
        for one in measurements:
            self.meter.note(one, period_s)
        self.store.append(measurements, self.meter.count)

    async def scrape(self) -> Scrape:
        """As the service does it."""
        known: dict[str, Any] = {
            "now": datetime.now(UTC) + self.later, "troubled": False, "unsaved": 0, "waiting": 0, "running": set(),
            "watched": dict.fromkeys((site.url for site in self.config.sites), PERIOD_S), "lag_s": 0.0, "stretch": 1.0,
            "networks": {one.name: CANTV for one in self.config.vantages}, "active": [], "incidents": {}, "used": 5,
            "budget": 100, "absent": (),
        }  # fmt: skip
        figures = await self.meter.figures()
        return self.meter.scrape(self.config, self.config.sites, figures=figures, **(known | self.told))

    def health(self) -> Health:
        """Well."""
        return Health(
            status="ok", problem=None, sites=2, waiting=0, vantages=2, absent=(), unsaved=0, last_measurement=None
        )

    async def reload(self) -> str | None:
        """Nothing changes."""
        return None


def text_of(scrape: Scrape, accept: str = "") -> str:
    """What Prometheus reads."""
    return exposition(scrape, openmetrics=is_openmetrics(accept))[0].decode()


def series(text: str) -> Series:
    """Every value, by name and labels; a series that is told twice is a mistake."""
    read = openmetrics if text.endswith("# EOF\n") else plain
    found: Series = {}
    for family in read(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def of(found: Series, name: str, **labels: str) -> dict[str, float] | float | None:
    """The value of one series, by all its labels; None: it is absent."""
    return found.get((f"almenara_{name}", frozenset(labels.items())))


def named(found: Series, name: str) -> Series:
    """All series of a metric."""
    return {key: value for key, value in found.items() if key[0] == f"almenara_{name}"}


def counters(found: Series) -> Series:
    """Those that never go back."""
    endings = ("_total", "_bucket", "_sum", "_count")
    return {key: value for key, value in found.items() if key[0].endswith(endings)}


def labels(found: Iterable[tuple[str, frozenset[tuple[str, str]]]]) -> list[Mapping[str, str]]:
    """The labels of each."""
    return [dict(of_one) for _, of_one in found]
