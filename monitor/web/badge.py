"""`/sites/HOST/badge.svg` and `chart.svg`: how a site is, as a picture for other people's pages.

A picture stays on a page when its data are old, so it says itself of when they are, and "no recent data" where there are
none. Nothing in it runs.
"""

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from monitor.language import Words
from monitor.models import Status
from monitor.store import StoreError, Wanted, WantedEvents
from monitor.web.archive import Busy
from monitor.web.charts.bands import BRACKET, GAP, HEIGHT, Band, bands
from monitor.web.charts.svg import LINE, element
from monitor.web.headers import DATA_POLICY, cached
from monitor.web.pages import sentences
from monitor.web.pages.asked import site_kept
from monitor.web.pages.matrix import ORDER, Cell
from monitor.web.pages.periods import Period, buckets, period, spans, ticks
from monitor.web.pages.rendering import Pages
from monitor.web.strangers import line

SECONDS = 300
MOST_BANDS = 8
MOST_EVENTS = 200
WIDTH = 720
_MEDIA_TYPE = "image/svg+xml"
_XMLNS = "http://www.w3.org/2000/svg"
_FONT = "Verdana, DejaVu Sans, Geneva, sans-serif"
_LETTER, _PADDING, _TALL = (
    6.6,
    7.0,
    20,
)  # of a letter of 11 pixels; browsers stretch or press words to what was reckoned
# White words stand on them: each has a contrast of at least 4.5 to it.
COLOURS = {
    Status.OK: "#17664c", Status.BLOCKED: "#a8230f", Status.DOWN: "#7a5200", Status.GEOBLOCKED: "#6a359c",
    Status.INCONCLUSIVE: "#5a5f66", None: "#5a5f66",
}  # fmt: skip
_STYLE = "".join(
    [f".f-{status.value}{{fill:{colour}}}" for status, colour in COLOURS.items() if status is not None]
    + [".tick{stroke:#d3cdc1}.foot{stroke:#7d766a}.event{fill:#a8230f}", f"text{{font-family:{_FONT};fill:#1c1b19}}"]
)


class _Nobody(Exception):
    """Nothing is known of that site."""


def routes(pages: Pages) -> list[BaseRoute]:
    """Both pictures."""
    pictures = _Pictures(pages)
    return [
        Route("/sites/{site:path}/badge.svg", pictures.badge, methods=["GET"]),
        Route("/sites/{site:path}/chart.svg", pictures.chart, methods=["GET"]),
    ]


class _Pictures:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def badge(self, request: Request) -> Response:
        """How it is now."""
        return await self._answer(request, self._badge)

    async def chart(self, request: Request) -> Response:
        """How it was. range: day, week, month or year."""
        return await self._answer(request, self._chart)

    async def _answer(self, request: Request, draw: Callable[[Request, str, Words], Awaitable[Markup]]) -> Response:
        words = self._pages.words(request)
        try:
            site = await site_kept(self._pages.archive, request.path_params["site"])
            drawn = await draw(request, site, words)
        except _Nobody:
            return PlainTextResponse("nothing is known of that site\n", status_code=404)
        except (Busy, StoreError):
            return PlainTextResponse("not now\n", status_code=503, headers={"Retry-After": "10"})
        headers = {"Content-Security-Policy": DATA_POLICY, "Vary": "Accept-Language, Cookie"}
        return cached(request, drawn.encode(), _MEDIA_TYPE, seconds=SECONDS, headers=headers)

    async def _badge(self, _: Request, site: str, words: Words) -> Markup:
        whole = await self._pages.overview.whole()
        row = next((row for row in whole.table.rows if row.site == site), None)
        if row is None and not await self._pages.archive.heads(Wanted(site=site), 1):
            raise _Nobody
        return badge(words, site, row.cells if row else ())

    async def _chart(self, request: Request, site: str, words: Words) -> Markup:
        archive, now = self._pages.archive, datetime.now(UTC)
        newest = await archive.heads(Wanted(site=site, newest_first=True), 1)
        if not newest:
            raise _Nobody
        shown = period(request.query_params.get("range", "month")[:10], now, now)
        found = (await archive.bands(site, shown.since, shown.until, shown.step))[:MOST_BANDS]
        wanted = WantedEvents(site=site, since=shown.since, newest_first=True, limit=MOST_EVENTS)
        events = [event for event in await archive.events(wanted) if event.confidence > 0]
        rows = [
            Band(
                label=sentences.network_name(words, band.network), buckets=buckets(band.slots, shown),
                events=spans(events, band.network, shown),
            )
            for band in found
        ]  # fmt: skip
        return chart(words, site, rows, shown, newest[0].started, min(shown.until, now))


def badge(words: Words, site: str, cells: Sequence[Cell]) -> Markup:
    """The site, its state on all networks together, and of when that is."""
    states = [_state(cell) for cell in cells if _counts(cell)]
    state = min(states, key=ORDER.index, default=None)
    seen = max((cell.measured for cell in cells if cell.measured and not cell.old), default=None)
    parts = [(line(site, 60), "#33302b"), (_state_words(words, state, states), COLOURS[state])]
    if seen is not None:
        parts.append((words.moment(seen), "#57534c"))
    drawn, x = [], 0.0
    for text, colour in parts:
        width = _width(text)
        drawn.append(element("rect", x=x, width=width + 2 * _PADDING, height=_TALL, fill=colour))
        drawn.append(element("text", text, x=x + _PADDING, y=14, textLength=width, lengthAdjust="spacingAndGlyphs"))
        x += width + 2 * _PADDING
    whole = ", ".join(text for text, _ in parts)
    letters = element("g", drawn, fill="#fff", font_family=_FONT, font_size=11)
    return _picture(x, _TALL, whole, (letters,))


def _counts(cell: Cell) -> bool:
    """Where a block goes on, nobody shall take what is open elsewhere for all there is to know."""
    return cell.state is not None and (not cell.old or cell.event is not None)


def _state(cell: Cell) -> Status | None:
    """A badge accuses nobody on a suspicion."""
    if cell.old:
        return None
    return Status.INCONCLUSIVE if cell.is_surprise else cell.state


def _state_words(words: Words, state: Status | None, states: Sequence[Status | None]) -> str:
    """On how many of the networks of which something recent is known, or should be."""
    if not any(states):
        return words.text("no recent data")
    return words.many(
        "{state} on {count} of {all} network", "{state} on {count} of {all} networks", len(states),
        state=words.status(state) if state else words.text("no recent data"),
        count=words.number(states.count(state)), all=words.number(len(states)),
    )  # fmt: skip


def chart(words: Words, site: str, rows: Sequence[Band], shown: Period, newest: datetime, until: datetime) -> Markup:
    """How the site was on each network, with what the colours mean and how old the newest measurement is."""
    title = words.text("{site} on each network", site=line(site, 60))
    from_to = words.text("{since} to {until}", since=words.day(shown.since), until=words.day(until))
    of_when = words.text("last measured {moment}", moment=words.moment(newest))
    height = (LINE + HEIGHT + BRACKET + GAP) * len(rows) + LINE + 2
    foot = 40 + (height if rows else LINE)
    inside = (
        bands("bands", title, from_to, rows, ticks(words, shown))
        if rows
        else _line(14, words.text("no data in this time"))
    )
    content = (
        element("style", _STYLE),
        element("rect", width="100%", height="100%", fill="#fdfcf9"),
        _line(18, title, size=14, weight="bold"),
        _line(33, f"{from_to} · {of_when} · Almenara"),
        element("svg", (inside,), x=10, y=40, width=WIDTH - 20, height=height),
        *_legend(words, foot + 10),
    )
    return _picture(WIDTH, foot + 24, f"{title}, {from_to}", content)


def _legend(words: Words, y: float) -> list[Markup]:
    """What the colours mean."""
    drawn, x = [], 10.0
    for status in Status:
        drawn.append(element("rect", x=x, y=y, width=10, height=10, class_=f"f-{status.value}"))
        drawn.append(_line(y + 9, words.status(status), x=x + 14))
        x += 14 + _width(words.status(status)) + 16
    return drawn


def _line(y: float, text: str, *, x: float = 10, size: int = 11, weight: str | None = None) -> Markup:
    return element("text", text, x=x, y=y, font_size=size, font_weight=weight)


def _picture(width: float, height: float, label: str, content: Sequence[Markup]) -> Markup:
    return element(
        "svg", (element("title", label), *content), xmlns=_XMLNS, width=width, height=height, role="img", aria_label=label,
        viewBox=f"0 0 {width:g} {height:g}",
    )  # fmt: skip


def _width(text: str) -> float:
    """Of a line of eleven pixels, about."""
    return sum(_LETTER * (2 if unicodedata.east_asian_width(char) in "WF" else 1) for char in text)
