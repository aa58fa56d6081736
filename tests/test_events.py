"""What must always hold: the same verdicts give the same events, whatever the order; noise alone gives none.

Histories are strings, one character a measurement: o ok, X blocked, ? inconclusive, d down, g geoblocked, h open though
some attempts were cut, n no network, ~ between two networks, " " nothing measured.
"""

import ast
import itertools
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor import incidents
from monitor.conclusions import HISTORY, MOST_HISTORY
from monitor.detection import episode, noise, outage, replay, series, silence
from monitor.detection import network as network_module
from monitor.detection.episode import MOST_METHODS
from monitor.detection.noise import Line, Reporter
from monitor.detection.replay import MOST_KEPT
from monitor.events import Minimum, detect, network_key, overlap
from monitor.models import Event, Kind, Network, Point, Status
from monitor.watch import Watch

START = datetime(2018, 1, 1, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
MOVILNET = Network(asn=27889, isp="Movilnet", country="VE", source="observed")
SITE = "www.lapatilla.com"
SAID = {
    "o": (Status.OK, (), ""),
    "X": (Status.BLOCKED, ("dns.nxdomain",), ""),
    "T": (Status.BLOCKED, ("tls.reset", "dns.nxdomain"), ""),
    "?": (Status.INCONCLUSIVE, (), "no_control"),
    "n": (Status.INCONCLUSIVE, (), "network_down"),
    "~": (Status.INCONCLUSIVE, (), "network_changed"),
    "d": (Status.DOWN, (), ""),
    "g": (Status.GEOBLOCKED, (), ""),
    "h": (Status.OK, ("tls.reset",), ""),
}


def history(
    drawn: str, *, site: str = SITE, network: Network = CANTV, probe: str = "", minutes: float = 10, **more: Any
) -> list[Point]:
    """A point for each character, so many minutes apart."""
    points = []
    for place, said in enumerate(drawn):
        if said != " ":
            status, methods, rule = SAID[said]
            started = START + timedelta(minutes=minutes * place)
            id = f"{site}/{network_key(network)}/{probe}/{place}"
            fields = {"methods": methods, "rule": rule} | more
            points.append(
                Point(id=id, site=site, network=network, probe=probe, started=started, status=status, **fields)
            )
    return points


def place(moment: datetime | None, minutes: float = 10) -> int | None:
    """Which measurement of a history that was."""
    return None if moment is None else round((moment - START) / timedelta(minutes=minutes))


def blocking(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind is Kind.BLOCKING]


def spans(events: Iterable[Event]) -> list[tuple[int | None, int | None]]:
    """Where the blocking events of a history begin and end."""
    return [(place(event.started), place(event.ended)) for event in blocking(events)]


def lone_noise(length: int, share: float, seed: int = 1) -> str:
    random = Random(seed)
    return "".join("X" if random.random() < share else "o" for _ in range(length))


# --- blocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "found"),
    {
        "quiet": ("o" * 500, []),
        "lone-false-verdicts": ("oooooooooXoooooooooooXoooooooooooooooXooo" * 9, []),
        "block": ("o" * 300 + "X" * 30, [(300, None)]),
        "block-that-ends": ("o" * 300 + "X" * 30 + "o" * 30, [(300, 330)]),
        "two-blocks-hours-apart": ("o" * 300 + "X" * 12 + "o" * 30 + "X" * 12 + "o" * 30, [(300, 312), (342, 354)]),
        "a-good-hour-is-no-end": ("o" * 300 + "X" * 20 + "oo" + "X" * 20 + "o" * 30, [(300, 342)]),
        "gaps-do-not-split": ("o" * 300 + "X" * 12 + " " * 500 + "X" * 12 + "o" * 30, [(300, 824)]),
        "inconclusive-moves-nothing": ("o" * 300 + "?X" * 12 + "?" * 90, [(301, None)]),
        "only-inconclusive": ("o" * 300 + "?" * 300, []),
        "down-is-no-blocking": ("o" * 300 + "d" * 300, []),
        "geoblocked-is-no-blocking": ("o" * 300 + "g" * 300, []),
        "hindered-is-no-blocking": ("o" * 300 + "h" * 300, []),
        "down-while-blocked": ("o" * 300 + "X" * 12 + "d" * 60 + "X" * 12, [(300, None)]),
        "in-part": ("o" * 300 + "XooXoXooXXoooXoXoXooXooXXoXoo" * 3 + "o" * 60, [(300, 385)]),
    }.values(),
    ids=lambda value: None,
)
def test_what_is_found_in_a_history(drawn: str, found: list[tuple[int, int | None]]) -> None:
    assert spans(detect(history(drawn))) == found


def test_a_site_blocked_when_first_seen_is_blocked_since_at_least_then():
    [event] = detect(history("X" * 12 + "o" * 30))
    assert event.started_range == (None, START)
    assert place(event.ended) == 12


def test_nothing_comes_of_nothing():
    assert detect([]) == []
    assert Watch().add([]) == []
    assert Watch().events() == []


def test_an_episode_ends_after_the_last_bad_report_that_the_good_ones_do_not_outweigh():
    def end(drawn: str) -> int:
        trail = [
            series.Seen(float(n), said == "X", -3.0, 1.5 if said == "X" else -0.6, "", ())
            for n, said in enumerate(drawn)
        ]
        return series.Series(series.Model(), full=0.001, part=0.1, trail=trail).likelier_end()

    assert [end(drawn) for drawn in ("ooo", "oX", "ooXooo", "oooX", "XooXooooX", "XXooooX")] == [0, 2, 3, 0, 4, 2]


def test_the_ranges_are_the_last_contrary_and_the_first_supporting_measurement():
    [event] = detect(history("o" * 300 + "?X" + "X" * 20 + "?" + "o" * 30))
    assert tuple(map(place, event.started_range)) == (299, 301)
    assert event.ended_range is not None
    assert tuple(map(place, event.ended_range)) == (321, 323)
    assert (event.measurements, event.probes, event.methods) == (21, 1, ("dns.nxdomain",))
    assert event.started <= event.detected
    assert (place(event.detected) or 0) - 301 <= 6
    assert event.confidence >= 0.99
    assert event.network == CANTV


@pytest.mark.parametrize("minutes", [5, 10, 60, 1440])
def test_every_cadence_finds_a_block(minutes: float):
    [event] = blocking(detect(history("o" * 60 + "X" * 12 + "o" * 20, minutes=minutes)))
    assert (place(event.started, minutes), place(event.ended, minutes)) == (60, 72)


@pytest.mark.parametrize("share", [0.02, 0.06])
def test_the_noise_of_a_series_is_learned(share: float):
    noise = lone_noise(4000, share)
    [event] = detect(history(noise + "oo" + "X" * 20 + "o" * 30))
    assert place(event.started) == 4002
    assert (place(event.detected) or 0) - 4002 < (4 if share < 0.05 else 6)


def test_a_line_whose_false_verdicts_come_in_bursts_makes_no_events():
    random = Random(3)
    drawn = "".join("o" * random.randint(60, 300) + "X" * random.randint(2, 6) for _ in range(100))
    assert spans(detect(history(drawn))) == [(120, 126)], "six in a row, and nothing known of this line yet"


def test_a_burst_that_passed_for_an_event_teaches():
    events = detect(history("o" * 300 + ("XXXX" + "o" * 200) * 6, minutes=60))
    assert [event.started for event in events] == [START + timedelta(hours=300)], "once, and then it is known"


def test_a_line_that_fails_for_hours_is_in_trouble():
    drawn = "o" * 100 + ("XXX" + "o" * 90) * 6
    points = [point for n in range(12) for point in history(drawn, site=f"site{n}.example", minutes=60)]
    assert blocking(detect(points)) == []


def test_a_burst_over_all_sites_of_a_line_is_the_lines_trouble():
    drawn = "o" * 100 + ("XXX" + "o" * 90) * 12
    points = [point for number in range(12) for point in history(drawn, site=f"site{number}.example")]
    assert blocking(detect(points)) == []


def test_a_national_block_of_all_sites_at_once_is_found():
    points = [point for n in range(20) for point in history("o" * 300 + "X" * 60 + "o" * 20, site=f"site{n}.example")]
    assert spans(detect(points)) == [(300, 360)] * 20


def test_a_weak_verdict_says_less():
    weak = history("o" * 300 + "X" * 6, confidence=0.3)
    assert blocking(detect(history("o" * 300 + "X" * 6, confidence=0.9)))
    assert not blocking(detect(weak))


def test_the_methods_of_an_event_are_ordered_by_weight():
    [event] = detect(history("o" * 300 + "X" * 8 + "T" * 30))
    assert event.methods == ("tls.reset", "dns.nxdomain")
    [event] = detect(history("o" * 300 + "X" * 80 + "T"))
    assert event.methods == ("dns.nxdomain",), "one in eighty is a false verdict among true ones"


def test_an_event_names_so_many_methods_and_no_more():
    drawn = [replace(point, methods=(f"tls.{number}",)) for number, point in enumerate(history(" " * 300 + "X" * 200))]
    [event] = detect([*history("o" * 300), *drawn])
    assert len(event.methods) == MOST_METHODS
    assert event.measurements == 200


def test_confirmed_verdicts_convince_sooner():
    assert not blocking(detect(history("o" * 300 + "X" * 3)))
    assert blocking(detect(history("o" * 300 + "X" * 3, confirmed=True)))


def test_where_false_verdicts_are_confirmed_as_well_confirming_convinces_nobody():
    false = "ooooooooooooooooX" * 90
    quiet = [
        event for event in detect(history(false + "oo" + "X" * 4, confirmed=True)) if (place(event.started) or 0) > 1500
    ]
    assert quiet == []
    calm, blocked = history(false), history(" " * len(false) + "oo" + "X" * 4, confirmed=True)
    assert len(blocking(detect(calm + blocked))) == 1


def test_bad_hours_of_a_line_are_told_once_and_then_known():
    hours = ["o" * 200 + lone_noise(24, 0.4, seed) for seed in range(30)]
    assert len(blocking(detect(history("".join(hours))))) <= 3


def test_a_line_that_has_become_worse_is_known_after_a_while():
    months = "o" * 60_000
    worse = lone_noise(3000, 0.12, 2)
    late = [event for event in detect(history(months + worse)) if (place(event.started) or 0) > 61_000]
    assert late == []
    reporter = Reporter(Line(0.0), 0.0)
    for _ in range(100_000):
        reporter.learn(0, False, 1.0)
    for number in range(1000):
        reporter.learn(0, number % 8 == 0, 1.0)
    assert 0.005 < reporter.hazard(0) < 0.125
    assert reporter.seen[0] <= 20_000


def test_measurements_in_the_same_minute_repeat_each_other():
    points = history("o" * 300)
    burst = [
        replace(p, started=points[-1].started + timedelta(seconds=5 * n)) for n, p in enumerate(history("X" * 8), 1)
    ]
    burst = [replace(point, id=f"burst{n}") for n, point in enumerate(burst)]
    assert detect([*points, *burst]) == []


def test_good_reports_that_repeat_each_other_change_nothing_of_an_end():
    points = history("o" * 300 + "X" * 20 + "o" * 60)
    again = [replace(p, id=p.id + "again", started=p.started + timedelta(seconds=5)) for p in points[320:340]]
    assert spans(detect(points + again)) == spans(detect(points)) == [(300, 320)]


def test_attempts_that_were_cut_make_a_partial_block_likelier():
    quiet = lone_noise(600, 0.02, seed=4)
    assert len(blocking(detect(history(quiet + "hXhhXhhhXhhXhhXh")))) == 1
    assert not blocking(detect(history(quiet + "oXooXoooXooXooXo")))


def test_a_site_that_always_opens_with_effort_is_used_to_it():
    assert detect(history("h" * 600 + "X" + "h" * 60)) == []


# --- probes --------------------------------------------------------------------------------------------------------


def probes(*drawn: str, minutes: float = 10) -> list[Point]:
    """Several probes on one network, a little after each other."""
    return [
        replace(point, started=point.started + timedelta(seconds=120 * number))
        for number, one in enumerate(drawn)
        for point in history(one, probe=f"probe{number}", minutes=minutes)
    ]


def test_no_single_probe_makes_a_headline_when_more_are_asked_for():
    lone = history("o" * 100 + "X" * 400, probe="a")
    assert blocking(detect(lone, Minimum(3, 1)))
    assert detect(lone, Minimum(3, 2)) == []


@pytest.mark.parametrize("minimum", [100, 256, 257, 1000])
def test_an_announcement_waits_for_as_many_measurements_as_are_asked_for(minimum: int):
    [event] = detect(history("o" * 300 + "X" * 1500), Minimum(minimum, 1))
    assert (place(event.started), place(event.detected)) == (300, 300 + minimum - 1)
    [event] = detect(history("o" * 300 + "XooXX" * 800), Minimum(minimum, 1))
    assert place(event.started) == 300


def test_a_beginning_long_ago_is_dated_by_what_is_still_known():
    """A second probe confirms what the first has said for days: of its reports the latest part is kept."""
    alone = history("o" * 100 + "XXXXXXXXXo" * 50, probe="a")
    other = [replace(p, started=p.started + timedelta(minutes=5)) for p in history(" " * 520 + "X" * 60, probe="b")]
    [event] = blocking(detect(alone + other, Minimum(3, 2)))
    assert tuple(map(place, event.started_range)) == (349, 356)
    assert (place(event.detected), event.probes) == (520, 2)


def test_one_probe_against_two_is_its_own_trouble():
    assert blocking(detect(probes("o" * 200 + "X" * 400, "o" * 600, "o" * 600))) == []


def test_a_liar_does_not_turn_the_noise_of_others_into_an_event():
    noisy = lone_noise(3000, 0.02, 5), lone_noise(3000, 0.02, 6)
    assert blocking(detect(probes("o" * 200 + "X" * 2800, *noisy), Minimum(3, 2))) == []


def test_several_probes_that_agree_are_counted():
    [event] = blocking(detect(probes(*["o" * 200 + "X" * 20 + "o" * 30] * 3), Minimum(3, 3)))
    assert event.probes == 3
    assert event.measurements == 60


def test_two_probes_find_a_partial_block():
    random = Random(4)
    drawn = ["o" * 300 + "".join(random.choice("XXooo") for _ in range(100)) for _ in range(2)]
    assert len(blocking(detect(probes(*drawn)))) == 1


# --- other kinds ---------------------------------------------------------------------------------------------------


def test_a_site_that_is_down_for_all_is_an_outage():
    points = history("o" * 100 + "d" * 20 + "o" * 30) + history("o" * 100 + "d" * 20 + "o" * 30, network=MOVILNET)
    [event] = detect(points)
    assert (event.kind, event.site, event.network) == (Kind.SITE_OUTAGE, SITE, None)
    assert (place(event.started), place(event.ended), event.probes) == (100, 120, 2)


def test_a_site_that_is_down_now_is_told():
    [event] = detect(history("o" * 100 + "d" * 20))
    assert event.kind is Kind.SITE_OUTAGE
    assert event.ended is None


def test_a_site_that_others_reach_is_not_down():
    points = history("o" * 100 + "d" * 30) + [
        point for n in range(3) for point in history("o" * 130, network=replace(MOVILNET, asn=n + 1))
    ]
    assert detect(points) == []


def test_a_network_that_fails_for_all_sites_is_an_outage_and_no_blocking():
    points = [point for n in range(4) for point in history("o" * 100 + "n" * 20 + "o" * 30, site=f"site{n}.example")]
    [event] = detect(points)
    assert (event.kind, event.site, event.network) == (Kind.NETWORK_OUTAGE, None, CANTV)
    assert (place(event.started), place(event.ended)) == (100, 120)
    [event] = detect([point for point in points if (place(point.started) or 0) < 115])
    assert event.ended is None


def test_a_site_still_blocked_when_the_network_comes_back_is_blocked():
    others = [p for n in range(3) for p in history("o" * 300 + "n" * 20 + "o" * 60, site=f"site{n}.example")]
    events = detect(others + history("o" * 300 + "n" * 20 + "X" * 60))
    assert [(event.kind, place(event.started)) for event in events] == [
        (Kind.NETWORK_OUTAGE, 300),
        (Kind.BLOCKING, 320),
    ]


def test_a_network_that_stops_reporting_is_silent():
    [event] = detect(history("o" * 100 + " " * 60 + "o" * 100))
    assert (event.kind, event.site, event.network) == (Kind.SILENCE, None, CANTV)
    assert (place(event.started), place(event.ended), event.measurements, event.probes) == (100, 160, 0, 0)


def test_silence_is_looked_for_until_now():
    points = history("o" * 100)
    assert detect(points) == []
    [event] = detect(points, now=START + timedelta(days=2))
    assert event.kind is Kind.SILENCE
    assert event.ended is None
    [event] = detect(points + history("o" * 200, network=MOVILNET))
    assert event.network == CANTV


@pytest.mark.parametrize("minutes", [5, 60, 1440])
def test_silence_is_told_by_the_networks_own_cadence(minutes: float):
    assert detect(history("o" * 60 + " " + "o" * 30, minutes=minutes)) == []
    assert len(detect(history("o" * 60 + " " * 12 + "o" * 30, minutes=minutes))) == 1


def test_a_laptop_that_sleeps_every_night_is_used_to_it():
    night = detect(history(("o" * 90 + " " * 54) * 12))
    assert len(night) == 2
    assert len(detect(history(("o" * 90 + " " * 54) * 12 + " " * 80 + "o" * 90))) == 3


def test_a_laptop_that_moves_makes_no_silence_and_a_line_that_does_not_come_back_does():
    moved = history("o" * 60) + history(" " * 60 + "o" * 60, network=MOVILNET)
    assert detect(moved) == []
    for pause in (0, 3, 20):
        points = history("o" * 60) + history("o" * 60 + " " * pause + "o" * 60, network=MOVILNET)
        silent = [event.network.asn for event in detect(points) if event.network and event.ended is None]
        assert silent == [8048], "both were measured by the same machine, and one came back"


def test_a_history_too_short_has_no_cadence():
    assert detect(history("o" * 10 + " " * 99 + "o")) == []


def test_a_measurement_between_two_networks_belongs_to_none():
    between = history("X" * 100, rule="network_changed")
    assert detect(between) == Watch().add(between) == []
    watch = Watch()
    watch.add(history("o" * 50 + "~" * 50))
    assert watch.events() == detect(history("o" * 50 + "~" * 50)) == [], "it moved, which is no silence"


# --- order, duplicates, late points --------------------------------------------------------------------------------

drawn_points = st.lists(st.text("ooooXXXXXX?dnhg~ ", max_size=80), min_size=1, max_size=3).map(
    lambda drawn: [
        point
        for number, one in enumerate(drawn)
        for point in history(
            one, site=f"site{number % 2}.example", probe=f"{number // 2}", network=(CANTV, MOVILNET)[number % 2]
        )
    ]
)


def contents(events: Iterable[Event]) -> list[Event]:
    return [replace(event, revision=0) for event in events]


@given(drawn_points, st.randoms(use_true_random=False))
def test_the_order_in_which_points_are_read_does_not_matter(points: list[Point], random: Any):
    shuffled = points + random.sample(points, len(points) // 2)
    random.shuffle(shuffled)
    assert detect(shuffled) == detect(points)


@given(drawn_points, st.randoms(use_true_random=False), st.integers(1, 30))
def test_watching_finds_what_reading_everything_finds(points: list[Point], random: Any, step: int):
    watch = Watch()
    random.shuffle(points)
    for at in range(0, len(points), step):
        watch.add(points[at : at + step])
    now = {(event.kind, event.site, event.network, event.started): event for event in watch.events()}
    then = {(event.kind, event.site, event.network, event.started): event for event in detect(points)}
    assert {key: replace(event, id="", revision=0) for key, event in now.items()} == {
        key: replace(event, id="", revision=0) for key, event in then.items()
    }


@given(drawn_points)
def test_events_of_a_series_alternate(points: list[Point]):
    for minimum in (Minimum(), Minimum(1, 1), Minimum(5, 2)):
        events = detect(points, minimum)
        for event in events:
            assert (event.started_range[0] or event.started) <= event.started <= event.detected
            assert event.ended is None or event.ended >= event.started
            assert 0 < event.confidence < 1
        for kind in Kind:
            for network in (CANTV, MOVILNET, None):
                for site in ("site0.example", "site1.example", None):
                    series = [e for e in events if (e.kind, e.network, e.site) == (kind, network, site)]
                    for one, next_ in itertools.pairwise(series):
                        assert one.ended is not None
                        assert one.ended <= next_.started
        assert len({event.id for event in events}) == len(events)


def test_points_with_one_id_count_once():
    assert detect(history("o" * 300 + "X") * 20) == []
    one = replace(history("X")[0], started=START + timedelta(days=1))
    both = [*history("o" * 300), *(replace(one, started=START + timedelta(minutes=n)) for n in range(50))]
    assert detect(both) == detect(both[::-1]) == []


def test_the_id_survives_late_and_missing_lines():
    points = history("o" * 300 + "X" * 60 + "o" * 40 + "X" * 60 + "o" * 30)
    ids = [event.id for event in detect(points)]
    assert len(ids) == 2
    for seed in range(20):
        some = Random(seed).sample(points, len(points) - 5)
        assert [event.id for event in detect(some)] == ids


def test_a_watch_tells_what_is_new_and_what_changed():
    watch = Watch()
    points = history("o" * 300 + "X" * 40 + "o" * 30)
    told = [event for point in points for event in watch.add([point])]
    assert [event.revision for event in told] == list(range(1, len(told) + 1))
    assert len({event.id for event in told}) == 1
    assert len(told) < 12
    assert told[0].ended is None
    assert place(told[-1].ended) == 340
    assert contents(watch.events()) == contents(detect(points))
    assert watch.events()[0] == told[-1]


def test_a_watch_keeps_the_names_of_stored_events():
    points = history("o" * 300 + "X" * 100 + "o" * 30)
    first = Watch()
    first.add(points[:350])
    [stored] = first.events()
    stored = replace(stored, id="as-stored", revision=7)
    again = Watch(Minimum(), [stored])
    assert again.events() == [stored]
    changed = again.add(points[320:])
    assert {event.id for event in changed} == {"as-stored"}
    assert changed[-1].revision > 7
    [event] = again.events()
    assert (event.started, event.started_range, event.detected) == (
        stored.started,
        stored.started_range,
        stored.detected,
    )
    assert place(event.ended) == 400


def test_stored_events_without_new_points_stay():
    [stored] = detect(history("o" * 300 + "X" * 100 + "o" * 30))
    watch = Watch(Minimum(), [stored])
    watch.add([replace(p, started=p.started + timedelta(days=30), id=p.id + "later") for p in history("o" * 100)])
    assert watch.events() == [stored]


def test_a_watch_knows_silence_by_the_clock():
    watch = Watch()
    assert watch.tick(START) == []
    watch.add(history("o" * 100))
    assert watch.tick(START + timedelta(minutes=1010)) == []
    [event] = watch.tick(START + timedelta(days=2))
    assert event.kind is Kind.SILENCE
    assert watch.tick(START + timedelta(days=1)) == [] == watch.tick(START + timedelta(days=3))
    [ended] = watch.add(history(" " * 500 + "o"))
    assert ended.id == event.id
    assert place(ended.ended) == 500


def test_an_event_that_a_late_measurement_denies_is_withdrawn():
    watch = Watch()
    [event] = watch.add(history("oooooooooX" * 30 + "X" * 6))
    late = [
        replace(p, id=f"{p.id}late{minute}", started=p.started + timedelta(minutes=minute))
        for p in history(" " * 300 + "o" * 5)
        for minute in (2, 4, 6, 8)
    ]
    changed = watch.add(late)
    assert watch.events() == []
    [withdrawn] = changed
    assert (withdrawn.id, withdrawn.revision, withdrawn.confidence) == (event.id, 2, 0.0)
    assert withdrawn.ended == withdrawn.started


def test_a_withdrawn_event_that_comes_back_goes_on_where_it_was():
    points = history("oooooooooX" * 30 + "X" * 6)
    late = [
        replace(p, id=f"{p.id}late{minute}", started=p.started + timedelta(minutes=minute))
        for p in history(" " * 300 + "o" * 5)
        for minute in (2, 4, 6, 8)
    ]
    more = history(" " * 306 + "X" * 20)
    watch = Watch()
    [event], [withdrawn], [back] = watch.add(points), watch.add(late), watch.add(more)
    assert [one.id for one in (withdrawn, back)] == [event.id] * 2
    assert [one.revision for one in (event, withdrawn, back)] == [1, 2, 3]
    restarted = Watch(Minimum(), [withdrawn])
    assert restarted.events() == []
    [again] = restarted.add(points + late + more)
    assert (again.id, again.revision) == (event.id, 3)


@pytest.mark.parametrize("asked", [Minimum(), Minimum(5000, 1)])
@pytest.mark.parametrize("said", "Xdn")
def test_a_stored_event_that_goes_on_is_withdrawn_when_its_points_say_otherwise_now(said: str, asked: Minimum):
    points = history("o" * 300 + said * 100)
    [stored] = detect(points)
    assert stored.ended is None
    judged_anew = history("o" * 400) if asked == Minimum() else points
    watch = Watch(asked, [stored])
    assert watch.add(history(" " * 399 + "?")) == [], "what it rests on was not read"
    [changed] = watch.add(judged_anew)
    assert (changed.id, changed.revision, changed.confidence) == (stored.id, 2, 0.0)
    assert watch.events() == []


def test_a_stored_event_that_was_detected_later_than_what_was_read_stays():
    points = history("o" * 300 + "X" * 100)
    [stored] = detect(points)
    watch = Watch(Minimum(), [stored])
    assert watch.add(points[:301]) == []
    assert watch.events() == [stored]


def test_a_stored_silence_that_was_none_is_withdrawn():
    [stored] = detect(history("o" * 100), now=START + timedelta(days=2))
    watch = Watch(Minimum(), [stored])
    [changed] = watch.add(history("o" * 400))
    assert (changed.id, changed.confidence) == (stored.id, 0.0)


def test_a_stored_silence_waits_for_the_clock():
    points = history("o" * 100)
    [stored] = detect(points, now=START + timedelta(days=2))
    watch = Watch(Minimum(), [stored])
    watch.add(points)
    assert watch.events() == [stored]
    watch.tick(START + timedelta(days=3))
    assert watch.events() == [stored]


def test_a_watch_remembers_so_much_and_no_more():
    points = history("o" * 3000 + "X" * 20 + "o" * MOST_KEPT)
    watch = Watch()
    for at in range(0, len(points), 500):
        watch.add(points[at : at + 500])
    assert watch.refused == 0
    assert len(watch.add(history("X")) + watch.add(points[:10])) == 0
    assert watch.refused > 0
    assert contents(watch.events()) == contents(detect(points))
    for ago in (60, 1000):
        late = [
            replace(p, id=p.id + "late", started=p.started + timedelta(minutes=5), status=Status.BLOCKED)
            for p in points[-ago:][:40]
        ]
        assert blocking(watch.add(late))
        points += late
        assert contents(watch.events()) == contents(detect(points))


def test_networks_are_told_apart_by_number_then_by_name():
    assert network_key(CANTV) == "AS8048"
    assert network_key(Network(isp="Inter", country="VE")) == "inter/VE"
    assert network_key(Network()) == "/"
    drawn = "o" * 300 + "X" * 30
    [event] = blocking(detect(history(drawn, network=Network(isp="Inter"))))
    assert event.network is not None
    assert event.network.isp == "Inter"


def test_what_is_known_of_a_network_is_kept():
    late = [replace(p, network=Network(asn=8048)) for p in history("o" * 300 + "X" * 30)[250:]]
    [event] = blocking(detect(history("o" * 250) + late))
    assert event.network is not None
    assert event.network.isp == "CANTV"


def test_overlap():
    [event] = detect(history("o" * 300 + "X" * 60 + "o" * 40))
    assert overlap(event, event)
    assert not overlap(event, replace(event, started=START + timedelta(days=9), ended=None))


# --- docs/events.md ------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parent.parent / "docs" / "events.md"
UNITS = {"": 1.0, "%": 0.01, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MODELS = {"BLOCKING": network_module.BLOCKING, "SITE_DOWN": outage.SITE_DOWN, "NETWORK_DOWN": outage.NETWORK_DOWN}
MODULES = {
    m.__name__.rsplit(".")[-1]: m for m in (episode, incidents, network_module, noise, outage, replay, series, silence)
}
# How it is done, not how much of anything.
NOT_PARAMETERS = {
    "series.HOUR", "series.DAY", "series.FEW", "series.TELLING", "noise.FAR", "noise.FIRST_RUN", "noise.CONTEXTS",
    "noise.RUNS", "replay.NEAR", "replay.FAR", "replay.BYTES_A_POINT",
}  # fmt: skip


def documented() -> dict[str, float]:
    """The parameters in the tables of docs/events.md, in seconds and shares."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows)
    return {name: value_of(told) for name, told in rows}


def value_of(told: str) -> float:
    """`6 in 365.25 d`, `12 h`, `5 %`, `1,000,000`."""
    number, every, unit = re.fullmatch(r"([\d.,]+)(?: in ([\d.]+))?(?: (\S+))?", told).groups()  # type: ignore[union-attr]
    size = float(number.replace(",", ""))
    return size / (float(every) * UNITS[unit]) if every else size * UNITS[unit or ""]


def parameters() -> dict[str, float]:
    """Every number that the modules of detection give a name, and what the models believe."""
    found = {}
    for word, module in MODULES.items():
        for node in ast.parse(Path(str(module.__file__)).read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            for name in filter(re.compile(r"_?[A-Z]\w+").fullmatch, names):
                value = getattr(module, name)
                value = value.total_seconds() if isinstance(value, timedelta) else value
                if isinstance(value, int | float):
                    found[f"{word}.{name.removeprefix('_')}"] = float(value)
    for word, model in MODELS.items():
        for field in ("onset", "end", "at_first", "in_part", "full", "part"):
            if word == "BLOCKING" or field in ("onset", "end", "at_first"):
                found[f"{word}.{field}"] = getattr(model, field)
    return found


def test_the_document_tells_every_parameter_and_its_value():
    told, used = documented(), parameters()
    assert told.keys() == used.keys() - NOT_PARAMETERS
    assert {name: pytest.approx(value) for name, value in told.items()} == {name: used[name] for name in told}


def test_the_document_tells_kinds_rules_and_fields():
    text = DOCUMENT.read_text()
    words = set(re.findall(r"`(\w+)`", text))
    assert f"last {HISTORY.days} days then (at most {MOST_HISTORY:,} verdicts)" in text
    assert words >= {*Kind, *outage.NETWORK_RULES - {""}, *Event.__struct_fields__}
