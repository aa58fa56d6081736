"""From what is known to HTML: the templates, the reader's language, and what every page may use."""

import hashlib
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from monitor import __version__
from monitor.evidence.zipped import bundle_name
from monitor.language import Words, available, choose, words
from monitor.models import Network, Status
from monitor.web.archive import Archive
from monitor.web.bundles import Bundles
from monitor.web.headers import cached
from monitor.web.pages import sentences
from monitor.web.pages.whole import Overview
from monitor.web.scope import Watching
from monitor.web.strangers import line
from monitor.zones import local_words

HERE = Path(__file__).parent.parent
COOKIE = "lang"
COOKIE_S = 365 * 86_400
# Shape, colour (the stylesheet's) and word: not everyone sees colours, not every browser draws SVG.
SHAPES = {
    Status.OK: "●", Status.BLOCKED: "■", Status.DOWN: "▲", Status.GEOBLOCKED: "◆", Status.INCONCLUSIVE: "○", None: "–",
}  # fmt: skip
STATES = tuple(SHAPES)
STATIC = {"almenara.css": "text/css", "almenara.js": "text/javascript", "favicon.svg": "image/svg+xml"}


class Missing(Exception):
    """There is no such thing to show."""


class Files:
    """The stylesheet, the script and the sign, read once; each is named with what is in it, so that browsers keep it."""

    @cached_property
    def content(self) -> dict[str, bytes]:
        """By name."""
        return {name: (HERE / "static" / name).read_bytes() for name in STATIC}

    def path(self, name: str) -> str:
        """Where it is served."""
        return f"/static/{name}?{self.version(name)}"

    def version(self, name: str) -> str:
        """Changes with its content."""
        return hashlib.sha256(self.content[name]).hexdigest()[:10]


class Pages:
    """What pages are made from, and how."""

    def __init__(
        self, archive: Archive, watching: Watching, bundles: Bundles | None = None, *, made_up: bool = False
    ) -> None:
        """bundles: of evidence, where they can be made. made_up: what is shown was never measured on a real network."""
        self.made_up = made_up
        self.archive, self.watching, self.bundles = archive, watching, bundles
        self.overview = Overview(archive, watching)
        self.files = Files()

    def words(self, request: Request) -> Words:
        """In the language that the reader chose, or the browser prefers."""
        asked = request.query_params.get(COOKIE) or request.cookies.get(COOKIE)
        return words(choose(request.headers.get("accept-language", ""), asked))

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """The page. values: what the template asks for."""
        said = self.words(request)
        common = {
            "now": datetime.now(UTC),
            "made_up": self.made_up,
            "here": request.url.path,
            "in_language": partial(_in_language, request),
        }
        html = environment(said.code, self.files).get_template(template).render(common | values)
        headers = {"Content-Language": said.code, "Vary": "Accept-Language, Cookie", "Cache-Control": "no-cache"}
        if status != HTTPStatus.OK:
            return HTMLResponse(html, status_code=status, headers=headers)
        response = cached(request, html.encode(), "text/html", seconds=0, headers=headers)
        if request.query_params.get(COOKIE) == said.code:
            response.set_cookie(COOKIE, said.code, max_age=COOKIE_S, samesite="strict", httponly=True)
        return response

    def trouble(self, request: Request, status: HTTPStatus) -> Response:
        """A page that says why there is none."""
        headline, text = sentences.trouble(self.words(request), status)
        response = self.page(request, "trouble.html", status=status, headline=headline, text=text)
        if status is not HTTPStatus.NOT_FOUND:
            response.headers["Retry-After"] = "10"
        return response


@lru_cache(maxsize=8)
def environment(code: str, files: Files) -> Environment:
    """The templates in one language."""
    said = words(code)
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, lstrip_blocks=True,
        auto_reload=False, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    env.policies["ext.i18n.trimmed"] = True
    said.install(env)
    env.filters |= {"stranger": line, "iso": _iso, "segment": _segment, "anchor": _anchor, "code": _code, "host": _host}
    env.globals |= _globals(said) | {"static": files.path}
    return env


def _globals(said: Words) -> dict[str, Any]:
    bound = {
        name: partial(getattr(sentences, name), said)
        for name in (
            "network_name",
            "event_words",
            "event_time",
            "opened",
            "duration_words",
            "rests_words",
            "incident_words",
            "incident_time",
            "incident_rests",
            "cell_words",
            "column_notes",
            "sure_words",
            "status_word",
            "range_words",
            "layer_words",
        )
    }
    return bound | {
        "w": said, "local_words": partial(local_words, said), "bundle_name": partial(bundle_name, language=said.code),
        "languages": available(), "menu": sentences.menu(said), "states": STATES, "shapes": SHAPES,
        "version": __version__, "site_path": site_path, "network_path": network_path,
    }  # fmt: skip


def site_path(site: str) -> str:
    """The page of a site."""
    return f"/sites/{quote(site, safe=':')}"


def network_path(network: Network | None) -> str:
    """The page of a network."""
    return f"/networks/asn{network.asn}" if network and network.asn else "/networks/unknown"


def _in_language(request: Request, code: str) -> str:
    """The same page in another language. Only a path of ours: nothing of the request's host is in it."""
    query = [(key, value) for key, value in request.query_params.multi_items() if key != COOKIE]
    return "?" + "&".join(f"{quote(key)}={quote(value)}" for key, value in [*query, (COOKIE, code)])


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _segment(text: str) -> str:
    """A stranger's id as a part of a path."""
    return quote(str(text), safe="")


def _code(text: str) -> Markup:
    """A sentence of ours in which what is to be typed stands between backticks."""
    parts = text.split("`")
    marked = [Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    return Markup("").join(marked)


def _host(text: str) -> Markup:
    """A stranger's host, which may be broken after its dots."""
    return Markup(".<wbr>").join(line(text).split("."))


def _anchor(text: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "._") else "-" for char in str(text)[:60])
