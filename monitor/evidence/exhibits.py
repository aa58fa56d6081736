"""Exhibits: the block pages and the certificates that measurements saw, each once, with where and how often."""

import base64
import binascii
import hashlib
import ssl
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct, field

from monitor.language import Words
from monitor.models import Certificate, Http, Measurement, Observations, Purpose, Status, Tls
from monitor.steps.page import decoded
from monitor.web.strangers import line, page_text

ACCEPTED = "accepted"
MOST_PAGES = 40
MOST_CERTIFICATES = 400
_MOST_BODY = 512 * 1024  # bytes of a page, unpacked
_SITE = (Purpose.SITE, Purpose.HTTPS_SIDE)


class BlockPage(Struct, kw_only=True):
    """A page that came instead of the site's. seen: how often it was fetched, by how many measurements, on which
    networks; latest: the last of them.
    """

    name: str
    response: Http
    source: str
    first: datetime
    seen: int = 0
    measurements: int = 0
    latest: str = ""
    networks: Counter[str] = field(default_factory=Counter)


class SeenCertificate(Struct, kw_only=True):
    """A certificate that was shown. here, there: how often to the probes, and to the controls; verified: as what."""

    certificate: Certificate
    digest: str
    here: int = 0
    there: int = 0
    names: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)


class Exhibits:
    """Collected from measurements as they go by."""

    def __init__(self) -> None:
        self.pages: dict[str, BlockPage] = {}
        self.certificates: dict[str, SeenCertificate] = {}
        self.left_out = 0

    def add(self, one: Measurement) -> None:
        """What a measurement has of them."""
        if one.verdict is not None and one.verdict.status is Status.BLOCKED:
            for response in one.http:
                if response.purpose is Purpose.SITE and not response.verified and response.body:
                    self._page(one, response)
        self._chains(one, here=True)
        for control in one.controls:
            self._chains(control, here=False)

    def _page(self, one: Measurement, response: Http) -> None:
        body = _unpacked(response.body or "")
        key = hashlib.sha256(body).hexdigest()  # not what somebody says that it is: another's page would stand for it
        if not body or (key not in self.pages and len(self.pages) >= MOST_PAGES):
            self.left_out += bool(body)
            return
        if key not in self.pages:
            source = decoded(body, _kind(response))
            name = f"page-{len(self.pages) + 1:02}"
            self.pages[key] = BlockPage(name=name, response=response, source=source, first=one.started)
        known = self.pages[key]
        known.seen += 1
        known.measurements += known.latest != one.id
        known.latest = one.id
        known.networks[one.network.isp or f"AS{one.network.asn}"] += 1

    def _chains(self, seen: Observations, *, here: bool) -> None:
        for handshake in seen.tls:
            if handshake.purpose in _SITE:
                for certificate in handshake.chain:
                    self._certificate(certificate, handshake, here=here)

    def _certificate(self, certificate: Certificate, handshake: Tls, *, here: bool) -> None:
        der = _decoded(certificate.der)
        key = hashlib.sha256(der).hexdigest()  # not what somebody says that it is: files are called by it
        if not der or (key not in self.certificates and len(self.certificates) >= MOST_CERTIFICATES):
            return
        known = self.certificates.setdefault(key, SeenCertificate(certificate=certificate, digest=key))
        known.here, known.there = known.here + here, known.there + (not here)
        known.names[handshake.server_name] += 1
        known.verified[handshake.verify or ACCEPTED] += 1


def page_file(page: BlockPage, w: Words) -> str:
    """A block page as text: where it came from, its words, and its source, which no program takes for a page."""
    response, networks = page.response, ", ".join(line(name, 60) for name in sorted(page.networks))
    head = [
        f"URL: {line(response.url, 500)}",
        w.text("Address: {address} port {port}", address=line(response.address), port=response.port),
        w.text("First seen: {time}", time=_minute(page.first)), w.text("Seen: {times}", times=fetches(page, w)),
        w.text("Networks: {networks}", networks=networks), w.text("Status: {status}", status=response.status),
        f"SHA-256: {line(response.sha256)}",
    ]  # fmt: skip
    headers = "\n".join(f"{line(name, 100)}: {line(value, 500)}" for name, value in response.headers)
    parts = (
        (w.text("headers"), headers), (w.text("words"), words_of(page)), (w.text("source"), _plain(page.source)),
    )  # fmt: skip
    return "\n\n".join(["\n".join(head), *(f"--- {name} ---\n{content}" for name, content in parts)]) + "\n"


def fetches(page: BlockPage, w: Words) -> str:
    """How often it came: a measurement asks several times."""
    fetched = w.many("fetched once", "fetched {count} times", page.seen)
    by = w.many("by {count} measurement", "by {count} measurements", page.measurements)
    return f"{fetched} {by}"


def words_of(page: BlockPage) -> str:
    """What a visitor would read."""
    return page_text(page.response) or ""


def certificate_file(seen: SeenCertificate, w: Words) -> str:
    """A certificate: what it says, and itself as PEM, so that `openssl x509` reads the file."""
    one = seen.certificate
    told = [
        w.text("Subject: {name}", name=line(one.subject, 500)), w.text("Issuer: {name}", name=line(one.issuer, 500)),
        w.text("Names: {names}", names=", ".join(line(name, 255) for name in one.names)),
        w.text("Valid from: {time}", time=_minute(one.not_before)),
        w.text("Valid until: {time}", time=_minute(one.not_after)), f"SHA-256: {seen.digest}",
        w.many("Shown to the probes: {count} time", "Shown to the probes: {count} times", seen.here),
        w.many("Shown to the controls: {count} time", "Shown to the controls: {count} times", seen.there),
        w.text("Asked for: {names}", names=", ".join(sorted(line(name, 255) for name in seen.names))),
        w.text("Verified: {results}", results="; ".join(sorted(verified(said, w) for said in seen.verified))),
    ]  # fmt: skip
    return "\n".join([*told, "", ssl.DER_cert_to_PEM_cert(_decoded(one.der))])


def verified(result: str, w: Words) -> str:
    """What the check of a certificate said."""
    return w.text("accepted") if result == ACCEPTED else line(result)


def sorted_certificates(found: Iterable[SeenCertificate]) -> Iterator[SeenCertificate]:
    """Those that were rejected first."""
    return iter(sorted(found, key=lambda one: (ACCEPTED in one.verified, one.digest)))


def _unpacked(body: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(_decoded(body), _MOST_BODY)
    except zlib.error:
        return b""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _kind(response: Http) -> str | None:
    return next((value for name, value in response.headers if name.lower() == "content-type"), None)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _minute(moment: datetime | None) -> str:
    try:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else "?"
    except OverflowError:  # somewhere else it is still the year 9999
        return "?"
