"""A waterfall: each operation of a measurement, when it began and how long it took."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup
from msgspec import Struct

from monitor.web.charts.svg import LINE, Tick, axis, drawing, element, percent, text

ROW = LINE + 12.0
BAR = 7.0
LEAST = 0.5  # percent; what took no time is there all the same


class Bar(Struct, frozen=True, kw_only=True):
    """One operation. start, length: seconds. step: dns, tcp, tls or http; failed: whether it did."""

    label: str
    step: str
    start: float
    length: float
    failed: bool


def waterfall(
    id: str, title: str, description: str, rows: Sequence[Bar], end_s: float, ticks: Sequence[Tick]
) -> Markup:
    """The chart. end_s: at its right edge."""
    height = ROW * len(rows)
    content = axis(ticks, 0, height)
    for number, bar in enumerate(rows):
        content += _bar(bar, number * ROW, 100 / end_s if end_s > 0 else 0.0)
    return drawing(id, height + LINE + 2, title, description, content)


def _bar(bar: Bar, top: float, scale: float) -> Iterator[Markup]:
    start = min(max(bar.start * scale, 0.0), 100 - LEAST)
    width = min(max(bar.length * scale, LEAST), 100 - start)
    place = {"x": percent(start), "width": percent(width)}
    shape = "bar failed" if bar.failed else "bar"
    yield element("rect", y=top + LINE, height=BAR, class_=f"{shape} s-{bar.step}", **place)
    yield text(0, top + LINE - 4, bar.label, class_="label")
