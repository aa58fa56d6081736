"""Counters in the store: they grow with what is stored and never otherwise; with SQLite and PostgreSQL alike."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import create_engine, text
from store_cases import BEGAN, drawn, event, real, small, verdict

from monitor.models import Kind, Measurement, Status
from monitor.outcome import Outcome, outcome
from monitor.store import Counts, Store, StoreError, Tallied, Tally
from monitor.store.place import place_of
from monitor.store.schema import VERSION_TABLE

STORED = Tally(Tallied.STORED)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


def steps(one: Measurement) -> Counts:
    """What a caller wants counted of each."""
    return {Tally(Tallied.STEP_FAILURES, one.vantage, "tls", "eof_error"): 1, Tally(Tallied.RELOADS, first="ok"): 2}


def history(count: int = 300) -> list[Measurement]:
    chance = Random(3)
    return [drawn(chance, number) for number in range(count)]


def statuses(found: list[Measurement]) -> Counter[Tally]:
    return Counter(Tally(Tallied.MEASUREMENTS, one.vantage, one.verdict.status.value) for one in found if one.verdict)


def test_each_new_measurement_is_counted_once(store: Store) -> None:
    kept = history()
    store.append(kept[:200], steps)
    store.append(kept[100:], steps)
    store.append(kept, steps)
    counts = store.figures().counts
    on = Counter(one.vantage for one in kept)
    expected = statuses(kept) + Counter({STORED: 300, Tally(Tallied.RELOADS, first="ok"): 600})
    expected += Counter({Tally(Tallied.STEP_FAILURES, vantage, "tls", "eof_error"): n for vantage, n in on.items()})
    assert counts == expected
    assert store.figures().stored == store.count() == 300


def test_what_cannot_be_stored_is_not_counted_and_the_other_way_round(store: Store) -> None:
    def broken(one: Measurement) -> Counts:
        raise ValueError(one.id)

    with pytest.raises(ValueError, match="m000001"):
        store.append([small(1)], broken)
    assert (store.count(), dict(store.figures().counts)) == (0, {STORED: 0})


def test_retention_takes_only_from_what_is_there_now(store: Store) -> None:
    kept = history()
    store.append(kept, steps)
    before = store.figures().counts
    gone = store.retain(age_s=86400, size=None, now=BEGAN + timedelta(days=3))
    after = store.figures().counts
    assert 0 < gone < 300
    assert after == {**before, STORED: 300 - gone}
    assert store.figures().stored == store.count()


def test_judging_again_leaves_counters(store: Store) -> None:
    store.append([small(1), small(2, verdict=None)], steps)
    before = store.figures().counts
    store.rejudge(lambda one: verdict(Status.BLOCKED, ("tls.reset",)), 2, lambda done, of: None)
    assert store.figures().counts == before
    assert store.totals() == {("cantv", Status.BLOCKED): 2}


def test_other_things_can_be_counted_with_whatever_text(store: Store) -> None:
    odd = Tally(Tallied.RESOLVER_QUERIES, "ñ\udc80", "a\x00" + 3000 * "b", "é")
    store.tally({odd: 2, STORED: 0})
    store.tally({odd: 3})
    [(found, number)] = [(one, number) for one, number in store.figures().counts.items() if one != STORED]
    assert (found.counter, found.second, number) == (Tallied.RESOLVER_QUERIES, "é", 5)


def test_events_are_counted_by_kind_also_those_that_were_withdrawn(store: Store) -> None:
    assert store.figures().events == {}
    store.save_events([event("a"), event("b", confidence=0.0), event("c", kind=Kind.SILENCE, site=None)])
    store.save_events([event("a", revision=2)])
    assert store.figures().events == {Kind.BLOCKING: 2, Kind.SILENCE: 1}


def test_the_size_grows_with_what_is_stored(store: Store) -> None:
    before = store.figures().bytes
    store.append(history(500))
    assert store.figures().bytes > before > 0


def test_several_may_count_at_once(store_url: str) -> None:
    def work(number: int) -> None:
        with Store.open(store_url, patience_s=60) as store:
            for i in range(10):
                store.append([small(100 * number + i, vantage=f"v{i % 3}")], steps)

    Store.open(store_url).close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(store_url) as store:
        counts = store.figures().counts
    assert (counts[STORED], counts[Tally(Tallied.RELOADS, first="ok")]) == (40, 80)


def test_the_newest_measurement_of_a_site_is_kept_with_its_outcome(store: Store) -> None:
    one = real()
    store.append([one])
    [found] = store.latest()
    assert found.outcome == outcome(one)
    assert found.outcome is not None
    assert (found.outcome.step, found.outcome.failure) == ("dns", "dns_nxdomain_error")


def test_a_store_of_the_first_version_counts_on_from_what_it_has(store_url: str) -> None:
    kept = history()
    with Store.open(store_url) as store:
        store.append(kept, steps)
        store.retain(age_s=86400, size=None, now=BEGAN + timedelta(days=3))
        left = store.count()
    place = place_of(store_url)
    engine = create_engine(place.url or f"sqlite:///{place.file}")
    with engine.begin() as connection:
        for statement in (
            "DROP TABLE deliveries", "DROP TABLE threads", "DROP TABLE subscriptions", "DROP TABLE tallies",
            "ALTER TABLE latest DROP COLUMN outcome", "DROP INDEX ix_events_changed", "ALTER TABLE events DROP COLUMN changed",
            f"UPDATE {VERSION_TABLE} SET version_num = 'v0001'",
        ):  # fmt: skip
            connection.execute(text(statement))
    engine.dispose()
    with Store.open(store_url) as store:
        assert store.figures().counts == statuses(kept) + Counter({STORED: left})
        assert {one.outcome for one in store.latest()} == {None}
        again = small(9000, started=BEGAN + timedelta(days=9))
        store.append([again])
        assert [one.outcome for one in store.latest() if one.started == again.started] == [Outcome()]
        assert store.figures().stored == store.count() == left + 1


def test_a_store_that_is_gone_says_so(store_url: str) -> None:
    store = Store.open(store_url)
    store.close()
    place = place_of(store_url)
    if place.file is None:
        pytest.skip("a server stays")
    for file in place.file.parent.iterdir():
        file.unlink()
    place.file.parent.rmdir()
    with pytest.raises(StoreError):
        store.figures()
