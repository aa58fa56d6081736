"""The live view of `almenara run` on a terminal: a matrix of sites and vantages, the events, and what comes next."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from rich.console import Group
from rich.table import Table
from rich.text import Text

from monitor.journal import change_text, moment
from monitor.models import Event, Status
from monitor.picture import Cell
from monitor.show import how_sure, printable, status_text

_SITE_WIDTH, _ISP_WIDTH, _LINE_WIDTH = 34, 20, 160


class View(Struct, frozen=True, kw_only=True):
    """What is to be shown. vantages: name -> network; control: what became of the last question; used: bytes today."""

    sites: Sequence[tuple[str, str]]  # URL, name
    vantages: Mapping[str, str]
    cells: Mapping[tuple[str, str], Cell]
    events: Sequence[Event]
    next_due: datetime | None
    running: int
    used: int
    budget: int | None
    control: str
    waiting: int
    problem: str | None


def screen(view: View, now: datetime, height: int) -> Group:
    """The view, fitted into so many lines: sites that are not simply ok come first."""
    events = [event for event in view.events if event.ended is None]
    lines = [_status_line(view, now)]
    if view.problem:
        lines.append(Text(f"store: {printable(view.problem, _LINE_WIDTH)}", style="bold red"))
    if view.waiting:
        lines.append(Text(f"{view.waiting} sites joined a list and wait: almenara sites", style="yellow"))
    lines += [Text("! " + printable(change_text(event), _LINE_WIDTH), style="bold") for event in events[:10]]
    return Group(_matrix(view, max(3, height - len(lines) - 4)), *lines)


def _matrix(view: View, rows: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("site", no_wrap=True)
    for isp in view.vantages.values():
        table.add_column(printable(isp, _ISP_WIDTH))
    shown = sorted(view.sites, key=lambda site: not _notable(view, site[0]))
    for url, name in shown[:rows]:
        cells = [_cell(view.cells.get((url, vantage))) for vantage in view.vantages]
        table.add_row(Text(printable(name, _SITE_WIDTH)), *cells)
    if len(shown) > rows:
        table.add_row(Text(f"and {len(shown) - rows} more", style="dim"))
    return table


def _notable(view: View, url: str) -> bool:
    found = [view.cells[url, vantage] for vantage in view.vantages if (url, vantage) in view.cells]
    return any(cell.verdict.status is not Status.OK for cell in found)


def _cell(cell: Cell | None) -> Text:
    if cell is None:
        return Text("…", style="dim")
    since = f"since {cell.since:%H:%M}" if cell.since else ""
    parts = (
        status_text(cell.verdict), Text(", ".join(cell.verdict.methods)),
        Text(how_sure(cell.verdict), style="dim"), Text(since, style="dim"),
    )  # fmt: skip
    return Text(" ").join(part for part in parts if part)


def _status_line(view: View, now: datetime) -> Text:
    due = "nothing is due" if view.next_due is None else f"next at {moment(view.next_due)}"
    if view.next_due is not None and 0 <= (view.next_due - now).total_seconds() < 3600:
        due = f"next in {(view.next_due - now).total_seconds():.0f} s"
    used = f"{view.used / 1e6:.1f} MB today" + (f" of {view.budget / 1e6:g} MB" if view.budget else "")
    told = " · ".join((moment(now), f"{view.running} under way", due, used, f"control: {view.control}"))
    return Text(printable(told, _LINE_WIDTH), style="dim")
