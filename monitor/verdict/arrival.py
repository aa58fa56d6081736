"""How far the vantage's own path comes: the last hop it reaches, and whose page it gets there."""

import base64
import zlib
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from monitor.models import Http, Purpose
from monitor.verdict.facts import REDIRECTS, Facts, Place
from monitor.verdict.fingerprints import fingerprint
from monitor.verdict.flows import differing_page
from monitor.verdict.names import NameView
from monitor.verdict.pages import challenges, refuses, same_page, shared_headers, similar


class Whose(StrEnum):
    """Whose page came, and what kind."""

    GENUINE = "genuine"
    REFUSAL = "refusal"  # the site's own, to this vantage
    FOREIGN = "foreign"  # the network's
    UNPROVEN = "unproven"
    LOOP = "loop"
    NOTHING = "nothing"


class Arrival(Struct, frozen=True, kw_only=True):
    """Where the own path ends. page: what came there. proof: how we know whose it is (likelihood evidence)."""

    place: Place
    whose: Whose
    page: Http | None = None
    proof: tuple[str, ...] = ()


def arrive(facts: Facts, views: dict[int, NameView]) -> Arrival:
    """Follow the own path hop by hop until something other than a genuine redirect comes."""
    for place in facts.places:
        page = _own_page(facts, place, views[place.hop])
        if page is None:
            return Arrival(place=place, whose=Whose.NOTHING)
        whose, proof = _whose(facts, place, page, views[place.hop])
        last = place is facts.places[-1]
        if whose is not Whose.GENUINE or page.status not in REDIRECTS or last:
            if whose is Whose.GENUINE and page.status in REDIRECTS:
                whose = Whose.LOOP
            return Arrival(place=place, whose=whose, page=page, proof=proof)
    return Arrival(place=Place(hop=0, url=facts.m.url, scheme="http", host="", port=0), whose=Whose.NOTHING)


def _own_page(facts: Facts, place: Place, view: NameView) -> Http | None:
    """The best complete page from an address the system would use: the genuine one before others."""
    own = set(view.addresses) or {s.address for s in facts.tcp(place) if "literal" in s.sources}
    pages = [p for p in facts.http(place) if p.address in own and p.failure is None]
    pages.sort(key=lambda p: (p.address in view.false, not p.verified, p.status is None or p.status >= 400, p.attempt))
    return pages[0] if pages else None


def _whose(facts: Facts, place: Place, page: Http, view: NameView) -> tuple[Whose, tuple[str, ...]]:
    if page.verified:
        return (Whose.REFUSAL if _turned_away(facts, place, page) else Whose.GENUINE), ()
    if fingerprint(page, _text(page), facts.fingerprints):
        return Whose.FOREIGN, ("fingerprint",)
    if page.address in view.false:
        return Whose.FOREIGN, ()
    if page.status in REDIRECTS:
        return _redirect(facts, place, page)
    return _plain(facts, place, page)


def _turned_away(facts: Facts, place: Place, page: Http) -> bool:
    if page.status is not None and page.status >= 400:
        return True
    return challenges(page) and differing_page(facts, place, page)


def _plain(facts: Facts, place: Place, page: Http) -> tuple[Whose, tuple[str, ...]]:
    """Plain http proves nothing by itself: the control, the https side and another address bear witness."""
    pages = [p for p in facts.control_pages(place) if p.failure is None]
    if any(same_page(page, p) for p in pages):
        return (Whose.REFUSAL if refuses(page) else Whose.GENUINE), ()
    secure = [p for p in facts.http(place, Purpose.HTTPS_SIDE) if p.verified and p.failure is None]
    if any(same_page(page, p) for p in secure):
        return (Whose.REFUSAL if refuses(page) else Whose.GENUINE), ()
    if _comes_elsewhere(page, facts.http(place, Purpose.NAME_ELSEWHERE)):
        return Whose.FOREIGN, ("name_cut_elsewhere",)
    if refuses(page) and any(shared_headers(page, p) for p in pages):
        return Whose.REFUSAL, ()
    if pages and any(_same_site(p, c) for p in secure for c in pages):
        return Whose.FOREIGN, ("https_side_differs",)
    if pages and not page.headers and all(p.headers for p in pages):
        return Whose.FOREIGN, ()  # an answer without a single header is no web server's
    if not pages and secure and any(_content(page, p) for p in secure):
        return Whose.GENUINE, ()
    return Whose.UNPROVEN, ()


def _comes_elsewhere(page: Http, elsewhere: Sequence[Http]) -> bool:
    """The very same answer at two addresses that have nothing to do with the site, nor with each other.

    One alone may belong to the content network that serves the site, too.
    """
    return len({p.address for p in elsewhere if p.failure is None and _alike(page, p)}) >= 2


def _same_site(secure: Http, control: Http) -> bool:
    return (
        secure.status is not None and secure.status < 400 and (same_page(secure, control) or similar(secure, control))
    )


def _content(page: Http, other: Http) -> bool:
    return bool(page.sha256 and page.sha256 == other.sha256)


def _alike(page: Http, elsewhere: Http) -> bool:
    """The very same answer for the name from a host that has nothing to do with the site."""
    if page.status != elsewhere.status or (
        (page.location or elsewhere.location) and page.location != elsewhere.location
    ):
        return False
    return page.body_length == elsewhere.body_length == 0 or _content(page, elsewhere) or similar(page, elsewhere)


def _redirect(facts: Facts, place: Place, page: Http) -> tuple[Whose, tuple[str, ...]]:
    there = _host_of(place, page)
    if there is not None and (there == place.host or _kin(there, place.host)):
        return Whose.GENUINE, ()
    pages = [p for p in facts.control_pages(place) if p.failure is None]
    redirects = [p for p in pages if p.status in REDIRECTS]
    if any(_host_of(place, p) == there for p in redirects):
        return Whose.GENUINE, ()
    secure = [p for p in facts.http(place, Purpose.HTTPS_SIDE) if p.verified and p.failure is None]
    if any(_host_of(place, p) == there for p in secure if p.status in REDIRECTS):
        return Whose.GENUINE, ()
    if _comes_elsewhere(page, facts.http(place, Purpose.NAME_ELSEWHERE)):
        return Whose.FOREIGN, ("name_cut_elsewhere",)
    if _ends_alike(facts, place):
        return Whose.GENUINE, ()
    if pages and secure:
        return Whose.FOREIGN, ("https_side_differs",)
    return Whose.UNPROVEN, ()


def _ends_alike(facts: Facts, place: Place) -> bool:
    """Do the redirects end at a proven page that the controls, too, end at?"""
    ends = [p for p in facts.m.http if p.hop > place.hop and p.verified and p.failure is None and p.status == 200]
    others = [p for control in facts.usable for p in control.http if p.failure is None]
    return any(same_page(p, other) for p in ends for other in others)


def _host_of(place: Place, page: Http) -> str | None:
    try:
        return urlsplit(urljoin(place.url, page.location or "")).hostname
    except ValueError:
        return None


def _kin(a: str, b: str) -> bool:
    """The same site but for `www.`; that it is genuine shows at the next hop."""
    return a.removeprefix("www.") == b.removeprefix("www.")


def _text(page: Http) -> str:
    if not page.body:
        return ""
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(page.body), 512 * 1024)
    except (ValueError, zlib.error):
        return ""
    return unpacked.decode("utf-8", "replace")
