"""Is it so now? A hidden state (open, blocked, blocked in part) in continuous time, filtered report by report.

The state is kept as odds against "open". A report multiplies the odds by how much likelier it is under the state than
as the reporter's noise; between reports the state may change, at stated rates, so that five minutes and a day, and
gaps, are the same to it. An inconclusive report is never handed in: it moves nothing.
"""

import math

from msgspec import Struct, field

from monitor.detection.noise import Reporter, following

_HOUR, _DAY = 3600.0, 86400.0

# An event is announced at 19 to 1 and ends at 1 to 20, in part at 1 to 100. Wrongly announced events are then at most
# about `onset` / 19 a site-year, 0.3 by this bound and less than half of it in fact, because one report seldom lands on
# the threshold.
ANNOUNCED = 19.0
_OVER, _OVER_IN_PART = 1 / 20, 1 / 100  # a partial block has long breaks, and one event is to stay one
CERTAIN = 99.0  # from here on what came before belongs to the episode
_SUREST = 1e6  # odds; no surer, so that good reports can end it
_COMMITTED = 0.002  # odds below which what was seen was noise, and teaches it
_CORRELATION_S = 30.0  # reports of one probe closer than this repeat each other: a reconnecting line's hiccup
_INDEPENDENT = 0.95  # weight from which a report counts in full
_INFLUENCE = 8.0  # nats that one probe may bring forward where others report: twice that convinces, once does not
_SECONDED = 6.0  # nats of all others from which a probe may say more: more than one false report brings
SUPPORT = 2.3  # nats from which a probe supports an announcement: ten to one
LONGEST_TRAIL = 256  # reports
_IN_PART, _SPELL_S = 0.6, 12 * _HOUR  # a partial episode shorter than that may have been one of the line's bad hours
_TELLING = following(4, 0)  # four bad reports before this one are no unease
_THIN = 0.27  # the share of bad reports below which an episode is hardly a block: 40 % is the least we look for
_BRIEF = 4  # bad reports within a spell: as likely a burst, and unlearned it would be told again each time
_MOST_ONSET = 0.1
_MOST_IDLE = 0.4
# A block of an hour may end within the hour, one of a year lasts: how long is left goes with how long it lasted.
_LASTING = 0.25
_CHANGES = 0.05  # so much as often as it ends, a block changes between full and in part
_MOST_CHANGE = 0.05  # however long the gap: it does not end an episode, and daily reports add up
_LEAST_WORTH = 0.5  # of a lesson that might have been a block: a missed block must not pass for the usual noise
_FEW = 1e-9
_HASTE, _ABSENT_S = (
    0.5,
    2 * _DAY,
)  # of the others' usual period; a probe not heard for so long has no say in what is usual
_HINT, _HINTED = 1.5, 1.0


class Model(Struct, frozen=True, kw_only=True):
    """What is believed of a state before looking. Rates are per second.

    onset: a watched site is blocked anew six times a year. in_part: the share of onsets that are partial. end: a block
    lasts a month, and a full one is the likelier to end the younger it is. full,
    part: how many reports say blocked; 40 % is what one of two resolvers or one of two paths gives. at_first: the odds
    that it is so when first looked at.
    """

    onset: float = 6.0 / (365.25 * _DAY)
    in_part: float = 0.75
    end: float = 1 / (30 * _DAY)
    full: float = 0.97
    part: float = 0.4
    at_first: float = 0.04


Ratios = tuple[float, float]  # how much likelier a report is when it is so, in full and in part


class Seen(Struct, frozen=True, gc=False):
    """A report that may belong to an episode. full, part: nats in favour of either state."""

    at: float
    blocked: bool
    full: float
    part: float
    probe: str
    methods: tuple[str, ...]


class Report(Struct, gc=False):
    """What one measurement says to a series. weight: 0 to 1, how much of a report it is."""

    at: float
    blocked: bool
    probe: str = ""
    methods: tuple[str, ...] = ()
    weight: float = 1.0
    confirmed: bool = False


class Lesson(Struct, frozen=True, gc=False):
    """A report that teaches noise once it is known that nothing happened."""

    reporter: Reporter
    context: int
    false: bool
    joint: bool
    share: float
    confirmed: bool = False


class Series(Struct):
    """The state of one site on one network (or of one site, or one network)."""

    model: Model
    longest: int = LONGEST_TRAIL  # reports that the trail may have
    at: float | None = None
    full: float = 0.0
    part: float = 0.0
    active: bool = False  # announced and not over
    began: float = 0.0  # the episode that is active
    idle: float = 0.0  # the odds at which nothing is the matter, at the present cadence
    peak: float = 0.0  # the highest odds since things were quiet
    quiet: bool = False  # nothing but good reports for long: the odds need not be kept
    last_open: float | None = None
    before_trail: float | None = None  # the last good report before the trail begins
    trail: list[Seen] = field(default_factory=list)
    lessons: list[Lesson] = field(default_factory=list)
    reporters: dict[str, Reporter] = field(default_factory=dict)

    @property
    def odds(self) -> float:
        """For "it is so", against "it is not"."""
        return self.full + self.part

    def ends(self, report: Report, in_part: bool) -> bool:
        """Whether an episode, in part or not, is over with this report."""
        return not report.blocked and self.odds < max(_OVER_IN_PART if in_part else _OVER, self.idle)

    def pass_time(self, at: float, company: float) -> None:
        """What may have changed since the last report. company: the least chance of a change, 0 where nothing hints."""
        model = self.model
        if self.at is None:
            self.full, self.part = model.at_first * (1 - model.in_part), model.at_first * model.in_part
            return
        gap = at - self.at
        self.idle = min(_MOST_IDLE, 4 * model.onset * gap)
        starts = model.onset * gap if model.onset * gap < _MOST_ONSET else _MOST_ONSET
        in_part = starts * model.in_part
        in_full = starts - in_part
        if company > in_full:
            in_full = company
        if self.quiet:  # the level at which good reports hold the odds
            self.full, self.part, self.quiet = in_full * 0.03, in_part * 1.5, False
        ends = model.end * gap
        if ends > _MOST_CHANGE:
            ends = _MOST_CHANGE
        changes = _CHANGES * ends
        full_ends = ends
        if self.active:
            full_ends = max(ends, min(_MOST_CHANGE, _LASTING * gap / (at - self.began + 3 * _HOUR)))
        full, part = self.full, self.part
        scale = 1 / (1 - in_full - in_part + full * full_ends + part * ends)
        self.full = (full * (1 - full_ends - changes) + in_full + part * changes) * scale
        self.part = (part * (1 - ends - changes) + in_part + full * changes) * scale

    def weigh(self, report: Report, false: float, weight: float) -> Ratios:
        """The odds after a report. false: how likely it would be bad if nothing were the matter."""
        model = self.model
        if report.blocked:
            full, part = model.full / false, model.part / false
        else:
            full, part = (1 - model.full) / (1 - false), (1 - model.part) / (1 - false)
        if weight < _INDEPENDENT:
            full, part = full**weight, part**weight
        self.full *= full
        self.part *= part
        odds = self.full + self.part
        if odds > self.peak:
            self.peak = odds
            if odds > _SUREST:
                self.full, self.part, self.peak = self.full * _SUREST / odds, self.part * _SUREST / odds, 0.0
        return full, part

    def hint(self, at: float) -> None:
        """Open, but hindered: half as likely again in a partial block; never more than a hint."""
        if self.at is not None:
            self.pass_time(at, 0.0)
            if self.odds < _HINTED:
                self.part *= _HINT
            self.at = at

    def settle(self, report: Report, ratios: Ratios) -> None:
        """Keep the trail: it begins with a bad report, and is dropped when the odds say that it was noise."""
        if not report.blocked and not self.active and self.odds < max(_COMMITTED, self.idle):
            self._commit()
        elif report.blocked or self.trail or self.active:
            if not self.trail:
                self.before_trail = self.last_open
            full, part = ratios
            self.trail.append(
                Seen(report.at, report.blocked, math.log(full), math.log(part), report.probe, report.methods)
            )
            if len(self.trail) > self.longest:
                self._shorten()
        if not report.blocked:
            self.last_open = report.at
        self.at = report.at

    def _commit(self) -> None:
        if self.trail:
            self.trail.clear()
        if self.lessons:
            worth = max(_LEAST_WORTH, 1 / (1 + self.peak))
            for lesson in self.lessons:
                _teach(lesson, worth)
            self.lessons.clear()
        self.peak = 0.0
        self.quiet = True
        for reporter in self.reporters.values():
            reporter.score = 0.0
            if reporter.context:
                self.quiet = False

    def _shorten(self) -> None:
        half = self.longest // 2
        dropped = self.trail[:half]
        del self.trail[:half]
        for seen in dropped:
            if not seen.blocked:
                self.before_trail = seen.at
        for lesson in self.lessons[:half]:
            _teach(lesson, _LEAST_WORTH)
        del self.lessons[:half]

    def learn_later(self, lesson: Lesson) -> None:
        """Keep what a report teaches until it is known what it was; of a long episode the beginning."""
        if not self.active or len(self.lessons) < self.longest:
            self.lessons.append(lesson)

    def favours_part(self) -> bool:
        """Which of the two states explains the reports better."""
        return self.part > self.full

    def likelier_start(self) -> int:
        """Where in the trail the episode most likely began: the bad report from which on everything speaks for it."""
        total, best, start = 0.0, -math.inf, len(self.trail)
        partly = self.favours_part()
        for index in range(len(self.trail) - 1, -1, -1):
            seen = self.trail[index]
            total += seen.part if partly else seen.full
            if seen.blocked and total > best - _FEW:
                best, start = total, index
        return start

    def likelier_end(self) -> int:
        """How many reports at the head of the trail still belong to an episode that is over."""
        total = best = 0.0
        end = 0
        partly = self.favours_part()
        for index, seen in enumerate(self.trail):
            total += seen.part if partly else seen.full
            if seen.blocked and total >= best:
                best, end = total, index + 1
        return end

    def supporters(self, trail: list[Seen]) -> set[str]:
        """The probes that bring forward enough of their own."""
        partly = self.favours_part()
        scores: dict[str, float] = {}
        for seen in trail:
            score = scores.get(seen.probe, 0.0) + (seen.part if partly else seen.full)
            scores[seen.probe] = max(0.0, score)
        return {probe for probe, score in scores.items() if score >= SUPPORT}

    def saturated(self, reporter: Reporter, at: float) -> bool:
        """Whether this probe has said all that one probe may say while others report as well."""
        if self.active or reporter.score < _INFLUENCE or len(self.reporters) < 2:
            return False
        others = [
            other
            for other in self.reporters.values()
            if other is not reporter and at - other.at < 3 * other.period + 60
        ]
        return bool(others) and sum(other.score for other in others) < _SECONDED

    def share(self, reporter: Reporter, at: float) -> float:
        """How much of a report one counts that comes faster than others' do: a hasty probe does not drown them out."""
        usual = sorted(
            other.period
            for other in self.reporters.values()
            if other is not reporter and other.period and at - other.at < _ABSENT_S
        )
        if not usual or not reporter.period:
            return 1.0
        return min(1.0, reporter.period / (_HASTE * usual[len(usual) // 2]))

    def over(self, lasted_s: float) -> None:
        """The episode ended: begin anew. A thin or brief one teaches: should it have been the line, no more of it."""
        self.active = False
        self.full = self.part = 0.0
        self.trail.clear()
        false = [index for index, lesson in enumerate(self.lessons, 1) if lesson.false]
        told = any(lesson.false and lesson.context >= _TELLING for lesson in self.lessons)
        thin = bool(false) and len(false) < (_IN_PART if lasted_s < _SPELL_S else _THIN) * false[-1]
        brief = lasted_s < _SPELL_S and len(false) <= _BRIEF
        if brief or (thin and not told):
            for lesson in self.lessons:
                _teach(lesson, 1.0)
        self.lessons.clear()
        self.peak = 0.0


def _teach(lesson: Lesson, worth: float) -> None:
    if lesson.false:
        lesson.reporter.line.was_false(lesson.confirmed, worth)
    if lesson.joint:
        line, run = lesson.reporter.line, lesson.context
        line.joint_seen[run] += worth * lesson.share
        line.joint_false[run] += worth * lesson.share if lesson.false else 0.0
    else:
        lesson.reporter.learn(lesson.context, lesson.false, worth)


def independence(gap_s: float) -> float:
    """How much of a report one is that comes so soon after the same probe's last one."""
    return 1.0 if gap_s > 3 * _CORRELATION_S else 1 - math.exp(-max(0.0, gap_s) / _CORRELATION_S)
