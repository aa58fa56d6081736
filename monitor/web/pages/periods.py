"""The stretches of time that charts show: a day by hours, up to a year by days. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from monitor.language import Words
from monitor.models import Event, Network, Status
from monitor.web.archive import Band, Slot
from monitor.web.charts.bands import Counts, Span, worst
from monitor.web.charts.svg import Tick

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# How long, in steps of what length, and how far one tick is from the next.
LENGTHS = {
    "day": (DAY, HOUR, 6 * HOUR),
    "week": (7 * DAY, HOUR, 2 * DAY),
    "month": (30 * DAY, 6 * HOUR, 7 * DAY),
    "year": (364 * DAY, DAY, 91 * DAY),
}
DEFAULT = "week"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(Struct, frozen=True, kw_only=True):
    """since <= .. < until, in steps. is_open: the last of them is not over yet, so that of its rest nothing is known."""

    name: str
    since: datetime
    until: datetime
    step: timedelta
    every: timedelta
    is_open: bool = False

    @property
    def steps(self) -> int:
        """How many."""
        return round((self.until - self.since) / self.step)

    def place(self, moment: datetime) -> float:
        """Where a moment is on the axis, in percent; it may lie outside."""
        return 100 * ((moment - self.since) / (self.until - self.since))


def period(name: str, until: datetime, now: datetime) -> Period:
    """The one of that name that ends with the step in which `until` is; no step of it lies in the future."""
    name = name if name in LENGTHS else DEFAULT
    length, step, every = LENGTHS[name]
    end = _EPOCH + -(-(min(until, now) - _EPOCH) // step) * step
    return Period(name=name, since=end - length, until=end, step=step, every=every, is_open=end > now)


def around(started: datetime, ended: datetime, now: datetime) -> Period:
    """The shortest one with room for all of that, and some of before and after; not beyond now."""
    margin = max(2 * HOUR, (ended - started) / 4)
    needed = ended - started + 2 * margin
    name = next((name for name, (length, _, _) in LENGTHS.items() if length >= needed), "year")
    return period(name, ended + margin, max(now, ended))


def ticks(words: Words, shown: Period) -> list[Tick]:
    """Its axis: whole hours of a day, else days."""
    found = []
    at = shown.since + (_EPOCH - shown.since) % min(shown.every, DAY)
    while at < shown.until:
        label = words.time(at) if shown.name == "day" else words.short_day(at)
        found.append(Tick(shown.place(at), label))
        at += shown.every
    return found


def buckets(slots: Sequence[Slot], shown: Period) -> list[dict[Status, int]]:
    """What was found in each step; nothing where nothing was measured."""
    found: list[dict[Status, int]] = [{} for _ in range(shown.steps)]
    for slot in slots:
        place = (slot.started - shown.since) // shown.step
        if 0 <= place < shown.steps:
            for status, count in slot.counts.items():
                found[place][status] = found[place].get(status, 0) + count
    return found


def spans(events: Sequence[Event], network: Network, shown: Period) -> list[Span]:
    """The events of a network, or of all, on the axis."""
    return [
        Span(shown.place(event.started), shown.place(event.ended) if event.ended else 100.0, event.ended is None)
        for event in events
        if event.network is None or event.network.asn == network.asn
    ]


class Stretch(Struct, frozen=True, kw_only=True):
    """A row of the table behind a chart: one state for some time. until: None where that is not over; is_new: it is only
    the last step, which is not over either."""

    network: Network
    since: datetime
    until: datetime | None
    is_new: bool
    state: Status | None
    measurements: int
    blocked: int


def stretches(bands: Sequence[Band], shown: Period, most: int) -> tuple[list[Stretch], int]:
    """The same in a table, the newest first; and how many there are."""
    found: list[Stretch] = []
    for band in bands:
        found += _of_band(band, shown)
    found.sort(key=lambda one: (one.since, one.network.asn or 0), reverse=True)
    return found[:most], len(found)


def _of_band(band: Band, shown: Period) -> Iterator[Stretch]:
    """Steps in a row of which the same word is told, together."""
    found = buckets(band.slots, shown)
    first = 0
    for number in range(1, len(found) + 1):
        if number == len(found) or worst(found[number]) is not worst(found[first]):
            yield _stretch(band.network, shown, first, number, found[first:number])
            first = number


def _stretch(network: Network, shown: Period, first: int, last: int, found: Sequence[Counts]) -> Stretch:
    goes_on = shown.is_open and last == shown.steps
    return Stretch(
        network=network, since=shown.since + first * shown.step,
        until=None if goes_on else shown.since + last * shown.step, is_new=goes_on and last - first == 1,
        state=worst(found[0]), measurements=sum(sum(one.values()) for one in found),
        blocked=sum(one.get(Status.BLOCKED, 0) for one in found),
    )  # fmt: skip
