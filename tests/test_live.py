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

from monitor.journal import FORMATS, change_text, open_journal, say, say_bug, say_change, say_verdict
from monitor.live import View, screen
from monitor.models import Conditions, Control, Event, Kind, Measurement, Network, Status, Verdict
from monitor.picture import Picture
from monitor.survival import survived

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
HOSTILE = "a\x1b[2J\x07\n\u202eb"


def verdict(status: Status = Status.OK, *methods: str) -> Verdict:
    return Verdict(
        status=status, methods=methods, confidence=None if status is Status.INCONCLUSIVE else 0.98, confirmed=False,
        rule="r", rules_version=1,
    )  # fmt: skip


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
        "running": 0, "used": 0, "budget": None, "control": "answers", "waiting": 0, "problem": None,
    }  # fmt: skip
    return View(**(plain | more))


def shown(what: View, height: int = 40, width: int = 140) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(screen(what, NOON, height))
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
        "www.lapatilla.com on CANTV AS8048 is blocked (dns.nxdomain)", "next in 42 s", "12.3 MB today of 50 MB",
        "3 sites joined a list and wait: almenara sites", "store: the disk is full", "4 under way",
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
    assert "more" in text


def test_hostile_text_reaches_no_terminal():
    evil = msgspec.structs.replace(EVENT, site=HOSTILE, network=Network(isp=HOSTILE))
    text = shown(view(sites=[("u", HOSTILE)], vantages={"x": HOSTILE}, events=[evil], problem=HOSTILE, control=HOSTILE))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\u202e" not in text


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_is_one_line_whatever_is_in_it(log_format, lines):
    open_journal(log_format, lines.append)
    say("x", HOSTILE, level=logging.WARNING, site=HOSTILE)
    say_change(msgspec.structs.replace(EVENT, site=HOSTILE))
    assert len(lines) == 2
    assert all(c.isprintable() for line in lines for c in line if log_format == "text")
    assert all("\x1b" not in line and "\n" not in line for line in lines)


def test_json_lines_have_time_level_event_and_fields(lines):
    open_journal("json", lines.append)
    say_change(EVENT)
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
    assert change_text(event)
    assert change_text(msgspec.structs.replace(event, ended=NOON, revision=4)).startswith("over: ")
    assert change_text(msgspec.structs.replace(event, revision=4)).startswith("changed: ")


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
    picture.recall([("https://www.lapatilla.com/", "cantv", verdict(Status.BLOCKED, "tls.reset"))])
    assert not picture.note(measurement(verdict(Status.BLOCKED, "tls.reset")))


def test_the_control_is_well_when_one_answers():
    picture = Picture()
    failing = Control(kind="helper", id="h", failure="connection_reset")
    picture.note(measurement(verdict(), controls=(failing,)))
    assert picture.control == "connection_reset"
    picture.note(measurement(verdict(), controls=(failing, Control(kind="helper", id="h", failure=None))))
    assert picture.control == "answers"
