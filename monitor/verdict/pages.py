"""Are two pages the same page? And does a page challenge or refuse its reader?

OONI's rule (facts.md): equal status, and any of: lengths within a ratio of 0.7; an uncommon header in common; titles
that share all words of 5 letters or more. Ours adds a similarity fingerprint. Truncated pages are not compared by length.
"""

import re
from collections.abc import Iterable

from monitor.models import Http

LENGTH_RATIO = 0.7  # Jones et al. 2014: finds 95 % of block pages, 1.4 % false
SIMILAR_BITS = 12  # of 64; two renderings of one template differ in fewer, unrelated pages in about 32
TITLE_WORD = 5  # letters

# Headers that any server or proxy sends say nothing about who answered (OONI's list, shortened to what we compare).
_COMMON_HEADERS = frozenset(
    {
        "accept-ranges", "age", "alt-svc", "cache-control", "connection", "content-encoding", "content-language",
        "content-length", "content-security-policy", "content-type", "date", "etag", "expires", "keep-alive",
        "last-modified", "link", "location", "p3p", "permissions-policy", "pragma", "referrer-policy", "server",
        "set-cookie", "strict-transport-security", "transfer-encoding", "upgrade", "vary", "via", "x-cache",
        "x-content-type-options", "x-frame-options", "x-powered-by", "x-xss-protection",
    }
)  # fmt: skip
_SIMHASH = re.compile(r"[0-9a-f]{1,16}")
_WORD = re.compile(rf"\w{{{TITLE_WORD},}}")
_CHALLENGE = re.compile(
    r"just a moment|attention required|captcha|access denied|are you (a )?(human|robot)|verifica(ndo|r) que|checking your browser"
    r"|unavailable in your (country|region)|not available in your (country|region)|no disponible en (su|tu) (pa[ií]s|regi[oó]n)",
    re.IGNORECASE,
)


def same_page(a: Http, b: Http) -> bool:
    """Would a reader call them the same page?"""
    return surely_same(a, b) or (a.status == b.status and (_same_length(a, b) or shared_headers(a, b)))


def surely_same(a: Http, b: Http) -> bool:
    """By what it says: its bytes, its title, its words. Lengths and headers can be alike by chance."""
    return a.status == b.status and (same_content(a, b) or _same_title(a, b) or similar(a, b))


def same_content(a: Http, b: Http) -> bool:
    """Byte by byte."""
    return bool(a.sha256 and a.sha256 == b.sha256)


def similar(a: Http, b: Http) -> bool:
    """By their fingerprints alone, whatever their lengths."""
    if not (a.simhash and b.simhash and a.body_length and b.body_length):
        return False
    if not (_SIMHASH.fullmatch(a.simhash) and _SIMHASH.fullmatch(b.simhash)):
        return False  # from a file that somebody else wrote
    if not (int(a.simhash, 16) and int(b.simhash, 16)):
        return False  # 0 is a page without words, which is like any other without words
    return (int(a.simhash, 16) ^ int(b.simhash, 16)).bit_count() <= SIMILAR_BITS


def shared_headers(a: Http, b: Http) -> bool:
    """An uncommon header in common: the same server answered."""
    return bool(_uncommon(a.headers) & _uncommon(b.headers))


def refuses(page: Http) -> bool:
    """Does the page turn its reader away, by status or by a challenge?"""
    return page.status is not None and (page.status >= 400 or challenges(page))


def challenges(page: Http) -> bool:
    """A CAPTCHA or a notice in the title of a short page."""
    return bool(page.title and _CHALLENGE.search(page.title))


def _same_length(a: Http, b: Http) -> bool:
    if a.truncated or b.truncated:
        return a.truncated and b.truncated
    if (not a.complete and a.body_length == 0) or (not b.complete and b.body_length == 0):
        return False
    low, high = sorted((_length(a), _length(b)))
    return (high > 0 and low / high > LENGTH_RATIO) or (low == high == 0 and a.status in (204, 304))


def _length(page: Http) -> int:
    return page.body_length


def _same_title(a: Http, b: Http) -> bool:
    words_a, words_b = (set(_WORD.findall((page.title or "").lower())) for page in (a, b))
    return bool(words_a) and words_a == words_b


def _uncommon(headers: Iterable[tuple[str, str]]) -> set[str]:
    return {name.lower() for name, _ in headers} - _COMMON_HEADERS
