"""The ways pages, headers and names write an address, and how to take them out.

Plain searches go first: they take a hundredth of the time of the expressions, and nearly no page has a hit. Most
writings differ only in what stands between the digits, so the searches look at a page's digits alone.
"""

import base64
import hashlib
import ipaddress
import re
import string
from collections.abc import Iterable, Iterator, Sequence

GONE = b"[scrubbed]"
PREFIX_V6 = 48  # what an ISP delegates to one customer is /48 to /64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Between octets, between groups; pages are in lower case here. Percent signs may be encoded in turn.
_DOT = r"(?:[._,-]|%(?:25){0,2}2e|&#0{0,2}46;|&#x0{0,2}2e;|&period;|\\u002e|\\x2e)"
_COLON = r"(?:[:_-]|%(?:25){0,2}3a|&#0{0,2}58;|&#x0{0,2}3a;|&colon;|\\u003a|\\x3a)"
# The digits in those.
_DOT_DIGITS = ("", "2", "252", "25252", "46", "046", "002")
_COLON_DIGITS = ("", "3a", "253a", "25253a", "58", "058", "003a")

_ALL_BUT_DIGITS = bytes(set(range(256)) - set(string.digits.encode()))
_ALL_BUT_HEX = bytes(set(range(256)) - set(b"0123456789abcdef"))


class Writings:
    """Finds some addresses in whatever way they are written; of IPv6, all addresses of the same home."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        v4 = [address for address in addresses if isinstance(address, ipaddress.IPv4Address)]
        v6 = [address for address in addresses if isinstance(address, ipaddress.IPv6Address)]
        self._digits = _hints(form for address in v4 for form in _digits_of(address))
        self._hex = _hints(form for address in addresses for form in _hex_of(address))
        self._plain = _any(pattern for address in addresses for pattern in _plain_patterns(address))
        homes = {address.packed[:6]: address for address in v6}
        self._groups = tuple((_groups(home)[0].encode(), _group_pattern(home)) for home in homes.values())
        forms = [form for address in addresses for form in _base64_of(address)]
        self._base64 = _hints(forms, least=4)
        self._encoded = _any(_base64_pattern(form) for form in forms)

    def without(self, body: bytes) -> bytes:
        """The page without the addresses."""
        lowered = body.lower()
        if self._plain and self._maybe(lowered):
            body = cut(self._plain, body, lowered)
            lowered = body.lower()
        for group, pattern in self._groups:
            if group in lowered:
                body = cut(pattern, body, lowered)
                lowered = body.lower()
        if self._encoded and any(form in body for form in self._base64):
            body = self._encoded.sub(GONE, body)
        return body

    def _maybe(self, lowered: bytes) -> bool:
        digits = lowered.translate(None, _ALL_BUT_DIGITS)
        if any(form in digits for form in self._digits):
            return True
        digits = lowered.translate(None, _ALL_BUT_HEX)
        return any(form in digits for form in self._hex)


def cut(pattern: re.Pattern[bytes], body: bytes, lowered: bytes | None = None) -> bytes:
    """The page with GONE for each match, or for its group "gone". The pattern is for lower case, which is far faster."""
    parts, end = [], 0
    group: int | str = "gone" if "gone" in pattern.groupindex else 0
    for match in pattern.finditer(body.lower() if lowered is None else lowered):
        parts += [body[end : match.start(group)], GONE]
        end = match.end(group)
    return b"".join([*parts, body[end:]]) if parts else body


def _hints(forms: Iterable[str], least: int = 1) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(form.encode() for form in forms if len(form) >= least))


def _any(patterns: Iterable[str]) -> re.Pattern[bytes] | None:
    text = "|".join(dict.fromkeys(patterns))
    return re.compile(text.encode()) if text else None


# --- IPv4 ------------------------------------------------------------------------------------------------------


def _orders(address: ipaddress.IPv4Address) -> tuple[list[int], list[int]]:
    octets = list(address.packed)
    return octets, octets[::-1]


def _digits_of(address: ipaddress.IPv4Address) -> Iterator[str]:
    for octets in _orders(address):
        for form in ("{}", "{:03}", "0{:o}"):
            for dot in _DOT_DIGITS:
                yield dot.join(form.format(octet) for octet in octets)
    yield str(int(address))


def _octets_pattern(octets: Sequence[int]) -> str:
    """190.36.12.7, 190-036-012-007, 0276%2E044...; not within 190.36.12.70, which is somebody else."""
    first, last = str(octets[0]), str(octets[-1])
    before = "" if len(first) == 3 else r"(?:(?<!\d)|(?<=\d{3}))"
    after = "" if len(last) == 3 else rf"(?!\d{{1,{3 - len(last)}}}(?!\d))"
    written = [f"(?:0{{0,2}}{octet}|0{{1,3}}{octet:o})" for octet in octets]
    return f"{before}{_DOT.join(written)}{after}"


def _pair_pattern(address: ipaddress.IPv4Address) -> str:
    """Within IPv6: ::ffff:be24:c07, 2002:be24:c07::, 64:ff9b::be24:c07."""
    high, low = address.packed[:2].hex().lstrip("0") or "0", address.packed[2:].hex().lstrip("0") or "0"
    return f"(?<![0-9a-f])0{{0,3}}{high}{_COLON}0{{0,3}}{low}(?![0-9a-f])"


# --- IPv6 ------------------------------------------------------------------------------------------------------


def _groups(address: Address) -> list[str]:
    return [group.lstrip("0") or "0" for group in address.exploded.split(":")]


def _group_pattern(address: Address) -> re.Pattern[bytes]:
    """An address of the same home, its groups apart; after "ip:" too."""
    first, second, third = _groups(address)[:3]
    start = f"{first}(?<![0-9a-f]{first})"
    written = [f"{_COLON}0{{0,3}}{second}{_COLON}0{{0,3}}{third}(?![0-9a-f])"]
    if third == "0":  # "::" for the third group, or both
        written.append(f"{_COLON}0{{0,3}}{second}{_COLON}{{2}}")
        written += [f"{_COLON}{{2}}"] if second == "0" else []
    rest = rf"(?:{_COLON}{{0,2}}(?<![0-9a-f])[0-9a-f]{{1,4}}(?![0-9a-f])){{0,5}}(?:{_COLON}{{2}})?"
    return re.compile(f"{start}(?:{'|'.join(written)}){rest}".encode())


# --- either ----------------------------------------------------------------------------------------------------


def _digests(address: Address) -> list[str]:
    """What analytics scripts make of it."""
    return [hashlib.new(kind, str(address).encode()).hexdigest() for kind in ("md5", "sha1", "sha256")]


def _hex_of(address: Address) -> Iterator[str]:
    yield from _digests(address)
    packed = address.packed.hex()
    if isinstance(address, ipaddress.IPv6Address):
        yield from (packed[: PREFIX_V6 // 4], packed[: PREFIX_V6 // 4][::-1])
        return
    yield packed
    for colon in _COLON_DIGITS:
        for low in (packed[4:], packed[4:].lstrip("0") or "0"):
            yield (packed[:4].lstrip("0") or "0") + colon + low


def _plain_patterns(address: Address) -> Iterator[str]:
    yield from _digests(address)
    if isinstance(address, ipaddress.IPv4Address):
        for octets in _orders(address):
            yield _octets_pattern(octets)
            yield "".join(f"{octet:03}" for octet in octets)
        yield rf"(?<!\d){int(address)}(?!\d)"
        yield address.packed.hex()
        yield _pair_pattern(address)
        return
    home = address.packed.hex()[: PREFIX_V6 // 4]
    reverse = r"\.".join(home[::-1])
    yield home + "[0-9a-f]{0,20}"
    yield rf"(?<![0-9a-f.])(?:[0-9a-f]\.){{20}}{reverse}"
    yield reverse


def _base64_of(address: Address) -> Iterator[str]:
    """Of its text and of its bytes, whatever stands before it: which of three ways depends on where it begins."""
    for content in (str(address).encode(), address.packed):
        for offset in range(3) if len(content) > 4 else (0,):  # fewer characters would be found by chance
            text = base64.b64encode(bytes(offset) + content).decode()
            known = text[-(-8 * offset // 6) : 8 * (offset + len(content)) // 6]
            yield from {known, known.replace("+", "-").replace("/", "_")}


def _base64_pattern(form: str) -> str:
    # The characters around it may hold some bits of it. Six characters may be a word of a script: alone, they are not.
    letter = "[A-Za-z0-9+/_-]"
    if len(form) < 8:
        return f"(?<!{letter}){re.escape(form)}{letter}(?:==)?(?!{letter})"
    return f"{letter}?{re.escape(form)}{letter}?"
