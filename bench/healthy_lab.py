"""Healthy sites in the lab, measured many at once: what the benches share."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from monitor.config import parse
from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.lines import Outline
from monitor.models import Measurement
from monitor.run import measure_all

LINE = "bench"
FAST = 12_500_000  # bytes per second: a line and servers of 100 Mbit/s, so that it is the probe that is measured


@contextmanager
def healthy_lab(
    seed: int, sites: int, *, rtt_s: float, loss: float = 0.0, rate: int = FAST
) -> Iterator[tuple[Lab, list[str]]]:
    """A lab with one line, every host of it rtt_s away, and the URLs of healthy sites. loss: share of packets, each way.

    rate: of the line, bytes per second.
    """
    outline = Outline(isp="Bench", asn=64500, rtt_s=rtt_s, loss=loss, rate=rate)
    world = draw(seed, healthy=sites, lines={LINE: outline})
    for place in world.places.values():
        place.delay_s, place.rate = 0.0, float(FAST)
    services = {url.split("/")[2] for url in (*world.neutral, *world.doh)}
    with Lab(world) as lab:
        lab.start_helper()
        os.environ["SSL_CERT_FILE"] = str(lab.ca_file)
        yield lab, [site.url for name, site in world.sites.items() if name not in services]


async def measured(lab: Lab, urls: Sequence[str], concurrency: int) -> AsyncIterator[Measurement]:
    """Each URL once, from the line, as `almenara measure` does it."""
    config = parse(lab.probes_yaml([LINE]), "lab")
    settings = msgspec.structs.replace(config.measure, concurrency=concurrency)
    async for measurement in measure_all(msgspec.structs.replace(config, measure=settings), urls):
        yield measurement
