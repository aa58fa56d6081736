"""How fast are pages and API with a million measurements of two thousand sites, on four networks, in the store?

python bench/web.py [--sites 2000] [--measurements 1000000] [--asked 100] [--store FILE] [--url postgresql://...]

The service's application on a real socket, in a process of its own; each page and endpoint asked for by another one,
a reader at a time; then by several at once, for the requests a second that it holds. CPU is that of the service, whatever
else the machine does. Filling the store takes most of the time: with --store it is kept, and used again.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from statistics import median, quantiles

from web_archive import NETWORKS, RARE, filled, names

from monitor.config import WebConfig
from monitor.store import Store, Wanted
from monitor.web.app import reading
from monitor.web.archive import Archive
from monitor.web.scope import Place, Scope, Subject
from monitor.web.server import opened, serving

AT_ONCE = 8
HELD_S = 10.0
Paths = dict[str, list[str]]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=2000)
    parser.add_argument("--measurements", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=100, help="how often each page is asked for")
    parser.add_argument("--store", type=Path, help="the file to fill, or a filled one; default: a temporary one")
    parser.add_argument("--url", help="a PostgreSQL database, empty or filled, instead of a file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = chosen.url or f"sqlite:{chosen.store or Path(folder) / 'web.db'}"
        if chosen.serve:
            asyncio.run(_serve(url, chosen.sites))
            return 0
        began = time.perf_counter()
        if not _is_filled(url):
            filled(url, chosen.sites, chosen.measurements)
            _say("filling the store", f"{time.perf_counter() - began:.0f} s")
        with _served(url, chosen.sites) as (port, pid):
            asyncio.run(_measured(port, pid, _paths(url), chosen.asked))
    return 0


def _is_filled(url: str) -> bool:
    with Store.open(url) as store:
        return bool(store.heads(Wanted(), most=1))


# --- the service -------------------------------------------------------------------------------------------------------


class _Watched:
    """A service, as far as readers see it."""

    def __init__(self, sites: int) -> None:
        self.web = WebConfig()
        period_s = timedelta(hours=6).total_seconds()
        self._scope = Scope(
            subjects=tuple(Subject(url=f"https://{site}/", site=site, period_s=period_s) for site in names(sites)),
            places=tuple(Place(name=name, network=network) for name, network in NETWORKS),
        )

    def scope(self) -> Scope:
        return self._scope


async def _serve(url: str, sites: int) -> None:
    archive, listening = Archive(url), opened("127.0.0.1:0")
    async with serving(reading(_Watched(sites), archive, per_minute=10**9), listening):
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    await archive.aclose()


@contextmanager
def _served(url: str, sites: int) -> Iterator[tuple[int, int]]:
    command = [sys.executable, __file__, "--serve", "--sites", str(sites)]
    command += ["--store", url.removeprefix("sqlite:")] if url.startswith("sqlite:") else ["--url", url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait(30)


# --- the readers -------------------------------------------------------------------------------------------------------


def _paths(url: str) -> Paths:
    """By what they are of, so many of each kind as are told apart."""
    chance = Random(3)
    with Store.open(url, create=False) as store:
        heads = store.heads(Wanted(newest_first=True), most=1000)
        events = [one.id for one in store.events()]
        incidents = [one.id for one in store.incidents()]
    sites, ids = [one.site for one in heads], [one.id for one in heads]
    until = heads[0].started
    week = f"since={(until - timedelta(days=7)):%Y-%m-%dT00:00:00Z}"

    def of(form: str, values: list[str]) -> list[str]:
        return [form.format(value) for value in chance.sample(values, min(50, len(values)))]

    return {
        "/": ["/"],
        "/?q=": of("/?q={}", [f"noticias{number}" for number in range(100)]),
        "/sites/HOST": of("/sites/{}", sites),
        "/sites/HOST?range=year": of("/sites/{}?range=year", sites),
        "/networks/asnN": [f"/networks/asn{network.asn}" for _, network in NETWORKS],
        "/events": ["/events"],
        "/events/ID": of("/events/{}", events),
        "/incidents/ID": of("/incidents/{}", incidents),
        "/measurements/ID": of("/measurements/{}", ids),
        "/methods": ["/methods"],
        "/about": ["/about"],
        "/feed.atom": ["/feed.atom"],
        "/sites/HOST/badge.svg": of("/sites/{}/badge.svg", sites),
        "/sites/HOST/chart.svg": of("/sites/{}/chart.svg", sites),
        "/api/v1/sites": ["/api/v1/sites"],
        "/api/v1/networks": ["/api/v1/networks"],
        "/api/v1/measurements": ["/api/v1/measurements"],
        "... limit=1000, CSV": ["/api/v1/measurements?limit=1000&format=csv"],
        "... of a site": of("/api/v1/measurements?site={}", sites),
        "... by three filters": [
            f"/api/v1/measurements?status=blocked&method=tls.reset&asn={network.asn}" for _, network in NETWORKS
        ],
        "... a method found once": [f"/api/v1/measurements?method={RARE}"],
        "... of a country without any": ["/api/v1/measurements?country=CO"],
        "/api/v1/measurements/ID": of("/api/v1/measurements/{}", ids),
        "/api/v1/events": ["/api/v1/events"],
        "/api/v1/events/ID": of("/api/v1/events/{}", events),
        "/api/v1/incidents": ["/api/v1/incidents"],
        "/api/v1/aggregates?by=day,status": ["/api/v1/aggregates?by=day,status"],
        "... by=asn,method": ["/api/v1/aggregates?by=asn,method"],
        "... by=hour,asn, a week": [f"/api/v1/aggregates?by=hour,asn&{week}"],
        "... by=site,asn, a week": [f"/api/v1/aggregates?by=site,asn&{week}"],
        "... by=site, all": ["/api/v1/aggregates?by=site"],
        "... by=day, one site": of("/api/v1/aggregates?by=day&site={}", sites),
    }  # fmt: skip


async def _measured(port: int, pid: int, paths: Paths, asked: int) -> None:
    chance = Random(4)
    for some in paths.values():  # what is read at first, and then kept in memory, is not what is measured
        await _asked(port, some[0])
    for name, some in paths.items():
        cpu_s, answers = _cpu_s(pid), [await _asked(port, chance.choice(some)) for _ in range(asked)]
        seconds = [one[0] for one in answers]
        told = f"median {1000 * median(seconds):6.1f} ms, 95 % {1000 * quantiles(seconds, n=20)[-1]:6.1f} ms, "
        told += f"CPU {1000 * (_cpu_s(pid) - cpu_s) / asked:6.1f} ms, {max(one[2] for one in answers) / 1000:6.1f} KB"
        wrong = {one[1] for one in answers} - {200}
        _say(name, told + (f", ANSWERS {wrong}" if wrong else ""))
    for kind in ("pages", "API"):
        these = [path for name, some in paths.items() for path in some if _is_page(name) is (kind == "pages")]
        _say(f"{kind}, {AT_ONCE} readers at once", await _held(port, pid, these))


def _is_page(name: str) -> bool:
    return not name.startswith(("/api", "..."))


async def _held(port: int, pid: int, paths: list[str]) -> str:
    began, cpu_s, count = time.perf_counter(), _cpu_s(pid), 0

    async def reader(number: int) -> None:
        nonlocal count
        chance = Random(number)
        while time.perf_counter() < began + HELD_S:
            await _asked(port, chance.choice(paths))
            count += 1

    await asyncio.gather(*map(reader, range(AT_ONCE)))
    took, used = time.perf_counter() - began, _cpu_s(pid) - cpu_s
    return f"{count / took:.0f} requests per second, {1000 * used / count:.1f} ms CPU each, {used / took:.1f} cores"


def _cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _asked(port: int, path: str) -> tuple[float, int, int]:
    """Seconds until the last byte, the status, and how many bytes were sent."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read(-1)
    took = time.perf_counter() - began
    writer.close()
    return took, int(answer[9:12]), len(answer)


def _say(what: str, figure: str) -> None:
    sys.stdout.write(f"{what:<36} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
