"""One network: the sites measured on it, the probes' lines, and whether it works at all."""

import math

from msgspec import Struct, field

from monitor.detection.episode import Episode, Minimum, announced, begun, continued, room, unsettled, weighed
from monitor.detection.noise import MOST_RUN, Line, Reporter
from monitor.detection.outage import Outage, tell_network
from monitor.detection.series import Lesson, Model, Report, Series, independence
from monitor.detection.silence import Silence
from monitor.models import Kind, Network, Point, Status

BLOCKING = Model()
# Reports that come so close after the same probe's last that they say nothing new about how noise goes on.
_REPEATED = 0.5
_SURE = 0.8  # a verdict this sure counts in full: a false one may be as sure as a true one
_LEAST_SURE = 0.25
_COMPANY = 0.3  # the share of a line's other sites that look bad at once when the line itself is in trouble
_LATELY_S, _LATELY, _LATELY_PRIOR = 3600.0, 4.0, 10.0  # uneasy hours: the window in seconds and in reports; reports
_TROUBLE_PRIOR, _TROUBLE_PRIOR_S = 0.5, 15 * 86400.0  # one in a month, until learned
_MOST_RECENT = 1024
_COUNTED = 64  # sites; with more of them, a line's company is not counted anew at every report
_MOST_JOINT_ONSET = 0.5


class NetworkFold(Struct):
    """The state of one network after the points so far, which must come in order of (started, id)."""

    minimum: Minimum
    network: Network
    outage: Outage
    series: dict[str, Series] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)  # of sites that are blocked now
    closed: list[Episode] = field(default_factory=list)
    silence: Silence = field(default_factory=Silence)

    def take(self, point: Point) -> None:
        """One more measurement."""
        at = point.started.timestamp()
        status = point.status
        if point.network is not self.network:
            self.network = known(self.network, point.network)
        self.silence.heard(at, point.site, point.probe)
        tell_network(self.outage, point, at, self.network)
        if status is not Status.OK and status is not Status.BLOCKED:
            return
        blocked = status is Status.BLOCKED
        series = self.series.get(point.site)
        if series is None:
            series = self.series[point.site] = begun(BLOCKING, self.minimum)
        reporter = series.reporters.get(point.probe)
        if reporter is None:
            reporter = self._reporter(series, point, at)
        line = reporter.line
        line.heard[point.site] = at
        if not blocked and series.quiet and not line.bad and not point.methods and _in_full(point.confidence):
            # Nothing is the matter, and the report says so: most of all reports end here.
            reporter.seen[0] += 1.0
            line.seen[0] += 1.0
            series.at = series.last_open = at
            reporter.came(at)
            return
        self._judge(series, reporter, point, Report(at, blocked, point.probe, point.methods, confirmed=point.confirmed))

    def ask(self, minimum: Minimum) -> None:
        """Another minimum from now on."""
        self.minimum = minimum
        self.outage.ask(minimum)
        for series in self.series.values():
            series.longest = room(minimum)

    def settle(self, before: float) -> None:
        """Forget what ended before that: nothing can change it any more."""
        self.closed = unsettled(self.closed, before)
        self.outage.settle(before)
        self.silence.settle(before)

    def _reporter(self, series: Series, point: Point, at: float) -> Reporter:
        line = self.lines.get(point.probe)
        if line is None:
            line = self.lines[point.probe] = Line(at)
        reporter = series.reporters[point.probe] = Reporter(line, -math.inf)
        return reporter

    @property
    def shared(self) -> bool:
        """Whether several sites are measured here."""
        return len(self.series) > 1

    def _judge(self, series: Series, reporter: Reporter, point: Point, report: Report) -> None:
        gap = report.at - reporter.at
        if not report.blocked and hindered(reporter, point):
            series.hint(report.at)
            return
        repeated = independence(gap)
        report.weight = repeated * _believed(point.confidence)
        if series.active:
            false, onset, joint = reporter.hazard(reporter.context), 0.0, False
        else:
            false, onset, joint = self._false(reporter, point.site, report)
            if report.confirmed and report.blocked:
                false *= reporter.line.doubt()
        series.pass_time(report.at, onset)
        ratios = weighed(series, reporter, report, false)
        if repeated >= _REPEATED or gap == math.inf:
            self._learn_later(series, reporter, report, joint)
            reporter.moved(report.blocked)
        reporter.came(report.at)
        series.settle(report, ratios)
        self._conclude(series, reporter, point, report)

    def _conclude(self, series: Series, reporter: Reporter, point: Point, report: Report) -> None:
        site, bad = point.site, reporter.line.bad
        episode = self.episodes.get(site)
        if episode is not None:
            if continued(series, episode, report):
                self.closed.append(self.episodes.pop(site))
                for other in series.reporters.values():
                    other.rest()
            return
        if report.blocked:
            found = announced(series, self.minimum, Kind.BLOCKING, site, self.network)
            if found is not None:
                self.episodes[site] = found
                for line in self.lines.values():
                    line.bad.pop(site, None)
                return
            bad[site] = report.at
            recent = reporter.line.recent
            recent.append((report.at, site))
            if len(recent) > _MOST_RECENT:
                del recent[: _MOST_RECENT // 2]
        else:
            bad.pop(site, None)

    def _learn_later(self, series: Series, reporter: Reporter, report: Report, joint: bool) -> None:
        """What the report teaches, if it turns out that nothing happened."""
        share = 1 / (1 + len(reporter.line.bad)) if joint else 1.0
        context = min(reporter.run, MOST_RUN) if joint else reporter.context
        series.learn_later(Lesson(reporter, context, report.blocked, joint, share, report.confirmed))

    def _false(self, reporter: Reporter, site: str, report: Report) -> tuple[float, float, bool]:
        """How likely the report is bad though nothing is the matter, the least chance of an onset, whether in company."""
        line = reporter.line
        false = reporter.hazard(reporter.context)
        if not self.shared or not line.recent:
            return false, 0.0, False
        since = report.at - 1.5 * reporter.period - 60.0
        bad, others = self._company(line, site, since)
        lately = max(_LATELY_S, _LATELY * reporter.period)
        if not bad and line.recent[-1][0] < report.at - lately:
            return false, 0.0, False
        if bad and bad >= min(others, max(2.0, _COMPANY * others)):
            if report.at > line.in_trouble_until:
                line.troubles += 1
            line.in_trouble_until = report.at + 2 * reporter.period + 60.0
            onset = self._joint_onset(line, report.at) if report.blocked and not reporter.run else 0.0
            return line.joint(reporter.run, report.at - reporter.at), onset, True
        return max(false, self._unease(reporter, site, report.at, lately) if others else 0.0), 0.0, False

    def _company(self, line: Line, site: str, since: float) -> tuple[int, int]:
        """How many other sites of the line look bad now, of how many; of very many, as counted a few reports ago."""
        if line.counted is None or line.counts_left <= 0:
            bad = sum(at >= since for at in line.bad.values())
            heard = sum(at >= since for other, at in line.heard.items() if other not in self.episodes)
            line.counted, line.counts_left = (bad, heard), len(line.heard) // _COUNTED
        line.counts_left -= 1
        bad, heard = line.counted
        return (
            bad - (line.bad.get(site, -math.inf) >= since),
            heard - (site not in self.episodes and line.heard[site] >= since),
        )

    def _unease(self, reporter: Reporter, site: str, at: float, window: float) -> float:
        """How many reports of the line's other sites were bad lately: uneasy hours are every site's."""
        line = reporter.line
        others = len(line.heard) - 1
        line.recent = [seen for seen in line.recent if seen[0] >= at - window]
        bad = max(0, sum(seen[1] != site for seen in line.recent) - 1)  # one alone is everyday noise
        reports = others * min(window, at - line.first) / max(reporter.period, 1.0) if reporter.period else 0.0
        return (bad + _LATELY_PRIOR * line.rate()) / (max(reports, bad) + _LATELY_PRIOR)

    def _joint_onset(self, line: Line, at: float) -> float:
        """The chance that sites which turn bad together are blocked together: blocks are rare, trouble is learned."""
        trouble = (line.troubles + _TROUBLE_PRIOR) / (at - line.first + _TROUBLE_PRIOR_S)
        return min(_MOST_JOINT_ONSET, BLOCKING.onset / trouble)


# Methods that keep a page from coming; a transparent proxy or an injected script does not.
_DENYING = ("dns.", "tcp.", "tls.", "http.reset", "http.timeout", "http.eof")


def hindered(reporter: Reporter, point: Point) -> bool:
    """An open site that some attempts did not reach, on a line where that is unusual."""
    if not any(method.startswith(_DENYING) for method in point.methods):
        return False
    reporter.spoiled += 1.0
    return reporter.spoiled < _USUAL * (reporter.seen[0] + reporter.spoiled) + 5


_USUAL = 0.2


def _in_full(confidence: float | None) -> bool:
    return confidence is None or confidence >= _SURE


def _believed(confidence: float | None) -> float:
    if confidence is None or confidence >= _SURE:
        return 1.0
    return max(_LEAST_SURE, confidence / _SURE)


def known(network: Network, newer: Network) -> Network:
    """All that is known of a network, the newest word first."""
    return Network(
        asn=newer.asn if newer.asn is not None else network.asn,
        isp=newer.isp or network.isp,
        country=newer.country or network.country,
        source=newer.source,
    )
