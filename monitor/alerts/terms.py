"""What a subscription asks for, and whether an event is that."""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from monitor.models import Event, Kind, Network


class Terms(Struct, frozen=True, kw_only=True):
    """sites: hosts, None for all. networks: names in small letters and `AS8048`; countries; none of them means all.

    confidence, probes, duration_s: an event needs so much. hold_s: what comes and goes must stay open for so long.
    gather_s: between two updates of a thread.
    """

    kinds: Collection[Kind] = frozenset({Kind.BLOCKING})
    sites: Collection[str] | None = None
    networks: Collection[str] = ()
    countries: Collection[str] = ()
    confidence: float = 0.0
    probes: int = 1
    duration_s: float = 0.0
    hold_s: float = 1800.0
    gather_s: float = 600.0


def wanted(terms: Terms, event: Event, now: datetime) -> bool:
    """Is the event what was asked for, and sure enough?"""
    lasted = (event.ended or now) - event.started
    return (
        event.kind in terms.kinds
        and 0 < event.confidence >= terms.confidence
        and event.probes >= terms.probes
        and lasted.total_seconds() >= terms.duration_s
        and (terms.sites is None or event.site is None or event.site in terms.sites)
        and _is_there(terms, event.network)
    )


def _is_there(terms: Terms, network: Network | None) -> bool:
    """A site's outage is on no network, and so on every one."""
    if network is None:
        return True
    names = {f"AS{network.asn}" if network.asn is not None else "", (network.isp or "").casefold()}
    return (not terms.networks or not names.isdisjoint(terms.networks)) and (
        not terms.countries or network.country in terms.countries
    )
