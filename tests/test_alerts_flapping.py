"""A detector that takes back and believes again does not flap the subscriber: what is in doubt must stay so to be told.

Invariant tested at the end: whatever is denied and believed again, nobody is told much, and in the end what is true.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_cases import Story, block, due, minute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.alerts import threads
from monitor.alerts.letters import Letter
from monitor.models import Event

SITE, OTHER = "a.example", "b.example"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Callable[..., Story]]:
    told: list[Story] = []

    def begin(**more: Any) -> Story:
        told.append(Story(tmp_path, **more))
        return told[-1]

    yield begin
    for one in told:
        one.store.close()


def denied(event: Event) -> Event:
    """As the detector takes an event back."""
    return replace(event, ended=event.started, ended_range=(event.started, event.started), confidence=0.0)


def whats(letters: list[Letter]) -> list[str]:
    return [letter.what.value for letter in letters]


def test_an_event_that_is_denied_and_believed_every_few_minutes_is_three_messages(story):
    told, event, letters = story(), block(SITE, 0), []
    for number in range(3, 123, 4):
        letters += told.at(number, event) + told.at(number + 2, denied(event))
    assert len(told.store.incidents()) == 1
    assert whats(letters) == ["first", "withdrawn", "again"]
    assert len({letter.thread for letter in letters}) == 1
    assert "True after all, by newer measurements: a.example on CANTV (AS8048)." in told.short(letters[2])


def test_what_stays_denied_is_corrected_when_it_has_lasted(story):
    told, event = story(), block(SITE, 0)
    told.at(3, event)
    assert whats(told.at(5, denied(event))) == ["withdrawn"]
    assert whats(told.at(8, event)) == ["again"]
    assert told.at(11, denied(event)) == []
    [(number, correction)] = told.through(12, 120)
    assert (number, correction.what) == (41, "withdrawn")
    assert told.short(correction).startswith("Correction: what was told of a.example on CANTV (AS8048).")
    assert whats(told.at(125, event)) == ["again"]
    told.at(130, denied(event))
    assert [number for number, _ in told.through(131, 300)] == [190], "longer each time"


def test_what_is_believed_again_before_that_is_told_nothing_of(story):
    told, event = story(), block(SITE, 0)
    told.at(3, event)
    told.at(5, denied(event))
    told.at(8, event)
    told.at(11, denied(event))
    assert told.at(30, event) == []
    assert told.through(31, 200, 5) == []
    assert whats(told.at(201, replace(event, ended=minute(200)))) == []  # an end must last as well by now
    assert [(number, one.what) for number, one in told.through(202, 300)] == [(230, "end")]


def test_an_event_that_another_takes_the_place_of_is_nothing_to_tell(story):
    told = story()
    told.at(3, block(SITE, 0))
    assert told.at(9, denied(block(SITE, 0)), block(SITE, 6)) == []


def test_an_end_that_is_held_is_not_told_by_a_second_thread(story):
    """A site that comes and goes, and is back as another incident while its last end is still held."""
    told = story()
    letters = told.at(3, block(SITE, 0)) + told.at(11, block(SITE, 0, 10))
    for start in (20, 60, 105):
        letters += told.at(start + 3, block(SITE, start)) + told.at(start + 6, block(SITE, start, start + 5))
        letters += [letter for _, letter in told.through(start + 7, start + 30, 3)]
    assert "first" not in whats(letters)[1:]
    assert len({letter.thread for letter in letters}) == 1


def test_corrections_of_many_sites_are_gathered(story):
    told = story()
    sites = [block(f"s{number:02}.example", 0) for number in range(40)]
    letters = told.at(3, *sites)
    for number, event in enumerate(sites[:30]):
        letters += told.at(20 + number, denied(event))
    letters += [letter for _, letter in told.through(50, 120, 2)]
    assert whats(letters) == ["first"] + ["update"] * 4
    named = [pair for letter in letters for pair in letter.parts[0].changes.withdrawn]
    assert len(named) == len(set(named)) == 30


def test_a_correction_of_what_is_over_names_that_and_not_the_others(story):
    told = story()
    told.at(3, block(SITE, 0), block(OTHER, 0))
    told.at(31, block(SITE, 0, 30), block(OTHER, 0, 30))
    [correction] = told.at(50, denied(block(OTHER, 0)))
    said = told.short(correction)
    assert said.startswith("Correction: what was told of b.example on CANTV (AS8048).")
    assert SITE not in said


def test_a_message_that_waits_is_taken_back_with_what_it_says_and_not_lost(story):
    """The channel fails: what the subscriber believes stays what the last message that arrived has said."""
    told, event = story(), block(SITE, 0)
    for number, news in ((3, event), (5, denied(event))):
        [row] = told.deliveries(number, [news])
        told.store.outbox.sent(row, minute(number))
    [again] = told.deliveries(8, [event])
    told.store.outbox.failed(again, minute(8), "refused", minute(500))
    assert told.at(11, denied(event)) == []
    assert due(told.store, minute(900)) == []
    assert believed(told) == set()
    assert whats(told.at(14, event)) == ["again"]


def believed(told: Story) -> set[str]:
    """The sites that the subscriber believes to be blocked."""
    open_threads = told.store.outbox.open_threads(told.subscriptions[0].key)
    pairs = [pair for thread in open_threads for pair in threads.decoded(thread.data).pairs.values()]
    return {str(pair.site) for pair in pairs if pair.ended is None}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("XoD"), st.integers(1, 12)), max_size=30))
def test_however_it_flaps_few_messages_come_and_the_last_are_true(tmp_path_factory, turns):
    """X: blocked, or believed again; o: it opens; D: it is denied. For two sites, and then it is calm for hours."""
    told = Story(tmp_path_factory.mktemp("story"))
    number, now, letters = 0, {}, []
    for site, turn, pause in turns:
        number += pause
        name = f"{site}.example"
        known = now.get(name)
        if turn == "X":
            is_new = known is None or known[1] == "o"
            event = block(name, number) if is_new else known[0]
        elif known is None or known[1] == "o":
            continue
        else:
            event = replace(known[0], ended=minute(number)) if turn == "o" else known[0]
        now[name] = (event, turn)
        letters += told.at(number, denied(event) if turn == "D" else event)
    told_in_the_storm = len(letters)
    for later in range(number, number + 840, 45):
        letters += told.at(later)
    assert believed(told) == {name for name, (_, turn) in now.items() if turn == "X"}
    assert told_in_the_storm <= 2 * (3 + number // 30), [letter.what for letter in letters]
    told.store.close()
