"""From one page of a long table to the next, by links that keep what the reader chose."""

from urllib.parse import urlencode

from msgspec import Struct
from starlette.requests import Request

from monitor.language import Words


class Turning(Struct, frozen=True, kw_only=True):
    """Where it goes on, and in which words; None: nowhere."""

    earlier: str | None = None
    later: str | None = None
    earlier_words: str = ""
    later_words: str = ""


def turning(words: Words, request: Request, page: int, count: int) -> Turning:
    """To the pages beside this one."""
    return Turning(
        earlier=with_query(request, page=page - 1) if page > 1 else None,
        later=with_query(request, page=page + 1) if page < count else None,
        earlier_words=words.text("Previous sites"), later_words=words.text("More sites"),
    )  # fmt: skip


def with_query(request: Request, **changes: object) -> str:
    """The address of this page with other values in its query."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in {*changes, "lang"}]
    return "?" + urlencode([*kept, *((key, str(value)) for key, value in changes.items())])
