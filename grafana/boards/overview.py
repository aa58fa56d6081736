"""Overview: which sites are blocked on which ISPs now, what is going on, and how much of it all is seen."""

from boards.frame import TO_ISP, TO_SITE, begun, choice, filled, marked, with_page
from boards.panels import (
    NONE_IS_GOOD,
    STATUS_WORDS,
    UP_WORDS,
    columns,
    in_unit,
    in_words,
    lines,
    linked,
    matrix,
    merged,
    now,
    number,
    ordered,
    plain,
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
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

CHOSEN = 'site=~"$site", vantage=~"$vantage"'
VANTAGE = 'vantage=~"$vantage"'
# What a share is taken of: a site that is down, or of which nothing can be said, is neither blocked nor open.
SETTLED = 'status=~"ok|blocked|geoblocked"'


def overview() -> Dashboard:
    """The dashboard."""
    says = "Which news sites are blocked on which ISPs now, what is going on, and how much of it all is seen."
    board = with_page(
        begun("overview", says)
        .with_variable(choice("site", "Site", "label_values(almenara_site_status, site)"))
        .with_variable(choice("vantage", "Vantage", "label_values(almenara_vantage_info, vantage)"))
    )
    content = {
        "Now": (
            _blocked(),
            _events(),
            _outages(),
            _coverage(),
            _newest(),
        ),
        "Sites and ISPs": (
            _matrix(),
            active_events("Active events", 'site=~"$site|"', width=24),
            _vantages(),
        ),
        "Over time": (
            _share_over_time(),
            _events_over_time(),
            _verdicts_over_time(),
            _coverage_over_time(),
        ),
    }
    return marked(filled(board, content), 'site=~"$site"')


def _blocked() -> Stat:
    says = "Sites that the last measurement found blocked on at least one of the vantages chosen."
    counted = now(f'sum(max by (site) (almenara_site_status{{status="blocked", {CHOSEN}}}))', "sites blocked")
    panel = number("Sites blocked", says, counted, unit=units.Short, width=5)
    return panel.thresholds(NONE_IS_GOOD).no_value("no data")


def _events() -> Stat:
    says = "Blocking that the detector is sure of and that has not ended, counted once a site and network, on all networks."
    counted = now("sum(max by (asn) (almenara_events_active))", "events")
    return (
        number("Blocking events", says, counted, unit=units.Short, width=5).thresholds(NONE_IS_GOOD).no_value("no data")
    )


def _outages() -> Stat:
    says = "What is going on that is not blocking: sites down for everyone, networks without service, vantages that say nothing."
    counted = now("max by (kind) (almenara_outages_active)", "{{kind}}")
    panel = number("Outages and silence", says, counted, unit=units.Short, width=6)
    return panel.thresholds(steps((None, "light-green"), (1, "orange"))).no_value("no data")


def _coverage() -> Stat:
    says = (
        "Sites with a measurement from the last three periods, of all that are to be measured. No data is not a good sign: "
        "what is not covered may be blocked."
    )
    covered = now(_covered(""), "coverage")
    panel = number("Coverage", says, covered, unit=units.PercentUnit, width=4).min(0).max(1)
    return panel.thresholds(steps((None, "dark-red"), (0.8, "orange"), (0.95, "light-green"))).no_value("no data")


def _newest() -> Stat:
    says = "Time since the newest measurement on any of the vantages chosen."
    age = now(f"time() - max(almenara_last_measurement_timestamp_seconds{{{VANTAGE}}})", "ago")
    panel = number("Newest measurement", says, age, unit=units.Seconds, width=4)
    return panel.thresholds(steps((None, "light-green"), (1800, "orange"), (5400, "dark-red"))).no_value("no data")


def _covered(by: str) -> str:
    fresh, configured = (
        f"sum{by} (max by (vantage) (almenara_sites_{one}{{{VANTAGE}}}))" for one in ("fresh", "configured")
    )
    return f"{fresh} / ({configured} > 0)"


def _matrix() -> Table:
    says = (
        "Each site on each vantage, by the last measurement. Where two URLs share a host the graver verdict shows. An empty "
        "cell has had no measurement for three periods. Click a cell for the site or the ISP."
    )
    cells = linked(("This site", TO_SITE + "${__data.fields.Site}"), ("This ISP", TO_ISP + "${__field.name}"))
    return (
        table("Sites and ISPs now", says, rows(status_codes("site, vantage", CHOSEN)), width=24, height=16)
        .transformations(
            [
                matrix("site", "vantage"),
                DataTransformerConfig(id_val="organize", options={"renameByName": {"site\\vantage": "Site"}}),
                ordered("Site"),
            ]
        )
        .mappings(STATUS_WORDS)
        .cell_options(common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC))
        .override_by_regexp("^(?!Site$).*", cells)
        .override_by_name("Site", [*plain(), *linked(("This site", TO_SITE + "${__value.text}"))])
        .no_value("no data")
    )


def _vantages() -> Table:
    says = "Each vantage: whose network it is, whether it is up, what it finds, and when it last measured."
    count = "sum by (vantage) (max by (vantage, site) (almenara_site_status{{status={status}, {vantage}}}))"
    asked = [
        f"max by (vantage, isp, asn, country) (almenara_vantage_info{{{VANTAGE}}})",
        f"max by (vantage) (almenara_vantage_up{{{VANTAGE}}})",
        count.format(status='"blocked"', vantage=VANTAGE),
        f"max by (vantage) (almenara_sites_configured{{{VANTAGE}}})",
        _covered(" by (vantage)"),
        f"time() - max by (vantage) (almenara_last_measurement_timestamp_seconds{{{VANTAGE}}})",
    ]
    shown = columns(
        vantage="Vantage", isp="ISP", asn="AS", country="Country", Value_B="State", Value_C="Sites blocked",
        Value_D="Sites", Value_E="Coverage", Value_F="Last measured",
    )  # fmt: skip
    return (
        table(
            "Vantages",
            says,
            *(rows(one, ref=ref) for one, ref in zip(asked, "ABCDEF", strict=True)),
            width=24,
            height=6,
        )
        .transformations([merged(), *shown, ordered("Vantage")])
        .override_by_name("Vantage", linked(("This ISP", TO_ISP + "${__value.text}")))
        .override_by_name("State", in_words(UP_WORDS))
        .override_by_name("Coverage", in_unit(units.PercentUnit, 0))
        .override_by_name("Last measured", in_unit(units.DurationSeconds, 0))
    )


def _share_over_time() -> TimeSeries:
    says = "Sites blocked, of those that can be told (open, blocked or geoblocked), on each vantage."
    blocked = f'sum by (vantage) (almenara_site_status{{status="blocked", {CHOSEN}}})'
    settled = f"(sum by (vantage) (almenara_site_status{{{SETTLED}, {CHOSEN}}}) > 0)"
    panel = lines(
        "Share blocked", says, query(f"{blocked} / {settled}", "{{vantage}}"), unit=units.PercentUnit, width=12
    )
    return panel.axis_soft_max(0.1)


def _events_over_time() -> TimeSeries:
    says = "Active blocking events on each network."
    active = query("max by (asn) (almenara_events_active)", "AS{{asn}}")
    return lines("Blocking events over time", says, active, unit=units.Short, width=12).decimals(0).axis_soft_max(1)


def _verdicts_over_time() -> TimeSeries:
    says = "The last verdicts on all sites and vantages chosen, counted by status."
    counted = query(f"sum by (status) (almenara_site_status{{{CHOSEN}}})", "{{status}}")
    return stacked(lines("Verdicts over time", says, counted, unit=units.Short, width=12))


def _coverage_over_time() -> TimeSeries:
    says = "Sites with a measurement from the last three periods, of all that are to be measured, on each vantage."
    covered = _covered(" by (vantage)")
    return lines(
        "Coverage over time", says, query(covered, "{{vantage}}"), unit=units.PercentUnit, width=12
    ).axis_soft_max(1)
