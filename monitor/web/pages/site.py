"""`/sites/HOST`: how a site was on each network over time."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from monitor.language import Words
from monitor.store import Wanted, WantedEvents
from monitor.web.pages import history, times
from monitor.web.pages.asked import moment, not_understood, site_meant, word
from monitor.web.pages.periods import period
from monitor.web.pages.rendering import Missing, Pages, site_path

MOST_EVENTS = 30
PERMANENTLY = 308


async def elsewhere(_: Pages, request: Request) -> Response:
    """GET, with a slash at the end, or of a URL in place of its host."""
    canonical = _canonical(request)
    if canonical is None:
        raise Missing
    return RedirectResponse(canonical, PERMANENTLY)


def _canonical(request: Request) -> str | None:
    """The page of the host as it is kept, with the same query; None where it is no host."""
    name = site_meant(request.path_params["site"])
    if name is None:
        return None
    return f"{site_path(name)}?{request.url.query}" if request.url.query else site_path(name)


async def site(pages: Pages, request: Request) -> Response:
    """GET. range: day, week, month or year; until: its end, if not now."""
    name = request.path_params["site"]
    whole, said = await pages.overview.whole(), pages.words(request)
    row = next((row for row in whole.table.rows if row.site == name), None)
    events = await pages.archive.events(WantedEvents(site=name, newest_first=True, limit=MOST_EVENTS))
    if row is None and not events and not await pages.archive.heads(Wanted(site=name), 1):
        canonical = _canonical(request)
        if canonical is None or canonical.partition("?")[0] == site_path(name):
            raise Missing
        return RedirectResponse(canonical, PERMANENTLY)
    shown = period(word(request, "range"), moment(request, "until") or whole.made, whole.made)
    bands = await pages.archive.bands(name, shown.since, shown.until, shown.step)
    told = history.history(said, _title(said, name), bands, events, shown)
    timed = await times.timings(pages.archive, name, shown.until)
    return pages.page(
        request, "site.html", site=name, name=row.name if row else None, tags=sorted(row.tags) if row else [],
        now_on=list(zip(whole.table.columns, row.cells, strict=True)) if row else [], events=events,
        since=await pages.archive.opened(events),
        history=told, ranges=history.ranges(request), left_aside=not_understood(said, request, history.ASKED),
        turning=await history.turning(pages, request, Wanted(site=name), told, whole.made),
        timed=timed, times=times.chart(said, timed, shown.until, whole.made) if timed else None,
    )  # fmt: skip


def _title(words: Words, site: str) -> str:
    return words.text("{site} on each network", site=site)
