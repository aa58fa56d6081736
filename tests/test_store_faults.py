"""A full disk, a read-only or damaged one, another process, a dead server: one clear line, nothing lost, and healing."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from postgres import PASSWORD, Postgres
from store_cases import BEGAN, real, small

from monitor.models import Measurement
from monitor.store import Store, StoreError, locate

ROOT = Path(__file__).parent.parent
KEPT = [small(number) for number in range(300)]


def filled(file: Path) -> Path:
    file.parent.mkdir(exist_ok=True)
    with Store.open(f"sqlite:{file}") as store:
        store.append(KEPT)
    return file


def failing(work: Any, *arguments: Any, **options: Any) -> StoreError:
    with pytest.raises(StoreError) as raised:
        work(*arguments, **options)
    told = str(raised.value)
    assert "\n" not in told
    assert len(told) < 400
    return raised.value


def large(number: int) -> Measurement:
    return small(number, software=Random(number).randbytes(20_000).hex())


def bare(one: Measurement) -> Measurement:
    return msgspec.structs.replace(one, verdict=None)


def run_apart(code: str, *command: str, **options: Any) -> None:
    """Run Python in a process of its own, which has this folder's modules and must not fail."""
    program = [*command, sys.executable, "-c", textwrap.dedent(code)]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        program, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- full ------------------------------------------------------------------------------------------------------------

FILLING = """
    import os, subprocess, sys
    from pathlib import Path
    from test_store_faults import failing, large
    from monitor.store import Store

    folder = Path({folder!r})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes({ballast}))
    store = Store.open(f"sqlite:{{folder}}/store.db", patience_s=1)
    acknowledged = 0
    try:
        while True:
            store.append([large(acknowledged)])
            acknowledged += 1
            assert acknowledged < 1000
    except Exception as exc:
        error = exc
    assert (type(error).__name__, error.kind) == ("StoreError", "full"), repr(error)
    assert str(error) == f"{{folder}}/store.db cannot be written: the disk is full; make space"
    assert acknowledged >= 5
    assert failing(store.append, [large(acknowledged), large(acknowledged + 1)]).kind == "full"
    assert failing(store.remember, "x", os.urandom(3_000_000)).kind == "full"
    assert sum(1 for _ in store.measurements()) == acknowledged  # all of it can be read meanwhile

    ballast.unlink()
    assert store.append([large(acknowledged)]) == 1  # the same Store
    store.close()
    with Store.open(f"sqlite:{{folder}}/store.db") as again:
        assert [one.id for one in again.points()] == [f"m{{n:06}}" for n in range(acknowledged + 1)]
        assert sum(one.count for one in again.rollups()) == acknowledged + 1
"""


@pytest.mark.root
@pytest.mark.parametrize("ballast", [2_000_000, 1_500_000, 1_777_777])
def test_a_full_disk_costs_nothing_that_was_stored_and_heals(tmp_path: Path, ballast: int) -> None:
    """A file system of 3 MB, in a mount namespace of its own, so that it goes with the process."""
    run_apart(FILLING.format(folder=str(tmp_path), ballast=ballast), "unshare", "--mount")


@pytest.mark.root
def test_no_room_even_to_begin_is_told(tmp_path: Path) -> None:
    code = """
        import subprocess
        from pathlib import Path
        from test_store_faults import failing, filled
        from monitor.store import Store

        folder = Path({folder!r})
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
        for room in (0, 4096, 20_000, 100_000, 200_000):
            (folder / "ballast").write_bytes(bytes(1024 * 1024 - room))
            for again in range(2):
                assert failing(Store.open, f"sqlite:{{folder}}/store.db").kind == "full", room
            (folder / "ballast").unlink()
        Store.open(f"sqlite:{{folder}}/store.db").close()
    """
    run_apart(code.format(folder=str(tmp_path)), "unshare", "--mount")


def test_a_file_that_may_not_grow_costs_nothing_and_heals(tmp_path: Path) -> None:
    """A quota, or a file system's limit, as the shell's `ulimit -f` makes one."""
    code = """
        import resource, signal
        from test_store_faults import failing, large
        from monitor.store import Store

        store = Store.open("sqlite:{folder}/store.db")
        store.append([large(0)])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        number = 1
        try:
            while number < 1000:
                store.append([large(number)])
                number += 1
        except Exception as exc:
            error = exc
        assert type(error).__name__ == "StoreError" and error.kind in ("full", "unavailable"), repr(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert store.append([large(number)]) == 1
        assert store.count() == number + 1
    """
    run_apart(code.format(folder=tmp_path))


# --- read-only -------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_on_a_read_only_disk_all_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    filled(folder / "store.db")
    code = """
        import subprocess
        from test_store_faults import KEPT, failing, large
        from monitor.store import Store

        subprocess.run(["mount", "--bind", {folder!r}, {folder!r}], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", {folder!r}], check=True)
        url = "sqlite:{folder}/store.db"
        error = failing(Store.open, url)
        assert error.kind == "read_only", error
        assert "cannot be written: it, or its folder, is read-only" in str(error)
        assert failing(Store.open, "sqlite:{folder}/new.db").kind == "read_only"
        with Store.open(url, create=False) as store:
            assert list(store.measurements()) == KEPT
            assert failing(store.append, [large(1000)]).kind == "read_only"
            assert failing(store.remember, "a", b"").kind == "read_only"
    """
    run_apart(code.replace("{folder!r}", repr(str(folder))).replace("{folder}", str(folder)), "unshare", "--mount")


def test_a_file_of_another_user_can_be_read_and_is_left_alone(tmp_path: Path) -> None:
    """As nobody, where the tests run as root, whom no permission stops."""
    file = filled(tmp_path / "theirs" / "store.db")
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.owner() == file.owner() and parent != Path("/tmp"):
            parent.chmod(0o755)
    file.chmod(0o444)
    file.parent.chmod(0o555)
    code = """
        import os
        from test_store_faults import KEPT, failing, large
        import alembic.command, alembic.config, encodings.idna
        from monitor.store import Store

        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        error = failing(Store.open, "sqlite:{file}")
        assert error.kind == "read_only", error
        assert failing(Store.open, "sqlite:{folder}/new.db").kind == "read_only"
        with Store.open("sqlite:{file}", create=False) as store:
            assert list(store.measurements()) == KEPT
            assert failing(store.append, [large(1000)]).kind == "read_only"
    """
    try:
        run_apart(code.format(file=file, folder=file.parent))
    finally:
        file.parent.chmod(0o755)


# --- locked ----------------------------------------------------------------------------------------------------------


def test_another_process_that_writes_is_waited_for_and_then_told(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    other = sqlite3.connect(file, isolation_level=None)
    with Store.open(f"sqlite:{file}", patience_s=0.1) as store:
        other.execute("BEGIN IMMEDIATE")
        error = failing(store.append, [small(1000)])
        assert (error.kind, str(error)) == ("locked", f"{file} is held by another process; end it, or try again later")
        assert list(store.measurements()) == KEPT  # readers do not wait
        other.execute("ROLLBACK")
        assert store.append([small(1000)]) == 1
    other.close()


def test_a_file_held_alone_by_another_process_is_told(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    assert failing(Store.open, f"sqlite:{file}", patience_s=0.1).kind == "locked"
    other.close()
    with Store.open(f"sqlite:{file}") as store:
        assert store.count() == 300


# --- damaged, or not ours --------------------------------------------------------------------------------------------


def test_a_damaged_beginning_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    for start, end in ((0, 16), (0, 100), (16, 60)):
        broken = bytearray(file.read_bytes())
        broken[start:end] = Random(start).randbytes(end - start)
        other = tmp_path / f"broken{start}-{end}.db"
        other.write_bytes(broken)
        error = failing(Store.open, f"sqlite:{other}")
        assert error.kind == "corrupt"
        assert "recover" in str(error)
        assert "aside" in str(error)
        assert other.read_bytes() == broken


def test_a_damaged_middle_is_told_when_it_is_met(tmp_path: Path) -> None:
    """Whatever is overwritten: facts come back as they were, or an error comes; never another error, or other facts."""
    file = filled(tmp_path / "store.db")
    whole, chance, kinds = file.read_bytes(), Random(1), Counter[str]()
    for number in range(40):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 5, 20))):
            at = chance.randrange(100, len(broken) - 600)
            broken[at : at + 600] = chance.randbytes(600)
        other = tmp_path / f"{number}.db"
        other.write_bytes(broken)
        try:
            with Store.open(f"sqlite:{other}") as store:
                read = {one.id: bare(one) for one in store.measurements()}
                list(store.points())
        except StoreError as exc:
            kinds[exc.kind] += 1
        else:
            assert all(read[one.id] == bare(one) for one in KEPT if one.id in read)
    assert set(kinds) == {"corrupt"}
    assert kinds["corrupt"] > 5


def test_one_damaged_measurement_does_not_cost_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = filled(tmp_path / "store.db")
    with sqlite3.connect(file) as other:
        other.execute("UPDATE facts SET data = x'00112233' WHERE n = 7")
        other.execute("UPDATE facts SET format = 99 WHERE n = 8")
    other.close()
    with Store.open(f"sqlite:{file}") as store:
        assert [one.id for one in store.measurements()] == [
            one.id for one in KEPT if one.id not in ("m000006", "m000007")
        ]
        assert [record.args[0] for record in caplog.records if record.args] == ["m000006", "m000007"]
        assert failing(store.measurement, "m000006").kind == "corrupt"
        assert len(list(store.points())) == 300


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    with file.open("r+b") as whole:
        whole.truncate(file.stat().st_size // 2)
    with pytest.raises(StoreError) as raised, Store.open(f"sqlite:{file}") as store:
        list(store.measurements())
    assert raised.value.kind == "corrupt"


def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but somebody's notes\n" * 100)
    for name, mode, table in (("a.db", "delete", "notes"), ("b.db", "wal", "notes"), ("c.db", "wal", "verdicts")):
        other = sqlite3.connect(tmp_path / name)
        other.execute(f"PRAGMA journal_mode={mode}")
        other.execute(f"CREATE TABLE {table} (x)")
        other.execute("CREATE TABLE alembic_version (version_num)")
        other.commit()
        other.close()
    for file in sorted(tmp_path.iterdir()):
        before = file.read_bytes()
        error = failing(Store.open, f"sqlite:{file}")
        assert (error.kind, file.read_bytes()) == ("corrupt", before)
        assert str(file) in str(error)


def test_what_cannot_be_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("", "file/store.db"):
        assert failing(Store.open, f"sqlite:{tmp_path / name}").kind == "unavailable"
    assert failing(Store.open, "sqlite:/dev/null").kind == "unavailable"
    error = failing(Store.open, f"sqlite:{tmp_path}/no/store.db", create=False)
    assert str(error) == f"{tmp_path}/no/store.db is not there: nothing was stored yet"
    assert not (tmp_path / "no").exists()


def test_a_file_taken_away_is_noticed_before_more_is_lost(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    with Store.open(f"sqlite:{file}") as store:
        file.rename(tmp_path / "moved.db")
        error = failing(store.append, [small(1000)])
        assert error.kind == "unavailable"
        assert "moved or deleted" in str(error)
        (tmp_path / "moved.db").rename(file)
        store.append([small(1000)])
    with Store.open(f"sqlite:{file}") as store:
        assert store.count() == 301


def test_damaged_facts_are_not_judged(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    with sqlite3.connect(file) as other:
        other.execute("UPDATE facts SET data = x'' WHERE n = 150")
    other.close()
    with Store.open(f"sqlite:{file}") as store:
        verdict = real().verdict
        assert verdict is not None
        error = failing(store.rejudge, lambda _: verdict, 2, lambda done, of: None)
        assert error.kind == "corrupt"
        assert store.totals().keys() == {("cantv", "ok"), ("cantv", "blocked")}
        assert sum(store.totals().values()) == 300


# --- newer -----------------------------------------------------------------------------------------------------------


def test_a_newer_version_s_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = filled(tmp_path / "store.db")
    with sqlite3.connect(file) as other:
        other.execute("UPDATE almenara_version SET version_num = 'v9999'")
    other.close()
    before = file.read_bytes()
    error = failing(Store.open, f"sqlite:{file}")
    assert error.kind == "newer"
    assert str(error) == f"{file} was written by a newer version of Almenara: update this one; nothing was changed"
    assert file.read_bytes() == before


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_a_newer_version_s_database_is_told(postgres: Postgres) -> None:
    url = postgres.new_database()
    Store.open(url).close()
    postgres.run("UPDATE almenara_version SET version_num = 'v9999'", url)
    assert failing(Store.open, url).kind == "newer"


def test_another_program_s_tables_are_no_obstacle_unless_they_have_our_names(postgres: Postgres) -> None:
    url = postgres.new_database()
    postgres.run("CREATE TABLE alembic_version (version_num text); CREATE TABLE notes (x int)", url)
    Store.open(url).close()
    other = postgres.new_database()
    postgres.run("CREATE TABLE events (x int)", other)
    assert failing(Store.open, other).kind == "corrupt"


@pytest.mark.parametrize(
    "spelled",
    [
        "postgresql://almenara:{password}@/postgres?host={folder}",
        "postgresql://almenara@/postgres?host={folder}&password={password}",
        "postgresql://almenara:{password}@127.0.0.1:1/postgres",
        "postgresql://almenara:{password}@nowhere.invalid/postgres",
        "postgresql://almenara:{password}@[bad/postgres",
        "mysql://almenara:{password}@localhost/x",
        "postgresql://almenara:{password}@/postgres?host={folder}&frob={password}",
    ],
)
def test_a_wrong_password_or_server_is_told_without_the_password(postgres: Postgres, spelled: str) -> None:
    url = spelled.format(password="hunter2hunter2", folder=postgres.folder)
    error = failing(Store.open, url, patience_s=2)
    assert error.kind == "unavailable"
    shown: BaseException | None = error
    assert "hunter2" not in str(shown)
    if "host=" in spelled and "frob" not in spelled:
        assert "does not let this user in: check name and password" in str(error)


def test_a_database_that_is_not_there_is_told(postgres: Postgres) -> None:
    error = failing(Store.open, postgres.url("nowhere"))
    assert error.kind == "unavailable"
    assert PASSWORD not in str(error)


def test_a_server_that_starts_again_is_found_again(postgres: Postgres) -> None:
    with Store.open(postgres.new_database(), patience_s=2) as store:
        store.append(KEPT)
        postgres.stop()
        assert failing(store.append, [small(1000)]).kind == "unavailable"
        assert failing(store.count).kind == "unavailable"
        postgres.start()
        assert store.append([small(1000)]) == 1
        assert store.count() == 301


def test_a_read_only_server_is_told(postgres: Postgres) -> None:
    url = postgres.new_database()
    with Store.open(url) as store:
        store.append(KEPT)
    postgres.run(f"ALTER DATABASE {postgres.name_of(url)} SET default_transaction_read_only = on")
    with Store.open(url) as store:
        assert failing(store.append, [small(1000)]).kind == "read_only"
        assert store.count() == 300


def test_a_server_s_lock_is_waited_for_and_then_told(postgres: Postgres) -> None:
    import psycopg

    url = postgres.new_database()
    with Store.open(url, patience_s=0.2) as store:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE verdicts")
            assert failing(store.append, KEPT).kind == "locked"
        assert store.append(KEPT) == 300


def test_what_is_acknowledged_is_waited_for_whatever_the_server_is_set_to(postgres: Postgres) -> None:
    url = postgres.new_database()
    postgres.run(f"ALTER DATABASE {postgres.name_of(url)} SET synchronous_commit = off")
    with Store.open(url) as store, store._database.reading() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_errors_of_ours_stay_bugs(tmp_path: Path) -> None:
    with Store.open(f"sqlite:{tmp_path}/store.db") as store, pytest.raises(TypeError):
        store.append([msgspec.structs.replace(small(1), started=BEGAN.replace(tzinfo=None))])


def test_names_of_a_transaction_that_was_not_are_forgotten(tmp_path: Path) -> None:
    """Their numbers go to others: a name remembered from then would be told of the wrong verdicts."""
    code = """
        import resource, signal
        from test_store_faults import failing
        from store_cases import small, verdict
        from monitor.models import Status
        from monitor.store import Store

        store = Store.open("sqlite:{folder}/store.db")
        store.append([small(number) for number in range(100)])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        never = verdict(Status.DOWN, ("never.was", "never.either"), rule="never")
        assert failing(store.rejudge, lambda one: never, 2, lambda done, of: None).kind in ("full", "unavailable")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.append([small(200, verdict=verdict(Status.BLOCKED, ("a.b", "c.d"), rule="r"))])
        *_, last = store.points()
        assert (last.methods, last.rule) == (("a.b", "c.d"), "r"), last
        assert {{one.method for one in store.rollups(methods=True)}} == {{"a.b", "c.d"}}
    """
    run_apart(code.format(folder=tmp_path))


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    file = tmp_path / "usb" / "store.db"  # the stick is not mounted: a second record must not begin elsewhere
    with pytest.raises(StoreError, match=r"the folder \S+/usb is not there; mount its disk, or create it$") as raised:
        Store.open(f"sqlite:{file}")
    assert raised.value.kind == "unavailable"
    assert list(tmp_path.iterdir()) == []
    file.parent.mkdir()
    Store.open(f"sqlite:{file}").close()
    assert file.exists()


def test_the_folders_of_the_default_place_are_made(home, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    Store.open(locate(None)).close()
    assert (home / ".local/share/almenara/almenara.db").exists()
    assert (home / ".local/share/almenara").stat().st_mode & 0o777 == 0o700
