"""Errors that are the user's to mend, as the command line tells them: one line and an exit code."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from monitor.messages import Said

COULD_NOT = 1
WRONG_USE = 2
_CANNOT = (  # module and exception: what was not imported cannot have raised it
    ("monitor.absence", "NoVantage"),
    ("monitor.alerts.listing", "Unknown"),
    ("monitor.evidence.errors", "EvidenceError"),
    ("monitor.publish.behind", "EventUnknown"),
    ("monitor.sites", "ListUnavailable"),
    ("monitor.store", "StoreError"),
)
_WRONG = (("monitor.config", "ConfigError"), ("monitor.consent", "ConsentMissing"))
_MISUSED = (("monitor.publish.options", "NotUnderstood"),)


class _WrongUse(click.ClickException):
    exit_code = WRONG_USE


@contextmanager
def worded() -> Iterator[None]:
    """Errors that are the user's to mend become click's."""
    try:
        yield
    except Exception as exc:
        for kinds, made in ((_WRONG, _WrongUse), (_MISUSED, click.UsageError), (_CANNOT, click.ClickException)):
            if isinstance(exc, _imported(kinds)):
                raise made(said(exc)) from None
        raise


def said(what: object) -> str:
    """A message, or an error that carries one, in the language of the terminal."""
    from monitor.language import here

    return here().said(what)


def text(message: str, /, **values: object) -> str:
    """A message of the command line's own, in the language of the terminal."""
    return said(Said(message, **values))


def _imported(kinds: tuple[tuple[str, str], ...]) -> tuple[type[Exception], ...]:
    return tuple(getattr(sys.modules[module], name) for module, name in kinds if module in sys.modules)


def unwritable(exc: OSError) -> int:
    """The standard output takes no more; the exit code."""
    if exc.errno == errno.ENOSPC:
        click.echo(f"almenara: {text('cannot write: no space left')}", err=True)
    # What is still buffered cannot be written either, and Python would say so when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return COULD_NOT
