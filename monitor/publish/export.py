"""`almenara export`: the stored measurements, as JSON lines or as CSV.

They are written as they are read, however many they are; a file gets its name when all of it is there.
"""

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console

from monitor import system_errors
from monitor.config import Config
from monitor.explain import explain, worded_measurement
from monitor.language import here
from monitor.messages import Said
from monitor.models import Measurement, Status, to_json
from monitor.publish.options import between, method_named, read, site_named, told_if_unknown
from monitor.store import Store, Wanted, locate

# The columns of the CSV: docs/store.md says what each means. People's scripts read them: add at the end, never rename.
COLUMNS: dict[str, Callable[[Measurement], object]] = {
    "id": lambda one: one.id,
    "started": lambda one: one.started.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    "site": lambda one: one.site,
    "url": lambda one: one.url,
    "vantage": lambda one: one.vantage,
    "probe": lambda one: one.probe,
    "asn": lambda one: one.network.asn,
    "isp": lambda one: one.network.isp,
    "country": lambda one: one.network.country,
    "network_source": lambda one: one.network.source,
    "status": lambda one: one.verdict and one.verdict.status.value,
    "methods": lambda one: one.verdict and " ".join(one.verdict.methods),
    "confidence": lambda one: one.verdict and one.verdict.confidence,
    "confirmed": lambda one: one.verdict and str(one.verdict.confirmed).lower(),
    "rule": lambda one: one.verdict and one.verdict.rule,
    "rules_version": lambda one: one.verdict and one.verdict.rules_version,
    "reasons": lambda one: one.verdict and "; ".join(map(explain, one.verdict.reasons)),
    "runtime_s": lambda one: one.runtime,
    "software": lambda one: one.software,
}
# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_TELL_EVERY = 1000


def wanted(
    *, site: str | None, status: str | None, method: str | None, since: str | None, until: str | None, **others: Any
) -> Wanted:
    """What the command line asks for; NotUnderstood."""
    after, before = between(since, until)
    return Wanted(
        site=read("--site", site, site_named),
        status=Status(status) if status else None,
        method=read("--method", method, method_named),
        since=after,
        until=before,
        **others,
    )


def run(config: Config, wanted: Wanted, *, format: str, output: Path | None) -> int:
    """Write them and return 0, also where there are none. Raises StoreError, Unwritable."""
    lines = {"jsonl": json_lines, "csv": csv_lines}[format]
    with Store.open(locate(config.store), create=False) as store:
        told_if_unknown(store, site=wanted.site, vantage=wanted.vantage)
        with _opened(output) as file:
            for line in lines(_told(store.measurements(wanted))):
                file.write(line)
    return 0


def json_lines(measurements: Iterator[Measurement]) -> Iterator[bytes]:
    """Each as `measure --json` prints it."""
    for measurement in measurements:
        yield to_json(worded_measurement(measurement)) + b"\n"


def csv_lines(measurements: Iterator[Measurement]) -> Iterator[bytes]:
    """A heading, and a row for each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    yield text.getvalue().encode()
    for measurement in measurements:
        text.seek(0)
        text.truncate()
        writer.writerow([cell(column(measurement)) for column in COLUMNS.values()])
        yield text.getvalue().encode("utf-8", "replace")


def cell(value: object) -> str:
    """A value as it may stand in a spreadsheet: printable, and no formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    clean = value if value.isprintable() else "".join(char if char.isprintable() else " " for char in value)
    return f"'{clean}" if value.startswith(_FORMULA) or clean.lstrip().startswith(_FORMULA) else clean


class Unwritable(Exception):
    """The file cannot be written. Its text is one line."""


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or the file, under another name until it is complete; what is no file is written to as it is."""
    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with _written(output) as file:
            yield file
    except OSError as exc:
        raise Unwritable(Said("{file}: {problem}", file=output, problem=system_errors.problem(exc))) from None


@contextmanager
def _written(output: Path) -> Iterator[BinaryIO]:
    if output.exists() and not output.is_file():
        with output.open("wb") as file:
            yield file
        return
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        # What somebody measures is nobody else's business: readable by its owner alone, as the store is.
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        os.replace(beside, output)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _told(measurements: Iterator[Measurement]) -> Iterator[Measurement]:
    """The same, with the number of them so far on a terminal that shows nothing else."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or sys.stdout.isatty():
        yield from measurements
        return
    with console.status(here().text("exporting")) as status:
        for number, measurement in enumerate(measurements, 1):
            if number % _TELL_EVERY == 0:
                status.update(here().text("exporting: {number} measurements", number=number))
            yield measurement
