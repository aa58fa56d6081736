"""The messages that the program can say, and the catalogues of their translations.

`python tests/messages.py` brings every catalogue in monitor/locale up to date: new messages are added without a
translation, those that nobody says any more are left out. `python tests/messages.py fr` begins a new one.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel import Locale
from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from monitor.cli import almenara
from monitor.help import messages as help_texts
from monitor.language import FOLDER
from monitor.web.api.endpoints import ENDPOINTS
from monitor.web.api.schema import parameters

PROGRAM = FOLDER.parent
WIDTH = 116
# What marks a message: the function, and which of its arguments is one (all: None). Rules say why in their table.
MARKS: dict[str, Any] = {
    "N_": None, "NN_": (1, 2), "Said": None,
    "_": None, "gettext": None, "ngettext": (1, 2), "text": None, "many": (1, 2), "Rule": (4,), "_blocked": (2,),
}  # fmt: skip
METHODS = [
    ("**.py", "python"),
    ("**/templates/**.html", "jinja2.ext.babel_extract"),
    ("**/templates/**.xml", "jinja2.ext.babel_extract"),
]
OPTIONS = {pattern: {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"} for pattern, _ in METHODS[1:]}
SQL = "store"  # its `text(..)` is SQL
SQL_MARKS = {mark: MARKS[mark] for mark in ("N_", "Said")}


def said() -> Catalog:
    """Every message in the program's code, its templates, its command line and its API's description."""
    catalogue = Catalog(fuzzy=False)
    for file, _, message, comments, context in extracted():
        catalogue.add(message, locations=[(file, 0)], auto_comments=comments, context=context)
    for text in help_texts(almenara):
        catalogue.add(text, locations=[("cli.py", 0)])
    for endpoint in ENDPOINTS:
        for text in (endpoint.summary, *(one["description"] for one in parameters(endpoint, published=False))):
            catalogue.add(text, locations=[("web/api", 0)])
    return catalogue


def extracted() -> Iterator[tuple[Any, ...]]:
    """As Babel finds them, in order of files."""
    found = extract_from_dir(
        PROGRAM, METHODS, OPTIONS, MARKS, comment_tags=("For translators:",), strip_comment_tags=True,
        directory_filter=lambda folder: Path(folder).name not in (SQL, "__pycache__"),
    )  # fmt: skip
    stored = extract_from_dir(PROGRAM / SQL, METHODS[:1], keywords=SQL_MARKS)
    places = [*found, *((f"{SQL}/{file}", *rest) for file, *rest in stored)]
    return iter(sorted(places, key=lambda one: (one[0], one[1])))


def catalogues() -> list[Path]:
    """A file for each language but English."""
    return sorted(FOLDER.glob("*.po"))


def written(file: Path) -> Catalog:
    """A catalogue as it stands; a language that has none begins with an empty one."""
    if not file.exists():
        return Catalog(locale=Locale.parse(file.stem), fuzzy=False)
    with file.open("rb") as opened:
        return read_po(opened, abort_invalid=True)


def renew(file: Path) -> None:
    """Bring a catalogue up to date."""
    catalogue, new = written(file), Catalog(locale=Locale.parse(file.stem), fuzzy=False)
    for message in said():
        if message.id:
            known = catalogue.get(message.id, message.context)
            locations = sorted(set(message.locations))[:3]
            new.add(
                message.id, known.string if known else None, locations, message.flags, message.auto_comments,
                known.user_comments if known else (), context=message.context,
            )  # fmt: skip
    with file.open("wb") as opened:
        opened.write(HEADER.format(code=file.stem, forms=new.plural_forms).encode())
        write_po(opened, new, width=WIDTH, omit_header=True, include_lineno=False)


HEADER = """\
msgid ""
msgstr ""
"Language: {code}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {forms}\\n"

"""

if __name__ == "__main__":
    for one in [FOLDER / f"{code}.po" for code in sys.argv[1:]] or catalogues():
        renew(one)
