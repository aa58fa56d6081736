"""`almenara check`: whether each channel is one; with --send-test, a test through all at once, and what became of each."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from monitor.alerts.channels import choice
from monitor.alerts.channels.plumbing import Undelivered
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription
from monitor.alerts.threads import What
from monitor.verdict import RULES_VERSION


async def tried(subscriptions: Sequence[Subscription]) -> list[tuple[str, str | None]]:
    """The name of each, and why the test did not arrive; None: it did."""
    outcomes = await asyncio.gather(*map(_problem, subscriptions))
    return [(one.key, problem) for one, problem in zip(subscriptions, outcomes, strict=True)]


async def understood(subscriptions: Sequence[Subscription]) -> list[tuple[str, str | None]]:
    """The name of each, and why nothing can be sent there; None: that is not known to be so. Nothing is sent."""
    return [(one.key, await choice.understood(one)) for one in subscriptions]  # one after the other: each is a process


async def _problem(subscription: Subscription) -> str | None:
    id = secrets.token_hex(8)
    test = Letter(id=id, what=What.TEST, written=datetime.now(UTC), rules_version=RULES_VERSION, parts=())
    try:
        await choice.send(test, subscription)
    except Undelivered as exc:
        return str(exc)
    return None
