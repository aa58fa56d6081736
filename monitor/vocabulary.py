"""The names that data has, in plain words: statuses, methods, failures, kinds of events. English is the message's id.

Each name of a closed set has an entry here; `Words` (language.py) gives them in the reader's language.
"""

from monitor.explain import FAILURE_WORDS, METHOD_WORDS, UNKNOWN_FAILURE, explain
from monitor.messages import N_
from monitor.models import Kind, Status
from monitor.verdict.rules import RULES

__all__ = ["FAILURE_WORDS", "METHOD_WORDS", "UNKNOWN_FAILURE", "explain"]

STATUS_NAMES: dict[str, str] = {
    Status.OK: N_("ok"),
    Status.BLOCKED: N_("blocked"),
    Status.DOWN: N_("down"),
    Status.GEOBLOCKED: N_("geoblocked"),
    Status.INCONCLUSIVE: N_("inconclusive"),
}

STATUS_MEANINGS: dict[str, str] = {
    Status.OK: N_("The site opens on this network."),
    Status.BLOCKED: N_("Somebody on the way keeps this network from the site; elsewhere it opens."),
    Status.DOWN: N_("The site does not open for anybody: the trouble is its own."),
    Status.GEOBLOCKED: N_("The site itself turns away visitors from this network or country."),
    Status.INCONCLUSIVE: N_("What was seen does not suffice to say anything, so nobody is accused."),
}

METHOD_NAMES: dict[str, str] = {
    "dns.nxdomain": N_("name denied"),
    "dns.no_answer": N_("address withheld"),
    "dns.servfail": N_("name server pretends to fail"),
    "dns.refused": N_("name server refuses"),
    "dns.timeout": N_("name server stays silent"),
    "dns.bogon": N_("impossible address"),
    "dns.hijack": N_("false address"),
    "dns.injection": N_("forged answers on the way"),
    "tcp.timeout": N_("connections get no answer"),
    "tcp.refused": N_("connections refused"),
    "tcp.unreachable": N_("address made unreachable"),
    "tls.reset": N_("encryption cut by a reset"),
    "tls.timeout": N_("encryption met with silence"),
    "tls.eof": N_("encryption closed"),
    "tls.alert": N_("encryption refused falsely"),
    "tls.certificate": N_("false certificate"),
    "http.reset": N_("request cut by a reset"),
    "http.timeout": N_("request met with silence"),
    "http.eof": N_("request closed"),
    "http.blockpage": N_("block page"),
    "http.redirect": N_("sent to another page"),
    "http.modified": N_("page changed"),
    "throttling.rate": N_("slowed down"),
    "throttling.stall": N_("stopped after a little"),
    "quic.timeout": N_("HTTP/3 gets no answer"),
    "quic.refused": N_("HTTP/3 refused"),
}

KIND_NAMES: dict[str, str] = {
    Kind.BLOCKING: N_("blocking"),
    Kind.SITE_OUTAGE: N_("site outage"),
    Kind.NETWORK_OUTAGE: N_("network outage"),
    Kind.SILENCE: N_("silence"),
}

KIND_MEANINGS: dict[str, str] = {
    Kind.BLOCKING: N_("A site is blocked on a network: many measurements say so, and chance does not explain them."),
    Kind.SITE_OUTAGE: N_("A site is down for everyone: that is no blocking."),
    Kind.NETWORK_OUTAGE: N_("Nothing can be reached over a network: that is no blocking of a site."),
    Kind.SILENCE: N_("Measurements from a network have stopped coming: nothing is known of it meanwhile."),
}

RULE_MEANINGS: dict[str, str] = {rule.id: rule.why for rule in RULES}

UNKNOWN_METHOD = N_("A method that this version has no words for.")
UNKNOWN_RULE = N_("A rule that this version has no words for.")
