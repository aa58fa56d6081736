"""Points in the order they were made, whatever the order they come in: a late one takes the fold back a little.

Kept per fold: the latest points, and copies of the fold at some of them. What is later than all of that is refused.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from monitor.models import Point

# Most late points are late by a few: several vantages measure at once, and not all are equally fast.
_NEAR, _FAR = 128, 2048  # points between two copies
MOST_KEPT = 10 * _FAR


class Fold(Protocol):
    """Takes points in order."""

    def take(self, point: Point) -> None:
        """One more point."""
        ...


Folded = TypeVar("Folded", bound=Fold)


def in_order(points: Iterable[Point]) -> list[Point]:
    """By time, each id once: of several with one id the first in the order of their contents."""
    ordered = sorted(points, key=_place)
    seen: set[str] = set()
    if len({point.id for point in ordered}) == len(ordered):
        return ordered
    ordered.sort(key=_contents)
    return [point for point in ordered if not (point.id in seen or seen.add(point.id))]  # type: ignore[func-returns-value]


class Replay(Generic[Folded]):
    """A fold, its latest points and its copies."""

    def __init__(self, begin: Callable[[], Folded], kept: int = MOST_KEPT) -> None:
        self.fold = begin()
        self.since: datetime | None = None  # the oldest point that was ever taken
        self.refused = 0  # points that came later than everything kept
        self._kept = kept
        self._points: list[Point] = []
        self._ids: set[str] = set()
        self._gone = 0  # points taken and no longer kept
        self._copies: list[tuple[int, Folded]] = [(0, begin())]  # how many points it has taken, and the copy

    def add(self, points: Iterable[Point]) -> bool:
        """Take more points; whether anything was new."""
        fresh = [point for point in in_order(points) if point.id not in self._ids]
        if self._gone and self._points:
            oldest = _place(self._points[0])
            taken = [point for point in fresh if _place(point) > oldest]
            self.refused += len(fresh) - len(taken)
            fresh = taken
        if not fresh:
            return False
        self.since = min(self.since or fresh[0].started, fresh[0].started)
        self._ids.update(point.id for point in fresh)
        first = bisect_right(self._points, _place(fresh[0]), key=_place)
        if first == len(self._points):
            self._points += fresh
        else:
            self._points[first:] = sorted([*self._points[first:], *fresh], key=_place)
            first = self._back_to(first)
        self._fold_from(first)
        self._forget()
        return True

    def _back_to(self, first: int) -> int:
        """Take the fold back to a copy made before that point; where to go on from."""
        while self._copies[-1][0] > self._gone + first:
            self._copies.pop()
        position, copy = self._copies[-1]
        self.fold = deepcopy(copy)
        return position - self._gone

    def _fold_from(self, first: int) -> None:
        for index in range(first, len(self._points)):
            self.fold.take(self._points[index])
            position = self._gone + index + 1
            if position % _NEAR == 0:
                self._copies = [
                    (at, copy)
                    for at, copy in self._copies
                    if at % _FAR == 0 or at == self._gone or at > position - 2 * _NEAR
                ]
                self._copies.append((position, deepcopy(self.fold)))

    def _forget(self) -> None:
        """Drop the oldest points, up to a copy that stands for them."""
        beyond = self._gone + len(self._points) - self._kept
        earlier = [at for at, _ in self._copies if at <= beyond]
        if earlier and earlier[-1] > self._gone:
            dropped = earlier[-1] - self._gone
            self._ids.difference_update(point.id for point in self._points[:dropped])
            del self._points[:dropped]
            self._gone = earlier[-1]
            self._copies = [(at, copy) for at, copy in self._copies if at >= self._gone]


def _place(point: Point) -> tuple[datetime, str]:
    return point.started, point.id


def _contents(point: Point) -> tuple[datetime, str, str, str, str, tuple[str, ...], float, str]:
    sure = -1.0 if point.confidence is None else point.confidence
    return point.started, point.id, point.site, point.probe, point.status, point.methods, sure, point.rule
