"""A stretch of history as a chart and as the table behind it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from markupsafe import Markup
from msgspec import Struct
from starlette.requests import Request

from monitor.language import Words
from monitor.models import Event
from monitor.store import Wanted
from monitor.web.archive import Band
from monitor.web.charts.bands import Band as Drawn
from monitor.web.charts.bands import bands as drawn
from monitor.web.pages.asked import Read, moment
from monitor.web.pages.periods import LENGTHS, Period, Stretch, buckets, spans, stretches, ticks
from monitor.web.pages.rendering import Pages
from monitor.web.pages.sentences import network_name
from monitor.web.pages.turning import Turning, with_query

MOST_BANDS = 12
MOST_STRETCHES = 60


class History(Struct, frozen=True, kw_only=True):
    """chart: None where nothing was measured. more: stretches that the table leaves out; methods: how often each was
    named."""

    shown: Period
    chart: Markup | None
    stretches: list[Stretch]
    more: int
    methods: list[tuple[str, int]]
    measurements: int


def history(words: Words, title: str, found: Sequence[Band], events: Sequence[Event], shown: Period) -> History:
    """Of the networks with the most measurements."""
    kept = sorted(found, key=lambda band: sum(slot.total for slot in band.slots), reverse=True)[:MOST_BANDS]
    bands = sorted(kept, key=lambda band: network_name(words, band.network))
    table, count = stretches(bands, shown, MOST_STRETCHES)
    methods: Counter[str] = Counter()
    for band in bands:
        for slot in band.slots:
            methods.update(slot.methods)
    return History(
        shown=shown, chart=_chart(words, title, bands, events, shown) if bands else None, stretches=table,
        more=count - len(table), methods=methods.most_common(),
        measurements=sum(slot.total for band in bands for slot in band.slots),
    )  # fmt: skip


def _chart(words: Words, title: str, bands: Sequence[Band], events: Sequence[Event], shown: Period) -> Markup:
    rows = [
        Drawn(
            label=network_name(words, band.network), buckets=buckets(band.slots, shown),
            events=spans(events, band.network, shown),
        )
        for band in bands
    ]  # fmt: skip
    until = words.text("now") if shown.is_open else words.moment(shown.until)
    description = words.text(
        "One band for each network, from {since} to {until}. What opened is a low line; what was blocked stands up, by its "
        "share of the measurements; where there is nothing, nothing was measured. The table below says the same.",
        since=words.moment(shown.since), until=until,
    )  # fmt: skip
    return drawn("history", title, description, rows, ticks(words, shown))


ASKED: Mapping[str, Collection[str] | Read] = {"range": LENGTHS, "until": moment}


def ranges(request: Request) -> dict[str, str]:
    """The same page over each length of time."""
    return {name: with_query(request, range=name) for name in LENGTHS}


async def turning(pages: Pages, request: Request, wanted: Wanted, one: History, now: datetime) -> Turning:
    """To the times before and after, where anything is known of them. wanted: whose history it is."""
    words, shown = pages.words(request), one.shown
    oldest = await pages.archive.heads(wanted, 1)
    # Counts stay when retention takes the measurements: where some are shown there may be more.
    goes_back = bool(one.measurements) or any(head.started < shown.since for head in oldest)
    after = shown.until + (shown.until - shown.since)
    return Turning(
        earlier=with_query(request, range=shown.name, until=shown.since.isoformat()) if goes_back else None,
        later=with_query(request, range=shown.name, until=min(after, now).isoformat()) if shown.until < now else None,
        earlier_words=words.text("Earlier"), later_words=words.text("Later"),
    )  # fmt: skip
