"""What commands that read the store are asked for, as people write it on the command line."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from monitor.config_values import shown
from monitor.explain import METHOD_WORDS
from monitor.language import here
from monitor.messages import N_, Said
from monitor.moments import moment
from monitor.show import printable
from monitor.store import Store, Wanted
from monitor.urls import BadUrl, site_written

T = TypeVar("T")


class NotUnderstood(Exception):
    """An option's value means nothing. Its text is one line."""


def read(option: str, text: str | None, reader: Callable[[str], T]) -> T | None:
    """The value of an option, where it is given; NotUnderstood."""
    try:
        return None if text is None else reader(text)
    except ValueError as exc:
        raise NotUnderstood(Said("{option}: {problem}", option=option, problem=exc)) from None


def between(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The moments of --since and --until; NotUnderstood, also where nothing can lie between them."""
    now = datetime.now(UTC)
    first = read("--since", since, partial(moment, now=now))
    last = read("--until", until, partial(moment, now=now))
    if first and last and first >= last:
        raise NotUnderstood(
            Said(
                "--until: expected a time after --since, got {until} and {since}",
                until=shown(until), since=shown(since),
            )
        )  # fmt: skip
    return first, last


def method_named(text: str) -> str:
    """A method of interference; ValueError, with those there are."""
    if text not in METHOD_WORDS:
        raise ValueError(Said("expected one of {known}; got {value}", known=", ".join(METHOD_WORDS), value=shown(text)))
    return text


def told_if_unknown(store: Store, *, site: str | None = None, vantage: str | None = None) -> None:
    """Says so on stderr where nothing in the store is of that site, or that vantage: perhaps it is misspelt."""
    wanted = (
        (N_("no measurement in the store is of site {name}"), site, Wanted(site=site, limit=1)),
        (N_("no measurement in the store is of vantage {name}"), vantage, Wanted(vantage=vantage, limit=1)),
    )
    for unknown, name, those in wanted:
        if name is not None and next(iter(store.measurements(those)), None) is None:
            sys.stderr.write(f"almenara: {here().text(unknown, name=printable(name, 80))}\n")


def site_named(text: str) -> str:
    """A site's name from its host or a URL of it; ValueError."""
    try:
        return site_written(text)
    except BadUrl:
        raise ValueError(Said("expected a site such as www.example.org, got {value}", value=shown(text))) from None
