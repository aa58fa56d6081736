"""When and why a step is taken: what every observation of a measurement has in common."""

import asyncio

from msgspec import Struct

from monitor.models import Purpose


class Occasion(Struct, frozen=True, kw_only=True):
    """hop, attempt, purpose: as in the observation. since: the event loop's time when the measurement started, seconds."""

    since: float
    hop: int = 0
    attempt: int = 1
    purpose: Purpose = Purpose.SITE

    def elapsed(self) -> float:
        """Seconds since the measurement started."""
        return round(asyncio.get_running_loop().time() - self.since, 6)
