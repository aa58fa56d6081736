"""Who is told, what was told and what is on its way, in both databases: all with the events it rests on, or nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alert_cases import block, configured, due, minute
from msgspec.structs import replace
from postgres import Postgres

from monitor.alerts.desk import Desk
from monitor.incidents import incidents
from monitor.models import Kind
from monitor.store import Delivery, Ground, Sending, Store, Tallied, Tally, Thread

ROOT = Path(__file__).parent.parent


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[tuple[Store, str]]:
    """A store that several processes may use, and where it is."""
    url = postgres.new_database()
    with Store.open(url) as opened:
        yield opened, url


def delivery(id: str = "d1", number: float = 0, **more: Any) -> Delivery:
    now = minute(number)
    known: dict[str, Any] = {
        "subscription": "desk", "channel": "webhook", "thread": "t", "what": "first", "state": Sending.WAITING,
        "created": now, "trying": now, "next": now, "data": b'{"told": "\xc3\xb1"}',
    }  # fmt: skip
    return Delivery(id=id, **(known | more))


def added(store: Store, *rows: Delivery) -> None:
    store.outbox.decide(lambda ground: [ground.add(row) for row in rows] and None)


def test_what_a_decision_writes_is_read_again(store):
    told = Thread(subscription="desk", id="t", over=False, told=minute(0), data=b"memory")
    seen: list[Any] = []

    def write(ground: Ground) -> None:
        ground.subscriber("desk", minute(0))
        ground.digested("desk", minute(5))
        ground.keep(told)
        ground.keep(replace(told, data=b"newer"))
        ground.add(delivery())
        ground.add(delivery(data=b"another with that id"))

    def read(ground: Ground) -> None:
        seen.append(ground.subscriber("desk", minute(99)))
        seen.append(ground.threads("desk", minute(50)))
        seen.append(ground.threads("other", minute(0)))

    store.outbox.decide(write)
    store.outbox.decide(read)
    who, threads, none = seen
    assert (who.since, who.digested) == (minute(0), minute(5))
    assert threads == [replace(told, data=b"newer")]
    assert none == []
    assert due(store, minute(0)) == [delivery()]
    assert store.outbox.open_threads("desk") == [replace(told, data=b"newer")]


def test_a_thread_that_is_over_is_forgotten_by_decisions_after_a_while(store):
    over = Thread(subscription="desk", id="t", over=True, told=minute(0), data=b"x")
    seen: list[int] = []

    def look(ground: Ground) -> None:
        seen.append(len(ground.threads("desk", minute(-1))))
        seen.append(len(ground.threads("desk", minute(1))))

    store.outbox.decide(lambda ground: ground.keep(over))
    store.outbox.decide(look)
    assert seen == [1, 0]


def test_a_decision_sees_what_goes_on_and_what_has_ended_since(store):
    going_on, ended, old = block("a.example", 0), block("b.example", 0, 30), block("c.example", -600, -500)
    outage = block("d.example", 0, kind=Kind.SITE_OUTAGE, network=None)
    seen: list[Any] = []

    def look(ground: Ground) -> None:
        seen.append([event.site for one in ground.incidents(minute(20)) for event in one.events])
        seen.append([event.site for event in ground.events(minute(20))])
        seen.append(sorted(ground.events_named([old.id, "unknown"])))
        seen.append(sorted(ground.incidents_named(["unknown"])))

    events = [going_on, ended, old, outage]
    store.save_events(events, incidents(events), look)
    assert seen == [["a.example", "b.example"], ["d.example"], [old.id], []]


def test_events_and_what_is_decided_on_them_are_stored_together_or_not_at_all(store):
    event = block("a.example", 0)

    def fails(ground: Ground) -> None:
        ground.add(delivery())
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.save_events([event], incidents([event]), fails)
    assert store.events() == []
    assert store.incidents() == []
    assert due(store, minute(99)) == []


def test_what_is_sent_is_counted_once_and_not_due_any_more(store):
    added(store, delivery())
    store.outbox.sent(delivery(), minute(1))
    [row] = store.outbox.listed(tuple(Sending), 10)
    assert (row.state, row.attempts, row.finished) == (Sending.SENT, 1, minute(1))
    assert due(store, minute(99)) == []
    assert store.outbox.next_due() is None
    assert store.figures().counts[Tally(Tallied.ALERTS, first="webhook", second="sent")] == 1
    assert store.figures().deliveries == {}


def test_what_fails_is_due_again_later_and_then_given_up(store):
    added(store, delivery())
    store.outbox.failed(delivery(), minute(1), "refused\x00 (HTTP 500)" + "x" * 500, minute(2))
    [row] = store.outbox.listed(tuple(Sending), 10)
    assert (row.state, row.attempts, row.next) == (Sending.WAITING, 1, minute(2))
    assert len(row.error) == 200
    assert due(store, minute(1)) == []
    assert store.outbox.next_due() == minute(2)
    assert store.figures().deliveries == {("webhook", Sending.WAITING): 1}
    store.outbox.failed(delivery(), minute(3), "refused", None)
    assert store.figures().deliveries == {("webhook", Sending.GIVEN_UP): 1}
    counts = store.figures().counts
    assert counts[Tally(Tallied.ALERTS, first="webhook", second="failed")] == 2
    assert counts[Tally(Tallied.ALERTS, first="webhook", second="given_up")] == 1
    assert store.outbox.retry(["unknown"], minute(4)) == 0
    assert store.outbox.retry(None, minute(4)) == 1
    [again] = due(store, minute(4))
    assert (again.trying, again.attempts) == (minute(4), 2)


def claimed(store: Store, key: str, number: float, until: float | None = None) -> str | None:
    found = store.outbox.claim(key, minute(number), minute(number + 9 if until is None else until))
    return found and found.id


def waiting(store: Store, number: float) -> list[str]:
    return [one.subscription for one in store.outbox.waiting(minute(number))]


def test_a_subscription_in_trouble_waits_as_a_whole_and_others_do_not(store):
    added(store, delivery("d1"), delivery("d2"), delivery("d3", subscription="other"))
    store.outbox.postpone("desk", minute(10))
    assert waiting(store, 5) == ["other"]
    assert waiting(store, 10) == ["other", "desk"]
    assert claimed(store, "desk", 5) is None
    assert claimed(store, "desk", 10) == "d1"


def test_who_has_waited_longest_comes_first_and_of_each_the_message_that_is_due_first(store):
    added(
        store,
        delivery("d1", next=minute(3)),
        delivery("d2", next=minute(1)),
        delivery("d3", 0, next=minute(2), subscription="b"),
    )
    assert waiting(store, 2) == ["desk", "b"]
    assert claimed(store, "desk", 4) == "d2"


def test_a_channel_that_was_down_for_a_day_is_looked_through_at_once(store):
    """Thousands wait: what is looked at must not grow with their square."""
    added(store, *(delivery(f"d{number}") for number in range(3000)))
    began = time.perf_counter()
    assert (waiting(store, 1), claimed(store, "desk", 1)) == (["desk"], "d0")
    assert time.perf_counter() - began < 1.5


def test_who_is_being_told_something_is_told_nothing_else_meanwhile(shared):
    store, _ = shared
    added(store, delivery("d1"), delivery("d2"))
    first = store.outbox.claim("desk", minute(0), minute(3))
    assert first is not None
    assert (first.id, first.data) == ("d1", delivery().data)
    assert claimed(store, "desk", 1) is None
    assert waiting(store, 1) == []
    store.outbox.sent(first, minute(1))
    assert claimed(store, "desk", 1) == "d2"


def test_a_claim_ends_when_it_failed_when_it_is_let_go_and_with_its_time(shared):
    store, _ = shared
    added(store, delivery("d1"))
    assert claimed(store, "desk", 0) == "d1"
    store.outbox.failed(delivery("d1"), minute(1), "refused", minute(1))
    assert claimed(store, "desk", 1, until=3) == "d1"
    assert claimed(store, "desk", 2.9) is None
    assert claimed(store, "desk", 3, until=9) == "d1", "whoever claimed it was killed"
    store.outbox.release(["d1"])
    assert claimed(store, "desk", 4) == "d1"


def test_a_file_is_one_process_alone_and_says_nothing_of_claims(tmp_path):
    with Store.open(f"sqlite:{tmp_path}/s.db") as store:
        added(store, delivery("d1"))
        assert claimed(store, "desk", 0) == claimed(store, "desk", 1) == "d1"


def test_several_that_claim_at_once_never_get_the_same_message_nor_two_of_one_subscriber(shared):
    """As processes on one server do: each with connections of its own."""
    store, store_url = shared
    keys = [f"s{number % 5}" for number in range(40)]
    added(store, *(delivery(f"d{number}", subscription=key) for number, key in enumerate(keys)))
    got: list[tuple[str, str]] = []
    together = threading.Barrier(6)

    def work() -> None:
        with Store.open(store_url) as mine:
            together.wait()
            for key in sorted(set(keys)):
                found = mine.outbox.claim(key, minute(0), minute(9))
                if found:
                    got.append((key, found.id))

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(got) == [(f"s{number}", f"d{number}") for number in range(5)]


def test_two_processes_that_decide_at_once_tell_it_once(store, store_url):
    """The second sees what the first has decided, whoever was first to store the event."""
    event = block("a.example", 0)
    store.save_events([event], incidents([event]))
    together = threading.Barrier(4)
    desk = Desk(configured("[{to: 'json://desk.example', name: desk}]"), ())

    def work() -> None:
        with Store.open(store_url) as mine:
            together.wait()
            mine.outbox.decide(partial(desk.decide_at, now=minute(3)))

    store.outbox.decide(lambda ground: ground.subscriber("desk", minute(-60)) and None)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [row.what for row in store.outbox.listed(tuple(Sending), 10)] == ["first"]


def test_what_is_merged_stays_so_whatever_becomes_of_an_attempt(store):
    added(store, delivery("d1", next=minute(9)), delivery("d2", thread="", next=minute(9)))
    held: list[str] = []

    def merge(ground: Ground) -> None:
        held.extend(row.id for row in ground.held_up("desk", minute(5)))
        ground.merge(held, minute(5))

    store.outbox.decide(merge)
    assert held == ["d1"]
    store.outbox.failed(delivery("d1"), minute(6), "refused", None)
    states = {row.id: row.state for row in store.outbox.listed(tuple(Sending), 10)}
    assert states == {"d1": Sending.MERGED, "d2": Sending.WAITING}


def test_what_was_told_long_ago_is_forgotten_but_not_what_waits(store):
    added(store, delivery("d1"), delivery("d2"))
    store.outbox.sent(delivery("d1"), minute(1))
    thread = Thread(subscription="desk", id="t", over=True, told=minute(0), data=b"x")
    store.outbox.decide(lambda ground: ground.keep(thread))
    store.outbox.forget(minute(1) + timedelta(seconds=1))
    assert [row.id for row in store.outbox.listed(tuple(Sending), 10)] == ["d2"]


# --- kill -9 -------------------------------------------------------------------------------------------------------


DECIDING = """
import sys
from alert_cases import Story, block, minute
from pathlib import Path
story = Story(Path(sys.argv[1]), "[{to: 'webhook:http://127.0.0.1:1/'}]")
print("ready", flush=True)
for number in range(100000):
    event = block(f"s{number}.example", number)
    news = story.at(number, event)
    print(event.id, flush=True)
"""


def test_kill_9_leaves_no_event_without_its_message_and_no_message_without_its_event(tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", DECIDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(13)]
        child.send_signal(signal.SIGKILL)
        left = child.stdout.read().split()
    with Store.open(f"sqlite:{tmp_path}/alerts.db", create=False) as store:
        stored = {event.id for event in store.events()}
        assert {*told[1:], *left} <= stored
        messages = store.outbox.listed(tuple(Sending), 100_000)
        assert len(messages) == len(stored)  # each event changed the incident once


def test_a_claim_by_a_clock_that_is_days_ahead_holds_up_nobody(shared):
    store, _ = shared
    added(store, delivery("d1"))
    assert claimed(store, "desk", 3 * 24 * 60) == "d1"
    assert waiting(store, 1) == ["desk"]
    assert claimed(store, "desk", 1) == "d1"


def test_what_is_tried_again_by_hand_is_nobodys(shared):
    store, _ = shared
    added(store, delivery("d1"))
    assert claimed(store, "desk", 0) == "d1"
    store.outbox.retry(["d1"], minute(1))
    assert claimed(store, "desk", 1) == "d1"
