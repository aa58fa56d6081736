"""The read side: quick for many, never too many, never long behind what the store has."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from store_cases import BEGAN, NETWORKS, SITES, event, small, verdict

from monitor.models import Status
from monitor.store import Store, StoreError, Wanted
from monitor.web import openings
from monitor.web.archive import KEPT_S, MOST_ADDING, MOST_WAITING, STALE_S, WHOLE_S, Archive, Busy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'a.db'}"
    with Store.open(url) as store:
        store.append([small(1), small(2, site=SITES[1])])
    return url


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def reading(url: str, work: Callable[[Archive, Store, Clock], Coroutine[Any, Any, None]], **more: Any) -> None:
    async def run() -> None:
        clock = Clock()
        archive = Archive(url, clock=clock, **more)
        with Store.open(url) as store:
            await work(archive, store, clock)
        await archive.aclose()

    asyncio.run(run())


def test_what_many_ask_for_is_read_once_and_renewed_in_the_background(url: str) -> None:
    async def work(archive: Archive, store: Store, clock: Clock) -> None:
        first, *others = await asyncio.gather(*(archive.latest() for _ in range(MOST_WAITING * 2)))
        assert all(one is first for one in others)
        store.append([small(3, site=SITES[2])])
        clock.now += KEPT_S
        assert await archive.latest() is first  # the old one, while the new one is read
        async with asyncio.timeout(30):
            while len(await archive.latest()) == 2:  # noqa: ASYNC110 (nobody tells when it was read)
                await asyncio.sleep(0)
        store.append([small(4)])
        clock.now += STALE_S
        assert max(one.started for one in await archive.latest()) == small(4).started  # too old to be told meanwhile

    reading(url, work)


def test_whether_an_event_opens_is_read_once_until_there_is_a_newer_result(url: str) -> None:
    """A block of hundreds of sites that lifts is hundreds of questions, on each page that shows it."""
    one = event(started=BEGAN, detected=BEGAN)

    async def work(archive: Archive, store: Store, clock: Clock) -> None:
        async def count() -> int:
            await archive.latest()  # is read anew, while this is the old one
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
            return (await archive.opened([one])).get(one.id, (BEGAN, 0))[1]

        store.append([small(9)])
        clock.now += STALE_S
        assert await count() == 2
        store.append([small(8)])  # late: what was read stands for it
        clock.now += STALE_S
        assert await count() == 2
        store.append([small(10)])
        clock.now += STALE_S
        assert await count() == 4
        store.append([small(7)])
        clock.now += openings.KEPT_S
        assert await count() == 5
        store.append([small(11, verdict=verdict(Status.BLOCKED))])
        clock.now += STALE_S
        assert await count() == 0

    reading(url, work)


def test_what_was_removed_or_judged_again_is_seen_within_a_minute(url: str) -> None:
    async def work(archive: Archive, store: Store, clock: Clock) -> None:
        assert {one.verdict.status for one in await archive.latest()} == {Status.OK}
        store.rejudge(lambda _: verdict(Status.DOWN), 99, lambda *_: None)
        clock.now += WHOLE_S
        assert {one.verdict.status for one in await archive.latest()} == {Status.DOWN}
        store.append([small(900, site=SITES[2])])
        store.retain(age_s=DAY.total_seconds(), size=None, now=small(900).started)
        clock.now += WHOLE_S
        assert [one.site for one in await archive.sites()] == [SITES[2]]

    reading(url, work)


def test_an_older_measurement_that_comes_late_does_not_replace_a_newer_one(url: str) -> None:
    async def work(archive: Archive, store: Store, clock: Clock) -> None:
        before = await archive.latest()
        store.append([small(0, started=BEGAN - DAY)])
        clock.now += STALE_S
        assert await archive.latest() == before

    reading(url, work)


@pytest.mark.parametrize(
    ("ask", "most"),
    [
        (lambda archive: archive.measurement("m000001"), 1 + MOST_WAITING),
        (lambda archive: archive.aggregate(("site",), Wanted()), 1 + MOST_ADDING),
    ],
)
def test_who_comes_when_too_many_wait_is_turned_away_at_once(
    url: str, ask: Callable[[Archive], Awaitable[Any]], most: int
) -> None:
    async def work(archive: Archive, _: Store, __: Clock) -> None:
        found = await asyncio.gather(*(ask(archive) for _ in range(most + 20)), return_exceptions=True)
        refused = [one for one in found if isinstance(one, Busy)]
        assert len(refused) == 20
        assert len([one for one in found if not isinstance(one, BaseException)]) == most
        assert await ask(archive)

    reading(url, work, threads=1)


def test_aggregates_leave_room_for_others(url: str) -> None:
    async def work(archive: Archive, _: Store, __: Clock) -> None:
        waiting = [asyncio.create_task(archive.aggregate(("site",), Wanted())) for _ in range(MOST_ADDING)]
        found = await asyncio.gather(*(archive.measurement("m000001") for _ in range(MOST_WAITING)))
        assert all(found)
        await asyncio.gather(*waiting)

    reading(url, work)


def test_a_store_that_comes_later_is_found_then(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'later.db'}"

    async def run() -> None:
        archive = Archive(url)
        with pytest.raises(StoreError):
            await archive.latest()
        with Store.open(url) as store:
            store.append([small(1)])
        assert len(await archive.latest()) == 1
        await archive.aclose()

    asyncio.run(run())


def test_bands_have_a_slot_where_something_was_measured_and_only_there(url: str) -> None:
    async def work(archive: Archive, store: Store, _: Clock) -> None:
        day = BEGAN.replace(hour=0, minute=0, second=0, microsecond=0)
        blocked = verdict(Status.BLOCKED, ("tls.reset",))
        store.append(
            [small(n, started=day + n * HOUR, network=NETWORKS[n % 2], verdict=blocked) for n in (50, 51, 60, 100)]
        )
        bands = {one.network.asn: one for one in await archive.bands(SITES[0], day, day + 10 * DAY, DAY)}
        assert [(slot.started - day, slot.total) for slot in bands[8048].slots] == [
            (0 * DAY, 1),
            (2 * DAY, 2),
            (4 * DAY, 1),
        ]
        assert [slot.methods for slot in bands[27889].slots] == [{"tls.reset": 1}]
        hours = await archive.bands(SITES[0], day, day + 10 * DAY, 6 * HOUR, asn=8048)
        assert [(slot.started - day) // HOUR for slot in hours[0].slots] == [12, 48, 60, 96]
        assert hours[0].slots[1].counts == {Status.BLOCKED: 1}

    reading(url, work)
