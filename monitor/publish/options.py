"""What commands that read the store are asked for, as people write it on the command line."""

from collections.abc import Callable
from typing import TypeVar

from monitor.config_values import shown
from monitor.urls import BadUrl, target

T = TypeVar("T")


class NotUnderstood(Exception):
    """An option's value means nothing. Its text is one line."""


def read(option: str, text: str | None, reader: Callable[[str], T]) -> T | None:
    """The value of an option, where it is given; NotUnderstood."""
    try:
        return None if text is None else reader(text)
    except ValueError as exc:
        raise NotUnderstood(f"{option}: {exc}") from None


def site_named(text: str) -> str:
    """A site's name from its host or a URL of it; ValueError."""
    try:
        return target(text if "://" in text else f"https://{text}/").site
    except BadUrl:
        raise ValueError(f"expected a site such as www.example.org, got {shown(text)}") from None
