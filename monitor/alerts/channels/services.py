"""Everything that Apprise knows: mail, Telegram, Matrix, Signal, Mastodon, ntfy, Slack.. in a process of its own.

The process ends with the message: what Apprise needs is not in this program's memory for months, a mail server that
hangs holds up nothing, and a proxy is for this message alone.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from monitor.alerts import messages
from monitor.alerts.channels.plumbing import Undelivered
from monitor.alerts.letters import Letter
from monitor.alerts.order import PATIENCE_S, Order, Outcome
from monitor.alerts.subscriptions import Subscription

_MOST_ANSWER = 4096


async def send(letter: Letter, subscription: Subscription) -> None:
    """Raises Undelivered."""
    said = messages.message(letter, subscription)
    order = Order(
        url=subscription.url, proxy=subscription.proxy, subject=said.subject, short=said.short, html=said.html,
        thread=letter.thread or letter.id, delivery=letter.id,
    )  # fmt: skip
    outcome = await _carried(order)
    if outcome.problem is not None:
        raise Undelivered(outcome.problem)


async def understood(subscription: Subscription) -> str | None:
    """Why its URL is none that Apprise can send to; None: it is one, as far as that can be told without sending."""
    order = Order(
        url=subscription.url, proxy=None, subject="", short="", html="", thread="", delivery="", only_read=True
    )  # fmt: skip
    try:
        return (await _carried(order)).problem
    except Undelivered as exc:
        return str(exc)


async def _carried(order: Order) -> Outcome:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor.alerts.courier", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env=_environment(), start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer, _ = await child.communicate(msgspec.json.encode(order))
        return msgspec.json.decode(answer[:_MOST_ANSWER], type=Outcome)
    except TimeoutError:
        raise Undelivered("no answer in time") from None
    except msgspec.DecodeError:
        raise Undelivered("the sending process ended without a word") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _environment() -> dict[str, str]:
    home = str(Path(__file__).parent.parent.parent.parent)
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}
