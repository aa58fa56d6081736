"""What a page looks like: its title, and a fingerprint that near-identical pages nearly share. Bytes are hostile."""

import base64
import codecs
import re
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from html.parser import HTMLParser
from operator import xor

MAX_TITLE_CHARACTERS = 200
# Nobody's title stands further down, and html.parser takes its time: 50 ms for the worst 32 KB we could think of.
TITLE_WINDOW_BYTES = 32 * 1024
_PIECE_CHARACTERS = 4096
# Of three pages two are such as just came, to another attempt or from another address (counted in the lab).
_REMEMBERED = 32

SIMHASH_BITS = 64
# Bounds that keep it near a millisecond; whether two pages are alike shows long before.
SIMHASH_WINDOW_BYTES = 64 * 1024
MAX_TOKENS = 4096
# The smallest hashes of all shingles are a fair sample of them, and the same sample for nearly the same page.
MAX_SHINGLES = 256

_CHARSET = re.compile(rb"charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([a-z0-9_:.\-]{1,40})", re.IGNORECASE)
# Those that browsers know (encoding.spec.whatwg.org), by Python's names. Python has others: half a megabyte in `punycode`,
# which it decodes in quadratic time, takes two minutes.
_CHARSETS = frozenset({
    "ascii", "big5", "big5hkscs", "cp866", "cp932", "cp949", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "iso2022_jp",
    "koi8-r", "koi8-u", "mac-cyrillic", "mac-roman", "shift_jis", "tis-620", "utf-16", "utf-16-be", "utf-16-le", "utf-8",
    *(f"iso8859-{number}" for number in range(1, 17)), *(f"cp{number}" for number in (874, *range(1250, 1259))),
})  # fmt: skip
_TITLE = re.compile(rb"<title", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


def title(body: bytes, content_type: str | None) -> str | None:
    """The text of the page's first title, or None."""
    window = body[:TITLE_WINDOW_BYTES]
    return None if _TITLE.search(window) is None else _title(window, content_type)


@lru_cache(_REMEMBERED)
def _title(window: bytes, content_type: str | None) -> str | None:
    reader = _TitleReader()
    reader.read(decoded(window, content_type))
    text = _SPACE.sub(" ", "".join(reader.parts)).strip()
    visible = "".join(character for character in text if character.isprintable())
    return visible[:MAX_TITLE_CHARACTERS] or None


class _TitleReader(HTMLParser):
    """Reads up to the end of the first title."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._inside = False
        self._done = False

    def read(self, text: str) -> None:
        # Piece by piece, because most titles stand at the very top.
        for start in range(0, len(text), _PIECE_CHARACTERS):
            try:
                self.feed(text[start : start + _PIECE_CHARACTERS])
            except (AssertionError, ValueError):  # how html.parser rejects some malformed declarations
                return
            if self._done:
                return
        if self._inside:
            self.parts.append(self.rawdata[:MAX_TITLE_CHARACTERS])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self._done:
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._inside:
            self._inside, self._done = False, True

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.parts.append(data)


def decoded(body: bytes, content_type: str | None) -> str:
    """The page's text. The charset is the header's, else the page's, else guessed."""
    header = (content_type or "")[:500].encode("utf-8", "replace")
    declared = _CHARSET.search(header) or _CHARSET.search(body[:2048])
    charset = _known(declared[1].decode()) if declared else "utf-8"
    if charset != "utf-8":
        return body.decode(charset, "replace")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        cut_character = error.start > len(body) - 4
        return body.decode("utf-8" if cut_character else "cp1252", "replace")


def _known(charset: str) -> str:
    """A charset by Python's name; one that is none, or none of text, is taken for utf-8."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name in _CHARSETS else "utf-8"


def simhash(body: bytes) -> str:
    """64-bit hash of word pairs and tags, hex (Charikar 2002): near-identical pages differ in few bits."""
    return _simhash(body[:SIMHASH_WINDOW_BYTES])


@lru_cache(_REMEMBERED)
def _simhash(window: bytes) -> str:
    tokens = _tokens(window)
    hashes = list(map(zlib.crc32, tokens))
    pairs = set(map(xor, hashes, hashes[1:]))
    return _majority([*_smallest(pairs), *map(zlib.crc32, _tag_counts(tokens))])


# Tags and words of letters only: numbers are clocks, counters and session ids. All else becomes a space.
_LETTERS = bytes(
    byte | 0x20 if 65 <= byte <= 90 else byte if 97 <= byte <= 122 or byte >= 0x80 or byte == 60 else 32
    for byte in range(256)
)


def _tokens(window: bytes) -> list[bytes]:
    return window.translate(_LETTERS).replace(b"<", b" <").split(None, MAX_TOKENS)[:MAX_TOKENS]


def _smallest(hashes: Collection[int]) -> list[int]:
    """The MAX_SHINGLES smallest."""
    if len(hashes) > 3 * MAX_SHINGLES:
        limit = 2 * MAX_SHINGLES * (1 << 32) // len(hashes)
        below = [value for value in hashes if value < limit]
        hashes = below if len(below) >= MAX_SHINGLES else hashes
    return sorted(hashes)[:MAX_SHINGLES]


def _tag_counts(tokens: Iterable[bytes]) -> list[bytes]:
    """Each tag with the magnitude of its count: a page's skeleton, whatever its words."""
    counts = Counter(token for token in tokens if token[0] == 60)
    return [b"%s*%d" % (tag, count.bit_length()) for tag, count in counts.items()]


# For each byte, its 8 bits spread over 8 lanes of 24 bits: adding such numbers counts all the bits at once.
_LANES = tuple(sum((byte >> bit & 1) << 24 * bit for bit in range(8)) for byte in range(256))


def _majority(features: list[int]) -> str:
    """The bits that more than half of the features have."""
    packed = struct.pack(f"<{len(features)}Q", *map(_spread, features))
    value = 0
    for place in range(8):
        total = sum(map(_LANES.__getitem__, packed[place::8]))
        for bit in range(8):
            value = value << 1 | (2 * (total >> 24 * bit & 0xFFFFFF) > len(features))
    return f"{value:016x}"


def _spread(feature: int) -> int:
    """32 bits to 64 well-mixed ones (the finalizer of splitmix64)."""
    mixed = (feature + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 31


@lru_cache(_REMEMBERED // 4)  # whole pages
def kept(body: bytes) -> str:
    """A page as a measurement keeps it."""
    return base64.b64encode(zlib.compress(body)).decode()


def distance(first: str, second: str) -> int:
    """How many of the 64 bits differ; 64 where either is no fingerprint."""
    try:
        return min((int(first, 16) ^ int(second, 16)).bit_count(), SIMHASH_BITS)
    except ValueError:
        return SIMHASH_BITS
