"""What programs read: the incident as it is, and beside it the alert, in the manner of CAP (OASIS CAP 1.2).

docs/alerts.md tells every field. They are stable: one may come, none goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from monitor import __version__, several
from monitor.alerts import exchange, messages
from monitor.alerts.letters import Letter, Part
from monitor.alerts.phrases import ended
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import Told, What
from monitor.models import Event, Incident, Network
from monitor.wording import instant, told

_STATES = {What.FIRST: "started", What.OVER: "ended", What.END: "ended", What.WITHDRAWN: "ended"}
_LIKELY, _OBSERVED = 0.5, 0.9  # confidence; CAP says "likely" above a half
_MANY = 5  # sites or networks from which on an incident is severe


def body(letter: Letter, subscription: Subscription) -> bytes:
    """JSON of one incident, as interface.md promises it, with `alert` beside its fields."""
    if letter.what is What.TEST:
        return msgspec.json.encode({"alert": _alert(letter, None, subscription, "Test")})
    [part] = letter.parts
    return msgspec.json.encode(told(incident(part)) | {"alert": _alert(letter, part, subscription, "Actual")})


def incident(part: Part) -> Incident:
    """What the thread is about, as far as the subscription wants to know of it."""
    events = tuple(sorted(part.events.values(), key=lambda event: (event.started, event.id)))
    end = ended(events) if events else part.started
    return Incident(
        id=part.thread, revision=part.revision, state=_STATES.get(part.what, "updated"), started=part.started, ended=end,
        events=events,
    )  # fmt: skip


def _alert(letter: Letter, part: Part | None, subscription: Subscription, status: str) -> dict[str, Any]:
    said = messages.message(letter, subscription)
    about = {
        "identifier": letter.id, "sender": f"almenara/{__version__}", "sent": instant(letter.written), "status": status,
        "msgType": _kind(part), "scope": "Restricted", "rules_version": letter.rules_version,
    }  # fmt: skip
    language = subscription.settings.language
    info: dict[str, Any] = {
        "language": language,
        "category": ["Infra"],
        "headline": said.subject,
        "description": said.full,
    }
    if part is None:
        return about | {"info": info}
    events, link = list(part.events.values()), messages.link(subscription, part)
    info |= _judged(part.what, events) | {"web": link}
    changes = {name: _pairs(part, getattr(part.changes, name)) for name in ("joined", "left", "back", "withdrawn")}
    changes["changed"] = [
        _pair(id, part.events[id]) | {"fields": list(fields)} for id, fields in part.changes.changed.items()
    ]
    opens = [
        _pair(id, event) | {"since": instant(part.opened[event.id][0]), "results": part.opened[event.id][1]}
        for id, event in part.events.items()
        if event.id in part.opened
    ]
    return about | {
        "thread": part.thread, "number": part.number, "what": part.what.value, "changes": changes, "opens": opens, "info": info,
        "exchange": exchange.row(subscription.words, several.going_on(events), link),
    }  # fmt: skip


def _kind(part: Part | None) -> str:
    if part is None or part.what in (What.FIRST, What.OVER):
        return "Alert"
    return "Update" if part.events else "Cancel"


def _judged(what: What, events: Sequence[Event]) -> dict[str, Any]:
    """CAP's urgency, severity and certainty."""
    if not events:
        return {
            "event": None,
            "urgency": "Past",
            "severity": "Unknown",
            "certainty": "Unlikely",
            "onset": None,
            "expires": None,
        }
    sure = min(event.confidence for event in events)
    over = ended(events)
    wide = max(len({event.site for event in events}), len({_asn(event.network) for event in events}))
    return {
        "event": events[0].kind.value,
        "urgency": "Immediate" if over is None else "Past",
        "severity": "Severe" if wide >= _MANY else "Moderate",
        "certainty": "Observed" if sure >= _OBSERVED else "Likely" if sure > _LIKELY else "Possible",
        "onset": instant(min(event.started for event in events)),
        "expires": instant(over) if over else None,
    }


def _asn(network: Network | None) -> int | None:
    return network.asn if network else None


def _pairs(part: Part, ids: Iterable[str]) -> list[dict[str, Any]]:
    known: Mapping[str, Event | Told] = {**(part.before.pairs if part.before else {}), **part.events}
    return [_pair(id, known[id]) for id in ids if id in known]


def _pair(id: str, one: Event | Told) -> dict[str, Any]:
    event = one.id if isinstance(one, Event) else one.event
    network = one.network
    carrier = network and {"asn": network.asn, "isp": network.isp, "country": network.country}
    return {"event": event, "site": one.site, "network": carrier}
