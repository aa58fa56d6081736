"""Who is being told now: so many at once in all, and of each channel, and no receiver that is slow holds up another.

A subscriber that could not be told the last time, or was slow, is in trouble: such ones have places of their own, and all
the time they need. Of the others whoever takes long must leave when somebody else waits; it is told again later.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

# Of those that are in trouble, and as many of the others. Some need a process of their own, of some 60 MB.
AT_ONCE = 6
OF_A_CHANNEL = 3
SLOW_S = 5.0  # so long nobody is asked to leave


class Place(Struct, frozen=True, kw_only=True):
    """One that is taken. began: by the clock. limit: ends what is done there."""

    channel: str
    in_trouble: bool
    began: float
    limit: asyncio.Timeout


class Places:
    """By subscription."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: dict[str, Place] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._taken

    def take(self, key: str, channel: str, *, in_trouble: bool) -> Place:
        """Until it is left."""
        limit = asyncio.timeout(None)
        self._taken[key] = Place(channel=channel, in_trouble=in_trouble, began=self._clock(), limit=limit)
        return self._taken[key]

    def is_slow(self, key: str) -> bool:
        """Has it been there for long?"""
        return self._clock() - self._taken[key].began >= SLOW_S

    def leave(self, key: str) -> None:
        """The place is free."""
        self._taken.pop(key, None)

    def are_free(self, channel: str, *, in_trouble: bool) -> bool:
        """Is there one?"""
        taken = [one for one in self._taken.values() if one.in_trouble == in_trouble]
        return len(taken) < AT_ONCE and len(_of(channel, taken)) < OF_A_CHANNEL

    def make_free(self, channel: str) -> float:
        """Ask the slowest to leave, for one that is well; else how long until it is to be asked, in seconds."""
        taken = [one for one in self._taken.values() if not one.in_trouble]
        same = _of(channel, taken)
        slowest = min(same if len(same) >= OF_A_CHANNEL else taken, key=lambda one: one.began)
        left_s = slowest.began + SLOW_S - self._clock()
        if left_s > 0:
            return left_s
        if not slowest.limit.expired():
            slowest.limit.reschedule(asyncio.get_running_loop().time())
        return SLOW_S


def _of(channel: str, places: Iterable[Place]) -> list[Place]:
    return [one for one in places if one.channel == channel]
