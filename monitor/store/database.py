"""One database behind the tables: transactions, and what SQLite and PostgreSQL do differently. No other file knows."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from monitor.messages import Said
from monitor.store.errors import StoreError, damaged, foreign, moved, worded
from monitor.store.names import Names
from monitor.store.place import Place
from monitor.store.schema import VERSION_TABLE, facts, metadata, verdicts

# Facts of one measurement take 1 to 4 KB: less is wasted at the end of a page than with 4096.
PAGE_BYTES = 8192
WAL_BYTES = 64 * 1024 * 1024  # a write-ahead log that grew larger is cut back to this
ROW_BYTES = 450  # PostgreSQL: a verdict with its indexes, estimated
# Numbers of PostgreSQL's advisory locks.
_MIGRATING, _CERTIFICATES, _DECIDING, _CLAIMING = 0x616C6D31, 0x616C6D32, 0x616C6D33, 0x616C6D34
_WRITES = "almenara_writes"


class Database:
    """A database at a place. patience_s: how long to wait for another process that holds it.

    to_read: it may lie where nothing can be written.
    """

    def __init__(self, place: Place, *, patience_s: float, to_read: bool = False) -> None:
        self.place = place
        self.names = Names()
        self.is_sqlite = place.file is not None
        self._one_writer = threading.Lock()
        with worded(place):
            self._engine = (
                _sqlite(place, place.file, patience_s, to_read) if place.file else _postgres(place.url, patience_s)
            )
            self._identity = self._seen()

    def close(self) -> None:
        """Ends its connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store; StoreError."""
        with worded(self.place), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on disk when it ends well, and never was when it does not; StoreError."""
        with self._one_writer, worded(self.place), self._engine.connect() as connection:
            try:
                with connection.execution_options(**{_WRITES: True}).begin():
                    yield connection
                if self._seen() != self._identity:
                    raise moved(self.place)
            except BaseException as exc:
                self.names.forget_new()
                if isinstance(exc, IntegrityError) and self._is_damaged(connection):
                    raise damaged(self.place) from exc
                raise
            self.names.keep_new()

    def _is_damaged(self, connection: Connection) -> bool:
        """Is a row that does not fit to the others the disk's fault, and not ours?"""
        return self.is_sqlite and connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok"

    def _seen(self) -> tuple[int, int] | None:
        """Which file is there now."""
        if self.place.file is None:
            return None
        try:
            found = self.place.file.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def insert(self, table: Table) -> Any:
        """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        if self.is_sqlite:
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # slow to import, and a file does without

        return postgresql.insert(table)

    # --- what only one of them needs ---------------------------------------------------------------------------

    def alone_to_migrate(self, connection: Connection) -> None:
        """Waits until no other process migrates. SQLite's writers are alone anyway."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))

    def alone_to_decide(self, connection: Connection) -> None:
        """Waits until no other process decides on what is told: two would both tell it."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_DECIDING)))

    def alone_to_claim(self, connection: Connection) -> None:
        """Waits until no other process claims a message: two would each find their subscriber free."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_CLAIMING)))

    def using_certificates(self, connection: Connection) -> None:
        """Until the end of the transaction nobody removes certificates."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock_shared(_CERTIFICATES)))

    def removing_certificates(self, connection: Connection) -> None:
        """Waits until nobody adds certificates."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_CERTIFICATES)))

    def used_bytes(self) -> int:
        """What the store takes on disk, without what it has free for use again."""
        with self.reading() as connection:
            if self.is_sqlite:
                pages, free = (connection.scalar(text(f"PRAGMA {name}")) for name in ("page_count", "freelist_count"))
                return int(pages - free) * int(connection.scalar(text("PRAGMA page_size")) or 0)
            stored = connection.scalar(select(func.sum(func.pg_column_size(facts.c.data)))) or 0
            return int(stored) + ROW_BYTES * int(connection.scalar(select(func.count()).select_from(verdicts)) or 0)

    def disk_bytes(self) -> int:
        """About the same, at once however much is stored: PostgreSQL counts what is free, too."""
        if self.is_sqlite:
            return self.used_bytes()
        size = "SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(CAST(:names AS text[])) AS name"
        with self.reading() as connection:
            return int(connection.scalar(text(size), {"names": list(metadata.tables)}) or 0)

    def shrink(self) -> None:
        """Give free pages back to the file system, a few at a time. PostgreSQL's autovacuum needs no reminder."""
        if self.is_sqlite:
            while self._shrink_a_little():
                pass
            with worded(self.place), self._engine.connect() as connection:
                # Not in a transaction. The file is cut when what the log has is in it.
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def _shrink_a_little(self, pages: int = 2000) -> bool:
        with self.writing() as connection:
            before = int(connection.scalar(text("PRAGMA freelist_count")) or 0)
            # It frees one page each time it is asked for another row, and has no rows: SQLAlchemy would not ask.
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(f"PRAGMA incremental_vacuum({pages})")
                cursor.fetchall()
            return 0 < int(connection.scalar(text("PRAGMA freelist_count")) or 0) < before

    def tables(self, connection: Connection) -> set[str]:
        """What is there already."""
        return set(self._engine.dialect.get_table_names(connection))


def _sqlite(place: Place, file: Path, patience_s: float, to_read: bool) -> Engine:
    # By a creator and not by a URL: a file name may hold whatever a URL gives a meaning.
    frozen = to_read and _is_frozen(file)
    target = f"{file.as_uri()}?mode=ro&immutable=1" if frozen else str(file)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(target, timeout=patience_s, isolation_level=None, check_same_thread=False, uri=frozen)

    if not frozen:
        _prepare(place, file, patience_s)
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=16)

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("synchronous=FULL", "foreign_keys=ON", f"journal_size_limit={WAL_BYTES}", "trusted_schema=OFF"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Python's sqlite3 would begin too late, and a reader that turns writer could find itself in another's way.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _is_frozen(file: Path) -> bool:
    """Can nobody write it here, not even the helper files that reading needs? What a log still has must not be missed."""
    log = file.with_name(file.name + "-wal")
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return not writable and not (log.exists() and log.stat().st_size)


def _prepare(place: Place, file: Path, patience_s: float) -> None:
    """What can only be chosen before the first table is there; a file of another's is not touched."""
    with closing(sqlite3.connect(file, timeout=patience_s, isolation_level=None)) as connection:
        [mode] = connection.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            return
        [version] = connection.execute("PRAGMA schema_version").fetchone()
        if version == 0:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        elif not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone():
            raise foreign(place)
        connection.execute("PRAGMA journal_mode=WAL").fetchone()


def _postgres(url: Any, patience_s: float) -> Engine:
    try:
        import psycopg
    except ImportError:
        text = Said("the store: PostgreSQL needs the extra postgres, or the package psycopg")
        raise StoreError("unavailable", text) from None
    settings = f"-c synchronous_commit=on -c lock_timeout={int(1000 * patience_s)} -c timezone=UTC"
    connect = {"connect_timeout": max(2, int(patience_s)), "options": settings, "application_name": "almenara"}
    del psycopg
    return create_engine(url, connect_args=connect, pool_pre_ping=True, pool_size=4, max_overflow=16)


def create_file(file: Path) -> None:
    """An empty file that only its owner may read: who measures what is nobody else's business."""
    new = [folder for folder in file.parents if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in new:
        _fsync(folder.parent)  # SQLite does it for what it makes itself
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _fsync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
