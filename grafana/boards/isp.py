"""ISP: what is blocked on one network, how and since when, and how its name servers and each step do."""

from boards.frame import TO_SITE, begun, choice, filled, marked, with_page
from boards.panels import (
    NONE_IS_GOOD,
    SLOWLY,
    STATUS_WORDS,
    UP_WORDS,
    bands,
    columns,
    in_unit,
    lines,
    linked,
    merged,
    now,
    number,
    ordered,
    query,
    rows,
    stacked,
    status_codes,
    steps,
    table,
)
from boards.tables import active_events
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common, units

HERE = 'vantage="$vantage"'


def isp() -> Dashboard:
    """The dashboard."""
    says = "What is blocked on one network, how and since when, and how its name servers and each step do."
    board = with_page(
        begun("isp", says, evidence="/networks/asn${asn}")
        .with_variable(choice("vantage", "Vantage", "label_values(almenara_vantage_info, vantage)", several=False))
        .with_variable(
            choice("asn", "AS", f"label_values(almenara_vantage_info{{{HERE}}}, asn)", several=False, hidden=True)
        )
    )
    content = {
        "$vantage now": (
            _whose(),
            _up(),
            _blocked(),
            _share(),
            _events(),
            _newest(),
            _what_and_how(),
            active_events("Active events", 'asn="$asn"', width=14),
        ),
        "Over time": (
            _sites_over_time(),
            _methods_over_time(),
            _verdicts_over_time(),
        ),
        "Name servers and steps": (
            _resolver_health(),
            _resolver_queries(),
            _durations(),
            _failures(),
        ),
    }
    return marked(filled(board, content), 'asn="$asn"')


def _whose() -> Stat:
    says = "Whose network the vantage is on, as observed or, where that fails, as configured."
    info = now(f"max by (isp, asn, country) (almenara_vantage_info{{{HERE}}})", "{{isp}} · AS{{asn}} · {{country}}")
    panel = number("Network", says, info, unit=units.NoUnit, width=6)
    return panel.text_mode(common.BigValueTextMode.NAME).no_value("unknown")


def _up() -> Stat:
    says = "Whether measurements through this vantage get out of the machine at all."
    up = now(f"max(almenara_vantage_up{{{HERE}}})", "vantage")
    panel = number("State", says, up, unit=units.NoUnit, width=3).mappings(UP_WORDS)
    return panel.color_mode(common.BigValueColorMode.BACKGROUND).no_value("no data")


def _blocked() -> Stat:
    says = "Sites that the last measurement found blocked here."
    counted = now(f'sum(max by (site) (almenara_site_status{{status="blocked", {HERE}}}))', "sites blocked")
    return (
        number("Sites blocked", says, counted, unit=units.Short, width=4).thresholds(NONE_IS_GOOD).no_value("no data")
    )


def _share() -> Stat:
    says = "Sites blocked, of those that can be told (open, blocked or geoblocked)."
    share = now(_share_of(), "share")
    panel = number("Share blocked", says, share, unit=units.PercentUnit, width=4)
    return panel.thresholds(steps((None, "light-green"), (0.01, "orange"), (0.2, "dark-red"))).no_value("no data")


def _share_of() -> str:
    blocked = f'sum(almenara_site_status{{status="blocked", {HERE}}})'
    return f'{blocked} / (sum(almenara_site_status{{status=~"ok|blocked|geoblocked", {HERE}}}) > 0)'


def _events() -> Stat:
    says = "Blocking on this network that the detector is sure of and that has not ended."
    active = now('max(almenara_events_active{asn="$asn"})', "events")
    return (
        number("Blocking events", says, active, unit=units.Short, width=4).thresholds(NONE_IS_GOOD).no_value("no data")
    )


def _newest() -> Stat:
    says = "Time since the last measurement here."
    age = now(f"time() - max(almenara_last_measurement_timestamp_seconds{{{HERE}}})", "ago")
    panel = number("Last measurement", says, age, unit=units.Seconds, width=3)
    return panel.thresholds(steps((None, "light-green"), (1800, "orange"), (5400, "dark-red"))).no_value("no data")


def _what_and_how() -> Table:
    says = (
        "The sites that the last measurement found blocked here: by what means, how sure that is, and since when in the range of "
        "time shown."
    )
    used = f"almenara_site_blocked_methods{{{HERE}}}"
    sure = f"{used} * on (job, instance, site, vantage, asn) group_left () almenara_site_confidence{{{HERE}}}"
    asked = (
        rows(f"max by (site, method) ({used})"),
        rows(f"max by (site, method) ({sure})", ref="B"),
        rows(f"min by (site, method) (min_over_time(timestamp({used})[$__range:$__interval])) * 1000", ref="C"),
    )
    shown = columns(site="Site", method="Method", Value_B="Confidence", Value_C="Since (in this range)")
    return (
        table("What is blocked, and how", says, *asked, width=10)
        .transformations([merged(), *shown, ordered("Site")])
        .override_by_name("Site", linked(("This site", TO_SITE + "${__value.text}")))
        .override_by_name("Confidence", in_unit(units.PercentUnit, 0))
        .override_by_name("Since (in this range)", in_unit(units.DatetimeDefault))
        .no_value("nothing is blocked here")
    )


def _sites_over_time() -> StateTimeline:
    says = "Every site that was blocked here at some time in the range shown, and its states, a band each."
    once = f'max_over_time(almenara_site_status{{status="blocked", {HERE}}}[$__range] @ end()) == 1'
    states = query(f"{status_codes('site', HERE)}\nand on (site) ({once})", "{{site}}")
    panel = bands("Sites that were blocked", says, states, shown=STATUS_WORDS, width=24, height=10)
    return panel.no_value("nothing was blocked here")


def _methods_over_time() -> TimeSeries:
    says = "Sites blocked by each means. A site that is blocked by two counts twice."
    used = query(f"sum by (method) (almenara_site_blocked_methods{{{HERE}}})", "{{method}}")
    panel = stacked(lines("Methods", says, used, unit=units.Short, width=12)).decimals(0)
    return panel.no_value("nothing was blocked here")


def _verdicts_over_time() -> TimeSeries:
    says = "Measurements a minute, by verdict. A fall may be a fault of the probe, the line or the control."
    rate = f"sum by (status) (rate(almenara_measurements_total{{{HERE}}}[$__rate_interval])) * 60"
    panel = stacked(lines("Measurements", says, query(rate, "{{status}}"), unit=units.CountsPerMinute, width=12))
    return panel.interval(SLOWLY)


def _resolver_health() -> TimeSeries:
    says = "The share of questions to each name server that got an answer to use. A fall at one of them alone is its own trouble."
    asked = "sum by (resolver) (increase(almenara_resolver_queries_total{%s}[$__rate_interval]))"
    answered = asked % f'{HERE}, result="ok"'
    panel = lines(
        "Name servers: answered",
        says,
        query(f"{answered} / ({asked % HERE} > 0)", "{{resolver}}"),
        unit=units.PercentUnit,
        width=12,
    )
    return panel.max(1).interval(SLOWLY)


def _resolver_queries() -> TimeSeries:
    says = "Questions a minute to each name server, by result."
    rate = f"sum by (resolver, result) (rate(almenara_resolver_queries_total{{{HERE}}}[$__rate_interval])) * 60"
    asked = query(rate, "{{resolver}}: {{result}}")
    return stacked(lines("Name servers: questions", says, asked, unit=units.CountsPerMinute, width=12)).interval(SLOWLY)


def _durations() -> TimeSeries:
    says = "How long each step takes here, over all sites: half of them less than the median, one in twenty more than the 95 %."
    counted = f"sum by (step, le) (rate(almenara_step_duration_seconds_bucket{{{HERE}}}[$__rate_interval]))"
    panel = lines(
        "Steps: duration",
        says,
        query(f"histogram_quantile(0.5, {counted})", "{{step}}, median"),
        query(f"histogram_quantile(0.95, {counted})", "{{step}}, 95 %", ref="B"),
        unit=units.Seconds,
        width=12,
    )
    return panel.interval(SLOWLY)


def _failures() -> TimeSeries:
    says = "Steps that failed, a minute, by the step and OONI's name of the failure. Blocking shows here, and so do bad lines."
    rate = f"sum by (step, failure) (rate(almenara_step_failures_total{{{HERE}}}[$__rate_interval])) * 60"
    failed = query(rate, "{{step}} {{failure}}")
    return lines("Steps: failures", says, failed, unit=units.CountsPerMinute, width=12).interval(SLOWLY)
