"""What strangers wrote (sites, resolvers, helpers, whoever stands in between) as it may stand on a page.

Templates escape; here it is bounded and made printable: no control characters, nothing that turns the direction of what
follows, nothing that a font draws as nothing.
"""

import base64
import binascii
import zlib
from contextlib import suppress
from html.parser import HTMLParser

from monitor.models import Http
from monitor.steps.page import decoded

MAX_LINE = 200
MAX_PASSAGE = 4000
# html.parser takes its time over hostile bytes: some 50 ms for the worst 32 KB (`monitor.steps.page`).
MAX_PARSED_BYTES = 32 * 1024
_JOINERS = "\u200c\u200d"  # Persian and Indian words need them; they change nothing outside their word
_SILENT = {"script", "style", "template", "noscript", "svg"}
_BREAKS = {
    "p",
    "div",
    "br",
    "li",
    "tr",
    "h1",
    "h2",
    "h3",
    "h4",
    "title",
    "section",
    "article",
    "header",
    "footer",
    "table",
}


def line(text: object, most: int = MAX_LINE) -> str:
    """One line of it."""
    raw = str(text)[: 4 * most]
    clean = "".join(char if char.isprintable() or char in _JOINERS else "\ufffd" for char in " ".join(raw.split()))
    return clean if len(clean) <= most and len(str(text)) <= 4 * most else f"{clean[: most - 1]}…"


def passage(text: str, most: int = MAX_PASSAGE) -> str:
    """Several lines of it, without empty ones."""
    raw = text[: 2 * most]
    lines = [line(one, most) for one in raw.splitlines() if one.strip()]
    whole = "\n".join(lines)
    return whole if len(whole) <= most and len(text) <= 2 * most else f"{whole[: most - 1]}…"


def page_text(page: Http) -> str | None:
    """The words of a page that was kept, without its tags; None where it was not kept, or its bytes are damaged."""
    if page.body is None:
        return None
    try:
        body = zlib.decompressobj().decompress(base64.b64decode(page.body), MAX_PARSED_BYTES)
    except (zlib.error, binascii.Error, ValueError):
        return None
    kind = next((value for name, value in page.headers if name.lower() == "content-type"), None)
    text = decoded(body, kind)
    if "html" not in (kind or "html").lower():
        return passage(text)
    reader = _Words()
    with suppress(AssertionError, ValueError):  # how html.parser rejects some malformed declarations
        reader.feed(text)
    return passage("".join(reader.parts))


class _Words(HTMLParser):
    """Reads what a visitor would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)
