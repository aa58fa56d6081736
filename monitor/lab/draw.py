"""Draws a world from a seed: every name, address, delay and size, so that nothing can be tuned to them."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from random import Random

from monitor.lab.content import CONNECTIVITY
from monitor.lab.lines import DOH, HELPER, ISPS, LINES, RESOLVERS, Outline, Trouble
from monitor.lab.pages import LANGUAGES, notice
from monitor.lab.policy import EVERYONE, LIES, Policy
from monitor.lab.scenario import Page, Rule, Scenario, Side
from monitor.lab.world import Case, Host, Line, Place, Resolver, Site, World, Zone

KNOWN_PHRASE = "Contenido restringido por disposición administrativa, expediente CX-4471-Q"
_DOH = {"dns.quad9.net": "9.9.9.9", "cloudflare-dns.com": "1.1.1.1", "dns.google": "8.8.8.8"}
# What tells who asks: OpenDNS, and Google's own name server.
_MIRRORS = ("208.67.222.222", "216.239.32.10")
_PUBLIC_RESOLVERS = (*_DOH.values(), "8.8.4.4", "1.0.0.1")
_PREFIXES = ("el", "la", "diario", "radio", "punto", "tal", "noti", "vox", "canal", "alba")
_STEMS = ("ca", "ru", "mo", "zel", "tan", "vi", "por", "lu", "gri", "den", "sa", "que", "bor", "fi", "ne", "jal")
_ENDINGS = ("com", "net", "org", "info", "com.ve", "co", "es", "news")


def draw(
    seed: int,
    scenarios: Iterable[Scenario] = (),
    *,
    sites: Mapping[str, Page] | None = None,
    healthy: int = 0,
    lines: Mapping[str, Outline] = ISPS,
) -> World:
    """A world with the lines given, those that the scenarios need, and healthy sites: those named, and so many more."""
    wanted = list(scenarios)
    needed = {scenario.line: LINES[scenario.line] for scenario in wanted if scenario.line}
    artist = _Artist(seed)
    artist.services()
    for name, outline in (dict(lines) | needed).items():
        artist.line(name, outline)
    for name, page in (sites or {}).items():
        artist.site(page, name=name)
    for _ in range(healthy):
        artist.site(Page())
    for scenario in wanted:
        artist.scenario(scenario, sorted(lines))
    return artist.world


class _Artist:
    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._used: set[str] = set()
        self._hops: dict[str, list[Site]] = {}
        self._policies: list[tuple[str, Policy]] = []
        self._cases: list[Case] = []
        control = Host(name="control", addresses=(self._address(), self._address6()), delay_s=0.004, rate=12_500_000.0)
        self.world = World(
            seed=seed,
            control=control,
            helper=self._name(),
            lines={},
            places={},
            resolvers={},
            zones={},
            sites={},
            policies=(),
            cases=(),
            neutral=(),
            doh=tuple(f"https://{name}/dns-query" for name in _DOH),
        )

    def services(self) -> None:
        """What every world has: public resolvers, DoH, the helper's name, an overloaded helper, neutral sites."""
        world = self.world
        for address in _PUBLIC_RESOLVERS:
            self._place("sites", address)
            world.resolvers[address] = Resolver(region="public")
        for address in _MIRRORS:
            self._place("sites", address)
            world.resolvers[address] = Resolver(kind="mirror")
        for name, address in _DOH.items():
            world.zones[name] = Zone(addresses=(address,))
            world.sites[name] = Site(name=name, addresses=(address,), language="en", size=2000, http2=True)
        world.zones[world.helper] = Zone(addresses=world.control.addresses)
        busy = self._name()
        world.zones[busy] = Zone(addresses=(self._place("overloaded"),))
        world.busy_helper = busy
        modest = (15_000, 40_000)
        secure = [self.site(Page(ipv6=True, size=modest)).url for _ in range(3)]
        plain = [self.site(Page(scheme="http", ipv6=True, size=modest)).url + path for path in CONNECTIVITY]
        world.neutral = (*secure, *plain)

    def line(self, name: str, outline: Outline) -> None:
        """A line, its resolvers, and what is wrong with it."""
        chance = self._chance
        resolvers = tuple(self._resolver(name, outline.resolver) for _ in range(2))
        ipv6 = chance.random() < 0.5 if outline.ipv6 is None else outline.ipv6
        self.world.lines[name] = Line(
            name=name,
            addresses=(self._address(), self._address6()) if ipv6 else (self._address(),),
            delay_s=outline.rtt_s / 2 if outline.rtt_s is not None else chance.uniform(0.002, 0.025),
            rate=float(outline.rate or chance.randint(1_000_000, 6_000_000)),
            loss=outline.loss,
            routed=outline.routed,
            isp=outline.isp,
            asn=outline.asn,
            country=outline.country,
            resolvers=resolvers,
            guests=(self._address(), self._address6()),
            clock_days=outline.clock_days * chance.choice((-1, 1)),
            helper=outline.helper,
        )
        for trouble in outline.troubles:
            self._befall(name, self._trouble(trouble, resolvers))

    def site(self, page: Page, *, name: str = "", redirect: str = "", addresses: tuple[str, ...] = ()) -> Site:
        """A site, its addresses and its zone."""
        name = name or self._name()
        by_region = {region: self._site_addresses(page) for region in self.world.lines} if page.cdn else {}
        own = addresses or (self._site_addresses(page) if page.exists else ())
        reached = tuple(dict.fromkeys([*own, *(address for some in by_region.values() for address in some)]))
        site = self._dressed(page, name, reached, redirect)
        self.world.sites[name] = site
        if page.exists:
            alias = f"{name.replace('.', '-')}.edge-{self._chance.randrange(99)}.net" if page.cdn else ""
            self.world.zones[name] = Zone(addresses=own, by_region=by_region, alias=alias, trouble=page.trouble)
        if site.https == "closed":
            self._befall(EVERYONE, Policy(technique="tcp-reset", addresses=reached, ports=(443,)))
        return site

    def scenario(self, scenario: Scenario, isps: list[str]) -> None:
        """The sites of a scenario, what befalls them, and its case."""
        beside = self._hops.get(scenario.beside)
        hops: list[Site] = []
        redirect = ""
        for page in reversed(scenario.hops):
            hops.insert(0, self.site(page, redirect=redirect, addresses=beside[0].addresses if beside else ()))
            redirect = hops[0].url
        neighbour = next((case for case in self._cases if case.scenario == scenario.beside), None)
        line = neighbour.line if neighbour else scenario.line or self._chance.choice(isps)
        for rule in scenario.rules:
            where = {Side.ISP: line, Side.ORIGIN: EVERYONE, Side.CONTROL: "control"}[rule.side]
            self._befall(where, self._policy(rule, hops, line))
        url = f"{scenario.entry}://{hops[0].name}/" if scenario.entry else hops[0].url
        self._hops[scenario.name] = hops
        self._cases.append(Case(scenario=scenario.name, line=line, url=url))
        self.world.cases = tuple(self._cases)

    def _dressed(self, page: Page, name: str, addresses: tuple[str, ...], redirect: str) -> Site:
        chance = self._chance
        https_side = page.scheme == "https" or (chance.random() < 0.5 if page.https_side is None else page.https_side)
        return Site(
            name=name,
            addresses=addresses,
            language=chance.choice(LANGUAGES),
            size=chance.randint(*page.size),
            http="redirect" if page.scheme == "https" else "page",
            https="page" if https_side else "closed",
            certificate=page.certificate,
            http2=chance.random() < 0.5 if page.http2 is None else page.http2,
            status=page.status,
            varies=page.varies,
            refuses={"VE": page.refuses} if page.refuses else {},
            challenges_control=page.challenges_control,
            first_byte_s=page.first_byte_s,
            redirect="loop" if page.loop else redirect,
            gzip=chance.random() < 0.5 if page.gzip is None else page.gzip,
            chunked=chance.random() < 0.3,
            fresh=chance.random() < 0.5,
            record=chance.choice((1400, 4096, 16_384)),
        )

    def _policy(self, rule: Rule, hops: list[Site], line: str) -> Policy:
        site = hops[rule.hop]
        resolvers = self.world.lines[line].resolvers
        which = {"all": resolvers, "first": resolvers[:1], "second": resolvers[1:]}[rule.resolvers]
        pattern = rule.pattern
        if not rule.once:
            turn = self._chance.randrange(len(pattern))
            pattern = pattern[turn:] + pattern[:turn]
        return Policy(
            technique=rule.technique,
            names=(site.name,),
            addresses=site.addresses,
            ports=rule.ports,
            pattern=pattern,
            once=rule.once,
            resolvers=which if rule.technique in LIES else (),
            answers=self._answers(rule.answer),
            rcode=rule.rcode,
            divert=(self._place(rule.to), self._place(rule.to, self._address6())) if rule.to else (),
            response=self._response(rule),
            rate=rule.rate,
            after=rule.after,
            seconds=rule.seconds,
            code=rule.code,
        )

    def _trouble(self, trouble: Trouble, resolvers: tuple[str, ...]) -> Policy:
        groups = {RESOLVERS: resolvers, HELPER: self.world.control.addresses, DOH: tuple(_DOH.values())}
        return Policy(
            technique=trouble.technique,
            addresses=groups.get(trouble.at, (trouble.at,)),
            spared=groups.get(trouble.spared, ()),
            ports=trouble.ports,
            divert=(self._place(trouble.to), self._place(trouble.to, self._address6())) if trouble.to else (),
        )

    def _befall(self, host: str, policy: Policy) -> None:
        self._policies.append((host, policy))
        self.world.policies = tuple(self._policies)

    def _answers(self, answer: str) -> tuple[str, ...]:
        chance = self._chance
        if answer == "bogon":
            return (f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}",)
        fixed = {"": (), "loopback": ("127.0.0.1",), "unspecified": ("0.0.0.0",)}
        if answer in fixed:
            return fixed[answer]
        place = self._place("relay" if answer == "relay" else "notice", known=answer == "known-block")
        if answer == "closed-block":
            self._befall(EVERYONE, Policy(technique="tcp-reset", addresses=(place,), ports=(443,)))
        return (place,)

    def _response(self, rule: Rule) -> str:
        if not rule.page:
            return ""
        known = rule.page == "known"
        if rule.redirect:
            name = self._name()
            self.world.zones[name] = Zone(addresses=(self._place("notice", known=known),))
            return f"HTTP/1.1 302 Found\r\nLocation: http://{name}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        page = self._notice(known)
        return (
            f"HTTP/1.1 {rule.status} {'OK' if rule.status == 200 else 'Denied'}\r\nContent-Type: text/html\r\n"
            f"Content-Length: {len(page.encode())}\r\nConnection: close\r\n\r\n{page}"
        )

    def _notice(self, known: bool) -> str:
        chance = self._chance
        phrase = KNOWN_PHRASE if known else ""
        return notice(str(chance.random()), chance.choice(LANGUAGES), phrase=phrase, size=chance.randint(400, 5000))

    def _resolver(self, region: str, kind: str) -> str:
        address = self._place("sites", delay_s=self._chance.uniform(0.001, 0.004))
        advert = self._place("notice") if kind == "advertising" else ""
        self.world.resolvers[address] = Resolver(kind=kind, region=region, advert=advert)
        return address

    def _place(self, kind: str, address: str = "", *, delay_s: float | None = None, known: bool = False) -> str:
        chance = self._chance
        address = address or self._address()
        self.world.places[address] = Place(
            kind=kind,
            delay_s=chance.uniform(0.002, 0.035) if delay_s is None else delay_s,
            rate=float(chance.randint(2_000_000, 12_000_000)),
            page=self._notice(known) if kind in ("notice", "portal") else "",
        )
        return address

    def _site_addresses(self, page: Page) -> tuple[str, ...]:
        chance = self._chance
        ipv6 = chance.random() < 0.4 if page.ipv6 is None else page.ipv6
        addresses = [self._place("sites") for _ in range(chance.choice((1, 1, 2)))]
        if ipv6:
            addresses.append(self._place("sites", self._address6()))
        return tuple(addresses)

    def _name(self) -> str:
        chance = self._chance
        while True:
            stem = "".join(chance.choices(_STEMS, k=chance.randint(2, 4)))
            name = f"{chance.choice(('', '', 'www.'))}{chance.choice(_PREFIXES)}{stem}.{chance.choice(_ENDINGS)}"
            if name not in self._used:
                self._used.add(name)
                return name

    def _address(self) -> str:
        while True:
            text = ".".join(str(n) for n in (self._chance.randint(23, 200), *self._chance.choices(range(1, 255), k=3)))
            if text not in self._used and ip_address(text).is_global and text not in (*_PUBLIC_RESOLVERS, *_MIRRORS):
                self._used.add(text)
                return text

    def _address6(self) -> str:
        while True:
            text = str(ip_address(f"2a0{self._chance.randint(0, 7)}:{self._chance.randrange(1, 0xFFFF):x}::"))
            text = f"{text}{self._chance.randrange(1, 0xFFFF):x}"
            if text not in self._used:
                self._used.add(text)
                return text
