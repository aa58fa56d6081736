"""Alerts, as the service has them: decided where events are stored, sent beside its loop."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitor.alerts import trial
from monitor.alerts.desk import Desk
from monitor.alerts.problems import problem_words
from monitor.alerts.sender import Sender
from monitor.alerts.subscriptions import Subscription
from monitor.config import SiteConfig
from monitor.journal import say, say_bug, spoken
from monitor.models import Event, Incident
from monitor.store import Store, StoreError
from monitor.survival import survived

KEPT = timedelta(days=400)  # what was told


class Alerts:
    """sender: carries messages, while its `run` does. subscriptions: who is told, after the next `arrange`."""

    def __init__(self, store: Store) -> None:
        self.sender = Sender(store)
        self.subscriptions: Sequence[Subscription] = ()
        self._store = store
        self._desk = Desk((), ())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._read: Sequence[Subscription] = ()
        self._reading: asyncio.Task[None] | None = None

    def arrange(self, sites: Iterable[SiteConfig]) -> None:
        """For these sites, which are watched, from now on."""
        self._loop = asyncio.get_running_loop()
        self._desk = Desk(self.subscriptions, sites)
        self.sender.arrange(self.subscriptions)
        if self._read != self.subscriptions:
            self._read = self.subscriptions
            self._reading = asyncio.create_task(survived(_warned(self.subscriptions), "reading where alerts go"))

    def save_events(self, events: Sequence[Event], incidents: Sequence[Incident]) -> None:
        """Store them, and with them who is to be told. In the store's thread; StoreError."""
        try:
            self._store.save_events(events, incidents, self._desk.decide)
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 a mistake of ours in deciding must not cost the events
            say_bug("deciding on alerts", exc)
            self._store.save_events(events, incidents)
        self._wake()

    def look(self) -> None:
        """Tell what time alone makes due. In the store's thread; StoreError."""
        if self.subscriptions:
            self._store.outbox.decide(self._desk.decide)
            self._wake()

    def forget(self, now: datetime) -> None:
        """What was told long ago. In the store's thread; StoreError."""
        self._store.outbox.forget(now - KEPT)

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.sender.wake)


async def _warned(subscriptions: Sequence[Subscription]) -> None:
    """Of those that cannot be told anything: before the first block, not at it."""
    for name, problem in await trial.understood(subscriptions):
        if problem is not None:
            said = problem_words(spoken(), problem)
            text = spoken().text("{name} cannot be told anything: {problem}", name=name, problem=said)
            say("alert_unreachable", text, level=logging.ERROR, subscription=name, problem=problem)
