"""Trouble of another kind than blocking, seen in one stream of reports: a site down for all, a network that fails."""

import math

from msgspec import Struct, field

from monitor.detection.episode import Episode, Minimum, announced, begun, continued, room, unsettled, weighed
from monitor.detection.noise import FAR, Line, Reporter, following
from monitor.detection.series import Lesson, Model, Report, Series, independence
from monitor.models import Kind, Network, Point, Status

# A site of a newsroom is down once in two months, a line fails once a month; both for hours. There is no "in part".
SITE_DOWN = Model(onset=1 / (60 * 86400.0), in_part=0.0, end=1 / (6 * 3600.0), at_first=0.02)
NETWORK_DOWN = Model(onset=1 / (30 * 86400.0), in_part=0.0, end=1 / (6 * 3600.0), at_first=0.02)
# Rules that say the network itself fails (monitor/verdict/rules.py); "" where the rule is not told.
# A sign-in page, an antivirus or a busy line is this house's own.
NETWORK_RULES = frozenset({"", "network_down", "resolver_outage"})
_REPEATED = 0.5


class Outage(Struct):
    """One stream of reports, the episodes in it."""

    kind: Kind
    site: str | None
    minimum: Minimum
    series: Series
    line: Line | None = None
    episode: Episode | None = None
    closed: list[Episode] = field(default_factory=list)

    def take(self, at: float, bad: bool, probe: str, network: Network | None) -> None:
        """One more report that says something about it."""
        series = self.series
        reporter = series.reporters.get(probe)
        if reporter is None:
            self.line = self.line or Line(at)
            reporter = series.reporters[probe] = Reporter(self.line, -math.inf)
        if not bad and series.quiet:
            reporter.seen[0] += 1.0
            reporter.line.seen[0] += 1.0
            series.at = series.last_open = at
            reporter.came(at)
            return
        # One good report says that it works, whatever else was tried in that minute.
        weight = independence(at - reporter.at) if bad else 1.0
        report = Report(at, bad, probe, (), weight)
        series.pass_time(at, 0.0)
        context = reporter.context
        ratios = weighed(series, reporter, report, reporter.hazard(context))
        if weight >= _REPEATED:
            series.learn_later(Lesson(reporter, context, bad, False, 1.0))
            reporter.run = reporter.run + 1 if bad else 0
            reporter.context = following(reporter.run, FAR)
        reporter.came(at)
        series.settle(report, ratios)
        self._conclude(report, network)

    def ask(self, minimum: Minimum) -> None:
        """Another minimum from now on."""
        self.minimum, self.series.longest = minimum, room(minimum)

    def settle(self, before: float) -> None:
        """Forget episodes that ended before that."""
        if self.closed:
            self.closed = unsettled(self.closed, before)

    def _conclude(self, report: Report, network: Network | None) -> None:
        if self.episode is not None:
            if continued(self.series, self.episode, report):
                self.closed.append(self.episode)
                self.episode = None
                for reporter in self.series.reporters.values():
                    reporter.rest()
        elif report.blocked:
            self.episode = announced(self.series, self.minimum, self.kind, self.site, network)


class SiteFold(Struct):
    """One site on all networks: is it down for everyone?"""

    outage: Outage

    def take(self, point: Point) -> None:
        """Down is what every control says; any vantage that reaches it, or whose controls do, says the contrary."""
        if point.status is not Status.INCONCLUSIVE:
            down = point.status is Status.DOWN
            self.outage.take(point.started.timestamp(), down, f"{point.network.asn} {point.probe}", None)


class SitesFold(Struct):
    """All sites, each for itself."""

    minimum: Minimum
    sites: dict[str, SiteFold] = field(default_factory=dict)

    def take(self, point: Point) -> None:
        """One more measurement."""
        fold = self.sites.get(point.site)
        if fold is None:
            outage = Outage(Kind.SITE_OUTAGE, point.site, self.minimum, begun(SITE_DOWN, self.minimum))
            fold = self.sites[point.site] = SiteFold(outage)
        fold.take(point)

    def ask(self, minimum: Minimum) -> None:
        """Another minimum from now on."""
        self.minimum = minimum
        for fold in self.sites.values():
            fold.outage.ask(minimum)

    def settle(self, before: float) -> None:
        """Forget episodes that ended before that: nothing can change them any more."""
        for fold in self.sites.values():
            fold.outage.settle(before)


def network_outage(minimum: Minimum) -> Outage:
    """Before the first point."""
    return Outage(Kind.NETWORK_OUTAGE, None, minimum, begun(NETWORK_DOWN, minimum))


def tell_network(outage: Outage, point: Point, at: float, network: Network) -> None:
    """Hand over what a measurement says of its network as a whole; other inconclusive ones say nothing."""
    failed = point.status is Status.INCONCLUSIVE
    known = point.network.asn is not None or bool(point.network.isp)
    if known and (not failed or point.rule in NETWORK_RULES):
        outage.take(at, failed, point.probe, network)
