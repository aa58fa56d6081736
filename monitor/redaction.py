"""What of a measurement is published with evidence: the facts of the site and its network, nothing of the volunteer.

More goes than from an export, because a bundle is handed to strangers, and to whoever may have the ISP's records.
docs/evidence.md lists what goes and why. A verdict never rests on it: judged again, what is left says the same.
"""

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import unquote

import dns.exception
import dns.message
from msgspec import Struct
from msgspec.structs import replace

from monitor.config import ControlConfig
from monitor.models import (
    Conditions,
    Control,
    Dns,
    Event,
    Flow,
    Http,
    Incident,
    Measurement,
    Observations,
    Range,
    Reason,
    ResolverCheck,
    Role,
    Verdict,
)
from monitor.scrub import GONE

# Inconclusive for reasons of the home, the hotel or the machine: what was seen tells of them, and nothing of the site.
WITHHELD_RULES = frozenset(
    {"network_changed", "network_down", "clock_wrong", "captive_portal", "certificates_replaced", "local_resolver"}
)
# A header's value may be a number that the other side knows this visitor by; these say who answered, and what.
KEPT_HEADERS = frozenset(
    {"content-length", "content-type", "location", "retry-after", "server", "via", "x-powered-by", "x-squid-error"}
)
# In the address of a page: what a visitor is known by, or when they came. A site's name, or its address, is neither.
_TOKEN = re.compile(r"(?<==)(?:(?=[^&;#]*[0-9])[\w.+~%,/=-]{16,}|[0-9]{9,})(?=[&;#]|$)", re.ASCII)
_HOST = re.compile(r"(?:(?![0-9]+\.)[a-z0-9-]+\.)+[a-z]+")
_KNOWN_RESOLVERS = frozenset(ControlConfig().resolvers)
_Flow = TypeVar("_Flow", bound=Flow)
_Seen = TypeVar("_Seen", bound=Observations)


class Withheld(Struct, frozen=True, kw_only=True):
    """A measurement of which only this is published. Not whose it was: a sign-in page is a hotel, at a known time."""

    id: str
    started: datetime


def is_withheld(one: Measurement, again: Verdict) -> bool:
    """Does it tell of the home, by the rules of then or of now, and nothing of the site?"""
    return one.verdict is None or not WITHHELD_RULES.isdisjoint((one.verdict.rule, again.rule))


def withheld(one: Measurement) -> Withheld:
    """A measurement as it is told where nothing more of it is published."""
    return Withheld(id=one.id, started=minute(one.started))


class Redaction:
    """Of one bundle: the same name stands for the same probe, vantage or resolver throughout, and in no other bundle."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    def measurement(self, one: Measurement) -> Measurement:
        """As it is published, with its verdict."""
        started = minute(one.started)
        earlier = one.started - started
        return replace(
            self._observations(one, one.url), vantage=self._name("vantage", one.vantage), probe=self._name("probe", one.probe),
            started=started, conditions=self._conditions(one.conditions, earlier),
            controls=tuple(self._control(control, earlier, one.url) for control in one.controls),
            verdict=one.verdict and replace(one.verdict, reasons=tuple(map(self._reason, one.verdict.reasons))),
        )  # fmt: skip

    def _name(self, kind: str, name: str) -> str:
        """`probe-2`: the second of its kind that the bundle mentions."""
        if (kind, name) not in self._names:
            count = sum(of == kind for of, _ in self._names) + 1
            self._names[kind, name] = f"{kind}-{count}"
        return self._names[kind, name]

    def _observations(self, seen: _Seen, asked: str) -> _Seen:
        """asked: the URL that was asked for, which stays as it is."""
        return replace(
            seen, hops=tuple(self._url(url, asked) for url in seen.hops), dns=tuple(map(self._dns, seen.dns)),
            tcp=tuple(map(_flow, seen.tcp)), tls=tuple(map(_flow, seen.tls)),
            http=tuple(self._response(_flow(response), asked) for response in seen.http),
        )  # fmt: skip

    def _response(self, seen: Http, asked: str) -> Http:
        headers = tuple((name, self._header(name, value, asked)) for name, value in seen.headers)
        location = seen.location and self._url(seen.location, asked)
        return replace(seen, headers=headers, url=self._url(seen.url, asked), location=location)

    def _header(self, name: str, value: str, asked: str) -> str:
        return self._url(value, asked) if name.lower() in KEPT_HEADERS else GONE.decode()

    def _url(self, url: str, asked: str) -> str:
        """Numbers instead of tokens: the same for the same one, because verdicts compare addresses."""

        def told(found: re.Match[str]) -> str:
            kept = found[0] in asked or _HOST.fullmatch(found[0]) or "://" in unquote(found[0])
            return found[0] if kept else self._name("value", found[0])

        return _TOKEN.sub(told, url)

    def _dns(self, seen: Dns) -> Dns:
        return replace(seen, resolver=self._resolver(seen), local_port=None, raw=_answer(seen.raw))

    def _resolver(self, of: Dns | ResolverCheck) -> str:
        """The ISP's stay, they are what is accused; those of the home, and encrypted ones with an account in their URL, go."""
        if of.role is Role.LAN:
            return self._name("lan-resolver", of.resolver)
        if of.role is Role.DOH and of.resolver not in _KNOWN_RESOLVERS:
            return self._name("encrypted-resolver", of.resolver)
        return of.resolver

    def _conditions(self, state: Conditions, earlier: timedelta) -> Conditions:
        # The offset of a clock is a machine's own: to the minute, as far as verdicts ask.
        offset = None if state.clock_offset is None else round(state.clock_offset / 60) * 60.0
        return replace(
            state, checked=_before(state.checked, earlier), clock_offset=offset,
            neutral=tuple(replace(check, issuer=None) for check in state.neutral),
            neighbours=tuple(replace(one, site=self._name("site", one.site)) for one in state.neighbours),
            resolvers=tuple(replace(check, resolver=self._resolver(check)) for check in state.resolvers),
        )  # fmt: skip

    def _control(self, control: Control, earlier: timedelta, asked: str) -> Control:
        return replace(
            self._observations(control, asked), id=self._name(control.kind, control.id), address=None, signature=None,
            started=_before(control.started, earlier),
        )  # fmt: skip

    def _reason(self, reason: Reason) -> Reason:
        """With the resolver that it names called as it is among the facts."""
        kinds = ("lan-resolver", "encrypted-resolver")
        new = next((new for kind in kinds if (new := self._names.get((kind, reason.get("resolver", ""))))), None)
        return reason | {"resolver": new} if new else reason


def minute(moment: datetime) -> datetime:
    """The minute it lies in: to the second, and with the ISP's records, a question to a name server is a subscriber."""
    return moment.replace(second=0, microsecond=0)


def event(one: Event) -> Event:
    """An event as it is published: its moments are those of measurements."""
    return replace(
        one, started=minute(one.started), detected=minute(one.detected), started_range=_range(one.started_range),
        ended=one.ended and minute(one.ended), ended_range=one.ended_range and _range(one.ended_range),
    )  # fmt: skip


def incident(one: Incident) -> Incident:
    """The same for an incident."""
    return replace(
        one, started=minute(one.started), ended=one.ended and minute(one.ended), events=tuple(map(event, one.events))
    )


def _range(moments: Range) -> Range:
    first, last = moments
    return first and minute(first), last and minute(last)


def _before(moment: datetime | None, earlier: timedelta) -> datetime | None:
    """Moved with the measurement's beginning, so that what lies between them stays."""
    return None if moment is None else moment - earlier


def _flow(seen: _Flow) -> _Flow:
    return replace(seen, local_port=None)


def _answer(raw: str | None) -> str | None:
    """A DNS answer's bytes without its number; none where its options may repeat whom it was for (RFC 7871)."""
    if raw is None:
        return None
    try:
        content = base64.b64decode(raw)
        answer = dns.message.from_wire(content)
    except (binascii.Error, ValueError, dns.exception.DNSException):
        return None
    return None if answer.options else base64.b64encode(b"\0\0" + content[2:]).decode()
