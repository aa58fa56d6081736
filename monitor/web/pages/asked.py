"""What a reader's address asks for: bounded, and never an error where it is nonsense."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import overload

from starlette.requests import Request

from monitor.language import Words
from monitor.messages import N_
from monitor.store import Wanted
from monitor.urls import BadUrl, site_written
from monitor.web.archive import Archive
from monitor.web.strangers import line

MOST_CHARACTERS = 100
MOST = 2**32
FIRST_YEAR, LAST_YEAR = 2000, 2100

Read = Callable[[Request, str], object]  # None where it is nonsense


def word(request: Request, key: str) -> str:
    """A text; "" where there is none."""
    return request.query_params.get(key, "")[:MOST_CHARACTERS]


def one_of(request: Request, key: str, known: Collection[str]) -> str:
    """One of these words; "" where it is none of them."""
    text = word(request, key)
    return text if text in known else ""


def not_understood(words: Words, request: Request, choices: Mapping[str, Collection[str] | Read]) -> list[str]:
    """What the address asks for and the page leaves out. choices: what each word may be, or how it is read."""
    left_out = []
    for key, known in choices.items():
        text = word(request, key)
        if text and (known(request, key) is None if callable(known) else text not in known):
            message = N_("The address asks for {key}={value}, which does not exist: it was left out.")
            left_out.append(words.text(message, key=key, value=line(text, 60)))
    return left_out


def site_meant(written: str) -> str | None:
    """A site's name from its host as somebody wrote it in an address, or a URL of it; None where it is neither."""
    if "/" in written.removesuffix("/") and "://" not in written:
        return None
    try:
        return site_written(written)
    except BadUrl:
        return None


async def site_kept(archive: Archive, written: str) -> str:
    """The name that a site is kept by, however it is written; as it is where it is no site's."""
    if await archive.heads(Wanted(site=written), 1):
        return written
    return site_meant(written) or written


@overload
def number(request: Request, key: str, default: int, *, least: int = 1) -> int: ...
@overload
def number(request: Request, key: str, default: None, *, least: int = 1) -> int | None: ...
def number(request: Request, key: str, default: int | None, *, least: int = 1) -> int | None:
    """A whole number that makes sense."""
    text = word(request, key)
    if text.isascii() and text.isdigit() and least <= int(text) <= MOST:
        return int(text)
    return default


def any_number(request: Request, key: str) -> int | None:
    """A whole number, or 0."""
    return number(request, key, None, least=0)


def moment(request: Request, key: str) -> datetime | None:
    """A moment, as the page's own links write it."""
    try:
        found = datetime.fromisoformat(word(request, key))
    except ValueError:
        return None
    # Near the ends of the calendar there is no other zone, and no year before.
    return found.astimezone(UTC) if found.tzinfo and FIRST_YEAR <= found.year <= LAST_YEAR else None
