"""What becomes of alerts: when the service is killed at random moments, and how long one takes.

    python bench/alerts.py [--kills 200] [--seed N]
    python bench/alerts.py --lab [--sites 12] [--every 30s] [--seed N]

The first decides and sends, as the service does, and is ended by `kill -9` again and again; every message that was
decided on must reach the receiver, every stored event have its message. The second blocks a site in the lab, and tells how
many seconds later it was measured, confirmed, detected and told. Exit 1 where a message is lost.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from watched_lab import Block, Watched, moment, parser_of, stop, told_seed, until, watched_lab

from monitor.alerts.alerting import Alerts
from monitor.alerts.subscriptions import subscribed
from monitor.config import parse
from monitor.incidents import incidents
from monitor.lab.namespaces import LabError
from monitor.models import Event, Kind, Network, Status
from monitor.store import Sending, Store

ALIVE_S = 1.2  # a life lasts at most so long after it began to work
PAUSE_S = 0.01  # between two decisions
DRAINS_S = 1200.0
PORT = 9999


def main() -> int:
    """Measure, print; 1 where something is lost, or the lab cannot run."""
    parser = parser_of(__doc__, sites=12, every="30s")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--lab", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("STORE", "URL", "DRAIN"), help=argparse.SUPPRESS)
    parser.add_argument("--receiver", type=int, metavar="PORT", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        asyncio.run(_telling(*chosen.child))
        return 0
    if chosen.receiver:
        return _receive(chosen.receiver)
    seed = told_seed(chosen)
    try:
        return _timed(seed, chosen.sites, chosen.every) if chosen.lab else _killed(random.Random(seed), chosen.kills)
    except LabError as exc:
        sys.stderr.write(f"the lab cannot run: {exc}\n")
        return 1


# --- kill -9 -------------------------------------------------------------------------------------------------------


def _killed(chance: random.Random, kills: int) -> int:
    with tempfile.TemporaryDirectory(prefix="almenara-bench-") as folder, _receiver(chance) as (received, url):
        database, acknowledged = Path(folder) / "alerts.db", 0
        for number in range(kills):
            acknowledged += _life(database, url, chance)
            if number % 20 == 19:
                sys.stderr.write(f"{number + 1} kills, {len(received)} messages received\n")
        _child(database, url, drain="drain").wait(DRAINS_S)
        return _report(database, received, acknowledged, kills)


def _life(database: Path, url: str, chance: random.Random) -> int:
    """One, ended at a random moment; how many decisions were acknowledged."""
    child = _child(database, url, drain="")
    assert child.stdout is not None
    child.stdout.readline()  # it works
    time.sleep(chance.uniform(0.0, ALIVE_S))
    child.kill()
    lines = child.stdout.read().split()
    child.wait()
    return len(lines)


def _child(database: Path, url: str, *, drain: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, "--child", str(database), url, drain]
    environment = os.environ | {"XDG_STATE_HOME": str(database.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)


async def _telling(database: str, url: str, drain: str) -> None:
    """In the child: a block begins and another ends, again and again; or, to drain, only what waits is sent."""
    config = parse(f"alerts: [{{to: 'webhook:{url}'}}]", "bench")
    with Store.open(f"sqlite:{database}") as store:
        alerts = Alerts(store)
        alerts.subscriptions = subscribed(config, None)
        alerts.arrange(())
        sending = asyncio.create_task(alerts.sender.run())
        sys.stdout.write("works\n")
        sys.stdout.flush()
        if drain:
            while await asyncio.to_thread(store.outbox.next_due):
                await asyncio.to_thread(store.outbox.retry, None, datetime.now(UTC))  # or it would take hours
                alerts.sender.wake()
                await asyncio.sleep(0.5)
        else:
            for number in count(len(store.events())):
                await asyncio.to_thread(_decide, alerts, number)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
                await asyncio.sleep(PAUSE_S)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def _decide(alerts: Alerts, number: int) -> None:
    events = [_event(number, over=False)] + ([_event(number - 1, over=True)] if number else [])
    together = [one for event in events for one in incidents([event])]
    alerts.save_events(events, together)


def _event(number: int, *, over: bool) -> Event:
    """Each in a country, and so an incident, of its own."""
    now = datetime.now(UTC)
    return Event(
        id=f"event-{number}", revision=2 if over else 1, kind=Kind.BLOCKING, site="www.example.org", methods=("tls.reset",),
        network=Network(asn=number + 1, isp="An ISP", country=str(number)), started=now, started_range=(now, now),
        detected=now, ended=now if over else None, ended_range=None, confidence=0.99, measurements=5, probes=1,
    )  # fmt: skip


@contextmanager
def _receiver(chance: random.Random) -> Iterator[tuple[Counter[str], str]]:
    """A webhook that is slow, refuses, or hangs up now and then; how often it has taken each message."""
    received: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(chance.choice((0.0, 0.0, 0.05)))
            fate = chance.random()
            if fate < 0.97:
                received[self.headers["X-Almenara-Delivery"]] += 1
            if fate < 0.98:  # else it hangs up; of some that it took nobody is told
                self.send_response(200 if fate < 0.95 else 503)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield received, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _report(database: Path, received: Counter[str], acknowledged: int, kills: int) -> int:
    with Store.open(f"sqlite:{database}", create=False) as store:
        rows = store.outbox.listed(tuple(Sending), 1_000_000)
        events = store.events()
    due = len(events) + sum(event.ended is not None for event in events)  # one for its beginning, one for its end
    lost = [row for row in rows if row.id not in received]
    missing = max(0, due - len(rows)) + max(0, acknowledged - len(events))
    figures = {
        "kills": kills,
        "events stored, acknowledged": f"{len(events)}, {acknowledged}",
        "messages decided on": len(rows),
        "events without their message": missing,
        "messages lost": len(lost),
        "sent": sum(row.state is Sending.SENT for row in rows),
        "arrived more than once": sum(number > 1 for number in received.values()),
    }
    for name, figure in figures.items():
        sys.stdout.write(f"{name:<30} {figure}\n")
    return 1 if lost or missing else 0


# --- how long it takes ---------------------------------------------------------------------------------------------


def _timed(seed: int, sites: int, every: str) -> int:
    with watched_lab(seed, sites) as watched:
        file = watched.configure(every=every)
        alerts = [{"to": f"webhook:http://127.0.0.1:{PORT}/", "name": "desk"}]
        file.write_text(file.read_text() + f"alerts: {json.dumps(alerts)}\n")
        heard = watched.folder / "heard"
        command = [sys.executable, __file__, "--receiver", str(PORT)]
        with heard.open("wb") as written:
            receiver = watched.lab.run_in(watched.lab.control_netns, command, stdout=written)
        service = watched.start()
        try:
            rounds = 6 * 2 * len(watched.sites)
            if not until(lambda: watched.database.exists() and _stored(watched) >= rounds, 1200):
                sys.stderr.write("nothing is measured\n")
                return 1
            block = watched.block("tls-reset")
            if not until(lambda: _told(heard), 900):
                sys.stderr.write("nothing is told\n")
                return 1
            _print_steps(watched, block, _told(heard)[0])
            watched.lift(block)
            lifted = time.time()
            if until(lambda: any(one["state"] == "ended" for one in _told(heard)), 1800):
                over = next(one for one in _told(heard) if one["state"] == "ended")
                sys.stdout.write(f"the end told after     {over['received'] - lifted:.1f} s\n")
        finally:
            stop(service)
            receiver.terminate()
            receiver.wait()
    return 0


def _stored(watched: Watched) -> int:
    with watched.stored() as store:
        return store.count()


def _told(heard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in heard.read_text().splitlines()]


def _print_steps(watched: Watched, block: Block, message: dict[str, Any]) -> None:
    """Seconds since the censor was put up."""
    since = block.since
    with watched.stored() as store:
        points = [one for one in store.points(site=block.site, asn=block.asn) if one.started >= moment(since)]
    blocked = [one for one in points if one.status is Status.BLOCKED]
    steps = {
        "first measured blocked": blocked[0].started.timestamp() - since,
        "confirmed (the second)": blocked[1].started.timestamp() - since,
        "detected": datetime.fromisoformat(message["events"][0]["detected"]).timestamp() - since,
        "decided": datetime.fromisoformat(message["alert"]["sent"]).timestamp() - since,
        "received": message["received"] - since,
    }
    for name, seconds in steps.items():
        sys.stdout.write(f"{name:<22} {seconds:.1f} s\n")
    sys.stdout.write(f"measurements by then   {len(points)}\n")


def _receive(port: int) -> int:
    """A webhook that writes what comes, and when, to its standard output. Until it is ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sys.stdout.write(json.dumps(said | {"received": time.time()}) + "\n")
            sys.stdout.flush()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
