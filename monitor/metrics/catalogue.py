"""Every metric: its name, what it is, its labels, unit and help. docs/metrics.md says the same; a test compares."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.samples import Sample

PREFIX = "almenara_"
AT_ONCE, PAUSE_S = 64, 0.0005
Value = tuple[tuple[str, ...], float]  # labels, value
_SITE = ("site", "vantage", "asn")


class Metric(Struct, frozen=True):
    """name: without the prefix. kind: of Prometheus (an info is a gauge there). unit: "" where it only counts."""

    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    help: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("site_status", "gauge", (*_SITE, "status"), "", "1 for the status of the site on the vantage, 0 for the others."),
        Metric("site_confidence", "gauge", _SITE, "", "The probability, 0 to 1, that the status is right."),
        Metric("site_blocked_methods", "gauge", (*_SITE, "method"), "", "1 for each method by which the site is blocked."),
        Metric("site_failure", "gauge", (*_SITE, "step", "failure"), "", "1 for the step at which the site did not open, and why."),
        Metric("site_step_duration_seconds", "gauge", (*_SITE, "step"), "seconds", "How long a step of the last measurement took."),
        Metric("site_last_measurement_timestamp_seconds", "gauge", _SITE, "seconds", "When the site was last measured."),
        Metric("vantage_up", "gauge", ("vantage",), "", "1 if the vantage measures and its checks find it online, else 0."),
        Metric("vantage_info", "info", ("vantage", "asn", "isp", "country"), "", "The network that the vantage is on."),
        Metric("last_measurement_timestamp_seconds", "gauge", ("vantage",), "seconds", "When the vantage last measured anything."),
        Metric("sites_configured", "gauge", ("vantage",), "", "Sites that are watched on the vantage."),
        Metric("sites_fresh", "gauge", ("vantage",), "", "Those of them with a result of the last three periods."),
        Metric("measurements_running", "gauge", ("vantage",), "", "Measurements under way, or waiting for their turn."),
        Metric("measurements_total", "counter", ("vantage", "status"), "", "Measurements stored, by the status found."),
        Metric("step_duration_seconds", "histogram", ("vantage", "step"), "seconds", "How long steps took on the way to sites."),
        Metric("step_failures_total", "counter", ("vantage", "step", "failure"), "", "Steps that failed on the way, and why."),
        Metric("resolver_queries_total", "counter", ("vantage", "resolver", "result"), "", "Questions about sites, by what came."),
        Metric("events_total", "counter", ("kind",), "", "Events found so far."),
        Metric("events_active", "gauge", ("asn",), "", "Blocking events that go on, by network."),
        Metric("active_event", "gauge", ("event", "incident", "kind", "site", "asn", "isp"), "", "1 for each event that goes on."),
        Metric("active_event_started_timestamp_seconds", "gauge", ("event",), "seconds", "When it began, for each of them."),
        Metric("outages_active", "gauge", ("kind",), "", "Outages and silences that go on."),
        Metric("alerts_total", "counter", ("channel", "result"), "", "Attempts to tell somebody of events, by what came of them."),
        Metric("alerts_undelivered", "gauge", ("channel", "state"), "", "Messages that wait, or were given up."),
        Metric("control_up", "gauge", ("helper",), "", "1 if the control answered when it was last asked, else 0."),
        Metric("store_up", "gauge", (), "", "1 if the store takes measurements and answers, else 0."),
        Metric("store_measurements", "gauge", (), "", "Measurements in the store."),
        Metric("store_size_bytes", "gauge", (), "bytes", "What the store takes on disk."),
        Metric("measurements_unsaved", "gauge", (), "", "Measurements that only memory has."),
        Metric("lists_waiting_sites", "gauge", (), "", "Sites that joined a test list and wait for approval."),
        Metric("schedule_lag_seconds", "gauge", (), "seconds", "How late the oldest measurement is that is due and not begun."),
        Metric("schedule_period_seconds", "gauge", (), "seconds", "Time between two measurements of the site measured most often."),
        Metric("budget_bytes_limit", "gauge", (), "bytes", "Bytes a UTC day that measuring may take."),
        Metric("budget_used_bytes", "gauge", (), "bytes", "Bytes that measuring took today (UTC)."),
        Metric("reloads_total", "counter", ("result",), "", "Times the configuration was read again."),
        Metric("config_last_reload_successful", "gauge", (), "", "1 if the configuration was right when last read, else 0."),
        Metric("config_last_reload_success_timestamp_seconds", "gauge", (), "seconds", "When a right configuration was last read."),
        Metric("start_time_seconds", "gauge", (), "seconds", "When this process began."),
        Metric("build_info", "info", ("version", "python", "rules_version"), "", "What runs."),
    )
}  # fmt: skip


def gauge(name: str) -> GaugeMetricFamily:
    """An empty gauge of the catalogue."""
    return GaugeMetricFamily(**_described(name))


class _Stream:
    """Samples that are made when they are told, and gone after that: of thousands of sites they are a hundred thousand.

    Telling goes on in a thread beside the measuring. It pauses after each few of them, or every packet would have to
    wait till the interpreter takes the turn from that thread by itself, which it does after 5 ms.
    """

    def __init__(self, name: str, labels: tuple[str, ...], values: Callable[[], Iterator[Value]]) -> None:
        self._name, self._labels, self._values = name, labels, values

    def __iter__(self) -> Iterator[Sample]:
        for number, (labels, value) in enumerate(self._values(), 1):
            yield Sample(self._name, dict(zip(self._labels, labels, strict=True)), value)
            if number % AT_ONCE == 0:
                time.sleep(PAUSE_S)


def streamed(name: str, values: Callable[[], Iterator[Value]]) -> GaugeMetricFamily:
    """A gauge with values that are asked for when it is told."""
    family = gauge(name)
    family.samples = _Stream(family.name, METRICS[name].labels, values)  # type: ignore[assignment]
    return family


def single(name: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    family = gauge(name)
    family.add_metric((), value)
    return family


def counter(name: str) -> CounterMetricFamily:
    """An empty counter of the catalogue."""
    return CounterMetricFamily(**_described(name))


def histogram(name: str) -> HistogramMetricFamily:
    """An empty histogram of the catalogue."""
    return HistogramMetricFamily(**_described(name))


def info(name: str) -> InfoMetricFamily:
    """An empty info of the catalogue; its labels come with its values."""
    return InfoMetricFamily(PREFIX + name.removesuffix("_info"), METRICS[name].help, labels=())


def _described(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    # OpenMetrics wants the unit at the end of the name, and the library would put it there.
    unit = metric.unit if name.endswith(f"_{metric.unit}") else ""
    return {"name": PREFIX + name, "documentation": metric.help, "labels": metric.labels, "unit": unit}
