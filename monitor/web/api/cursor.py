"""Where a page of a long list ends: opaque to clients, and good only for the question it came with."""

import base64
import binascii
import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from monitor.web.api.problems import Problem

LONGEST = 4000  # characters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = 6  # bytes of a digest

Place = tuple[datetime, str]  # (started, id) of the last one


def written(place: Place, question: msgspec.Struct) -> str:
    """The cursor behind that place."""
    microseconds = (place[0] - _EPOCH) // timedelta(microseconds=1)
    raw = msgspec.msgpack.encode((microseconds, place[1].encode("utf-8", "surrogatepass")))
    return base64.urlsafe_b64encode(_mark(question) + raw).decode().rstrip("=")


def read(cursor: str, question: msgspec.Struct) -> Place:
    """The place; Problem where it is none of ours, or of another question."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        microseconds, id = msgspec.msgpack.decode(raw[_MARK:], type=tuple[int, bytes])
        place = _EPOCH + timedelta(microseconds=microseconds), id.decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError, OverflowError):
        raise Problem(400, "That cursor is none of ours: take `next` of an answer.", parameter="cursor") from None
    if raw[:_MARK] != _mark(question):
        raise Problem(400, "That cursor belongs to other filters.", parameter="cursor")
    return place


def _mark(question: msgspec.Struct) -> bytes:
    """Of everything that decides what is listed, and in which order."""
    fields = msgspec.to_builtins(question)
    told = sorted((key, value) for key, value in fields.items() if key not in ("cursor", "limit", "format"))
    return hashlib.sha256(msgspec.json.encode(told)).digest()[:_MARK]
