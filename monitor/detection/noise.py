"""How often a verdict accuses wrongly, learned from the reports themselves.

False verdicts are a renewal process with a learned hazard: how likely the next one is false depends on how many false
ones came just before, or how many good ones since the last. Independent noise has the same hazard everywhere; bursts
show in the hazard after one false verdict, uneasy hours in the hazard a few good verdicts later. A reporter (one probe
on one site) borrows from its line (that probe on its network, all sites) until it has seen enough itself.

When several sites of one line turn bad together, the line's own trouble explains that: `company` is its own table.
"""

import math

from msgspec import Struct, field

# Contexts: 0 no false verdict among the last 16, 1..4 fewer and fewer good ones since, 5.. a run of 1, 2, ... false ones.
_BY_CLEAN = (4, 4, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0)
FAR = len(_BY_CLEAN) - 1
MOST_RUN = 8
_FIRST_RUN = 5
CONTEXTS = _FIRST_RUN + MOST_RUN
_RUNS = MOST_RUN + 1

# A verdict is false once in 65: between OONI's newest analysis (0.16 %) and the 6 % of a bad line. Worth half a false
# verdict of knowledge, so that a day's reports outweigh it.
_FALSE_PRIOR = 0.5
_SEEN_PRIOR = 33.0
_BORROWED = 40.0  # reports; so much a reporter trusts its line for the rate of lone false verdicts
_BORROWED_RUN = 4.0  # and for how bursts go on
# Before anything is known, a false verdict is followed by another one in five times: a burst of up to six at the very
# start must not make an event.
_RUN_PRIOR = 0.2
_RUN_PRIOR_WORTH = 2.0
_RUN_FADES = 0.85  # until seen otherwise, a burst is the less likely to go on the longer it lasted
_UNEASY = 1.1  # a little more likely soon after a false one
_UNEASY_WORTH = 12.0
_CHANCE = 0.05  # so much a learned hazard differs by chance
_LEAST, _MOST = 5e-4, 0.97
_MOST_TO_GO_ON = 0.5  # whatever was learned, a burst is as likely over: what goes on and on is a block, not noise
_STALE = 1.1  # hazards are weighed anew when so much more has been seen
_MEMORY = 20_000.0  # reports; beyond, the old ones fade: lines change over the months
# Trouble of a line that hits several sites at once lasts about so long (a reconnecting modem, an overloaded resolver),
# but some lasts for hours: so much of it, an hour later.
_TROUBLE_S = 900.0
_LONG_TROUBLE = 0.2
_TROUBLE_WORTH = 2.0
# A confirmed verdict rests on a counterfactual repeated twice with the control succeeding: of false ones few should be
# confirmed, until this line's own teach otherwise.
_CONFIRMED_PRIOR = 0.15
_CONFIRMED_WORTH = 3.0


def following(run: int, clean: int) -> int:
    """The context of the next report after so many false ones in a row, or good ones since."""
    if run:
        return _FIRST_RUN + min(run, MOST_RUN) - 1
    return _BY_CLEAN[min(clean, FAR)]


class Line(Struct):
    """One probe's connection on one network: what all its sites taught, and which of them look bad right now."""

    first: float
    seen: list[float] = field(default_factory=lambda: [0.0] * CONTEXTS)
    false: list[float] = field(default_factory=lambda: [0.0] * CONTEXTS)
    joint_seen: list[float] = field(default_factory=lambda: [0.0] * _RUNS)
    joint_false: list[float] = field(default_factory=lambda: [0.0] * _RUNS)
    bad: dict[str, float] = field(default_factory=dict)  # site -> when it was last reported blocked, unannounced
    recent: list[tuple[float, str]] = field(default_factory=list)  # bad reports of unannounced sites, of late
    heard: dict[str, float] = field(default_factory=dict)  # site -> when it was last judged
    false_seen: float = 0.0
    false_confirmed: float = 0.0
    counted: tuple[int, int] | None = None  # how many sites are bad, of how many, and for how many reports that holds
    counts_left: int = 0
    troubles: float = 0.0
    in_trouble_until: float = -math.inf

    def rate(self) -> float:
        """How often a report that comes out of the blue is false."""
        return (self.false[0] + _FALSE_PRIOR) / (self.seen[0] + _SEEN_PRIOR)

    def was_false(self, confirmed: bool, worth: float) -> None:
        """A false report, and whether it was confirmed."""
        self.false_seen += worth
        self.false_confirmed += worth if confirmed else 0.0

    def doubt(self) -> float:
        """The share of false reports that are confirmed: how much less likely a confirmed one is false."""
        return (self.false_confirmed + _CONFIRMED_PRIOR * _CONFIRMED_WORTH) / (self.false_seen + _CONFIRMED_WORTH)

    def joint(self, run: int, gap_s: float) -> float:
        """How likely another false report is while other sites of the line are bad, too."""
        prior = 0.5 if not run else _trouble_goes_on(gap_s)
        run = min(run, MOST_RUN)
        return (self.joint_false[run] + _TROUBLE_WORTH * prior) / (self.joint_seen[run] + _TROUBLE_WORTH)


class Reporter(Struct):
    """One probe on one site of one network: its latest reports and what they taught."""

    line: Line
    at: float
    run: int = 0
    clean: int = FAR
    context: int = 0
    period: float = 0.0  # seconds between its reports, smoothed
    spoiled: float = 0.0  # open, but some attempts were interfered with
    score: float = 0.0  # what this probe alone has brought forward since things were quiet, in nats
    seen: list[float] = field(default_factory=lambda: [0.0] * CONTEXTS)
    false: list[float] = field(default_factory=lambda: [0.0] * CONTEXTS)
    hazards: list[float] = field(default_factory=list)
    weighed_at: float = -1.0  # how much was known of lone reports when the hazards were weighed

    def hazard(self, context: int) -> float:
        """How likely a report in this context is false."""
        if self.seen[0] + self.line.seen[0] > _STALE * self.weighed_at:
            self.weigh()
        return self.hazards[context]

    def weigh(self) -> None:
        """The hazards anew, from what was learned."""
        line = self.line
        rate = (self.false[0] + _BORROWED * line.rate()) / (self.seen[0] + _BORROWED)
        self.weighed_at = self.seen[0] + line.seen[0]
        hazards = [_within(rate)]
        pooled = own = rate
        for context in range(1, CONTEXTS):
            if context < _FIRST_RUN:
                prior, worth = pooled * _UNEASY, _UNEASY_WORTH
            elif context == _FIRST_RUN:
                prior, worth = max(_RUN_PRIOR, pooled), _RUN_PRIOR_WORTH
            else:
                prior, worth = max(pooled * _RUN_FADES, rate), _RUN_PRIOR_WORTH
            pooled = (line.false[context] + worth * prior) / (line.seen[context] + worth)
            borrowed = _BORROWED_RUN if context >= _FIRST_RUN else _UNEASY_WORTH
            own = (self.false[context] + borrowed * pooled) / (self.seen[context] + borrowed)
            hazards.append(_within(max(min(own, _MOST_TO_GO_ON), rate)))
        self.hazards = hazards

    def burstiness(self) -> float:
        """How much likelier a report is false right after a false one than out of the blue; 0 for lone noise."""
        lone = self.hazard(0)
        return max(0.0, max(self.hazards[1 : _FIRST_RUN + 1]) - 2 * lone - _CHANCE)

    def learn(self, context: int, false: bool, worth: float) -> None:
        """One report of a site that was not blocked."""
        for table in (self, self.line):
            table.seen[context] += worth
            if false:
                table.false[context] += worth
            if table.seen[0] > _MEMORY:
                table.seen[:] = [value / 2 for value in table.seen]
                table.false[:] = [value / 2 for value in table.false]
        if false:
            self.weigh()

    def came(self, at: float) -> None:
        """A report came: smooth its period, and do not let a gap spoil it."""
        gap, period = at - self.at, self.period
        if not period:
            self.period = 0.0 if gap == math.inf else gap
        else:
            self.period += ((gap if gap < 4 * period else 4 * period) - period) * 0.1
        self.at = at

    def moved(self, blocked: bool) -> None:
        """What the next report will be judged by."""
        if blocked:
            self.run += 1
            self.clean = 0
        else:
            self.clean = self.clean + 1 if not self.run else 1
            self.run = 0
        self.context = following(self.run, self.clean)

    def rest(self) -> None:
        """An episode is over: what follows has nothing to do with it."""
        self.run, self.clean, self.context = 0, FAR, 0


def _trouble_goes_on(gap_s: float) -> float:
    long = min(_LONG_TROUBLE, _TROUBLE_S / max(gap_s, 1.0))
    return max(0.05, long, min(0.8, math.exp(-gap_s / _TROUBLE_S)))


def _within(value: float) -> float:
    return max(_LEAST, min(_MOST, value))
