"""What must always hold: every blocking event is in exactly one incident, an incident keeps its id, whatever the order.

Hours are counted from the morning of one day; `0-5` is an event that began in hour 0 and ended in hour 5.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.incidents import incidents
from monitor.models import Event, Incident, Kind, Network
from monitor.watch import Watch, withdrawn

MORNING = datetime(2018, 1, 15, 8, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
COLOMBIAN = Network(asn=10620, isp="Telmex", country="CO", source="observed")


def hour(number: float) -> datetime:
    return MORNING + timedelta(hours=number)


def event(id: str, started: float, ended: float | None = None, **more: Any) -> Event:
    """A block that began at that hour, half an hour after the last good measurement."""
    said = Event(
        id=id, revision=1, kind=Kind.BLOCKING, site=f"{id}.example", network=CANTV, methods=("dns.nxdomain",),
        started=hour(started), started_range=(hour(started - 0.5), hour(started)), detected=hour(started + 0.5),
        ended=None if ended is None else hour(ended), ended_range=None, confidence=0.98, measurements=4, probes=1,
    )  # fmt: skip
    return replace(said, **more)


def together(found: Iterable[Incident]) -> list[str]:
    """The ids of the events of each incident."""
    return ["".join(event.id for event in incident.events) for incident in found]


# --- who belongs together ------------------------------------------------------------------------------------------


CASES: dict[str, tuple[list[Event], list[str]]] = {
    "nothing": ([], []),
    "one": ([event("a", 0)], ["a"]),
    "one-afternoon": ([event("a", 0), event("b", 1), event("c", 5)], ["abc"]),
    "six-hours-later": ([event("a", 0), event("b", 6)], ["ab"]),
    "more-than-six-hours-later": ([event("a", 0), event("b", 7)], ["a", "b"]),
    "each-soon-after-the-last": ([event("a", 0), event("b", 5), event("c", 10)], ["abc"]),
    "over-before": ([event("a", 0, 1), event("b", 2)], ["a", "b"]),
    "over-half-an-hour-before": ([event("a", 0, 1), event("b", 1.5)], ["ab"]),
    "one-that-goes-on-holds-them": ([event("a", 0), event("b", 1, 2), event("c", 4, 5)], ["abc"]),
    "two-countries": ([event("a", 0), event("b", 1, network=COLOMBIAN)], ["a", "b"]),
    "a-country-nobody-knows": ([event("a", 0), event("b", 1, network=Network(asn=1))], ["ab"]),
    "no-network": ([event("a", 0, network=None), event("b", 1, network=None)], ["ab"]),
    "the-first-that-is-known-names-it": (
        [event("a", 0, network=Network(asn=1)), event("b", 1), event("c", 2, network=COLOMBIAN)],
        ["ab", "c"],
    ),
    "two-networks": ([event("a", 0), event("b", 1, network=replace(CANTV, asn=6306))], ["ab"]),
    "one-site-twice": ([event("a", 0, 1), event("b", 1.2, site="a.example")], ["ab"]),
    "outages-accuse-nobody": (
        [event("a", 0), *(event(kind, 0, kind=kind) for kind in Kind if kind is not Kind.BLOCKING)],
        ["a"],
    ),
    "what-is-denied-is-not-there": ([event("a", 0), withdrawn(event("b", 0))], ["a"]),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES)
def test_who_belongs_together(events: list[Event], expected: list[str]) -> None:
    assert together(incidents(events)) == expected


def test_one_that_may_have_begun_earlier_belongs_to_what_was_then():
    """Measured daily, a block began somewhere between yesterday's measurement and today's."""
    daily = event("b", 20, started_range=(hour(2), hour(20)))
    assert together(incidents([event("a", 0), daily])) == ["ab"]
    assert together(incidents([event("a", 0), replace(daily, started_range=(hour(7), hour(20)))])) == ["a", "b"]


# --- state, beginning and end --------------------------------------------------------------------------------------


def test_an_incident_lasts_from_its_first_beginning_to_its_last_end():
    [incident] = incidents([event("a", 0, 3), event("b", 1, 9), event("c", 2, 4)])
    assert (incident.started, incident.ended, incident.state, incident.revision) == (hour(0), hour(9), "ended", 1)
    [incident] = incidents([event("a", 0, 3), event("b", 1)])
    assert (incident.ended, incident.state) == (None, "started")


def test_a_national_block_is_one_incident_that_grows():
    sites = [event(name, place / 10) for place, name in enumerate("abcdefgh")]
    known: list[Incident] = []
    for count in range(1, len(sites) + 1):
        known = incidents(sites[:count], known)
        [incident] = known
        assert (incident.revision, incident.state) == (count, "started" if count == 1 else "updated")
        assert incident.events == tuple(sites[:count])
    assert incidents(sites, known) == known, "nothing new, no revision"
    over = [replace(site, ended=hour(4), revision=2) for site in sites]
    [incident] = incidents([*over[1:], sites[0]], known)
    assert (incident.state, incident.ended) == ("updated", None)
    [incident] = incidents(over, [incident])
    assert (incident.state, incident.ended, incident.revision) == ("ended", hour(4), 10)


def test_an_incident_that_was_over_may_go_on():
    known = incidents([event("a", 0, 2)])
    [incident] = incidents([event("a", 0, 2), event("b", 2.2)], known)
    assert (incident.id, incident.state, incident.ended, incident.revision) == (known[0].id, "updated", None, 2)


# --- ids -----------------------------------------------------------------------------------------------------------


def test_an_earlier_event_that_comes_late_does_not_rename_the_incident():
    known = incidents([event("b", 1)])
    [incident] = incidents([event("a", 0), event("b", 1)], known)
    assert (incident.id, incident.started, incident.revision) == (known[0].id, hour(0), 2)


def test_of_two_incidents_that_prove_to_be_one_the_first_stays_and_the_other_ends_empty():
    known = incidents([event("a", 0), event("c", 8)])
    assert len(known) == 2
    merged = incidents([event("a", 0), event("b", 4), event("c", 8)], known)
    assert together(merged) == ["abc", ""]
    assert [incident.id for incident in merged] == [incident.id for incident in known]
    assert (merged[1].state, merged[1].ended, merged[1].revision) == ("ended", merged[1].started, 2)
    assert incidents([event("a", 0), event("b", 4), event("c", 8)], merged) == merged


def test_an_incident_that_falls_in_two_keeps_its_id_and_no_event_is_lost():
    # b was found first and named the incident; a began before it, was found later, and then proves to have ended early.
    known = incidents([event("b", 3)])
    known = incidents([event("a", 0), event("b", 3)], known)
    assert together(known) == ["ab"]
    parted = incidents([event("a", 0, 2), event("b", 3)], known)
    assert together(parted) == ["a", "b"]
    assert parted[0].id == known[0].id != parted[1].id
    assert [incident.revision for incident in parted] == [3, 1]
    assert incidents([event("a", 0, 2), event("b", 3)], parted) == parted


def test_an_incident_that_is_parted_from_another_again_is_itself_again():
    known = incidents([event("a", 0), event("b", 7)])
    merged = incidents([event("a", 0), event("b", 4)], known)
    assert together(merged) == ["ab", ""]
    parted = incidents([event("a", 0, 2), event("b", 4)], merged)
    assert together(parted) == ["a", "b"]
    assert [incident.id for incident in parted] == [incident.id for incident in known]


# --- what is denied ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False], ids=["read from the store", "gone from the watch"])
def test_an_incident_whose_only_event_is_withdrawn_ends(stored):
    known = incidents([event("a", 0)])
    left = [withdrawn(event("a", 0))] if stored else []
    [incident] = incidents(left, known)
    assert (incident.state, incident.ended, incident.events) == ("ended", hour(0), ())
    assert (incident.id, incident.revision) == (known[0].id, 2)
    assert incidents(left, [incident]) == [incident]


def test_an_incident_that_is_believed_again_is_itself_again():
    known = incidents([event("a", 0)])
    [again] = incidents([event("a", 0)], incidents([withdrawn(event("a", 0))], known))
    assert (again.id, again.revision, again.state, again.ended) == (known[0].id, 3, "updated", None)


def test_an_incident_that_loses_one_of_its_events_says_so():
    known = incidents([event("a", 0), event("b", 1)])
    [incident] = incidents([event("a", 0), withdrawn(event("b", 1))], known)
    assert (together([incident]), incident.revision, incident.state) == (["a"], 2, "updated")


def test_incidents_of_a_watch_end_with_what_they_rest_on():
    from test_events import history

    watch = Watch()
    watch.add(history("oooooooooX" * 30 + "X" * 6))
    known = incidents(watch.events())
    assert [incident.state for incident in known] == ["started"]
    for minute in (2, 4, 6, 8):
        late = history(" " * 300 + "o" * 5)
        watch.add(replace(p, id=f"{p.id}late{minute}", started=p.started + timedelta(minutes=minute)) for p in late)
    assert watch.events() == []
    assert [incident.state for incident in incidents(watch.events(), known)] == ["ended"]


# --- order ---------------------------------------------------------------------------------------------------------

drawn_events = st.lists(
    st.tuples(st.integers(0, 40), st.none() | st.integers(0, 20), st.sampled_from([CANTV, COLOMBIAN, Network(), None])),
    max_size=12,
).map(
    lambda drawn: [
        event(f"{place:02}", began / 2, None if lasted is None else (began + lasted) / 2, network=network)
        for place, (began, lasted, network) in enumerate(drawn)
    ]
)


@given(drawn_events, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events: list[Event], random: Any):
    shuffled = events * 2
    random.shuffle(shuffled)
    assert incidents(shuffled) == incidents(events)


@given(drawn_events, st.randoms(use_true_random=False))
def test_every_event_is_in_one_incident_whatever_was_told_before(events: list[Event], random: Random):
    known: list[Incident] = []
    for _ in range(4):
        before = {incident.id: incident for incident in known}
        some = [replace(one, ended=None) if random.random() < 0.3 else one for one in events if random.random() < 0.8]
        known = incidents(some, reversed(known))
        assert sorted(one.id for incident in known for one in incident.events) == [one.id for one in some]
        assert len({incident.id for incident in known}) == len(known)
        assert before.keys() <= {incident.id for incident in known}, "nothing that was told disappears"
        for incident in known:
            old = before.get(incident.id)
            changed = old is None or (old.events, old.state == "ended") != (incident.events, incident.state == "ended")
            assert incident.revision == (1 if old is None else old.revision + changed)
        assert incidents(some, known) == known


@given(drawn_events)
def test_incidents_that_grow_one_event_at_a_time_hold_what_those_of_all_hold(events: list[Event]):
    known: list[Incident] = []
    for count in range(len(events) + 1):
        known = incidents(events[:count], known)
    held = {incident.events for incident in known if incident.events}
    assert held == {incident.events for incident in incidents(events)}
