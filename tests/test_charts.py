"""Charts: numbers in, SVG out; gaps stay gaps, height says it as well as colour, and no text gets out of its place."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.language import words
from monitor.models import Network, Status
from monitor.web.archive import Band as Counted
from monitor.web.archive import Slot
from monitor.web.charts.bands import HEIGHT, LOW, Band, Span, bands, shapes, worst
from monitor.web.charts.lines import Series, lines
from monitor.web.charts.svg import Tick
from monitor.web.charts.waterfall import Bar, waterfall
from monitor.web.pages.periods import LENGTHS, around, buckets, period, stretches, ticks

OK, BLOCKED, DOWN, UNCLEAR = Status.OK, Status.BLOCKED, Status.DOWN, Status.INCONCLUSIVE
NOW = datetime(2026, 1, 15, 13, 5, tzinfo=UTC)
HOSTILE = "</text></svg><script>alert(1)</script>\"'&\x00"
STATE = {"o": {OK: 2}, "X": {BLOCKED: 2}, "x": {BLOCKED: 1, OK: 1}, "d": {DOWN: 1}, "?": {UNCLEAR: 1}, ".": {}}
TICKS = (Tick(0, "0:00"), Tick(50, "12:00"), Tick(100, "24:00"))


def drawn(history: str) -> dict[str, list[tuple[int, float, float]]]:
    """Class -> (column, foot, height) of each column that is drawn for a little string of a history."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for path in shapes([STATE[char] for char in history]):
        element = ElementTree.fromstring(str(path))
        for move in re.findall(r"M(\d+) ([\d.]+)v-([\d.]+)h(\d+)v", element.attrib["d"]):
            column, foot, height, count = int(move[0]), float(move[1]), float(move[2]), int(move[3])
            found.setdefault(element.attrib["class"], []).extend(
                (column + n, HEIGHT - foot, height) for n in range(count)
            )
    return found


def test_what_was_not_measured_is_not_drawn():
    assert drawn("...") == {}
    assert {column for column, _, _ in drawn("o.o")["f-ok"]} == {0, 2}


def test_what_opened_is_low_and_what_was_blocked_stands_up_by_its_share():
    found = drawn("oXx")
    assert found["f-ok"] == [(0, 0.0, LOW), (2, 0.0, LOW)]
    [whole, half] = found["f-blocked"]
    assert whole == (1, 0.0, HEIGHT)
    assert half == (2, LOW, pytest.approx((HEIGHT - LOW) / 2))


def test_what_nobody_can_judge_neither_accuses_nor_acquits():
    assert set(drawn("?")) == {"f-inconclusive"}
    assert worst(STATE["?"]) is UNCLEAR
    assert worst({BLOCKED: 1, OK: 40}) is BLOCKED
    assert worst({}) is None


def test_a_year_of_alternation_stays_small():
    assert sum(len(path) for path in shapes([STATE["oX"[n % 2]] for n in range(365)])) < 15_000
    assert sum(len(path) for path in shapes([STATE["o"]] * 365)) < 100


@given(st.lists(st.dictionaries(st.sampled_from(list(Status)), st.integers(0, 10**9)), max_size=40))
def test_nothing_is_drawn_outside_its_band(found):
    for path in shapes([Counter(one) for one in found]):
        for foot, height in re.findall(r"M\d+ (-?[\d.]+)v(-?[\d.]+)", str(path)):
            assert -0.01 <= float(foot) + float(height) <= HEIGHT


def charts(label: str) -> list[Any]:
    """One of each kind, in which everything that is text is that one."""
    band = Band(label=label, buckets=[{OK: 1}], events=[Span(-10, 250, True), Span(200, 300, False)])
    return [
        bands("id", label, label, [band], [Tick(10, label)]),
        waterfall("id", label, label, [Bar(label=label, step="dns", start=0.1, length=0.2, failed=True)], 1.0, [Tick(10, label)]),
        lines("id", label, label, [Series(label=label, points=[(10, 0.5), (20, None), (30, 2.0)])], 1.0, label, [Tick(10, label)]),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(3))
def test_a_chart_has_a_name_a_description_and_its_words_as_text(number):
    chart = ElementTree.fromstring(str(charts("Since <January>")[number]))
    assert chart.attrib["role"] == "img"
    titles = {element.attrib["id"]: element.text for element in chart if element.tag in ("title", "desc")}
    assert titles == {
        chart.attrib["aria-labelledby"]: "Since <January>",
        chart.attrib["aria-describedby"]: "Since <January>",
    }
    sized = [element for element in chart.iter() if element.tag == "text"]
    assert sized
    assert all(
        "font-size" in element.attrib for element in sized
    )  # without it nothing shows, and with no SVG nothing is to


@pytest.mark.parametrize("number", range(3))
def test_no_text_gets_out_of_its_place(number):
    text = str(charts(HOSTILE)[number])
    assert "<script" not in text
    assert "style=" not in text
    assert ElementTree.fromstring(text.replace("\0", "")) is not None


def test_a_line_is_broken_where_no_page_came():
    chart = str(
        lines("id", "", "", [Series(label="", points=[(0, 1.0), (10, 1.0), (20, None), (30, 1.0)])], 2.0, "", ())
    )
    [path] = re.findall(r'd="(M[^"]*)"', chart)
    assert path.count("M") == 2


def test_a_waterfall_keeps_what_lies_outside_in_its_frame():
    rows = [
        Bar(label="", step="tcp", start=start, length=length, failed=False)
        for start, length in ((-5, 1), (9, 99), (50, 0))
    ]
    chart = str(waterfall("id", "", "", rows, 10.0, ()))
    for x, width in re.findall(r'x="([\d.]+)%" width="([\d.]+)%"', chart):
        assert 0 <= float(x) <= float(x) + float(width) <= 100.01


# --- periods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LENGTHS)
def test_a_period_ends_with_the_step_that_now_is_in(name):
    shown = period(name, NOW, NOW)
    assert shown.until - shown.step < NOW <= shown.until
    assert shown.is_open
    assert shown.steps == LENGTHS[name][0] / LENGTHS[name][1]
    assert 3 <= len(ticks(words("en"), shown)) <= 5
    assert all(0 <= tick.at <= 100 for tick in ticks(words("en"), shown))


@pytest.mark.parametrize(
    "length", [timedelta(0), timedelta(hours=20), timedelta(days=5), timedelta(days=300), timedelta(days=4000)]
)
def test_an_event_is_shown_with_some_time_around_it(length):
    over = around(NOW - length, NOW, NOW + timedelta(days=9))
    assert over.until > NOW
    if length < timedelta(days=200):
        assert over.since < NOW - length
    assert around(NOW - length, NOW, NOW).until - NOW <= over.step


def slots(history: str, since: datetime) -> tuple[Slot, ...]:
    return tuple(
        Slot(started=since + timedelta(hours=number), counts=STATE[char], methods={})
        for number, char in enumerate(history)
        if char != "."
    )


@pytest.mark.parametrize("name", LENGTHS)
def test_no_period_lies_in_the_future(name):
    ahead, newest = period(name, NOW + timedelta(days=4000), NOW), period(name, NOW, NOW)
    assert ahead == newest
    past = period(name, NOW - timedelta(days=400), NOW)
    assert not past.is_open


def test_a_step_that_is_not_over_is_told_as_such_and_not_as_a_gap():
    shown = period("day", NOW, NOW)
    networks = (Network(asn=1), slots("o" * 23, shown.since)), (Network(asn=2), slots("o" * 20 + "....", shown.since))
    rows, _ = stretches([Counted(network=network, slots=found) for network, found in networks], shown, 100)
    told = {(row.network.asn, row.state): (row.until, row.is_new) for row in rows}
    assert told == {
        (1, OK): (shown.since + timedelta(hours=23), False), (1, None): (None, True),
        (2, OK): (shown.since + timedelta(hours=20), False), (2, None): (None, False),
    }  # fmt: skip
    over = period("day", shown.until, NOW + timedelta(days=1))
    [row], _ = stretches([Counted(network=Network(), slots=slots("o" * 24, shown.since))], over, 9)
    assert row.until == shown.until


def test_the_table_behind_a_chart_tells_the_same_stretches():
    shown = period("day", NOW, NOW)
    band = Counted(network=Network(asn=8048), slots=slots("oooXXx..?o", shown.since))
    rows, count = stretches([band], shown, 100)
    assert [row.state for row in reversed(rows)] == [OK, BLOCKED, None, UNCLEAR, OK, None]
    assert count == len(rows)
    blocked = rows[-2]
    assert (blocked.since - shown.since, blocked.until - shown.since) == (timedelta(hours=3), timedelta(hours=6))
    assert (blocked.measurements, blocked.blocked) == (6, 5)
    assert stretches([band], shown, 2)[1] == count


def test_what_lies_outside_of_a_period_is_not_in_it():
    shown = period("day", NOW, NOW)
    outside = slots("X", shown.since - timedelta(hours=5)) + slots("X", shown.until)
    assert not any(buckets(outside, shown))
