"""Where the service goes on after a restart: when each site was measured last, and how it was. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from monitor.models import Event, Status
from monitor.standing import Seen
from monitor.store import Latest

RECENT_S = 900.0  # a block that a restart kept from being confirmed


class Resumption(Struct, frozen=True, kw_only=True):
    """last: by URL; what is not in it is due at once. seen: URL, vantage and how the site was."""

    last: dict[str, datetime]
    seen: list[tuple[str, str, Seen]]


def resumed(latest: Sequence[Latest], active: Iterable[Event], now: datetime) -> Resumption:
    """By the newest verdicts. active: events that go on: a block without one still has to be confirmed."""
    last: dict[str, datetime] = {}
    for one in latest:
        last[one.url] = max(last.get(one.url, one.started), one.started)
    blocked = {(event.site, event.network.asn) for event in active if event.network}
    seen = []
    for one in latest:
        status = one.verdict.status
        if status is Status.BLOCKED and (one.site, one.network.asn) not in blocked:
            if now - one.started < timedelta(seconds=RECENT_S):
                last.pop(one.url, None)
        elif status is not Status.INCONCLUSIVE:
            seen.append((one.url, one.vantage, Seen(status=status, asn=one.network.asn)))
    return Resumption(last=last, seen=seen)
