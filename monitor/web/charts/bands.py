"""Bands: how a site was on each network over time, one band a network.

Height says it as well as colour: what opened is a low line, what was blocked stands up to the full height, by its share
of the measurements; where nothing was measured there is nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from monitor.models import Status
from monitor.web.charts.svg import LINE, Tick, axis, drawing, element, percent, stretched, text

Counts = Mapping[Status, int]

HEIGHT = 26.0
LOW = 5.0  # of what opened, and of what nobody can judge
LEAST = 2.0  # of what happened at all
BRACKET = 6.0  # for the events below a band
GAP = 8.0
TALL = (Status.BLOCKED, Status.DOWN, Status.GEOBLOCKED)  # from the foot upwards


class Span(Struct, frozen=True):
    """An event, from where to where, in percent. open: it goes on."""

    start: float
    end: float
    open: bool


class Band(Struct, frozen=True, kw_only=True):
    """One network. buckets: what was found in each stretch of time, all of one length; empty: nothing was measured."""

    label: str
    buckets: Sequence[Counts]
    events: Sequence[Span] = ()


def bands(id: str, title: str, description: str, rows: Sequence[Band], ticks: Sequence[Tick]) -> Markup:
    """The chart."""
    step = LINE + HEIGHT + BRACKET + GAP
    height = step * len(rows)
    content = axis(ticks, 0, height)
    for number, band in enumerate(rows):
        content += _band(band, number * step)
    return drawing(id, height + LINE + 2, title, description, content)


def _band(band: Band, top: float) -> Iterator[Markup]:
    yield text(0, top + LINE - 4, band.label, class_="name")
    columns = max(1, len(band.buckets))
    yield stretched(top + LINE, HEIGHT, columns, shapes(band.buckets))
    foot = top + LINE + HEIGHT
    yield element("line", x1="0", x2="100%", y1=foot, y2=foot, class_="foot")
    for event in band.events:
        start, end = max(0.0, event.start), min(100.0, event.end)
        if end >= 0 and start <= 100:
            place = {"x": percent(start), "width": percent(max(end - start, 0.4))}
            yield element("rect", y=foot + 2, height=3, class_="event", **place)


def shapes(buckets: Sequence[Counts]) -> Iterator[Markup]:
    """One path for each status, whatever number of stretches it is found in."""
    paths: dict[Status, list[str]] = {}
    for column, count, found in _runs(buckets):
        for status, foot, height in _stack(found):
            paths.setdefault(status, []).append(f"M{column} {HEIGHT - foot:g}v{-height:g}h{count}v{height:g}z")
    for status, moves in paths.items():
        yield element("path", d="".join(moves), class_=f"f-{status.value}")


def _runs(buckets: Sequence[Counts]) -> Iterator[tuple[int, int, Counts]]:
    """Stretches that look the same, together: first column, how many, what was found."""
    first = 0
    for column in range(1, len(buckets) + 1):
        if column == len(buckets) or _stack(buckets[column]) != _stack(buckets[first]):
            yield first, column - first, buckets[first]
            first = column


def _stack(found: Counts) -> list[tuple[Status, float, float]]:
    """What is drawn in one column: status, where it begins, how high it is."""
    settled = sum(found.values()) - found.get(Status.INCONCLUSIVE, 0)
    low = Status.OK if found.get(Status.OK) else Status.INCONCLUSIVE
    drawn = [(low, 0.0, LOW)] if found.get(low) else []
    top, room = (LOW, HEIGHT - LOW) if drawn else (0.0, HEIGHT)
    for status in TALL:
        if found.get(status):
            height = min(max(LEAST, round(room * found[status] / settled, 1)), HEIGHT - top)
            drawn.append((status, top, height))
            top += height
    return drawn


def worst(found: Counts) -> Status | None:
    """The one word for a stretch: blocked, if anything was; else what was found most; None: nothing was measured."""
    settled: Iterable[Status] = [one for one, count in found.items() if count and one is not Status.INCONCLUSIVE]
    if Status.BLOCKED in settled:
        return Status.BLOCKED
    if settled:
        return max(settled, key=lambda one: (found[one], one.value))
    return Status.INCONCLUSIVE if sum(found.values()) else None
