"""The names that data has, in plain words: statuses, methods, failures, kinds of events. English is the message's id.

Each name of a closed set has an entry here; `Words` (language.py) gives them in the reader's language.
"""

from monitor import failures
from monitor.explain import METHOD_WORDS, explain
from monitor.messages import N_
from monitor.models import Kind, Status
from monitor.verdict.rules import RULES

__all__ = ["METHOD_WORDS", "explain"]

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

RULE_MEANINGS: dict[str, str] = {rule.id: rule.why for rule in RULES}

UNKNOWN_FAILURE = N_("Something failed that has no name, so it is no evidence.")
UNKNOWN_METHOD = N_("A method that this version has no words for.")
UNKNOWN_RULE = N_("A rule that this version has no words for.")
