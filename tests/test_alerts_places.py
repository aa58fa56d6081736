"""Receivers that are slow hold up nobody else, and several processes on one store send each message once.

Whoever takes long is asked to leave when others wait, and told later; a claim of a process that is gone ends with its time.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from alert_cases import block, configured
from alert_receivers import sending, until
from msgspec.structs import replace
from postgres import Postgres

from monitor.alerts import places
from monitor.alerts.channels.plumbing import PATIENCE_S
from monitor.alerts.desk import Desk
from monitor.alerts.sender import CLAIMED, Sender
from monitor.incidents import incidents
from monitor.models import Event
from monitor.store import Sending, Store


class Receivers:
    """Webhooks on one port, by path: /slow.. answers when it is let go, /late.. after a while, all others at once.

    told: the paths, in order.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.deliveries: list[str] = []
        self.port = 0
        self.let_go = threading.Event()

    def alerts(self, *names: str) -> str:
        return str([{"to": f"webhook:http://127.0.0.1:{self.port}/{name}", "name": name} for name in names])


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    found = Receivers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            found.deliveries.append(self.headers["X-Almenara-Delivery"])
            found.told.append(self.path)
            if self.path.startswith("/slow"):
                found.let_go.wait(30)
            if self.path.startswith("/late"):
                found.let_go.wait(0.6)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            found.let_go.set()
            server.shutdown()
            thread.join()


def happened(site: str = "a.example") -> Event:
    now = datetime.now(UTC)
    return replace(block(site, 0), id=f"event-{site}", started=now, started_range=(now, now), detected=now)


def decided(store: Store, alerts: str, *events: Event) -> None:
    store.save_events(events, incidents(events), Desk(configured(alerts), ()).decide)


def sender(store: Store, alerts: str, pause_s: float = 0.2) -> Sender:
    one = Sender(store, pause_s=pause_s)
    one.arrange(configured(alerts))
    return one


def sent(store: Store) -> list[str]:
    return [row.subscription for row in store.outbox.listed([Sending.SENT], 1000)]


SLOW = tuple(f"slow{number}" for number in range(places.AT_ONCE * 2))


def test_however_many_are_slow_one_that_is_well_is_told_soon_and_they_are_told_later(
    tmp_path: Path, home: Path, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "SLOW_S", 0.3)

    async def story(store: Store) -> None:
        alerts = receivers.alerts(*SLOW, "well")
        decided(store, alerts, happened())
        async with sending(sender(store, alerts, pause_s=1.0)):
            await until(lambda: "well" in sent(store), PATIENCE_S)  # less than one of the slow is waited for
            assert len(sent(store)) == 1
            receivers.let_go.set()
            await until(lambda: len(sent(store)) == len(SLOW) + 1)

    with Store.open(f"sqlite:{tmp_path}/alerts.db") as store:
        asyncio.run(story(store))


def test_who_was_asked_to_leave_once_is_told_each_later_message_once(
    tmp_path: Path, home: Path, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "SLOW_S", 0.3)
    alerts = receivers.alerts(*(f"late{number}" for number in range(8)))

    async def story(store: Store) -> None:
        one = sender(store, alerts)
        decided(store, alerts, happened())
        async with sending(one):
            await until(lambda: len(sent(store)) == 8)
            assert len(receivers.deliveries) > 8, "the first time some had to leave"
            receivers.deliveries.clear()
            decided(store, alerts, happened("b.example"))
            one.wake()
            await until(lambda: len(sent(store)) == 16)
            assert len(receivers.deliveries) == 8

    with Store.open(f"sqlite:{tmp_path}/alerts.db") as store:
        asyncio.run(story(store))


def test_places_are_bounded_in_all_and_for_each_channel():
    async def fill() -> list[places.Place]:
        taken = places.Places()
        for in_trouble in (False, True):
            for number in range(40):
                channel = f"channel{number % 4}"
                if taken.are_free(channel, in_trouble=in_trouble):
                    taken.take(f"{in_trouble} {number}", channel, in_trouble=in_trouble)
        return list(taken._taken.values())

    taken = asyncio.run(fill())
    assert len(taken) == 2 * places.AT_ONCE
    by_channel = [one.channel for one in taken]
    assert max(map(by_channel.count, by_channel)) <= 2 * places.OF_A_CHANNEL


def test_those_in_trouble_do_not_hold_up_one_that_is_well_at_all(tmp_path: Path, home: Path, receivers: Receivers):
    """Nobody is asked to leave here: they have places of their own."""

    async def story(store: Store) -> None:
        alerts = receivers.alerts(*SLOW, "well")
        one = sender(store, alerts)
        one._failing.update(SLOW)
        decided(store, receivers.alerts(*SLOW), happened())
        async with sending(one):
            await until(lambda: len(receivers.told) == places.OF_A_CHANNEL)
            decided(store, alerts, happened())
            one.wake()
            await until(lambda: "well" in sent(store), places.SLOW_S - 1)
            assert len(receivers.told) == places.OF_A_CHANNEL + 1

    with Store.open(f"sqlite:{tmp_path}/alerts.db") as store:
        asyncio.run(story(store))


def test_whoever_is_slow_and_alone_has_all_the_time(
    tmp_path: Path, home: Path, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "SLOW_S", 0.1)

    async def story(store: Store) -> None:
        alerts = receivers.alerts("slow", "well")
        decided(store, alerts, happened())
        async with sending(sender(store, alerts)):
            await until(lambda: sent(store) == ["well"])
            await asyncio.sleep(0.5)  # five times as long as slow is
            receivers.let_go.set()
            await until(lambda: len(sent(store)) == 2)

    with Store.open(f"sqlite:{tmp_path}/alerts.db") as store:
        asyncio.run(story(store))
    assert receivers.told.count("/slow") == 1


def test_several_processes_on_one_store_send_each_message_once(home: Path, receivers: Receivers, postgres: Postgres):
    names = [f"desk{number}" for number in range(8)]
    alerts = receivers.alerts(*names)

    async def story(stores: list[Store]) -> None:
        decided(stores[0], alerts, *(happened(f"s{number}.example") for number in range(3)))
        async with sending(sender(stores[0], alerts)), sending(sender(stores[1], alerts)):
            await until(lambda: len(sent(stores[0])) == len(names), 40)

    with ExitStack() as opened:
        url = postgres.new_database()
        asyncio.run(story([opened.enter_context(Store.open(url)) for _ in range(2)]))
    assert len(receivers.deliveries) == len(set(receivers.deliveries)) == len(names)


def test_what_a_killed_process_had_claimed_is_sent_when_the_claim_has_ended(
    home: Path, receivers: Receivers, postgres: Postgres
):
    alerts = receivers.alerts("desk")

    async def story(store: Store) -> datetime:
        decided(store, alerts, happened())
        now = datetime.now(UTC)
        ends = now + timedelta(seconds=2)
        one = sender(store, alerts)
        async with sending(one):
            await until(lambda: sent(store))  # so it has begun
            decided(store, alerts, happened(), happened("b.example"))
            assert store.outbox.claim("desk", datetime.now(UTC), ends) is not None
            while len(sent(store)) != 2:
                one.wake()
                await asyncio.sleep(0.1)
        return ends

    with Store.open(postgres.new_database()) as store:
        ends = asyncio.run(story(store))
        assert all(row.finished is not None for row in store.outbox.listed([Sending.SENT], 10))
        assert max(row.finished for row in store.outbox.listed([Sending.SENT], 10) if row.finished) >= ends


def test_one_that_ends_lets_go_of_what_it_has_claimed(home: Path, receivers: Receivers, postgres: Postgres):
    alerts = receivers.alerts("slow")

    async def story(store: Store) -> None:
        decided(store, alerts, happened())
        async with sending(sender(store, alerts)):
            await until(lambda: receivers.told)
            assert store.outbox.waiting(datetime.now(UTC)) == []
        assert [one.subscription for one in store.outbox.waiting(datetime.now(UTC))] == ["slow"]

    with Store.open(postgres.new_database()) as store:
        asyncio.run(story(store))


def test_a_claim_lasts_longer_than_any_channel_takes():
    from monitor.alerts.channels import plumbing, services

    assert CLAIMED.total_seconds() > 1.5 * max(plumbing.PATIENCE_S, services.PATIENCE_S)
