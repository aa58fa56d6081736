"""The whole table of now, made once for all who ask within a moment: with thousands of sites that takes a while."""

import asyncio
import math
from datetime import UTC, datetime
from typing import NamedTuple

from monitor.models import Event
from monitor.store import Latest, WantedEvents
from monitor.web.archive import Archive
from monitor.web.pages.matrix import Coverage, Matrix, coverage, matrix
from monitor.web.scope import Scope, Watching

MOST_ACTIVE = 5000  # events that go on
KEPT_S, OLD_S = 2.0, 10.0


class Whole(NamedTuple):
    """As it was at `made`."""

    made: datetime
    latest: list[Latest]
    active: list[Event]
    scope: Scope
    table: Matrix
    covered: Coverage


class Overview:
    """Gives the newest one; while the next is being made, the last, unless that is too old."""

    def __init__(self, archive: Archive, watching: Watching) -> None:
        self._archive, self._watching = archive, watching
        self._kept: Whole | None = None
        self._making: asyncio.Task[Whole] | None = None

    async def whole(self) -> Whole:
        """StoreError and Busy as the archive's."""
        kept = self._kept
        age_s = math.inf if kept is None else abs((datetime.now(UTC) - kept.made).total_seconds())
        if kept is not None and age_s < KEPT_S:
            return kept
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(lambda done: done.cancelled() or done.exception())
        return kept if kept is not None and age_s < OLD_S else await asyncio.shield(self._making)

    async def _make(self) -> Whole:
        now, latest = datetime.now(UTC), await self._archive.latest()
        active = await self._archive.events(WantedEvents(active=True, newest_first=True, limit=MOST_ACTIVE))
        self._kept = await asyncio.to_thread(_made, now, latest, active, self._watching.scope())
        return self._kept


def _made(now: datetime, latest: list[Latest], active: list[Event], scope: Scope) -> Whole:
    table = matrix(latest, active, scope, now)
    return Whole(now, latest, active, scope, table, coverage(table, active))
