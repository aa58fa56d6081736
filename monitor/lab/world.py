"""The world: everything there is in the lab, as plain data that its processes pass to each other."""

from msgspec import Struct

from monitor.lab.policy import Policy


class Host(Struct, kw_only=True):
    """One machine and its line. delay_s: one way; rate: bytes per second; routed: it has a way out at all."""

    name: str
    addresses: tuple[str, ...]
    delay_s: float
    rate: float
    loss: float = 0.0
    routed: bool = True


class Line(Host, kw_only=True):
    """A vantage's line. clock_days: how far the world it sees is from now. helper: "own", "dead", "overloaded".

    guests: the addresses that the world sees of a host that moved to this network, behind its router.
    """

    isp: str
    asn: int
    country: str
    resolvers: tuple[str, ...]
    guests: tuple[str, ...] = ()
    clock_days: int = 0
    helper: str = "own"


class Place(Struct, kw_only=True):
    """One server address. delay_s: one way; rate: bytes per second.

    kind: "sites" (those that have this address), "relay" (any site), "notice" (`page` over http, a self-signed
    certificate over https), "interceptor" (any site, with another authority's certificate), "portal" (sends everybody to
    `page`), "injector" (any site over http, with an advertisement in it), "overloaded" (503, with a good certificate for
    whatever name).
    """

    kind: str
    delay_s: float
    rate: float
    page: str = ""


class Resolver(Struct, kw_only=True):
    """Who answers DNS at an address.

    kind: "honest", "dead", "advertising" (`advert` instead of NXDOMAIN), "mirror" (tells who asks, and nothing else).

    region: whose answers it gives of a CDN.
    """

    kind: str = "honest"
    region: str = ""
    advert: str = ""


class Zone(Struct, kw_only=True):
    """What DNS says of a name. by_region: a CDN's other answers. trouble: "", "servfail", "dnssec" (answered only with CD=1)."""

    addresses: tuple[str, ...] = ()
    by_region: dict[str, tuple[str, ...]] = {}
    alias: str = ""
    trouble: str = ""


class Site(Struct, kw_only=True):
    """A web site. http: what port 80 says: "page", "redirect" (to https), "closed"; https likewise: "page", "closed".

    certificate: "good", "expired", "self-signed", "wrong-name". varies: "", "language", "chance".
    refuses: a country -> "403", "451", "captcha". challenges_control: a CAPTCHA for data centres.
    redirect: a URL, or "loop".
    """

    name: str
    addresses: tuple[str, ...]
    language: str
    size: int  # bytes of its page
    http: str = "redirect"
    https: str = "page"
    certificate: str = "good"
    http2: bool = False
    status: int = 200
    varies: str = ""
    refuses: dict[str, str] = {}
    challenges_control: bool = False
    first_byte_s: float = 0.0
    redirect: str = ""
    gzip: bool = False
    chunked: bool = False
    fresh: bool = False  # a token in the page changes with every request
    record: int = 16_384  # bytes in a TLS record: nothing of one can be read before all of it has come

    @property
    def url(self) -> str:
        """Its page, by the scheme it prefers."""
        return f"{'http' if self.http == 'page' else 'https'}://{self.name}/"


class Case(Struct, kw_only=True):
    """One scenario as drawn: the URL to measure and the line to measure it from."""

    scenario: str
    line: str
    url: str


class World(Struct, kw_only=True):
    """All of it. policies: (a host or everyone, what befalls it), in force from the start."""

    seed: int
    control: Host
    helper: str  # its name
    busy_helper: str = ""  # the name of one that is overloaded
    lines: dict[str, Line]
    places: dict[str, Place]
    resolvers: dict[str, Resolver]
    zones: dict[str, Zone]
    sites: dict[str, Site]
    policies: tuple[tuple[str, Policy], ...]
    cases: tuple[Case, ...]
    neutral: tuple[str, ...]  # URLs
    doh: tuple[str, ...]  # URLs

    def networks(self) -> dict[str, tuple[int, str, str]]:
        """Address -> (number, name, country) of the network that announces it."""
        found = {address: (1103, "SURFNET", "NL") for address in self.control.addresses}
        for line in self.lines.values():
            found |= dict.fromkeys((*line.addresses, *line.guests), (line.asn, line.isp, line.country))
        return found

    def served(self, name: str, address: str) -> Site | None:
        """The site of that name, where the address serves it."""
        site = self.sites.get(name)
        if site is None or (self.places[address].kind == "sites" and address not in site.addresses):
            return None
        return site

    def site_of(self, url: str) -> Site:
        """The site that a URL or a name belongs to."""
        name = url.partition("://")[2].partition("/")[0] or url
        return self.sites[name.partition(":")[0]]
