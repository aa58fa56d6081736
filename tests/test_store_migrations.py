"""The migrations lead to the tables that the code knows, all at once or not at all, in silence."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from monitor.store import Store, StoreError
from monitor.store.opening import MIGRATIONS
from monitor.store.place import place_of
from monitor.store.schema import REVISIONS, VERSION_TABLE, metadata

ROOT = Path(__file__).parent.parent


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_the_known_versions_are_the_migrations_in_their_order():
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    assert tuple(revisions) == REVISIONS
    assert all(not script.is_branch_point for script in scripts().walk_revisions())


def test_the_migrations_make_the_tables_that_the_code_knows(new_store_url: str):
    Store.open(new_store_url).close()
    place = place_of(new_store_url)
    engine = create_engine(place.url or f"sqlite:///{place.file}")
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_what_goes_wrong_in_the_middle_leaves_nothing(tmp_path: Path):
    """The disk ends after so many pages, wherever that is in the migration."""
    outcomes = set()
    for pages in range(2, 80, 13):
        file = tmp_path / f"{pages}.db"
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, str(file), str(pages)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.stderr == ""
        outcomes.add(done.stdout.strip())
        with Store.open(f"sqlite:{file}") as store:
            store.remember("a", b"b")
    assert "full []" in outcomes
    assert any(outcome.startswith("done") for outcome in outcomes)


INTERRUPTED = """
import resource, signal, sqlite3, sys
from monitor.store import Store, StoreError
file, pages = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sqlite3.connect(file).close()
resource.setrlimit(resource.RLIMIT_FSIZE, (pages * 8192, resource.RLIM_INFINITY))
try:
    Store.open("sqlite:" + file).close()
    print("done")
except StoreError as exc:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    connection = sqlite3.connect(file)
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    print("full" if exc.kind in ("full", "unavailable") else exc.kind, tables)
"""


def test_several_may_open_a_new_store_at_once(new_store_url: str):
    failures: list[BaseException] = []

    def work() -> None:
        try:
            Store.open(new_store_url, patience_s=30).close()
        except StoreError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_opening_is_silent(tmp_path: Path, level: str):
    code = f"import logging; logging.basicConfig(level='{level}')\nfrom monitor.store import Store\n"
    code += f"for _ in 'ab': Store.open('sqlite:{tmp_path}/s.db').close()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_current_store_opens_without_alembic(tmp_path: Path):
    Store.open(f"sqlite:{tmp_path}/s.db").close()
    code = f"import sys; from monitor.store import Store; Store.open('sqlite:{tmp_path}/s.db').close()"
    code += "; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"
