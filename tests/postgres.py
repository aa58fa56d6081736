"""A PostgreSQL server of our own for tests: on a socket in a folder, without a port; it ends with the test run.

Debian's programs, found where Debian puts them; as another user where the tests run as root, since PostgreSQL refuses.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

SUPERUSER, PASSWORD = "almenara", "s3cret:p@ss/word"
STARTS_S = 30.0
_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "max_connections": "60", "shared_buffers": "32MB", "jit": "off",
    "autovacuum": "off",
}  # fmt: skip


class Postgres:
    """A running server. Where it cannot be: pytest's skip."""

    def __init__(self, folder: Path, programs: Path, user: dict[str, Any]) -> None:
        self.folder, self._programs, self._user = folder, programs, user
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()

    def create(self) -> None:
        """A cluster that asks for the password also on its socket, in an order of text that is not that of bytes."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        command = [self._programs / "initdb", "-D", self.folder / "data", "-U", SUPERUSER, "-A", "scram-sha-256"]
        command += [f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **self._user)
        if done.returncode != 0:
            pytest.skip(f"initdb fails: {done.stderr.strip()[-300:]}")

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user)
        deadline = time.monotonic() + STARTS_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, connections or not, by its process id."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # its "immediate shutdown"
            self._process.wait(30)
            self._process = None

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        """Where a database is."""
        from urllib.parse import quote

        return f"postgresql://{SUPERUSER}:{quote(password, safe='')}@/{database}?host={self.folder}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of an empty database, or of a copy of another."""
        name = f"store{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def name_of(self, url: str) -> str:
        """The name of the database at a URL of ours."""
        return url.split("/")[3].split("?")[0]

    def run(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run SQL as the owner of everything."""
        import psycopg

        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        done = subprocess.run([self._programs / "pg_isready", "-q", "-h", self.folder], timeout=10, check=False)
        return done.returncode == 0


@contextmanager
def running() -> Iterator[Postgres]:
    """A server while the block runs."""
    found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    user: dict[str, Any] = {}
    # In a short folder: the name of a socket may have a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if os.geteuid() == 0:
        other = pwd.getpwnam("nobody")
        user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
        os.chown(folder, other.pw_uid, other.pw_gid)
    folder.chmod(0o755)
    server = Postgres(folder, Path(found).resolve().parent, {**user, "cwd": folder})
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
