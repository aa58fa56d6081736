"""Prometheus' Alertmanager, by its API v2: each site on each network is an alert of its own, grouped as it likes.

An alert fires for as long as people would be told that it goes on: what comes and goes does not flap. Labels stay the same
from the first message of a thread on, so that the end finds its beginning, and a return too. What goes on is told again
every few minutes, as Prometheus does: Alertmanager forgets its alerts when it is started anew.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from monitor.alerts import phrases
from monitor.alerts.channels.plumbing import post
from monitor.alerts.letters import Letter, Part
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
        await _post([_written(labels, {}, letter.written, now)], subscription)
        return
    await _post([*_alerts(letter.parts[0], subscription, now)], subscription)


def _alerts(part: Part, subscription: Subscription, now: datetime) -> Iterator[dict[str, Any]]:
    known = part.before.pairs if part.before else {}
    for pair, event in part.events.items():
        before = known.get(pair)
        was_over = before is not None and before.ended is not None and pair not in part.changes.back
        if pair in part.changes.left or was_over or (before is None and event.ended is not None):
            yield _alert(event, _name(event, before), subscription, event.ended or now)
        else:
            yield _firing(event, _name(event, before), subscription, now, part.opened)
    for pair in part.changes.withdrawn:
        yield _gone(known[pair], part.started, now)


def _name(event: Event, before: Told | None) -> str:
    return before.named if before else event.id


async def again(
    going_on: Iterable[Told], events: Mapping[str, Event], opened: Container[str], subscription: Subscription
) -> None:
    """What was told to go on, told once more. events: as they are now; opened: those that the newest results no longer
    show. Raises Undelivered.
    """
    now = datetime.now(UTC)
    known = [(told, events[told.event]) for told in going_on if told.event in events]
    if known:
        await _post([_firing(event, told.named, subscription, now, opened) for told, event in known], subscription)


async def _post(alerts: list[dict[str, Any]], subscription: Subscription) -> None:
    parts = urlsplit(subscription.url)
    url = parts._replace(path=parts.path.rstrip("/") + "/api/v2/alerts").geturl()
    await post(url, msgspec.json.encode(alerts), {}, subscription.proxy)


def _firing(
    event: Event, name: str, subscription: Subscription, now: datetime, opened: Container[str]
) -> dict[str, Any]:
    """Though it may have ended: that is not told yet."""
    return _alert(replace(event, ended=None), name, subscription, now + LASTS, opened)


def _alert(
    event: Event, name: str, subscription: Subscription, ends: datetime, opened: Container[str] = ()
) -> dict[str, Any]:
    """An event as an alert; one that ends in the past is resolved. name: the event that its thread began with."""
    notes = {
        "summary": phrases.headline(subscription.words, [event], opened),
        "network": phrases.network(subscription.words, event.network),
        "methods": ", ".join(method for method in event.methods if method in METHOD_WORDS),
        "confidence": f"{event.confidence:g}", "measurements": str(event.measurements), "probes": str(event.probes),
    }  # fmt: skip
    return _written(_labels(name, event.kind, event.site, event.network), notes, event.started, ends)


def _gone(told: Told, started: datetime, now: datetime) -> dict[str, Any]:
    """An event that nobody believes in any more."""
    return _written(_labels(told.named, told.kind, told.site, told.network), {}, started, now)


def _labels(event: str, kind: Kind, site: str | None, network: Network | None) -> dict[str, str]:
    """Without an ISP's name, which may be looked up in another way tomorrow."""
    labels = {"alertname": NAMES[kind], "source": "almenara", "event": event, "kind": kind.value}
    labels |= {"site": phrases.host(site)} if site else {}
    return labels | ({"asn": str(network.asn)} if network and network.asn is not None else {})


def _written(labels: dict[str, str], notes: dict[str, str], started: datetime, ends: datetime) -> dict[str, Any]:
    return {
        "labels": labels, "annotations": notes, "startsAt": instant(min(started, ends)), "endsAt": instant(ends),
    }  # fmt: skip
