"""How a site stands on one vantage, and which quick re-measurements a surprise is worth. Pure: time comes in.

A verdict that differs from the standing is measured again after 15, 40, 75 and 110 s, so that a block is confirmed within two
minutes; if it was no blip, the site is watched more closely for an hour. A site that flaps runs out of bursts: at most
BURSTS in a row, and one more every BURST_EVERY_S. `inconclusive` changes nothing but a single quick retry.
"""

from collections import Counter
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from monitor.models import Status

BURST_AFTER_S = (15.0, 40.0, 75.0, 110.0)  # after the surprise
BURSTS = 3
BURST_EVERY_S = 2 * 3600.0
RETRY_AFTER_S = 25.0
# A neighbour's echo is over after a minute as a rule (facts.md: 60 to 180 s): such a site is measured once more, then.
ECHO_S = 75.0
BREATH_S = 5.0  # between two measurements of one site
# Between one that somebody asked for and those before and after it: MIN_INTERVAL_S, which is what a configuration may ask.
APART_S = 10.0
BLIP = 2  # measurements as before that make a single surprise a blip


class Why(StrEnum):
    """What a measurement is for."""

    REGULAR = "regular"
    BURST = "burst"
    RETRY = "retry"
    ECHO = "echo"
    ASKED = "asked"  # by somebody outside
    ASIDE = "aside"  # the same, of a site that is not watched: told, not kept


class Seen(Struct, frozen=True, kw_only=True):
    """What the schedule needs of a measurement. echo_s: seconds since a neighbour's trigger that may have spoiled it."""

    status: Status
    asn: int | None = None
    echo_s: float | None = None


class Standing:
    """One site on one vantage. status: None until it is known; running: it is being measured, or waits for its turn."""

    def __init__(self, now: datetime) -> None:
        self.status: Status | None = None
        self.asn: int | None = None
        self.running = False
        self.asked_until = now  # so long, a result that was asked for stands for the regular one
        self._asked = False
        self._extras: list[tuple[datetime, Why]] = []
        self._surprise: list[Status] = []
        self._again = False
        self._bursts, self._counted = float(BURSTS), now

    def extra(self) -> tuple[datetime, Why] | None:
        """The next quick re-measurement; none while one is running."""
        return None if self.running or not self._extras else self._extras[0]

    def begin(self, why: Why, now: datetime) -> None:
        """It is being measured from now on: what was due until now is this."""
        self.running = True
        self._asked = why is Why.ASKED
        self._extras = [(at, reason) for at, reason in self._extras if at > now]
        self._again = why in (Why.RETRY, Why.ECHO) or (self._again and why is not Why.REGULAR)

    def end(self, now: datetime) -> None:
        """It is not being measured any more; another measurement of it follows after a breath at the soonest."""
        self.running = False
        soonest = now + timedelta(seconds=BREATH_S)
        self._extras = [(max(at, soonest), why) for at, why in self._extras]

    def note(self, seen: Seen, now: datetime, *, bursts: bool = True) -> bool:
        """A result. Returns whether it settles that the site deserves a closer watch. bursts: the budget has room."""
        if self._asked:
            self.asked_until = now + timedelta(seconds=APART_S)
        if seen.echo_s is not None:
            self._once_more(now + timedelta(seconds=max(0.0, ECHO_S - seen.echo_s)), Why.ECHO)
        elif seen.status is Status.INCONCLUSIVE:
            self._once_more(now + timedelta(seconds=RETRY_AFTER_S), Why.RETRY)
        else:
            self._weigh(seen, now, bursts)
        return self._settled()

    def forget_the_future(self, now: datetime, within_s: float) -> None:
        """The clock was set back: what lies too far ahead is due now."""
        latest = now + timedelta(seconds=within_s)
        self._extras = [(now if at > latest else at, why) for at, why in self._extras]
        self._counted = min(self._counted, now)
        self.asked_until = min(self.asked_until, now + timedelta(seconds=APART_S))

    def _once_more(self, at: datetime, why: Why) -> None:
        if not self._again and not self._surprise:
            self._extras.append((at, why))

    def _weigh(self, seen: Seen, now: datetime, bursts: bool) -> None:
        if seen.asn != self.asn:  # another network: what was known of the last one says nothing here
            self.status, self.asn, self._surprise, self._extras = None, seen.asn, [], []
        if self._surprise:
            self._surprise.append(seen.status)
        elif seen.status is not (self.status or Status.OK):
            if bursts and self._afford(now):
                self._surprise = [seen.status]
                self._extras = [(now + timedelta(seconds=after_s), Why.BURST) for after_s in BURST_AFTER_S]
            else:
                self.status = seen.status
        else:
            self.status = seen.status

    def _afford(self, now: datetime) -> bool:
        elapsed_s = max(0.0, (now - self._counted).total_seconds())
        self._bursts = min(float(BURSTS), self._bursts + elapsed_s / BURST_EVERY_S)
        self._counted = now
        if self._bursts < 1:
            return False
        self._bursts -= 1
        return True

    def _settled(self) -> bool:
        """Ends a burst that has told enough; True where it was no blip."""
        if not self._surprise:
            return False
        before = self.status or Status.OK
        as_before = self._surprise.count(before)
        others = len(self._surprise) - as_before
        blip = others == 1 and as_before >= BLIP
        if self._extras and not blip:
            return False
        self._extras = []
        changed = Counter(status for status in self._surprise if status is not before).most_common(1)[0][0]
        self.status = changed if 2 * others > len(self._surprise) else before
        self._surprise = []
        return others > 1
