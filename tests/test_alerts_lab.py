"""A night in the lab, told: real packets and real verdicts, from the first block to the last that is lifted.

What is measured in each chapter is repeated every ten minutes of a night, so that the detector has its hours.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from alert_cases import configured
from lab_service import healthy, with_helper
from msgspec.structs import replace

from monitor.alerts import letters, messages
from monitor.alerts.desk import Desk
from monitor.alerts.letters import Letter
from monitor.conclusions import Conclusions, point_of
from monitor.config import DetectConfig
from monitor.lab.box import Lab
from monitor.lab.table import prober_on
from monitor.models import Measurement, Status
from monitor.steps.tls import client_context
from monitor.store import Sending, Store

pytestmark = pytest.mark.lab

EVERY = timedelta(minutes=10)
ISPS = ("cantv", "movilnet")
ALERTS = (
    "[{to: 'json://desk.example', name: desk, zone: America/Caracas}, {to: 'webhook:http://127.0.0.1:1/', name: hook}]"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from with_helper(23, healthy=4)


@pytest.fixture(scope="module")
def names(lab: Lab) -> list[str]:
    return healthy(lab)[:3]


async def measured(lab: Lab, names: list[str]) -> list[Measurement]:
    """Each site once on each ISP, as it is now."""
    async with AsyncExitStack() as until:
        context = client_context(str(lab.ca_file))
        probers = [prober_on(lab, isp, context, until) for isp in ISPS]
        urls = [lab.world.sites[name].url for name in names]
        return list(await asyncio.gather(*(prober.measure(url) for prober in probers for url in urls)))


class Night:
    """Its clock goes as the chapters do."""

    def __init__(self, store: Store) -> None:
        self.subscriptions = configured(ALERTS)
        self.store, self.desk = store, Desk(self.subscriptions, ())
        self.conclusions = Conclusions(DetectConfig(), (), ())
        self.now = datetime.now(UTC) - timedelta(hours=24)
        self.number = 0

    def chapter(self, found: list[Measurement], rounds: int) -> None:
        for _ in range(rounds):
            self.now += EVERY
            points = []
            for place, one in enumerate(found):
                self.number += 1
                when = self.now - timedelta(seconds=20 * (place + 1))
                points.append(point_of(replace(one, id=f"{self.number}", started=when)))
            news = self.conclusions.add(point for point in points if point)
            self.store.save_events(news, self.conclusions.incidents(), partial(self.desk.decide_at, now=self.now))

    def told(self, name: str) -> list[Letter]:
        rows = [row for row in self.store.outbox.listed(tuple(Sending), 100)[::-1] if row.subscription == name]
        return [letters.decoded(self.store.outbox.delivery(row.id).data) for row in rows]


@pytest.fixture(scope="module")
def night(lab: Lab, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """All is open; CANTV blocks a site; then another, and Movilnet the first; one is lifted; all are."""
    folder: Path = tmp_path_factory.mktemp("night")
    with Store.open(f"sqlite:{folder}/night.db") as store:
        night = Night(store)

        def measure() -> list[Measurement]:
            return asyncio.run(measured(lab, names))

        night.chapter(measure(), 30)
        first = lab.censor("cantv", "tls-reset", names[0])
        night.chapter(measure(), 9)
        others = [lab.censor("cantv", "dns-nxdomain", names[1]), lab.censor("movilnet", "tls-reset", names[0])]
        night.chapter(measure(), 9)
        lab.lift(first)
        night.chapter(measure(), 12)
        for number in others:
            lab.lift(number)
        last = measure()
        assert {one.verdict.status for one in last if one.verdict} == {Status.OK}
        night.chapter(last, 12)
        yield night


def test_the_night_is_one_thread_of_a_first_message_updates_and_an_end(night: Night, names: list[str]):
    told = night.told("desk")
    assert [letter.what.value for letter in told] == ["first", "update", "update", "end"]
    assert len({letter.thread for letter in told}) == 1
    first, spread, left, end = (letter.parts[0] for letter in told)
    assert [pair.split("\n")[1:] for pair in first.changes.joined] == [[names[0], "AS8048"]]
    assert sorted(pair.split("\n")[1:] for pair in spread.changes.joined) == sorted(
        [[names[0], "AS27889"], [names[1], "AS8048"]]
    )
    assert [pair.split("\n")[1:] for pair in left.changes.left] == [[names[0], "AS8048"]]
    assert len(end.changes.left) == 2


def test_it_says_what_where_how_and_until_when(night: Night, names: list[str]):
    first, spread, _, end = (messages.message(letter, night.subscriptions[0]).short for letter in night.told("desk"))
    assert first.startswith(f"{names[0]} is blocked on ")
    assert "encryption cut by a reset" in first
    assert "-04 (" in first
    assert "name denied" in spread
    assert re.match(f"Over: 2 sites were blocked, [12] on \\w+ and [12] on \\w+: .*{re.escape(names[0])}", end)
    assert "Not all of it all that time." in end


def test_a_program_is_told_of_the_same_incident_revision_by_revision(night: Night):
    hooked = night.told("hook")
    revisions = [letter.parts[0].revision for letter in hooked]
    assert hooked[0].what == "first"
    assert hooked[-1].what == "end"
    assert revisions == sorted(set(revisions))
    assert {letter.thread for letter in hooked} == {night.told("desk")[0].thread}
