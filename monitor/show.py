"""Results in the terminal: a line as each arrives, a summary at the end. In a pipe the lines alone."""

import sys
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from monitor.language import ENGLISH, Words, here
from monitor.models import Measurement, Status, Verdict

PIPE_WIDTH = 1000  # columns where there is no terminal to fit into

# Shape and word beside the colour: not everyone sees colours, not every terminal has them.
SHAPES = {
    Status.OK: ("✓", "green"),
    Status.BLOCKED: ("✗", "bold red"),
    Status.DOWN: ("↓", "yellow"),
    Status.GEOBLOCKED: ("⊘", "magenta"),
    Status.INCONCLUSIVE: ("?", "dim"),
}


def status_text(verdict: Verdict | None, w: Words = ENGLISH) -> Text:
    """A status as shape and word, in its colour."""
    if verdict is None:
        return Text("· " + w.text("not judged"), style="dim")
    shape, style = SHAPES[verdict.status]
    return Text(f"{shape} {w.status(verdict.status)}", style=style)


def sureness(confidence: float, w: Words = ENGLISH) -> str:
    """A confidence as a percentage, rounded down: 99.9 % is never shown as certain."""
    return f"{w.number(int(confidence * 1000) / 10)} %"


def counts_text(counts: Counter[Status], w: Words = ENGLISH) -> str:
    """`5 blocked, 2 ok`: how many of each status."""
    return ", ".join(counted(w.status(status), counts[status], w) for status in Status if counts[status])


def counted(status: str, count: int, w: Words) -> str:
    """`5 blocked`. status: in words."""
    return w.text("{number} {status}", number=w.number(count), status=status)


def how_sure(verdict: Verdict | None, w: Words = ENGLISH) -> str:
    """How sure a verdict is."""
    if verdict is None or verdict.confidence is None:
        return ""
    sure = sureness(verdict.confidence, w)
    return w.text("{share} confirmed", share=sure) if verdict.confirmed else sure


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """The BrokenPipeError that rich is handling: it would end the process, in the middle of a loop too."""
        raise


def results_console() -> Console:
    """For results that are printed as a whole: in a pipe nothing is wrapped."""
    console = _Results(file=sys.stdout, highlight=False)
    return console if console.is_terminal else _Results(file=sys.stdout, highlight=False, width=PIPE_WIDTH)


def printable(text: str, width: int) -> str:
    """Text from elsewhere as it may reach a terminal."""
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"


class Table:
    """Rows as results arrive; progress and summary on stderr, where that is a terminal."""

    def __init__(self) -> None:
        self._words = w = here()
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False)
        columns = (TextColumn(w.text("measuring")), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # On one terminal both must go through one console, or rows are written into the bar.
        shown_on = self._out if self._out.is_terminal else self._err
        self._progress = Progress(*columns, console=shown_on, transient=True, disable=not self._err.is_terminal)
        self._task = self._progress.add_task("", total=None)
        self._seen: Counter[str] = Counter()
        self._progress.start()

    def expect(self, total: int) -> None:
        """So many rows will come."""
        self._progress.update(self._task, total=total)

    def row(self, measurement: Measurement) -> None:
        """One result, and why, where it is not simply ok."""
        verdict, w = measurement.verdict, self._words
        line = Text.assemble(
            (f"{printable(measurement.site, 34):<34} "),
            (f"{printable(measurement.network.isp or measurement.vantage, 14):<14} "),
            _padded(status_text(verdict, w), 16),
            f"{how_sure(verdict, w):<17} {', '.join(verdict.methods) if verdict else ''}",
        )
        line.rstrip()
        self._out.print(line)
        if verdict and (verdict.methods or verdict.status is not Status.OK):
            for reason in verdict.reasons[1:] or verdict.reasons:
                self._out.print(Text("    " + w.reason(reason), style="dim"))
        self._seen[w.status(verdict.status) if verdict else w.text("not judged")] += 1
        self._progress.advance(self._task)

    def close(self) -> None:
        """The summary."""
        self._progress.stop()
        if self._err.is_terminal and self._seen:
            self._err.print(", ".join(counted(*one, self._words) for one in self._seen.most_common()))


def _padded(text: Text, width: int) -> Text:
    text.pad_right(max(0, width - text.cell_len))
    return text
