"""What a peer says it observed, made safe to keep: plausible, printable, of bounded size.

Invariant: whatever decodes into Observations comes out bounded, and nothing raises.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from monitor.models import Dns, Flow, LateAnswer, Observation, Observations

MOST_OBSERVATIONS = 512  # of one kind: 32 addresses, 5 attempts, some hops
MOST_ITEMS = 64  # answers, headers, certificates, names: of one observation
MOST_HOPS = 32
MOST_ATTEMPTS = 32
LONGEST_TEXT = 1024
# A certificate or a DNS answer cut short is no certificate and no answer: a longer one is left out.
LONGEST_BINARY = 16 * 1024
LARGEST_NUMBER = 2**53

_FAILURE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_BINARY_FIELDS = frozenset({"der", "raw", "body"})

Seen = TypeVar("Seen", bound=Observation)
SeenFlow = TypeVar("SeenFlow", bound=Flow)


def bounded(observations: Observations) -> Observations:
    """The plausible part of what a peer says it observed."""
    return Observations(
        hops=tuple(text(url, LONGEST_TEXT) for url in observations.hops[:MOST_HOPS]),
        dns=_all(observations.dns, _dns),
        tcp=_all(observations.tcp, _flow),
        tls=_all(observations.tls, _flow),
        http=_all(observations.http, _flow),
    )


def text(value: str, longest: int = LONGEST_TEXT) -> str:
    """Cut, and without control characters: it may reach a terminal, a page, a database."""
    return "".join(char if char.isprintable() else " " for char in value[:longest])


def failure(value: str | None) -> str | None:
    """A failure as a peer names it; what is no name of a failure is unknown, and never evidence."""
    if value is None or _FAILURE.fullmatch(value):
        return value
    return f"unknown_failure: {text(value.removeprefix('unknown_failure: '), 64)}"


def is_address(value: str) -> bool:
    """Whether it is an IP address, without a zone."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def _all(seen: Iterable[Seen], check: Callable[[Seen], Seen | None]) -> tuple[Seen, ...]:
    tamed = (_tame(one) for one in tuple(seen)[:MOST_OBSERVATIONS])
    return tuple(checked for one in tamed if (checked := check(one)) is not None)


def _flow(seen: SeenFlow) -> SeenFlow | None:
    if not (_plausible(seen) and is_address(seen.address) and 0 < seen.port < 65536):
        return None
    return msgspec.structs.replace(seen, failure=failure(seen.failure))


def _dns(seen: Dns) -> Dns | None:
    if not _plausible(seen) or seen.type not in ("A", "AAAA"):
        return None
    return msgspec.structs.replace(
        seen, failure=failure(seen.failure), answers=_addresses(seen.answers), late=tuple(map(_late, seen.late))
    )


def _late(answer: LateAnswer) -> LateAnswer:
    return msgspec.structs.replace(answer, answers=_addresses(answer.answers))


def _addresses(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(value for value in values if is_address(value))


def _plausible(seen: Observation) -> bool:
    return 0 <= seen.hop < MOST_HOPS and 1 <= seen.attempt <= MOST_ATTEMPTS and seen.duration >= 0


def _tame(value: Any, name: str = "") -> Any:
    """Any value of an observation, with its size bounded. name: the field it stands in."""
    match value:
        case Enum() | bool() | None:
            return value
        case str():
            return _binary(value) if name in _BINARY_FIELDS else text(value)
        case int():
            return max(-LARGEST_NUMBER, min(LARGEST_NUMBER, value))
        case float():
            return max(-1e9, min(1e9, value)) if math.isfinite(value) else 0.0
        case tuple():
            return tuple(_tame(item) for item in value[:MOST_ITEMS])
        case Struct():
            return msgspec.structs.replace(
                value, **{field: _tame(getattr(value, field), field) for field in value.__struct_fields__}
            )
    return value


def _binary(value: str) -> str:
    return value if len(value) <= LONGEST_BINARY and _BASE64.fullmatch(value) else ""
