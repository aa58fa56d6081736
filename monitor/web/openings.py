"""Which events the newest results no longer show: read once of each, until there are newer results."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from monitor.models import Event, Status
from monitor.newest import Since, opened
from monitor.store import Latest, Store

KEPT_S = 60.0  # how long it may take until an older result shows that came late
MOST_KEPT = 20_000


class _Known(NamedTuple):
    newest: str | None
    at: float
    since: Since | None


class Openings:
    """A block of many sites that lifts is hundreds of events, and each page that shows them asks of them all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, int, datetime], _Known] = {}
        self._turn = threading.Lock()

    def read(self, store: Store, events: Sequence[Event], latest: Sequence[Latest]) -> dict[str, Since]:
        """By id, those that open. In any thread."""
        with self._turn:
            return self._read(store, perhaps_open(events, latest))

    def _read(self, store: Store, perhaps: Sequence[tuple[Event, str | None]]) -> dict[str, Since]:
        now = self._clock()
        unknown = [(event, newest) for event, newest in perhaps if not self._is_known(event, newest, now)]
        found = opened(store, [event for event, _ in unknown])
        if len(self._known) + len(unknown) > MOST_KEPT:
            self._known = {}
        self._known |= {_key(event): _Known(newest, now, found.get(event.id)) for event, newest in unknown}
        kept = {event.id: self._known.get(_key(event)) for event, _ in perhaps}
        return found | {id: known.since for id, known in kept.items() if known and known.since}

    def _is_known(self, event: Event, newest: str | None, now: float) -> bool:
        known = self._known.get(_key(event))
        return known is not None and known.newest == newest and now - known.at < KEPT_S


def perhaps_open(events: Sequence[Event], latest: Sequence[Latest]) -> list[tuple[Event, str | None]]:
    """Without those whose newest verdict says that they are not; with that verdict's id, where there is one."""
    sites = {event.site for event in events}
    newest: dict[tuple[str | None, int | None], Latest] = {}
    for one in latest:
        if one.site in sites or None in sites:
            asn = one.network.asn or 0  # 0: not known; None: whichever
            for key in ((one.site, asn), (one.site, None), (None, asn)):
                if key not in newest or newest[key].started < one.started:
                    newest[key] = one
    found = [(event, newest.get((event.site, (event.network.asn or 0) if event.network else None))) for event in events]
    return [(event, one.id if one else None) for event, one in found if _may_open(one)]


def _may_open(newest: Latest | None) -> bool:
    """Networks without a number are several: of these more is read in any case."""
    if newest is None or newest.network.asn is None:
        return True
    return newest.verdict.status in (Status.OK, Status.INCONCLUSIVE)


def _key(event: Event) -> tuple[str, int, datetime]:
    return event.id, event.revision, event.detected
