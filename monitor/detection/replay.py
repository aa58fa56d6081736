"""Points in the order they were made, whatever the order they come in: a late one takes the fold back a little.

Kept per fold: the latest points, and copies of the fold at some of them. What is later than all of that is refused.
"""

import pickle
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from monitor.detection.episode import Minimum
from monitor.models import Point

# Most late points are late by a few: several vantages measure at once, and not all are equally fast.
_NEAR, _FAR = 128, 2048  # points between two copies
_BYTES_A_POINT = 1000  # of a copy: where there are many sites, copies are larger, and made less often
MOST_KEPT = 4 * _FAR


class Fold(Protocol):
    """Takes points in order."""

    def take(self, point: Point) -> None:
        """One more point."""
        ...

    def ask(self, minimum: Minimum) -> None:
        """Another minimum from now on."""
        ...

    def settle(self, before: float) -> None:
        """Forget what ended before that."""
        ...


Folded = TypeVar("Folded", bound=Fold)


def in_order(points: Iterable[Point]) -> list[Point]:
    """By time, each once: of several with one identity the first in the order of their contents."""
    ordered = sorted(points, key=_place)
    seen: set[_Identity] = set()
    if len({_identity(point) for point in ordered}) == len(ordered):
        return ordered
    ordered.sort(key=_contents)
    return [one for one in ordered if not ((who := _identity(one)) in seen or seen.add(who))]  # type: ignore[func-returns-value]


class Replay(Generic[Folded]):
    """A fold, its latest points and its copies."""

    def __init__(self, begin: Callable[[], Folded]) -> None:
        self.fold = begin()
        self.since: datetime | None = None  # the oldest point that was ever taken
        self.refused = 0  # points that came later than everything kept
        self._points: list[Point] = []
        self._known: set[_Identity] = set()
        self._gone = 0  # points taken and no longer kept
        self._dropped = False  # some of them since the fold was settled
        self._copies = [(0, _copied(self.fold))]  # how many points it has taken, and the copy

    def add(self, points: Iterable[Point]) -> None:
        """Take more points; known ones count once."""
        fresh = [point for point in in_order(points) if _identity(point) not in self._known]
        if self._gone and self._points:
            oldest = _place(self._points[0])
            taken = [point for point in fresh if _place(point) > oldest]
            self.refused += len(fresh) - len(taken)
            fresh = taken
        if not fresh:
            return
        self.since = min(self.since or fresh[0].started, fresh[0].started)
        self._known.update(map(_identity, fresh))
        first = bisect_right(self._points, _place(fresh[0]), key=_place)
        if first == len(self._points):
            self._points += fresh
        else:
            self._points[first:] = sorted([*self._points[first:], *fresh], key=_place)
            first = self._back_to(first)
        self._fold_from(first)
        self._forget()

    def cut(self, latest: datetime) -> None:
        """Take back what claims to be later than that: the clock was wrong."""
        first = bisect_right(self._points, latest, key=lambda point: point.started)
        if first < len(self._points):
            self._known.difference_update(map(_identity, self._points[first:]))
            del self._points[first:]
            self._fold_from(self._back_to(first))

    def change(self, minimum: Minimum) -> None:
        """Another minimum, here and in the copies."""
        self.fold.ask(minimum)
        for place, (at, copy) in enumerate(self._copies):
            fold = _again(copy)
            fold.ask(minimum)
            self._copies[place] = (at, _copied(fold))

    def settled(self, ended: datetime | None) -> bool:
        """Whether what ended then can change no more."""
        return bool(self._gone) and ended is not None and ended < self._points[0].started

    def settle(self) -> None:
        """Forget in the fold what can change no more."""
        if self._dropped:
            self.fold.settle(self._points[0].started.timestamp())
            self._dropped = False

    def _back_to(self, first: int) -> int:
        """Take the fold back to a copy made before that point; where to go on from."""
        while self._copies[-1][0] > self._gone + first:
            self._copies.pop()
        position, copy = self._copies[-1]
        self.fold = _again(copy)
        return position - self._gone

    def _fold_from(self, first: int) -> None:
        for index in range(first, len(self._points)):
            self.fold.take(self._points[index])
            position = self._gone + index + 1
            last, copy = self._copies[-1]
            near = max(_NEAR, len(copy) // _BYTES_A_POINT)
            if position - last >= near:
                self._thin_out(position - 2 * near)
                self._copies.append((position, _copied(self.fold)))

    def _thin_out(self, near: int) -> None:
        """Of the copies made before that, leave the first and one in _FAR points."""
        left: list[tuple[int, bytes]] = []
        for at, copy in self._copies:
            if not left or at >= near or at // _FAR != left[-1][0] // _FAR:
                left.append((at, copy))
        self._copies = left

    def _forget(self) -> None:
        """Drop the oldest points, up to a copy that stands for them."""
        beyond = self._gone + len(self._points) - MOST_KEPT
        earlier = [at for at, _ in self._copies if at <= beyond]
        if earlier and earlier[-1] > self._gone:
            dropped = earlier[-1] - self._gone
            self._known.difference_update(map(_identity, self._points[:dropped]))
            del self._points[:dropped]
            self._gone, self._dropped = earlier[-1], True
            self._copies = [(at, copy) for at, copy in self._copies if at >= self._gone]


def _copied(fold: Fold) -> bytes:
    """As bytes: seven times as fast as copy.deepcopy, and a fraction of the memory. They never leave this process."""
    return pickle.dumps(fold, pickle.HIGHEST_PROTOCOL)


def _again(copy: bytes) -> Any:
    return pickle.loads(copy)


_Identity = tuple[str, str, str, int | None]


def _identity(point: Point) -> _Identity:
    """An id counts once: for its site, probe and network. A stranger cannot spend another's."""
    return point.id, point.site, point.probe, point.network.asn


def _place(point: Point) -> tuple[datetime, str]:
    return point.started, point.id


def _contents(point: Point) -> tuple[datetime, str, str, str, str, tuple[str, ...], float, str]:
    sure = -1.0 if point.confidence is None else point.confidence
    return point.started, point.id, point.site, point.probe, point.status, point.methods, sure, point.rule
