"""A page as a browser's parser sees it, and what must hold of every page of ours."""

from html.parser import HTMLParser
from typing import Self

import httpx

VOID = {"meta", "link", "input", "br", "hr", "img", "wbr"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
MOST_BYTES = 100_000


class Page(HTMLParser):
    """Elements with their attributes, in order; text: what is read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []

    @classmethod
    def of(cls, answer: httpx.Response) -> Self:
        page = cls()
        page.feed(answer.text)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> too many"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str]:
        """Where it leads."""
        return [attributes["href"] or "" for attributes in self.all("a") if "href" in attributes]

    @property
    def words(self) -> str:
        """Its text, with single spaces."""
        return " ".join(self.text.split())


def checked(answer: httpx.Response) -> Page:
    """The page, after looking whether it is one of ours: inert, light, and of nothing from elsewhere."""
    page = Page.of(answer)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.open == [], f"left open: {page.open}"
    _inert(page)
    _accessible(page)
    assert not set(answer.text) & set(BIDI + "\0"), "invisible characters that turn the text"
    return page


def _inert(page: Page) -> None:
    scripts = page.all("script")
    assert [set(one) for one in scripts] == [{"src", "defer"}]
    assert str(scripts[0]["src"]).startswith("/static/almenara.js?")
    assert not {"style", "iframe", "object", "embed", "base", "meta http-equiv"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")], (
            tag,
            attributes,
        )
        for name in ("href", "src", "action", "formaction", "xlink:href"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith(
                    ("/", "?", "#", "https://creativecommons.org/", "mailto:", "https://desk.example")
                ), (tag, value)
                assert not value.startswith("//"), value


def _accessible(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id twice"
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert attributes.get(name, None) in (None, *ids), (name, attributes)
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("html")[0].get("lang")
    for header in page.all("th"):
        assert header.get("scope") in ("col", "row")
    for chart in page.all("svg"):
        assert chart.get("role") == "img" or "viewbox" in chart
    labelled = {one["for"] for one in page.all("label")}
    for field in [*page.all("input"), *page.all("select")]:
        assert field["id"] in labelled
