"""Whether the service still does its work, for systemd's watchdog: that its loop turns is not enough.

What a new start would not mend is no reason for one: without a network measurements fail, but they end, each within its
budget; a store in trouble says so, and does not hang. Time asleep does not count.
"""

import time
from collections.abc import Callable

# Longer than the store takes for a long history (the unit gives ten minutes for it), or than any measurement may take.
PATIENCE_S = 900.0
MEASUREMENTS = 5  # a site's budget, so many times: where budgets are very long


class Liveness:
    """Asked now and then. patience_s: how long work may stand still while there is some."""

    def __init__(self, patience_s: float = PATIENCE_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._ended, self._moved = 0, clock()

    def hanging(self, *, waiting: bool, ended: int, storing_s: float, site_budget_s: float) -> str | None:
        """What stands still, in words; None where work goes on, or there is none.

        waiting: measurements are under way, or overdue. ended: how many did so far, whatever they found.
        storing_s: what the store's present piece of work takes so far.
        """
        now = self._clock()
        if not waiting or ended != self._ended:
            self._ended, self._moved = ended, now
        if storing_s > self._patience_s:
            return f"the store has not answered for {storing_s / 60:.0f} min"
        still_s = now - self._moved
        if still_s > max(self._patience_s, MEASUREMENTS * site_budget_s):
            return f"no measurement has ended for {still_s / 60:.0f} min, though some are due"
        return None
