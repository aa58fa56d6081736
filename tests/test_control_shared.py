"""One control for a site measured on several vantages: who asks, what for, and what each vantage gets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from monitor.control import shared
from monitor.control.protocol import MOST_ENDPOINTS
from monitor.control.shared import OWN_ASKING_S, Line, Together
from monitor.models import Control, Tcp

URL = "https://www.lapatilla.com/"
A, B, C = ("192.0.2.1", 443), ("192.0.2.2", 443), ("192.0.2.3", 443)


class Helper:
    """A control as one vantage reaches it. asked: the addresses of each question."""

    def __init__(self, you: str, *, failure: str | None = None, wait: asyncio.Event | None = None) -> None:
        self.seen_as: set[str] = set()
        self.asked: list[list[tuple[str, int]]] = []
        self.failure, self._you, self._wait = failure, you, wait
        self.begun = asyncio.Event()

    async def ask(
        self, url: str, *, addresses: Sequence[tuple[str, int]], hop: int, attempts: int
    ) -> tuple[Control, ...]:
        self.asked.append(list(addresses))
        self.begun.set()
        if self._wait:
            await self._wait.wait()
        await asyncio.sleep(0)
        if self.failure:
            return (Control(kind="helper", id="h", failure=self.failure),)
        self.seen_as.add(self._you)
        tcp = tuple(
            Tcp(hop=hop, attempt=1, started=0.0, duration=0.1, failure=None, address=a, port=p, sources=("control",))
            for a, p in addresses
        )
        return (Control(kind="helper", id="h", failure=None, tcp=tcp),)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


async def warm(*lines: Line) -> None:
    """Each has asked for itself lately, in this order."""
    for line in lines:
        await line.ask(URL, addresses=(), hop=0, attempts=1)
        line.own.asked.clear()


async def ask(asker: Any, *addresses: tuple[str, int], hop: int = 0, attempts: int = 1) -> tuple[Control, ...]:
    return await asker.ask(URL, addresses=addresses, hop=hop, attempts=attempts)


def tried(controls: Sequence[Control]) -> set[str]:
    return {one.address for control in controls for one in control.tcp}


def test_one_question_for_what_all_need():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        async with Together(2) as together:
            first, second = await asyncio.gather(ask(together.on(one), A, B), ask(together.on(two), B, C))
        assert first == second
        assert tried(first) == {A[0], B[0], C[0]}
        assert (one.own.asked, two.own.asked) == ([[A, B, C]], [])

    run(work)


def test_they_take_turns_in_asking():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        for _ in range(4):
            async with Together(2) as together:
                await asyncio.gather(ask(together.on(one), A), ask(together.on(two), A))
        assert (len(one.own.asked), len(two.own.asked)) == (2, 2)

    run(work)


def test_a_vantage_that_has_not_asked_lately_asks_itself_to_learn_its_own_address():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        async with Together(2) as together:
            askers = together.on(one), together.on(two)
            await asyncio.gather(ask(askers[0], A), ask(askers[1], A))
        assert [asker.seen_as for asker in askers] == [{"198.51.100.1"}, {"198.51.100.2"}]
        assert (len(one.own.asked), len(two.own.asked)) == (1, 1)
        one.asked_at -= OWN_ASKING_S + 1
        two.asked_at -= OWN_ASKING_S + 1
        async with Together(2) as together:
            await asyncio.gather(ask(together.on(one), A), ask(together.on(two), A))
        assert (len(one.own.asked), len(two.own.asked)) == (2, 2)

    run(work)


def test_no_vantage_is_given_the_address_of_another():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        async with Together(2) as together:
            askers = together.on(one), together.on(two)
            await asyncio.gather(ask(askers[0], A), ask(askers[1], A))
        assert [asker.seen_as for asker in askers] == [{"198.51.100.1"}, {"198.51.100.2"}]

    run(work)


def test_who_comes_late_asks_only_for_what_nobody_asked_for():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(two, one)
        async with Together(2) as together:
            await ask(together.on(one), A)
            late = await ask(together.on(two), A, C)
            assert tried(late) == {A[0], C[0]}
            assert two.own.asked == [[A]] or two.own.asked == [[C]]
        assert sum(map(len, (one.own.asked, two.own.asked))) == 2

    run(work)


def test_nobody_is_waited_for_who_has_finished():
    async def work() -> None:
        one = Line(Helper("198.51.100.1"))
        await warm(one)
        async with Together(2) as together:
            asking = asyncio.create_task(ask(together.on(one), A))
            await asyncio.sleep(0)
            together.left()
            async with asyncio.timeout(0.5):
                await asking

    run(work)


def test_a_helper_that_one_vantage_cannot_reach_is_reached_over_another():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1", failure="connection_reset")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        async with Together(2) as together:
            found = await asyncio.gather(ask(together.on(one), A), ask(together.on(two), A))
        for controls in found:
            assert any(control.failure is None for control in controls)
        assert (len(two.own.asked)) == 1

    run(work)


def test_a_helper_that_keeps_one_vantage_waiting_is_asked_over_another(monkeypatch):
    """And who does not answer is asked last from then on, and never twice."""

    async def work() -> None:
        monkeypatch.setattr(shared, "PATIENCE_AT_FIRST_S", 0.05)
        one, two = Line(Helper("198.51.100.1", wait=asyncio.Event())), Line(Helper("198.51.100.2"))
        one.asked_at = 0.0
        for _ in range(3):
            async with Together(2) as together:
                hanging = asyncio.create_task(ask(together.on(one), A))
                async with asyncio.timeout(5):
                    assert tried(await ask(together.on(two), A)) == {A[0]}
                hanging.cancel()
                await asyncio.gather(hanging, return_exceptions=True)
        assert (len(one.own.asked), len(two.own.asked)) == (1, 3)

    run(work)


def test_a_helper_that_takes_long_and_is_known_to_answer_is_asked_once(monkeypatch):
    async def work() -> None:
        monkeypatch.setattr(shared, "PATIENCE_AT_FIRST_S", 0.05)
        wait = asyncio.Event()
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        one.own._wait = wait
        async with Together(2) as together:
            both = asyncio.gather(ask(together.on(one), A), ask(together.on(two), A))
            asyncio.get_running_loop().call_later(0.3, wait.set)
            await both
        assert two.own.asked == []

    run(work)


def test_where_no_vantage_reaches_a_control_each_has_tried():
    async def work() -> None:
        one, two = (Line(Helper(you, failure="generic_timeout_error")) for you in ("198.51.100.1", "198.51.100.2"))
        async with Together(2) as together:
            found = await asyncio.gather(ask(together.on(one), A), ask(together.on(two), A))
        assert all(control.failure for controls in found for control in controls)
        assert (len(one.own.asked), len(two.own.asked)) == (1, 1)

    run(work)


@pytest.mark.parametrize("other", [{"hop": 1}, {"attempts": 3}])
def test_another_hop_or_more_attempts_is_another_question(other):
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        async with Together(2) as together:
            await asyncio.gather(ask(together.on(one), A), ask(together.on(two), A, **other))
        assert (len(one.own.asked), len(two.own.asked)) == (1, 1)

    run(work)


def test_a_vantage_that_asks_again_gets_a_new_answer():
    async def work() -> None:
        one = Line(Helper("198.51.100.1"))
        async with Together(1) as together:
            asker = together.on(one)
            await ask(asker, A)
            await ask(asker, A)
        assert one.own.asked == [[A], [A]]

    run(work)


def test_who_runs_out_of_time_does_not_take_the_answer_with_it():
    async def work() -> None:
        wait = asyncio.Event()
        one, two = Line(Helper("198.51.100.1", wait=wait)), Line(Helper("198.51.100.2"))
        await warm(two)
        one.asked_at = 0.0
        async with Together(2) as together:
            hasty = asyncio.create_task(ask(together.on(one), A))
            patient = asyncio.create_task(ask(together.on(two), A))
            await one.own.begun.wait()
            hasty.cancel()
            await asyncio.gather(hasty, return_exceptions=True)
            wait.set()
            assert tried(await patient) == {A[0]}
        assert two.own.asked == []

    run(work)


def test_the_end_of_the_round_ends_what_is_being_asked():
    async def work() -> None:
        before = asyncio.all_tasks()
        one = Line(Helper("198.51.100.1", wait=asyncio.Event()))
        async with Together(1) as together:
            asking = asyncio.create_task(ask(together.on(one), A))
            await one.own.begun.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert asyncio.all_tasks() == before

    run(work)


def test_no_more_is_asked_for_than_a_question_may_hold():
    async def work() -> None:
        one, two = Line(Helper("198.51.100.1")), Line(Helper("198.51.100.2"))
        await warm(one, two)
        many = [(f"192.0.2.{i}", 443) for i in range(MOST_ENDPOINTS)]
        async with Together(2) as together:
            first, second = await asyncio.gather(
                ask(together.on(one), *many), ask(together.on(two), B, ("203.0.113.9", 443))
            )
        assert max(map(len, one.own.asked + two.own.asked)) <= MOST_ENDPOINTS
        assert "203.0.113.9" in tried(second)
        assert set(dict(many)) <= tried(first)

    run(work)
