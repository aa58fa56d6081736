"""What must not be kept: the vantage's own address in any writing, and what a block page knows of the subscriber.

Taken out before digests are computed: a digest over a page with an IPv4 address in it gives the address away. What is
hidden from a plain reading (in an image, a compressed or encrypted blob, a salted digest, spelled in words) stays.
"""

import base64
import binascii
import hashlib
import ipaddress
import zlib
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from monitor.models import Certificate, Control, Dns, Http, Observations, to_json
from monitor.scrub_subscriber import subscriber_gone, without_subscriber
from monitor.scrub_writings import GONE, Writings
from monitor.steps import page as pages

__all__ = ["GONE", "Scrubber", "without_subscriber"]

_GONE = GONE.decode()
_ADDRESSES = frozenset({"answers", "nonexistent_answers", "address"})
_LARGEST_PAGE = 1024 * 1024
T = TypeVar("T", bound=Struct)


class Scrubber:
    """Knows this vantage's addresses for as long as it lives, and writes them nowhere."""

    def __init__(self, own: Iterable[str]) -> None:
        addresses = [ipaddress.ip_address(text) for text in own]
        self._packed = [address.packed for address in addresses]
        self._writings = Writings(addresses)

    def page(self, body: bytes) -> bytes:
        """The page without this vantage's addresses."""
        return self._writings.without(body)

    def body(self, seen: Http, body: bytes) -> bytes:
        """The page as it may be kept; of somebody who did not prove to be the site, nothing about the subscriber either."""
        body = self.page(body)
        return body if seen.verified else subscriber_gone(body)

    def text(self, text: str) -> str:
        """The same for a header, a URL, a title."""
        return self.page(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def observations(self, seen: Observations) -> Observations:
        """All observations without what must not be kept; pages are cleaned where they are kept."""
        site = _host(seen.hops[0]) if seen.hops else ""
        seen = msgspec.structs.replace(
            seen,
            hops=tuple(without_subscriber(url, site) for url in seen.hops),
            http=tuple(_response(response, site) for response in seen.http),
        )
        return self.without_own(seen)

    def control(self, seen: Control) -> Control:
        """What a control saw, without this vantage's addresses: it was asked for them, or is at home with them."""
        return self.without_own(msgspec.structs.replace(seen, http=tuple(map(self._kept_page, seen.http))))

    def without_own(self, noun: T) -> T:
        """Any noun without this vantage's addresses, in whatever field they stand. Pages are left to `body`."""
        if not self._packed:
            return noun
        printed = to_json(noun)
        # Strings print as they are as far as addresses go: where the whole has none, no field has.
        hit = self.page(printed) != printed
        cleaned: T = self._cleaned("", noun, hit)
        return cleaned

    def _cleaned(self, name: str, value: Any, hit: bool) -> Any:
        if type(value) is str:  # not the words of an enumeration
            return self._word(name, value) if hit else value
        if type(value) is tuple:
            items = tuple(self._cleaned(name, item, hit) for item in value)
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        if not isinstance(value, Struct):
            return value
        value = self._without_bytes(value)
        old = {name: getattr(value, name) for name in value.__struct_fields__ if name not in ("raw", "der", "body")}
        new = {name: self._cleaned(name, item, hit) for name, item in old.items()}
        changed = {name: item for name, item in new.items() if item is not old[name]}
        return msgspec.structs.replace(value, **changed) if changed else value

    def _word(self, name: str, text: str) -> str:
        if name not in _ADDRESSES:
            cleaned = self.text(text)
            return text if cleaned == text else cleaned
        # Evidence: an address that only resembles ours, such as a server's in the same /48, stays.
        try:
            return _GONE if self._holds(ipaddress.ip_address(text).packed) else text
        except ValueError:
            return self.text(text)

    def _holds(self, content: bytes) -> bool:
        return any(packed in content for packed in self._packed)

    def _without_bytes(self, value: Struct) -> Struct:
        """An answer without its bytes, a certificate without its, where those hold the address."""
        kept = value.raw if isinstance(value, Dns) else value.der if isinstance(value, Certificate) else None
        content = _decoded(kept) if kept else b""
        if not content or not (self._holds(content) or self.page(content) != content):
            return value
        # Whoever has the digest of a certificate can look it up.
        gone = {"raw": None} if isinstance(value, Dns) else {"der": "", "sha256": ""}
        return msgspec.structs.replace(value, **gone)

    def _kept_page(self, seen: Http) -> Http:
        """A page that was kept before anybody cleaned it, cleaned, with its digests."""
        body = _unpacked(seen.body) if seen.body else b""
        cleaned = self.page(body)
        if cleaned == body:
            return seen
        return msgspec.structs.replace(
            seen,
            body=pages.kept(cleaned),
            sha256=hashlib.sha256(cleaned).hexdigest(),
            simhash=pages.simhash(cleaned),
        )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _unpacked(body: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(_decoded(body), _LARGEST_PAGE)
    except zlib.error:
        return b""


def _response(seen: Http, site: str) -> Http:
    """A response without what it says of the subscriber."""
    on = _host(seen.url)
    title = seen.title if seen.verified or not seen.title else _private(seen.title)
    return msgspec.structs.replace(
        seen,
        url=without_subscriber(seen.url, site),
        location=without_subscriber(seen.location, site, on) if seen.location else seen.location,
        title=title,
        headers=tuple((name, _header(seen, name, value, site)) for name, value in seen.headers),
    )


def _header(seen: Http, name: str, value: str, site: str) -> str:
    if name.lower() == "set-cookie":  # a session's value is about this machine, its name is not
        return value.split("=", 1)[0] + "=" + _GONE
    if name.lower() == "location":
        return without_subscriber(value, site, _host(seen.url))
    if seen.verified:
        return value
    label = f"{name}: "  # X-Usuario: jperez
    cleaned = _private(label + value)
    return cleaned[len(label) :] if cleaned.startswith(label) else _GONE


def _private(text: str) -> str:
    return subscriber_gone(text.encode("utf-8", "replace")).decode("utf-8", "replace")
