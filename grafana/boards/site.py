"""Site: one site on every ISP: open or not, by what means, since when, and how long each phase takes."""

from boards.frame import TO_ISP, begun, choice, filled, marked, with_page
from boards.panels import (
    STATUS_WORDS,
    bands,
    columns,
    in_unit,
    in_words,
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
    table,
    words,
)
from boards.tables import active_events
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common, units

CHOSEN = 'site="$site", vantage=~"$vantage"'
IN_USE = words({1: ("✖ in use", "dark-red")}, absent="not in use")
FAILS = words({1: ("✖ fails", "orange")}, absent="does not fail")


def site() -> Dashboard:
    """The dashboard."""
    says = "One site on every ISP: open or not, by what means, since when, and how long each phase takes."
    board = with_page(
        begun("site", says, evidence="/sites/${site}")
        .with_variable(choice("site", "Site", "label_values(almenara_site_status, site)", several=False))
        .with_variable(choice("vantage", "Vantage", 'label_values(almenara_site_status{site="$site"}, vantage)'))
    )
    content = {
        "$site now": (
            _states(),
            _everywhere(),
            _methods(),
            _failures(),
        ),
        "Over time": (
            _states_over_time(),
            _methods_over_time(),
            _failures_over_time(),
            _confidence_over_time(),
            active_events("Active events", 'site="$site"', width=12),
        ),
        "Phases": (_phases(),),
    }
    return marked(filled(board, content), 'site="$site"')


def _states() -> Stat:
    says = "The last verdict on each vantage, where there is one from the last three periods."
    states = now(status_codes("vantage", CHOSEN), "{{vantage}}")
    return (
        number("State", says, states, unit=units.NoUnit, width=24)
        .mappings(STATUS_WORDS)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .no_value("no data")
    )


def _everywhere() -> Table:
    says = "The last measurement on each vantage: what it found, how sure that is (nothing where it is inconclusive), and when."
    age = f"time() - max by (vantage) (almenara_site_last_measurement_timestamp_seconds{{{CHOSEN}}})"
    asked = (
        rows(status_codes("vantage, asn", CHOSEN)),
        rows(f"max by (vantage, asn) (almenara_site_confidence{{{CHOSEN}}})", ref="B"),
        rows(age.replace("by (vantage)", "by (vantage, asn)"), ref="C"),
    )
    shown = columns(vantage="Vantage", asn="AS", Value_A="State", Value_B="Confidence", Value_C="Measured")
    return (
        table("On every ISP", says, *asked, width=12)
        .transformations([merged(), *shown, ordered("Vantage")])
        .override_by_name("Vantage", linked(("This ISP", TO_ISP + "${__value.text}")))
        .override_by_name("State", in_words(STATUS_WORDS))
        .override_by_name("Confidence", in_unit(units.PercentUnit, 0))
        .override_by_name("Measured", in_unit(units.DurationSeconds, 0))
    )


def _methods() -> Table:
    says = "By what means the site is blocked where it is blocked: the layer, and what happens there. Empty: nowhere."
    used = rows(f"max by (vantage, asn, method) (almenara_site_blocked_methods{{{CHOSEN}}})")
    shown = columns(vantage="Vantage", asn="AS", method="Method")
    panel = table("Methods", says, used, width=6).transformations([*shown, ordered("Vantage")])
    return panel.no_value("blocked nowhere")


def _failures() -> Table:
    says = "Why the site did not open: the step that failed, and how, by OONI's names. Empty: it opens everywhere."
    failed = rows(f"max by (vantage, step, failure) (almenara_site_failure{{{CHOSEN}}})")
    shown = columns(vantage="Vantage", step="Step", failure="Failure")
    panel = table("Why it does not open", says, failed, width=6).transformations([*shown, ordered("Vantage")])
    return panel.no_value("opens everywhere")


def _states_over_time() -> StateTimeline:
    says = "What each measurement found, a band per vantage. A gap is a time without measurements, not a good sign."
    states = query(status_codes("vantage", CHOSEN), "{{vantage}}")
    return bands("States over time", says, states, shown=STATUS_WORDS, width=24)


def _methods_over_time() -> StateTimeline:
    says = "When which means of blocking were in use, a band per vantage and method."
    used = query(f"max by (vantage, method) (almenara_site_blocked_methods{{{CHOSEN}}})", "{{vantage}}: {{method}}")
    return bands("Methods over time", says, used, shown=IN_USE, width=12).no_value("blocked nowhere")


def _failures_over_time() -> StateTimeline:
    says = "When the site did not open and why, a band per vantage and failure (OONI's names)."
    failed = query(
        f"max by (vantage, step, failure) (almenara_site_failure{{{CHOSEN}}})", "{{vantage}}: {{step}} {{failure}}"
    )
    return bands("Failures over time", says, failed, shown=FAILS, width=12).no_value("opens everywhere")


def _confidence_over_time() -> TimeSeries:
    says = "How sure each verdict is: the probability that its status is right. A gap where it is inconclusive."
    sure = query(f"max by (vantage) (almenara_site_confidence{{{CHOSEN}}})", "{{vantage}}")
    return lines("Confidence over time", says, sure, unit=units.PercentUnit, width=12).max(1)


def _phases() -> TimeSeries:
    says = "How long each step of the last measurement took. A step that was not reached is missing."
    durations = 'max by (step) (almenara_site_step_duration_seconds{site="$site", vantage="$vantage"})'
    panel = lines("Phases on $vantage", says, query(durations, "{{step}}"), unit=units.Seconds, width=12)
    return stacked(panel).repeat("vantage").repeat_direction("h").max_per_row(2)
