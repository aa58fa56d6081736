"""Operations: does Almenara itself do well? Control, vantages, schedule, store, budget, configuration."""

from boards.frame import begun, choice, filled, marked, with_page
from boards.panels import (
    SLOWLY,
    UP_WORDS,
    YES_WORDS,
    bands,
    columns,
    in_unit,
    lines,
    merged,
    now,
    number,
    ordered,
    query,
    rows,
    stacked,
    steps,
    table,
)
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common, units

HERE = 'instance=~"$instance"'
BACKGROUND = common.BigValueColorMode.BACKGROUND


def operations() -> Dashboard:
    """The dashboard."""
    says = "Does Almenara itself do well? Control, vantages, schedule, store, budget, configuration."
    board = with_page(
        begun("operations", says).with_variable(
            choice("instance", "Instance", "label_values(almenara_build_info, instance)", everything=None)
        )
    )
    content = {
        "Now": (
            _scraped(),
            _control(),
            _store_up(),
            _reloaded(),
            _waiting(),
            _builds(),
        ),
        "Control and vantages": (
            _controls_over_time(),
            _vantages_over_time(),
        ),
        "Queue": (
            _measurements(),
            _running(),
            _lag(),
            _period(),
        ),
        "Errors": (
            _failures(),
            _inconclusive(),
        ),
        "Store and budget": (
            _stored(),
            _size(),
            _unsaved(),
            _budget(),
        ),
        "Events and scraping": (
            _events(),
            _scrape_time(),
            _scrape_size(),
            _alerts(),
            _undelivered(),
        ),
    }
    return marked(filled(board, content), HERE)


def _state(title: str, says: str, expression: str, legend: str, *, width: int, yes: bool = False) -> Stat:
    panel = number(title, says, now(expression, legend), unit=units.NoUnit, width=width)
    shown = YES_WORDS if yes else UP_WORDS
    return (
        panel.mappings(shown)
        .color_mode(BACKGROUND)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .no_value("no data")
    )


def _scraped() -> Stat:
    says = "Whether Prometheus reaches each Almenara."
    return _state("Scraped", says, f"max by (instance) (up{{{HERE}}})", "{{instance}}", width=5)


def _control() -> Stat:
    says = "Whether each test helper serves. Without any, nothing but the encrypted resolvers tells blocked from down."
    return _state("Control", says, f"max by (helper) (almenara_control_up{{{HERE}}})", "{{helper}}", width=6)


def _store_up() -> Stat:
    says = "Whether the store takes what is measured."
    return _state("Store", says, f"min by (instance) (almenara_store_up{{{HERE}}})", "{{instance}}", width=5)


def _reloaded() -> Stat:
    says = "Whether the configuration was in order when it was last read. If not, the one before it is in force."
    successful = f"min by (instance) (almenara_config_last_reload_successful{{{HERE}}})"
    return _state("Configuration in order", says, successful, "{{instance}}", width=5, yes=True)


def _waiting() -> Stat:
    says = "Sites that joined a list and are not measured until somebody has seen them: `almenara sites`."
    waiting = now(f"sum(almenara_lists_waiting_sites{{{HERE}}})", "sites")
    panel = number("Waiting sites", says, waiting, unit=units.Short, width=3)
    return panel.thresholds(steps((None, "text"), (1, "orange"))).no_value("no data")


def _builds() -> Table:
    says = "Each Almenara: its version, the version of its rules, and since when it runs with this configuration."
    asked = (
        rows(f"max by (instance, version, python, rules_version) (almenara_build_info{{{HERE}}})"),
        rows(f"max by (instance) (almenara_start_time_seconds{{{HERE}}}) * 1000", ref="B"),
        rows(f"max by (instance) (almenara_config_last_reload_success_timestamp_seconds{{{HERE}}}) * 1000", ref="C"),
    )
    shown = columns(
        instance="Instance", version="Version", rules_version="Rules", python="Python", Value_B="Runs since",
        Value_C="Configuration read",
    )  # fmt: skip
    return (
        table("Versions", says, *asked, width=24, height=5)
        .transformations([merged(), *shown, ordered("Instance")])
        .override_by_name("Runs since", in_unit(units.DatetimeDefault))
        .override_by_name("Configuration read", in_unit(units.DatetimeDefault))
    )


def _controls_over_time() -> StateTimeline:
    says = "Whether each test helper served, a band each."
    up = query(f"max by (helper) (almenara_control_up{{{HERE}}})", "{{helper}}")
    return bands("Control over time", says, up, shown=UP_WORDS, width=12)


def _vantages_over_time() -> StateTimeline:
    says = "Whether each vantage was up, a band each."
    up = query(f"max by (vantage) (almenara_vantage_up{{{HERE}}})", "{{vantage}}")
    return bands("Vantages over time", says, up, shown=UP_WORDS, width=12)


def _measurements() -> TimeSeries:
    says = "Measurements a minute on each vantage."
    rate = f"sum by (vantage) (rate(almenara_measurements_total{{{HERE}}}[$__rate_interval])) * 60"
    panel = lines("Measurements", says, query(rate, "{{vantage}}"), unit=units.CountsPerMinute, width=6)
    return stacked(panel).interval(SLOWLY)


def _running() -> TimeSeries:
    says = "Measurements under way on each vantage."
    running = query(f"sum by (vantage) (almenara_measurements_running{{{HERE}}})", "{{vantage}}")
    return stacked(lines("Under way", says, running, unit=units.Short, width=6))


def _of_each(title: str, says: str, metric: str, *, unit: str, width: int) -> TimeSeries:
    """One of Almenara's own figures over time, a line for each instance."""
    figure = query(f"max by (instance) ({metric}{{{HERE}}})", "{{instance}}")
    return lines(title, says, figure, unit=unit, width=width)


def _lag() -> TimeSeries:
    says = "How late the measurement is that is due for longest. It grows when more sites are due than can be measured in a period."
    return _of_each("Behind the schedule", says, "almenara_schedule_lag_seconds", unit=units.Seconds, width=6)


def _period() -> TimeSeries:
    says = "Time between two measurements of the site measured most often, as the budget has it. A gap: nothing is left of it."
    return _of_each("Period", says, "almenara_schedule_period_seconds", unit=units.Seconds, width=6)


def _failures() -> TimeSeries:
    says = "Steps that failed, a minute, on all vantages, by the step and OONI's name of the failure: the twelve most frequent."
    rate = f"topk(12, sum by (step, failure) (rate(almenara_step_failures_total{{{HERE}}}[$__rate_interval])) * 60)"
    panel = lines("Failures", says, query(rate, "{{step}} {{failure}}"), unit=units.CountsPerMinute, width=12)
    return panel.interval(SLOWLY)


def _inconclusive() -> TimeSeries:
    says = "The share of measurements that said nothing, on each vantage: no network, no control, contradictions."
    measured = "sum by (vantage) (increase(almenara_measurements_total{%s}[$__rate_interval]))"
    unknown = f'{HERE}, status="inconclusive"'
    share = f"{measured % unknown} / ({measured % HERE} > 0)"
    panel = lines("Inconclusive", says, query(share, "{{vantage}}"), unit=units.PercentUnit, width=12)
    return panel.max(1).interval(SLOWLY)


def _stored() -> TimeSeries:
    says = "Measurements in the store. It falls when old ones are removed (`keep`)."
    return _of_each("Measurements stored", says, "almenara_store_measurements", unit=units.Short, width=6)


def _size() -> TimeSeries:
    says = "The size of the store on the disk."
    return _of_each("Size of the store", says, "almenara_store_size_bytes", unit=units.BytesIEC, width=6)


def _unsaved() -> TimeSeries:
    says = "Measurements that wait to be stored. They are lost if Almenara ends before the store is well again."
    panel = _of_each("Not yet stored", says, "almenara_measurements_unsaved", unit=units.Short, width=6)
    return panel.axis_soft_max(1).decimals(0)


def _budget() -> TimeSeries:
    says = "What measuring took of the line today (UTC), and the most it may take, where the configuration sets one."
    return lines(
        "Budget of the day",
        says,
        query(f"max by (instance) (almenara_budget_used_bytes{{{HERE}}})", "{{instance}}: used"),
        query(f"max by (instance) (almenara_budget_bytes_limit{{{HERE}}})", "{{instance}}: limit", ref="B"),
        unit=units.BytesIEC,
        width=6,
    )


def _events() -> TimeSeries:
    says = "Events found in the last day, by kind."
    found = query(f"sum by (kind) (increase(almenara_events_total{{{HERE}}}[1d]))", "{{kind}}")
    return lines("Events a day", says, found, unit=units.Short, width=8).decimals(0)


def _scrape_time() -> TimeSeries:
    says = "How long /metrics takes to answer."
    return _of_each("Scrape: duration", says, "scrape_duration_seconds", unit=units.Seconds, width=8)


def _scrape_size() -> TimeSeries:
    says = "Series of each Almenara."
    return _of_each("Scrape: series", says, "scrape_samples_scraped", unit=units.Short, width=8)


def _alerts() -> TimeSeries:
    says = "Attempts to tell somebody of events, in an hour, by channel and by what came of them."
    tried = query(
        f"sum by (channel, result) (increase(almenara_alerts_total{{{HERE}}}[1h]))", "{{channel}}: {{result}}"
    )
    return lines("Alerts", says, tried, unit=units.Short, width=12).decimals(0)


def _undelivered() -> TimeSeries:
    says = "Messages that wait, or were given up; `almenara alerts` lists them. Those are sent again by hand only."
    left = query(f"sum by (channel, state) (almenara_alerts_undelivered{{{HERE}}})", "{{channel}}: {{state}}")
    return lines("Not told", says, left, unit=units.Short, width=12).decimals(0)
