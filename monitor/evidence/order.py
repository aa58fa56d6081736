"""What a service asks of the process that makes a bundle for its reader."""

from msgspec import Struct

PATIENCE_S = 90  # for all of it; the rest of what an answer may take is for reading it


class Order(Struct, frozen=True, kw_only=True):
    """store: its URL. id: of an event, or an incident. output: the zip to make. key: the file of the one to sign with."""

    store: str
    id: str
    language: str
    output: str
    key: str
