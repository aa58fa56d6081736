"""The OpenAPI description, made from the endpoints and the declarations that validate requests."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from monitor import __version__
from monitor.web.api import problems
from monitor.web.api.answers import MeasurementHead
from monitor.web.api.endpoints import ENDPOINTS, Endpoint
from monitor.web.api.problems import ProblemDetails
from monitor.web.api.questions import LISTS
from monitor.web.api.tables import MEDIA_TYPE as CSV

LICENCE_URL = "https://creativecommons.org/licenses/by/4.0/"
UNTOLD = ("vantage", "probe")  # of a listed measurement, to strangers
_REFERENCE = "#/components/schemas/{name}"
_WRONG = {
    "400": "A parameter is not understood, or there is none of that name",
    "403": "A page of another site asks, and the service is not public",
    "429": "Too many requests; Retry-After says when to come again",
    "503": "The store cannot be read at the moment",
}
_ABOUT = (
    "What Almenara measured: which sites are blocked, on which networks, how, and how sure that is. "
    "Times are UTC. A list with more pages has `next`: give it as `cursor` together with the same filters. "
    "Every answer has an ETag. Names in the data come from the internet: escape them where you show them."
)


def schema(*, published: bool = False) -> dict[str, Any]:
    """OpenAPI 3.1. published: as strangers are answered."""
    shapes = {*(one.answer for one in ENDPOINTS), ProblemDetails}
    _, components = msgspec.json.schema_components(sorted(shapes, key=str), ref_template=_REFERENCE)
    if published:
        for name in UNTOLD:
            del components[MeasurementHead.__name__]["properties"][name]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Almenara", "version": __version__, "description": _ABOUT,
            "license": {"name": "Data: CC BY 4.0", "url": LICENCE_URL},
        },
        "servers": [{"url": "/"}],
        "paths": {one.path: {"get": _operation(one, published=published)} for one in ENDPOINTS},
        "components": {"schemas": components},
    }  # fmt: skip


def parameters(endpoint: Endpoint, *, published: bool) -> list[dict[str, Any]]:
    """What may be in a request's path and query."""
    inside = [_in_path()] if "{id}" in endpoint.path else []
    return [*inside, *_in_query(endpoint.asked(published=published))]


def _operation(endpoint: Endpoint, *, published: bool) -> dict[str, Any]:
    wrong = _WRONG | ({"404": "There is none with that id"} if "{id}" in endpoint.path else {"422": "Too much at once"})
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters(endpoint, published=published),
        "responses": {"200": _answer(endpoint), "304": {"description": "Still the same"}}
        | {status: _problem(description) for status, description in sorted(wrong.items())},
    }


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {"schema": {"$ref": _REFERENCE.format(name=endpoint.answer.__name__)}}
    }
    if endpoint.row is not None:
        content[CSV] = {"schema": {"type": "string"}}
    headers = {name: {"schema": {"type": "string"}} for name in ("ETag", "Cache-Control", "Link")}
    return {"description": (endpoint.answer.__doc__ or "").strip(), "content": content, "headers": headers}


def _problem(description: str) -> dict[str, Any]:
    shape = {"$ref": _REFERENCE.format(name=ProblemDetails.__name__)}
    return {"description": description, "content": {problems.MEDIA_TYPE: {"schema": shape}}}


def _in_path() -> dict[str, Any]:
    shape = {"type": "string", "minLength": 1, "maxLength": 2000}
    return {"name": "id", "in": "path", "required": True, "schema": shape, "description": "As lists have it."}


def _in_query(asked: type[msgspec.Struct]) -> Iterator[dict[str, Any]]:
    [_], components = msgspec.json.schema_components([asked], ref_template=_REFERENCE)
    question = components[asked.__name__]
    for name, shape in question["properties"].items():
        whole = _resolved(shape, components)
        description = whole.pop("description", "")
        required = name in question.get("required", ())
        told = {"name": name, "in": "query", "required": required, "schema": whole, "description": description}
        yield told | ({"style": "form", "explode": False} if name in LISTS else {})


def _resolved(shape: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """With what it refers to in place: parameters stand alone."""
    referred = shape.get("$ref", "").rpartition("/")[2]
    found = {**components.get(referred, {}), **{key: value for key, value in shape.items() if key != "$ref"}}
    found.pop("title", None)
    return found
