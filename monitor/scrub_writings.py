"""The ways pages, headers and names write an address, and how to take them out.

Plain searches go first: they take a hundredth of the time of the expressions, and nearly no page has a hit. Most
writings differ only in what stands between the digits, so the searches look at a page's digits alone.
"""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

GONE = b"[scrubbed]"
PREFIX_V6 = 48  # what an ISP delegates to one customer is /48 to /64

_MOST_PASSES = 4

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Between octets, between groups; pages are in lower case here. Percent signs may be encoded in turn.
_DOT = r"(?:[._,-]|%(?:25){0,2}2e|&#0{0,2}46;|&#x0{0,2}2e;|&period;|\\{1,3}u002e|\\{1,3}x2e)"
_COLON = r"(?:[:_-]|%(?:25){0,2}3a|&#0{0,2}58;|&#x0{0,2}3a;|&colon;|\\{1,3}u003a|\\{1,3}x3a)"
# The digits in those.
_DOT_DIGITS = ("", "2", "252", "46", "002")
_COLON_DIGITS = ("", "3a")

_ALL_BUT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_ALL_BUT_HEX = bytes(set(range(256)) - set(b"0123456789abcdef"))


Pattern = re.Pattern[bytes]


class Writings:
    """Finds some addresses in whatever way they are written; of IPv6, all addresses of the same home."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        v4 = [address for address in addresses if isinstance(address, ipaddress.IPv4Address)]
        homes = {address.packed[:6]: address for address in addresses if address.version == 6}
        self._digits = _hints(form for address in v4 for form in _digits_of(address))
        self._hex = _hints(form for address in addresses for form in _hex_of(address))
        self._patterns = [_compiled(p) for p in dict.fromkeys(p for a in addresses for p in _patterns(a))]
        self._homes = [(_groups(home)[0].encode(), _compiled(_home_pattern(home))) for home in homes.values()]
        self._reverse = [_compiled(re.escape(_reverse_home(home))) for home in homes.values()]
        self._base64 = [(form.encode(), _base64_pattern(form)) for a in addresses for form in _base64_of(a)]

    def without(self, body: bytes) -> bytes:
        """The page without the addresses. What was joined to one that is gone may be another."""
        for _ in range(_MOST_PASSES):
            cleaned = self._once(body)
            if cleaned == body:
                break
            body = cleaned
        return body

    def _once(self, body: bytes) -> bytes:
        lowered = body.lower()
        if self._maybe(lowered):
            for pattern in self._patterns:
                body = cut(body, spans(pattern, body.lower()))
            for pattern in self._reverse:
                body = cut(body, spans(pattern, body.lower(), back=_NIBBLES))
        for group, pattern in self._homes:
            if group in lowered:
                body = cut(body, spans(pattern, body.lower()))
        for form, pattern in self._base64:
            if form in body:
                body = pattern.sub(GONE, body)
        return body

    def _maybe(self, lowered: bytes) -> bool:
        hexadecimal = lowered.translate(None, _ALL_BUT_HEX)
        digits = hexadecimal.translate(None, _ALL_BUT_DIGITS)
        return any(form in digits for form in self._digits) or any(form in hexadecimal for form in self._hex)


def spans(pattern: Pattern, lowered: bytes, back: Pattern | None = None) -> Iterator[tuple[int, int]]:
    """Where the pattern matches, or its group "gone"; `back` extends it backwards (and reads backwards, at most 64 bytes).

    An expression that begins with a fixed text is found a hundred times as fast as one that ends with it.
    """
    group: int | str = "gone" if "gone" in pattern.groupindex else 0
    for match in pattern.finditer(lowered):
        start, end = match.span(group)
        before = back.match(lowered[max(0, start - 64) : start][::-1]) if back else None
        yield start - (before.end() if before else 0), end


def cut(body: bytes, gone: Iterable[tuple[int, int]]) -> bytes:
    """The page with GONE in those places."""
    parts, at = [], 0
    for start, end in gone:
        if end > at:
            parts += [body[at : max(at, start)], GONE]
            at = end
    return b"".join([*parts, body[at:]]) if parts else body


def _hints(forms: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(form.encode() for form in forms))


def _compiled(pattern: str) -> Pattern:
    return re.compile(pattern.encode())


# --- IPv4: each pattern begins with its digits, so that it is found fast ---------------------------------------


def _orders(address: Address) -> tuple[list[int], list[int]]:
    octets = list(address.packed)
    return octets, octets[::-1]


def _digits_of(address: Address) -> Iterator[str]:
    yield str(int(address))
    for octets in _orders(address):
        yield from (dot.join(map(str, octets)) for dot in _DOT_DIGITS)
        yield from ("".join(form.format(octet) for octet in octets) for form in ("{:03}", "0{:o}"))


def _octets_pattern(octets: Sequence[int]) -> str:
    """190.36.12.7, 190-036-012-007, 190%2E36...; not within 190.36.12.70 or 90.36..., which is somebody else."""
    first, last = str(octets[0]), str(octets[-1])
    starts = (rf"(?<!\d{first})", rf"(?<=(?<!\d)0{first})", rf"(?<=(?<!\d)00{first})", rf"(?<=\d{{3}}{first})")
    before = "" if len(first) == 3 else f"(?:{'|'.join(starts)})"
    after = "" if len(last) == 3 else rf"(?!\d{{1,{3 - len(last)}}}(?!\d))"
    rest = "".join(f"{_DOT}0{{0,2}}{octet}" for octet in octets[1:])
    return f"{first}{before}{rest}{after}"


def _octal_pattern(octets: Sequence[int]) -> str:
    first = f"0{octets[0]:o}"
    return first + "".join(f"{_DOT}0{{1,3}}{octet:o}" for octet in octets[1:])


def _pair_pattern(address: Address) -> str:
    """Within IPv6: ::ffff:be24:c07, 2002:be24:c07::, 64:ff9b::be24:c07."""
    high, low = (part.lstrip("0") or "0" for part in (address.packed[:2].hex(), address.packed[2:].hex()))
    return f"{high}(?<![1-9a-f]{high}){_COLON}0{{0,3}}{low}(?![0-9a-f])"


# --- IPv6 ------------------------------------------------------------------------------------------------------

_NIBBLES = re.compile(rb"(?:\.[0-9a-f]){0,20}")


def _groups(address: Address) -> list[str]:
    return [group.lstrip("0") or "0" for group in address.exploded.split(":")]


def _home_pattern(address: Address) -> str:
    """An address of the same home, its groups apart; after "ip:" too."""
    first, second, third = _groups(address)[:3]
    written = [f"{_COLON}0{{0,3}}{second}{_COLON}0{{0,3}}{third}(?![0-9a-f])"]
    if third == "0":  # "::" for the third group, or both
        written.append(f"{_COLON}0{{0,3}}{second}{_COLON}{{2}}")
        written += [f"{_COLON}{{2}}"] if second == "0" else []
    rest = rf"(?:{_COLON}{{0,2}}(?<![0-9a-f])[0-9a-f]{{1,4}}(?![0-9a-f])){{0,5}}(?:{_COLON}{{2}})?"
    return f"{first}(?<![0-9a-f]{first})(?:{'|'.join(written)}){rest}"


def _home_hex(address: Address) -> str:
    return address.packed.hex()[: PREFIX_V6 // 4]


def _reverse_home(address: Address) -> str:
    return ".".join(_home_hex(address)[::-1])


# --- either ----------------------------------------------------------------------------------------------------


def _digests(address: Address) -> list[str]:
    """What analytics scripts make of it."""
    return [hashlib.new(kind, str(address).encode()).hexdigest() for kind in ("md5", "sha1", "sha256")]


def _hex_of(address: Address) -> Iterator[str]:
    yield from _digests(address)
    if address.version == 6:
        yield from (_home_hex(address), _home_hex(address)[::-1])
        return
    high, low = address.packed[:2].hex(), address.packed[2:].hex()
    yield high + low
    for colon in _COLON_DIGITS:
        for short in (low, low.lstrip("0") or "0"):
            yield (high.lstrip("0") or "0") + colon + short


def _patterns(address: Address) -> Iterator[str]:
    yield from _digests(address)
    if address.version == 6:
        yield _home_hex(address) + "[0-9a-f]{0,20}"
        return
    for octets in _orders(address):
        yield _octets_pattern(octets)
        yield _octal_pattern(octets)
        yield "".join(f"{octet:03}" for octet in octets)
    yield rf"{int(address)}(?<!\d{int(address)})(?!\d)"
    yield address.packed.hex()
    yield _pair_pattern(address)


def _base64_of(address: Address) -> list[str]:
    """Of its text and of its bytes, whatever stands before it: which of three ways depends on where it begins."""
    forms = []
    for content in (str(address).encode(), address.packed):
        for offset in range(3) if len(content) > 4 else (0,):  # fewer characters would be found by chance
            text = base64.b64encode(bytes(offset) + content).decode()
            known = text[-(-8 * offset // 6) : 8 * (offset + len(content)) // 6]
            forms += [known, known.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(forms))


def _base64_pattern(form: str) -> Pattern:
    # The characters around it may hold some bits of it. Six characters may be a word of a script: alone, they are not.
    letter = "[A-Za-z0-9+/_-]"
    if len(form) < 8:
        return _compiled(f"(?<![A-Za-z0-9+_-]){re.escape(form)}{letter}(?:==)?(?!{letter})")
    return _compiled(f"{letter}?{re.escape(form)}{letter}?")
