"""From a request to an answer: what is asked, in which form, still the same, or what is wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.store import StoreError
from monitor.web.api import problems, tables
from monitor.web.api.endpoints import ENDPOINTS, Answer, Endpoint
from monitor.web.api.problems import Problem
from monitor.web.api.questions import read
from monitor.web.api.schema import LICENCE_URL, schema
from monitor.web.archive import Archive, Busy
from monitor.web.headers import cached

RETRY_S = 5
SCHEMA_S = 3600
PREFIX = "/api"
Handler = Callable[[Request], Awaitable[Response]]


def api(archive: Archive) -> Starlette:
    """The application below `/api`, whose errors all are problems."""
    routes = [
        # An id from a stranger may have a slash in it.
        Route(one.path.removeprefix(PREFIX).replace("{id}", "{id:path}"), _answering(archive, one), methods=["GET"])
        for one in ENDPOINTS
    ]
    handlers: Any = {Problem: problems.told, HTTPException: refused, Exception: _mistaken}
    described = Route("/schema", _schema(published=archive.is_published), methods=["GET"])
    app = Starlette(routes=[*routes, described], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _answering(archive: Archive, endpoint: Endpoint) -> Handler:
    asked = endpoint.asked(published=archive.is_published)

    async def answer(request: Request) -> Response:
        question = read(request, asked)
        try:
            found = await endpoint.work(archive, question, request.path_params.get("id", ""))
        except Busy:
            raise Problem(503, "Too many readers at once.", Retry_After=str(RETRY_S)) from None
        except StoreError:  # its words name files and servers
            raise Problem(503, "The store cannot be read at the moment.", Retry_After=str(RETRY_S)) from None
        as_csv = endpoint.row is not None and _wants_csv(request, question)
        body = await asyncio.to_thread(_body, endpoint, found, as_csv)
        media_type = tables.MEDIA_TYPE if as_csv else "application/json"
        headers = {"Vary": "Accept", "Link": _links(request, found)}
        if as_csv:
            headers["Content-Disposition"] = f'attachment; filename="almenara-{endpoint.name}.csv"'
        return cached(request, body, media_type, seconds=endpoint.seconds, headers=headers)

    return answer


def _body(endpoint: Endpoint, found: Answer, as_csv: bool) -> bytes:
    if as_csv and endpoint.row is not None:
        return tables.written(found.rows, endpoint.row, found.by)
    return msgspec.json.encode(found.body)


def _links(request: Request, found: Answer) -> str:
    links = [f'<{LICENCE_URL}>; rel="license"', '</api/schema>; rel="service-desc"']
    if found.next is not None:
        # As the client wrote it, but for the cursor: nothing of the request's host is in it.
        following = request.url.include_query_params(cursor=found.next)
        links.insert(0, f'<{following.path}?{following.query}>; rel="next"')
    return ", ".join(links)


def _wants_csv(request: Request, question: Any) -> bool:
    """`format`, or which of the two `Accept` prefers."""
    if question.format is not UNSET:
        return bool(question.format == "csv")
    accept = ",".join(request.headers.getlist("accept"))
    csv, json = (max(_weight(accept, name), _weight(accept, "*/*")) for name in ("text/csv", "application/json"))
    return csv > json or (
        csv > 0 and csv == json and _weight(accept, "application/json") == 0 != _weight(accept, "text/csv")
    )


def _weight(accept: str, media_type: str) -> float:
    """What an Accept header gives a type by name; 0: nothing."""
    for one in accept.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == media_type:
            quality = next((part.removeprefix("q=") for part in parameters if part.startswith("q=")), "1")
            return float(quality) if quality.replace(".", "", 1).isdecimal() and quality.isascii() else 0.0
    return 0.0


def _schema(*, published: bool) -> Handler:
    text = msgspec.json.encode(schema(published=published))

    async def answer(request: Request) -> Response:
        return cached(request, text, "application/vnd.oai.openapi+json", seconds=SCHEMA_S)

    return answer


async def refused(_: Request, exc: Exception) -> Response:
    """What Starlette says no to."""
    assert isinstance(exc, HTTPException)
    detail = {
        404: "There is nothing here; /api/schema tells what there is.",
        405: "Only GET and HEAD are answered here.",
    }.get(exc.status_code, HTTPStatus(exc.status_code).phrase + ".")
    headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
    return Problem(exc.status_code, detail, parameter=None, allowed=(), **headers).response()


async def _mistaken(_: Request, exc: Exception) -> Response:
    """A mistake of ours: told to the log by the server, and to the client without its words."""
    return Problem(500, "The service made a mistake; it is in its log.").response()
