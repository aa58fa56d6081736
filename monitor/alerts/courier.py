"""A process that sends one message by Apprise and ends: an Order on its standard input, an Outcome on its output.

What Apprise and its libraries say may hold passwords and tokens: of all that, only words that are listed here go on.
"""

import logging
import re
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from monitor.alerts import passage
from monitor.alerts.order import PATIENCE_S, Order, Outcome

_MOST_ORDER = 4 * 1024 * 1024
# Of addresses; a message takes some 200 MB of them. Apprise reads whatever a receiver answers, without an end if need be.
_MOST_MEMORY = 512 * 1024 * 1024
_MISSING = "needs the extra alerts: pip install 'almenara[alerts]'"
# What is looked for in others' words -> ours.
_PROBLEMS = {
    "the proxy refuses": "the proxy refuses",
    "auth extension not supported": "it takes no login: leave name and password out",
    "starttls extension not supported": "it does not encrypt (STARTTLS)",
    "authentication": "the login is refused",
    "connection refused": "the connection is refused",
    "name or service not known": "its name cannot be found",
    "temporary failure in name resolution": "its name cannot be found",
    "no address associated": "its name cannot be found",
    "certificate verify failed": "its certificate is not valid",
    "timed out": "no answer in time",
    "network is unreachable": "it cannot be reached",
    "no route to host": "it cannot be reached",
    "connection reset": "the connection was reset",
    "connection unexpectedly closed": "the connection was closed",
}
_OUTSIDE = "it does not go through a proxy"
_STATUS = re.compile(r"error ?[=:] ?\(?([1-5]\d\d)\b|\berror=([1-5]\d\d)")
_REPLY = re.compile(r"\(([45]\d\d), b?['\"]")  # of a mail server


class _Heard(logging.Handler):
    """What was said, for nobody but us."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> None:
    """Send it and say what became of it."""
    _limit()
    order = msgspec.json.decode(sys.stdin.buffer.read(_MOST_ORDER), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(Outcome(problem=_problem(order))))


def _limit() -> None:
    """In memory; and in time, should nobody be there any more who ends this process."""
    signal.alarm(PATIENCE_S)
    with suppress(OSError, ValueError):  # what not every kernel knows
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _problem(order: Order) -> str | None:
    """None where it was sent."""
    outside: list[str] = []
    if order.proxy is not None:
        passage.confine(order.proxy, outside.append)
    try:
        import apprise
        from apprise.plugins.email import NotifyEmail
    except ImportError:
        return _MISSING
    heard = _Heard()
    root = logging.getLogger()
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(
        app_id="Almenara", app_desc="Almenara", app_url="", http_redirects=False, async_mode=False
    )
    service = apprise.Apprise.instantiate(order.url, asset=asset, suppress_exceptions=True)
    if service is None:
        return "expected a URL that Apprise understands"
    if order.only_read:
        return None
    body, title, form = order.short, "", apprise.NotifyFormat.TEXT
    if isinstance(service, NotifyEmail):
        service.headers.update(_headers(order))
        body, title, form = order.html, order.subject, apprise.NotifyFormat.HTML
    sending = apprise.Apprise(asset=asset)
    sending.add(service)
    done = sending.notify(body=body, title=title, body_format=form)
    if done:
        return None
    return _OUTSIDE if outside else _words(heard.lines)


def _headers(order: Order) -> dict[str, str]:
    """Every mail of a thread answers the same mail, which there never was: so they stand together."""
    root = f"<{order.thread}@thread.almenara.invalid>"
    return {
        "References": root,
        "In-Reply-To": root,
        "X-Almenara-Delivery": order.delivery,
        "Auto-Submitted": "auto-generated",
    }


def _words(lines: Iterable[str]) -> str:
    """What went wrong, in words that are ours."""
    for line in reversed(list(lines)):
        low = line.lower()
        known = next((ours for theirs, ours in _PROBLEMS.items() if theirs in low), None)
        if known is not None:
            return known
        status = _STATUS.search(low) or _REPLY.search(low)
        if status:
            return f"refused ({next(filter(None, status.groups()))})"
    return "the service did not take it"


if __name__ == "__main__":
    main()
