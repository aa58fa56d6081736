"""`almenara alerts`: the messages that were decided on, and what became of them; one in full; another try by hand."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from monitor.alerts import letters, messages
from monitor.alerts.channels.webhook import secret_of
from monitor.alerts.problems import problem_words
from monitor.alerts.subscriptions import Subscription, subscribed
from monitor.alerts.threads import WORDS
from monitor.config import Config
from monitor.language import Words, here
from monitor.messages import N_
from monitor.moments import local_and_utc
from monitor.show import printable, results_console
from monitor.store import Delivery, Sending, Store, locate
from monitor.wording import instant

MOST = 50
_MOST_LINE = 4000
STATES = {
    Sending.WAITING: ("…", N_("waiting"), "yellow"),
    Sending.SENT: ("✓", N_("sent"), "green"),
    Sending.GIVEN_UP: ("✗", N_("given up"), "bold red"),
    Sending.MERGED: ("·", N_("told with a later one"), "dim"),
}
NAMES = {state.name.lower(): state for state in STATES}


class Unknown(Exception):
    """No such message, or no such subscription. Its text is one line."""


def run(
    config: Config,
    file: Path | None,
    *,
    state: str | None,
    json: bool,
    show: str | None,
    retry: str | None,
    secrets: bool,
) -> int:
    """Do what is asked for, by default list; 0. Raises ConfigError, StoreError, Unknown."""
    subscriptions = subscribed(config, file) if show or secrets else ()
    if secrets:
        return _secrets(subscriptions)
    with Store.open(locate(config.store), create=retry is not None) as store:
        if retry:
            return _retry(store, retry)
        return _show(store, show, subscriptions) if show else _list(store, state, json=json)


def _list(store: Store, state: str | None, *, json: bool) -> int:
    """The newest of them."""
    states = [NAMES[state]] if state else list(STATES)
    found = store.outbox.listed(states, MOST)
    if json:
        for one in found:
            sys.stdout.buffer.write(msgspec.json.encode(_told(one)) + b"\n")
        return 0
    words = here()
    if not found:
        none = words.text("no alert is in that state") if state else words.text("no alert so far")
        sys.stderr.write(f"almenara: {none}\n")
        return 0
    results_console().print(_table(found, words))
    return 0


def _retry(store: Store, which: str) -> int:
    """Let `almenara run` try again what was given up, or waits: one message or `all`."""
    ids = None if which == "all" else [which]
    # What is no text could not be asked for.
    number = store.outbox.retry(ids, datetime.now(UTC)) if which.isprintable() else 0
    if ids and not number:
        raise Unknown(here().text("no message {id} waits or was given up", id=printable(which, 40)))
    said = here().many(
        "{count} message is tried again, as soon as almenara run runs",
        "{count} messages are tried again, as soon as almenara run runs",
        number,
    )
    sys.stdout.write(said + "\n")
    return 0


def _show(store: Store, id: str, subscriptions: Sequence[Subscription]) -> int:
    """A message as its subscriber read it, made again from the store."""
    one = store.outbox.delivery(id) if id.isprintable() else None
    if one is None:
        raise Unknown(here().text("no message {id} in the store", id=printable(id, 40)))
    subscription = next((known for known in subscriptions if known.key == one.subscription), None)
    if subscription is None:
        raise Unknown(
            here().text("nobody is called {name} in the configuration now", name=printable(one.subscription, 80))
        )
    try:
        letter = letters.decoded(one.data)
    except msgspec.DecodeError:
        raise Unknown(here().text("message {id} is damaged, or of another version", id=one.id)) from None
    said = messages.message(letter, subscription)
    for line in (said.subject, "", *said.full.splitlines()):
        sys.stdout.write(printable(line, _MOST_LINE) + "\n")
    return 0


def _secrets(subscriptions: Sequence[Subscription]) -> int:
    """What each webhook's receiver must know to check signatures."""
    for one in subscriptions:
        if one.channel == "webhook":
            sys.stdout.write(f"{one.key} {secret_of(one)}\n")
    return 0


def _told(one: Delivery) -> dict[str, object]:
    times = {
        "created": one.created,
        "next": one.next if one.state is Sending.WAITING else None,
        "finished": one.finished,
    }
    return {
        "id": one.id, "to": one.subscription, "channel": one.channel, "thread": one.thread or None, "what": one.what,
        "state": one.state.name.lower(), "attempts": one.attempts, "error": one.error or None,
        **{name: instant(when) if when else None for name, when in times.items()},
    }  # fmt: skip


def _table(found: Sequence[Delivery], words: Words) -> Table:
    headings = (N_("decided"), N_("to"), N_("what"), N_("state"), N_("attempts"), N_("why"), N_("message"))
    table = Table(*map(words.gettext, headings), box=None, pad_edge=False)
    for one in found:
        shape, word, style = STATES[one.state]
        state = Text(f"{shape} {words.gettext(word)}", style=style)
        if one.state is Sending.WAITING and one.attempts:
            state.append(words.text(", again {time}", time=local_and_utc(one.next)))
        what = words.gettext(WORDS[one.what]) if one.what in WORDS else printable(one.what, 40)
        table.add_row(
            local_and_utc(one.created), printable(one.subscription, 40), what, state,
            str(one.attempts), printable(problem_words(words, one.error), 60), printable(one.id, 40),
        )  # fmt: skip
    return table
