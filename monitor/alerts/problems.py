"""Why a message did not arrive. It is stored in English, and told in the reader's language."""

import re

from monitor.language import Words
from monitor.messages import N_, Said

# All that can be said of it: what others say may hold secrets.
PROBLEMS = (
    N_("no answer in time"), N_("cannot be connected to"), N_("its certificate is not valid"), N_("the proxy refuses"),
    N_("refused (HTTP {status})"), N_("refused ({code})"), N_("a redirect (HTTP {status}), which is not followed"),
    N_("the connection failed ({kind})"), N_("a SOCKS proxy needs the package socksio (the extra alerts)"),
    N_("the sending process ended without a word"), N_("nobody subscribes to it any more"),
    N_("a bug in this program; its log says more"), N_("needs the extra alerts: pip install 'almenara[alerts]'"),
    N_("expected a URL that Apprise understands"), N_("the service did not take it"), N_("it does not go through a proxy"),
    N_("the login is refused"), N_("the connection is refused"), N_("its name cannot be found"), N_("it cannot be reached"),
    N_("it takes no login: leave name and password out"), N_("it does not encrypt (STARTTLS)"),
    N_("the connection was reset"), N_("the connection was closed"),
)  # fmt: skip


def problem_words(words: Words, stored: str) -> str:
    """As it is told; one that nobody knows, of another version, as it is."""
    for message in PROBLEMS:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.*)", re.escape(message))
        found = re.fullmatch(pattern, stored)
        if found:
            return Said(message, **found.groupdict()).told(words)
    return stored
