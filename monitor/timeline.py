"""A site's history on one line of the terminal: one character per stretch of time, as shape and colour.

Made for one event: some time before it, the event, some time after it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from rich.text import Text

from monitor.language import ENGLISH, Words
from monitor.models import Event, Point, Status
from monitor.show import SHAPES

WIDTH = 72  # characters, with an indent of two in the 80 of the narrowest terminal
MARGIN = timedelta(hours=1)  # shown before and after, at least: with a measurement every half hour, two of them
# A stretch is one of these, so that its end points are times that people read easily.
STRETCHES_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000, 31_536_000)
NOTHING = ("·", "dim")
MIXED = ("~", "bold yellow")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(Struct, frozen=True, kw_only=True):
    """From when to when a timeline reaches, in how many stretches of what length."""

    since: datetime
    stretch: timedelta
    count: int

    @property
    def until(self) -> datetime:
        """Its end, which is no longer part of it."""
        return self.since + self.stretch * self.count

    def index(self, moment: datetime) -> int:
        """The stretch that a moment falls in; the first or last where it lies outside."""
        return min(max((moment - self.since) // self.stretch, 0), self.count - 1)


def span_of(event: Event, now: datetime) -> Span:
    """The event with a margin of half its length before and after, but not beyond `now`."""
    end = max(event.ended or now, event.started)
    margin = max(MARGIN, (end - event.started) / 2)
    since, until = event.started - margin, min(end + margin, max(now, end))
    shortest = (until - since).total_seconds() / (WIDTH - 1)  # aligning adds a stretch
    stretch = timedelta(seconds=next((s for s in STRETCHES_S if s >= shortest), STRETCHES_S[-1]))
    aligned = _EPOCH + (since - _EPOCH) // stretch * stretch
    return Span(since=aligned, stretch=stretch, count=(until - aligned) // stretch + 1)


def counts(points: Iterable[Point], span: Span) -> tuple[Counter[Status], ...]:
    """What was found in each stretch; points outside the span are left out."""
    found = tuple(Counter[Status]() for _ in range(span.count))
    for point in points:
        if span.since <= point.started < span.until:
            found[span.index(point.started)][point.status] += 1
    return found


def mark(found: Counter[Status]) -> tuple[str, str]:
    """A stretch's shape and style: what was found, `~` where some were blocked and some were not."""
    settled = {status: n for status, n in found.items() if n and status is not Status.INCONCLUSIVE}
    if not settled:
        return SHAPES[Status.INCONCLUSIVE] if found.total() else NOTHING
    if Status.BLOCKED in settled and len(settled) > 1:
        return MIXED
    return SHAPES[max(settled, key=lambda status: settled[status])]


def line(found: Sequence[Counter[Status]]) -> Text:
    """The timeline itself."""
    return Text.assemble(*(mark(one) for one in found))


def ruler(event: Event, span: Span) -> Text:
    """The line below it: where the event begins and ends; an arrow where it goes on."""
    begins = span.index(event.started)
    ends = span.index(event.ended) if event.ended else span.count - 1
    body = "└" + "─" * max(0, ends - begins - 1)
    closing = "" if ends == begins else "┘" if event.ended else ">"
    return Text(" " * begins + body + closing, style="dim")


def legend(found: Sequence[Counter[Status]], w: Words = ENGLISH) -> Text:
    """What the shapes that occur mean."""
    shown = dict.fromkeys(mark(one) for one in found)
    words = {SHAPES[status]: w.status(status) for status in SHAPES}
    words |= {MIXED: w.text("sometimes blocked"), NOTHING: w.text("not measured")}
    return Text("   ").join(Text(f"{shape} {words[shape, style]}", style=style) for shape, style in shown)
