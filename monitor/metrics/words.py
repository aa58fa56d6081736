"""The values that labels may have. None comes from a peer: they are ours, or the configuration's, or `other`."""

import hashlib
from collections.abc import Mapping

from monitor import failures
from monitor.config import Config, VantageConfig
from monitor.explain import METHOD_WORDS
from monitor.models import Dns, Network, Role
from monitor.vantage import resolver

OTHER = "other"
OK, FAILURE = "ok", "failure"
METHODS = frozenset(METHOD_WORDS)
# What a step can fail by, what a page can say instead of the site's, and what can be wrong with a page that came.
FAILURES = (
    failures.NAMES | {"http_status_4xx", "http_status_5xx"} | {method.partition(".")[2] for method in METHOD_WORDS}
)
LONGEST, LONGEST_HOST = 128, 260  # characters
_DIGEST = 12  # of what is cut off
SYSTEM = "system"


def method(text: str) -> str:
    """A method of a verdict."""
    return text if text in METHODS else OTHER


def failure(text: str) -> str:
    """The reason of a failure."""
    return text if text in FAILURES else OTHER


def asn(network: Network | None) -> str:
    """A network's number; empty where it is not known."""
    return str(network.asn) if network is not None and network.asn else ""


def plain(text: str | None, most: int = LONGEST) -> str:
    """A text that a metric can carry whatever is in it, of a bounded length. Two that differ beyond it stay two."""
    text = text or ""
    if len(text) > most:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
        text = f"{text[: most - _DIGEST - 1]}~{digest}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def site(text: str | None) -> str:
    """A host, whole: it leads to its page."""
    return plain(text, LONGEST_HOST)


class Resolvers:
    """What one vantage's resolvers are called: as the configuration calls them, wherever the machine found them."""

    def __init__(self, config: Config, vantage: VantageConfig | None) -> None:
        own = vantage.resolvers if vantage else ()
        configured = (*(text for text in own if text != SYSTEM), *config.measure.public_resolvers)
        self._of_address: Mapping[str, str] = {resolver(text).label: text for text in reversed(configured)}
        self._encrypted = frozenset(config.control.resolvers)
        self._own = SYSTEM if SYSTEM in own else OTHER
        self.names = tuple(dict.fromkeys((*own, *config.measure.public_resolvers, *config.control.resolvers)))

    def name(self, question: Dns) -> str:
        """Of the resolver that was asked."""
        if question.role is Role.DOH:
            return question.resolver if question.resolver in self._encrypted else OTHER
        return self._of_address.get(question.resolver, self._own)
