"""An episode from its announcement to its end: when it began, what supports it, when it was over."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field

from monitor.detection.noise import Reporter
from monitor.detection.series import ANNOUNCED, CERTAIN, LONGEST_TRAIL, Model, Ratios, Report, Seen, Series
from monitor.models import Event, Kind, Network

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_METHODS = 64
_WORTH_NAMING = 0.05  # of the heaviest method: less is a false verdict among the true ones
_SUREST = 0.999
_SECOND_METHOD = 0.5
_CAUTION, _CAUTION_IN_PART = 10.0, 60.0
_MAY_BE = 0.1
# With so many probes reporting, one that stands alone is its own trouble, or a lie.
_MANY_PROBES = 3


class Minimum(Struct, frozen=True):
    """At least so many before an event is announced."""

    measurements: int = 3
    probes: int = 1


class Episode(Struct):
    """What is known so far of one episode. Times are seconds since 1970."""

    kind: Kind
    site: str | None
    network: Network | None
    started: float
    after: float | None  # the last contrary report before
    detected: float
    last: float  # the last supporting report
    odds: float
    in_part: bool
    ended: float | None = None
    ended_after: float | None = None
    measurements: int = 0
    probes: set[str] = field(default_factory=set)
    methods: dict[str, float] = field(default_factory=dict)

    def support(self, trail: Iterable[Seen]) -> None:
        """Count the bad reports among these."""
        for seen in trail:
            if seen.blocked:
                self.measurements += 1
                self.last = seen.at
                self.probes.add(seen.probe)
                for place, method in enumerate(seen.methods):
                    if method in self.methods or len(self.methods) < MOST_METHODS:
                        weight = _SECOND_METHOD if place else 1.0
                        self.methods[method] = self.methods.get(method, 0.0) + weight

    def event(self) -> Event:
        """As it is told, but for its id and revision."""
        heaviest = max(self.methods.values(), default=0.0)
        named = [method for method, weight in self.methods.items() if weight >= _WORTH_NAMING * heaviest]
        return Event(
            id="",
            revision=1,
            kind=self.kind,
            site=self.site,
            network=self.network,
            methods=tuple(sorted(named, key=lambda method: (-self.methods[method], method))),
            started=moment(self.started),
            started_range=(None if self.after is None else moment(self.after), moment(self.started)),
            detected=moment(self.detected),
            ended=None if self.ended is None else moment(self.ended),
            ended_range=None if self.ended is None else (_moment(self.ended_after), moment(self.ended)),
            confidence=round(min(_SUREST, self.odds / (1 + self.odds)), 3),
            measurements=self.measurements,
            probes=len(self.probes),
        )


def moment(at: float) -> datetime:
    """Seconds since 1970 as a time."""
    return _EPOCH + timedelta(seconds=at)


def _moment(at: float | None) -> datetime | None:
    return None if at is None else moment(at)


def begun(model: Model, minimum: Minimum) -> Series:
    """Before the first report."""
    return Series(model, longest=room(minimum))


def room(minimum: Minimum) -> int:
    """How long a trail may be: room for the minimum even where only 40 % of the reports are bad."""
    return max(LONGEST_TRAIL, 4 * minimum.measurements)


def unsettled(closed: Iterable[Episode], before: float) -> list[Episode]:
    """Those that ended at that time or later."""
    return [episode for episode in closed if episode.ended is None or episode.ended >= before]


def announced(
    series: Series, minimum: Minimum, kind: Kind, site: str | None, network: Network | None
) -> Episode | None:
    """The episode that the last report settled, if it did."""
    if series.odds < ANNOUNCED:
        return None
    # How long bursts last at most is extrapolated, not known: where noise comes in bursts, be slower to believe.
    caution = max(reporter.burstiness() for reporter in series.reporters.values())
    if series.odds < ANNOUNCED * (1 + (_CAUTION_IN_PART if series.favours_part() else _CAUTION) * caution):
        return None
    start = series.likelier_start()
    trail = series.trail[start:]
    if sum(seen.blocked for seen in trail) < minimum.measurements or not _enough_probes(series, trail, minimum):
        return None
    contrary = [seen.at for seen in series.trail[:start] if not seen.blocked]
    episode = Episode(
        kind,
        site,
        network,
        started=trail[0].at,
        after=contrary[-1] if contrary else series.before_trail,
        detected=trail[-1].at,
        last=trail[-1].at,
        odds=series.odds,
        in_part=_in_part(series),
    )
    episode.support(trail)
    series.active, series.began = True, episode.started
    series.trail.clear()
    del series.lessons[: -len(trail)]
    for reporter in series.reporters.values():
        reporter.score = 0.0
    return episode


def _in_part(series: Series) -> bool:
    """Whether it may well be in part: a few reports in a row do not tell."""
    return series.part > _MAY_BE * series.full


def _enough_probes(series: Series, trail: list[Seen], minimum: Minimum) -> bool:
    if len(series.reporters) == 1:
        return minimum.probes <= 1
    heard = len({seen.probe for seen in trail})
    needed = max(minimum.probes, 2 if heard >= _MANY_PROBES else 1)
    return needed <= 1 or len(series.supporters(trail)) >= needed


def continued(series: Series, episode: Episode, report: Report) -> bool:
    """Take the last report into account; whether the episode is over now."""
    odds = series.odds
    if odds >= CERTAIN and report.blocked:
        episode.support(series.trail)
        episode.odds = max(episode.odds, odds)
        episode.in_part = _in_part(series)
        series.trail.clear()
    elif series.ends(report, episode.in_part):
        end = series.likelier_end()
        episode.support(series.trail[:end])
        contrary = [seen.at for seen in series.trail[end:] if not seen.blocked]
        episode.ended, episode.ended_after = contrary[0], episode.last
        series.over(episode.ended - episode.started)
        return True
    return False


def standing(series: Series, episode: Episode) -> Episode:
    """The episode as it stands, with the bad reports that are not yet settled."""
    if episode.ended is not None or not series.trail:
        return episode
    copied = Episode(
        **{name: getattr(episode, name) for name in episode.__struct_fields__ if name not in ("probes", "methods")},
        probes=set(episode.probes),
        methods=dict(episode.methods),
    )
    copied.support(series.trail)
    return copied


def weighed(series: Series, reporter: Reporter, report: Report, false: float) -> Ratios:
    """Hand a report to the series, within what one probe may say."""
    if len(series.reporters) == 1:
        return series.weigh(report, false, report.weight)
    weight = 0.0 if report.blocked and series.saturated(reporter, report.at) else report.weight
    weight *= series.share(reporter, report.at)
    full, part = series.weigh(report, false, weight)
    reporter.score = max(0.0, reporter.score + math.log(max(full, part) if report.blocked else part))
    return full, part
