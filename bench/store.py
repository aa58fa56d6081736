"""How fast the store takes measurements and gives them back, and what one of them takes on disk.

python bench/store.py [--folder DIR] [--verdicts 1000000] [--facts 3000] [--url postgresql://...]

A year of some sites every ten minutes, seeded; small facts for the million, facts as large as a real measurement's for
appends and size. What depends on the disk is also given as a ratio to what the disk can do.
"""

import argparse
import base64
import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from monitor.models import (
    Certificate,
    Conditions,
    Control,
    Dns,
    Http,
    Measurement,
    Network,
    Role,
    Status,
    Tcp,
    Tls,
    Verdict,
    to_json,
)
from monitor.store import Store, Wanted

YEAR = datetime(2025, 1, 1, tzinfo=UTC)
NETWORK = Network(asn=8048, isp="CANTV", country="VE", source="observed")
RESOLVERS = (
    ("200.44.32.12", Role.ISP, "udp"), ("200.44.32.13", Role.ISP, "udp"), ("8.8.8.8", Role.PUBLIC, "udp"),
    ("1.1.1.1", Role.PUBLIC, "udp"), ("https://dns.quad9.net/dns-query", Role.DOH, "doh"),
    ("https://cloudflare-dns.com/dns-query", Role.DOH, "doh"),
)  # fmt: skip
EVERY = timedelta(minutes=10)
PER_SITE = 365 * 144


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to put the file; default: a temporary folder")
    parser.add_argument("--verdicts", type=int, default=1_000_000)
    parser.add_argument("--facts", type=int, default=3000)
    parser.add_argument("--url", help="an empty PostgreSQL database instead of a file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        url = chosen.url or f"sqlite:{folder}/store.db"
        _appends(url, Path(folder), chosen.facts)
        if chosen.verdicts:
            _year(chosen.url or f"sqlite:{folder}/year.db", chosen.verdicts)
    return 0


def _appends(url: str, folder: Path, count: int) -> None:
    chance = Random(1)
    certificates = {site: tuple(_certificate(chance) for _ in range(3)) for site in range(50)}
    whole = [_whole(number, chance, certificates[number % 50]) for number in range(count)]
    json = sum(len(to_json(one)) for one in whole) / count
    sync_ms = _sync_ms(folder)
    with Store.open(url) as store:
        empty = store.used_bytes()
        singles = whole[: count // 10]
        one_ms = 1000 * _seconds(lambda: [store.append([one]) for one in singles]) / len(singles)
        rest = whole[len(singles) :]
        many = _seconds(lambda: [store.append(rest[at : at + 100]) for at in range(0, len(rest), 100)])
        _say("one append at a time", f"{1000 / one_ms:.0f} per second, {one_ms:.2f} ms each")
        _say("of which the disk's sync", f"{sync_ms:.2f} ms: ratio {one_ms / sync_ms:.1f}")
        _say("appends of 100", f"{len(rest) / many:.0f} measurements per second")
        size = (store.used_bytes() - empty) / count
        _say("size", f"{size:.0f} bytes each, {json:.0f} as JSON: ratio {size / json:.2f}")
        read = _seconds(lambda: sum(1 for _ in store.measurements()))
        _say("read whole", f"{count / read:.0f} measurements per second")


def _year(url: str, verdicts: int) -> None:
    with Store.open(url) as store:
        filled = _seconds(lambda: _fill(store, verdicts))
        _say("small appends of 1000", f"{verdicts / filled:.0f} measurements per second")
        took = _seconds(lambda: sum(1 for _ in store.points()))
        _say("points()", f"{verdicts / took:.0f} verdicts per second ({verdicts} of them)")
        site = "s0.example"
        one = _seconds(lambda: sum(1 for _ in store.points(site=site)))
        _say("points() of one site", f"{1000 * one:.0f} ms for {min(PER_SITE, verdicts)}")
        _chart(store, "all sites", None)
        _chart(store, "one site", site)
        if url.startswith("sqlite:"):
            _chart_by_sql(url.removeprefix("sqlite:"))
        page = Wanted(status=Status.BLOCKED, newest_first=True, limit=50)
        _say("a page of 50 of the API", f"{1000 * _seconds(lambda: list(store.measurements(page))):.1f} ms")
        _say("latest()", f"{1000 * _seconds(store.latest):.1f} ms")
        _say("totals()", f"{1000 * _seconds(store.totals):.1f} ms")
        now = YEAR + timedelta(days=36.5)
        gone = 0

        def retain() -> None:
            nonlocal gone
            gone = store.retain(age_s=86_400, size=None, now=now)

        _say("retention", f"{_seconds(retain):.1f} s for {gone} measurements")


def _chart(store: Store, what: str, site: str | None) -> None:
    """Per day, how many with each status."""
    rollups: Counter[tuple[datetime, Status]] = Counter()
    points: Counter[tuple[datetime, Status]] = Counter()
    rows = 0

    def from_rollups() -> None:
        nonlocal rows
        for one in store.rollups(Wanted(site=site), every="day"):
            rollups[one.started, one.status] += one.count
            rows += 1

    def from_points() -> None:
        for point in store.points(site=site):
            points[point.started.replace(hour=0, minute=0, second=0), point.status] += 1

    quick, slow = _seconds(from_rollups), _seconds(from_points)
    assert rollups == points, "the counts are those of the verdicts"
    _say(
        f"a year's chart, {what}",
        f"{1000 * quick:.1f} ms from {rows} rows of rollups; from {sum(points.values())} verdicts "
        f"{1000 * slow:.0f} ms: ratio {slow / quick:.0f}",
    )


def _chart_by_sql(file: str) -> None:
    query = "SELECT started / 86400000000, status, count(*) FROM verdicts GROUP BY 1, 2"
    connection = sqlite3.connect(file)
    _say("the same, counted by SQLite", f"{1000 * _seconds(lambda: connection.execute(query).fetchall()):.0f} ms")
    connection.close()


def _fill(store: Store, count: int) -> None:
    batch: list[Measurement] = []
    for one in _history(count):
        batch.append(one)
        if len(batch) == 1000:
            store.append(batch)
            batch.clear()
    store.append(batch)


def _history(count: int) -> Iterator[Measurement]:
    """In order of time: as many sites as the count needs, 2 % noise, each blocked for a tenth of the year."""
    chance = Random(2)
    sites = max(1, -(-count // PER_SITE))
    for number in range(count):
        site, moment = number % sites, number // sites
        blocked = site * 1000 <= moment < site * 1000 + PER_SITE // 10
        yield _small(number, f"s{site}.example", YEAR + moment * EVERY, blocked != (chance.random() < 0.02))


def _small(number: int, site: str, started: datetime, blocked: bool) -> Measurement:
    return Measurement(
        id=f"{number:032x}", url=f"https://{site}/", site=site, vantage="cantv", probe="7f3a9b1c2d3e4f50",
        network=NETWORK, started=started, runtime=1.9, verdict=_verdict(blocked), conditions=Conditions(),
    )  # fmt: skip


def _verdict(blocked: bool) -> Verdict:
    if not blocked:
        return Verdict(status=Status.OK, methods=(), confidence=0.999, confirmed=False, rule="page_verified",
                       rules_version=1, reasons=({"id": "page_verified"},))  # fmt: skip
    reasons = ({"id": "resolver_denies", "resolver": "200.44.32.12", "failure": "NXDOMAIN", "name": "x", "sources": 2},)
    return Verdict(status=Status.BLOCKED, methods=("dns.nxdomain",), confidence=0.98, confirmed=True,
                   rule="dns_lie", rules_version=1, reasons=reasons)  # fmt: skip


def _whole(number: int, chance: Random, chain: tuple[Certificate, ...]) -> Measurement:
    """With as many steps as a measurement of a site that opens has, and what differs from one to the next."""
    name, address = f"www.site{number % 50}.example", f"104.{number % 50}.20.30"

    def when() -> dict[str, float]:
        return {"started": round(chance.random(), 6), "duration": round(chance.random(), 6)}

    def seen() -> dict[str, tuple[object, ...]]:
        names = tuple(
            Dns(hop=0, attempt=1, **when(), failure=None, name=name, type=kind, resolver=resolver, role=role,
                transport=transport, rcode="NOERROR", answers=(address,), local_port=chance.randrange(1024, 65536),
                raw=base64.b64encode(chance.randbytes(2) + b"\x81\x80" + name.encode() + b"\x00" * 24).decode())
            for resolver, role, transport in RESOLVERS for kind in ("A", "AAAA")
        )  # fmt: skip
        port = chance.randrange(1024, 65536)
        flow = {"hop": 0, "attempt": 1, "failure": None, "address": address, "port": 443, "sources": ("isp", "doh"),
                "local_port": port}  # fmt: skip
        page = chance.randbytes(32).hex()
        return {
            "dns": names,
            "tcp": (Tcp(**flow, **when()),),
            "tls": (Tls(**flow, **when(), server_name=name, version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384",
                        alpn="h2", bytes_sent=600, bytes_received=4200, chain=chain),),
            "http": (Http(**flow, **when(), url=f"https://{name}/", verified=True, status=200, complete=True,
                          headers=(("server", "nginx"), ("content-type", "text/html; charset=utf-8"),
                                   ("date", "Mon, 01 Jan 2025 00:00:00 GMT"), ("cache-control", "max-age=60")),
                          title=f"Noticias de {name}", body_length=80_000 + chance.randrange(999), sha256=page,
                          simhash=page[:16], bytes_received=20_000, first_byte_s=0.2, last_byte_s=0.4),),
        }  # type: ignore[arg-type] # fmt: skip

    control = Control(**seen(), kind="helper", id="https://helper.example/", failure=None, asn=64500)  # type: ignore[arg-type]
    return Measurement(
        **seen(), id=f"{chance.getrandbits(128):032x}", url=f"https://{name}/", site=name, vantage="cantv",
        probe="7f3a9b1c2d3e4f50", network=NETWORK, started=YEAR + number * EVERY, runtime=1.9,
        verdict=_verdict(blocked=number % 10 == 0), conditions=Conditions(online4=True), controls=(control,),
        software="almenara 0.1.0",
    )  # type: ignore[arg-type] # fmt: skip


def _certificate(chance: Random) -> Certificate:
    der = chance.randbytes(1300)
    return Certificate(
        sha256=hashlib.sha256(der).hexdigest(), subject="CN=www.example", issuer="CN=R11,O=Let's Encrypt,C=US",
        names=("www.example",), not_before=YEAR, not_after=YEAR, der=base64.b64encode(der).decode(),
    )  # fmt: skip


def _sync_ms(folder: Path) -> float:
    """What the disk needs to make four pages safe."""
    with (folder / "sync").open("wb", buffering=0) as file:

        def write() -> None:
            for _ in range(100):
                file.write(bytes(4 * 8192))
                os.fdatasync(file.fileno())

        return 10 * _seconds(write)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _say(what: str, figure: str) -> None:
    sys.stdout.write(f"{what:<30} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
