"""The live view and the log: what a volunteer, or a program, gets to read of what goes on."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from rich.console import Console

from monitor.changes import Change, Changes
from monitor.journal import FORMATS, Clock, change_text, open_journal, say, say_bug, say_change, say_verdict
from monitor.live import View, screen
from monitor.models import Conditions, Control, Event, Incident, Kind, Measurement, Network, Status, Verdict
from monitor.picture import Picture
from monitor.survival import survived
from monitor.verdict.rules import RULES
from monitor.wording import WHY_NOT_JUDGED, event_text, told

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
HOSTILE = "a\x1b[2J\x07\n\u202eb"


def verdict(status: Status = Status.OK, *methods: str, rule: str = "r") -> Verdict:
    return Verdict(
        status=status, methods=methods, confidence=None if status is Status.INCONCLUSIVE else 0.98, confirmed=False,
        rule=rule, rules_version=1,
    )  # fmt: skip


def started(event: Event) -> Change:
    return Change(what="started", event=event, before=None)


def measurement(found: Verdict, site: str = "www.lapatilla.com", at: datetime = NOON, controls=()) -> Measurement:
    return Measurement(
        id="m", url=f"https://{site}/", site=site, vantage="cantv", probe="p", network=CANTV, started=at, runtime=1.0,
        verdict=found, conditions=Conditions(), controls=controls,
    )  # fmt: skip


EVENT = Event(
    id="e", revision=1, kind=Kind.BLOCKING, site="www.lapatilla.com", network=CANTV, methods=("dns.nxdomain",),
    started=NOON, started_range=(None, NOON), detected=NOON, ended=None, ended_range=None, confidence=0.99,
    measurements=3, probes=1,
)  # fmt: skip


@pytest.fixture
def lines() -> Iterator[list[str]]:
    written: list[str] = []
    before = logging.getLogger().handlers[:], logging.getLogger().level
    yield written
    logging.getLogger().handlers[:] = before[0]
    logging.getLogger().setLevel(before[1])


def view(**more) -> View:
    plain = {
        "sites": [("https://www.lapatilla.com/", "La Patilla"), ("https://b.example/", "b.example")],
        "vantages": {"cantv": "CANTV", "movilnet": "Movilnet"}, "cells": {}, "events": (), "next_due": None,
        "running": 0, "used": 0, "budget": None, "control": "answers", "waiting": 0, "problem": None, "absent": {},
    }  # fmt: skip
    return View(**(plain | more))


def shown(what: View, height: int = 40, width: int = 140, now: datetime = NOON) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(screen(what, now, height, width))
    return out.getvalue()


def test_the_view_shows_status_as_shape_and_word_with_method_and_since():
    picture = Picture()
    picture.note(measurement(verdict()))
    picture.note(measurement(verdict(Status.BLOCKED, "dns.nxdomain"), at=NOON + timedelta(minutes=5)))
    text = shown(view(cells=picture.cells))
    assert "✗ blocked dns.nxdomain 98 % since 12:05" in text
    assert "CANTV" in text
    assert "Movilnet" in text
    assert "…" in text  # not measured yet


def test_the_view_shows_events_what_is_next_and_what_is_wrong():
    text = shown(
        view(events=[EVENT], next_due=NOON + timedelta(seconds=42), used=12_300_000, budget=50_000_000, waiting=3,
             problem="the disk is full", running=4, control="connection_reset")
    )  # fmt: skip
    for part in (
        "www.lapatilla.com has been blocked on CANTV AS8048 VE (dns.nxdomain)", "next in 42 s", "12.3 MB today of 50 MB",
        "3 sites joined a list and wait until you have seen them: almenara sites", "store: the disk is full", "4 under way",
        "control: connection_reset",
    ):  # fmt: skip
        assert part in text
    over = msgspec.structs.replace(EVENT, ended=NOON)
    assert "lapatilla" not in shown(view(sites=[], events=[over]))


def test_what_is_not_simply_ok_comes_first_and_the_rest_is_counted():
    picture = Picture()
    sites = [(f"https://s{i}.example/", f"s{i}.example") for i in range(100)]
    picture.note(measurement(verdict(Status.BLOCKED, "tls.reset"), "s77.example"))
    text = shown(view(sites=sites, cells=picture.cells), height=20)
    assert "s77.example" in text
    assert len(text.splitlines()) <= 20
    assert "+83 more" in text


SHIPPED = [(f"https://www.a-site-number-{i}.example/", f"www.a-site-number-{i}.example") for i in range(22)]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 12), (40, 8), (20, 5), (200, 60)])
@pytest.mark.parametrize("isps", [1, 2, 12])
@pytest.mark.parametrize("many", [0, 1, 7, 40])
def test_the_view_fits_the_terminal_with_events_first(width, height, isps, many):
    picture = Picture()
    picture.note(measurement(verdict(Status.BLOCKED, "dns.nxdomain", "tls.reset"), "www.a-site-number-21.example"))
    events = [
        msgspec.structs.replace(EVENT, id=str(i), site=f"www.a-site-number-{i}.example", methods=("dns.nxdomain", "tls.reset"))
        for i in range(many)
    ]  # fmt: skip
    vantages = {"cantv": "CANTV", **{f"v{i}": f"Provider {i}" for i in range(isps - 1)}}
    crowded = view(
        sites=SHIPPED, vantages=vantages, events=events, cells=picture.cells, waiting=1, problem="the disk is full " * 30,
    )  # fmt: skip
    lines = shown(crowded, height, width).splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    if height >= 12:
        assert lines[0].startswith("! www.a-site-number-0") or not many
        assert any("www.a-site" in line and "✗" in line for line in lines)
        more = [int(line[1:].split()[0]) for line in lines if "more event" in line]
        assert sum(line.startswith("! ") for line in lines) + sum(more) == many


def test_a_verdict_from_before_a_restart_is_shown_with_its_age():
    picture = Picture()
    picture.recall([("https://www.lapatilla.com/", "cantv", verdict(Status.BLOCKED, "tls.reset"), NOON)])
    later = NOON + timedelta(hours=2, minutes=5)
    assert "✗ blocked 2 h 5 min ago tls.reset" in shown(view(cells=picture.cells), now=later)
    picture.note(measurement(verdict(Status.BLOCKED, "tls.reset"), at=later))
    assert "ago" not in shown(view(cells=picture.cells), now=later)
    picture.note(measurement(verdict(Status.INCONCLUSIVE), at=later))
    assert "✗ blocked 45 s ago" in shown(view(cells=picture.cells), now=later + timedelta(seconds=45))


def test_one_site_is_not_many_sites():
    assert "1 site joined a list and waits until you have seen it" in shown(view(waiting=1))


def test_a_vantage_that_is_not_there_is_named_with_what_it_lacks():
    assert "vantage movilnet is not there: no interface eth1" in shown(view(absent={"movilnet": "no interface eth1"}))


def test_hostile_text_reaches_no_terminal():
    evil = msgspec.structs.replace(EVENT, site=HOSTILE, network=Network(isp=HOSTILE))
    text = shown(view(sites=[("u", HOSTILE)], vantages={"x": HOSTILE}, events=[evil], problem=HOSTILE, control=HOSTILE))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\u202e" not in text


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_is_one_line_whatever_is_in_it(log_format, lines):
    open_journal(log_format, lines.append)
    say("x", HOSTILE, level=logging.WARNING, site=HOSTILE)
    say_change(started(msgspec.structs.replace(EVENT, site=HOSTILE)))
    assert len(lines) == 2
    assert all(c.isprintable() for line in lines for c in line if log_format == "text")
    assert all("\x1b" not in line and "\n" not in line for line in lines)


def test_json_lines_have_time_level_event_and_fields(lines):
    open_journal("json", lines.append)
    say_change(started(EVENT))
    say_verdict(measurement(verdict(Status.BLOCKED, "tls.reset")))
    say("store_trouble", "full", level=logging.ERROR, problem="full")
    change, found, trouble = map(json.loads, lines)
    assert (change["event"], change["level"], change["change"], change["kind"]) == (
        "event", "info", "started", "blocking",
    )  # fmt: skip
    assert change["time"].endswith("Z")
    assert change["site"] == "www.lapatilla.com"
    assert (found["event"], found["vantage"], found["status"], found["methods"]) == (
        "verdict", "cantv", "blocked", ["tls.reset"],
    )  # fmt: skip
    assert (trouble["event"], trouble["level"], trouble["problem"]) == ("store_trouble", "error", "full")


def test_a_bug_is_told_with_its_traceback_and_ends_nothing(lines):
    async def broken() -> int:
        raise KeyError("lost")

    open_journal("json", lines.append)
    assert asyncio.run(survived(broken(), "measuring https://a.example/")) is None
    told = json.loads(lines[0])
    assert (told["event"], told["level"]) == ("bug", "error")
    assert "measuring https://a.example/" in told["text"]
    assert "in broken" in told["traceback"]


def test_what_is_cancelled_is_cancelled(lines):
    async def work() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        waiting = asyncio.create_task(survived(slow(), "x"))
        await begun.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert ended.is_set()

    open_journal("text", lines.append)
    asyncio.run(work())
    assert lines == []


def test_a_text_line_of_a_bug_has_the_traceback_below(lines):
    open_journal("text", lines.append)
    try:
        raise ValueError("x\x1b[2J")
    except ValueError as exc:
        say_bug("testing", exc)
    first, *trace = lines[0].split("\n")
    assert " error a bug in this program, while testing: ValueError" in first
    assert trace
    assert "\x1b" not in lines[0]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("site", ["a.example", None])
@pytest.mark.parametrize("network", [CANTV, None, Network()])
def test_every_kind_of_event_has_words(kind, site, network):
    event = msgspec.structs.replace(EVENT, kind=kind, site=site, network=network)
    over = msgspec.structs.replace(event, ended=NOON + timedelta(hours=1))
    assert "since 2026-01-15 12:00:00Z or earlier, 99 % sure" in change_text(started(event))
    told = change_text(Change(what="ended", event=over, before=event))
    assert told.startswith("over: ")
    assert "from 2026-01-15 12:00:00Z or earlier to 2026-01-15 13:00:00Z" in told
    assert not any(word in told for word in (" is ", " can ", " has "))
    assert change_text(Change(what="updated", event=event, before=event)).startswith("changed: ")
    assert change_text(Change(what="withdrawn", event=event, before=over)).startswith("withdrawn: ")
    assert "it seemed over at 2026-01-15 13:00:00Z" in change_text(Change(what="reopened", event=event, before=over))


PERIOD = timedelta(minutes=30)


def changed(**fields) -> Event:
    return msgspec.structs.replace(EVENT, **fields)


def news(*events: Event, known: tuple[Event, ...] = ()) -> list[str | None]:
    changes = Changes()
    changes.recall(known)
    return [change and change.what for change in (changes.news(event, PERIOD) for event in events)]


def test_a_little_surer_is_no_news():
    surer = [changed(revision=i, confidence=0.95 + i / 100, measurements=2**i) for i in range(5)]
    assert news(*surer) == ["started", None, None, None, None]


def test_what_begins_ends_goes_on_after_all_and_is_withdrawn_is_news():
    over = changed(ended=NOON + timedelta(hours=1))
    gone = changed(ended=NOON, confidence=0.0)
    assert news(EVENT, over, over, EVENT, gone, gone, EVENT) == [
        "started", "ended", None, "reopened", "withdrawn", None, "reopened",
    ]  # fmt: skip
    assert news(over) == ["ended"]
    assert news(gone) == [None]
    assert news(EVENT, over, known=(EVENT,)) == [None, "ended"]


def test_methods_and_dates_are_news_once_and_beyond_a_period():
    more = changed(methods=("tls.reset", "dns.nxdomain"))
    assert news(EVENT, more, EVENT, more) == ["started", "updated", None, None]
    early, later = changed(started=NOON - PERIOD), changed(started=NOON + PERIOD + timedelta(seconds=1))
    assert news(EVENT, early, later) == ["started", None, "updated"]
    over, still = changed(ended=NOON + PERIOD), changed(ended=NOON + 3 * PERIOD)
    assert news(over, still) == ["ended", "updated"]


def test_an_outage_that_one_probe_saw_is_not_the_isps():
    one = changed(kind=Kind.NETWORK_OUTAGE, site=None, methods=())
    assert event_text(one).startswith("nothing can be reached from here over CANTV AS8048 VE since ")
    assert event_text(msgspec.structs.replace(one, ended=NOON)).startswith("nothing could be reached from here over ")
    assert "CANTV AS8048 VE has been out of order for all sites since" in event_text(
        msgspec.structs.replace(one, probes=2)
    )


def test_no_event_is_certain():
    assert "99.7 % sure" in event_text(changed(confidence=0.997))
    assert "99.9 % sure" in event_text(changed(confidence=0.99999))


def test_events_as_json_are_those_of_the_contract():
    late = changed(started=NOON + timedelta(microseconds=123_999), detected=NOON + timedelta(microseconds=999))
    json_event = told(late)
    assert json_event["network"] == {"asn": 8048, "isp": "CANTV", "country": "VE"}
    assert json_event["started"] == "2026-01-15T12:00:00.123Z"
    assert json_event["detected"] == "2026-01-15T12:00:00Z"
    assert json_event["started_range"] == [None, "2026-01-15T12:00:00Z"]
    assert msgspec.convert(json_event, Event).site == EVENT.site
    incident = Incident(id="i", revision=1, state="started", started=NOON, ended=None, events=(late,))
    assert told(incident)["events"] == [json_event]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES if rule.status is Status.INCONCLUSIVE])
def test_a_line_says_why_nothing_can_be_said(rule, lines):
    open_journal("text", lines.append)
    say_verdict(measurement(verdict(Status.INCONCLUSIVE, rule=rule)))
    open_journal("json", lines.append)
    say_verdict(measurement(verdict(Status.INCONCLUSIVE, rule=rule)))
    assert lines[0].endswith(f"www.lapatilla.com on cantv cannot be judged: {WHY_NOT_JUDGED[rule]}")
    assert len(WHY_NOT_JUDGED[rule]) < 64
    assert len(json.loads(lines[1])["reason"]) > 20


def test_a_wrong_clock_is_named_once_and_so_is_that_it_is_right(lines):
    open_journal("text", lines.append)
    clock = Clock()
    for offset in (None, 0.2, -6 * 366 * 86400.0, None, -6 * 366 * 86400.0, 0.1, 0.2, 3 * 86400.0):
        clock.note(offset)
    wrong, right, fast = lines
    assert "warning this machine's clock is 6 years slow: set it" in wrong
    assert right.endswith("clock is right again")
    assert "3 d fast" in fast


def test_only_changes_are_worth_a_line():
    picture = Picture()
    assert not picture.note(measurement(verdict()))
    assert not picture.note(measurement(verdict()))
    assert not picture.note(measurement(verdict(Status.INCONCLUSIVE)))
    assert picture.note(measurement(verdict(Status.BLOCKED, "tls.reset")))
    assert not picture.note(measurement(verdict(Status.INCONCLUSIVE)))
    assert not picture.note(measurement(verdict(Status.BLOCKED, "tls.reset")))
    assert picture.note(measurement(verdict(Status.BLOCKED, "tcp.timeout")))
    assert picture.note(measurement(verdict()))
    assert picture.note(measurement(verdict(Status.DOWN), "b.example"))  # at first sight
    picture.only({"https://b.example/"})
    assert [url for url, _ in picture.cells] == ["https://b.example/"]


def test_what_was_known_before_a_restart_is_no_change():
    picture = Picture()
    picture.recall([("https://www.lapatilla.com/", "cantv", verdict(Status.BLOCKED, "tls.reset"), NOON)])
    assert not picture.note(measurement(verdict(Status.BLOCKED, "tls.reset")))


def test_the_control_is_well_when_one_answers():
    picture = Picture()
    failing = Control(kind="helper", id="h", failure="connection_reset")
    picture.note(measurement(verdict(), controls=(failing,)))
    assert picture.control == "connection_reset"
    picture.note(measurement(verdict(), controls=(failing, Control(kind="helper", id="h", failure=None))))
    assert picture.control == "answers"
