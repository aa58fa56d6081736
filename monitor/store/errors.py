"""The one door for errors of databases: by error codes, never by message text, into one line that says what to do.

A password is never in it: a place is named by its file, or by host and database.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy.exc import DBAPIError

from monitor import system_errors
from monitor.messages import N_, Said
from monitor.store.place import Place

LEAST_FREE = 1024 * 1024  # bytes; with less, SQLite's helper files cannot grow, and it says "disk I/O error"

_HOW_TO_RECOVER = N_(
    "{store} is damaged; nothing was changed: move it aside (with its -wal and -shm files) and start afresh, "
    "or recover a copy of it with `sqlite3 FILE .recover`"
)
_NO_DATABASE = N_(
    "{store} is no database, or its beginning is damaged; it was left as it is: name another place in `store`, "
    "move it aside (with its -wal and -shm files), or recover a copy of it with `sqlite3 FILE .recover`"
)
_FOREIGN = N_("{store} is not an Almenara store, and was left as it is: name another place in `store`")
_FULL = ("full", N_("{store} cannot be written: the disk is full; make space"))
_READ_ONLY = ("read_only", N_("{store} cannot be written: it, or its folder, is read-only for this user"))
_HELD = ("locked", N_("{store} is held by another process; end it, or try again later"))
_IN_THE_WAY = ("unavailable", N_("{store} cannot be there: a part of its path is a file"))
_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_PROTOCOL: _HELD,
    sqlite3.SQLITE_CORRUPT: ("corrupt", _HOW_TO_RECOVER),
    sqlite3.SQLITE_NOTADB: ("corrupt", _NO_DATABASE),
    sqlite3.SQLITE_CANTOPEN: (
        "unavailable",
        N_("{store} cannot be opened: check that its folder is there, for this user"),
    ),
    sqlite3.SQLITE_IOERR: ("unavailable", N_("{store} cannot be read or written: the disk reports an error")),
    sqlite3.SQLITE_NOLFS: ("full", N_("{store} cannot grow any further on this file system")),
    sqlite3.SQLITE_NOMEM: ("unavailable", N_("{store} cannot be used: there is not enough memory")),
}
# PostgreSQL's SQLSTATE, the longest beginning that fits.
_POSTGRES = {
    "53100": ("full", N_("{store} cannot be written: the server's disk is full; make space there")),
    "25006": ("read_only", N_("{store} cannot be written: the server is read-only")),
    "42501": ("read_only", N_("{store} cannot be written: this user may not create or change its tables")),
    "55P03": _HELD,
    "57014": ("locked", N_("{store} took too long; try again later")),
    "40": _HELD,
    "XX001": ("corrupt", N_("{store} is damaged: restore it from a backup")),
    "XX002": ("corrupt", N_("{store} is damaged: an index is broken; REINDEX DATABASE may mend it")),
    "28": ("unavailable", N_("{store} does not let this user in: check name and password in `store`")),
    "3D": ("unavailable", N_("{store} does not exist: create the database with `createdb`")),
    "53300": ("unavailable", N_("{store} has no connection left for this user")),
    "": ("unavailable", N_("{store} cannot be reached: check that the server runs, and the address in `store`")),
}
_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
}
_UNUSABLE = ("unavailable", N_("{store} cannot be used: {problem}"))
_MOVED = N_("{store} was moved or deleted while in use: put it back, or start again")


class StoreError(Exception):
    """The store cannot be used, now or at all; its text is one line: where, what, and what to do.

    kind: "full", "read_only", "locked", "corrupt", "newer" or "unavailable".
    """

    def __init__(self, kind: str, text: Said | str) -> None:
        super().__init__(text)
        self.kind = kind


def trouble(kind: str, message: str, place: Place, **values: object) -> StoreError:
    """message: names the place as {store}."""
    return StoreError(kind, Said(message, store=" ".join(place.name.split()), **values))


@contextmanager
def worded(place: Place) -> Iterator[None]:
    """What a database or the file system raises inside becomes a StoreError; bugs stay what they are."""
    try:
        yield
    except DBAPIError as exc:
        told = _told(exc.orig, place)
        if told is None:
            raise
        raise trouble(*told, place) from exc
    except sqlite3.Error as exc:
        told = _told(exc, place)
        if told is None:
            raise
        raise trouble(*told, place) from exc
    except UnicodeDecodeError as exc:  # a message of SQLite's with the damaged bytes in it
        raise damaged(place) from exc
    except OSError as exc:
        kind, message = _ERRNO.get(exc.errno or 0, _UNUSABLE)
        raise trouble(kind, message, place, problem=system_errors.problem(exc)) from exc


def damaged(place: Place) -> StoreError:
    """What is read is not what was written."""
    return trouble("corrupt", _HOW_TO_RECOVER, place)


@contextmanager
def consistent(place: Place) -> Iterator[None]:
    """What is read is made something of: where nothing can be made of it, it is not what was written; StoreError."""
    try:
        yield
    except (KeyError, ValueError, OverflowError, TypeError, msgspec.DecodeError) as exc:
        raise damaged(place) from exc


def foreign(place: Place) -> StoreError:
    """It belongs to another program."""
    return trouble("corrupt", _FOREIGN, place)


def moved(place: Place) -> StoreError:
    """What is open is not what is there any more: what is written now would be gone with the process."""
    return trouble("unavailable", _MOVED, place)


def _told(exc: Any, place: Place) -> tuple[str, str] | None:
    """Kind and words; None for what is a bug of ours."""
    if isinstance(exc, sqlite3.Error):
        # Only text that is no text is an operational error without a code.
        no_code = sqlite3.SQLITE_CORRUPT if isinstance(exc, sqlite3.OperationalError) else sqlite3.SQLITE_OK
        return _told_sqlite(getattr(exc, "sqlite_errorcode", no_code), place)
    return _told_postgres(exc)


def _told_sqlite(code: int, place: Place) -> tuple[str, str] | None:
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and place.file is not None:
        folder = place.file.parent
        if not folder.is_dir():
            return "unavailable", N_("{store} cannot be opened: its folder is not there")
        if _free(folder) < LEAST_FREE:
            return _SQLITE[sqlite3.SQLITE_FULL]
        if not os.access(folder, os.W_OK) or _is_read_only(folder):
            return _SQLITE[sqlite3.SQLITE_READONLY]
    return _SQLITE.get(primary)


def _told_postgres(exc: Any) -> tuple[str, str] | None:
    state = getattr(exc, "sqlstate", None) or _state_of_connecting(exc)
    if state[:2] in ("22", "23", "42") and state not in _POSTGRES:
        return None
    return next(told for start, told in _POSTGRES.items() if state.startswith(start))


def _state_of_connecting(exc: Any) -> str:
    """What libpq does not say of a connection that failed: whether it was the password."""
    connection = getattr(exc, "pgconn", None)
    asked = connection is not None and (connection.used_password or connection.needs_password)
    return "28P01" if asked else ""


def _free(folder: os.PathLike[str]) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def _is_read_only(folder: os.PathLike[str]) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
