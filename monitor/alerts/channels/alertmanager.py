"""Prometheus' Alertmanager, by its API v2: each site on each network is an alert of its own, grouped as it likes.

Labels stay the same from the first message on, so that the end finds its beginning. What goes on is told again every few
minutes, as Prometheus does: Alertmanager forgets its alerts when it is started anew.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import msgspec

from monitor.alerts import phrases
from monitor.alerts.channels.plumbing import post
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import Told, What
from monitor.explain import METHOD_WORDS
from monitor.models import Event, Kind, Network
from monitor.wording import instant

LASTS = timedelta(hours=6)  # without news of us, so that our end is not taken for the end of a block
NAMES = {
    Kind.BLOCKING: "AlmenaraBlocking",
    Kind.SITE_OUTAGE: "AlmenaraSiteOutage",
    Kind.NETWORK_OUTAGE: "AlmenaraNetworkOutage",
    Kind.SILENCE: "AlmenaraSilence",
}
TEST = "AlmenaraTest"


async def send(letter: Letter, subscription: Subscription) -> None:
    """Raises Undelivered."""
    now = datetime.now(UTC)
    if letter.what is What.TEST:
        labels = {"alertname": TEST, "source": "almenara", "delivery": letter.id}
        await _post([_alert(labels, {}, letter.written, now)], subscription)
        return
    [part] = letter.parts
    alerts = [alert(event, subscription, now) for event in part.events.values()]
    known = part.before.pairs if part.before else {}
    alerts += [_gone(known[id], part.started, now) for id in part.changes.left if id in known and id not in part.events]
    await _post(alerts, subscription)


async def again(events: Iterable[Event], subscription: Subscription) -> None:
    """What goes on, told once more. Raises Undelivered."""
    alerts = [alert(event, subscription, datetime.now(UTC)) for event in events]
    if alerts:
        await _post(alerts, subscription)


async def _post(alerts: list[dict[str, Any]], subscription: Subscription) -> None:
    url = urljoin(subscription.url.rstrip("/") + "/", "api/v2/alerts")
    await post(url, msgspec.json.encode(alerts), {}, subscription.proxy)


def alert(event: Event, subscription: Subscription, now: datetime) -> dict[str, Any]:
    """An event as an alert; one that is over is resolved."""
    notes = {
        "summary": phrases.headline(subscription.words, [event]),
        "network": phrases.network(subscription.words, event.network),
        "methods": ", ".join(method for method in event.methods if method in METHOD_WORDS),
        "confidence": f"{event.confidence:g}", "measurements": str(event.measurements), "probes": str(event.probes),
    }  # fmt: skip
    labels = _labels(event.id, event.kind, event.site, event.network)
    return _alert(labels, notes, event.started, event.ended or now + LASTS)


def _gone(told: Told, started: datetime, now: datetime) -> dict[str, Any]:
    """An event that nobody believes in any more."""
    return _alert(_labels(told.event, told.kind, told.site, told.network), {}, started, now)


def _labels(event: str, kind: Kind, site: str | None, network: Network | None) -> dict[str, str]:
    """Without an ISP's name, which may be looked up in another way tomorrow."""
    labels = {"alertname": NAMES[kind], "source": "almenara", "event": event, "kind": kind.value}
    labels |= {"site": phrases.host(site)} if site else {}
    return labels | ({"asn": str(network.asn)} if network and network.asn is not None else {})


def _alert(labels: dict[str, str], notes: dict[str, str], started: datetime, ends: datetime) -> dict[str, Any]:
    return {
        "labels": labels, "annotations": notes, "startsAt": instant(min(started, ends)), "endsAt": instant(ends),
    }  # fmt: skip
