"""What happened, as a feed (Atom, RFC 4287): of everything, of a site, of a network. One entry an event, however it changes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from monitor.config import WebConfig
from monitor.language import Words
from monitor.models import Event
from monitor.store import StoreError, Wanted, WantedEvents
from monitor.web.api.schema import LICENCE_URL
from monitor.web.archive import Archive, Busy
from monitor.web.headers import cached
from monitor.web.pages import sentences
from monitor.web.pages.asked import site_kept
from monitor.web.pages.rendering import Pages, site_path
from monitor.web.strangers import line

MOST = 50  # entries
SECONDS = 120
# So long ago something must have changed before its time alone tells a reader whether it is new: times are of a second,
# or of a minute where strangers read.
SETTLED = timedelta(minutes=2)
MEDIA_TYPE = "application/atom+xml"
Opened = Mapping[str, tuple[datetime, int]]  # event -> since when its newest results open, and how many
_ATOM = "http://www.w3.org/2005/Atom"
# The names of feeds and entries (RFC 4151) never change: neither may this year, nor what stands for a private service.
_YEAR, _PRIVATE = 2026, "almenara.invalid"


class Subject(Struct, frozen=True, kw_only=True):
    """What a feed is about: a site, or a network (0: the unknown one), or everything. path: of its page."""

    path: str
    site: str | None = None
    asn: int | None = None


def routes(pages: Pages, web: WebConfig) -> list[BaseRoute]:
    """All feeds."""
    feeds = _Feeds(pages, web)
    return [
        Route("/feed.atom", feeds.of_all, methods=["GET"]),
        Route("/sites/{site:path}/feed.atom", feeds.of_site, methods=["GET"]),
        Route("/networks/asn{asn:int}/feed.atom", feeds.of_network, methods=["GET"]),
    ]


class _Feeds:
    def __init__(self, pages: Pages, web: WebConfig) -> None:
        self._pages, self._archive = pages, pages.archive
        self._base = (web.public or "").removesuffix("/")
        self._authority = (urlsplit(web.public).hostname if web.public else None) or _PRIVATE

    async def of_all(self, request: Request) -> Response:
        """Everything that happened; or what happened to the site that `site` names."""
        asked = request.query_params.get("site")
        return await (self._of(request, asked) if asked else self._answer(request, Subject(path="/")))

    async def of_site(self, request: Request) -> Response:
        """What happened to a site."""
        return await self._of(request, request.path_params["site"])

    async def of_network(self, request: Request) -> Response:
        """What happened on a network."""
        asn = request.path_params["asn"]
        return await self._answer(request, Subject(path=f"/networks/asn{asn}", asn=asn))

    async def _of(self, request: Request, written: str) -> Response:
        try:
            site = await site_kept(self._archive, written)
        except (Busy, StoreError):
            return _later()
        return await self._answer(request, Subject(path=site_path(site), site=site))

    async def _answer(self, request: Request, subject: Subject) -> Response:
        try:
            wanted = WantedEvents(site=subject.site, asn=subject.asn, limit=MOST)
            events = await self._archive.changed_events(wanted)
            if not events and not await _is_known(self._archive, subject):
                return PlainTextResponse("there is no such feed\n", status_code=404)
            since = await self._archive.opened([event for _, event in events])
        except (Busy, StoreError):
            return _later()
        words = self._pages.words(request)
        body = self._written(words, subject, _moved(events, since), since)
        modified = _modified(events) if not since else {}  # what the newest results say changes no event
        headers = {"Vary": "Accept-Language, Cookie", "Content-Language": words.code, **modified}
        answer = cached(request, body, MEDIA_TYPE, seconds=SECONDS, headers=headers)
        if _is_known_by_time(request, headers):
            return Response(status_code=304, headers={"ETag": answer.headers["ETag"], **headers})
        return answer

    def _written(
        self, words: Words, subject: Subject, events: Sequence[tuple[datetime, Event]], since: Opened
    ) -> bytes:
        feed = ElementTree.Element("feed", {"xmlns": _ATOM, "xml:lang": words.code})
        own_path = f"{subject.path.removesuffix('/')}/feed.atom"
        _add(feed, "id", self._tag(own_path))
        _add(feed, "title", _title(subject))
        _add(feed, "updated", _stamp(events[0][0] if events else datetime(_YEAR, 1, 1, tzinfo=UTC)))
        _add(feed, "link", rel="self", type=MEDIA_TYPE, href=self._base + own_path)
        _add(feed, "link", rel="alternate", type="text/html", href=self._base + subject.path)
        _add(feed, "link", rel="license", href=LICENCE_URL)
        _add(_add(feed, "author"), "name", "Almenara")
        for changed, event in events:
            self._entry(_add(feed, "entry"), words, event, changed, since.get(event.id))
        written: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
        return written

    def _entry(
        self, entry: ElementTree.Element, words: Words, event: Event, changed: datetime,
        since: tuple[datetime, int] | None,
    ) -> None:  # fmt: skip
        path = f"/events/{quote(event.id, safe='')}"
        _add(entry, "id", self._tag(path))
        _add(entry, "title", sentences.event_words(words, event, opened=since is not None))
        _add(entry, "updated", _stamp(changed))
        _add(entry, "published", _stamp(event.detected))
        _add(entry, "link", rel="alternate", type="text/html", href=self._base + path)
        _add(entry, "category", term=event.kind.value)
        _add(entry, "summary", _summary(words, event, since))

    def _tag(self, path: str) -> str:
        return f"tag:{self._authority},{_YEAR}:{path}"


def _later() -> Response:
    return PlainTextResponse("not now\n", status_code=503, headers={"Retry-After": "10"})


async def _is_known(archive: Archive, subject: Subject) -> bool:
    if subject.site is None and subject.asn is None:
        return True
    return bool(await archive.heads(Wanted(site=subject.site, asn=subject.asn), 1))


def _moved(events: Sequence[tuple[datetime, Event]], since: Opened) -> list[tuple[datetime, Event]]:
    """What the newest results find open says something else since then, and moves up."""
    told = [(max(changed, since[event.id][0]) if event.id in since else changed, event) for changed, event in events]
    return sorted(told, key=lambda one: one[0], reverse=True)


def _modified(events: Sequence[tuple[datetime, Event]]) -> dict[str, str]:
    """When anything changed last, in HTTP's words; nothing while something more may become of that moment."""
    if not events or datetime.now(UTC) - events[0][0] < SETTLED:
        return {}
    return {"Last-Modified": format_datetime(events[0][0].replace(microsecond=0), usegmt=True)}


def _is_known_by_time(request: Request, headers: Mapping[str, str]) -> bool:
    """Has a reader that knows no ETag all of it? (RFC 9110, 13.1.3)"""
    asked, modified = request.headers.get("If-Modified-Since"), headers.get("Last-Modified")
    if asked is None or modified is None or "If-None-Match" in request.headers:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(asked)
    except (ValueError, TypeError):  # no date, or one without a zone
        return False


def _title(subject: Subject) -> str:
    if subject.site is not None:
        return f"Almenara: {line(subject.site, 80)}"
    return "Almenara" if subject.asn is None else f"Almenara: AS{subject.asn}"


def _summary(words: Words, event: Event, since: tuple[datetime, int] | None) -> str:
    told = [sentences.event_time(words, event)]
    if since is not None:
        told.append(sentences.opened(words, since))
    told += [words.method_meaning(method).removesuffix(".") for method in event.methods]
    if event.confidence > 0:
        told.append(sentences.sure_words(words, event.confidence))
    return "; ".join(told)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name, attributes)
    child.text = text
    return child
