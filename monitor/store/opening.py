"""Opens a store and brings its tables up to date, all of a migration in one transaction or nothing of it."""

import logging
from pathlib import Path

from sqlalchemy import Connection, text

from monitor.messages import N_
from monitor.store.database import Database, create_file
from monitor.store.errors import StoreError, foreign, trouble, worded
from monitor.store.place import Place, place_of
from monitor.store.schema import REVISIONS, VERSION_TABLE, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
_NO_FOLDER = N_("{store} cannot be made: the folder {folder} is not there; mount its disk, or create it")
_NEWER = N_("{store} was written by a newer version of Almenara: update this one; nothing was changed")


def opened(url: str, *, create: bool, patience_s: float) -> Database:
    """The database at a URL, with the tables of this version; StoreError."""
    try:
        place = place_of(url)
    except ValueError as exc:
        raise StoreError("unavailable", exc.args[0]) from None
    _find_file(place, create=create)
    database = Database(place, patience_s=patience_s, to_read=not create)
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _find_file(place: Place, *, create: bool) -> None:
    if place.file is None:
        return
    with worded(place):
        folder = place.file.parent
        if create and not place.is_default and not folder.exists():  # or a disk that is not mounted gets a second store
            raise trouble("unavailable", _NO_FOLDER, place, folder=folder)
        if create:
            create_file(place.file)
        elif not place.file.exists():
            raise trouble("unavailable", N_("{store} is not there: nothing was stored yet"), place)
        if not place.file.is_file():
            raise trouble("unavailable", N_("{store} is no file"), place)


def _migrate(database: Database) -> None:
    with database.reading() as connection:
        if _revision(database, connection) == REVISIONS[-1]:
            return
    with database.writing() as connection:
        database.alone_to_migrate(connection)
        if _revision(database, connection) != REVISIONS[-1]:
            _upgrade(connection)


def _revision(database: Database, connection: Connection) -> str | None:
    """The newest migration it has had; StoreError where this version does not know it, or the tables are another's."""
    tables = database.tables(connection)
    if VERSION_TABLE not in tables:
        if tables & set(metadata.tables) or (tables and database.is_sqlite):
            raise foreign(database.place)
        return None
    revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    if revision is not None and revision not in REVISIONS:
        raise trouble("newer", _NEWER, database.place)
    return str(revision) if revision is not None else None


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it has much to say, from its import on
    # Slow to import, and needed once in a store's life and version.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
