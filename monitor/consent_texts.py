"""What is shown before the question whether to measure, and the question.

A new version of these texts is a new question: raise `consent.TEXT_VERSION` when what one agrees to changes.
"""

import textwrap

from monitor.language import Words
from monitor.messages import N_

RISKS = (
    N_("Before Almenara measures anything from here, please read this."),
    N_(
        "What it does. It contacts the news sites in your list from your own connection, as a browser would, including "
        "sites that your network or your government blocks. It asks several name servers about them, and asks a test "
        "helper elsewhere to try the same sites. You can see the list in your probes.yaml and change it."
    ),
    N_(
        "Who can see it. Your internet provider, and whoever watches its network, can see that you contact these sites, "
        "that you do it again and again, and that you ask public name servers and a test helper: this looks different "
        "from browsing and can be recognised as measuring. The sites and the test helper see your IP address."
    ),
    N_(
        "What it may mean for you. In some countries visiting such sites, or measuring them, is illegal, or is punished "
        "whether it is or not. If you are at risk already, talk to people who know your country first. Almenara is no "
        "VPN and does not hide you."
    ),
    N_(
        "What is recorded. For each site: the time, the network's name and number (ISP, ASN, country), the answers of "
        "name servers, the addresses contacted, certificates, and what the pages were like. Where a page looks like a "
        "block page the page itself is kept as evidence."
    ),
    N_(
        "What is not recorded. Your IP address is removed from what is kept, and nothing else about you, your machine or "
        "what you browse is looked at. Nothing is published by this command."
    ),
    N_(
        "You may stop at any time. To take your yes back, delete {remembered} or write `consent: false` in your "
        "probes.yaml."
    ),
)
QUESTION = N_("Do you understand this, and want to measure from here? Type yes or no:")
AGAIN = N_("Please type yes or no:")
REFUSED = N_("nothing is measured: consent was not given")
UNREMEMBERED = N_("Your yes holds for this run; it could not be remembered in {file}: {problem}")
# Whole words, or their usual letter: an Enter pressed too soon must not be a yes.
YES, NO = N_("yes y"), N_("no n")
_WIDTH = 116


def risks(w: Words, remembered: object) -> str:
    """All of it, wrapped. remembered: the file that a yes is remembered in."""
    texts = (w.text(text, remembered=remembered) for text in RISKS)
    # A file's name is to be copied: it is not broken.
    return "\n\n".join(textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False) for text in texts)


def answers(w: Words) -> tuple[frozenset[str], frozenset[str]]:
    """What means yes, and what means no: in English, in Spanish, and in the reader's language."""
    no = frozenset({"", "no", "n", *w.text(NO).split()})
    return frozenset({"yes", "y", "sí", "si", "s", *w.text(YES).split()}) - no, no
