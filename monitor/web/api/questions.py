"""What may be asked: every parameter of every endpoint, declared once. What is not here is an error.

The declarations validate requests (`read`) and are what the schema tells of (`schema.py`).
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import msgspec.inspect
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request

from monitor.explain import METHOD_WORDS
from monitor.models import Kind, Status
from monitor.store import By
from monitor.urls import BadUrl, site_written
from monitor.web.api import cursor
from monitor.web.api.problems import Problem

MOST = 1000  # of a page
_LONGEST_QUERY = 8000  # characters
_FIRST_YEAR, _LAST_YEAR = 2, 9998

Site = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x20\x7f/?#@\\%]{1,261}$",
        description="A site: the host of its URL, `www.` kept, with a port that is not the usual.",
        examples=["www.lapatilla.com"],
    ),
]
Asn = Annotated[int, Meta(ge=1, le=4_294_967_295, description="A network by its AS number.", examples=[8048])]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="A country (ISO 3166-1).", examples=["VE"])]
Vantage = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}$", description="A vantage by its name.")]
Method = Annotated[
    str,
    Meta(
        pattern="^(" + "|".join(map(re.escape, sorted(METHOD_WORDS))) + ")$",
        description="A method of interference, `layer.technique`.", examples=["dns.nxdomain"],
    ),
]  # fmt: skip
StatusAsked = Annotated[Status, Meta(description="What verdicts say.")]
KindAsked = Annotated[Kind, Meta(description="What events are of.")]
Since = Annotated[datetime, Meta(tz=True, description="From this moment on (RFC 3339).")]
Until = Annotated[datetime, Meta(tz=True, description="Before this moment (RFC 3339).")]
Limit = Annotated[int, Meta(ge=1, le=MOST, description="How many at most.")]
Cursor = Annotated[
    str,
    Meta(
        pattern=f"^[A-Za-z0-9_-]{{1,{cursor.LONGEST}}}$",
        description="`next` of the page before; only together with the same filters.",
    ),
]
Format = Annotated[Literal["json", "csv"], Meta(description="The same as `Accept`, which it overrules.")]
Confidence = Annotated[float, Meta(ge=0, le=1, description="At least so sure.")]
Divisions = Annotated[
    tuple[By, ...],
    Meta(
        min_length=1,
        max_length=2,
        description="By what to divide: one or two, with a comma between them, of which one may be a time.",
        examples=[["day", "status"]],
        extra_json_schema={"uniqueItems": True},
    ),
]
_MOMENT = "a moment with its zone (RFC 3339), such as 2026-01-15T13:05:00Z"
# What a wrong value is answered with.
_EXPECTED = {
    "site": "the host of a site, such as www.lapatilla.com",
    "asn": "the number of a network from 1 to 4294967295, such as 8048",
    "country": "two capital letters (ISO 3166-1), such as VE",
    "vantage": "the name of a vantage, 1 to 64 characters",
    "method": "one of the methods of interference that /methods explains, such as dns.nxdomain",
    "since": _MOMENT,
    "until": _MOMENT,
    "limit": f"a whole number from 1 to {MOST}, such as 100",
    "cursor": "`next` of the page before",
    "minimum_confidence": "a number from 0 to 1, such as 0.9",
    "by": "one or two things, with a comma between them, such as day,status",
}
LISTS = frozenset({"by"})  # parameters that hold several values, with commas


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every endpoint takes."""

    format: Format | UnsetType = UNSET


class OneQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a single thing: nothing more."""


class PagedQuestion(Question, frozen=True, kw_only=True):
    """What lists take that have many pages."""

    limit: Limit = 100
    cursor: Cursor | UnsetType = UNSET


class MeasurementsQuestion(PagedQuestion, frozen=True, kw_only=True):
    """Which measurements."""

    site: Site | UnsetType = UNSET
    asn: Asn | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    status: StatusAsked | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET
    order: Annotated[Literal["newest", "oldest"], Meta(description="What comes first.")] = "newest"


class OwnMeasurementsQuestion(MeasurementsQuestion, frozen=True, kw_only=True):
    """The same where who measured is known: not on the internet."""

    vantage: Vantage | UnsetType = UNSET


class EventsQuestion(PagedQuestion, frozen=True, kw_only=True):
    """Which events; since, until: those that were going on at some moment in between."""

    kind: KindAsked | UnsetType = UNSET
    site: Site | UnsetType = UNSET
    asn: Asn | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    active: Annotated[bool, Meta(description="Going on, or over.")] | UnsetType = UNSET
    minimum_confidence: Confidence | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET


class IncidentsQuestion(PagedQuestion, frozen=True, kw_only=True):
    """Which incidents; since, until: those that were going on at some moment in between."""

    active: Annotated[bool, Meta(description="Going on, or over.")] | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET


class AggregatesQuestion(Question, frozen=True, kw_only=True):
    """Of which measurements the numbers are, and by what they are divided."""

    by: Divisions
    site: Site | UnsetType = UNSET
    asn: Asn | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    status: StatusAsked | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    since: Since | UnsetType = UNSET
    until: Until | UnsetType = UNSET


Q = TypeVar("Q", bound=Struct)
# How values that are no text are written.
_WRITTEN: tuple[tuple[type[msgspec.inspect.Type], re.Pattern[str], Callable[[str], Any]], ...] = (
    (msgspec.inspect.IntType, re.compile(r"-?[0-9]{1,12}", re.ASCII), int),
    (msgspec.inspect.FloatType, re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", re.ASCII), float),
    (msgspec.inspect.BoolType, re.compile("true|false|1|0"), ("true", "1").__contains__),
)
_WHERE = re.compile(r" - at `\$\.?([a-z_]*).*`$")
_NAMED = re.compile(r"field `(.{1,40})`$")


def read(request: Request, kind: type[Q]) -> Q:
    """The question that a request asks; Problem, naming the parameter that is wrong."""
    if len(request.url.query) > _LONGEST_QUERY:
        raise Problem(414, f"The query is longer than {_LONGEST_QUERY} characters.")
    asked = request.query_params.multi_items()
    values = {name: _typed(kind, name, value) for name, value in asked}
    for name in values:
        if sum(other == name for other, _ in asked) > 1:
            raise Problem(400, "This parameter is given more than once.", parameter=name[:40])
    try:
        question = msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise _misread(str(exc), kind) from None
    question = _with_host(question)
    for name in ("since", "until"):
        moment = getattr(question, name, None)
        # Nearer to the ends of the calendar no other zone, and no next minute, can be told.
        if isinstance(moment, datetime) and not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise Problem(400, "Expected a moment that this calendar has in every zone.", parameter=name)
    since, until = getattr(question, "since", None), getattr(question, "until", None)
    if isinstance(since, datetime) and isinstance(until, datetime) and since >= until:
        raise Problem(400, "Expected a moment after `since`.", parameter="until")
    return question


def _with_host(question: Q) -> Q:
    """With the site as it is kept, however it was written; Problem where it is none."""
    asked = getattr(question, "site", UNSET)
    if asked is UNSET:
        return question
    try:
        return msgspec.structs.replace(question, site=site_written(asked))
    except BadUrl:
        raise Problem(400, f"Expected {_EXPECTED['site']}.", parameter="site") from None


def _typed(kind: type[Struct], name: str, text: str) -> Any:
    """What a text in a query means; where it means nothing, the text, which is then refused."""
    if name in LISTS:
        return text.split(",")
    for type_, written, reader in _WRITTEN:
        if name in _of_type(kind, type_) and written.fullmatch(text):
            return reader(text)
    return text


@lru_cache
def _of_type(kind: type[Struct], type_: type[msgspec.inspect.Type]) -> frozenset[str]:
    """The parameters that are such values."""
    told = msgspec.inspect.type_info(kind)
    assert isinstance(told, msgspec.inspect.StructType)
    return frozenset(
        field.encode_name for field in told.fields if any(isinstance(one, type_) for one in _any(field.type))
    )


def _any(told: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """A type, or those of a union or in a list, without what is said about them."""
    if isinstance(told, msgspec.inspect.Metadata):
        yield from _any(told.type)
    elif isinstance(told, msgspec.inspect.VarTupleType):
        yield from _any(told.item_type)
    elif isinstance(told, msgspec.inspect.UnionType):
        for one in told.types:
            yield from _any(one)
    else:
        yield told


@lru_cache
def allowed(kind: type[Struct]) -> dict[str, tuple[str, ...]]:
    """The values of those parameters that have only a few."""
    told = msgspec.inspect.type_info(kind)
    assert isinstance(told, msgspec.inspect.StructType)
    found = {field.encode_name: tuple(_values(field.type)) for field in told.fields}
    return {name: values for name, values in found.items() if values}


def _values(told: msgspec.inspect.Type) -> Iterator[str]:
    for one in _any(told):
        if isinstance(one, msgspec.inspect.EnumType):
            yield from (str(member.value) for member in one.cls)
        elif isinstance(one, msgspec.inspect.LiteralType):
            yield from map(str, one.values)
        elif isinstance(one, msgspec.inspect.BoolType):
            yield from ("true", "false")


def _misread(why: str, kind: type[Struct]) -> Problem:
    """In words, without what was sent; of a parameter with few values, these."""
    named = _NAMED.search(why)
    if named:
        words = "There is no parameter of that name here." if "unknown" in why else "This parameter is needed."
        return Problem(400, words, parameter=named[1])
    where = _WHERE.search(why)
    name = where[1] if where else None
    values = allowed(kind).get(name or "", ())
    if values and "length" not in why:
        return Problem(400, f"Expected one of: {', '.join(values)}.", parameter=name, allowed=values)
    return Problem(400, f"Expected {_EXPECTED.get(name or '', 'something else')}.", parameter=name)


def known(question: Struct, *names: str) -> dict[str, Any]:
    """Those parameters that were given, under their names."""
    found = {name: getattr(question, name) for name in names}
    return {name: value for name, value in found.items() if value is not UNSET}
