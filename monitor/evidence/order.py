"""What a service asks of the process that makes a bundle for its reader, and how bundles are called."""

import re

from msgspec import Struct

from monitor.models import Event, Incident


class Order(Struct, frozen=True, kw_only=True):
    """store: its URL. id: of an event, or an incident. output: the zip to make. key: the file of the one to sign with."""

    store: str
    id: str
    language: str
    output: str
    key: str


def name_of(about: Event | Incident) -> str:
    """Of its bundle, without an ending."""
    return f"almenara-{re.sub('[^A-Za-z0-9]', '-', about.id)[:64]}"
