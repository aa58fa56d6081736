"""A measurement as a single visit, which is what blackbox_exporter makes: of each hop the attempt that came furthest.

Only the vantage's own path counts (`monitor.outcome`). Pure.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import Struct

from monitor.models import Dns, Flow, Http, Measurement, Tcp, Tls
from monitor.outcome import operations
from monitor.trail import REDIRECTS
from monitor.urls import BadUrl, target

T = TypeVar("T", Tcp, Tls, Http)


class Passage(Struct, frozen=True, kw_only=True):
    """One hop. lookup_s: until the first resolver with addresses had answered. address: the one visited, or to visit."""

    lookup_s: float
    address: str | None
    tcp: Tcp | None = None
    tls: Tls | None = None
    http: Http | None = None

    @property
    def page(self) -> Http | None:
        """The response, where at least its head came."""
        return self.http if self.http is not None and self.http.status is not None else None


def passages(measurement: Measurement) -> list[Passage]:
    """Hop by hop, to the first that does not send the visitor on."""
    seen = [operation for _, operation, _ in operations(measurement)]
    found: list[Passage] = []
    for hop, url in enumerate(measurement.hops):
        asked = [one for one in seen if isinstance(one, Dns) and (one.hop, one.name) == (hop, _host(url))]
        here = _passage(asked, [one for one in seen if isinstance(one, Flow) and one.hop == hop])
        found.append(here)
        if here.page is None or here.page.status not in REDIRECTS:
            break
    return found


def _passage(asked: Sequence[Dns], flows: Sequence[Flow]) -> Passage:
    lookup_s, addresses = _looked_up(asked)
    tried = [one for one in flows if isinstance(one, Tcp)]
    if not tried:
        return Passage(lookup_s=lookup_s, address=addresses[0] if addresses else None)
    tried.sort(key=lambda one: addresses.index(one.address) if one.address in addresses else len(addresses))
    chains = [(one, _of(one, flows, Tls), _of(one, flows, Http)) for one in tried]
    tcp, tls, http = max(chains, key=lambda chain: (_how_far(*chain), -chain[0].attempt))
    return Passage(lookup_s=lookup_s, address=tcp.address, tcp=tcp, tls=tls, http=http)


def _looked_up(asked: Sequence[Dns]) -> tuple[float, tuple[str, ...]]:
    """How long it took, and what was found; a visitor waits for both address families of one resolver."""
    by_resolver: dict[str, dict[str, Dns]] = {}
    for one in asked:  # the same question is asked again later, for other reasons than to visit
        questions = by_resolver.setdefault(one.resolver, {})
        if one.type not in questions or (one.answers and not questions[one.type].answers):
            questions[one.type] = one
    answered = [these for these in by_resolver.values() if any(one.answers for one in these.values())]
    waited = [one for these in answered[:1] or by_resolver.values() for one in these.values()]
    # AAAA before A: an address of the newer kind is tried first.
    answers = [a for one in sorted(waited, key=lambda one: one.type, reverse=True) for a in one.answers]
    return _span(waited), tuple(answers)


def _span(waited: Sequence[Dns]) -> float:
    if not waited:
        return 0.0
    span_s = max(one.started + one.duration for one in waited) - min(one.started for one in waited)
    return max(0.0, round(span_s, 6))


def _of(tcp: Tcp, flows: Iterable[Flow], kind: type[T]) -> T | None:
    """What happened on that connection."""
    key = (tcp.address, tcp.port, tcp.attempt)
    return next((one for one in flows if isinstance(one, kind) and (one.address, one.port, one.attempt) == key), None)


def _how_far(tcp: Tcp, tls: Tls | None, http: Http | None) -> int:
    """A higher number came further."""
    if http is not None:
        return 6 if http.failure is None else 5 if http.status is not None else 4
    if tls is not None:
        return 3 if tls.failure is None else 2
    return 1 if tcp.failure is None else 0


def _host(url: str) -> str | None:
    try:
        return target(url).host
    except BadUrl:
        return None
