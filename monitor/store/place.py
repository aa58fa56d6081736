"""Where a store is: a file, or a database of a PostgreSQL server."""

import os
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from monitor.messages import Said

POSTGRES_PORT = 5432
_THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1")


class Place(Struct, frozen=True, kw_only=True):
    """file: of SQLite. url: of PostgreSQL, with its password. name: for people, without it.

    is_default: nobody has chosen it, so that its folders are ours to make.
    """

    name: str
    file: Path | None = None
    is_default: bool = False
    url: Any = None


def locate(configured: str | None) -> str:
    """The URL of the configured store, or of the user's own."""
    if configured is not None:
        return configured
    folder = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return f"sqlite:{Path(folder) / 'almenara' / 'almenara.db'}"


def place_of(url: str) -> Place:
    """The place a URL names; ValueError, one line without what may be a password."""
    if url.startswith("sqlite:"):
        file = Path(url.removeprefix("sqlite:")).expanduser().absolute()
        return Place(name=str(file), file=file, is_default=url == locate(None))
    try:
        parsed = make_url(url)
        known = parsed.drivername in ("postgresql", "postgresql+psycopg")
    except (ArgumentError, ValueError):
        known = False
    if not known:
        raise ValueError(Said("the store: expected sqlite:FILE or postgresql://USER:PASSWORD@HOST/DATABASE"))
    return Place(name=_name(parsed), url=parsed.set(drivername="postgresql+psycopg"))


def same_place(url: str) -> str:
    """What all spellings of a place have in common: a file however it is reached, a database whoever asks for it.

    ValueError. Names of one server that differ are different places.
    """
    place = place_of(url)
    if place.file is not None:
        return str(place.file.resolve())
    host, port, database = (_asked(place.url, key) for key in ("host", "port", "database"))
    here = host in _THIS_MACHINE or host.startswith("/")
    return (
        f"postgresql://{'localhost' if here else host.lower()}:{port or POSTGRES_PORT}/{database or place.url.username}"
    )


def _asked(url: URL, key: str) -> str:
    """A part of a URL, which may also stand behind its question mark."""
    behind = url.query.get("dbname" if key == "database" else key) or ""
    return str(getattr(url, key) or (behind if isinstance(behind, str) else behind[0]))


def _name(url: URL) -> str:
    host = url.host or url.query.get("host") or ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host if isinstance(host, str) else host[0]}{port}/{url.database or ''}"
