"""One number, or why there are two: what a bundle, a page and a command say of how much an event rests on."""

import json
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from evidence_cases import (
    BEGAN,
    CANTV,
    EVENT,
    EVERY,
    almenara,
    blocked_page,
    false_certificate,
    files_of,
    lines,
    made,
    of_a_volunteer,
    opens,
    plain,
    the_event,
)
from web_cases import served

from monitor import backing
from monitor.events import detect
from monitor.evidence.compilation import Compilation
from monitor.evidence.errors import NotWritten
from monitor.evidence.gathering import gathered
from monitor.evidence.minisign import new_key
from monitor.language import words
from monitor.models import Event, Incident, Kind, Network, Point, Status
from monitor.store import Store

MOVILNET = Network(asn=27889, isp="Movilnet", country="VE")


def stored(home: Path, events: list[Event], blocked: int, opened: int = 0) -> None:
    """So many measurements from the beginning of the event on, by two probes in turn."""
    every = [false_certificate()] * blocked + [opens()] * opened
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(one, number) for number, one in enumerate(every)])
        store.save_events(events)


# --- how many measurements, how many probes --------------------------------------------------------------------------


def test_everybody_counts_what_is_stored_and_not_what_was_told_last(home: Path) -> None:
    stored(home, [the_event(ended=None, ended_range=None, measurements=3, probes=1)], 7)
    (home / "probes.yaml").write_text("store: sqlite:almenara.db\n")
    files = files_of(made(home, EVENT, "b"))
    told = json.loads(files["event.json"])
    assert (told["measurements"], told["probes"], told["revision"]) == (7, 2, 4)
    assert json.loads(files["summary.json"])["statuses"] == {"blocked": 7}
    text = plain(files["report.html"])
    assert "99%, by 7 measurements of 2 probes" in text
    assert "It was told by" not in text
    listed = json.loads(almenara(home, "events", "3fa9", "--json").stdout)
    assert (listed["measurements"], listed["probes"], len(listed["measurement_ids"])) == (7, 2, 7)
    assert "it rests on 7 measurements by 2 probes; in that time 7 blocked" in almenara(home, "events", "3fa9").stdout
    with served(f"sqlite:{home / 'almenara.db'}") as client:
        page = plain(client.get(f"/events/{EVENT}").content)
    assert "7 measurements by 2 probes" in page
    assert "7 of 7 measurements of that time" in page


def test_measurements_that_are_no_longer_kept_are_told_of(home: Path) -> None:
    stored(home, [the_event(measurements=17)], 5, 1)
    files = files_of(made(home, EVENT, "b"))
    assert json.loads(files["event.json"])["measurements"] == 5
    assert "by 5 measurements of 2 probes . It was told by 17: the others are no longer kept." in plain(
        files["report.html"]
    ).replace("probes.", "probes .")


def histories(count: int) -> list[list[Point]]:
    """Two weeks of a site, blocked in full now and then, with a little noise; and another site beside it."""
    found = []
    for seed in range(count):
        chance, blocked = Random(seed), False
        points = []
        for number in range(1200):
            blocked = blocked if chance.random() > 0.01 else not blocked
            noisy = chance.random() < 0.01
            for site, bad in (("a.example", blocked), ("b.example", False)):
                status = Status.INCONCLUSIVE if noisy else Status.BLOCKED if bad else Status.OK
                points.append(
                    Point(
                        id=f"{site}{number}", site=site, network=CANTV, probe=f"p{number % 3}", status=status,
                        started=BEGAN + number * EVERY, methods=("tls.reset",) if bad else (), confidence=0.95,
                    )
                )  # fmt: skip
        found.append(points)
    return found


def test_what_is_counted_is_what_the_detector_counts() -> None:
    compared = 0
    for points in histories(8):
        for event in detect(points):
            if event.kind is Kind.BLOCKING:
                own = [point for point in points if point.site == event.site]
                again = backing.counted(msgspec.structs.replace(event, measurements=1, probes=1), own)
                assert (again.measurements, again.probes) == (event.measurements, event.probes)
                compared += 1
    assert compared > 20


def test_who_measured_is_not_counted_where_it_is_not_told() -> None:
    points = [msgspec.structs.replace(point, probe="") for point in histories(1)[0]]
    event = the_event(site="a.example", started=BEGAN, ended=None, probes=5)
    assert backing.counted(event, points).probes == 5


# --- an end that is not told yet -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "more", "since"),
    [
        ("XXXX", {}, None), ("XXXXoo", {}, (4, 2)), ("XXXXooX", {}, None), ("XXXXoX?o?o", {}, (7, 2)), ("XXXX??", {}, None),
        ("XXXXod", {}, None), ("XXXXdo", {}, (5, 1)), ("XXXXoo", {"ended": BEGAN + 9 * EVERY}, None),
        ("XXXXoo", {"confidence": 0.0}, None), ("    oo", {}, (4, 2)), ("ddddoo", {"kind": Kind.SITE_OUTAGE}, (4, 2)),
        ("ddddoX", {"kind": Kind.SITE_OUTAGE}, None), ("????oo", {"kind": Kind.NETWORK_OUTAGE, "site": None}, (4, 2)),
        ("????oo?", {"kind": Kind.NETWORK_OUTAGE, "site": None}, None), ("", {}, None), ("oXXXX", {}, None),
    ],
)  # fmt: skip
def test_the_newest_results_tell_that_it_opens_before_the_end_is_told(pattern: str, more: Any, since: Any) -> None:
    statuses = {"o": Status.OK, "X": Status.BLOCKED, "?": Status.INCONCLUSIVE, "d": Status.DOWN}
    points = [
        Point(id=str(n), site="s", network=CANTV, probe="p", started=BEGAN + n * EVERY, status=statuses[letter])
        for n, letter in enumerate(pattern)
        if letter != " "
    ]
    fields = {"started": BEGAN, "detected": BEGAN + 2 * EVERY, "ended": None, "ended_range": None} | more
    expected = (BEGAN + since[0] * EVERY, since[1]) if since else None
    assert backing.opens_since(the_event(**fields), points[::-1]) == expected


A, B = {"probe": "a"}, {"probe": "b"}
PLAIN, SECURE = {"url": "http://s/"}, {"url": "https://s/"}


@pytest.mark.parametrize(
    ("seen", "more", "since"),
    [
        ([("X", A), ("X", A), ("X", A), ("o", B)], {}, None),  # who asks another resolver always got in
        ([("X", A), ("o", B), ("X", A), ("o", B), ("o", B)], {}, None),
        ([("X", A), ("o", B), ("X", A), ("o", B), ("o", A)], {}, (3, 2)),
        ([("X", A), ("X", B), ("X", A), ("X", B), ("o", A), ("o", B)], {}, (4, 2)),
        ([("X", PLAIN), ("o", SECURE), ("X", PLAIN), ("o", SECURE)], {}, None),  # only one of its addresses is blocked
        ([("X", PLAIN), ("o", SECURE), ("X", PLAIN), ("o", SECURE), ("o", PLAIN)], {}, (3, 2)),
        ([("X", {"vantage": "a"}), ("X", {"vantage": "a"}), ("X", {"vantage": "a"}), ("o", {"vantage": "b"})], {}, None),
        ([("?", PLAIN), ("?", PLAIN), ("?", PLAIN), ("o", SECURE)], {"kind": Kind.NETWORK_OUTAGE, "site": None}, (3, 1)),
    ],
)  # fmt: skip
def test_who_always_got_in_does_not_tell_that_it_opens(seen: Any, more: Any, since: Any) -> None:
    statuses = {"o": Status.OK, "X": Status.BLOCKED, "?": Status.INCONCLUSIVE}
    points = [
        Point(
            id=str(n), site="s", network=CANTV, started=BEGAN + n * EVERY, status=statuses[letter],
            **{"probe": "p", **who},
        )
        for n, (letter, who) in enumerate(seen)
    ]  # fmt: skip
    fields = {"started": BEGAN, "detected": BEGAN + 2 * EVERY, "ended": None, "ended_range": None} | more
    expected = (BEGAN + since[0] * EVERY, since[1]) if since else None
    assert backing.opens_since(the_event(**fields), points) == expected


# --- several networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "probes"),
    [
        ([(CANTV, 2)], 2),
        ([(CANTV, 2), (CANTV, 3)], 3),  # two sites: most likely the same
        ([(CANTV, 1), (MOVILNET, 1)], 2),
        ([(CANTV, 2), (MOVILNET, 1), (MOVILNET, 4)], 6),
        ([(Network(isp="A"), 1), (Network(isp="B"), 1), (None, 3)], 5),
    ],
)
def test_an_incidents_probes_are_those_of_its_networks_together(seen: list[Any], probes: int) -> None:
    assert backing.probes([the_event(network=network, probes=count) for network, count in seen]) == probes


# --- until -----------------------------------------------------------------------------------------------------------


def test_until_cuts_the_event_itself(home: Path) -> None:
    stored(home, [the_event(methods=("http.blockpage", "tls.certificate"))], 18, 1)
    until = (BEGAN + 6 * EVERY).isoformat()
    files = files_of(made(home, EVENT, "b", until=until))
    told = json.loads(files["event.json"])
    assert (told["ended"], told["ended_range"], told["measurements"]) == (None, None, 6)
    assert told["methods"] == ["tls.certificate"]
    text = plain(files["report.html"])
    assert "not over when last measured" in text
    assert "What was measured at 15 Jan 2018, 14:05 UTC and later is left out." in text
    assert json.loads(files["summary.json"])["until"] == "2018-01-15T14:05:07.123000Z"
    over = files_of(made(home, EVENT, "over", until=(BEGAN + 19 * EVERY).isoformat()))
    assert json.loads(over["event.json"])["ended"] == "2018-01-15T16:05:00Z"


def test_until_before_it_was_known_there_is_nothing_to_tell(home: Path) -> None:
    stored(home, [the_event()], 18, 1)
    for until in (BEGAN - EVERY, BEGAN + EVERY, BEGAN + 3 * EVERY):  # that is when it was detected
        with pytest.raises(NotWritten, match="nothing was known of it before 2018-01-15"):
            made(home, EVENT, "b", until=until.isoformat())


def test_until_leaves_out_of_an_incident_what_came_later(home: Path) -> None:
    later = msgspec.structs.replace(
        the_event(), id="ffff000011112222", site="other.example", started=BEGAN + 9 * EVERY, detected=BEGAN + 12 * EVERY
    )
    incident = Incident(
        id="9c0ffee000000001", revision=7, state="ended", started=BEGAN, ended=the_event().ended,
        events=(the_event(), later),
    )  # fmt: skip
    stored(home, [the_event(), later], 18, 1)
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.save_events([], [incident])
    told = json.loads(files_of(made(home, "9c0ffee", "b", until=(BEGAN + 10 * EVERY).isoformat()))["incident.json"])
    assert [event["id"] for event in told["events"]] == [EVENT]
    assert (told["state"], told["ended"]) == ("updated", None)


# --- how large -------------------------------------------------------------------------------------------------------


def test_what_verify_would_not_read_is_not_written(home: Path) -> None:
    stored(home, [the_event()], 3)
    with Store.open(f"sqlite:{home / 'almenara.db'}", create=False) as store:
        found = gathered(store, the_event(), None)
    assert found is not None
    (home / "b").mkdir()
    with pytest.raises(NotWritten, match="larger than a bundle may be: --until cuts it"):
        Compilation(found, home / "b", words("en"), new_key()).write(pdf=False, most=10_000)


# --- whole bundles ---------------------------------------------------------------------------------------------------


def test_an_incident_has_a_bundle_of_all_its_events(home: Path) -> None:
    own = [of_a_volunteer(blocked_page(), number) for number in range(3)]
    others = [
        msgspec.structs.replace(one, id=f"x{one.id}", network=MOVILNET, vantage="movilnet", probe=one.probe[::-1])
        for one in own
    ]
    events = (the_event(), msgspec.structs.replace(the_event(), id="ffff000011112222", network=MOVILNET))
    incident = Incident(
        id="9c0ffee000000001", revision=7, state="ended", started=BEGAN, ended=events[0].ended, events=events
    )
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([*own, *others])
        store.save_events(events, [incident])
    files = files_of(made(home, "9c0ffee", "b"))
    told = json.loads(files["incident.json"])
    assert (told["id"], len(told["events"]), "event.json" in files) == ("9c0ffee000000001", 2, False)
    assert len(lines(files["measurements.jsonl"])) == 6
    assert b"elpitazo.example was blocked on CANTV AS8048 VE and Movilnet AS27889 VE" in files["report.html"]
    assert b"CANTV, Movilnet" in files["report.html"]
    # Two lines of CANTV, one of Movilnet that is another probe there, whoever's it is.
    text = plain(files["report.html"])
    assert "6 measurements of 4 probes" in text
    assert json.loads(files["summary.json"])["probes"] == backing.probes(incident.events) == 4
    assert "4 probes made them. A machine is another probe on each network, so that nobody can tell" in text


def test_what_goes_on_is_told_as_far_as_it_was_measured(home: Path) -> None:
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(6)])
        store.save_events([the_event(ended=None, ended_range=None)])
    now = files_of(made(home, EVENT, "now"))
    assert b"is blocked on CANTV" in now["report.html"]
    assert b"not over when last measured" in now["report.html"]
    until = (BEGAN + 4 * EVERY).isoformat()
    before = files_of(made(home, EVENT, "before", until=until))
    assert len(lines(before["measurements.jsonl"])) == 4
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(6, 9)])
    later = files_of(made(home, EVENT, "later", until=until))
    assert later["SHA256SUMS"] == before["SHA256SUMS"]


def test_an_event_whose_measurements_are_gone_says_that_it_proves_nothing(home: Path) -> None:
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.save_events([the_event()])
    files = files_of(made(home, EVENT, "b"))
    assert b"are no longer kept" in files["report.html"]
    assert lines(files["measurements.jsonl"]) == []
