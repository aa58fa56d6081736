"""Config -> the things it names: vantages, controls, probers."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from monitor import network_database
from monitor.absence import Absent
from monitor.addresses import is_public
from monitor.conditions import ConditionsChecker
from monitor.config import Config, ConfigError, VantageConfig
from monitor.control.client import ControlClient, Controls, VantageControl
from monitor.measure import Asker, Prober
from monitor.models import Dns, Role
from monitor.network import Identity
from monitor.origin import Origins
from monitor.steps import dns
from monitor.steps.doh import DohClient
from monitor.steps.occasion import Occasion
from monitor.steps.tls import client_context
from monitor.trail import Tools, observe
from monitor.vantage import Resolver, Vantage, proxy, resolver, system_resolvers
from monitor.whoami import WhoAmI

LOOKUP_TIMEOUT_S = 5.0
KNOWN_S = 300.0  # how long an answer is used; hosts of our own services are few
GRACE_S = 0.3  # for further answers after the first


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Addresses of our own services' hosts (DoH, helpers). Lies do no harm: certificates are checked.

    resolvers: asked besides the vantage's own.
    """

    vantage: Vantage
    resolvers: tuple[Resolver, ...]
    doh: tuple[DohClient, ...] = ()
    _known: dict[str, tuple[float, list[str]]] = field(default_factory=dict)

    async def __call__(self, host: str) -> Sequence[str]:
        """Public addresses of a host, the encrypted answers first."""
        now = asyncio.get_running_loop().time()
        asked_at, known = self._known.get(host, (now - KNOWN_S, []))
        if asked_at > now - KNOWN_S:
            return known
        known = await self._asked(host, Occasion(since=now))
        if known:
            self._known[host] = (now, known)
        return known

    async def _asked(self, host: str, occasion: Occasion) -> list[str]:
        encrypted = [client.ask(host, "A", occasion=occasion, timeout_s=LOOKUP_TIMEOUT_S) for client in self.doh]
        found = await _soon([_answers(one) for one in encrypted])
        if not found:
            found = await _soon(
                [self._plain(one, host, occasion) for one in (*self.vantage.resolvers, *self.resolvers)]
            )
        return [address for address in dict.fromkeys(found) if is_public(address)]

    async def _plain(self, one: Resolver, host: str, occasion: Occasion) -> tuple[str, ...]:
        for _ in range(2):
            asked = await dns.ask(self.vantage, one, host, "A", occasion=occasion, timeout_s=LOOKUP_TIMEOUT_S / 2)
            if asked.dns.answers:
                return asked.dns.answers
        return ()


async def _answers(asking: Awaitable[Dns]) -> tuple[str, ...]:
    return (await asking).answers


async def _soon(asking: Sequence[Coroutine[Any, Any, tuple[str, ...]]]) -> list[str]:
    """What is answered by a moment after the first answer: a dead resolver is not waited for, a lying one not alone believed."""
    waiting = {asyncio.ensure_future(one) for one in asking}
    found: list[str] = []
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=GRACE_S if found else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            found += [address for one in done for address in one.result()]
    finally:
        for late in waiting:
            late.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return found


def trust() -> ssl.SSLContext:
    """Mozilla's roots, or those of SSL_CERT_FILE; never the machine's."""
    return client_context(os.environ.get("SSL_CERT_FILE"))


def vantage(named: VantageConfig) -> Vantage:
    """The network path that a configuration names; Absent where this machine has no such path now."""
    via = named.via
    try:
        path = Vantage(
            named.name,
            named.network,
            resolvers(named),
            netns=via.netns if via else None,
            interface=via.interface if via else None,
            source=str(via.source) if via and via.source else None,
            proxy=proxy(via.proxy) if via and via.proxy else None,
            reread=partial(resolvers, named),
        )
        path.try_out()
    except OSError as exc:
        raise Absent(named, exc) from None
    return path


@dataclass(frozen=True, kw_only=True)
class Present:
    """config: with the vantages that are there now. absent: what the others lack, one line each. namespaces: of some."""

    config: Config
    absent: dict[str, ConfigError]
    namespaces: dict[str, tuple[int, int] | None]


def present(config: Config, file: Path | None) -> Present:
    """Which of the vantages are there. file: the configuration's, for its lines. Sends nothing."""
    absent: dict[str, ConfigError] = {}
    namespaces = {}
    for i, named in enumerate(config.vantages):
        try:
            path = vantage(named)
        except Absent as exc:
            absent[named.name] = exc.located(file, i)
        else:
            namespaces[named.name] = path.namespace
            path.close()
    there = tuple(named for named in config.vantages if named.name in namespaces)
    return Present(config=msgspec.structs.replace(config, vantages=there), absent=absent, namespaces=namespaces)


def only_lan(named: VantageConfig) -> bool:
    """Are all resolvers of a vantage devices of the home, which the ISP cannot be blamed for?"""
    found = resolvers(named)
    return bool(found) and all(one.role is Role.LAN for one in found)


def resolvers(named: VantageConfig) -> tuple[Resolver, ...]:
    """The vantage's own resolvers, as they are now. This machine's do not belong to a proxy's network."""
    machines = () if named.via and named.via.proxy else system_resolvers() if "system" in named.resolvers else ()
    found: dict[Resolver, None] = {}
    for text in named.resolvers:
        found |= dict.fromkeys(machines if text == "system" else (resolver(text),))
    return tuple(found)


def tools(
    config: Config, path: Vantage, context: ssl.SSLContext, open_until: AsyncExitStack, *, plain: bool = True
) -> Tools:
    """What measurements on a vantage share; its connections are closed with `open_until`.

    plain: ask public resolvers in the clear as well, which only a vantage has use for, and none behind a proxy:
    there is no UDP through one, and what is forged on the way to its resolvers is not forged for ours.
    """
    public = public_resolvers(config)
    lookup = Lookup(vantage=path, resolvers=public)
    doh = tuple(DohClient(path, url, trust=context, bootstrap=lookup) for url in config.control.resolvers)
    for client in doh:
        open_until.push_async_callback(client.aclose)
    return Tools(settings=config.measure, trust=context, doh=doh, public=public if plain and not path.proxy else ())


def prober(config: Config, named: VantageConfig, context: ssl.SSLContext, open_until: AsyncExitStack) -> Prober:
    """A prober for one vantage with the controls of the configuration; Absent."""
    path = vantage(named)
    open_until.callback(path.close)
    shared = tools(config, path, context, open_until)
    return Prober(
        vantage=path,
        tools=shared,
        conditions=ConditionsChecker(path, shared, config.measure.neutral),
        controls=_controls(config, path, shared, context, open_until),
        identity=identity(config, path, shared),
    )


def identity(config: Config, path: Vantage, shared: Tools) -> Identity:
    """Who carries the vantage's packets: observed over the vantage itself, or as declared where that is not wanted."""
    if not config.network.lookup:
        return Identity(path)
    source = config.network.database
    database = network_database.shared(source) if source else None
    origins = Origins(path, doh=shared.doh, public=public_resolvers(config), database=database)
    return Identity(path, WhoAmI(path, shared.trust), origins.network)


def public_resolvers(config: Config) -> tuple[Resolver, ...]:
    """Resolvers that anybody may ask."""
    return tuple(map(resolver, config.measure.public_resolvers))


def _controls(
    config: Config, path: Vantage, shared: Tools, context: ssl.SSLContext, open_until: AsyncExitStack
) -> Controls | None:
    askers: list[Asker] = []
    if config.control.helpers:
        lookup = Lookup(vantage=path, resolvers=public_resolvers(config), doh=shared.doh)
        agree = min(config.control.agree, len(config.control.helpers))
        askers.append(ControlClient(path, config.control.helpers, resolve=lookup, trust=context, agree=agree))
    named = next((one for one in config.vantages if one.name == config.control.vantage), None)
    if named is not None and named.name != path.name:
        other = vantage(named)
        open_until.callback(other.close)
        other.traffic = path.traffic  # what asking it costs is the asking vantage's
        its_tools = tools(config, other, context, open_until)
        askers.append(VantageControl(other, partial(observe, vantage=other, tools=its_tools), context))
    return Controls(askers) if askers else None
