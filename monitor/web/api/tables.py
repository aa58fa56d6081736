"""The same answers as CSV: one row each, for spreadsheets, in which names from strangers must not run as formulas."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from monitor.models import Status
from monitor.publish.export import cell
from monitor.store import TIMES
from monitor.web.api.answers import (
    AggregateRow,
    EventAnswer,
    IncidentAnswer,
    MeasurementHead,
    NetworkAnswer,
    SiteAnswer,
)

MEDIA_TYPE = "text/csv"
Columns = Mapping[str, str]  # heading -> where the value is

# People's scripts read these: add at the end, never rename. Names are those of `almenara export` where it has them.
_STATUSES = {status.value: f"statuses.{status.value}" for status in Status}
_NETWORK = {name: f"network.{name}" for name in ("asn", "isp", "country")}
SITES: Columns = {name: name for name in ("site", "urls", "asns", "measured")} | _STATUSES
NETWORKS: Columns = _NETWORK | {"sites": "sites", "measured": "measured"} | _STATUSES
MEASUREMENTS: Columns = {
    **{name: name for name in ("id", "started", "site", "url", "vantage", "probe")},
    **_NETWORK,
    "network_source": "network.source",
    **{
        name: f"verdict.{name}"
        for name in ("status", "methods", "confidence", "confirmed", "rule", "rules_version")
    },
}  # fmt: skip
EVENTS: Columns = {
    **{name: name for name in ("id", "revision", "kind", "site")},
    **_NETWORK,
    "methods": "methods",
    "started": "started",
    "started_after": "started_range.0",
    "started_before": "started_range.1",
    "detected": "detected",
    "ended": "ended",
    "ended_after": "ended_range.0",
    "ended_before": "ended_range.1",
    **{name: name for name in ("confidence", "measurements", "probes")},
}
INCIDENTS: Columns = {name: name for name in ("id", "revision", "state", "started", "ended", "events")}
_OF: Mapping[type, Columns] = {
    SiteAnswer: SITES,
    NetworkAnswer: NETWORKS,
    MeasurementHead: MEASUREMENTS,
    EventAnswer: EVENTS,
    IncidentAnswer: INCIDENTS,
}


def written(rows: Sequence[Any], kind: type, by: Sequence[str] = ()) -> bytes:
    """A heading, and a row each. by: of aggregates."""
    columns = _aggregated(by) if kind is AggregateRow else _OF[kind]
    paths = [path.split(".") for path in columns.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(_plain(_found(one, path))) for path in paths] for one in rows)
    return text.getvalue().encode("utf-8", "replace")


def _aggregated(by: Sequence[str]) -> Columns:
    """The columns of `by` under these names, and the numbers."""
    numbers = ["measurements", *([] if "status" in by else [status.value for status in Status])]
    return {name: "started" if name in TIMES else name for name in (*by, *numbers)}


def _found(value: Any, path: Sequence[str]) -> Any:
    """What is there; nothing where anything on the way is not."""
    for name in path:
        if isinstance(value, tuple):
            value = value[int(name)]
        elif isinstance(value, Mapping):
            value = value.get(Status(name), 0)
        else:
            value = getattr(value, name, None)
    return value


def _plain(value: Any) -> object:
    if isinstance(value, tuple):
        return " ".join(str(getattr(one, "id", one)) for one in value if one is not None)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if value is UNSET:
        return None
    return str(value).lower() if isinstance(value, bool) else value
