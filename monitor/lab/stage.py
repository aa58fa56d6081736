"""What the demo shows: on a terminal a picture that follows; elsewhere a line for all that happens, and what came out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from monitor.lab.box import IspInfo
from monitor.language import here
from monitor.models import Status, Verdict
from monitor.show import PIPE_WIDTH, SHAPES, counts_text, how_sure, status_text

_INDENT = "  "


class Stage:
    """The matrix of sites and lines, and the story so far. is_followed: somebody looks on."""

    def __init__(self, console: Console, lines: Sequence[IspInfo], sites: Sequence[str]) -> None:
        self._console, self._lines, self._sites, self._words = console, lines, sites, here()
        # FORCE_COLOR makes a terminal of a file; a dumb terminal cannot go back to what it has written.
        self.is_followed = console.is_interactive and console.file.isatty()
        self._found: dict[tuple[str, str], Verdict] = {}
        self._above = ""
        self._told: list[str] = []
        self._stands = False

    def following(self) -> AbstractContextManager[object]:
        """While it lasts the picture follows what happens, where somebody looks on."""
        if not self.is_followed:
            return nullcontext()
        self._stands = True
        return Live(self._screen(), console=self._console, refresh_per_second=4, get_renderable=self._screen)

    def head(self, line: str) -> None:
        """Tells what stays in sight."""
        self._above = line
        if not self.is_followed:
            self.say(line)

    def tell(self, line: str) -> None:
        """Goes on with the story."""
        self._told.append(line)
        if not self.is_followed:
            self.say(line)

    def say(self, line: str, style: str = "") -> None:
        """A line below all the others."""
        self._console.print(Text(line, style=style))

    def note(self, isp: str, site: str, verdict: Verdict) -> None:
        """The newest verdict of one of the lines; a change of what was known is told."""
        before = self._found.get((isp, site))
        self._found[isp, site] = verdict
        if before and (before.status, before.methods) != (verdict.status, verdict.methods):
            [line] = (line for line in self._lines if line.name == isp)
            found = {"site": site, "isp": line.isp, "status": self._words.status(verdict.status)}
            told = self._words.text("found: {site} on {isp} {status} {methods}", **found, methods=_named(verdict))
            self.tell(told.rstrip())

    def outcome(self) -> None:
        """The matrix, where it does not stand there already, and what was found, in words."""
        if not self._stands:
            self._console.print(self._matrix())
        for line in self._summary():
            self._console.print(line)

    # --- the picture -----------------------------------------------------------------------------------------------

    def _screen(self) -> Group:
        """As much of the story as the terminal has room for below the matrix."""
        matrix, above = self._matrix(), self._wrapped(self._above)
        told = [part for line in self._told for part in self._wrapped(line)]
        room = self._console.height - len(self._console.render_lines(matrix)) - len(above) - 1
        return Group(matrix, *above, *told[max(0, len(told) - room) :] if room > 0 else ())

    def _matrix(self) -> Table:
        """With as much in each cell as the terminal is wide enough for; the least is a status's shape."""
        unbounded = self._console.options.update(max_width=PIPE_WIDTH)
        for most in (3, 2, 1):
            table = self._table(most)
            if self._console.measure(table, options=unbounded).maximum <= self._console.width:
                return table
        return self._table(0)

    def _table(self, most: int) -> Table:
        """most: parts of a cell."""
        titles = [f"{line.isp} AS{line.asn}" if most else line.isp for line in self._lines]
        table = Table(self._words.text("site"), *titles, box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            column.no_wrap = True
        for site in self._sites:
            table.add_row(site, *(self._cell(self._found.get((line.name, site)), most) for line in self._lines))
        return table

    def _cell(self, verdict: Verdict | None, most: int) -> Text:
        if verdict is None:
            return Text("…", style="dim")
        if not most:
            return Text(*SHAPES[verdict.status])
        sure = Text(how_sure(verdict, self._words), style="dim")
        parts = [status_text(verdict, self._words), Text(_named(verdict)), sure]
        return Text(_INDENT).join(part for part in parts[:most] if part)

    # --- in words --------------------------------------------------------------------------------------------------

    def _summary(self) -> Iterator[Text]:
        w = self._words
        for line in self._lines:
            verdicts = {site: self._found[line.name, site] for site in self._sites if (line.name, site) in self._found}
            yield Text(f"{line.isp}: {counts_text(Counter(verdict.status for verdict in verdicts.values()), w)}")
            for site, verdict in verdicts.items():
                if verdict.status is Status.BLOCKED:
                    for method in verdict.methods:
                        yield from self._wrapped(f"{site}: {w.method_meaning(method)}")

    def _wrapped(self, line: str) -> list[Text]:
        """Indented, and so is what does not fit into one line of the terminal."""
        width = self._console.width - len(_INDENT)
        return [Text(_INDENT).append_text(part) for part in Text(line).wrap(self._console, width)]


def _named(verdict: Verdict) -> str:
    return ", ".join(verdict.methods)
