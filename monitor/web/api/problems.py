"""What went wrong, as RFC 9457 has it: one JSON object that programs and people can read."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Not understood",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not available in that form",
    414: "Too long",
    422: "Too much at once",
    429: "Too many requests",
    500: "A mistake of ours",
    503: "Not now",
}


class ProblemDetails(Struct, frozen=True, kw_only=True):
    """An error (RFC 9457). parameter: the one that is wrong; allowed: its values, where there are only a few."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    parameter: str | None = None
    allowed: tuple[str, ...] | None = None


class Problem(Exception):
    """Why a request is not answered; detail: one sentence for people, of our own words."""

    def __init__(
        self, status: int, detail: str, *, parameter: str | None = None, allowed: Sequence[str] = (), **headers: str
    ) -> None:
        super().__init__(detail)
        self.details = ProblemDetails(
            title=_TITLES.get(status, "Error"),
            status=status,
            detail=detail,
            parameter=parameter,
            allowed=tuple(allowed) or None,
        )
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """The answer."""
        fields: dict[str, Any] = {k: v for k, v in msgspec.to_builtins(self.details).items() if v is not None}
        body = msgspec.json.encode({"type": self.details.type} | fields)
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(body, status_code=self.details.status, media_type=MEDIA_TYPE, headers=headers)


async def told(_: Request, problem: Exception) -> Response:
    """For Starlette: a Problem as an answer."""
    assert isinstance(problem, Problem)
    return problem.response()
