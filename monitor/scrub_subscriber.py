"""What a block page, its headers and the redirect to it know of the subscriber, and how to take it out.

Only for responses of somebody who did not prove to be the site. Every expression is bounded: the page is hostile.
"""

import re
from functools import cache
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

from monitor.scrub_writings import GONE, cut, spans

_SCRUBBED = GONE.decode()


def _letter(plain: str, accented: str) -> list[str]:
    """An accented letter in Latin 1, UTF-8, HTML and JSON, or without its accent; in a page in lower case."""
    written = [plain, f"&{plain}acute;", plain + "&#769;", plain + "\xcc\x81"]
    for letter in (accented, accented.upper()):
        code = ord(letter)
        written += [letter, letter.encode().decode("latin-1"), f"&#{code};", f"&#x{code:x};", f"\\u{code:04x}"]
    return written


def _word(before: str, plain: str, accented: str, after: str) -> str:
    """A label with an accent, beginning with what follows it: expressions with a fixed beginning are found fast."""
    return f"{after}(?:{'|'.join(f'(?<={re.escape(before + way + after)})' for way in _letter(plain, accented))})"


# Short words stand within others: "outline: none" is no telephone line.
_SHORT = ("line", "mac", "rif", "your ip", "su ip", "tu ip")
_SPANISH = ("usuario", "abonado", "cliente", "contrato", "cuenta", "suscriptor", "titular")
_ENGLISH = ("subscriber", "customer", "account", "user", "client_ip", "client-ip", "client ip", "phone", "session")
_IDENTITIES = ("msisdn", "imsi", "imei", "iccid")
_NAMES = {word: re.escape(word) for word in (*_SPANISH, *_ENGLISH, *_IDENTITIES)}
_NAMES |= {word: f"{word}(?<![a-z]{word})" for word in _SHORT}
_NAMES |= {"dula": _word("c", "e", "é", "dula")}
_NAMES |= {"nea": _word("l", "i", "í", "nea"), "fono": _word("tel", "e", "é", "fono")}

# Between a label and its value: tags, as in tables; quotes, as in JSON.
_TAGS = r"\s{0,20}(?:<[^<>]{0,120}>(?:\s|&nbsp;){0,20}){0,4}"
_CELL = r"\s{0,20}</(?:t[dh]|dt)>\s{0,20}<(?:t[dh]|dd)\b[^<>]{0,120}>\s{0,20}(?:<[^<>]{0,120}>\s{0,20}){0,2}"
_QUOTE = r"(?:\\?[\"']|&quot;|&#39;|&#34;)?"
_MORE = r"(?:name)?(?:[ _-]?(?:id|no|nro|name|number|n.{1,8}mero|mac|ip)\b\.?)?"
# The whole value, however long, and words after it: "Usuario: Juan Bimba".
_VALUE = (
    rf"(?!{re.escape(GONE.decode())})(?:[^\s\"'<>&;,\\]|&(?=[a-z#]))++"
    r"(?:[ \t\xa0]{1,3}[^\s\"'<>&;,:={}()]{1,40}){0,5}"
)
_AFTER_NAME = rf"{_MORE}{_QUOTE}(?:{_TAGS}[:=]{_TAGS}{_QUOTE}|{_CELL})(?P<gone>{_VALUE})"


@cache
def _labelled(hint: str) -> re.Pattern[bytes]:
    """Compiled where its word is met first: all of them take as long as many an import."""
    return re.compile((_NAMES[hint] + _AFTER_NAME).encode("latin-1"))


# These begin with what is rare and are extended backwards.
_V4 = re.compile(rb"\.(?<=\d\.)\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d)")
_V4_BACK = re.compile(rb"\d{1,3}")
_V6 = re.compile(rb":(?<=[0-9a-f:]:)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){1,6}")
_V6_BACK = re.compile(rb":?[0-9a-f]{0,4}")
# "Su dirección IP: ", "IP</td><td>", read backwards from the address: fails fast where there is none.
_TOLD = re.compile(
    rb"(?:[^.<>]|>[^<>]{0,120}<){0,40}?(?:(?:[64]v)?pi(?![a-z0-9])|rdda(?![a-z])|rdda[_-]?pi|iccerid|rof.dedrawrof)"
)
_TELLING = (b"ip", b"addr", b"direcci", b"forwarded")
_MAC = re.compile(rb"[:-](?<=[0-9a-f]{2}.)[0-9a-f]{2}(?:[:-][0-9a-f]{2}){4}(?!\w)")
_MAC_BACK = re.compile(rb"[0-9a-f]{2}(?!\w)")
_MAIL_HOST = re.compile(rb"@[\w-]++\.")
_MAIL = re.compile(rb"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.+-]++")
_LONG_NUMBER = re.compile(rb"\d(?<![\w.#-].)\d{8,19}(?!\w|[.-]\w)")
# What forms are filled with; what is written on a button stays.
_FIELD = re.compile(
    rb"<input\b(?![^<>]*?type\s{0,9}=\s{0,9}[\"']?(?:submit|button|reset))[^<>]*?[\s\"'/]value\s{0,9}=\s{0,9}"
    rb"(?P<gone>\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)"
)


def subscriber_gone(body: bytes) -> bytes:
    """The page without what it says of the subscriber."""
    lowered = body.lower()
    body = cut(body, spans(_FIELD, lowered))
    for hint in _NAMES:
        if hint.encode() in lowered:
            body = cut(body, spans(_labelled(hint), body.lower()))
    for pattern, back in ((_V4, _V4_BACK), (_V6, _V6_BACK)):
        lowered = body.lower()
        if any(word in lowered for word in _TELLING):
            body = cut(body, (span for span in spans(pattern, lowered, back) if _told(lowered, span[0])))
    body = cut(body, spans(_MAC, body.lower(), _MAC_BACK))
    if _MAIL_HOST.search(body):
        body = cut(body, spans(_MAIL, body))
    return cut(body, spans(_LONG_NUMBER, body))


def _told(lowered: bytes, start: int) -> bool:
    """Does the text before say that an address follows?"""
    since = max(0, start - 160)
    for word in _TELLING:
        if lowered.rfind(word, since, start) >= 0:
            return _TOLD.match(lowered[since:start][::-1]) is not None
    return False


# --- redirects -------------------------------------------------------------------------------------------------

_DIGITS = re.compile(r"\d{9,}")
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.\[\]-]{0,40}")
_MOST_VALUES = 50


def without_subscriber(url: str, site: str, on: str = "") -> str:
    """A URL on another host than the site's without the values of its query, but for the site's name in them.

    ISPs' block pages are redirected to with the subscriber's address or line number in the query, or in the path.
    on: the host a URL without one belongs to.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or on
        if not host or _of_site(host, site):
            return url
        return urlunsplit(
            parts._replace(
                netloc=_DIGITS.sub("scrubbed", parts.netloc.rpartition("@")[2]),
                path=_DIGITS.sub(_SCRUBBED, re.sub(r";[^/]*", "", parts.path)),
                query=_query(parts.query, site),
                fragment="",
            )
        )
    except ValueError:
        return url.partition("?")[0].partition("#")[0]


def _of_site(host: str, site: str) -> bool:
    bare = site.removeprefix("www.")
    return bool(bare) and (host == bare or host.endswith("." + bare))


def _query(query: str, site: str) -> str:
    if query.count("&") >= _MOST_VALUES:
        return _SCRUBBED
    kept = []
    for piece in filter(None, query.split("&")):
        name, equals, _ = piece.partition("=")
        if not equals:
            kept.append(_of_value(piece, site))
            continue
        ((_, value),) = parse_qsl(piece, keep_blank_values=True, separator="&")
        plain = _PLAIN_NAME.fullmatch(name) and not _DIGITS.search(name)
        kept.append(f"{name if plain else _SCRUBBED}={_of_value(value, site)}")
    return "&".join(kept)


def _of_value(value: str, site: str) -> str:
    """The site's name, or its URL without the query, where the value has it."""
    if not site or site not in value:
        return _SCRUBBED
    parts = _split(value)
    if parts is None or parts.scheme not in ("http", "https") or parts.hostname != site:
        return site
    return quote(f"{parts.scheme}://{site}{_DIGITS.sub(_SCRUBBED, parts.path)}", safe="[]:/%")


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
