"""Links: what a path does to packets: delay, loss, rate."""

from random import Random

_LONGEST_QUEUE_S = 2.0


class Link:
    """One direction of a line. rate: bytes per second. Packets leave in the order they came."""

    __slots__ = ("_chance", "_free_at", "delay_s", "loss", "rate")

    def __init__(self, delay_s: float, loss: float, rate: float, chance: Random) -> None:
        self.delay_s, self.loss, self.rate = delay_s, loss, rate
        self._chance = chance
        self._free_at = 0.0

    def carry(self, size: int, now: float) -> float | None:
        """When a packet that enters now comes out; None: it is lost (or the queue is full)."""
        if self.loss and self._chance.random() < self.loss:
            return None
        free_at = self._free_at
        if free_at < now:
            free_at = now
        elif free_at - now > _LONGEST_QUEUE_S:
            return None
        self._free_at = free_at = free_at + size / self.rate
        return free_at + self.delay_s
