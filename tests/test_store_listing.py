"""What pages and API read: measurements without their facts, numbers divided by two things, events page by page."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from typing import Any

import msgspec
import pytest
from store_cases import BEGAN, CANTV, NETWORKS, SITES, drawn, event, small, verdict
from test_store import history, in_order, passes

from monitor.models import Incident, Kind, Measurement, Network, Status
from monitor.store import TIMES, Aggregate, By, Head, Store, TooMuch, Wanted, WantedEvents

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DIVISIONS: tuple[By, ...] = ("site", "asn", "country", "status", "method", "hour", "day", "week", "month")
PAIRS = [pair for pair in combinations(DIVISIONS, 2) if len({*pair} & {*TIMES}) < 2]
VERDICT = ("status", "methods", "confidence", "confirmed", "rule", "rules_version")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


def judged(kept: list[Measurement]) -> list[Measurement]:
    return [one for one in in_order(kept) if one.verdict is not None]


def drawn_wanted(chance: Random) -> Wanted:
    return Wanted(
        site=chance.choice([None, None, *SITES, "never.example"]),
        asn=chance.choice([None, None, 8048, 27889, 0, 1]),
        country=chance.choice([None, None, "VE", "CO"]),
        vantage=chance.choice([None, None, None, "home", "mars"]),
        status=chance.choice([None, None, *Status]),
        method=chance.choice([None, None, "tls.reset", "http.blockpage", "dns.bogon"]),
        since=chance.choice([None, BEGAN + 20 * HOUR]),
        until=chance.choice([None, BEGAN + 50 * HOUR]),
        newest_first=chance.random() < 0.5,
    )


def matches(one: Measurement, wanted: Wanted) -> bool:
    unknown = wanted.asn == 0
    of_network = one.network.asn is None if unknown else True
    of_country = wanted.country in (None, one.network.country)
    return of_network and of_country and passes(one, msgspec.structs.replace(wanted, asn=None) if unknown else wanted)


def same(head: Head, of: Measurement) -> bool:
    assert of.verdict is not None
    own = ("id", "site", "url", "vantage", "probe", "network", "started")
    return all(getattr(head, name) == getattr(of, name) for name in own) and all(
        getattr(head.verdict, name) == getattr(of.verdict, name) for name in VERDICT
    )


def test_heads_are_the_judged_measurements_that_were_asked_for_page_by_page(store: Store) -> None:
    kept, chance, found_some = history(), Random(3), 0
    store.append(kept)
    for _ in range(80):
        wanted, most = drawn_wanted(chance), chance.choice([11, 50, 500])
        expected = [one for one in judged(kept) if matches(one, wanted)]
        expected = expected[::-1] if wanted.newest_first else expected
        found: list[Head] = []
        while page := store.heads(wanted, most=most):
            assert len(page) <= most
            found += page
            wanted = msgspec.structs.replace(wanted, after=(page[-1].started, page[-1].id))
        assert [one.id for one in found] == [one.id for one in expected], wanted
        assert all(map(same, found, expected))
        found_some += bool(found)
    assert found_some > 25


def test_a_rare_thing_is_found_behind_many_others(store: Store) -> None:
    rare = small(9_000, verdict=verdict(Status.BLOCKED, ("throttling.stall",)), started=BEGAN + 100 * DAY)
    others = [small(number, started=BEGAN + number * DAY) for number in range(300)]
    store.append([*others, rare])
    for wanted in (Wanted(method="throttling.stall"), Wanted(status=Status.BLOCKED, site=rare.site, asn=8048)):
        for newest_first in (False, True):
            heads = store.heads(msgspec.structs.replace(wanted, newest_first=newest_first), most=10)
            assert [one.id for one in heads] == [rare.id]


def test_what_was_deleted_is_looked_for_no_more(store: Store) -> None:
    """Counts stay when measurements go."""
    store.append(
        [small(n, started=BEGAN + n * DAY, verdict=verdict(Status.BLOCKED, ("tls.reset",))) for n in range(20)]
    )
    assert store.retain(age_s=9.5 * 86_400, size=None, now=BEGAN + 20 * DAY) == 11
    assert len(store.heads(Wanted(method="tls.reset", newest_first=True), most=50)) == 9


# --- aggregates --------------------------------------------------------------------------------------------------------


def value_of(one: Measurement, by: By, method: str | None) -> Any:
    steps = {"hour": {}, "day": {"hour": 0}, "month": {"hour": 0, "day": 1}}
    whole_hour = one.started.replace(minute=0, second=0, microsecond=0)
    assert one.verdict is not None
    if by == "week":
        return whole_hour.replace(hour=0) - timedelta(days=one.started.weekday())
    if by in steps:
        return whole_hour.replace(**steps[by])
    values = {"site": one.site, "asn": one.network.asn, "country": one.network.country, "method": method}
    return values.get(by, one.verdict.status)


def counted(kept: list[Measurement], by: tuple[By, ...], wanted: Wanted) -> Counter[tuple[Any, ...]]:
    """As the store should count: what was divided by, and the status."""
    found: Counter[tuple[Any, ...]] = Counter()
    for one in judged(kept):
        if matches(one, wanted):
            assert one.verdict is not None
            named = [None] if "method" not in by else [m for m in one.verdict.methods if wanted.method in (None, m)]
            for method in named:
                key = tuple(value_of(one, name, method) for name in by if name != "status")
                found[*key, one.verdict.status] += 1
    return found


def told(rows: list[Aggregate], by: tuple[By, ...]) -> Counter[tuple[Any, ...]]:
    fields = ["started" if name in TIMES else name for name in by if name != "status"]
    return Counter(
        {
            (*(getattr(row, field) for field in fields), status): count
            for row in rows
            for status, count in row.counts.items()
            if count
        }
    )


@pytest.mark.parametrize("by", [*combinations(DIVISIONS, 1), *PAIRS], ids="-".join)
def test_aggregates_are_what_counting_gives(by: tuple[By, ...], aggregated: tuple[Store, list[Measurement]]) -> None:
    store, kept = aggregated
    chance = Random(4)
    every = "hour" if "hour" in by else "day"
    for _ in range(12):
        wanted = msgspec.structs.replace(drawn_wanted(chance), vantage=None, newest_first=False)
        # Days are counted whole.
        wanted = msgspec.structs.replace(
            wanted,
            since=chance.choice([None, BEGAN.replace(hour=0, minute=0, second=0, microsecond=0) + DAY]),
            until=None,
        )
        rows = store.aggregate(wanted, by, every=every)
        assert told(rows, by) == counted(kept, by, wanted), wanted


@pytest.fixture(scope="module")
def filled() -> list[Measurement]:
    """Over three months, so that weeks and months differ. Networks agree on their country."""
    chance = Random(5)
    spread = [drawn(chance, number) for number in range(500)]
    return [
        msgspec.structs.replace(one, started=one.started + timedelta(days=chance.randrange(80)), vantage="cantv")
        for one in spread
    ]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def aggregated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, filled: list[Measurement]
) -> Iterator[tuple[Store, list[Measurement]]]:
    url = f"sqlite:{tmp_path_factory.mktemp('store') / 'a.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    with Store.open(url) as store:
        store.append(filled)
        yield store, filled


def test_rows_come_in_order_and_what_is_not_known_comes_last(aggregated: tuple[Store, list[Measurement]]) -> None:
    rows = aggregated[0].aggregate(Wanted(), ("asn", "day"))
    assert [row.asn for row in rows] == sorted((row.asn for row in rows), key=lambda asn: asn or 2**40)
    days = [row.started for row in rows if row.asn == 8048]
    assert days == sorted(days)  # type: ignore[type-var]
    assert rows[-1].asn is None


def test_too_many_rows_are_refused_and_not_cut_off(aggregated: tuple[Store, list[Measurement]]) -> None:
    store = aggregated[0]
    rows = store.aggregate(Wanted(), ("site", "day"))
    assert store.aggregate(Wanted(), ("site", "day"), most=len(rows)) == rows
    with pytest.raises(TooMuch, match="rows"):
        store.aggregate(Wanted(), ("site", "day"), most=len(rows) - 1)


def test_a_network_is_told_of_as_last_seen_and_an_observation_counts_more(store: Store) -> None:
    renamed = Network(asn=8048, isp="CANTV 2", country="VE", source="observed")
    declared = Network(asn=8048, isp="my ISP", country="ZZ", source="declared")
    for number, network in enumerate((*NETWORKS, renamed, declared)):
        store.append([small(number, network=network)])
    assert store.networks() == {8048: renamed, 27889: NETWORKS[1], 0: Network()}
    assert renamed != CANTV


# --- events ------------------------------------------------------------------------------------------------------------


def test_events_and_incidents_come_page_by_page(store: Store) -> None:
    events = [event(f"{n % 7}{n:015}", started=BEGAN + (n // 3) * HOUR, kind=Kind.BLOCKING) for n in range(40)]
    together = [
        Incident(id=f"i{one.id}", revision=1, state="started", started=one.started, ended=None, events=(one,))
        for one in events
    ]
    store.save_events(events, together)
    for newest_first in (True, False):
        wanted = WantedEvents(limit=7, newest_first=newest_first)
        for find, kept in ((store.find_events, events), (store.find_incidents, together)):
            expected = sorted(kept, key=lambda one: (one.started, one.id), reverse=newest_first)
            found: list[Any] = []
            page = find(wanted)
            while page:
                found += page
                page = find(msgspec.structs.replace(wanted, after=(page[-1].started, page[-1].id)))
            assert found == expected
    assert store.incident(together[3].id) == together[3]
    assert store.incident("another") is None


def test_a_store_without_measurements_answers_too(store: Store) -> None:
    assert store.heads(Wanted(method="tls.reset", newest_first=True), most=5) == []
    assert store.heads(Wanted(), most=5) == []
    assert store.aggregate(Wanted(since=datetime(2026, 1, 1, tzinfo=UTC)), ("month", "site")) == []
    assert store.networks() == {}
