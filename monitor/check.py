"""`almenara check`: what the configuration would do, and whether its controls answer. No site is contacted.

The controls are asked as measuring asks them: from each vantage, with the same steps. Helpers are asked about a
neutral site.
"""

import asyncio
import ssl
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from monitor import assemble
from monitor.config import UNUSED, Config, VantageConfig
from monitor.config_yaml import one_line
from monitor.control.client import ControlClient, Patience
from monitor.lists import Lists
from monitor.models import Network
from monitor.sites import gather
from monitor.steps.occasion import Occasion
from monitor.vantage import proxy
from monitor.wording import counted, waiting_words

KNOWN_NAME = "example.com"  # reserved (RFC 2606), so that it exists and nobody blocks it
HELPER_STEPS = 3  # timeouts that a helper's answer may take: ours to it, and its own two to the site


class Tried(Struct, frozen=True, kw_only=True):
    """What became of asking one control. failure: None when it answers."""

    kind: str  # "test helper", "encrypted resolver"
    url: str
    failure: str | None


def run(config: Config, file: Path | None = None) -> int:
    """Print the report; 1 when no vantage is there, or no control answers. Raises ConfigError, ListUnavailable for lists.

    file: the configuration's, for its lines.
    """
    return asyncio.run(_run(config, file))


async def _run(config: Config, file: Path | None) -> int:
    await gather(config)  # what is wrong with a list is said, not made up for
    watched = await Lists(lambda line: _say(f"List: {line}")).gather(config)
    present = assemble.present(config, file)
    measured = [vantage for vantage in config.vantages if vantage.name != config.control.vantage]
    there = [vantage for vantage in measured if vantage.name not in present.absent]
    _say("The configuration is valid.")
    _say(_consent(config))
    _say(f"Sites: {len(watched.sites)}")
    if watched.waiting:
        _say(waiting_words(len(watched.waiting)))
    for vantage in config.vantages:
        _say(f"Vantage {vantage.name}: {_network(vantage)}; resolvers {_resolvers(vantage)}")
        if assemble.only_lan(vantage):
            _say(
                "All of them are in your home: add your ISP's own, or its lies cannot be told from those of a Pi-hole."
            )
    _say(
        f"A round is {counted(len(watched.sites) * len(measured), 'measurement')}: "
        f"{config.measure.concurrency} at once, each within {config.measure.budget_s:g} s."
    )
    for section in UNUSED:
        if getattr(config, section) is not None:
            _say(f"Not used by this version: {section}")
    for name, problem in present.absent.items():
        _say(f"Vantage {name} is left out until it is there: {problem}")
    if not there:
        _say("No vantage is there: nothing could be measured.")
        return 1
    context = assemble.trust()
    tried = [control for vantage in there for control in await _tried_from(config, vantage, context)]
    return _conclude(config, tried)


async def _tried_from(config: Config, vantage: VantageConfig, context: ssl.SSLContext) -> Sequence[Tried]:
    """Ask every helper and encrypted resolver from a vantage, at once."""
    async with AsyncExitStack() as open_until:
        path = assemble.vantage(vantage)
        tools = assemble.tools(config, path, context, open_until)
        lookup = assemble.Lookup(vantage=path, resolvers=assemble.public_resolvers(config), doh=tools.doh)
        timeout_s = config.measure.timeout_s
        patience = Patience(step_s=timeout_s, helper_s=HELPER_STEPS * timeout_s, budget_s=HELPER_STEPS * timeout_s)

        async def helper(url: str) -> Tried:
            client = ControlClient(path, (url,), resolve=lookup, trust=context, patience=patience)
            controls = await client.ask(config.measure.neutral[0], addresses=(), hop=0, attempts=1)
            return Tried(kind="test helper", url=url, failure=controls[0].failure)

        async def resolver(i: int, url: str) -> Tried:
            occasion = Occasion(since=asyncio.get_running_loop().time())
            answer = await tools.doh[i].ask(KNOWN_NAME, "A", occasion=occasion, timeout_s=timeout_s)
            return Tried(kind="encrypted resolver", url=url, failure=None if answer.rcode else answer.failure)

        tried = await asyncio.gather(
            *(helper(url) for url in config.control.helpers),
            *(resolver(i, url) for i, url in enumerate(config.control.resolvers)),
        )
        identity = assemble.identity(config, path, tools)
        carrier = await identity.recent()
    _say(f"Vantage {vantage.name}: {_carrier(carrier)}")
    if identity.disagreement:
        _say(f"Vantage {vantage.name}: {identity.disagreement}")
    for one in tried:
        _say(f"From {vantage.name}, {one.kind} {one.url} {_outcome(one.failure)}")
    return tried


def _outcome(failure: str | None) -> str:
    return "answers" if failure is None else f"does not answer ({failure})"


def _conclude(config: Config, tried: Sequence[Tried]) -> int:
    answering = {one.kind for one in tried if one.failure is None}
    if config.control.vantage is not None:
        _say(f"Vantage {config.control.vantage} is a control; whether it works shows when measuring.")
    elif not answering:
        _say("No control answers at all: nothing could be called blocked.")
        return 1
    elif "test helper" not in answering:
        _say("No test helper answers: only a name server that lies could be found out.")
    return 0


def _consent(config: Config) -> str:
    if config.consent is None:
        return "Consent: `almenara measure` asks for it, unless it was given before."
    return "Consent: given in the configuration." if config.consent else "Consent: refused in the configuration."


def _carrier(network: Network) -> str:
    told = [f"AS{network.asn}" if network.asn else None, network.isp, network.country]
    words = ", ".join(text for text in told if text)
    if not words:
        return "nobody can say whose network this is; declare isp, asn and country"
    return f"{words}, as {network.source}"


def _network(vantage: VantageConfig) -> str:
    declared = [vantage.isp, f"AS{vantage.asn}" if vantage.asn else None, vantage.country]
    via = vantage.via
    paths = [f"{key} {getattr(via, key)}" for key in ("interface", "source", "netns") if via and getattr(via, key)]
    if via and via.proxy:
        paths.append(f"proxy {proxy(via.proxy).label}")
    return ", ".join([text for text in declared if text] + (paths or ["this machine's own connection"]))


def _resolvers(vantage: VantageConfig) -> str:
    shown = [resolver.label for resolver in assemble.resolvers(vantage)]
    if vantage.via and vantage.via.proxy:
        return ", ".join(shown) or "none (encrypted ones are asked through the proxy)"
    return ", ".join(shown) or "none (this machine has none configured)"


def _say(line: str) -> None:
    sys.stdout.write(one_line(line) + "\n")
    sys.stdout.flush()
