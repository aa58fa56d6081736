"""Verdicts in plain English.

A verdict stores reason ids with parameters; the words are chosen here, at the edge, because stored English cannot
become Spanish. A new reason is one entry in REASONS; its parameters are the names in braces. Parameters come from
peers and from files others wrote: `explain` takes whatever is in them and gives one bounded, printable line.
"""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import msgspec

from monitor.models import Measurement, Reason, Status, Verdict
from monitor.verdict.rules import RULES

MAX_PARAMETER = 120  # characters; a host name may have 253, but a sentence with that is no longer read
MAX_ITEMS = 4
MAX_TEXT = 600

STATUS_WORDS: dict[str, str] = {
    Status.OK: "opens",
    Status.BLOCKED: "is blocked on this network",
    Status.DOWN: "is down for everyone",
    Status.GEOBLOCKED: "refuses visitors from this network by itself",
    Status.INCONCLUSIVE: "cannot be judged from what was seen",
}

METHOD_WORDS: dict[str, str] = {
    "dns.nxdomain": "The name server says that the name does not exist.",
    "dns.no_answer": "The name server says that the name has no address.",
    "dns.servfail": "The name server says that it failed to find the name.",
    "dns.refused": "The name server refuses to answer for the name.",
    "dns.timeout": "The name server does not answer for the name.",
    "dns.bogon": "The name server gives an address that cannot be on the public internet.",
    "dns.hijack": "The name server gives an address that is not the site's.",
    "dns.injection": "A forged answer is put in on the way, whichever name server is asked.",
    "tcp.timeout": "Connections to the site's address get no answer.",
    "tcp.refused": "Connections to the site's address are refused on the way.",
    "tcp.unreachable": "The network says that the site's address cannot be reached.",
    "tls.reset": "The connection is reset while encryption is agreed on, when the site's name is seen.",
    "tls.timeout": "The connection falls silent while encryption is agreed on, when the site's name is seen.",
    "tls.eof": "The connection is closed while encryption is agreed on, when the site's name is seen.",
    "tls.alert": "A false refusal is sent while encryption is agreed on, when the site's name is seen.",
    "tls.certificate": "Somebody in between shows a false certificate for the site.",
    "http.reset": "The connection is reset after the page was asked for.",
    "http.timeout": "The connection falls silent after the page was asked for.",
    "http.eof": "The connection is closed after the page was asked for.",
    "http.blockpage": "A block page comes instead of the site's page.",
    "http.redirect": "The visitor is sent on to a page that is not the site's.",
    "http.modified": "The page is changed on the way.",
    "throttling.rate": "The site is slowed down, while other sites are not.",
    "throttling.stall": "The connection stops after a little of the page, while other sites' do not.",
    "quic.timeout": "The site's QUIC connections (HTTP/3) get no answer.",
    "quic.refused": "The site's QUIC connections (HTTP/3) are refused on the way.",
}

REASONS: dict[str, str] = {
    "resolver_denies": "the ISP's resolver {resolver} answers {failure} for {name}; {sources} trusted sources resolve it",
    "resolver_lies": "the ISP's resolver {resolver} answers {addresses} for {name}, which is not the site; "
    "{sources} trusted sources say otherwise",
    "answers_forged": "whichever resolver is asked for {name}, a forged answer comes; {sources} trusted sources differ",
    "tcp_cut": "{attempts} connections to {address} port {port}, an address of {name}, ended with {failure}; "
    "the control connects",
    "flow_cut": "{attempts} connections to {address} port {port} ended with {failure} ({method}) after {name} was asked for",
    "certificate_replaced": "{address} shows a certificate for {name} that is not the site's (issuer: {issuer}); "
    "the control gets a valid one there",
    "page_replaced": "a page that is not the site's came for {name} ({method}, status {status}, title: {title})",
    **{rule.id: rule.why[0].lower() + rule.why[1:].rstrip(".") for rule in RULES},
}

UNKNOWN_REASON = "for a reason that this version has no words for"


def explain(reason: Mapping[str, Any]) -> str:
    """A reason in words, whatever is in it: one bounded, printable line."""
    key = reason.get("id")
    template = REASONS.get(key) if isinstance(key, str) else None
    if template is None:
        return UNKNOWN_REASON
    parts = []
    # Formatter.parse, never str.format with the parameters: a template names values, it does not reach into them.
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            parts.append(_plain(reason.get(name)))
    return "".join(parts)[:MAX_TEXT]


def worded(verdict: Verdict) -> Verdict:
    """The verdict with a `text` added to each reason, as it is printed."""
    reasons: tuple[Reason, ...] = tuple({**reason, "text": explain(reason)} for reason in verdict.reasons)
    return msgspec.structs.replace(verdict, reasons=reasons)


def worded_measurement(measurement: Measurement) -> Measurement:
    """The measurement with its verdict worded."""
    return msgspec.structs.replace(measurement, verdict=measurement.verdict and worded(measurement.verdict))


def parameters(template: str) -> frozenset[str]:
    """The names in a template's braces."""
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def _plain(value: Any) -> str:
    """A parameter as it may stand in a sentence: no control characters, no bidirectional overrides, bounded."""
    if isinstance(value, str):
        clean = " ".join("".join(c if c.isprintable() else " " for c in value[: 4 * MAX_PARAMETER]).split())
        return (clean if len(clean) <= MAX_PARAMETER else clean[: MAX_PARAMETER - 3] + "...") or "?"
    if isinstance(value, bool) or value is None:
        return "?"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**12 else "?"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _listed(value) if isinstance(value, list | tuple) else "?"


def _listed(values: Sequence[Any]) -> str:
    shown = [_plain(value) for value in values[:MAX_ITEMS] if isinstance(value, str | int | float)]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "?"
