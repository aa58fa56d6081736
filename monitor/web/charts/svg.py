"""SVG as text. Whatever is put in is escaped; a chart has a name, a description, and nothing that runs.

Charts are as wide as their place: what is in them is placed in percent, so that words keep their size on a phone. Sizes of
text are attributes of the elements, because the stylesheet sets the chart's own to nothing: where a browser draws no SVG
(Tor Browser's safest mode) the words in it would else run together on the page.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape
from msgspec import Struct

FONT_SIZE = 12
LINE = 16  # height of a line of text
TICK_ENDS = (6.0, 94.0)  # percent; a label nearer to an edge is aligned with it


class Tick(Struct, frozen=True):
    """A place on the axis. at: in percent."""

    at: float
    label: str


def element(name: str, content: Iterable[Markup] | str = (), /, **attributes: object) -> Markup:
    """One element. content: elements, or text. `class_` is class; `stroke_width` is stroke-width; None leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = escape(content) if isinstance(content, str) else Markup("").join(content)
    return Markup(f"<{name}{written}>{inner}</{name}>") if inner else Markup(f"<{name}{written}/>")


def text(x: float, y: float, words: str, **attributes: object) -> Markup:
    """A line of text. x: in percent; y: of its foot."""
    return element("text", words, x=percent(x), y=y, font_size=FONT_SIZE, **attributes)


def drawing(id: str, height: float, title: str, description: str, content: Iterable[Markup]) -> Markup:
    """A whole chart. id: of its own in the page. title, description: what a screen reader says instead."""
    named = (element("title", title, id=f"{id}-t"), element("desc", description, id=f"{id}-d"))
    return element(
        "svg", (*named, *content), class_="chart", role="img", aria_labelledby=f"{id}-t", aria_describedby=f"{id}-d",
        width="100%", height=height,
    )  # fmt: skip


def stretched(y: float, height: float, columns: float, content: Iterable[Markup]) -> Markup:
    """A part whose shapes are drawn on so many columns and `height` rows, however wide it becomes."""
    return element(
        "svg", content, x=0, y=y, width="100%", height=height, viewBox=f"0 0 {_plain(columns)} {_plain(height)}",
        preserveAspectRatio="none",
    )  # fmt: skip


def axis(ticks: Iterable[Tick], top: float, height: float) -> list[Markup]:
    """Upright lines with their labels below."""
    drawn: list[Markup] = []
    for tick in ticks:
        first, last = TICK_ENDS
        anchor = "start" if tick.at < first else "end" if tick.at > last else "middle"
        drawn.append(element("line", x1=percent(tick.at), x2=percent(tick.at), y1=top, y2=top + height, class_="tick"))
        drawn.append(text(tick.at, top + height + LINE - 3, tick.label, text_anchor=anchor, class_="label"))
    return drawn


def percent(share: float) -> str:
    """A place or a length in percent of the width."""
    return f"{round(share, 2):g}%"


def _plain(value: object) -> str:
    """A number with at most two digits behind the point: no pixel needs more, and a year has many."""
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)
