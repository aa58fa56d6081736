"""What is told, and when: one incident is one thread, nothing flaps, nothing is told twice, nothing is lost.

Invariant tested at the end: whatever comes and goes, what a thread has said last agrees with what is, once it is calm.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alert_cases import CANTV, EVERY_STATE, MOVILNET, Story, block, due, minute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from store_cases import small, verdict

from monitor.alerts import machine, messages, threads
from monitor.alerts.letters import Letter
from monitor.models import Kind, Measurement, Status

SITE, OTHER = "a.example", "b.example"
COLOMBIAN = replace(CANTV, country="CO")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Any]:
    told: list[Story] = []

    def begin(alerts: str = "[{to: 'json://desk.example'}]", sites: str = "[]") -> Story:
        told.append(Story(tmp_path, alerts, sites))
        return told[-1]

    yield begin
    for one in told:
        one.store.close()


def measured(number: float, status: Status) -> Measurement:
    """Of SITE, at that minute."""
    known = {"id": f"m{number}", "site": SITE, "url": f"https://{SITE}/", "network": CANTV}
    return small(0, started=minute(number), verdict=verdict(status), **known)


def webhook(letter: Letter, told: Story) -> Any:
    """What is said of it to a program, beside the incident."""
    return json.loads(machine.body(letter, told.subscriptions[0]))["alert"]


def whats(letters: Any) -> list[str]:
    return [letter.what.value for letter in letters]


# --- one thread ----------------------------------------------------------------------------------------------------


def test_a_block_is_told_at_its_beginning_and_at_its_end_and_never_twice(story):
    told = story()
    assert whats(told.at(3, block(SITE, 0))) == ["first"]
    assert told.through(4, 60, 4) == []
    assert whats(told.at(61, block(SITE, 0, 60))) == ["end"]
    assert told.through(62, 200, 10) == []


def test_what_a_restart_decides_again_is_told_already(story):
    told = story()
    told.at(3, block(SITE, 0))
    told.desk = type(told.desk)(told.subscriptions, ())
    assert told.at(4, block(SITE, 0, confidence=0.99)) == []


def test_a_block_that_spreads_is_one_thread_and_its_updates_are_gathered(story):
    told = story()
    [first] = told.at(3, block(SITE, 0))
    assert told.at(5, block(SITE, 2, network=MOVILNET)) == []
    assert told.at(8, block(OTHER, 4)) == []
    [(number, update)] = told.through(9, 60)
    assert number == 13
    assert (update.what, update.thread) == ("update", first.thread)
    assert len(update.parts[0].changes.joined) == 2
    assert "b.example on CANTV (AS8048)" in told.short(update)


def test_what_ended_while_nobody_looked_is_told_however_late(story):
    told = story()
    told.at(3, block(SITE, 0))
    told.store.save_events([], [])
    [end] = told.at(60 * 24 * 30, block(SITE, 0, 60))
    assert end.what == "end"


def test_a_site_that_leaves_and_a_new_method_are_updates(story):
    told = story()
    told.at(3, block(SITE, 0), block(OTHER, 0))
    [update] = told.at(20, block(OTHER, 0, 19))
    assert (update.what, len(update.parts[0].changes.left)) == ("update", 1)
    [method] = told.at(40, block(SITE, 0, methods=("tls.reset", "dns.nxdomain")))
    assert list(method.parts[0].changes.methods.values()) == [("tls.reset",)]
    assert told.at(60, block(SITE, 0, methods=("dns.nxdomain",))) == []
    assert told.at(80, block(SITE, 0, methods=("tls.reset",))) == []


def test_the_end_is_told_when_the_last_site_opens_and_is_not_gathered(story):
    told = story()
    told.at(3, block(SITE, 0), block(OTHER, 0))
    assert whats(told.at(15, block(SITE, 0, 14))) == ["update"]
    [end] = told.at(17, block(OTHER, 0, 16))
    assert end.what == "end"
    assert "16 min" in told.short(end)


def test_forty_sites_on_two_networks_are_one_thread_of_few_messages(story):
    told = story()
    sites = [f"site{number}.example" for number in range(40)]
    letters = []
    for number, site in enumerate(sites):
        letters += told.at(3 + number / 4, block(site, 0), block(site, 1, network=MOVILNET))
    letters += [letter for _, letter in told.through(13, 60)]
    letters += told.at(90, *(block(site, 0, 89) for site in sites), *(block(site, 1, 89, MOVILNET) for site in sites))
    assert whats(letters) == ["first", "update", "end"]
    assert len({letter.thread for letter in letters}) == 1
    assert re.search("40 sites are blocked on CANTV and Movilnet: .*, .*, .* and 37 others", told.short(letters[1]))


def test_many_outages_at_once_are_one_message(story):
    told = story("[{to: 'json://desk.example', kinds: [site_outage]}]")
    outages = [block(f"s{n}.example", 0, network=None, kind=Kind.SITE_OUTAGE, methods=()) for n in range(10)]
    [letter] = told.at(3, *outages)
    assert (letter.what, len(letter.parts)) == ("digest", 10)
    assert whats(told.at(30, replace(outages[0], ended=minute(29)))) == ["end"]


# --- what comes and goes -------------------------------------------------------------------------------------------


def test_a_block_that_is_back_goes_on_in_its_thread_and_its_next_end_must_last(story):
    told = story()
    [first] = told.at(3, block(SITE, 0))
    assert whats(told.at(20, block(SITE, 0, 19))) == ["end"]
    [again] = told.at(30, block(SITE, 27))
    assert (again.what, again.thread) == ("again", first.thread)
    assert told.at(41, block(SITE, 27, 40)) == []
    assert told.at(55, block(SITE, 50)) == []
    told.at(61, block(SITE, 50, 60))
    [(number, over)] = told.through(62, 120)
    assert (number, over.what, over.thread) == (90, "end", first.thread)


def test_a_site_that_flaps_all_day_does_not_flap_the_subscriber(story):
    told = story()
    letters, period = [], 40
    for turn in range(24):
        start = turn * period
        letters += told.at(start + 3, block(SITE, start))
        letters += told.at(start + 21, block(SITE, start, start + 20))
        letters += [letter for _, letter in told.through(start + 22, start + period, 6)]
    assert whats(letters) == ["first", "end", "again"]


def test_a_block_that_is_back_as_another_incident_goes_on_in_its_thread(story):
    """After half an hour the detector begins another incident; to a reader it is the same block."""
    told = story()
    [first] = told.at(3, block(SITE, 0))
    told.at(21, block(SITE, 0, 20))
    [again] = told.at(93, block(SITE, 90), block(OTHER, 91))
    assert len(told.store.incidents()) == 2
    assert (again.what, again.thread) == ("again", first.thread)
    assert told.at(121, block(SITE, 90, 120), block(OTHER, 91, 120)) != []
    [(number, end)] = told.through(122, 200)
    assert (number, end.what, end.thread) == (150, "end", first.thread)


def test_a_block_on_the_next_morning_is_another_thread(story):
    told = story()
    [first] = told.at(3, block(SITE, 0))
    told.at(60, block(SITE, 0, 59))
    [second] = told.at(24 * 60, block(SITE, 24 * 60 - 3))
    assert second.what == "first"
    assert second.thread != first.thread


def test_one_site_of_an_incident_that_flaps_is_told_once(story):
    told = story()
    letters = told.at(3, block(SITE, 0), block(OTHER, 0))
    for turn in range(10):
        start = 20 + turn * 30
        letters += told.at(start, block(OTHER, 0 if turn == 0 else start - 15, start - 1))
        letters += told.at(start + 16, block(OTHER, start + 15))
    assert whats(letters) == ["first", "update", "update"]


def test_what_is_not_believed_any_more_is_corrected_at_once(story):
    told = story()
    event = block(SITE, 0)
    told.at(3, event)
    [correction] = told.at(
        5, replace(event, ended=event.started, ended_range=(event.started, event.started), confidence=0.0)
    )
    assert correction.what == "withdrawn"
    assert "a.example on CANTV (AS8048)" in told.short(correction)
    assert told.through(6, 60) == []


def test_one_site_of_two_that_is_withdrawn_is_an_update_at_once(story):
    told = story()
    told.at(3, block(SITE, 0), block(OTHER, 0))
    [correction] = told.at(5, block(OTHER, 0, 0, confidence=0.0))
    assert (correction.what, len(correction.parts[0].changes.withdrawn)) == ("update", 1)


# --- what was asked for --------------------------------------------------------------------------------------------


ASKED = {
    "all": ("", True),
    "its-site": ("sites: [a.example]", True),
    "another-site": ("sites: [b.example]", False),
    "its-tag": ("sites: ['tag:news']", True),
    "another-tag": ("sites: ['tag:tv']", False),
    "its-isp": ("isps: [cantv]", True),
    "its-number": ("isps: [AS8048]", True),
    "another-isp": ("isps: [Movilnet, AS27889]", False),
    "its-country": ("countries: [VE]", True),
    "another-country": ("countries: [CO]", False),
    "another-kind": ("kinds: [site_outage, silence]", False),
    "surer": ("minimum: {confidence: 0.99}", False),
    "sure-enough": ("minimum: {confidence: 0.98}", True),
    "more-probes": ("minimum: {probes: 2}", False),
    "longer": ("minimum: {duration: 5m}", False),
    "long-enough": ("minimum: {duration: 3m}", True),
}


@pytest.mark.parametrize("name", ASKED)
def test_only_what_was_asked_for_is_told(story, name):
    asked, told = ASKED[name]
    tale = story(f"[{{to: 'json://desk.example', {asked}}}]", "[{url: 'https://a.example/', tags: [news]}]")
    assert bool(tale.at(3, block(SITE, 0))) is told


def test_what_lasts_long_enough_is_told_then(story):
    told = story("[{to: 'json://desk.example', minimum: {duration: 10m}}]")
    assert told.at(3, block(SITE, 0), block(OTHER, 0)) == []
    assert told.at(7, block(OTHER, 0, 6)) == []
    [(number, first)] = told.through(8, 30)
    assert (number, list(first.parts[0].events)) == (10, ["blocking\na.example\nAS8048"])


def test_each_subscriber_has_a_thread_of_its_own(story):
    told = story("[{to: 'json://one.example'}, {to: 'json://two.example', isps: [Movilnet]}]")
    assert len(told.at(3, block(SITE, 0))) == 1
    rows = told.deliveries(20, [block(SITE, 10, network=MOVILNET)])
    assert sorted((row.what, row.subscription == told.subscriptions[1].key) for row in rows) == [
        ("first", True),
        ("update", False),
    ]


def test_who_subscribes_later_is_told_what_goes_on_but_not_what_was(story):
    told = story("[]")
    told.at(3, block(SITE, 0), block(OTHER, 0, 2, COLOMBIAN))
    told.subscribe("[{to: 'json://desk.example'}]")
    [first] = told.at(30)
    assert list(first.parts[0].events) == ["blocking\na.example\nAS8048"]


def test_what_was_blocked_open_and_blocked_again_is_told_with_both_times(story):
    told = story("[{to: 'json://desk.example'}]")
    told.at(3, block(SITE, 0, methods=("tcp.timeout",)))
    told.at(63, block(SITE, 0, 60, methods=("tcp.timeout",)))
    told.at(73, block(SITE, 0, 60, methods=("tcp.timeout",)), block(SITE, 70))
    assert [letter.what for _, letter in told.through(74, 300)] == []
    told.at(310, block(SITE, 70, 305))
    [(_, end)] = [one for one in told.through(311, 700) if one[1].what == "end"]
    said = messages.message(end, told.subscriptions[0])
    assert (
        "For 5 hours 5 minutes: from 15 Jan 2018, 12:00 UTC to 15 Jan 2018, 17:05 UTC. Not all of it all" in said.short
    )
    for line in (
        "from 15 Jan 2018, 12:00 UTC to 15 Jan 2018, 13:00 UTC",
        "from 15 Jan 2018, 13:10 UTC to 15 Jan 2018, 17:05",
    ):
        assert line in said.full
    assert "connections get no answer" in said.short


# --- hours ---------------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_what_goes_on_and_tell_what_is_over_as_one(story):
    """12:00 UTC is 08:00 in Caracas."""
    told = story("[{to: 'json://desk.example', quiet: 08:00-09:00, zone: America/Caracas}]")
    assert told.at(3, block(SITE, 0)) == []
    assert told.at(20, block(SITE, 0, 19)) == []
    later = block("c.example", 40, network=COLOMBIAN)
    assert told.at(43, later) == []
    [(one, over), (two, first)] = told.through(44, 80)
    assert (one, two) == (60, 60)
    assert sorted((over.what, first.what)) == ["first", "over"]


def test_quiet_hours_hold_the_end_as_well(story):
    told = story("[{to: 'json://desk.example', quiet: 08:30-09:00, zone: America/Caracas}]")
    assert whats(told.at(3, block(SITE, 0))) == ["first"]
    assert told.at(41, block(SITE, 0, 40)) == []
    [(number, end)] = told.through(42, 90)
    assert (number, end.what) == (60, "end")


def test_who_is_told_after_quiet_hours_of_what_opens_by_then_hears_that_it_does(story):
    told = story("[{to: 'json://desk.example', quiet: 08:00-09:00, zone: America/Caracas}]")
    lifted = [measured(number, Status.OK) for number in (57, 58, 59)]
    told.store.append([measured(3, Status.BLOCKED), *lifted])
    assert told.at(3, block(SITE, 0), block(OTHER, 0)) == []
    [(_, first)] = told.through(44, 80)
    assert first.what == "first"
    assert told.short(first).startswith(
        "b.example is blocked on CANTV. Perhaps over, by the newest results: a.example on CANTV (AS8048). "
    )
    [opens] = webhook(first, told)["opens"]
    assert (opens["site"], opens["since"], opens["results"]) == (SITE, "2018-01-15T12:57:00Z", 3)


def test_a_first_message_of_what_opens_by_then_does_not_say_that_it_is_blocked(story):
    told = story("[{to: 'json://desk.example', digest: ['09:00'], zone: America/Caracas}]")
    told.store.append([measured(3, Status.BLOCKED), measured(59, Status.OK)])
    told.at(3, block(SITE, 0))
    [(_, digest)] = told.through(44, 80)
    said = told.short(digest)
    assert said.startswith("a.example was blocked on CANTV; the newest results no longer show it. Perhaps over")
    assert "It began 15 Jan 2018, 08:00 -04" in said
    assert "is blocked" not in messages.message(digest, told.subscriptions[0]).full


def test_a_digest_is_one_message_at_its_hour_and_none_without_news(story):
    told = story("[{to: 'json://desk.example', digest: ['09:00', '10:00', '11:00'], zone: America/Caracas}]")
    assert told.at(3, block(SITE, 0)) == []
    assert told.at(20, block("c.example", 10, 19, COLOMBIAN)) == []
    [(number, digest)] = told.through(50, 170, 5)
    assert number == 60
    assert (digest.what, [part.what for part in digest.parts]) == ("digest", ["first", "over"])
    told.at(181)
    assert told.at(182, block(SITE, 0, 181)) == []
    [(number, end)] = told.through(240, 60 * 30, 30)
    assert (number, end.what) == (60 + 24 * 60, "end")


# --- programs ------------------------------------------------------------------------------------------------------


def test_a_webhook_is_told_of_every_revision_at_once(story):
    told = story("[{to: 'webhook:http://127.0.0.1:1/'}]")
    seen = [
        *told.at(3, block(SITE, 0)), *told.at(4, block(SITE, 0, confidence=0.99)), *told.at(5, block(OTHER, 3)),
        *told.at(6, block(OTHER, 3, 5)), *told.at(7), *told.at(8, block(SITE, 0, 7)),
    ]  # fmt: skip
    assert whats(seen) == ["first", "update", "update", "update", "end"]
    assert [letter.parts[0].revision for letter in seen] == [1, 2, 3, 4, 5]
    assert [len(letter.parts[0].changes.joined) for letter in seen] == [1, 0, 1, 0, 0]
    assert seen[3].parts[0].changes.left == (block(OTHER, 3).id,)
    assert [dict(letter.parts[0].changes.changed) for letter in seen] == [
        {}, {block(SITE, 0).id: ("confidence",)}, {}, {block(OTHER, 3).id: ("ended",)},
        {block(SITE, 0).id: ("ended", "confidence")},
    ]  # fmt: skip


def test_no_update_leaves_a_webhook_to_find_out_what_has_changed(story):
    told = story("[{to: 'webhook:http://127.0.0.1:1/'}]")
    told.at(3, block(SITE, 0), block(OTHER, 0))
    for number, news in enumerate(
        (
            block(SITE, 0, started_range=(None, minute(0))),
            block(SITE, 0, measurements=9),
            block(OTHER, 0, 0, confidence=0.0),
        ),
        4,
    ):
        [update] = told.at(number, news)
        body = json.loads(machine.body(update, told.subscriptions[0]))
        named = [one["event"] for listed in body["alert"]["changes"].values() for one in listed]
        assert named == [news.id], (body["alert"]["changes"], number)


def test_a_webhook_learns_that_an_incident_was_withdrawn(story):
    told = story("[{to: 'webhook:http://127.0.0.1:1/'}]")
    told.at(3, block(SITE, 0))
    [end] = told.at(5, block(SITE, 0, 0, confidence=0.0))
    assert (end.what, end.parts[0].events) == ("end", {})


# --- messages that could not be sent yet ---------------------------------------------------------------------------


def failing(told: Story, number: float) -> None:
    for one in due(told.store, minute(number)):
        told.store.outbox.failed(one, minute(number), "refused", minute(number + 1000))


def states(told: Story) -> list[tuple[str, str]]:
    rows = told.store.outbox.listed(EVERY_STATE, 100)
    return [(row.what, row.state.name) for row in reversed(rows)]


def test_what_could_not_be_sent_is_told_with_what_came_after(story):
    told = story()
    told.at(3, block(SITE, 0))
    failing(told, 3)
    told.at(20, block(OTHER, 15))
    failing(told, 20)
    told.at(41, block(SITE, 0, 40), block(OTHER, 15, 40))
    assert states(told) == [("first", "MERGED"), ("first", "MERGED"), ("over", "WAITING")]


def test_what_is_not_so_any_more_and_was_never_sent_is_not_sent(story):
    told = story()
    told.at(3, block(SITE, 0))
    failing(told, 3)
    assert told.at(5, block(SITE, 0, 0, confidence=0.0)) == []
    assert states(told) == [("first", "MERGED")]
    assert whats(told.at(30, block(SITE, 28))) == ["first"]


def test_one_that_waits_is_not_written_anew_without_news(story):
    told = story()
    told.at(3, block(SITE, 0))
    failing(told, 3)
    assert told.through(4, 100, 12) == []
    assert states(told) == [("first", "WAITING")]


# --- whatever comes ------------------------------------------------------------------------------------------------


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 45)), max_size=14))
def test_once_it_is_calm_every_thread_has_said_what_is(tmp_path_factory, turns):
    """Sites block and open at random; ten hours later each subscriber believes what is true, and messages alternate."""
    told = Story(tmp_path_factory.mktemp("story"))
    number, going_on, letters = 0, {}, []
    for site, blocked, pause in turns:
        number += pause
        name = f"{site}.example"
        if blocked and name not in going_on:
            going_on[name] = number
            letters += told.at(number, block(name, number))
        elif not blocked and name in going_on:
            letters += told.at(number, block(name, going_on.pop(name), number))
    for later in range(number, number + 720, 45):
        letters += told.at(later)
    believed: set[str] = set()
    for thread in told.store.outbox.open_threads(told.subscriptions[0].key):
        pairs = threads.decoded(thread.data).pairs.values()
        believed |= {pair.site for pair in pairs if pair.ended is None}
    assert believed == set(going_on)
    by_thread: dict[str, list[str]] = {}
    for letter in letters:
        by_thread.setdefault(letter.thread, []).append(letter.what.value)
    for said in by_thread.values():
        assert said[0] in ("first", "over")
        assert "first" not in said[1:]
        ends = [what for what in said if what in ("end", "again")]
        assert all(one != other for one, other in pairwise(ends)), said
    told.store.close()
