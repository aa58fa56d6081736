"""The state of the vantage itself: connectivity is checked before anyone is accused.

Neutral sites are reached step by step like any site; each resolver is asked for their names and for a random name
that does not exist. Whoever judges a measurement later finds the outcome in it.
"""

import asyncio
import secrets
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from monitor.failures import CERTIFICATE_FAILURES, INVALID_HOSTNAME, NXDOMAIN, UNKNOWN_AUTHORITY
from monitor.models import Conditions, Dns, Http, NeutralCheck, Purpose, ResolverCheck
from monitor.steps import dns
from monitor.steps.occasion import Occasion
from monitor.trail import REDIRECTS, Tools, Trail
from monitor.urls import Target, target
from monitor.vantage import Resolver, Vantage

FRESH_S = 60.0  # a check is used for the measurements that start within so many seconds
SILENT_S = 60.0  # how long a neutral site that did not answer is not asked for a counterfactual
SPEED_BODY = 8_192  # bytes; a shorter page says nothing about speed
CONTROL_NAMES = 3  # asked of each resolver
ATTEMPTS = 2
REPLACED = frozenset({UNKNOWN_AUTHORITY, INVALID_HOSTNAME})  # a date that does not fit may be this machine's clock


class Neutrals:
    """Where neutral sites are reached: host -> addresses, IPv4 first; and which do not answer just now."""

    def __init__(self) -> None:
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._silent: dict[str, float] = {}
        self._secure: set[str] = set()

    def reached(self, host: str, address: str, scheme: str) -> None:
        """The host answered there, by https or by http alone."""
        if scheme == "https":
            self._secure.add(host)
        known = {*self._addresses.get(host, ()), address}
        self._addresses[host] = tuple(sorted(known, key=lambda one: (":" in one, one)))

    def silent(self, host: str) -> None:
        """The host did not answer: it is left alone for a while."""
        self._silent[host] = asyncio.get_running_loop().time()

    def answering(self, scheme: str) -> dict[str, str]:
        """Host -> one address, of those that were reached, not silent lately, and can be asked by that scheme."""
        since = asyncio.get_running_loop().time() - SILENT_S
        return {
            host: found[0]
            for host, found in self._addresses.items()
            if self._silent.get(host, since) <= since and (scheme == "http" or host in self._secure)
        }


class ConditionsChecker:
    """Checks a vantage when its last check is too old; concurrent callers share one check."""

    def __init__(self, vantage: Vantage, tools: Tools, neutral: Sequence[str]) -> None:
        # A neutral site answers sooner than that, or this line cannot be judged on.
        settings = msgspec.structs.replace(tools.settings, timeout_s=tools.settings.timeout_s / 2)
        self._vantage, self._tools = vantage, replace(tools, settings=settings)
        self._targets = tuple(target(url) for url in neutral)
        self._last: Conditions | None = None
        self._begun = -FRESH_S
        self._lock = asyncio.Lock()
        self.neutrals = Neutrals()

    def forget(self) -> None:
        """What was checked holds no longer: the vantage is on another network."""
        self._last = None
        self.neutrals = Neutrals()

    async def recent(self) -> Conditions:
        """A check not older than FRESH_S."""
        return await self._since(asyncio.get_running_loop().time() - FRESH_S)

    async def now(self) -> Conditions:
        """A check begun after this call."""
        return await self._since(asyncio.get_running_loop().time())

    async def _since(self, moment: float) -> Conditions:
        async with self._lock:
            if self._last is None or self._begun < moment:
                self._begun = asyncio.get_running_loop().time()
                self._last = await self._check()
            return self._last

    async def _check(self) -> Conditions:
        started, proxied = datetime.now(UTC), self._vantage.proxy is not None
        trails = [{family: Trail(vantage=self._vantage, tools=self._tools) for family in (4, 6)} for _ in self._targets]
        pairs = zip(trails, self._targets, strict=True)
        checking = asyncio.gather(*(_neutral(by, here) for by, here in pairs))
        checks, resolvers = await asyncio.gather(checking, self._resolvers())
        neutral = tuple(check for both in checks for check in both)
        flat = [by[family] for family in (4, 6) for by in trails]
        pages = [page for trail in flat for page, _ in trail.pages]
        self._remember(flat)
        return Conditions(
            checked=started,
            online4=_online(neutral, 4, proxied=proxied),
            online6=_online(neutral, 6, proxied=proxied),
            captive_portal=_captive(neutral),
            intercepted=_intercepted(neutral),
            clock_offset=_clock_offset(pages, started),
            speed=_speed(neutral),
            neutral=neutral,
            resolvers=resolvers,
            proxied=proxied or None,
        )

    def _remember(self, trails: Iterable[Trail]) -> None:
        """Where neutral sites were reached, at this check or before: who uses them asks again whether they answer."""
        for trail in trails:
            for connected in trail.tcp:
                if connected.failure is None:
                    self.neutrals.reached(trail.hops[0].host, connected.address, trail.hops[0].scheme)

    async def _resolvers(self) -> tuple[ResolverCheck, ...]:
        names = [here.host for here in self._targets][:CONTROL_NAMES]
        checks = (self._resolver(resolver, names) for resolver in (*self._vantage.resolvers, *self._tools.public))
        return tuple(await asyncio.gather(*checks))

    async def _resolver(self, resolver: Resolver, names: Sequence[str]) -> ResolverCheck:
        # 14 random letters under .com: the chance that such a name exists is nil, and no zone of ours is needed.
        nobody = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(14)) + ".com"
        # Some resolvers rewrite only dead names that begin with www.
        asked = (*names, nobody, f"www.{nobody}")
        *known, dead, dead_www = await asyncio.gather(*(self._ask(resolver, name) for name in asked))
        unknown = dead_www if dead_www.answers or dead_www.failure != NXDOMAIN else dead
        return ResolverCheck(
            resolver=resolver.label,
            role=resolver.role,
            control_names=len(known),
            control_names_answered=sum(1 for answer in known if answer.answers),
            nonexistent=unknown.failure if unknown.failure else "NOERROR",
            nonexistent_answers=unknown.answers,
        )

    async def _ask(self, resolver: Resolver, name: str) -> Dns:
        since = asyncio.get_running_loop().time()
        for attempt in range(1, ATTEMPTS + 1):
            occasion = Occasion(since=since, attempt=attempt, purpose=Purpose.NEUTRAL)
            timeout_s = self._tools.settings.timeout_s
            asked = await dns.ask(self._vantage, resolver, name, "A", occasion=occasion, timeout_s=timeout_s)
            if asked.dns.failure in (None, NXDOMAIN):
                break
        return asked.dns


async def _neutral(trails: Mapping[int, Trail], here: Target) -> list[NeutralCheck]:
    """One neutral site, on each family it has an address in. No redirect is followed."""
    known = await trails[4].resolve(0, here.host)
    if not known:
        return [NeutralCheck(url=here.url, family=4, failure="dns_no_answer", layer="dns")]
    found = {family: [a for a in known if (6 if ":" in a else 4) == family] for family in trails}
    visits = [_visit(trails[family], here, family, found[family], known) for family in trails if found[family]]
    return list(await asyncio.gather(*visits))


async def _visit(
    trail: Trail, here: Target, family: int, addresses: Sequence[str], known: Mapping[str, tuple[str, ...]]
) -> NeutralCheck:
    trail.hops.append(here)
    occasion = Occasion(since=trail.since, purpose=Purpose.NEUTRAL)
    for address in (*addresses, *addresses)[:ATTEMPTS]:
        if await trail.chain(occasion, here, address, known[address]) is None:
            break
    return _outcome(trail, here, family)


def _outcome(trail: Trail, here: Target, family: int) -> NeutralCheck:
    if trail.pages:
        seen, body = trail.pages[-1]
        long_enough = seen.last_byte_s and seen.body_length >= SPEED_BODY
        # On the wire: a page that was compressed would make a full line look fast.
        speed = seen.bytes_received / seen.last_byte_s if long_enough and seen.last_byte_s else None
        expected = seen.failure is None and _as_known(here, seen, body)
        return NeutralCheck(
            url=here.url, family=family, failure=seen.failure, layer="http" if seen.failure else None,
            status=seen.status, expected=expected, speed=speed,
        )  # fmt: skip
    if trail.tls:
        shaken = trail.tls[-1]
        issuer = shaken.chain[0].issuer if shaken.chain else None
        return NeutralCheck(url=here.url, family=family, failure=shaken.failure, layer="tls", issuer=issuer)
    return NeutralCheck(url=here.url, family=family, failure=trail.tcp[-1].failure, layer="tcp")


def _as_known(here: Target, seen: Http, body: bytes) -> bool:
    """Is it what that site is known to answer? The two kinds of connectivity page, or any page of its own."""
    if here.url.endswith("/generate_204"):
        return seen.status == 204
    if here.url.endswith("/success.txt"):
        return seen.status == 200 and body.strip() == b"success"
    if seen.status in REDIRECTS:
        return bool(seen.location and here.host in seen.location)
    return seen.status is not None and seen.status < 400


def _online(neutral: Sequence[NeutralCheck], family: int, *, proxied: bool) -> bool | None:
    checks = [check for check in neutral if check.family == family]
    if not checks:
        return None
    if proxied:  # some proxies say that they are connected when they are not: only who spoke to us was reached
        return any(check.layer is None or check.failure in CERTIFICATE_FAILURES for check in checks)
    return any(check.layer in (None, "tls", "http") for check in checks)


def _captive(neutral: Sequence[NeutralCheck]) -> bool | None:
    """Plain http to every neutral site is answered with something else than its page (a sign-in page)."""
    plain = [check for check in neutral if check.url.startswith("http:") and check.layer is None]
    return all(not check.expected for check in plain) if plain else None


def _intercepted(neutral: Sequence[NeutralCheck]) -> bool | None:
    """The certificate of every neutral site is replaced: a company's or an antivirus program's proxy."""
    secure = [check for check in neutral if check.url.startswith("https:") and check.layer in (None, "tls", "http")]
    return all(check.failure in REPLACED for check in secure) if secure else None


def _clock_offset(pages: Sequence[Http], now: datetime) -> float | None:
    """Seconds this machine's clock is ahead of the Date headers of neutral sites (median)."""
    offsets = []
    for page in pages:
        date = next((value for name, value in page.headers if name.lower() == "date"), None)
        try:
            if date:
                offsets.append((now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds() + page.started)
        except (ValueError, OverflowError):
            continue
    return round(statistics.median(offsets), 3) if offsets else None


def _speed(neutral: Sequence[NeutralCheck]) -> float | None:
    """What this line carried at best: a short page, or a far one, says less than the line can."""
    speeds = [check.speed for check in neutral if check.speed and check.expected]
    return float(round(max(speeds))) if speeds else None
