"""What is asked of the process that sends by Apprise, and what it answers. It imports nothing else of ours."""

from msgspec import Struct

PATIENCE_S = 90  # for all of it, beginning included


class Order(Struct, frozen=True, kw_only=True):
    """What the process is to send. thread, delivery: for mail's headers. proxy: nothing may leave but through it.

    only_read: nothing is sent; whether the URL can be understood.
    """

    url: str
    proxy: str | None
    subject: str
    short: str
    html: str
    thread: str
    delivery: str
    only_read: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of it. problem: None where it was sent; no secrets in it."""

    problem: str | None
