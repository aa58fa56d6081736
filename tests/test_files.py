"""Locks and replaced files in folders where somebody else may have put something first."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitor import files
from monitor.config import Config, ListConfig
from monitor.lists import Lists, remembered_at
from monitor.sites import ListUnavailable
from monitor.watching import AlreadyRunning, StoreError, _alone


def other(file: Path) -> "subprocess.Popen[bytes]":
    """Another process, which holds the lock until its input ends."""
    code = "import sys; from pathlib import Path; from monitor import files\n"
    code += "with files.locked(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file)], cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.communicate(timeout=20)


def test_a_lock_is_held_by_one_and_nobody_elses_to_open(tmp_path):
    file = tmp_path / "lock"
    file.touch(mode=0o644)
    with files.locked(file):
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(files.Busy), files.locked(file):
            pass
    with files.locked(file):
        pass


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_what_is_no_lock_file_is_left_as_it_is(tmp_path, kind):
    file, precious = tmp_path / "lock", tmp_path / "precious"
    if kind == "link":
        precious.write_text("precious")
        precious.chmod(0o644)
    make = {"link": lambda: file.symlink_to(precious), "dangling": lambda: file.symlink_to(precious),
            "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}  # fmt: skip
    make[kind]()
    with pytest.raises(files.NoLock, match="is no lock file"), files.locked(file):
        pass
    assert precious.exists() == (kind == "link")
    if kind == "link":
        assert (precious.read_text(), precious.stat().st_mode & 0o777) == ("precious", 0o644)


def test_a_file_is_replaced_and_no_link_beside_it_followed(tmp_path):
    file, precious = tmp_path / "lists.json", tmp_path / "precious"
    precious.write_text("precious")
    file.symlink_to(precious)
    for name in (f"lists.{os.getpid()}", f"lists.json.{os.getpid()}"):
        (tmp_path / name).symlink_to(precious)
    files.replace(file, b"new")
    assert (file.read_bytes(), file.is_symlink(), precious.read_text()) == (b"new", False, "precious")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 4


def test_a_lock_that_is_held_is_waited_for_so_long_and_meanwhile_the_loop_goes_on(home, tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.lists.LOCK_S", 0.5)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "ve.csv").write_text("url,category_code\nhttps://a.example/,NEWS\n")
    config = Config(lists=(ListConfig(path=str(tmp_path / "ve.csv")),))
    remembered_at().parent.mkdir(parents=True)
    holder = other(remembered_at().with_suffix(".lock"))
    turns = 0

    async def work() -> None:
        nonlocal turns
        gathering = asyncio.create_task(Lists(print).gather(config))
        while not gathering.done():
            turns += 1
            await asyncio.sleep(0.02)
        await gathering

    begun = time.monotonic()
    try:
        with pytest.raises(ListUnavailable, match="another program holds its lock"):
            asyncio.run(work())
    finally:
        end(holder)
    assert time.monotonic() - begun < 10
    assert turns > 5
    turns = 0
    asyncio.run(work())


def test_a_store_is_one_by_whatever_name(tmp_path):
    (tmp_path / "a.db").touch()
    (tmp_path / "b.db").symlink_to("a.db")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("a.db", "b.db", "folder/b.db"):
        with (
            _alone(f"sqlite:{tmp_path / 'a.db'}"),
            pytest.raises(AlreadyRunning, match=r"another `almenara run` uses this store .*a\.db"),
            _alone(f"sqlite:{tmp_path / name}"),
        ):
            pass


@pytest.mark.parametrize(
    "spelt",
    [
        "postgresql://ana@localhost/almenara",
        "postgresql://localhost:5432/almenara?user=ana",
        "postgresql://ana:secret@127.0.0.1:5432/almenara",
        "postgresql://ana@[::1]/almenara?sslmode=require",
        "postgresql:///almenara?host=/run/postgresql",
        "postgresql+psycopg://eva@LocalHost/almenara?port=5432",
        "postgresql://almenara@localhost",
    ],
)
def test_a_database_of_a_server_is_one_however_it_is_spelt(spelt, home):
    with (
        _alone("postgresql://ana:secret@localhost/almenara"),
        pytest.raises(AlreadyRunning, match="another `almenara run`"),
        _alone(spelt),
    ):
        pass


@pytest.mark.parametrize(
    "other",
    [
        "postgresql://ana@localhost/other",
        "postgresql://ana@localhost:5433/almenara",
        "postgresql://ana@db.example/almenara",
        "postgresql://ana@localhost:port/almenara",
    ],
)
def test_another_database_is_another_store(other, home):
    with _alone("postgresql://ana@localhost/almenara"), _alone(other):
        pass


def test_a_link_in_the_place_of_a_stores_lock_is_said_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "a.db.lock").symlink_to("precious")
    with (
        pytest.raises(StoreError, match=r"a\.db\.lock is not this program's: remove it"),
        _alone(f"sqlite:{tmp_path}/a.db"),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
