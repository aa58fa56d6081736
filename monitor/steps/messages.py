"""An HTTP request, and the response as it grows: whatever ends it, what has arrived is kept. Its bytes are hostile."""

import asyncio
import zlib
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from msgspec import Struct

MAX_HEADERS = 100
MAX_HEADER_NAME_CHARACTERS = 128
MAX_HEADER_CHARACTERS = 4096
MAX_LOCATION_CHARACTERS = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW_DEFLATE = -zlib.MAX_WBITS
# Of latin-1: C0, DEL and C1.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))

Headers = tuple[tuple[str, str], ...]


class Request(Struct, frozen=True, kw_only=True):
    """What is sent. `target`: path and query. `authority`: the host, with an unusual port."""

    method: str
    scheme: str
    authority: str
    target: str
    headers: Headers
    body: bytes


def request(method: str, url: str, headers: Headers, body: bytes) -> Request:
    """The request for a URL, percent-encoded where need be. Raises ValueError where it is no URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("ascii").decode()
    if not host:
        raise ValueError(f"{url!r}: no host")
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Request(
        method=method,
        scheme=parts.scheme,
        authority=host,
        target=quote(target, safe="/?%:@!$&'()*+,;=~-._[]|"),
        headers=headers,
        body=body,
    )


class Body:
    """The decoded content, at most `cap` bytes, however small the bytes were that made it (zlib bombs)."""

    def __init__(self, cap: int) -> None:
        self.content = bytearray()
        self.truncated = False
        self._cap = cap
        self._encoding = ""
        self._decoder: zlib._Decompress | None = None
        self._held = b""

    def encoded(self, encoding: str) -> None:
        """By its Content-Encoding. An encoding that we did not offer is kept as it comes."""
        encoding = encoding.strip().lower()
        self._encoding = encoding if encoding in ("gzip", "x-gzip", "deflate") else ""

    def feed(self, data: bytes) -> None:
        """Takes more of it. Raises zlib.error where that is not the encoding it was said to be."""
        if not self._encoding:
            self._keep(data)
        elif self._decoder is None:
            self._held += data
            if len(self._held) >= 2:
                self._decoder = zlib.decompressobj(self._window_bits(self._held))
                self._decode(self._held)
        else:
            self._decode(data)

    @property
    def finished(self) -> bool:
        """Whether it says itself that this was all: by the trailer of its encoding, or the end of its HTML."""
        if self._decoder is not None:
            return self._decoder.eof
        return b"</html>" in self.content[-64:].lower()

    def _window_bits(self, start: bytes) -> int:
        """Some servers mean zlib by `deflate`, as RFC 9110 does, others a bare deflate stream."""
        bare = self._encoding == "deflate" and (start[0] & 0x0F != 8 or int.from_bytes(start[:2]) % 31 != 0)
        return _RAW_DEFLATE if bare else _ZLIB_OR_GZIP

    def _decode(self, data: bytes) -> None:
        if self._decoder is not None and not self._decoder.eof:
            self._keep(self._decoder.decompress(data, self._cap - len(self.content) + 1))

    def _keep(self, data: bytes) -> None:
        room = self._cap - len(self.content)
        self.content += data[:room]
        self.truncated = self.truncated or len(data) > room


class Response:
    """What has arrived of the response. Times are the event loop's."""

    def __init__(self, cap: int) -> None:
        self.status: int | None = None
        self.headers: Headers = ()
        self.body = Body(cap)
        self.complete = False
        self.failure: str | None = None
        self.sent_at: float | None = None
        self.first_at: float | None = None

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The head is here."""
        self.status = status
        self.headers = tuple(_header(name, value) for name, value in list(headers)[:MAX_HEADERS])
        self.body.encoded(self.header("content-encoding") or "")

    def header(self, name: str) -> str | None:
        """The first value of a header, named in lower case."""
        return next((value for named, value in self.headers if named == name), None)

    def declared_length(self) -> int | None:
        """Content-Length, where it is a number."""
        text = self.header("content-length") or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def sent(self) -> None:
        """The request is on its way."""
        self.sent_at = asyncio.get_running_loop().time()

    def arrived(self, moment: float | None) -> None:
        """Bytes of it came in at that moment."""
        if self.first_at is None:
            self.first_at = moment


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    return _plain(name)[:MAX_HEADER_NAME_CHARACTERS].lower(), _plain(value)[:MAX_HEADER_CHARACTERS]


def _plain(text: bytes) -> str:
    """As text, without control characters."""
    return text.decode("latin-1").translate(_CONTROLS)
