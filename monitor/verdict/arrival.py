"""How far the vantage's own path comes: the last hop it reaches, and whose page it gets there."""

from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from monitor.models import Http, Purpose
from monitor.verdict.facts import REDIRECTS, Facts, Place
from monitor.verdict.fingerprints import fingerprint, text_of
from monitor.verdict.flows import differing_page
from monitor.verdict.names import NameView
from monitor.verdict.pages import challenges, refuses, same_content, same_page, shared_headers, similar, surely_same

ALIKE = "alike"  # genuine by its length or its headers only


class Whose(StrEnum):
    """Whose page came, and what kind."""

    GENUINE = "genuine"
    REFUSAL = "refusal"  # the site's own, to this vantage
    FOREIGN = "foreign"  # the network's
    UNPROVEN = "unproven"
    LOOP = "loop"
    NOTHING = "nothing"


# Of several pages: the site's own before the network's, and that before what nobody can tell.
_PREFERRED = (Whose.GENUINE, Whose.REFUSAL, Whose.FOREIGN, Whose.UNPROVEN)
MAX_PAGES = 16


class Arrival(Struct, frozen=True, kw_only=True):
    """Where the own path ends. page: what came there. proof: how we know whose it is (likelihood evidence, or ALIKE)."""

    place: Place
    whose: Whose
    page: Http | None = None
    proof: tuple[str, ...] = ()


def arrive(facts: Facts, views: dict[int, NameView]) -> Arrival:
    """Follow the own path hop by hop until something other than a genuine redirect comes."""
    *before, last = facts.places
    for place in before:
        here = _at(facts, place, views[place.hop])
        if here.whose is not Whose.GENUINE or here.page is None or here.page.status not in REDIRECTS:
            return here
    end = _at(facts, last, views[last.hop])
    loops = end.whose is Whose.GENUINE and end.page is not None and end.page.status in REDIRECTS
    return replace(end, whose=Whose.LOOP) if loops else end


def _at(facts: Facts, place: Place, view: NameView) -> Arrival:
    """The best of the pages that came: one attempt that reached the site is enough."""
    arrivals = [_one(facts, place, view, page) for page in _own_pages(facts, place, view)]
    best = sorted(arrivals, key=lambda arrival: _PREFERRED.index(arrival.whose))
    return best[0] if best else Arrival(place=place, whose=Whose.NOTHING)


def _one(facts: Facts, place: Place, view: NameView, page: Http) -> Arrival:
    whose, proof = _whose(facts, place, page, view)
    return Arrival(place=place, whose=whose, page=page, proof=proof)


def _own_pages(facts: Facts, place: Place, view: NameView) -> list[Http]:
    """Complete pages from addresses the system would use, the likeliest first."""
    own = set(view.addresses) or {s.address for s in facts.tcp(place) if "literal" in s.sources}
    pages = [p for p in facts.http(place) if p.address in own and p.failure is None]

    def rank(p: Http) -> tuple[bool, bool, bool, bool, int]:
        return p.address in view.false, not p.verified, (p.status or 999) >= 400, p.status in REDIRECTS, p.attempt

    return sorted(pages, key=rank)[:MAX_PAGES]


def _whose(facts: Facts, place: Place, page: Http, view: NameView) -> tuple[Whose, tuple[str, ...]]:
    if page.verified:
        return (Whose.REFUSAL if _turned_away(facts, place, page) else Whose.GENUINE), ()
    if fingerprint(page, text_of(page), facts.fingerprints) and not _known_to_others(facts, place, page, view):
        return Whose.FOREIGN, ("fingerprint",)
    if page.address in view.false:
        return Whose.FOREIGN, ()
    if page.status in REDIRECTS:
        return _redirect(facts, place, page)
    return _plain(facts, place, page, view)


def _known_to_others(facts: Facts, place: Place, page: Http, view: NameView) -> bool:
    """An article may quote a block page: then the control, or the site's https side, has the same page."""
    secure = [p for p in facts.http(place, Purpose.HTTPS_SIDE) if p.verified and p.failure is None]
    others = [
        p for p in _witnesses(facts, place, page, view) if p.address != page.address or page.address not in view.false
    ]
    return any(surely_same(page, p) for p in (*others, *secure))


def _turned_away(facts: Facts, place: Place, page: Http) -> bool:
    if page.status is not None and page.status >= 400:
        return True
    return challenges(page) and differing_page(facts, place, page)


def _witnesses(facts: Facts, place: Place, page: Http, view: NameView) -> list[Http]:
    """What the controls got; where the address is in doubt, what they got there is no witness if they got it elsewhere."""
    pages = [p for p in facts.control_pages(place) if p.failure is None]
    doubtful = page.address not in view.truth.addresses
    return [p for p in pages if not doubtful or p.address != page.address] or pages


def _plain(facts: Facts, place: Place, page: Http, view: NameView) -> tuple[Whose, tuple[str, ...]]:
    """Plain http proves nothing by itself: the control, the https side and another address bear witness."""
    pages = _witnesses(facts, place, page, view)
    if any(surely_same(page, p) for p in pages):
        return (Whose.REFUSAL if refuses(page) else Whose.GENUINE), ()
    secure = [p for p in facts.http(place, Purpose.HTTPS_SIDE) if p.verified and p.failure is None]
    if any(same_page(page, p) for p in secure):
        return (Whose.REFUSAL if refuses(page) else Whose.GENUINE), ()
    if _comes_elsewhere(facts, place, page):
        return Whose.FOREIGN, ("name_cut_elsewhere",)
    if any(same_page(page, p) for p in pages):
        return (Whose.REFUSAL, ()) if refuses(page) else (Whose.GENUINE, (ALIKE,))
    if refuses(page) and any(shared_headers(page, p) for p in pages):
        return Whose.REFUSAL, ()
    if _steady(facts, place, page) and any(_same_site(p, c) for p in secure for c in pages):
        return Whose.FOREIGN, ("https_side_differs",)
    if pages and not page.headers and all(p.headers for p in pages):
        return Whose.FOREIGN, ()  # an answer without a single header is no web server's
    return Whose.UNPROVEN, ()


def _steady(facts: Facts, place: Place, page: Http) -> bool:
    """Did every attempt get such a page, and no error or refusal, which a server gives by chance or by country?"""
    attempts = [p for p in facts.http(place) if p.address == page.address and p.failure is None]
    return (page.status or 0) < 300 and len(attempts) >= 3 and all(_alike(page, p) for p in attempts)


def _comes_elsewhere(facts: Facts, place: Place, page: Http) -> bool:
    """The very same answer at two addresses that have nothing to do with the site, nor with each other.

    One alone may belong to the content network that serves the site, too; and one that shows a valid certificate for
    the name does.
    """
    own = {s.address for s in facts.tls(place, Purpose.NAME_ELSEWHERE) if s.failure is None}
    seen = [p for p in facts.http(place, Purpose.NAME_ELSEWHERE) if p.failure is None and p.address not in own]
    return len({p.address for p in seen if _alike(page, p)}) >= 2


def _same_site(secure: Http, control: Http) -> bool:
    return (
        secure.status is not None and secure.status < 400 and (same_page(secure, control) or similar(secure, control))
    )


def _alike(page: Http, elsewhere: Http) -> bool:
    """The very same answer for the name from a host that has nothing to do with the site."""
    if page.status != elsewhere.status or (
        (page.location or elsewhere.location) and page.location != elsewhere.location
    ):
        return False
    return page.body_length == elsewhere.body_length == 0 or same_content(page, elsewhere) or similar(page, elsewhere)


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
    if _comes_elsewhere(facts, place, page):
        return Whose.FOREIGN, ("name_cut_elsewhere",)
    if _ends_alike(facts, place):
        return Whose.GENUINE, ()
    return Whose.UNPROVEN, ()


def _ends_alike(facts: Facts, place: Place) -> bool:
    """Do the redirects end at a proven page that the controls, too, end at?"""
    ends = [p for p in facts.m.http if p.hop > place.hop and p.verified and p.failure is None and p.status == 200]
    # Not what a control was asked for at a later hop: that only tells where our own redirects led.
    followed = [c for c in facts.usable if c.http and min(p.hop for p in c.http) == 0]
    others = [p for control in followed for p in control.http if p.failure is None]
    return any(same_page(p, other) for p in ends for other in others)


def _host_of(place: Place, page: Http) -> str | None:
    try:
        return urlsplit(urljoin(place.url, page.location or "")).hostname
    except ValueError:
        return None


def _kin(a: str, b: str) -> bool:
    """The same site but for `www.`; that it is genuine shows at the next hop."""
    return a.removeprefix("www.") == b.removeprefix("www.")
