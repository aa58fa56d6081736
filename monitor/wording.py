"""Events and verdicts as they are told: in plain English, the same in log, live view and tables; and as JSON.

Names in them come from measurements, and those may come from strangers: what is returned may reach a terminal.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor.models import Event, Incident, Kind, Network
from monitor.moments import utc_text
from monitor.show import printable, sureness

# Few words for the log, by the rule that decided; `explain.REASONS` says more.
WHY_NOT_JUDGED = {
    "network_changed": "the network changed meanwhile",
    "network_down": "no network here",
    "clock_wrong": "the clock is wrong",
    "captive_portal": "a sign-in page is in between",
    "certificates_replaced": "all certificates are replaced here",
    "error_here": "the site answers with an error, but not to the control",
    "refused_without_control": "the site refuses, and no control says whether everyone",
    "loop_here": "redirects lead nowhere, perhaps for everyone",
    "ghost_name": "a name that does not exist is answered",
    "resolver_outage": "the name server fails for every name",
    "local_resolver": "a name server that is not the ISP's denies the name",
    "residual_neighbour": "perhaps the echo of a block of its neighbour",
    "line_overloaded": "neutral sites fare no better",
    "weak_evidence": "signs of interference, too weak to accuse anybody",
    "no_control": "no control to compare with",
    "page_unproven": "another page came, and nothing tells whose",
    "undecided": "the evidence contradicts itself or does not suffice",
}


def counted(count: int, noun: str) -> str:
    """`1 site`, `2 sites`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def waiting_words(count: int) -> str:
    """That so many sites wait for the volunteer."""
    verb = "waits" if count == 1 else "wait"
    them = "it" if count == 1 else "them"
    return f"{counted(count, 'site')} joined a list and {verb} until you have seen {them}: almenara sites"


def network_words(network: Network | None) -> str:
    """`CANTV AS8048 VE`: as much of it as is known."""
    if network is None:
        return ""
    number = f"AS{network.asn}" if network.asn is not None else ""
    words = (printable(network.isp or "", 40), number, printable(network.country or "", 2))
    return " ".join(filter(None, words)) or "an unknown network"


def is_local(event: Event) -> bool:
    """An outage that a single probe saw: its own line may be all that is down."""
    return event.kind is Kind.NETWORK_OUTAGE and event.probes <= 1


def headline(event: Event) -> str:
    """What happens, or happened, and where; not when."""
    return _clause(event, "is")


def _clause(event: Event, going_on: str) -> str:
    site, where = printable(event.site or "", 60), network_words(event.network)
    over = event.ended is not None
    verb = "was" if over else going_on
    if is_local(event):
        return f"nothing {'could' if over else 'can'} be reached from here over {where}"
    return {
        Kind.BLOCKING: f"{site} {verb} blocked on {where}",
        Kind.SITE_OUTAGE: f"{site} {verb} down for everyone",
        Kind.NETWORK_OUTAGE: f"{where} {verb} out of order for all sites",
        Kind.SILENCE: f"nothing {'came' if over else 'has come'} from {where or site}",
    }[event.kind]


def since_words(event: Event) -> str:
    """`since ..`, or `from .. to ..`; a block that was there when first looked at may be older."""
    began = utc_text(event.started) + ("" if event.started_range[0] else " or earlier")
    return f"since {began}" if event.ended is None else f"from {began} to {utc_text(event.ended)}"


def event_text(event: Event) -> str:
    """An event in one sentence."""
    methods = f" ({', '.join(printable(method, 32) for method in event.methods)})" if event.methods else ""
    return f"{_clause(event, 'has been')}{methods} {since_words(event)}, {sureness(event.confidence)} sure"


def told(one: Event | Incident) -> dict[str, Any]:
    """As JSON has it (interface.md): of a network who it is, not how that was found; times to the millisecond."""
    fields: dict[str, Any] = {key: _plain(value) for key, value in msgspec.structs.asdict(one).items()}
    if isinstance(one, Incident):
        return fields | {"events": [told(event) for event in one.events]}
    network = one.network
    return fields | {"network": network and {"asn": network.asn, "isp": network.isp, "country": network.country}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _instant(value) if isinstance(value, datetime) else value


def _instant(moment: datetime) -> str:
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
