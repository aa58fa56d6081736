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
from monitor.alerts import trial
from monitor.alerts.problems import problem_words
from monitor.alerts.subscriptions import Subscription, subscribed
from monitor.config import UNUSED, Config, VantageConfig
from monitor.config_yaml import one_line
from monitor.control.client import ControlClient, Patience
from monitor.explain import FAILURE_WORDS
from monitor.language import Words, here
from monitor.lists import Lists
from monitor.messages import N_
from monitor.models import Network
from monitor.sites import gather
from monitor.steps.occasion import Occasion
from monitor.vantage import proxy
from monitor.wording import waiting_words

KNOWN_NAME = "example.com"  # reserved (RFC 2606), so that it exists and nobody blocks it
HELPER, RESOLVER = "test helper", "encrypted resolver"
HELPER_STEPS = 3  # timeouts that a helper's answer may take: ours to it, and its own two to the site

_ONLY_HOME = N_("All of them are in your home: add your ISP's own, or its lies cannot be told from those of a Pi-hole.")
_WAYS = {
    "interface": N_("interface {value}"),
    "source": N_("source address {value}"),
    "netns": N_("network namespace {value}"),
}
_SOURCES = {"declared": N_("declared"), "observed": N_("observed")}


class Tried(Struct, frozen=True, kw_only=True):
    """What became of asking one control. failure: None when it answers."""

    kind: str
    url: str
    failure: str | None


def run(config: Config, file: Path | None = None, *, send_test: bool = False) -> int:
    """Print the report; 1 when no vantage is there, no control answers, or a test does not arrive. Raises ConfigError,
    ListUnavailable for lists.

    file: the configuration's, for its lines.
    """
    return asyncio.run(_run(config, file, send_test=send_test))


async def _run(config: Config, file: Path | None, *, send_test: bool) -> int:
    w = here()
    subscriptions = subscribed(config, file)
    await gather(config)  # what is wrong with a list is said, not made up for
    watched = await Lists(lambda line: _say(w.text("List: {problem}", problem=line))).gather(config)
    present = assemble.present(config, file)
    measured = [vantage for vantage in config.vantages if vantage.name != config.control.vantage]
    there = [vantage for vantage in measured if vantage.name not in present.absent]
    _say(w.text("The configuration is valid."))
    _say(_consent(config, w))
    _say(w.text("Sites: {number}", number=w.number(len(watched.sites))))
    if watched.waiting:
        _say(waiting_words(len(watched.waiting), w))
    for vantage in config.vantages:
        _say(_vantage(vantage, w))
        if assemble.only_lan(vantage):
            _say(w.text(_ONLY_HOME))
    _say(_round(config, len(watched.sites) * len(measured), w))
    for section in UNUSED:
        if getattr(config, section) is not None:
            _say(w.text("Not used by this version: {section}", section=section))
    arrived = await _told(subscriptions, send_test=send_test, w=w)
    for one in subscriptions:
        for name in trial.in_vain(one, watched.sites, [vantage.network for vantage in measured]):
            _say(w.text("{name} asks for {what}, which nothing here measures", name=one.key, what=name))
    for name, problem in present.absent.items():
        _say(w.text("Vantage {name} is left out until it is there: {problem}", name=name, problem=problem))
    if not there:
        _say(w.text("No vantage is there: nothing could be measured."))
        return 1
    context = assemble.trust()
    tried = [control for vantage in there for control in await _tried_from(config, vantage, context, w)]
    return _conclude(config, tried, w) or (0 if arrived else 1)


async def _told(subscriptions: Sequence[Subscription], *, send_test: bool, w: Words) -> bool:
    """Who would be told of events; with send_test, whether a test reached all of them."""
    outcomes = await (trial.tried if send_test else trial.understood)(subscriptions)
    for name, problem in outcomes:
        if problem is None and send_test:
            _say(w.text("A test went to {name}", name=name))
        elif problem is None:
            _say(w.text("Alerts go to {name}; --send-test tries it", name=name))
        elif send_test:
            _say(w.text("A test did not reach {name}: {problem}", name=name, problem=problem_words(w, problem)))
        else:
            _say(w.text("{name} cannot be told anything: {problem}", name=name, problem=problem_words(w, problem)))
    return all(problem is None for _, problem in outcomes)


async def _tried_from(config: Config, vantage: VantageConfig, context: ssl.SSLContext, w: Words) -> Sequence[Tried]:
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
            return Tried(kind=HELPER, url=url, failure=controls[0].failure)

        async def resolver(i: int, url: str) -> Tried:
            occasion = Occasion(since=asyncio.get_running_loop().time())
            answer = await tools.doh[i].ask(KNOWN_NAME, "A", occasion=occasion, timeout_s=timeout_s)
            return Tried(kind=RESOLVER, url=url, failure=None if answer.rcode else answer.failure)

        tried = await asyncio.gather(
            *(helper(url) for url in config.control.helpers),
            *(resolver(i, url) for i, url in enumerate(config.control.resolvers)),
        )
        identity = assemble.identity(config, path, tools)
        carrier = await identity.recent()
    for told in filter(None, (_carrier(carrier, w), identity.disagreement)):
        _say(w.text("Vantage {name}: {what}", name=vantage.name, what=told))
    for one in tried:
        _say(_outcome(vantage, one, w))
    return tried


def _outcome(vantage: VantageConfig, one: Tried, w: Words) -> str:
    values = {"vantage": vantage.name, "url": one.url, "why": _why(one.failure or "", w)}
    if one.kind == HELPER:
        answers = N_("From {vantage}, test helper {url} answers")
        silent = N_("From {vantage}, test helper {url} does not answer: {why}")
    else:
        answers = N_("From {vantage}, encrypted resolver {url} answers")
        silent = N_("From {vantage}, encrypted resolver {url} does not answer: {why}")
    return w.text(answers if one.failure is None else silent, **values)


def _why(failure: str, w: Words) -> str:
    """In words, where there are any, and by its name."""
    return f"{w.failure(failure)} ({failure})" if failure in FAILURE_WORDS else failure


def _conclude(config: Config, tried: Sequence[Tried], w: Words) -> int:
    answering = {one.kind for one in tried if one.failure is None}
    if config.control.vantage is not None:
        control = config.control.vantage
        _say(w.text("Vantage {name} is a control; whether it works shows when measuring.", name=control))
    elif not answering:
        _say(w.text("No control answers at all: nothing could be called blocked."))
        return 1
    elif HELPER not in answering:
        _say(w.text("No test helper answers: only a name server that lies could be found out."))
    return 0


def _consent(config: Config, w: Words) -> str:
    if config.consent is None:
        return w.text("Consent: `almenara measure` asks for it, unless it was given before.")
    if config.consent:
        return w.text("Consent: given in the configuration.")
    return w.text("Consent: refused in the configuration.")


def _round(config: Config, count: int, w: Words) -> str:
    return w.many(
        "A round is {count} measurement: {number} at once, each within {seconds} s.",
        "A round is {count} measurements: {number} at once, each within {seconds} s.",
        count, number=w.number(config.measure.concurrency), seconds=w.number(config.measure.budget_s),
    )  # fmt: skip


def _carrier(network: Network, w: Words) -> str:
    told = [f"AS{network.asn}" if network.asn else None, network.isp, network.country]
    known = ", ".join(text for text in told if text)
    if not known:
        return w.text("nobody can say whose network this is; declare isp, asn and country")
    return w.text(
        "{network}, as {source}", network=known, source=w.gettext(_SOURCES.get(network.source, network.source))
    )


def _vantage(vantage: VantageConfig, w: Words) -> str:
    network, resolvers = _network(vantage, w), _resolvers(vantage, w)
    return w.text(
        "Vantage {name}: {network}; resolvers {resolvers}", name=vantage.name, network=network, resolvers=resolvers
    )


def _network(vantage: VantageConfig, w: Words) -> str:
    declared = [vantage.isp, f"AS{vantage.asn}" if vantage.asn else None, vantage.country]
    via = vantage.via
    ways = [w.text(way, value=getattr(via, key)) for key, way in _WAYS.items() if via and getattr(via, key)]
    if via and via.proxy:
        ways.append(w.text("proxy {value}", value=proxy(via.proxy).label))
    return ", ".join([text for text in declared if text] + (ways or [w.text("this machine's own connection")]))


def _resolvers(vantage: VantageConfig, w: Words) -> str:
    shown = ", ".join(resolver.label for resolver in assemble.resolvers(vantage))
    if vantage.via and vantage.via.proxy:
        return shown or w.text("none (encrypted ones are asked through the proxy)")
    return shown or w.text("none (this machine has none configured)")


def _say(line: str) -> None:
    sys.stdout.write(one_line(line) + "\n")
    sys.stdout.flush()
