"""The live view of `almenara run` on a terminal: the events, a matrix of sites and vantages, and what comes next."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain

from msgspec import Struct
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from monitor.language import ENGLISH, Words
from monitor.models import Event, Status
from monitor.moments import length, utc_text
from monitor.picture import Cell
from monitor.show import how_sure, printable, status_text
from monitor.wording import event_text, waiting_words

_SITE_WIDTH, _ISP_WIDTH, _CELL_WIDTH = 34, 20, 12  # columns; the least of a cell holds its status
_TEXT = 400  # characters of what may be wrapped
_LOW = 20  # lines; below, messages are cut to fewer lines each
_FOOT_LINES, _EVENT_LINES = (1, 2), (2, 3)  # of each message: on a low terminal, on others
_LEAST_SITES = 3  # lines left to the sites however many events there are: a heading, a site, how many more


class View(Struct, frozen=True, kw_only=True):
    """What is to be shown. vantages: name -> network; control: what became of the last question; used: bytes today;
    absent: vantages that are not there, and what they lack.
    """

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
    problem: Exception | str | None
    absent: Mapping[str, Exception | str]


def screen(view: View, now: datetime, height: int, width: int, w: Words = ENGLISH) -> Group:
    """The view, fitted into so many lines: events come first, then sites that are not simply ok."""
    console, roomy = Console(width=width), height >= _LOW
    foot = [line for text in _foot(view, now, w) for line in _wrapped(console, text, _FOOT_LINES[roomy])]
    room = max(0, height - len(foot))
    going_on = _events(view, w)
    wrapped = [_wrapped(console, text, _EVENT_LINES[roomy]) for text in going_on[:height]]
    events = _fitting(wrapped, len(going_on), room - _LEAST_SITES if view.sites else room, w)
    rows = room - len(events) - 1
    matrix = [_matrix(view, now, rows, width, w)] if view.sites and rows > 0 else []
    return Group(*events, *matrix, *foot[:height])


def _foot(view: View, now: datetime, w: Words) -> list[Text]:
    """What is wrong, what waits, what is next."""
    texts = []
    if view.problem:
        texts.append(Text(w.text("store: {problem}", problem=printable(w.said(view.problem), _TEXT)), style="bold red"))
    for name, problem in view.absent.items():
        told = w.text("vantage {name} is not there: {problem}", name=name, problem=printable(w.said(problem), _TEXT))
        texts.append(Text(told, style="yellow"))
    if view.waiting:
        texts.append(Text(waiting_words(view.waiting, w), style="yellow"))
    return [*texts, _status_line(view, now, w)]


def _wrapped(console: Console, text: Text, most: int) -> list[Text]:
    """Lines as they will stand on the terminal, the last one cut where there are more."""
    lines = list(text.wrap(console, console.width))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].append("…")
    for line in lines:
        line.truncate(console.width, overflow="ellipsis")
    return lines


def _events(view: View, w: Words) -> list[Text]:
    """Those that go on, the newest first."""
    going_on = [event for event in view.events if event.ended is None and event.confidence]
    going_on.sort(key=lambda event: event.started, reverse=True)
    return [Text("! " + event_text(event, w), style="bold") for event in going_on]


def _fitting(events: Sequence[Sequence[Text]], total: int, room: int, w: Words) -> list[Text]:
    """As many of them as there are lines for, and how many more there are."""
    shown = list(chain.from_iterable(events))
    fitting = len(events)
    while fitting and len(shown) + (fitting < total) > room:
        fitting -= 1
        shown = shown[: len(shown) - len(events[fitting])]
    if fitting < total and room > 0:
        more = w.many("+{count} more event", "+{count} more events", total - fitting)
        shown.append(Text(more, style="bold"))
    return shown


def _matrix(view: View, now: datetime, rows: int, width: int, w: Words) -> Table:
    """A heading and at most so many rows, each of one line."""
    site_width = max(8, min(_SITE_WIDTH, width // 3))
    most = max(1, (width - site_width) // _CELL_WIDTH)
    vantages = list(view.vantages.items())
    if len(vantages) > most:
        vantages = vantages[: most - 1] or vantages[:1]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(w.text("site"), no_wrap=True, max_width=site_width)
    for _, isp in vantages:
        table.add_column(Text(printable(isp, _ISP_WIDTH)), no_wrap=True)
    if len(vantages) < len(view.vantages):
        table.add_column(f"+{len(view.vantages) - len(vantages)}")
    shown = sorted(view.sites, key=lambda site: _rank(view, site[0]))
    fitting = rows if len(shown) <= rows else rows - 1
    for url, name in shown[:fitting]:
        cells = [_cell(view.cells.get((url, vantage)), now, w) for vantage, _ in vantages]
        table.add_row(Text(printable(name, _SITE_WIDTH)), *cells)
    if len(shown) > fitting:
        table.add_row(Text(w.many("+{count} more", "+{count} more", len(shown) - fitting), style="dim"))
    return table


def _rank(view: View, url: str) -> int:
    """Blocked sites first, then what is not simply ok."""
    found = {view.cells[url, vantage].verdict.status for vantage in view.vantages if (url, vantage) in view.cells}
    return 0 if Status.BLOCKED in found else 1 if found - {Status.OK} else 2


def _cell(cell: Cell | None, now: datetime, w: Words) -> Text:
    if cell is None:
        return Text("…", style="dim")
    age = "" if cell.current else w.text("{length} ago", length=length(now - cell.measured))
    since = w.text("since {time}", time=f"{cell.since:%H:%M}") if cell.since else ""
    parts = (
        status_text(cell.verdict, w), Text(age), Text(", ".join(printable(method, 32) for method in cell.verdict.methods)),
        Text(how_sure(cell.verdict, w), style="dim"), Text(since, style="dim"),
    )  # fmt: skip
    shown = Text(" ").join(part for part in parts if part)
    if not cell.current:
        shown.stylize("dim")
    return shown


def _status_line(view: View, now: datetime, w: Words) -> Text:
    due = w.text("nothing is due")
    if view.next_due is not None:
        ahead_s = (view.next_due - now).total_seconds()
        soon = 0 <= ahead_s < 3600
        when = f"{ahead_s:.0f} s" if soon else utc_text(view.next_due)
        due = w.text("next in {length}", length=when) if soon else w.text("next at {time}", time=when)
    used, budget = f"{w.number(round(view.used / 1e6, 1))} MB", f"{w.number((view.budget or 0) / 1e6)} MB"
    spent = (
        w.text("{used} today of {budget}", used=used, budget=budget)
        if view.budget
        else w.text("{used} today", used=used)
    )
    running = w.text("{number} under way", number=view.running)
    control = w.text("control: {state}", state=w.gettext(view.control))
    return Text(printable(" · ".join((utc_text(now), running, due, spent, control)), _TEXT), style="dim")
