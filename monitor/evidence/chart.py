"""The timeline of an event, or of each event of an incident, as a picture that needs nothing but itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from monitor import timeline
from monitor.language import Words
from monitor.models import Event, Point, Status
from monitor.web.charts.bands import HEIGHT, LOW, Band, Span, bands
from monitor.web.charts.svg import LINE, Tick, element, text

WIDTH = 900
TICKS = 6
_MARGIN = timedelta(hours=1)
# Height says the same as colour: what opened is low, what was blocked is high.
_COLOURS = {
    Status.OK: "#3b7d4f", Status.BLOCKED: "#b3261e", Status.DOWN: "#8a6d00", Status.GEOBLOCKED: "#6b4fa0",
    Status.INCONCLUSIVE: "#9aa0a6",
}  # fmt: skip
_STYLE = (
    "text{font-family:sans-serif;fill:#222}.name{font-weight:bold}.label{fill:#555}.tick{stroke:#ddd}.foot{stroke:#777}"
    ".event{fill:#222}"
) + "".join(f".f-{status.value}{{fill:{colour}}}" for status, colour in _COLOURS.items())


class Row(Struct, frozen=True, kw_only=True):
    """One event and the verdicts around it. label: what it is about."""

    label: str
    event: Event
    points: Sequence[Point]


def timeline_chart(rows: Sequence[Row], until: datetime, words: Words) -> Markup:
    """All rows over the same time. until: of what goes on, the last measurement."""
    span = _span([row.event for row in rows], until)
    drawn = [_band(row, span, until) for row in rows]
    said = words.text("Each row is one site on one network. What opened is low, what was blocked is high.")
    chart = bands("timeline", words.text("Timeline"), said, drawn, _ticks(span, words))
    found = {status for row in drawn for bucket in row.buckets for status in bucket}
    height = (LINE + HEIGHT + 14) * len(rows) + LINE + 8
    legend = _legend([status for status in _COLOURS if status in found], height + LINE, words)
    return element(
        "svg", (element("style", Markup(_STYLE)), chart, *legend), xmlns="http://www.w3.org/2000/svg", width=WIDTH,
        height=height + 2 * LINE, viewBox=f"0 0 {WIDTH} {height + 2 * LINE:g}", role="img", aria_labelledby="timeline-t",
    )  # fmt: skip


def _span(events: Sequence[Event], until: datetime) -> timeline.Span:
    """From before the first begins until after the last ends; if one goes on, to the last measurement."""
    ends = [event.ended for event in events if event.ended is not None]
    ended = max(ends) if len(ends) == len(events) else None
    first = min(events, key=lambda event: event.started)
    return timeline.span_of(replace(first, ended=ended), until)


def _band(row: Row, span: timeline.Span, until: datetime) -> Band:
    event = row.event
    place = Span(_percent(event.started, span), _percent(event.ended or until + _MARGIN, span), event.ended is None)
    return Band(label=row.label, buckets=timeline.counts(row.points, span), events=(place,))


def _percent(moment: datetime, span: timeline.Span) -> float:
    share = (moment - span.since) / (span.until - span.since)
    return min(max(100 * share, 0.0), 100.0)


def _ticks(span: timeline.Span, words: Words) -> list[Tick]:
    """At whole stretches, the first with its day."""
    every = -(-span.count // TICKS)
    return [
        _tick(span.since + span.stretch * number, number / span.count, words) for number in range(0, span.count, every)
    ]


def _tick(moment: datetime, share: float, words: Words) -> Tick:
    return Tick(100 * share, f"{words.short_day(moment)} {words.time(moment)}")


def _legend(found: Iterable[Status], y: float, words: Words) -> list[Markup]:
    drawn: list[Markup] = []
    for place, status in enumerate(found):
        x = 15.0 * place
        height = LOW if status in (Status.OK, Status.INCONCLUSIVE) else 12
        drawn.append(element("rect", x=f"{x:g}%", y=y - height, width=12, height=height, class_=f"f-{status.value}"))
        drawn.append(text(x + 2, y, words.status(status), class_="label"))
    return drawn
