"""What one entry of OONI's says, in our terms; and entries put in their order, or by their transaction."""

import base64
import contextlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dns.rcode import Rcode

from monitor.control.bounds import failure as named
from monitor.control.bounds import is_address
from monitor.failures import BOGON, DNS_REFUSED, NO_ANSWER, NXDOMAIN, SERVFAIL
from monitor.models import Certificate
from monitor.ooni_format import Event, Failure, Handshake, Query, Response, Text, Timed, Transaction
from monitor.steps.certificates import certificate_of
from monitor.urls import BadUrl, Target, redirect, target

_DEPTH = re.compile(r"depth=(\d{1,3})")
_RCODES = {
    None: "NOERROR",
    NO_ANSWER: "NOERROR",
    BOGON: "NOERROR",
    NXDOMAIN: "NXDOMAIN",
    SERVFAIL: "SERVFAIL",
    DNS_REFUSED: "REFUSED",
}


def failure(value: Failure) -> str | None:
    """df-007's string, bounded."""
    if value is True:
        return "unknown_failure: not recorded"
    return named(value) if value else None


def depth(entry: Timed) -> int | None:
    """The hop an LTE measurement tags, None in a classic one."""
    found = (_DEPTH.fullmatch(tag) for tag in entry.tags or ())
    return next((int(match[1]) for match in found if match), None)


def times(entry: Timed) -> dict[str, Any]:
    """When an operation began, and how long it took: seconds."""
    ended = max(entry.t or 0.0, 0.0)
    started = max(entry.t0 or 0.0, 0.0) if entry.t0 is not None else ended
    return {"started": started, "duration": max(ended - started, 0.0)}


def kinds(query: Query) -> tuple[str, ...]:
    """The questions asked. getaddrinfo does not say which: those it has answers for, or both when it failed."""
    if query.query_type != "ANY":
        return (query.query_type,) if query.query_type in ("A", "AAAA") else ()
    answered = tuple(kind for kind in ("A", "AAAA") if addresses(query, kind))
    return answered or ("A", "AAAA")


def addresses(query: Query, kind: str) -> tuple[str, ...]:
    """The answers of a type that are addresses."""
    given = ((a.ipv4 if kind == "A" else a.ipv6) for a in query.answers or () if a.answer_type == kind)
    return tuple(address for address in given if address and is_address(address))


def rcode(query: Query) -> str | None:
    """The answer's code by its name."""
    if query.rcode is not None and 0 <= query.rcode <= 4095:
        return Rcode.to_text(Rcode.make(query.rcode))
    return _RCODES.get(failure(query.failure))


def oldest_first(transactions: Sequence[Transaction]) -> list[tuple[int, Target, Transaction]]:
    """Hop, where to, and what happened; without requests for what is no URL."""
    ordered = list(reversed(transactions))
    if any(depth(entry) is not None for entry in ordered):
        hops = [depth(entry) or 0 for entry in ordered]
    else:
        hops = list(range(len(ordered)))
    found = []
    for hop, entry in sorted(zip(hops, ordered, strict=True), key=lambda pair: pair[0]):
        with contextlib.suppress(BadUrl):
            found.append((hop, target(entry.request.url), entry))
    return found


def way(start: Target, requests: Sequence[tuple[int, Target, Transaction]]) -> dict[int, Target]:
    """Hop -> where it leads, also where the last redirect led and no request was made any more."""
    way = {0: start}
    made = {hop for hop, _, _ in requests}
    for hop, here, entry in requests:
        way.setdefault(hop, here)
        shown = headers(entry.response or Response())
        location = next((value for name, value in shown if name.lower() == "location"), None)
        with contextlib.suppress(BadUrl):
            if location and hop + 1 not in made:
                way[hop + 1] = redirect(here.url, location)
    return way


def unbroken(way: dict[int, Target]) -> int:
    """How many hops are known before the first that is not."""
    return next(hop for hop in itertools.count() if hop not in way)


def headers(response: Response) -> tuple[tuple[str, str], ...]:
    """The response's, decoded."""
    pairs = response.headers_list if response.headers_list is not None else (response.headers or {}).items()
    return tuple((name, raw_bytes(value).decode("utf-8", "replace")) for name, value in pairs)


def raw_bytes(value: Text) -> bytes:
    """The bytes of a text or of one in base64; none where it is no base64."""
    if isinstance(value, str):
        return value.encode()
    try:
        return base64.b64decode(value.data) if value else b""
    except ValueError:
        return b""


def in_base64(value: Text) -> str | None:
    """As we keep raw bytes."""
    return base64.b64encode(raw_bytes(value)).decode() if value else None


def chain(entry: Handshake) -> Iterator[Certificate]:
    """The certificates shown, without those that are none."""
    for der in entry.peer_certificates or ():
        with contextlib.suppress(ValueError):
            yield certificate_of(raw_bytes(der))


def by_question(late: Sequence[Query]) -> dict[int, list[tuple[str, float, str | None, tuple[str, ...]]]]:
    """Transaction id -> type, end, code and addresses of each further answer."""
    found: dict[int, list[tuple[str, float, str | None, tuple[str, ...]]]] = defaultdict(list)
    for query in late:
        for kind in kinds(query) if query.transaction_id else ():
            found[query.transaction_id or 0].append((kind, query.t or 0.0, rcode(query), addresses(query, kind)))
    return found


def by_transaction(events: Sequence[Event]) -> dict[int, list[Event]]:
    """Transaction id -> its events. Classic measurements have no ids: their events belong to nobody we could name."""
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.transaction_id:
            found[event.transaction_id].append(event)
    return found


def during(entry: Timed, event: Event) -> bool:
    """Did the event come while the operation went on?"""
    return entry.t0 is not None and entry.t is not None and entry.t0 <= (event.t or 0.0) <= entry.t


def moved(events: Iterable[Event], operation: str) -> int:
    """Bytes moved by the operations of that name."""
    return sum(max(e.num_bytes or 0, 0) for e in events if e.operation == operation)
