"""The last verdict of every site on every vantage, and what of it has changed."""

from collections.abc import Container, Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from monitor.messages import N_
from monitor.models import Measurement, Status, Verdict


class Cell(Struct, frozen=True, kw_only=True):
    """How a site is on a vantage. since: of this status, as far as this run has seen it change; None: all along.

    measured: when that was seen. current: False from a restart to the next verdict, and while nothing can be judged.
    """

    verdict: Verdict
    since: datetime | None
    measured: datetime
    current: bool


class Picture:
    """cells: by URL and vantage. control: what became of asking it last; last: when something was measured last."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Cell] = {}
        self.control = N_("not asked yet")
        self.last: datetime | None = None

    def recall(self, known: Iterable[tuple[str, str, Verdict, datetime]]) -> None:
        """What was known before a restart, by URL and vantage, and when it was measured."""
        for url, vantage, verdict, measured in known:
            self.cells[url, vantage] = Cell(verdict=verdict, since=None, measured=measured, current=False)

    def only(self, urls: Container[str]) -> None:
        """Forget sites that are not watched any more."""
        self.cells = {pair: cell for pair, cell in self.cells.items() if pair[0] in urls}

    def note(self, measurement: Measurement) -> bool:
        """A result; whether it is worth a line: another verdict than before, or at first one that is not simply ok."""
        self.last = measurement.started
        if measurement.controls:
            failures = {control.failure or "" for control in measurement.controls}
            self.control = N_("answers") if "" in failures else min(failures)
        pair, verdict = (measurement.url, measurement.vantage), measurement.verdict
        before = self.cells.get(pair)
        if verdict is None:
            return False
        if verdict.status is Status.INCONCLUSIVE and before is not None:
            if before.verdict.status is Status.INCONCLUSIVE:
                self.cells[pair] = replace(before, measured=measurement.started, current=True)
            else:
                self.cells[pair] = replace(before, current=False)
            return False
        same = before is not None and before.verdict.status is verdict.status
        since = None if before is None else before.since if same else measurement.started
        self.cells[pair] = Cell(verdict=verdict, since=since, measured=measurement.started, current=True)
        if before is None:
            return verdict.status is not Status.OK
        return (before.verdict.status, before.verdict.methods) != (verdict.status, verdict.methods)
