"""Response times as a line for each network: gaps in the data are gaps in the line."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup
from msgspec import Struct

from monitor.web.charts.svg import LINE, Tick, axis, drawing, element, percent, stretched, text

HEIGHT = 70.0
COLUMNS = 1000
GAP = 10.0


class Series(Struct, frozen=True, kw_only=True):
    """One network. points: where on the axis, in percent, and seconds; None seconds: no page came; in order of time."""

    label: str
    points: Sequence[tuple[float, float | None]]


def lines(
    id: str, title: str, description: str, rows: Sequence[Series], top_s: float, top: str, ticks: Sequence[Tick]
) -> Markup:
    """The chart. top_s: seconds at the upper edge; top: the same in words."""
    step = LINE + HEIGHT + GAP
    height = step * len(rows)
    content = axis(ticks, 0, height)
    for number, series in enumerate(rows):
        content += _line(series, number * step, top_s, top)
    return drawing(id, height + LINE + 2, title, description, content)


def _line(series: Series, top: float, top_s: float, top_words: str) -> Iterator[Markup]:
    yield text(0, top + LINE - 4, series.label, class_="name")
    yield text(100, top + LINE - 4, top_words, text_anchor="end", class_="label")
    foot = top + LINE + HEIGHT
    yield element("line", x1="0", x2="100%", y1=top + LINE, y2=top + LINE, class_="tick")
    yield element("line", x1="0", x2="100%", y1=foot, y2=foot, class_="foot")
    path = _path(series.points, top_s)
    if path:
        line = element("path", d=path, class_="line", vector_effect="non-scaling-stroke")
        yield stretched(top + LINE, HEIGHT, COLUMNS, [line])
    for x, seconds in series.points:
        if seconds is None:
            yield element("rect", x=percent(min(x, 99.5)), y=foot - 5, width=3, height=5, class_="none")
        else:
            y = top + LINE + _y(seconds, top_s)
            yield element("circle", cx=percent(x), cy=y, r=1.5, class_="dot")


def _path(points: Sequence[tuple[float, float | None]], top_s: float) -> str:
    moves, pen = [], "M"
    for x, seconds in points:
        if seconds is None:
            pen = "M"
            continue
        moves.append(f"{pen}{round(x * COLUMNS / 100)} {_y(seconds, top_s):g}")
        pen = "L"
    return "".join(moves)


def _y(seconds: float, top_s: float) -> float:
    share = min(max(seconds / top_s, 0.0), 1.0) if top_s > 0 else 0.0
    return round(HEIGHT * (1 - share), 1)
