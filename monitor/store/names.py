"""Sites, vantages, rules and the like as numbers: a row is small, a comparison quick.

A name may come from a stranger's measurement: what a text column cannot hold, or an index, becomes something it can.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, select, tuple_

from monitor.models import Network
from monitor.store.schema import Word, names

if TYPE_CHECKING:
    from monitor.store.database import Database

LONGEST = 2000  # bytes; PostgreSQL's index takes 2704
LONGEST_ISP = 200  # characters
MOST_METHODS = 16
MOST_CACHED = 200_000
_AT_ONCE = 500

Key = tuple[Word, str]


class Names:
    """The numbers of names and the names of numbers that are known so far; a name never changes its number."""

    def __init__(self) -> None:
        self._number: dict[Key, int] = {}
        self._text: dict[int, str] = {}
        self._new: dict[Key, int] = {}

    def keep_new(self) -> None:
        """The transaction that brought new names is done."""
        if len(self._number) > MOST_CACHED:
            self._number, self._text = {}, {}
        self._number |= self._new
        self._new = {}

    def forget_new(self) -> None:
        """The transaction that would have brought new names is not: their numbers may go to others."""
        self._new, self._text = {}, {}

    def numbers(self, database: "Database", connection: Connection, wanted: Iterable[Key]) -> dict[Key, int]:
        """The number of each, given now where it has none. In a writing transaction."""
        found, missing = self._known(set(wanted))
        self._look_up(connection, missing)
        again, unknown = self._known(missing)
        if unknown:
            rows = [{"kind": int(kind), "text": text} for kind, text in sorted(unknown)]
            connection.execute(database.insert(names).on_conflict_do_nothing(), rows)
            self._look_up(connection, unknown)
        return found | again | self._known(unknown)[0]

    def number(self, connection: Connection, kind: Word, text: str) -> int | None:
        """The number of a name; None: it never occurred."""
        key = (kind, storable(text))
        if key not in self._number:
            row = connection.execute(
                select(names.c.n).where(names.c.kind == int(kind), names.c.text == key[1])
            ).one_or_none()
            if row is None:
                return None
            self._number[key] = row.n
        return self._number[key]

    def texts(self, connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
        """The names of numbers; what has none is missing."""
        wanted = set(numbers)
        known = self._text
        missing = sorted(wanted - known.keys())
        for start in range(0, len(missing), _AT_ONCE):
            part = missing[start : start + _AT_ONCE]
            rows = connection.execute(select(names.c.n, names.c.text).where(names.c.n.in_(part)))
            known.update((row.n, row.text) for row in rows)
        return {number: known[number] for number in wanted if number in known}

    def all_of(self, connection: Connection, kind: Word) -> dict[int, str]:
        """Every name of a kind of which there are few."""
        rows = connection.execute(select(names.c.n, names.c.text).where(names.c.kind == int(kind)))
        return {row.n: row.text for row in rows}

    def _known(self, keys: set[Key]) -> tuple[dict[Key, int], set[Key]]:
        found = {key: known[key] for known in (self._number, self._new) for key in keys if key in known}
        return found, keys - found.keys()

    def _look_up(self, connection: Connection, keys: set[Key]) -> None:
        ordered = sorted(keys)
        for start in range(0, len(ordered), _AT_ONCE):
            part = [(int(kind), text) for kind, text in ordered[start : start + _AT_ONCE]]
            rows = connection.execute(select(names).where(tuple_(names.c.kind, names.c.text).in_(part)))
            self._new.update(((Word(row.kind), row.text), row.n) for row in rows)


def storable(text: str) -> str:
    """The text, or, where it cannot stand in a column, a printable one of its own that can."""
    if text.isascii() and len(text) <= LONGEST and "\x00" not in text:
        return text
    encoded = text.encode("utf-8", "surrogatepass")
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "�")
    if clean == text and len(encoded) <= LONGEST:
        return text
    mark = "~" + hashlib.sha256(encoded).hexdigest()[:16]
    return clean.encode()[: LONGEST - len(mark)].decode("utf-8", "ignore") + mark


def network_text(network: Network) -> str:
    """A network as a name."""
    isp = storable(network.isp[:LONGEST_ISP]) if network.isp is not None else None
    told = (as_number(network.asn) or None, isp, *(_short(one) for one in (network.country, network.source)))
    return storable(msgspec.json.encode(told).decode())


def network_of(text: str) -> Network:
    """The network of such a name."""
    asn, isp, country, source = msgspec.json.decode(text)
    return Network(asn=asn, isp=isp, country=country, source=source)


def as_number(asn: int | None) -> int:
    """The number of an autonomous system; 0: none that can be one."""
    return asn if asn is not None and 0 < asn < 2**32 else 0


def methods_text(methods: tuple[str, ...]) -> str:
    """A verdict's methods as one name; none of them holds a comma."""
    return storable(",".join(storable(method[:100]).replace(",", ";") for method in methods[:MOST_METHODS]))


def methods_of(text: str) -> tuple[str, ...]:
    """The methods of such a name."""
    return tuple(text.split(",")) if text else ()


def _short(text: str | None) -> str | None:
    return None if text is None else storable(text[:40])
