"""Carries what was decided to those who are to know, beside the measuring, as long as it takes.

A message that did not arrive is tried again, soon at first, then every two hours, and given up after a day: that is told
in the log, in `almenara alerts`, in /healthz and in metrics. Each may arrive twice (a kill, an answer that was lost):
its id stays the same. Several processes may send from one store: who sends a message has claimed it for a while.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Any, TypeVar

from monitor.alerts import letters, threads
from monitor.alerts.channels import alertmanager, choice
from monitor.alerts.channels.plumbing import Undelivered
from monitor.alerts.places import Place, Places
from monitor.alerts.problems import problem_words
from monitor.alerts.subscriptions import Subscription
from monitor.journal import say, spoken
from monitor.newest import opened
from monitor.store import Delivery, Sending, Store, StoreError, Waiting
from monitor.survival import survived

FIRST_PAUSE_S = 15.0
MOST_PAUSE_S = 7200.0
JITTER = 0.2  # so that receivers that come back are not met by all at once
GIVE_UP = timedelta(days=1)
LOOK_S = 10.0  # for what another process wants to have tried again
CLAIMED = timedelta(minutes=3)  # longer than any channel takes
REMIND_S = 240.0  # Alertmanager
STORE_PAUSE_S = 5.0  # while it is in trouble
_GONE = "nobody subscribes to it any more"

T = TypeVar("T")


class Sender:
    """undelivered: messages that were given up."""

    def __init__(self, store: Store, *, pause_s: float = FIRST_PAUSE_S) -> None:
        """pause_s: after the first attempt in vain."""
        self.undelivered = 0
        self._store, self._first_pause_s, self._chance = store, pause_s, SystemRandom()
        self._subscriptions: dict[str, Subscription] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._claimed: dict[str, str] = {}
        self._places = Places()
        self._failing: set[str] = set()
        self._slow: set[str] = set()  # the last time; who was asked to leave is not asked twice
        self._awake = asyncio.Event()

    def arrange(self, subscriptions: Iterable[Subscription]) -> None:
        """To these from now on."""
        self._subscriptions = {one.key: one for one in subscriptions}
        self._awake.set()

    def wake(self) -> None:
        """There is something new."""
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then may be sent again."""
        reminding = asyncio.create_task(self._remind())
        try:
            while True:
                self._awake.clear()
                pause_s = await survived(self._begin(), "looking for alerts to send") or LOOK_S
                try:
                    async with asyncio.timeout(pause_s):
                        await self._awake.wait()
                except TimeoutError:
                    pass
        finally:
            left = [reminding, *self._under_way.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._let_go()

    async def _let_go(self) -> None:
        """Of what is claimed and not sent, so that another need not wait."""
        if self._claimed:
            try:
                await asyncio.to_thread(self._store.outbox.release, list(self._claimed.values()))
            except StoreError:
                return  # the claims end by themselves

    async def _begin(self) -> float:
        """Begin with all that is due; how long there is nothing to do, in seconds."""
        outbox, now = self._store.outbox, _now()
        try:
            pause_s = LOOK_S
            for one in self._in_turn(await asyncio.to_thread(outbox.waiting, now)):
                pause_s = min(pause_s, await self._begin_with(one))
            soonest = await asyncio.to_thread(outbox.next_due)
            left = await asyncio.to_thread(outbox.left)
        except StoreError:
            return STORE_PAUSE_S
        self.undelivered = sum(number for (_, state), number in left.items() if state is Sending.GIVEN_UP)
        if soonest is None or soonest <= now:  # those that are due wait for those that are under way
            return pause_s
        return min(pause_s, (soonest - now).total_seconds())

    def _in_turn(self, waiting: Sequence[Waiting]) -> Sequence[Waiting]:
        """Who could be told the last time comes first; who is being told now waits for that."""
        others = [one for one in waiting if one.subscription not in self._places]
        return sorted(others, key=lambda one: self._in_trouble(one.subscription))

    def _in_trouble(self, key: str) -> bool:
        return key in self._failing or key in self._slow

    async def _begin_with(self, one: Waiting) -> float:
        """With one message of theirs, where there is a place; after how many seconds to look again."""
        key, in_trouble = one.subscription, self._in_trouble(one.subscription)
        if not self._places.are_free(one.channel, in_trouble=in_trouble):
            return LOOK_S if in_trouble else self._places.make_free(one.channel)
        now = _now()
        found = await asyncio.to_thread(self._store.outbox.claim, key, now, now + CLAIMED)
        if found is not None:
            self._claimed[key] = found.id
            place = self._places.take(key, one.channel, in_trouble=in_trouble)
            self._under_way[key] = asyncio.create_task(self._finished(found, place))
        return LOOK_S

    async def _finished(self, one: Delivery, place: Place) -> None:
        await survived(self._deliver(one, place), f"sending message {one.id}")
        self._claimed.pop(one.subscription, None)
        (self._slow.add if self._places.is_slow(one.subscription) else self._slow.discard)(one.subscription)
        self._places.leave(one.subscription)
        self._under_way.pop(one.subscription, None)
        self._awake.set()

    async def _deliver(self, one: Delivery, place: Place) -> None:
        subscription = self._subscriptions.get(one.subscription)
        if subscription is None:
            await self._recorded(self._store.outbox.failed, one, _now(), _GONE, None)
            return
        outcome = await survived(_carried(one, subscription, place), f"sending message {one.id}")
        if outcome is None:
            outcome = Undelivered("a bug in this program; its log says more", refused=True)
        if isinstance(outcome, Undelivered):
            await self._try_again(one, outcome)
            return
        await self._recorded(self._store.outbox.sent, one, _now())
        self._failing.discard(one.subscription)
        what = spoken().gettext(threads.WORDS.get(one.what, one.what))
        say("alert", spoken().text("told {name} ({what})", name=one.subscription, what=what), **_fields(one))

    async def _try_again(self, one: Delivery, problem: Undelivered) -> None:
        now = _now()
        pause_s = max(self._pause_s(one.attempts), problem.again_s or 0.0)
        again = now + timedelta(seconds=pause_s) if now - one.trying < GIVE_UP else None
        await self._recorded(self._store.outbox.failed, one, now, str(problem), again)
        if not problem.refused:  # the channel fails, whatever the message
            await self._recorded(self._store.outbox.postpone, one.subscription, now + timedelta(seconds=pause_s))
        self._tell(one, problem, again)

    def _tell(self, one: Delivery, problem: Undelivered, again: datetime | None) -> None:
        """Once when a channel begins to fail, and of each message that is given up."""
        values = {"name": one.subscription, "problem": problem_words(spoken(), str(problem))}
        if again is None:
            text = spoken().text("{name} was not told, and it is given up: {problem}; see almenara alerts", **values)
            say("alert_given_up", text, level=logging.ERROR, problem=str(problem), **_fields(one))
        elif one.subscription not in self._failing:
            text = spoken().text("{name} cannot be told now, and it is tried again: {problem}", **values)
            say("alert_failed", text, level=logging.WARNING, problem=str(problem), **_fields(one))
        self._failing.add(one.subscription)

    def _pause_s(self, attempts: int) -> float:
        """After so many attempts and this one."""
        pause_s = min(self._first_pause_s * 2.0 ** min(attempts, 20), MOST_PAUSE_S)
        return pause_s * self._chance.uniform(1 - JITTER, 1 + JITTER)

    async def _remind(self) -> None:
        """Alertmanager keeps nothing of its own."""
        while True:
            await asyncio.sleep(REMIND_S)
            for one in list(self._subscriptions.values()):
                if one.channel == "alertmanager":
                    await survived(self._reminded(one), "reminding Alertmanager")

    async def _reminded(self, subscription: Subscription) -> None:
        outbox = self._store.outbox
        try:
            told = await asyncio.to_thread(outbox.open_threads, subscription.key)
            pairs = [pair for thread in told for pair in threads.decoded(thread.data).pairs.values()]
            going_on = [pair for pair in pairs if pair.ended is None]
            events = await asyncio.to_thread(outbox.events_named, [pair.event for pair in going_on])
            opens = await asyncio.to_thread(opened, self._store, list(events.values()))
            await alertmanager.again(going_on, events, opens, subscription)
        except (StoreError, Undelivered):
            return  # the next message says so, or the next reminder does it

    async def _recorded(self, work: Callable[..., T], *arguments: Any) -> T:
        """With the store, however long it is in trouble: what was sent must not be sent again."""
        while True:
            try:
                return await asyncio.to_thread(work, *arguments)
            except StoreError:
                await asyncio.sleep(STORE_PAUSE_S)


async def _carried(one: Delivery, subscription: Subscription, place: Place) -> Undelivered | bool:
    """True, or why it did not arrive."""
    try:
        async with place.limit:
            await choice.send(letters.decoded(one.data), subscription)
    except Undelivered as exc:
        return exc
    except TimeoutError:  # it was slow, and others wait
        return Undelivered("no answer in time")
    return True


def _fields(one: Delivery) -> dict[str, Any]:
    return {"subscription": one.subscription, "delivery": one.id, "thread": one.thread, "what": one.what}


def _now() -> datetime:
    return datetime.now(UTC)
