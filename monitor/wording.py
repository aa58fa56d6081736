"""Events and verdicts as they are told: in plain words, the same in log, live view and tables; and as JSON.

Names in them come from measurements, and those may come from strangers: what is returned may reach a terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor.language import ENGLISH, Words
from monitor.messages import N_
from monitor.models import Event, Incident, Kind, Network
from monitor.moments import utc_text
from monitor.show import printable, sureness

# Few words for the log, by the rule that decided; `explain.REASONS` says more.
WHY_NOT_JUDGED = {
    "network_changed": N_("the network changed meanwhile"),
    "network_down": N_("no network here"),
    "clock_wrong": N_("the clock is wrong"),
    "captive_portal": N_("a sign-in page is in between"),
    "certificates_replaced": N_("all certificates are replaced here"),
    "error_here": N_("the site answers with an error, but not to the control"),
    "refused_without_control": N_("the site refuses, and no control says whether everyone"),
    "loop_here": N_("redirects lead nowhere, perhaps for everyone"),
    "ghost_name": N_("a name that does not exist is answered"),
    "resolver_outage": N_("the name server fails for every name"),
    "local_resolver": N_("a name server that is not the ISP's denies the name"),
    "residual_neighbour": N_("perhaps the echo of a block of its neighbour"),
    "line_overloaded": N_("neutral sites fare no better"),
    "weak_evidence": N_("signs of interference, too weak to accuse anybody"),
    "no_control": N_("no control to compare with"),
    "page_unproven": N_("another page came, and nothing tells whose"),
    "undecided": N_("the evidence contradicts itself or does not suffice"),
}


def waiting_words(count: int, w: Words = ENGLISH) -> str:
    """That so many sites wait for the volunteer."""
    return w.many(
        "{count} site joined a list and waits until you have seen it: almenara sites",
        "{count} sites joined a list and wait until you have seen them: almenara sites",
        count,
    )


def watching_words(count: int, vantages: Sequence[str], w: Words = ENGLISH) -> str:
    """What the service watches."""
    where = ", ".join(vantages) or w.text("no vantage so far")
    return w.many("watching {count} site on {vantages}", "watching {count} sites on {vantages}", count, vantages=where)


def left_words(sites: Sequence[str], w: Words = ENGLISH) -> str:
    """Sites that are configured no more."""
    some = ", ".join(sites[:5]) + ", …" * (len(sites) > 5)
    return w.many(
        "{count} site watched no more: {sites}", "{count} sites watched no more: {sites}", len(sites), sites=some
    )


def removed_words(count: int, w: Words = ENGLISH) -> str:
    """Measurements too old, or too many, to be kept."""
    return w.many(
        "removed from the store: {count} old measurement", "removed from the store: {count} old measurements", count
    )


def lost_words(count: int, w: Words = ENGLISH) -> str:
    """Measurements that nobody will see."""
    return w.many(
        "lost: {count} measurement that the store did not take",
        "lost: {count} measurements that the store did not take",
        count,
    )


def network_words(network: Network | None, w: Words = ENGLISH) -> str:
    """`CANTV AS8048 VE`: as much of it as is known."""
    if network is None:
        return ""
    number = f"AS{network.asn}" if network.asn is not None else ""
    known = (printable(network.isp or "", 40), number, printable(network.country or "", 2))
    return " ".join(filter(None, known)) or w.text("an unknown network")


def is_local(event: Event) -> bool:
    """An outage that a single probe saw: its own line may be all that is down."""
    return event.kind is Kind.NETWORK_OUTAGE and event.probes <= 1


def is_plain_only(events: Iterable[Event]) -> bool:
    """Blocks of which nothing was seen but interference with http: the same sites may open by https."""
    methods = [method for event in events if event.kind is Kind.BLOCKING for method in event.methods]
    return bool(methods) and all(method.startswith("http.") for method in methods)


# What goes on, what has gone on since some time, what is over, and what the newest results no longer show; LOCAL: see
# `is_local`. Silence ends with the first result.
_LOCAL = (
    N_("nothing can be reached from here over {network}"),
    N_("nothing can be reached from here over {network}"),
    N_("nothing could be reached from here over {network}"),
    N_("nothing could be reached from here over {network}; the newest results get through"),
)
_CLAUSES = {
    Kind.BLOCKING: (
        N_("{site} is blocked on {network}"),
        N_("{site} has been blocked on {network}"),
        N_("{site} was blocked on {network}"),
        N_("{site} was blocked on {network}, and opens in the newest results"),
    ),
    Kind.SITE_OUTAGE: (
        N_("{site} is down for everyone"),
        N_("{site} has been down for everyone"),
        N_("{site} was down for everyone"),
        N_("{site} was down for everyone, and opens in the newest results"),
    ),
    Kind.NETWORK_OUTAGE: (
        N_("{network} is out of order for all sites"),
        N_("{network} has been out of order for all sites"),
        N_("{network} was out of order for all sites"),
        N_("{network} was out of order for all sites; the newest results get through"),
    ),
    Kind.SILENCE: (
        N_("nothing has come from {network}"),
        N_("nothing has come from {network}"),
        N_("nothing came from {network}"),
        N_("nothing came from {network}"),
    ),
}
_NOW, _SINCE, _OVER, _OPEN = range(4)


def headline(event: Event, w: Words = ENGLISH, *, network: str | None = None, opened: bool = False) -> str:
    """What happens, or happened, and where; not when. network: its name, where it is told without its number. opened: the
    newest results no longer show it."""
    return _clause(event, _OPEN if opened else _NOW, w, network)


def _clause(event: Event, going_on: int, w: Words, network: str | None = None) -> str:
    site, network = printable(event.site or "", 60), network or network_words(event.network, w)
    clauses = _LOCAL if is_local(event) else _CLAUSES[event.kind]
    message = clauses[going_on if event.ended is None else _OVER]
    return w.text(message, site=site, network=network or site)


def opened_words(count: int, since: str, w: Words = ENGLISH) -> str:
    """Of what is not over, that so many newest results no longer show it."""
    return w.many(
        "open in the newest result, of {since}; the end is told when it is sure",
        "open in the newest {count} results in a row, since {since}; the end is told when it is sure",
        count, since=since,
    )  # fmt: skip


def since_words(event: Event, w: Words = ENGLISH) -> str:
    """`since ..`, or `from .. to ..`; a block that was there when first looked at may be older."""
    began = utc_text(event.started)
    if event.started_range[0] is None:
        began = w.text("{time} or earlier", time=began)
    if event.ended is None:
        return w.text("since {began}", began=began)
    return w.text("from {began} to {ended}", began=began, ended=utc_text(event.ended))


def event_text(event: Event, w: Words = ENGLISH) -> str:
    """An event in one sentence."""
    methods = f" ({', '.join(printable(method, 32) for method in event.methods)})" if event.methods else ""
    what, share = _clause(event, _SINCE, w) + methods, sureness(event.confidence, w)
    return w.text("{what} {time}, {share} sure", what=what, time=since_words(event, w), share=share)


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
    return instant(value) if isinstance(value, datetime) else value


def instant(moment: datetime) -> str:
    """A time as JSON has it: UTC, to the second, or to the millisecond where that says more."""
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
