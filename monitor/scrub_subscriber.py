"""What a block page, its headers and the redirect to it know of the subscriber, and how to take it out.

Only for responses of somebody who did not prove to be the site. Every expression is bounded: the page is hostile.
"""

import re
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

from monitor.scrub_writings import GONE, cut

_SCRUBBED = GONE.decode()


def _letter(plain: str, entity: str, code: int) -> str:
    """An accented letter in Latin 1, UTF-8, HTML or JSON, or without its accent; pages are in lower case but for those."""
    upper = chr(code).upper()
    written = [rf"\x{code:02x}", rf"\x{ord(upper):02x}"]
    written += ["".join(rf"\x{byte:02x}" for byte in chr(one).encode()) for one in (code, ord(upper))]
    written += [f"&{entity};", f"&#0?{code};", f"&#0?{ord(upper)};", f"&#x0?{code:x};", f"&#x0?{ord(upper):x};"]
    return f"(?:{plain}|{'|'.join(written)}|{plain}&#769;|{plain}\\xcc\\x81|\\\\u00{code:02x}|\\\\u00{ord(upper):02x})"


_E, _I, _O, _U = (
    _letter(plain, f"{plain}acute", ord(accented)) for plain, accented in zip("eiou", "éíóú", strict=True)
)
# Tags between a label and its value, as in tables and forms.
_TAGS = r"\s{0,20}(?:<[^<>]{0,120}>(?:\s|&nbsp;){0,20}){0,4}"
_CELL = r"\s{0,20}</(?:t[dh]|dt)>\s{0,20}<(?:t[dh]|dd)\b[^<>]{0,120}>\s{0,20}(?:<[^<>]{0,120}>\s{0,20}){0,2}"
_QUOTE = r"(?:\\?[\"']|&quot;|&#39;|&#34;)?"
_NAMES = (
    rf"usuario|abonado|cliente|contrato|cuenta|c{_E}dula|suscriptor|titular|subscriber|customer|account|user(?:name)?"
    rf"|msisdn|imsi|imei|iccid|l{_I}nea|tel{_E}fono|phone|client[ _-]?ip|session(?:[ _-]?id)?"
    # Short words stand within others: "outline: none" is no telephone line.
    r"|(?:line|mac|rif|your ip|su ip|tu ip)(?<![a-z]line)(?<![a-z]mac)(?<![a-z]rif)"
)
_NUMBER_OF = rf"(?:[ _-]?(?:id|no|nro|name|number|n{_U}mero|mac|ip)\b\.?)?"
# "Usuario: Juan Bimba", {"usuario": "x"}, msisdn=58412..., <td>Usuario</td><td>x</td>. The value, however long, and words.
_VALUE = rf"(?!{re.escape(_SCRUBBED)})(?:[^\s\"'<>&;,\\]|&(?=[a-z#]))++(?:[ \t\xa0]{{1,3}}[^\s\"'<>&;,:={{}}()]{{1,40}}){{0,5}}"
_LABELLED = re.compile(
    rf"(?:{_NAMES}){_NUMBER_OF}{_QUOTE}(?:{_TAGS}[:=]{_TAGS}{_QUOTE}|{_CELL})(?P<gone>{_VALUE})".encode("latin-1")
)
_ADDRESS = re.compile(
    rf"(?:ip|direcci{_O}n|address|addr|forwarded.for)(?<![a-z]ip)(?:v[46])?\b[^\w<>:=\"']?"
    rf"(?:(?:de|del|is|es|su|p{_U}blica|public|address|addr|client|cliente|usuario|user|ip|asignada|was)\b[^\w<>:=]{{0,3}}){{0,4}}"
    rf"{_QUOTE}{_TAGS}[:=]?{_TAGS}{_QUOTE}[(\[]?"
    r"(?P<gone>\d{1,3}(?:\.\d{1,3}){3}|(?=[0-9a-f]{0,4}:)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})".encode("latin-1")
)
_MAC = re.compile(rb"[0-9a-f](?<!\w.)[0-9a-f](?:[:-][0-9a-f]{2}){5}(?!\w)")
_MAIL = re.compile(rb"(?<![\w.+-])[\w.+-]++@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}")
_LONG_NUMBER = re.compile(rb"\d(?<![\w.#-].)\d{8,19}(?!\w|[.-]\w)")
_INPUT = re.compile(rb"<input\b[^<>]*+", re.IGNORECASE)
_INPUT_VALUE = re.compile(rb"(?<=[\s\"'/]value)(\s{0,9}=\s{0,9})(\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)", re.IGNORECASE)
_BUTTON = re.compile(rb"type\s{0,9}=\s{0,9}[\"']?(?:submit|button|reset)", re.IGNORECASE)


def subscriber_gone(body: bytes) -> bytes:
    """The page without what it says of the subscriber."""
    if b"<input" in body or b"<INPUT" in body or b"<Input" in body:
        body = _INPUT.sub(_emptied, body)
    body = cut(_ADDRESS, cut(_LABELLED, body))
    if b"@" in body:
        body = cut(_MAIL, body)
    return cut(_LONG_NUMBER, cut(_MAC, body))


def _emptied(match: re.Match[bytes]) -> bytes:
    """A form's field without its value; what is written on a button stays."""
    return match[0] if _BUTTON.search(match[0]) else _INPUT_VALUE.sub(rb'\1"' + GONE + b'"', match[0])


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
