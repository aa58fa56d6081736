"""How long a scrape of /metrics takes, how large it is, and what it takes from measuring.

    python bench/metrics.py [--sites 50 500 2000] [--vantages 4]

Sites as a country has them: nine in ten open, the others are blocked by one method or two. Scraped over HTTP from the web
application as the service has it, as Prometheus asks, from a store on disk. As a yardstick, prometheus-client tells as
many plain gauges with four labels in the same process; the ratio is that of CPU time. The loop that measures goes on
meanwhile: how long it had to wait for its turn is told (99 of 100 times less, and at most), and how long at most without a
scrape.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from monitor.config import Config, MeasureConfig, SiteConfig, VantageConfig
from monitor.metrics.meter import Meter
from monitor.metrics.scrape import Scrape
from monitor.models import Conditions, Dns, Http, Measurement, Network, Role, Status, Tcp, Tls, Verdict
from monitor.store import Store
from monitor.web.app import Health, app
from monitor.web.metrics import SHARED_S
from monitor.web.server import opened, serving

PERIOD_S = 1800.0
# What Prometheus 2.42 sends.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
OK = Verdict(status=Status.OK, methods=(), confidence=0.999, confirmed=False, rule="page_verified", rules_version=1)
NXDOMAIN = msgspec.structs.replace(OK, status=Status.BLOCKED, methods=("dns.nxdomain",), confidence=0.98)
BOTH = msgspec.structs.replace(NXDOMAIN, methods=("dns.nxdomain", "tls.reset"))


class Scraped(Struct, frozen=True, kw_only=True):
    """One scrape: seconds, of the clock and of CPU, bytes on the wire, the text, and how long the loop had to wait."""

    took_s: float
    cpu_s: float
    wire: int
    text: str
    waits_s: list[float]

    @property
    def series(self) -> int:
        """Lines that are none of comments."""
        return sum(not line.startswith("#") for line in self.text.splitlines())


class Watching:
    """A service that has measured everything once."""

    def __init__(self, store: Store, sites: int, vantages: int) -> None:
        self.config = Config(vantages=tuple(VantageConfig(name=f"isp{n}", asn=8048 + n) for n in range(vantages)))
        self.sites = tuple(SiteConfig(url=f"https://www.site{n}.example/") for n in range(sites))
        self.web, self.measuring = self.config.web, MeasureConfig()
        self._meter = Meter(store, self.config)
        chance, batch = Random(1), []
        for number, site in enumerate(self.sites):
            for vantage in self.config.vantages:
                batch.append(measured(chance, number, site, vantage))
                self._meter.note(batch[-1], PERIOD_S)
        for start in range(0, len(batch), 500):
            store.append(batch[start : start + 500], self._meter.count)

    async def scrape(self) -> Scrape:
        """As the service does it."""
        figures = await self._meter.figures()
        return self._meter.scrape(
            self.config, self.sites, now=datetime.now(UTC), figures=figures, troubled=False, unsaved=0, waiting=0,
            watched={site.url: PERIOD_S for site in self.sites}, running=set(), lag_s=0.0, stretch=1.0, active=[],
            networks={one.name: Network(asn=one.asn, isp=one.name) for one in self.config.vantages}, incidents={},
            budget=None, used=0, absent=(),
        )  # fmt: skip

    def health(self) -> Health:
        """Not asked for."""
        return Health(status="ok", problem=None, sites=0, waiting=0, vantages=0, unsaved=0, last_measurement=None)

    async def reload(self) -> str | None:
        """Not asked for."""
        return None


def measured(chance: Random, number: int, site: SiteConfig, vantage: VantageConfig) -> Measurement:
    """One in ten is blocked."""
    host = site.url.split("/")[2]
    blocked = chance.random() < 0.1
    when = {"hop": 0, "attempt": 1, "failure": None, "started": 0.0, "duration": round(chance.random() / 5, 6)}
    flow = when | {"address": "190.202.10.10", "port": 443, "sources": ("isp",)}
    dns = {"name": host, "type": "A", "resolver": "200.44.32.12", "role": Role.ISP, "transport": "udp"}
    verdict = chance.choice((NXDOMAIN, BOTH)) if blocked else OK
    answer = (
        {"failure": "dns_nxdomain_error", "rcode": "NXDOMAIN"}
        if blocked
        else {"answers": ("190.202.10.10",), "rcode": "NOERROR"}
    )
    steps = () if blocked else (Tcp(**flow),), () if blocked else (Tls(**flow, server_name=host),)
    return Measurement(
        id=f"{number}-{vantage.name}", url=site.url, site=host, vantage=vantage.name, probe="7f3a9b1c2d3e4f50",
        network=Network(asn=vantage.asn), started=datetime.now(UTC) - timedelta(seconds=5), runtime=1.9, verdict=verdict,
        conditions=Conditions(online4=True), hops=(site.url,), dns=(Dns(**when | dns | answer),), tcp=steps[0],
        tls=steps[1], http=() if blocked else (Http(**flow, url=site.url, status=200, complete=True),),
    )  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[50, 500, 2000])
    parser.add_argument("--vantages", type=int, default=4)
    parser.add_argument("--times", type=int, default=5, help="scrapes of each; the median is told")
    chosen = parser.parse_args()
    say(
        "sites x vantages",
        "series",
        "text KB",
        "gzip KB",
        "scrape s",
        "CPU s",
        "plain s",
        "ratio",
        "waits ms",
        "most",
        "idle",
    )
    for sites in chosen.sites:
        with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:{folder}/store.db") as store:
            watching = Watching(store, sites, chosen.vantages)
            idle_s, scrapes = asyncio.run(scraped(watching, chosen.times))
        last, cpu_s = scrapes[-1], median(one.cpu_s for one in scrapes)
        waits_ms = sorted(1000 * wait for one in scrapes for wait in one.waits_s)
        plain_s = median(plain(last.series) for _ in range(chosen.times))
        say(
            f"{sites} x {chosen.vantages}", last.series, f"{len(last.text.encode()) / 1000:.0f}", f"{last.wire / 1000:.0f}",
            f"{median(one.took_s for one in scrapes):.2f}", f"{cpu_s:.3f}", f"{plain_s:.3f}", f"{cpu_s / plain_s:.2f}",
            f"{waits_ms[len(waits_ms) * 99 // 100]:.0f}", f"{waits_ms[-1]:.0f}", f"{1000 * idle_s:.0f}",
        )  # fmt: skip
    return 0


async def scraped(watching: Watching, times: int) -> tuple[float, list[Scraped]]:
    """The loop's longest wait in a second without scrapes, and the scrapes."""
    listening = opened("127.0.0.1:0")
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with serving(app(watching), listening):  # type: ignore[arg-type]
        with heartbeat() as gaps:
            await asyncio.sleep(1.0)
        return max(gaps), [await _scrape(address) for _ in range(times)]


async def _scrape(address: str) -> Scraped:
    """By another process: reading the answer is not the service's work."""
    command = [sys.executable, "-c", ASKING, f"{address}/metrics", ACCEPT]
    await asyncio.sleep(2 * SHARED_S)  # or it would be handed what was made for the one before
    began = time.process_time()
    with heartbeat() as gaps:
        asking = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await asking.communicate()
    seconds, wire, text = out.decode().split("\n", 2)
    cpu_s = time.process_time() - began
    return Scraped(took_s=float(seconds), cpu_s=cpu_s, wire=int(wire), text=text, waits_s=gaps)


ASKING = """
import sys, time, httpx
began = time.perf_counter()
with httpx.Client(trust_env=False, timeout=60) as client, client.stream(
    "GET", sys.argv[1], headers={"Accept": sys.argv[2], "Accept-Encoding": "gzip"}
) as response:
    response.raise_for_status()
    raw = b"".join(response.iter_raw())
took = time.perf_counter() - began
import gzip
sys.stdout.write(f"{took}\\n{len(raw)}\\n" + gzip.decompress(raw).decode())
"""


@contextmanager
def heartbeat() -> Iterator[list[float]]:
    """How much later than due the loop came to a task that is due every millisecond."""
    gaps = [0.0]

    async def beat() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - due)

    beating = asyncio.create_task(beat())
    try:
        yield gaps
    finally:
        beating.cancel()


def plain(series: int) -> float:
    """Seconds of CPU that the library takes to tell so many plain gauges."""
    registry = CollectorRegistry()
    gauge = Gauge("plain", "As many.", ["site", "vantage", "asn", "status"], registry=registry)
    for number in range(series):
        gauge.labels(f"www.site{number // 5}.example", "isp0", "8048", str(number % 5)).set(number % 2)
    began = time.process_time()
    generate_latest(registry)
    return time.process_time() - began


def say(*cells: object) -> None:
    """A row."""
    widths = (16, 8, 9, 9, 10, 8, 9, 7, 10, 7, 7)
    sys.stdout.write("".join(f"{cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
