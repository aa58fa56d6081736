"""`/`: which sites are blocked where, now."""

from collections.abc import Collection, Mapping

from starlette.requests import Request
from starlette.responses import Response

from monitor.models import Status
from monitor.store import WantedEvents
from monitor.web.pages import sentences
from monitor.web.pages.asked import Read, any_number, not_understood, number, one_of, word
from monitor.web.pages.matrix import Cell, Choice, chosen, part
from monitor.web.pages.rendering import Pages
from monitor.web.pages.turning import turning

NEWS = 10
STATES = {"none", *(status.value for status in Status)}
ASKED: Mapping[str, Collection[str] | Read] = {"state": STATES, "network": any_number, "page": any_number}


async def now(pages: Pages, request: Request) -> Response:
    """GET, with the reader's choice in the query."""
    whole, said = await pages.overview.whole(), pages.words(request)
    choice = _choice(request)
    table, left_out, count = part(chosen(whole.table, choice), page := number(request, "page", 1))
    recent = await pages.archive.events(WantedEvents(newest_first=True, limit=NEWS))
    return pages.page(
        request, "now.html", left_aside=not_understood(said, request, ASKED),
        table=table, left_out=left_out, chosen=choice, events=recent,
        since=await pages.archive.opened(recent),
        networks=[column.network for column in whole.table.columns],
        tags=sorted({tag for row in whole.table.rows for tag in row.tags}),
        headline=sentences.now_headline(said, whole.covered), coverage=sentences.now_coverage(said, whole.covered),
        notes=sentences.notes(said, whole.scope, whole.covered), gaps=sentences.gaps(said, whole.covered, whole.scope),
        shown=sentences.shown(said, len(table.rows), page, count), nothing=sentences.nothing(said, whole.covered),
        turning=turning(said, request, page, count), cell_class=_cell_class,
        newest=max((one.started for one in whole.latest), default=None),
    )  # fmt: skip


def _choice(request: Request) -> Choice:
    return Choice(
        state=one_of(request, "state", STATES), text=word(request, "q").strip(), tag=word(request, "tag"),
        asn=number(request, "network", None, least=0),
    )  # fmt: skip


def _cell_class(cell: Cell) -> str:
    alarm = cell.state is Status.BLOCKED and not cell.old
    return " ".join(name for name, holds in (("alarm", alarm), ("stale", cell.old)) if holds)
