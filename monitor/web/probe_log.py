"""`debug=true`: what a probe did, step by step, as log lines like blackbox_exporter's, and what it would have answered."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.config import MeasureConfig
from monitor.explain import explain
from monitor.models import Control, Dns, Http, Measurement, Observation, Tcp, Tls
from monitor.web.probe_metrics import Probed, exposition, samples

MOST_LINES = 500  # of observations: hops, addresses and attempts are bounded already
MOST_CHARACTERS = 200  # of a value: peers choose some

_PLAIN = re.compile(r"[^\s\"=\\]+")

Fields = dict[str, Any]


def debug_text(target: str, probed: Probed, settings: MeasureConfig, asked: datetime) -> str:
    """The three parts that blackbox_exporter has. asked: when."""
    common = {"vantage": probed.vantage, "target": target}
    lines = [_line(when, level, message, common | fields) for when, level, message, fields in _told(probed, asked)]
    metrics = exposition(samples(probed))[0].decode()
    values = {
        "vantage": probed.vantage, "timeout": f"{settings.timeout_s:g}s", "budget": f"{settings.budget_s:g}s",
        "attempts": settings.attempts,
    }  # fmt: skip
    configuration = "".join(f"{key}: {value}\n" for key, value in values.items())
    return (
        "Logs for the probe:\n" + "".join(lines) + "\n\n\nMetrics that would have been returned:\n" + metrics
        + "\n\n\nVantage configuration:\n" + configuration
    )  # fmt: skip


_Told = tuple[datetime, str, str, Fields]


def _told(probed: Probed, asked: datetime) -> Iterator[_Told]:
    measurement = probed.measurement
    yield asked, "info", "Beginning probe", {"timeout_seconds": probed.timeout_s}
    if measurement is None:
        over = asked + timedelta(seconds=probed.waited_s)
        yield over, "error", "Probe timed out, the measurement goes on", {"duration_seconds": probed.waited_s}
        return
    if measurement.started < asked:
        shared = {"id": measurement.id, "ended_seconds_ago": round(probed.age_s, 3)}
        yield asked, "info", "Sharing a measurement", shared
    yield from _observed(measurement)
    yield from _concluded(measurement, probed.success)


def _observed(measurement: Measurement) -> Iterator[_Told]:
    seen: list[Observation] = [*measurement.dns, *measurement.tcp, *measurement.tls, *measurement.http]
    for one in sorted(seen, key=lambda one: one.started)[:MOST_LINES]:
        good, bad, fields = _step(one)
        level, message = ("info", good) if one.failure is None else ("error", bad)
        fields |= {"failure": one.failure, "purpose": one.purpose.value}
        fields |= {"hop": one.hop, "attempt": one.attempt, "duration_seconds": one.duration}
        yield measurement.started + timedelta(seconds=one.started), level, message, fields


def _step(one: Observation) -> tuple[str, str, Fields]:
    """What to say of it where it went well, and where it did not; and what of it."""
    match one:
        case Dns():
            asked = {"name": one.name, "type": one.type, "resolver": one.resolver, "role": one.role.value}
            return "Resolved target address", "Resolution failed", asked | {"ip": ",".join(one.answers)}
        case Tls():
            shaken = {"address": one.address, "server_name": one.server_name, "version": one.version}
            return "Shook hands", "TLS handshake failed", shaken | {"alpn": one.alpn, "verify": one.verify}
        case Http():
            answer = {"address": one.address, "url": one.url, "status_code": one.status, "location": one.location}
            return "Received HTTP response", "HTTP request failed", answer | {"body_bytes": one.body_length}
        case Tcp():
            return "Connected", "Connection failed", {"address": one.address, "port": one.port}
    return type(one).__name__, type(one).__name__, {}


def _concluded(measurement: Measurement, success: bool) -> Iterator[_Told]:
    over = measurement.started + timedelta(seconds=measurement.runtime)
    for control in measurement.controls:
        yield over, "info", "Asked the control", _of_control(control)
    verdict = measurement.verdict
    if verdict is None:
        return
    for reason in verdict.reasons:
        yield over, "info", "Reason", {"reason": explain(reason)}
    message, level = ("Probe succeeded", "info") if success else ("Probe failed", "error")
    yield over, level, message, {
        "duration_seconds": measurement.runtime, "status": verdict.status.value, "methods": ",".join(verdict.methods),
        "confidence": verdict.confidence, "rule": verdict.rule, "asn": measurement.network.asn,
    }  # fmt: skip


def _of_control(control: Control) -> Fields:
    pages = [page.status for page in control.http if page.status is not None]
    status = pages[-1] if pages else None
    return {"kind": control.kind, "id": control.id, "failure": control.failure, "status_code": status}


def _line(when: datetime, level: str, message: str, fields: Fields) -> str:
    stamp = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pairs = {"ts": stamp, "level": level, "msg": message} | fields
    return " ".join(_pairs(pairs.items())) + "\n"


def _pairs(fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in fields:
        if value is not None and value != "":
            yield f"{key}={_quoted(str(value))}"


def _quoted(value: str) -> str:
    """As logfmt has it, in printable characters, and not too long."""
    shown = "".join(char if char.isprintable() else " " for char in value[:MOST_CHARACTERS])
    if _PLAIN.fullmatch(shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
