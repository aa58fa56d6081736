"""How fast 200 healthy sites are measured at 100 ms round trip, and what that costs.

python bench/sites_per_minute.py [--sites 200] [--concurrency 64] [--rtt-ms 100] [--seed 1]
"""

import argparse
import asyncio
import resource
import ssl
import sys
import time
from collections import Counter

import trustme
from healthy_lab import healthy_lab, measured

from monitor.lab.box import Lab
from monitor.lab.namespaces import LabError
from monitor.steps.tls import client_context

HANDSHAKES = 300


def main() -> int:
    """Measure and print the figures; 1 where the lab cannot run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rtt-ms", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    handshake_ms = _handshake_ms()
    try:
        with healthy_lab(chosen.seed, chosen.sites, rtt_s=chosen.rtt_ms / 1000) as (lab, urls):
            asyncio.run(_report(lab, urls, chosen.concurrency, handshake_ms))
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1
    return 0


async def _report(lab: Lab, urls: list[str], concurrency: int, handshake_ms: float) -> None:
    found: Counter[str] = Counter()
    handshakes = connections = 0
    before_kib, packets = _peak_kib(), lab.carried()
    began, cpu = time.monotonic(), time.process_time()
    async for measurement in measured(lab, urls, concurrency):
        found[measurement.verdict.status if measurement.verdict else "not judged"] += 1
        handshakes += len(measurement.tls)
        connections += len(measurement.tcp)
    took, cpu_ms = time.monotonic() - began, 1000 * (time.process_time() - cpu) / len(urls)
    rows = {
        "sites measured": f"{len(urls)} in {took:.1f} s ({', '.join(f'{n} {status}' for status, n in found.items())})",
        "sites per minute": f"{60 * len(urls) / took:.0f}",
        "connections per measurement": f"{connections / len(urls):.1f}, of them {handshakes / len(urls):.1f} with TLS",
        "CPU per measurement": f"{cpu_ms:.1f} ms, of them {handshakes / len(urls) * handshake_ms:.1f} ms TLS handshakes"
        f" ({handshake_ms:.2f} ms each)",
        "peak memory": f"{_peak_kib() / 1024:.0f} MiB, {before_kib / 1024:.0f} MiB before the first measurement",
        "packets per measurement": f"{(lab.carried() - packets) / len(urls):.0f}, the helper's included",
    }
    for name, figure in rows.items():
        sys.stdout.write(f"{name:<28} {figure}\n")


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _handshake_ms() -> float:
    """CPU of the client's side of one verified handshake, without a network."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("bench.example").configure_cert(server)
    client = client_context()
    authority.configure_trust(client)
    return 1000 * sum(_shake(client, server) for _ in range(HANDSHAKES)) / HANDSHAKES


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> float:
    """Seconds of CPU that the client spends."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        (client.wrap_bio(to_client, to_server, server_hostname="bench.example"), True),
        (server.wrap_bio(to_server, to_client, server_side=True), False),
    )
    spent, done = 0.0, {True: False, False: False}
    while not all(done.values()):
        for side, counts in sides:
            began = time.process_time()
            try:
                side.do_handshake()
                done[counts] = True
            except ssl.SSLWantReadError:
                pass
            spent += (time.process_time() - began) * counts
    return spent


if __name__ == "__main__":
    sys.exit(main())
