"""Checks that change one thing, where a measurement failed: what settles who is to blame.

The same address with an innocent name; the same name at an address that has nothing to do with the site; the same
question to a host that is no resolver; the https side of a plain-http site. Each is made twice, innocents before
triggers, since some censors keep cutting the pair of hosts for a minute or more after a trigger.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec

from monitor.conditions import Neutrals
from monitor.failures import CERTIFICATE_FAILURES, EOF, FAILED_HANDSHAKE, RESET, SERVFAIL
from monitor.models import Dns, Http, Purpose, Role, Tls
from monitor.steps import dns
from monitor.steps.occasion import Occasion
from monitor.trail import OWN_SOURCES, Trail
from monitor.urls import DEFAULT_PORTS, Target, target
from monitor.vantage import Resolver

ROUNDS = 2  # interface.md: "confirmed" asks for a counterfactual repeated twice
ROUNDS_MIXED = 5  # where some attempts pass: to tell partial blocking from a server that drops one in three
MAX_ADDRESSES = 2  # per hop
CUTS = frozenset({RESET, EOF, FAILED_HANDSHAKE})
COUNTERFACTUAL = ("counterfactual",)
NO_RESOLVER_TIMEOUT_S = 2.0


async def check(trail: Trail, neutrals: Neutrals) -> None:
    """Make the counterfactuals that this trail's failures call for."""
    async with trail.hold({seen.address for seen in trail.tcp}):
        jobs = [job for hop, here in enumerate(trail.hops) for job in _jobs(trail, hop, here, neutrals)]
        await asyncio.gather(*jobs)


def _jobs(trail: Trail, hop: int, here: Target, neutrals: Neutrals) -> list[Coroutine[Any, Any, None]]:
    """What one hop calls for."""
    if _passes_on(trail, hop):
        return []
    jobs = [_twice(trail, hop, here, a, neutrals) for a in _interrupted(trail, hop)[:MAX_ADDRESSES]]
    for address in _unconnected(trail, hop)[:MAX_ADDRESSES]:
        jobs.append(_again(trail, hop, here, address, neutrals))
        jobs.append(_plain_side(trail, hop, here, address, neutrals))
    jobs += [_asked_again(trail, hop, here), _checking_disabled(trail, hop, here)]
    jobs.append(_no_resolver(trail, hop, here, neutrals))
    if here.scheme == "http":
        jobs.append(_https_side(trail, hop, here))
    return jobs


def cut_at_times(trail: Trail) -> bool:
    """Was any connection cut, even if a later one was not? Silence is left out: packet loss does that, too."""
    return any(
        seen.failure in CUTS
        for seen in (*trail.tls, *(page for page, _ in trail.pages))
        if seen.purpose is Purpose.SITE
    )


def _passes_on(trail: Trail, hop: int) -> bool:
    """A hop that led on, to the same host or by the site's own proven word, is not in question."""
    if hop + 1 >= len(trail.hops) or any(seen.hop == hop and seen.failure in CUTS for seen in trail.tls):
        return False
    pages = [page for page, _ in trail.pages if page.hop == hop and page.failure is None]
    own = [page for page in pages if set(page.sources) & set(OWN_SOURCES)]
    same_host = trail.hops[hop].host == trail.hops[hop + 1].host
    return any(page.verified or same_host for page in own)


def _seen(trail: Trail, hop: int, address: str) -> list[Tls | Http]:
    pages = (page for page, _ in trail.pages)
    every: list[Tls | Http] = [*trail.tls, *pages]
    return [seen for seen in every if (seen.hop, seen.address, seen.purpose) == (hop, address, Purpose.SITE)]


def _interrupted(trail: Trail, hop: int) -> list[str]:
    """Addresses where a connection was made and what was said on it met a failure, or an unproven page."""
    connected = {seen.address for seen in trail.tcp if seen.hop == hop and seen.failure is None}
    return [address for address in dict.fromkeys(connected) if any(map(_suspicious, _seen(trail, hop, address)))]


def _suspicious(seen: Tls | Http) -> bool:
    if isinstance(seen, Tls):
        return seen.failure is not None and seen.failure not in CERTIFICATE_FAILURES
    return seen.failure is not None or not seen.verified or (seen.status or 0) >= 400


def _unconnected(trail: Trail, hop: int) -> list[str]:
    failed = dict.fromkeys(seen.address for seen in trail.tcp if seen.hop == hop and seen.failure is not None)
    working = {seen.address for seen in trail.tcp if seen.hop == hop and seen.failure is None}
    return [address for address in failed if address not in working]


async def _twice(trail: Trail, hop: int, here: Target, address: str, neutrals: Neutrals) -> None:
    """An innocent name at the address, then the site's name there and at a neutral site's address; twice."""
    innocent = next(iter(neutrals.answering(here.scheme)), None)
    if innocent is None:
        return
    first = trail.tools.settings.attempts
    mixed = any(seen.failure is None for seen in _seen(trail, hop, address)) and cut_at_times(trail)
    sources = trail.addresses(here.host).get(address, COUNTERFACTUAL)
    for n in range(1, (ROUNDS_MIXED if mixed else ROUNDS) + 1):
        await trail.chain(_occasion(trail, hop, n, Purpose.INNOCENT_NAME), here, address, COUNTERFACTUAL, name=innocent)
        await asyncio.gather(
            trail.chain(_occasion(trail, hop, first + n, Purpose.SITE), here, address, sources),
            _elsewhere(trail, hop, here, n, neutrals),
        )


async def _elsewhere(trail: Trail, hop: int, here: Target, n: int, neutrals: Neutrals) -> None:
    """The site's name at an address that has nothing to do with it, if that address answers for itself just before.

    Another neutral site each time, the last first: some censors keep cutting the pair of hosts for a minute, and that
    must look neither like a second cut of this name nor like an outage. And first with another neutral site's name:
    some servers cut every name that is not theirs.
    """
    known = list(neutrals.answering(here.scheme).items())
    if not known:
        return
    host, address = known[-n % len(known)]
    stranger = next((other for other, _ in known if other != host), host)
    itself = msgspec.structs.replace(here, url=f"{here.scheme}://{stranger}/", host=stranger)
    failure = await trail.chain(_occasion(trail, hop, n, Purpose.NEUTRAL), itself, address, COUNTERFACTUAL)
    if failure is None or failure in CERTIFICATE_FAILURES:
        there = _occasion(trail, hop, n, Purpose.NAME_ELSEWHERE)
        await trail.chain(there, here, address, COUNTERFACTUAL)
        if here.scheme == "http":  # a valid certificate there: that address serves the site, too
            await trail.chain(there, target(f"https://{here.host}/"), address, COUNTERFACTUAL)
    else:
        neutrals.silent(host)


async def _again(trail: Trail, hop: int, here: Target, address: str, neutrals: Neutrals) -> None:
    """An address that did not answer is tried again a while later, beside a neutral site: is the line silent, too?"""
    sources = trail.addresses(here.host).get(address, COUNTERFACTUAL)
    first = trail.tools.settings.attempts
    for n in range(1, ROUNDS + 1):
        again = trail.chain(_occasion(trail, hop, first + n, Purpose.SITE), here, address, sources)
        await asyncio.gather(again, _neutral(trail, hop, here, n, neutrals))


async def _neutral(trail: Trail, hop: int, here: Target, n: int, neutrals: Neutrals) -> None:
    """A neutral site's own page: of the first, since names are tried at the last, and a trigger may cut those off."""
    known = list(neutrals.answering(here.scheme).items())
    if known:
        host, address = known[0]
        itself = target(f"{here.scheme}://{host}/")
        await trail.chain(_occasion(trail, hop, n, Purpose.NEUTRAL), itself, address, COUNTERFACTUAL)


async def _plain_side(trail: Trail, hop: int, here: Target, address: str, neutrals: Neutrals) -> None:
    """What an address that has no https says on port 80, to this name and to an innocent one: a block page to both?"""
    innocent = next(iter(neutrals.answering("http")), None)
    if here.scheme != "https" or innocent is None:
        return
    plain = target(f"http://{here.host}/")
    innocent_first = _occasion(trail, hop, 1, Purpose.INNOCENT_NAME)
    if await trail.chain(innocent_first, plain, address, COUNTERFACTUAL, name=innocent) is None:
        await trail.chain(_occasion(trail, hop, 1, Purpose.PLAIN_SIDE), plain, address, COUNTERFACTUAL)


async def _asked_again(trail: Trail, hop: int, here: Target) -> None:
    """Each of the vantage's own resolvers, twice more: a lie is told again, a lost answer is not lost each time."""
    if not trail.addresses(here.host) or "literal" in trail.addresses(here.host).get(here.host, ()):
        return
    for n in range(1, ROUNDS + 1):
        occasion = _occasion(trail, hop, trail.tools.settings.attempts + n, Purpose.SITE)
        for resolver in trail.vantage.resolvers:
            trail.keep(await _ask(trail, resolver, here.host, occasion))


async def _checking_disabled(trail: Trail, hop: int, here: Target) -> None:
    """SERVFAIL may be a broken DNSSEC zone: the same question without validation tells."""
    answers = [a for a in trail.observations().dns if a.hop == hop and a.failure == SERVFAIL and a.role is not Role.DOH]
    for resolver in (*trail.vantage.resolvers, *trail.tools.public):
        if any(answer.resolver == resolver.label for answer in answers):
            occasion = _occasion(trail, hop, 1, Purpose.CHECKING_DISABLED)
            trail.keep(await _ask(trail, resolver, here.host, occasion, checking_disabled=True))


async def _no_resolver(trail: Trail, hop: int, here: Target, neutrals: Neutrals) -> None:
    """A question sent to a host that is no resolver must get no answer: one that comes was forged on the path."""
    address = next(iter(neutrals.answering("http").values()), None)
    if address is None or not trail.tools.public or _reached(trail, hop):
        return
    resolver = Resolver(address=address, port=53, role=Role.PUBLIC)
    for n in range(1, ROUNDS + 1):
        trail.keep(await _ask(trail, resolver, here.host, _occasion(trail, hop, n, Purpose.NAME_ELSEWHERE)))


def _reached(trail: Trail, hop: int) -> bool:
    own = [page for page, _ in trail.pages if page.hop == hop and set(page.sources) & set(OWN_SOURCES)]
    return any(page.verified for page in own)


async def _ask(
    trail: Trail, resolver: Resolver, name: str, occasion: Occasion, *, checking_disabled: bool = False
) -> Dns:
    asked = await dns.ask(
        trail.vantage, resolver, name, "A",
        occasion=occasion, timeout_s=NO_RESOLVER_TIMEOUT_S, checking_disabled=checking_disabled,
    )  # fmt: skip
    return asked.dns


async def _https_side(trail: Trail, hop: int, here: Target) -> None:
    """A valid certificate tells the site's own word from the network's, at every address somebody gave for the host."""
    if here.port != DEFAULT_PORTS["http"]:
        return
    occasion = _occasion(trail, hop, 1, Purpose.HTTPS_SIDE)
    secure = target(here.url.replace("http:", "https:", 1))
    tried = dict.fromkeys(seen.address for seen in trail.tcp if seen.hop == hop and seen.purpose is Purpose.SITE)
    sources = trail.addresses(here.host)
    await asyncio.gather(*(trail.chain(occasion, secure, a, sources[a]) for a in tried if a in sources))


def _occasion(trail: Trail, hop: int, attempt: int, purpose: Purpose) -> Occasion:
    return Occasion(since=trail.since, hop=hop, attempt=attempt, purpose=purpose)
