"""Which channel carries a subscription's messages."""

from collections.abc import Callable, Coroutine, Mapping

from monitor.alerts.channels import alertmanager, services, webhook
from monitor.alerts.letters import Letter
from monitor.alerts.subscriptions import Subscription

Send = Callable[[Letter, Subscription], Coroutine[None, None, None]]
CHANNELS: Mapping[str, Send] = {"webhook": webhook.send, "alertmanager": alertmanager.send}


async def understood(subscription: Subscription) -> str | None:
    """Why nothing can be sent there; None: that is not known to be so. Nothing is sent."""
    return None if subscription.channel in CHANNELS else await services.understood(subscription)


async def send(letter: Letter, subscription: Subscription) -> None:
    """Carry one message; Undelivered."""
    await CHANNELS.get(subscription.channel, services.send)(letter, subscription)
