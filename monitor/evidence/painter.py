"""Draws HTML, as a PDF or as a picture: a program of its own, started by `drawing` and shut in before it reads a byte.

It draws a page of its own first, so that fonts and modules are there. What a page then asks for is refused twice: by
the fetcher here, and by the kernel.
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pypdfium2  # type: ignore[import-untyped]
import weasyprint  # type: ignore[import-untyped]
from PIL import ImageChops
from weasyprint.text.fonts import FontConfiguration  # type: ignore[import-untyped]

from monitor.evidence import pixels
from monitor.evidence.calls import STANDARD_OUTPUT
from monitor.evidence.confined import confine

MOST_MEMORY = 2 * 1024**3  # of addresses, of which a fraction is ever used
# Of processor, once the page is being read. A page is a stranger's, what becomes a PDF is our own report.
MOST_CPU_S = {"pdf": 60, "picture": 5}
_AT_ONCE = 1 << 20
LEAST_HEIGHT_PX = 300
# Words are not broken: where a page asks for that, a file of its language would be opened.
_PAGE = "@page { size: 1000px 1400px; margin: 0 } * { hyphens: manual !important }"
_STYLES = ("", "font-weight: bold", "font-style: italic", "font-weight: bold; font-style: italic")
# Letters of several scripts: what they are drawn with is looked for at the first of them, and not later.
_LETTERS = "Aá中あ한عАΑאไअ€→●✓✗↓?⊘"


class _Images(weasyprint.urls.URLFetcher):  # type: ignore[misc]
    """What a page asks for: images that are written in it, and nothing else."""

    def fetch(self, url: str, headers: Any = None) -> Any:
        """An image, or ValueError."""
        if not url.lower().startswith("data:image/"):
            raise ValueError("refused")
        return super().fetch(url, headers)


class _Fonts(FontConfiguration):  # type: ignore[misc]
    """This machine's fonts, and none that a page brings."""

    def add_font_face(self, *_: Any) -> None:
        """Nothing: it would write a file."""


def main(what: str) -> None:
    """Read HTML from the standard input and write it, drawn, to the standard output."""
    logging.getLogger("weasyprint").addHandler(logging.NullHandler())
    draw = prepared(what)
    confine(memory=MOST_MEMORY, seconds=MOST_CPU_S[what])
    _write(draw(_read().decode("utf-8", "replace")))


def prepared(what: str) -> Callable[[str], bytes]:
    """HTML -> a pdf, or a picture's pixels. All that this needs of files is in memory."""
    draw = partial({"pdf": _pdf, "picture": _picture}[what], fonts=_Fonts())
    draw(_first_page())
    return draw


def _read() -> bytes:
    """All of the standard input, and no call but for reading it."""
    return b"".join(iter(lambda: os.read(0, _AT_ONCE), b""))


def _write(content: bytes) -> None:
    while content:
        content = content[os.write(STANDARD_OUTPUT, content[:_AT_ONCE]) :]


def _pdf(html: str, fonts: FontConfiguration) -> bytes:
    document = weasyprint.HTML(string=html, url_fetcher=_Images())
    # The identifier would else be chance.
    return bytes(document.write_pdf(font_config=fonts, pdf_identifier=b"almenara", pdf_tags=True))


def _picture(html: str, fonts: FontConfiguration) -> bytes:
    """The first page of it, as a browser's window would show it."""
    document = weasyprint.HTML(string=html, url_fetcher=_Images(), media_type="screen")
    style = weasyprint.CSS(string=_PAGE, font_config=fonts)
    first = document.render(font_config=fonts, stylesheets=[style], presentational_hints=True).copy()
    first.pages = first.pages[:1]
    with pypdfium2.PdfDocument(first.write_pdf(pdf_identifier=b"almenara")) as pdf:
        width, height = pdf[0].get_size()
        scale = min(pixels.MOST_PX[0] / width, pixels.MOST_PX[1] / height)
        image = pdf[0].render(scale=scale).to_pil().convert("RGB")
    # What is white below the last word is left out.
    _, _, _, foot = ImageChops.invert(image).getbbox() or (0, 0, 0, 0)
    most_wide, most_high = pixels.MOST_PX  # what PDFium rounded up may be a pixel more
    foot = max(LEAST_HEIGHT_PX, min(image.height, foot + 20))
    return pixels.told(image.crop((0, 0, min(image.width, most_wide), min(foot, most_high))))


def _first_page() -> str:
    families = ("serif", "sans-serif", "monospace", "system-ui", "Arial", "Helvetica", "Verdana", "Times New Roman")
    texts = [f'<p style="font-family: {family}; {style}">{_LETTERS}</p>' for family in families for style in _STYLES]
    return "".join(texts) + '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEAAAAALAAAAAABAAEAAAIBAAA="><svg/>'


if __name__ == "__main__":
    main(sys.argv[1])
