"""Sites that share an address go one after another, and who met interference there is remembered for a while.

Time is the loop's: these loops have a clock of their own, which stands still until something waits.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.models import Neighbour
from monitor.neighbours import RESIDUAL_S, Neighbours

A, B, C = "190.202.10.10", "190.202.10.11", "2800:a4::1"


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer instead of passing."""

    passed = 0.0

    def time(self) -> float:
        return self.passed

    def _run_once(self) -> None:
        # A timer that was cancelled stays in the heap; to stop there would be to wait for the next one in real time.
        scheduled = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and scheduled:  # type: ignore[attr-defined]
            self.passed = max(self.passed, min(scheduled))
        super()._run_once()  # type: ignore[misc]


def run(story: Callable[[Neighbours], Awaitable[Any]]) -> Any:
    """Play a story with a fresh ledger."""
    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(asyncio.wait_for(story(Neighbours()), 10_000))


class Street:
    """Measurements at addresses; raises when two are at one address at a time."""

    def __init__(self, ledger: Neighbours) -> None:
        self.ledger = ledger
        self.at: Counter[str] = Counter()
        self.order: list[str] = []
        self.most = 0

    async def measure(self, site: str, addresses: list[str], seconds: float = 1.0, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        async with self.ledger.hold(addresses):
            self.order.append(site)
            self.at.update(set(addresses))
            try:
                assert max(self.at.values(), default=0) <= 1
                self.most = max(self.most, self.at.total())
                await asyncio.sleep(seconds)
            finally:
                self.at.subtract(set(addresses))


def test_sites_on_one_address_go_one_after_another() -> None:
    async def story(ledger: Neighbours) -> None:
        street = Street(ledger)
        await asyncio.gather(*(street.measure(site, [A]) for site in "xyz"))
        assert street.order == ["x", "y", "z"]
        assert asyncio.get_running_loop().time() == pytest.approx(3)

    run(story)


def test_sites_on_other_addresses_do_not_wait() -> None:
    async def story(ledger: Neighbours) -> None:
        street = Street(ledger)
        await asyncio.gather(street.measure("x", [A]), street.measure("y", [B]), street.measure("z", [C]))
        assert street.most == 3
        assert asyncio.get_running_loop().time() == pytest.approx(1)

    run(story)


def test_sites_that_share_addresses_crosswise_do_not_wait_for_each_other_forever() -> None:
    async def story(ledger: Neighbours) -> None:
        street = Street(ledger)
        await asyncio.gather(street.measure("x", [A, B]), street.measure("y", [B, C]), street.measure("z", [C, A]))
        assert sorted(street.order) == ["x", "y", "z"]

    run(story)


def test_an_address_named_twice_is_held_once() -> None:
    run(lambda ledger: Street(ledger).measure("x", [A, A]))


def test_no_address_is_no_wait() -> None:
    run(lambda ledger: Street(ledger).measure("x", []))


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), max_size=4), st.integers(0, 3), st.integers(0, 3)), max_size=12
    )
)
def test_any_crowd_gets_through_and_leaves_nothing_behind(crowd: list[tuple[list[str], int, int]]) -> None:
    async def story(ledger: Neighbours) -> None:
        street = Street(ledger)
        await asyncio.gather(*(street.measure("x", where, stays, comes) for where, stays, comes in crowd))
        assert len(street.order) == len(crowd)
        assert not ledger._locks
        assert not ledger._users

    run(story)


@example([(["a"], 1), (["a", "b"], 1)], [(1, 0.5)])
@given(
    st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=3), st.integers(0, 4)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.floats(0, 9)), max_size=4),
)
def test_who_gives_up_waiting_holds_nothing(
    crowd: list[tuple[list[str], int]], gives_up: list[tuple[int, float]]
) -> None:
    async def story(ledger: Neighbours) -> None:
        street = Street(ledger)
        under_way = [asyncio.ensure_future(street.measure("x", where, stays)) for where, stays in crowd]
        for who, when in gives_up:
            asyncio.get_running_loop().call_later(when, under_way[who % len(crowd)].cancel)
        for ended in await asyncio.gather(*under_way, return_exceptions=True):
            if ended is not None and not isinstance(ended, asyncio.CancelledError):
                raise ended
        assert not ledger._locks
        assert not ledger._users

    run(story)


def test_a_failing_measurement_lets_the_next_one_in() -> None:
    async def story(ledger: Neighbours) -> None:
        with pytest.raises(ZeroDivisionError):
            async with ledger.hold([A]):
                raise ZeroDivisionError
        await Street(ledger).measure("x", [A])

    run(story)


# --- residual censorship -------------------------------------------------------------------------------------------


def test_a_neighbours_trigger_is_remembered() -> None:
    async def story(ledger: Neighbours) -> None:
        ledger.triggered("lapatilla.com", [A, B])
        await asyncio.sleep(20)
        assert ledger.recent("elpitazo.net", [A, C]) == (Neighbour(site="lapatilla.com", address=A, seconds_ago=20.0),)

    run(story)


def test_nobody_is_a_neighbour_of_oneself() -> None:
    async def story(ledger: Neighbours) -> None:
        ledger.triggered("lapatilla.com", [A])
        assert ledger.recent("lapatilla.com", [A]) == ()

    run(story)


@pytest.mark.parametrize(("waited", "remembered"), [(0, 1), (RESIDUAL_S - 1, 1), (RESIDUAL_S, 1), (RESIDUAL_S + 1, 0)])
def test_a_trigger_is_forgotten_after_the_residual_time(waited: float, remembered: int) -> None:
    async def story(ledger: Neighbours) -> None:
        ledger.triggered("lapatilla.com", [A])
        await asyncio.sleep(waited)
        assert len(ledger.recent("elpitazo.net", [A])) == remembered

    run(story)


def test_the_latest_trigger_counts() -> None:
    async def story(ledger: Neighbours) -> None:
        ledger.triggered("lapatilla.com", [A])
        await asyncio.sleep(170)
        ledger.triggered("lapatilla.com", [A])
        await asyncio.sleep(170)
        assert [neighbour.seconds_ago for neighbour in ledger.recent("elpitazo.net", [A])] == [170.0]

    run(story)


def test_the_ledger_forgets_addresses_that_nobody_asks_about() -> None:
    async def story(ledger: Neighbours) -> None:
        ledger.triggered("lapatilla.com", [A])
        await asyncio.sleep(RESIDUAL_S / 2)
        ledger.triggered("elpitazo.net", [A, B])
        await asyncio.sleep(RESIDUAL_S / 2 + 1)
        assert ledger.recent("x", []) == ()
        assert {address: list(sites) for address, sites in ledger._triggers.items()} == {
            A: ["elpitazo.net"],
            B: ["elpitazo.net"],
        }

    run(story)
