"""Verdicts in plain words.

A verdict stores reason ids with parameters; the words are chosen here, at the edge, because stored English cannot
become Spanish. A new reason is one entry in REASONS; its parameters are the names in braces. Parameters come from
peers and from files others wrote: `explain` takes whatever is in them and gives one bounded, printable line.
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import msgspec

from monitor.messages import N_
from monitor.models import Measurement, Reason, Status, Verdict
from monitor.verdict.rules import RULES

MAX_PARAMETER = 120  # characters; a host name may have 253, but a sentence with that is no longer read
MAX_ITEMS = 4
MAX_TEXT = 600

STATUS_WORDS: dict[str, str] = {
    Status.OK: N_("opens"),
    Status.BLOCKED: N_("is blocked on this network"),
    Status.DOWN: N_("is down for everyone"),
    Status.GEOBLOCKED: N_("refuses visitors from this network by itself"),
    Status.INCONCLUSIVE: N_("cannot be judged from what was seen"),
}

METHOD_WORDS: dict[str, str] = {
    "dns.nxdomain": N_("The name server says that the name does not exist."),
    "dns.no_answer": N_("The name server says that the name has no address."),
    "dns.servfail": N_("The name server says that it failed to find the name."),
    "dns.refused": N_("The name server refuses to answer for the name."),
    "dns.timeout": N_("The name server does not answer for the name."),
    "dns.bogon": N_("The name server gives an address that cannot be on the public internet."),
    "dns.hijack": N_("The name server gives an address that is not the site's."),
    "dns.injection": N_("A forged answer is put in on the way, whichever name server is asked."),
    "tcp.timeout": N_("Connections to the site's address get no answer."),
    "tcp.refused": N_("Connections to the site's address are refused on the way."),
    "tcp.unreachable": N_("The network says that the site's address cannot be reached."),
    "tls.reset": N_("The connection is reset while encryption is agreed on, when the site's name is seen."),
    "tls.timeout": N_("The connection falls silent while encryption is agreed on, when the site's name is seen."),
    "tls.eof": N_("The connection is closed while encryption is agreed on, when the site's name is seen."),
    "tls.alert": N_("A false refusal is sent while encryption is agreed on, when the site's name is seen."),
    "tls.certificate": N_("Somebody in between shows a false certificate for the site."),
    "http.reset": N_("The connection is reset after the page was asked for."),
    "http.timeout": N_("The connection falls silent after the page was asked for."),
    "http.eof": N_("The connection is closed after the page was asked for."),
    "http.blockpage": N_("A block page comes instead of the site's page."),
    "http.redirect": N_("The visitor is sent on to a page that is not the site's."),
    "http.modified": N_("The page is changed on the way."),
    "throttling.rate": N_("The site is slowed down, while other sites are not."),
    "throttling.stall": N_("The connection stops after a little of the page, while other sites' do not."),
    "quic.timeout": N_("The site's QUIC connections (HTTP/3) get no answer."),
    "quic.refused": N_("The site's QUIC connections (HTTP/3) are refused on the way."),
}

_FINDINGS: dict[str, str] = {
    "resolver_denies": N_(
        "the ISP's resolver {resolver} answers {failure} for {name}; {sources} trusted sources resolve it"
    ),
    "resolver_lies": N_(
        "the ISP's resolver {resolver} answers {addresses} for {name}, which is not the site; "
        "{sources} trusted sources say otherwise"
    ),
    "answers_forged": N_(
        "whichever resolver is asked for {name}, a forged answer comes; {sources} trusted sources differ"
    ),
    "tcp_cut": N_(
        "{attempts} connections to {address} port {port}, an address of {name}, ended with {failure}; "
        "the control connects"
    ),
    "flow_cut": N_(
        "{attempts} connections to {address} port {port} ended with {failure} ({method}) after {name} was asked for"
    ),
    "certificate_replaced": N_(
        "{address} shows a certificate for {name} that is not the site's (issuer: {issuer}); "
        "the control gets a valid one there"
    ),
    "page_replaced": N_("a page that is not the site's came for {name} ({method}, status {status}, title: {title})"),
}
_RULES: dict[str, str] = {rule.id: rule.why for rule in RULES}

UNKNOWN_REASON = N_("for a reason that this version has no words for")
Translate = Callable[[str], str]


def template(id: str, translate: Translate = str) -> str | None:
    """The words for a reason, before its parameters are filled in: a clause, with no full stop. None: not known."""
    if id in _FINDINGS:
        return translate(_FINDINGS[id])
    why = translate(_RULES.get(id, ""))
    return why[0].lower() + why[1:].rstrip(".") if why else None


REASONS: dict[str, str] = {id: template(id) or "" for id in (*_FINDINGS, *_RULES)}


def explain(reason: Mapping[str, Any], translate: Translate = str) -> str:
    """A reason in words, whatever is in it: one bounded, printable line."""
    key = reason.get("id")
    words = template(key, translate) if isinstance(key, str) else None
    if words is None:
        return translate(UNKNOWN_REASON)
    parts = []
    # Formatter.parse, never str.format with the parameters: a template names values, it does not reach into them.
    for literal, name, _, _ in Formatter().parse(words):
        parts.append(literal)
        if name is not None:
            parts.append(_plain(reason.get(name), translate))
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


def _plain(value: Any, translate: Translate) -> str:
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
    return _listed(value, translate) if isinstance(value, list | tuple) else "?"


def _listed(values: Sequence[Any], translate: Translate) -> str:
    shown = [_plain(value, translate) for value in values[:MAX_ITEMS] if isinstance(value, str | int | float)]
    if not shown:
        return "?"
    told, more = ", ".join(shown), len(values) - len(shown)
    return translate(N_("{some} and {number} more")).format(some=told, number=more) if more else told
