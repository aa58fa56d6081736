"""Verdicts in plain words.

A verdict stores reason ids with parameters; the words are chosen here, at the edge, because stored English cannot
become Spanish. A new reason is one entry in REASONS; its parameters are the names in braces. Parameters come from
peers and from files others wrote: `explain` takes whatever is in them and gives one bounded, printable line.
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import msgspec

from monitor import failures
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

FAILURE_WORDS: dict[str, str] = {
    failures.TIMEOUT: N_("No answer came in time."),
    failures.RESET: N_("The connection was reset."),
    failures.REFUSED: N_("The connection was refused."),
    failures.EOF: N_("The connection was closed too early."),
    failures.NXDOMAIN: N_("The name server says that the name does not exist."),
    failures.NO_ANSWER: N_("The name server says that the name has no address."),
    failures.SERVFAIL: N_("The name server says that it failed to find the name."),
    failures.DNS_REFUSED: N_("The name server refuses to answer for the name."),
    failures.DNS_MISBEHAVING: N_("The name server's answer makes no sense."),
    failures.BOGON: N_("The name server gives an address that cannot be on the public internet."),
    failures.UNKNOWN_AUTHORITY: N_("Nobody whom browsers trust vouches for the certificate."),
    failures.INVALID_HOSTNAME: N_("The certificate belongs to another site."),
    failures.INVALID_CERTIFICATE: N_("The certificate is not valid, because it has expired for example."),
    failures.FAILED_HANDSHAKE: N_("The two sides could not agree on encryption."),
    failures.HTTP_PROTOCOL: N_("What came is no answer that a web server gives."),
    failures.HELPER_UNRESOLVED: N_("Nobody said where the test helper is: its own name found no answer."),
    failures.RESOLVER_UNRESOLVED: N_("Nobody said where the name server is: its own name found no answer."),
    "connection_aborted": N_("The connection was broken off."),
    "host_unreachable": N_("The network says that the address cannot be reached."),
    "network_unreachable": N_("The network says that there is no way to the address."),
    "network_down": N_("This machine's network was down."),
    "network_reset": N_("This machine's network was reset meanwhile."),
    "address_not_available": N_("This machine did not have the address to send from."),
    "address_in_use": N_("This machine used the address to send from already."),
    "address_family_not_supported": N_("This machine cannot use addresses of that kind (IPv4 or IPv6)."),
    "permission_denied": N_("This machine does not permit the connection."),
    "invalid_argument": N_("This machine cannot use such an address."),
    "no_buffer_space": N_("This machine had no memory left for the network."),
    "message_size": N_("The message was too large for the way."),
    "too_many_open_files": N_("This machine had too many connections open."),
}

UNKNOWN_FAILURE = N_("Something failed that has no name, so it is no evidence.")

_FINDINGS: dict[str, str] = {
    "resolver_denies": N_(
        "the ISP's resolver {resolver} was asked for {name}: {failure}; {sources} trusted sources resolve it"
    ),
    "resolver_lies": N_(
        "the ISP's resolver {resolver} answers {addresses} for {name}, which is not the site; "
        "{sources} trusted sources say otherwise"
    ),
    "answers_forged": N_(
        "whichever resolver is asked for {name}, a forged answer comes; {sources} trusted sources differ"
    ),
    "tcp_cut": N_(
        "{attempts} connections to {address} port {port}, an address of {name}, failed: {failure}; the control connects"
    ),
    "flow_cut": N_("{attempts} connections to {address} port {port} failed after {name} was asked for: {failure}"),
    "certificate_replaced": N_(
        "{address} shows a certificate for {name} that is not the site's (issuer: {issuer}); "
        "the control gets a valid one there"
    ),
    "page_replaced": N_("a page that is not the site's came for {name} (status {status}, title: {title})"),
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
            value = reason.get(name)
            parts.append(_failure(value, translate) if name == "failure" else _plain(value, translate))
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


def _failure(value: Any, translate: Translate) -> str:
    """A failure as a part of a sentence; one that has no words, as it is called."""
    if not isinstance(value, str) or value not in FAILURE_WORDS:
        return _plain(value, translate)
    words = translate(FAILURE_WORDS[value])
    return words[0].lower() + words[1:].rstrip(".")


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
