"""A story of blocks, told to subscribers: minute by minute, in a store, without a network.

Minutes are counted from the morning of one day. A block is a site, a network and from when to when it is there.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from monitor.alerts import letters, messages
from monitor.alerts.desk import Desk
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription, subscribed
from monitor.config import parse
from monitor.incidents import incidents
from monitor.models import Event, Incident, Kind, Network
from monitor.store import Delivery, Sending, Store

MORNING = datetime(2018, 1, 15, 12, tzinfo=UTC)
CANTV = Network(asn=8048, isp="CANTV", country="VE", source="observed")
MOVILNET = Network(asn=27889, isp="Movilnet", country="VE", source="observed")
EVERY_STATE = tuple(Sending)


def minute(number: float) -> datetime:
    return MORNING + timedelta(minutes=number)


def block(site: str, started: float, ended: float | None = None, network: Network | None = CANTV, **more: Any) -> Event:
    """A blocking event; its id is made of what it is about and when it began."""
    where = f"AS{network.asn}" if network else ""
    known: dict[str, Any] = {
        "id": f"{site}-{where}-{started:g}", "revision": 1, "kind": Kind.BLOCKING, "site": site, "network": network,
        "methods": ("dns.nxdomain",), "started": minute(started), "started_range": (minute(started - 5), minute(started)),
        "detected": minute(started + 3), "ended": None if ended is None else minute(ended), "ended_range": None,
        "confidence": 0.98, "measurements": 4, "probes": 1,
    }  # fmt: skip
    return Event(**(known | more))


def configured(text: str, sites: str = "[]") -> tuple[Subscription, ...]:
    """The subscriptions of an `alerts` section, as YAML."""
    return subscribed(parse(f"sites: {sites}\nalerts: {text}\n", "probes.yaml"), None)


def due(store: Store, now: datetime) -> list[Delivery]:
    """The messages whose time has come, whoever may be sending them, with what they tell."""
    waiting = [one for one in store.outbox.listed([Sending.WAITING], 1000)[::-1] if one.next <= now]
    return [found for one in waiting if (found := store.outbox.delivery(one.id))]


class Story:
    """Told to these, who have subscribed at minute -60. The store is in a folder of the test."""

    def __init__(self, folder: Path, alerts: str = "[{to: 'json://desk.example'}]", sites: str = "[]") -> None:
        config = parse(f"sites: {sites}\nalerts: {alerts}\n", "probes.yaml")
        self.subscriptions = subscribed(config, None)
        self.desk = Desk(self.subscriptions, config.sites)
        self.store = Store.open(f"sqlite:{folder}/alerts.db")
        self._known: dict[str, Event] = {}
        self._incidents: dict[str, Incident] = {}
        self._told: set[str] = set()
        self.at(-60)

    def at(self, number: float, *events: Event) -> list[Letter]:
        """So it is now; what is told at that minute."""
        return self.letters(self.deliveries(number, events))

    def letters(self, deliveries: Iterable[Delivery]) -> list[Letter]:
        return [letters.decoded(self.store.outbox.delivery(one.id).data) for one in deliveries]

    def deliveries(self, number: float, events: Iterable[Event] = ()) -> list[Delivery]:
        """As rows, oldest first."""
        news = [self._revised(event) for event in events]
        self._known |= {event.id: event for event in news}
        found = {one.id: one for one in incidents(self._known.values(), self._incidents.values())}
        changed = [one for one in found.values() if self._incidents.get(one.id) != one]
        self._incidents |= found
        self.store.save_events(news, changed, partial(self.desk.decide_at, now=minute(number)))
        fresh = [one for one in self.store.outbox.listed(EVERY_STATE, 1000) if one.id not in self._told]
        self._told |= {one.id for one in fresh}
        return fresh[::-1]

    def _revised(self, event: Event) -> Event:
        old = self._known.get(event.id)
        return event if old is None else replace(event, revision=old.revision + 1)

    def through(self, first: int, last: int, step: int = 1) -> list[tuple[int, Letter]]:
        """Time goes by and nothing new happens; what is told, and when."""
        return [(number, letter) for number in range(first, last + 1, step) for letter in self.at(number)]

    def subscribe(self, alerts: str) -> None:
        """These are told from now on."""
        self.subscriptions = configured(alerts)
        self.desk = Desk(self.subscriptions, ())

    def short(self, letter: Letter) -> str:
        """As the first subscriber reads it in a chat."""
        return messages.message(letter, self.subscriptions[0]).short
