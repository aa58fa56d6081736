"""`almenara events`: what it prints of a real store, and to whom it says what."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from monitor import timeline
from monitor.cli import main
from monitor.explain import METHOD_WORDS
from monitor.models import Conditions, Event, Incident, Kind, Measurement, Network, Point, Status, Verdict
from monitor.moments import length, local_and_utc, moment
from monitor.show import sureness
from monitor.store import Store
from monitor.wording import told

CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
MOVILNET = Network(asn=27889, isp="Movilnet", country="VE", source="observed")
BEGAN = datetime(2018, 1, 15, 13, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOSTILE = "evil\x1b[2J\u202e.example"


def event(id="3fa9c1d2e4b5a697", **more) -> Event:
    known = {
        "revision": 1, "kind": Kind.BLOCKING, "site": "www.lapatilla.com", "network": CANTV, "methods": ("dns.nxdomain",),
        "started": BEGAN, "started_range": (BEGAN - 10 * MINUTE, BEGAN), "detected": BEGAN + 20 * MINUTE,
        "ended": None, "ended_range": None, "confidence": 0.9994, "measurements": 14, "probes": 3,
    }  # fmt: skip
    return Event(id=id, **(known | more))


ENDED = event(
    "3fa9ffffffffffff", site="elpitazo.net", network=MOVILNET, methods=("tls.reset",), confidence=0.9, probes=1,
    started=BEGAN + 60 * MINUTE, ended=BEGAN + 150 * MINUTE, ended_range=(BEGAN + 140 * MINUTE, BEGAN + 150 * MINUTE),
)  # fmt: skip
SILENCE = event(
    "7777777777777777", kind=Kind.SILENCE, site=None, methods=(), started=BEGAN + 300 * MINUTE, confidence=0.8,
    started_range=(None, BEGAN + 300 * MINUTE),
)  # fmt: skip
EVENTS = (event(), ENDED, SILENCE)


def measurement(number: int, started: datetime, status: Status, site="www.lapatilla.com", network=CANTV) -> Measurement:
    blocked = status is Status.BLOCKED
    verdict = Verdict(
        status=status, methods=("dns.nxdomain",) if blocked else (), confidence=0.98, confirmed=blocked,
        rule="resolver_denies" if blocked else "opens", rules_version=1,
        reasons=({"id": "resolver_denies", "resolver": "200.44.32.12", "failure": "dns_nxdomain_error", "name": site,
                  "sources": 2},) if blocked else (),
    )  # fmt: skip
    return Measurement(
        id=f"m{number:04}", url=f"https://{site}/", site=site, vantage="cantv", probe="7f3a", network=network,
        started=started, runtime=1.9, verdict=verdict, conditions=Conditions(),
    )  # fmt: skip


def history() -> list[Measurement]:
    """Every 10 minutes: two hours open, then six hours blocked, one of them inconclusive; and another network."""
    statuses = [Status.OK] * 12 + [Status.BLOCKED] * 10 + [Status.INCONCLUSIVE] + [Status.BLOCKED] * 25
    here = [measurement(i, BEGAN + 10 * (i - 12) * MINUTE, status) for i, status in enumerate(statuses)]
    return [*here, measurement(9000, BEGAN + MINUTE, Status.OK, network=MOVILNET)]


@pytest.fixture
def filled(home) -> Path:
    """A home folder with a store in its default place."""
    file = home / ".local" / "share" / "almenara" / "almenara.db"
    file.parent.mkdir(parents=True)
    incident = Incident(id="incident1", revision=2, state="updated", started=BEGAN, ended=None, events=EVENTS[:2])
    with Store.open(f"sqlite:{file}") as store:
        store.append(history())
        store.save_events(EVENTS, [incident])
    return home


class Done(NamedTuple):
    """What a command has left."""

    returncode: int
    stdout: str
    stderr: str


def almenara(*arguments: str) -> Done:
    """The command in this process: starting forty of them would take a minute."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["events", *arguments])
    return Done(ended.value.code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@pytest.fixture(autouse=True)
def in_caracas(monkeypatch) -> Iterator[None]:
    """Local time is four hours behind UTC."""
    monkeypatch.setenv("TZ", "America/Caracas")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def printed(*arguments: str) -> str:
    done = almenara(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def ids(*arguments: str) -> list[str]:
    return [json.loads(line)["id"] for line in printed("--json", *arguments).splitlines()]


def test_events_are_listed_newest_first(filled):
    assert ids() == [SILENCE.id, ENDED.id, EVENTS[0].id]


def test_a_block_that_lifted_is_told_as_open_before_its_end_is_told(filled):
    since = BEGAN + 2000 * MINUTE
    with Store.open(f"sqlite:{filled / '.local' / 'share' / 'almenara' / 'almenara.db'}") as store:
        store.append([measurement(900 + n, since + n * MINUTE, Status.OK) for n in range(3)])
    assert "going on when last measured" not in (text := printed(EVENTS[0].id))
    assert (
        f"open in the newest 3 results in a row, since {local_and_utc(since)}; the end is told when it is sure" in text
    )
    assert "✗ www.lapatilla.com was blocked on CANTV AS8048 VE, and opens in the newest results" in text
    listed = next(line for line in printed().splitlines() if EVENTS[0].id[:12] in line)
    assert "open in the newest results" in listed
    assert "going on" not in listed
    together = printed("--incidents")
    assert ("open in the newest results" in together, "going on" in together) == (True, False)


def test_a_beginning_within_a_minute_is_told_to_the_second(filled):
    short = event("abcd", started_range=(BEGAN, BEGAN + timedelta(seconds=40)), started=BEGAN + timedelta(seconds=20))
    with Store.open(f"sqlite:{filled / '.local' / 'share' / 'almenara' / 'almenara.db'}") as store:
        store.save_events([short])
    assert "between 13:05:00 and 13:05:40 UTC" in printed("abcd")


def test_the_list_says_what_where_since_when_and_how_sure(filled):
    text = printed()
    for part in ("✗ blocked", "∅ silent", "www.lapatilla.com", "CANTV AS8048 VE", "dns.nxdomain", "99.9 %", "14 by 3 probes",
                 "2018-01-15 09:05 (13:05 UTC)", "1 h 30 min", "over", "going on", "14 by 1 probe"):  # fmt: skip
        assert part in text, part


def test_json_prints_events_as_they_are(filled):
    lines = [json.loads(line) for line in printed("--json").splitlines()]
    assert lines == [told(one) for one in (SILENCE, ENDED, EVENTS[0])]
    assert lines[2]["network"] == {"asn": 8048, "isp": "CANTV", "country": "VE"}
    assert lines[2]["started"] == "2018-01-15T13:05:00Z"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kind", "silence"], [SILENCE]),
        (["--site", "elpitazo.net"], [ENDED]),
        (["--site", "HTTPS://ElPitazo.net/nota"], [ENDED]),
        (["--asn", "8048"], [SILENCE, EVENTS[0]]),
        (["--asn", "27889"], [ENDED]),
        (["--country", "VE"], [SILENCE, ENDED, EVENTS[0]]),
        (["--country", "ve"], [SILENCE, ENDED, EVENTS[0]]),
        (["--country", "CO"], []),
        (["--active"], [SILENCE, EVENTS[0]]),
        (["--since", "2018-01-15T12:00"], [SILENCE, EVENTS[0]]),  # 16:00 UTC: the other was over
        (["--since", "2018-01-15T15:35Z"], [SILENCE, ENDED, EVENTS[0]]),
        (["--since", "1d"], [SILENCE, EVENTS[0]]),
        (["--since", "1d ago"], [SILENCE, EVENTS[0]]),
        (["--until", "2018-01-15T13:30Z"], [EVENTS[0]]),
        (["--minimum-confidence", "0.9"], [ENDED, EVENTS[0]]),
        (["--active", "--kind", "blocking", "--asn", "8048"], [EVENTS[0]]),
    ],
)  # fmt: skip
def test_filters(filled, arguments, expected):
    assert ids(*arguments) == [one.id for one in expected]


def test_no_event_is_said_in_words(filled):
    assert printed("--country", "CO").strip() == "No event: nothing of the kind was found so far."
    assert printed("--country", "CO", "--json") == ""


def test_of_an_incident_each_network_is_told_with_its_own_sites(filled):
    """Not every site of it is blocked on every network, and some of it may be over."""
    ids = ("a" * 16, "b" * 16, "c" * 16)
    events = [event(ids[0], site="one.example"), event(ids[1], site="two.example"),
              event(ids[2], site="one.example", network=MOVILNET, ended=BEGAN + 600 * MINUTE)]  # fmt: skip
    together = Incident(id="d" * 16, revision=1, state="updated", started=BEGAN, ended=None, events=tuple(events))
    with Store.open(f"sqlite:{filled / '.local' / 'share' / 'almenara' / 'almenara.db'}") as store:
        store.save_events(events, [together])
    text = printed("--incidents")
    assert "CANTV AS8048 VE: one.example and two.example" in text
    assert "Movilnet AS27889 VE: one.example (over)" in text


def test_the_id_of_an_incident_that_an_alert_names_leads_to_its_events(filled):
    [line] = printed("--incidents", "--json").splitlines()
    together = json.loads(line)
    text = printed(together["id"][:6])
    assert all(one["id"][:12] in text for one in together["events"])
    assert json.loads(printed(together["id"], "--json")) == together


def test_incidents_are_listed(filled):
    text = printed("--incidents")
    assert "www.lapatilla.com" in text
    assert "Movilnet AS27889 VE" in text
    [line] = printed("--incidents", "--json").splitlines()
    assert json.loads(line)["state"] == "updated"
    assert json.loads(line)["events"][0] == told(EVENTS[0])


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--incidents"]])
def test_a_site_that_was_never_measured_is_said_to_be(filled, arguments):
    done = almenara("--site", "www.lapatila.com", *arguments)
    assert (done.returncode, done.stderr) == (
        0, "almenara: no measurement in the store is of site www.lapatila.com\n",
    )  # fmt: skip


def test_a_block_found_when_first_seen_may_be_older(filled):
    rows = [row for row in printed().splitlines() if "or earlier" in row]
    assert len(rows) == 1
    assert "silent" in rows[0]


def test_an_outage_that_one_probe_saw_is_not_told_as_the_isps(filled):
    file = filled / ".local" / "share" / "almenara" / "almenara.db"
    here = event("8" * 16, kind=Kind.NETWORK_OUTAGE, site=None, methods=(), probes=1)
    both = event("9" * 16, kind=Kind.NETWORK_OUTAGE, site=None, methods=(), probes=2)
    with Store.open(f"sqlite:{file}") as store:
        store.save_events([here, both])
    assert "▽ nothing can be reached from here over CANTV AS8048 VE\n" in printed("8888")
    assert "▽ CANTV AS8048 VE is out of order for all sites, which is no blocking of one\n" in printed("9999")
    listed = printed("--kind", "network_outage")
    assert listed.count("no connection") == listed.count("network down") == 1


def test_one_event_is_told_in_full(filled):
    text = printed("3fa9c1")
    assert "✗ www.lapatilla.com is blocked on CANTV AS8048 VE" in text
    assert "2018-01-15 09:05 (13:05 UTC), between 12:55 and 13:05 UTC" in text
    assert METHOD_WORDS["dns.nxdomain"] in text
    assert "it rests on 35 measurements by 1 probe; in that time 1 ok, 35 blocked, 1 inconclusive" in text
    assert "Measurements: 37" in text
    assert "2018-01-15 13:05:00" in text
    assert "m0012" in text
    assert (
        "the ISP's resolver 200.44.32.12 was asked for www.lapatilla.com: the name server says that the name does not exist;"
        in text
    )
    assert "and 17 more" in text
    assert "m9000" not in text  # on another network


def test_one_event_as_json_has_the_ids_of_its_measurements(filled):
    shown = json.loads(printed("3fa9c1", "--json"))
    assert shown.pop("measurement_ids") == [f"m{i:04}" for i in range(11, 48)]
    # Counted now: it was told by 14, and is told anew when they have doubled.
    assert shown == told(EVENTS[0]) | {"measurements": 35, "probes": 1}


def test_measurements_after_an_event_are_not_behind_it(filled):
    file = filled / ".local" / "share" / "almenara" / "almenara.db"
    over = event("5" * 16, ended=BEGAN + 30 * MINUTE, ended_range=(BEGAN + 20 * MINUTE, BEGAN + 30 * MINUTE))
    with Store.open(f"sqlite:{file}") as store:
        store.save_events([over])
    assert json.loads(printed("5555", "--json"))["measurement_ids"] == [f"m{i:04}" for i in range(11, 16)]
    assert "it lasted 30 min" in printed("5555")


@pytest.mark.parametrize(("confidence", "shown"), [(0.99999, "99.9 %"), (0.9, "90 %"), (1.0, "100 %"), (0.0, "0 %")])
def test_no_confidence_is_rounded_up(confidence, shown):
    assert sureness(confidence) == shown


def test_an_event_without_a_site_or_measurements_can_be_shown(filled):
    text = printed("7777")
    assert "∅ nothing has come from CANTV AS8048 VE" in text
    assert "or earlier" in text
    assert "no longer kept" not in text  # what came before it counts from its beginning on


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["3fa9"], 1, "2 events begin with 3fa9: 3fa9c1d2e4b5a697, 3fa9ffffffffffff"),
        (["00"], 1, "no event has the id 00"),
        (["\x1b[2J"], 1, "no event has the id"),
        (["3fa9c1", "--incidents"], 2, "--incidents"),
        (["3fa9c1", "--active"], 2, "EVENT"),
        (["--site", "a b"], 2, "expected a site such as www.example.org"),
        (["--since", "yesterday"], 2, "expected a date"),
        (["--kind", "war"], 2, "--kind"),
        (["--country", "ven"], 2, "two capital letters"),
        (["--since", "1h", "--until", "2h"], 2, "--until: expected a time after --since, got '2h' and '1h'"),
        (["--minimum-confidence", "2"], 2, "--minimum-confidence"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(filled, arguments, code, says):
    done = almenara(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_without_a_store_there_is_one_line_and_no_store_is_made(home):
    done = almenara()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "almenara.db" in done.stderr
    assert not list(home.rglob("*.db"))


def test_a_store_that_the_configuration_names(filled):
    (filled / "probes.yaml").write_text("store: sqlite:other.db\n")
    done = almenara()
    assert done.returncode == 1
    assert "other.db" in done.stderr


def test_names_from_strangers_do_not_reach_the_terminal(filled):
    file = filled / ".local" / "share" / "almenara" / "almenara.db"
    evil = Network(asn=1, isp=HOSTILE, country="\x1b", source="observed")
    strange = event("8" * 16, site=HOSTILE, network=evil, methods=(HOSTILE,))
    with Store.open(f"sqlite:{file}") as store:
        store.append([measurement(1, BEGAN, Status.BLOCKED, site=HOSTILE, network=evil)])
        store.save_events([strange])
    for text in (printed(), printed("8888")):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "evil�[2J�.example" in text


# The timeline.


def points(pattern: str, since: datetime, every: timedelta) -> list[Point]:
    statuses = {"o": Status.OK, "X": Status.BLOCKED, "?": Status.INCONCLUSIVE, "d": Status.DOWN}
    return [
        Point(id=str(i), site="s", network=CANTV, probe="p", started=since + i * every, status=statuses[letter])
        for i, letter in enumerate(pattern)
        if letter != " "
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("ooXXX??Xoo  dd", "✓✓✗✗✗??✗✓✓··↓↓"), ("oXXo", "✓✗✗✓"), ("", "")],
)
def test_a_timeline_has_one_shape_for_each_stretch(pattern, expected):
    span = timeline.Span(since=BEGAN, stretch=10 * MINUTE, count=len(expected))
    assert timeline.line(timeline.counts(points(pattern, BEGAN, 10 * MINUTE), span)).plain == expected


def test_what_is_sometimes_blocked_within_a_stretch_is_shown_as_that():
    span = timeline.Span(since=BEGAN, stretch=60 * MINUTE, count=3)
    found = timeline.counts(points("oXoXo???o??oXXX?XX", BEGAN, 10 * MINUTE), span)
    assert timeline.line(found).plain == "~✓✗"
    assert "~ sometimes blocked" in timeline.legend(found).plain


@pytest.mark.parametrize(
    "lasts", [timedelta(0), 7 * MINUTE, timedelta(hours=5), timedelta(days=3), timedelta(days=900)]
)
@pytest.mark.parametrize("over", [True, False])
def test_a_timeline_fits_and_holds_the_event_with_a_margin(lasts, over):
    now = BEGAN + lasts + timedelta(days=2 * over)
    shown = event(ended=BEGAN + lasts if over else None)
    span = timeline.span_of(shown, now)
    assert 0 < span.count <= timeline.WIDTH
    assert span.since <= BEGAN - timeline.MARGIN
    assert span.until > (shown.ended or now)
    assert span.until <= now + span.stretch
    assert len(timeline.ruler(shown, span).plain) <= timeline.WIDTH
    assert timeline.ruler(shown, span).plain.index("└") == span.index(BEGAN)


def test_points_outside_a_timeline_are_left_out():
    span = timeline.Span(since=BEGAN, stretch=MINUTE, count=2)
    found = timeline.counts(points("X" * 10, BEGAN - 5 * MINUTE, MINUTE), span)
    assert sum(one.total() for one in found) == 2


# Moments and lengths.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-01-15T13:05Z", BEGAN),
        ("2018-01-15T09:05-04:00", BEGAN),
        ("2018-01-15 13:05:00+00:00", BEGAN),
        ("2h", BEGAN - timedelta(hours=2)),
        ("7d", BEGAN - timedelta(days=7)),
    ],
)
def test_moments_as_people_write_them(text, expected):
    assert moment(text, BEGAN) == expected


@pytest.mark.parametrize("text", ["", "now", "2018-13-01", "5", "-2h", "7w", "\x1b[2J", "9" * 400 + "d"])
def test_what_is_no_moment_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="expected") as caught:
        moment(text, BEGAN)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (5400, "1 h 30 min"), (86_460, "1 d"),
     (273_600, "3 d 4 h"), (-5, "0 s")],
)  # fmt: skip
def test_lengths_in_their_two_largest_units(seconds, expected):
    assert length(timedelta(seconds=seconds)) == expected


def test_no_moment_is_shown_otherwise_than_it_is():
    """Whatever the zone of this machine: the UTC in the text is the moment's."""
    chance = Random(7)
    for _ in range(50):
        when = BEGAN + timedelta(minutes=chance.randrange(600_000))
        assert f"{when:%H:%M} UTC" in local_and_utc(when)
