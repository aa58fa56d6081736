"""`almenara check`: whether each channel is one, and asks for what there is; with --send-test, a test through all at once,
and what became of each.
"""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from monitor.alerts.channels import choice
from monitor.alerts.channels.plumbing import Undelivered
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import What
from monitor.config import SiteConfig
from monitor.models import Network
from monitor.sites import site_name
from monitor.verdict import RULES_VERSION


async def tried(subscriptions: Sequence[Subscription]) -> list[tuple[str, str | None]]:
    """The name of each, and why the test did not arrive; None: it did."""
    outcomes = await asyncio.gather(*map(_problem, subscriptions))
    return [(one.key, problem) for one, problem in zip(subscriptions, outcomes, strict=True)]


async def understood(subscriptions: Sequence[Subscription]) -> list[tuple[str, str | None]]:
    """The name of each, and why nothing can be sent there; None: that is not known to be so. Nothing is sent."""
    return [(one.key, await choice.understood(one)) for one in subscriptions]  # one after the other: each is a process


def in_vain(one: Subscription, watched: Sequence[SiteConfig], networks: Sequence[Network]) -> list[str]:
    """What a subscription names that is not measured here. networks: of the vantages, as declared; where one does not say
    it, that may be the one. Nothing where others measure for this one.
    """
    sites = {site_name(site.url) for site in watched} | {f"tag:{tag}" for site in watched for tag in site.tags}
    numbers = {f"AS{network.asn}" if network.asn else None for network in networks}
    names = {network.isp and network.isp.casefold() for network in networks}
    countries = {network.country for network in networks}
    return [
        *(site for site in one.settings.sites if _is_unknown(site, sites)),
        *(isp for isp in one.settings.isps if _is_unknown(isp, numbers) and _is_unknown(isp.casefold(), names)),
        *(country for country in one.settings.countries if _is_unknown(country, countries)),
    ]


def _is_unknown(asked: str, known: Collection[str | None]) -> bool:
    return bool(known) and None not in known and asked not in known


async def _problem(subscription: Subscription) -> str | None:
    id = secrets.token_hex(8)
    test = Letter(id=id, what=What.TEST, written=datetime.now(UTC), rules_version=RULES_VERSION, parts=())
    try:
        await choice.send(test, subscription)
    except Undelivered as exc:
        return str(exc)
    return None
