"""A webhook: JSON, signed, so that its receiver knows who sent it, and when.

X-Almenara-Signature: t=1516021500,v1=<hex of HMAC-SHA256 by the secret of "1516021500." and the body>
X-Almenara-Delivery: <the delivery's id, the same at each attempt>
"""

import hashlib
import hmac
import time

from monitor import identity
from monitor.alerts import machine
from monitor.alerts.channels.plumbing import post
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription


async def send(letter: Letter, subscription: Subscription) -> None:
    """Raises Undelivered."""
    body = machine.body(letter, subscription)
    headers = {
        "X-Almenara-Signature": signature(secret_of(subscription), body, int(time.time())),
        "X-Almenara-Delivery": letter.id, "Idempotency-Key": letter.id,
    }  # fmt: skip
    await post(subscription.url, body, headers, subscription.proxy)


def signature(secret: str, body: bytes, at: int) -> str:
    """Of a body, at a time in seconds since 1970."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def secret_of(subscription: Subscription) -> str:
    """The one that was agreed on; else one that is this installation's for that receiver."""
    return subscription.secret or identity.derived(f"webhook\n{subscription.url}")
