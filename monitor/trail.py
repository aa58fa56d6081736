"""The observations of one site from one network, as they grow: resolve, visit every address, follow redirects.

The same code measures on the vantage and on the control, so that the two can never drift apart.
"""

import asyncio
import hashlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import msgspec

from monitor.addresses import is_public
from monitor.config import MeasureConfig
from monitor.failures import NO_ANSWER
from monitor.models import Dns, Http, Observations, Purpose, Tcp, Tls
from monitor.steps import dns, http, page, tcp, tls
from monitor.steps.doh import DohClient
from monitor.steps.occasion import Occasion
from monitor.urls import DEFAULT_PORTS, BadUrl, Target, redirect, target
from monitor.vantage import Resolver, Vantage

MAX_REDIRECTS = 10
# Bounds on what one answer can make us do: addresses visited per hop, by who gave them.
MAX_OWN_ADDRESSES = 4
MAX_OTHER_ADDRESSES = 2
DNS_TIMEOUT_SHARE = 0.5  # a stub resolver waits 5 s where we give a step 10
LINGER_S = (
    0.5  # 99 % of forged DNS answers beat the real one by less than 364 ms (facts.md): wait that long for the real one
)
RETRY_PAUSE_S = 0.3
OWN_SOURCES = ("isp", "lan", "literal")
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_COOKIES = 20
BODY_KEPT = 64 * 1024  # bytes of a page that is kept as evidence

Further = Callable[[int, Target, Sequence[str]], Awaitable[Sequence[str]]]
Hold = Callable[[Iterable[str]], AbstractAsyncContextManager[None]]
Clean = Callable[[Http, bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What every measurement on a vantage shares. trust: one SSLContext for all (building one costs 16 ms)."""

    settings: MeasureConfig
    trust: ssl.SSLContext
    doh: tuple[DohClient, ...] = ()
    public: tuple[Resolver, ...] = ()


@asynccontextmanager
async def no_hold(_addresses: Iterable[str]) -> AsyncIterator[None]:
    """Measure without regard to who else is measuring the same addresses."""
    yield


@dataclass(kw_only=True)
class Trail:
    """One site, one network. families: address families that work there. ports: the only ports it may connect to."""

    vantage: Vantage
    tools: Tools
    families: frozenset[int] = frozenset({4, 6})
    attempts_each: int = 1
    ports: frozenset[int] | None = None
    headers: tuple[tuple[str, str], ...] = http.BROWSER
    hold: Hold = no_hold
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    hops: list[Target] = field(default_factory=list)
    _asked: list[dns.Asked] = field(default_factory=list)
    _dns: list[Dns] = field(default_factory=list)
    tcp: list[Tcp] = field(default_factory=list)
    tls: list[Tls] = field(default_factory=list)
    pages: list[tuple[Http, bytes]] = field(default_factory=list)
    _addresses: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    _cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    @property
    def timeout_s(self) -> float:
        """For one step."""
        return self.tools.settings.timeout_s

    async def follow(
        self, url: str, *, extra: Mapping[str, Sequence[str]] | None = None, further: Further | None = None
    ) -> None:
        """Measure the URL and each hop its redirects lead to. further: asked at each hop for addresses others know."""
        here: Target | None = target(url)
        while here and len(self.hops) <= MAX_REDIRECTS:
            hop = len(self.hops)
            self.hops.append(here)
            await self._hop(hop, here, (extra or {}).get(here.host, ()), further)
            here = self._next(hop, here)

    async def settle(self) -> None:
        """Wait for the answers that come late."""
        for asked in self._asked:
            self._dns.append(await asked.settled())
        self._asked.clear()

    def keep(self, answer: Dns) -> None:
        """Add an answer asked for outside the trail."""
        self._dns.append(answer)

    def observations(self, clean: Clean = lambda _seen, body: body) -> Observations:
        """All that was seen so far. clean: takes out of a page what must not be kept."""
        return Observations(
            hops=tuple(here.url for here in self.hops),
            dns=(*self._dns, *(asked.dns for asked in self._asked)),
            tcp=tuple(self.tcp),
            tls=tuple(self.tls),
            http=tuple(_as_kept(seen, body, clean) for seen, body in self.pages),
        )

    def addresses(self, host: str) -> dict[str, tuple[str, ...]]:
        """Address -> who gave it, for a host met on the way."""
        return self._addresses.get(host, {})

    def visited(self, hop: int) -> list[str]:
        """The addresses a connection to was tried at this hop."""
        site = (seen.address for seen in self.tcp if seen.hop == hop and seen.purpose is Purpose.SITE)
        return list(dict.fromkeys(site))

    async def _hop(self, hop: int, here: Target, extra: Sequence[str], further: Further | None) -> None:
        if self.ports is not None and here.port not in self.ports:
            return
        known = self._addresses.get(here.host)
        if known is None:
            known = self._addresses[here.host] = await self.resolve(hop, here.host)
            _merge(known, extra, "control")
        visited = self._choose(known)
        asking = asyncio.ensure_future(further(hop, here, visited)) if further else None
        try:
            await self.visit(hop, here, {address: known[address] for address in visited})
            if asking:
                _merge(known, await asking, "control")
                more = [address for address in self._choose(known) if address not in visited]
                await self.visit(hop, here, {address: known[address] for address in more})
        finally:
            if asking:
                asking.cancel()

    async def resolve(self, hop: int, host: str) -> dict[str, tuple[str, ...]]:
        """Ask every resolver; address -> who gave it, in the order the system would ask them."""
        if _is_literal(host):
            return {host: ("literal",)}
        questions = [self._plain(hop, host, r, kind) for r in self.vantage.resolvers for kind in ("A", "AAAA")]
        questions += [self._plain(hop, host, r, "A") for r in self.tools.public]
        questions += [self._encrypted(hop, host, client, kind) for client in self.tools.doh for kind in ("A", "AAAA")]
        found: dict[str, tuple[str, ...]] = {}
        for answers in await asyncio.gather(*questions):
            self._asked += answers  # in the order of the questions, which is the system's order
            for answer in answers:
                _merge(found, answer.dns.answers, answer.dns.role.value)
        return found

    async def _plain(self, hop: int, host: str, resolver: Resolver, kind: str) -> list[dns.Asked]:
        async def ask(attempt: int) -> dns.Asked:
            occasion = Occasion(since=self.since, hop=hop, attempt=attempt)
            timeout_s = self.timeout_s * DNS_TIMEOUT_SHARE
            return await dns.ask(
                self.vantage, resolver, host, kind, occasion=occasion, timeout_s=timeout_s, linger_s=LINGER_S
            )

        asked = [await ask(1)]
        if asked[0].dns.failure not in (None, NO_ANSWER):
            asked += await asyncio.gather(*(ask(n) for n in range(2, self.tools.settings.attempts + 1)))
        return asked

    async def _encrypted(self, hop: int, host: str, client: DohClient, kind: str) -> list[dns.Asked]:
        occasion = Occasion(since=self.since, hop=hop)
        answer = await client.ask(host, kind, occasion=occasion, timeout_s=self.timeout_s * DNS_TIMEOUT_SHARE)
        return [dns.Asked(answer)]

    def _choose(self, known: Mapping[str, tuple[str, ...]]) -> list[str]:
        usable = [a for a in known if is_public(a) and (6 if ":" in a else 4) in self.families]
        own = [a for a in usable if known[a][0] in OWN_SOURCES][:MAX_OWN_ADDRESSES]
        others = [a for a in usable if known[a][0] not in OWN_SOURCES]
        # What the control found goes before what clear-text public resolvers say: those may be lied about too.
        others.sort(key=lambda a: "public" in known[a] and len(known[a]) == 1)
        return own + others[: MAX_OTHER_ADDRESSES if own else MAX_OWN_ADDRESSES]

    async def visit(self, hop: int, here: Target, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Connect, shake hands and ask for the page at every address; what fails is tried again from new ports."""
        if addresses:
            async with self.hold(addresses):
                await asyncio.gather(*(self._address(hop, here, a, by) for a, by in addresses.items()))

    async def _address(self, hop: int, here: Target, address: str, sources: tuple[str, ...]) -> None:
        def attempt(n: int) -> Awaitable[str | None]:
            return self.chain(Occasion(since=self.since, hop=hop, attempt=n), here, address, sources)

        failed = await attempt(1)
        wanted = self.attempts_each if failed is None else max(self.attempts_each, self.tools.settings.attempts)
        if wanted > 1:
            await asyncio.sleep(RETRY_PAUSE_S)
            await asyncio.gather(*(attempt(n) for n in range(2, wanted + 1)))

    async def chain(
        self, occasion: Occasion, here: Target, address: str, sources: tuple[str, ...], *, name: str | None = None
    ) -> str | None:
        """One connection, step by step; its failure. name: said instead of the host (a counterfactual)."""
        said = name or here.host
        timeout_s = self.timeout_s
        connected, stream = await tcp.connect(
            self.vantage, address, here.port, occasion=occasion, sources=sources, timeout_s=timeout_s
        )
        self.tcp.append(connected)
        if stream is None:
            return connected.failure
        try:
            protocol, verified = "http/1.1", here.scheme == "https"
            if verified:
                shaken, secure = await tls.handshake(
                    stream, said, self.tools.trust, occasion=occasion, sources=sources, timeout_s=timeout_s
                )
                self.tls.append(shaken)
                if secure is None:
                    return shaken.failure
                stream, protocol = secure, shaken.alpn or protocol
            seen, body = await http.exchange(
                stream,
                _with_host(here, said),
                occasion=occasion,
                sources=sources,
                timeout_s=timeout_s,
                headers=self._request_headers(here),
                verified=verified,
                protocol=protocol,
                address=address,
                port=here.port,
            )
            # Of a page only what may become evidence is held: a site has many addresses, attempts and hops.
            self.pages.append((seen, b"" if seen.status in REDIRECTS else body[:BODY_KEPT]))
            return seen.failure
        finally:
            stream.close()

    def _request_headers(self, here: Target) -> tuple[tuple[str, str], ...]:
        try:
            request = httpx.Request("GET", here.url)
            self._cookies.set_cookie_header(request)
            cookie = request.headers.get("cookie")
        except ValueError:  # a name or a cookie that httpx cannot encode
            return self.headers
        return (*self.headers, ("Cookie", cookie)) if cookie else self.headers

    def _next(self, hop: int, here: Target) -> Target | None:
        """Where the vantage's own path is sent; where another address sends us when it is not."""
        answers = [seen for seen, _ in self.pages if seen.hop == hop and seen.purpose is Purpose.SITE]
        answers = [seen for seen in answers if seen.status in REDIRECTS and seen.location]
        answers.sort(key=lambda seen: not set(seen.sources) & set(OWN_SOURCES))
        for seen in answers:
            try:
                there = redirect(here.url, seen.location or "")
            except BadUrl:
                continue
            self._keep_cookies(here, seen)
            return there
        return None

    def _keep_cookies(self, here: Target, seen: Http) -> None:
        headers = [pair for pair in seen.headers if pair[0].lower() == "set-cookie" and pair[1].isascii()]
        try:
            request = httpx.Request("GET", here.url)
            self._cookies.extract_cookies(
                httpx.Response(seen.status or 0, headers=headers[:MAX_COOKIES], request=request)
            )
        except ValueError:
            return  # a name that httpx cannot encode


def _merge(known: dict[str, tuple[str, ...]], addresses: Iterable[str], source: str) -> None:
    for address in addresses:
        by = known.get(address, ())
        known[address] = by if source in by else (*by, source)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_host(here: Target, said: str) -> str:
    """The URL as asked: the host replaced where another name is said."""
    if said == here.host:
        return here.url
    port = "" if here.port == DEFAULT_PORTS[here.scheme] else f":{here.port}"
    return f"{here.scheme}://{said}{port}/"


def _as_kept(seen: Http, body: bytes, clean: Clean) -> Http:
    """The response as the measurement keeps it: private data out; the page itself where it is evidence."""
    cleaned = clean(seen, body)
    if cleaned != body:
        content_type = next((value for name, value in seen.headers if name.lower() == "content-type"), "")
        # The digests are taken again: a digest over a page with an address in it gives the address away.
        seen = msgspec.structs.replace(
            seen,
            sha256=hashlib.sha256(cleaned).hexdigest(),
            simhash=page.simhash(cleaned),
            title=page.title(cleaned, content_type),
        )
    evidence = seen.failure is not None or not seen.verified or seen.status is None or seen.status >= 400
    if not (evidence and cleaned) or seen.purpose is Purpose.NEUTRAL:
        return seen
    return msgspec.structs.replace(seen, body=page.kept(cleaned))


async def observe(
    url: str,
    vantage: Vantage,
    tools: Tools,
    *,
    extra: Mapping[str, Sequence[str]] | None = None,
    attempts_each: int = 1,
    ports: frozenset[int] | None = None,
    headers: tuple[tuple[str, str], ...] = http.BROWSER,
) -> Observations:
    """Measure a URL once, every hop of it, within the site's budget. extra: host -> further addresses to visit."""
    trail = Trail(vantage=vantage, tools=tools, attempts_each=attempts_each, ports=ports, headers=headers)
    try:
        async with asyncio.timeout(tools.settings.budget_s):
            await trail.follow(url, extra=extra)
    except TimeoutError:
        pass  # what was seen until then counts
    await trail.settle()
    return trail.observations()
