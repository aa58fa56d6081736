"""What tests share: the folder of recorded data, and skipping, with a reason, what this machine cannot run."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("almenara", deadline=None)  # other tests share the cores: time says nothing of an example
settings.load_profile("almenara")

# What the terminal says is compared in English, whatever this machine speaks; programs that tests start inherit it.
os.environ.update(LC_ALL="C.UTF-8", LANGUAGE="")

# Tests start hundreds of programs: the package is compiled once, also where it is usual to throw away what was compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# While tests are collected nothing can go: looking for it again and again takes each worker a second and more.
gc.disable()

# What a shell starts in the background is deaf to Ctrl-C, and so would be every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(os.environ.get("ALMENARA_TEST_DATA", "../shared"))


# A minute and more each, most of it waited: begun first, they are over when all the others are.
LONGEST = [
    "test_scenarios.py", "test_prometheus.py", "test_service_block.py", "test_service_store.py", "test_service.py",
    "test_probe_lab.py", "test_measure.py", "test_metrics_lab.py", "test_absence.py", "test_prometheus_rules.py",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then others with slow tests, so that none is left for the end; `root` needs root."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (place.get(item.path.name, len(place)), item.path not in slow))
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_collection_finish() -> None:
    """The tests stay as long as this process: only what comes later is looked through."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of recorded data."""
    if not DATA.is_dir():
        pytest.skip(f"no recorded data in {DATA} (ALMENARA_TEST_DATA names the folder)")
    return DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, also the current one, so that no test reads or writes the user's own files."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server of this run's own."""
    from postgres import running

    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is not there yet; each test runs with both databases."""
    if request.param == "sqlite":
        (tmp_path / "store").mkdir()
        return f"sqlite:{tmp_path / 'store' / 'almenara.db'}"
    return str(request.getfixturevalue("postgres").new_database())


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of SQLite with nothing in it."""
    from monitor.store import Store

    file = tmp_path_factory.mktemp("empty") / "almenara.db"
    Store.open(f"sqlite:{file}").close()
    return file


@pytest.fixture(scope="session")
def empty_database(postgres: Any) -> str:
    """The name of a database with a store with nothing in it."""
    from monitor.store import Store

    url = postgres.new_database()
    Store.open(url).close()
    return str(postgres.name_of(url))


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, a copy of one: making its tables takes longer than most tests. With both databases."""
    if request.param == "sqlite":
        (tmp_path / "store").mkdir()
        file = shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "store" / "almenara.db")
        return f"sqlite:{file}"
    template = request.getfixturevalue("empty_database")
    return str(request.getfixturevalue("postgres").new_database(template))


@pytest.fixture
def alone() -> Iterator[Any]:
    """Starts `almenara run` with a configuration where no packet can leave; ended with the test. Needs root."""
    from alone import Running

    services: list[Running] = []

    def start(file: Path) -> Running:
        services.append(Running(file))
        return services[-1]

    yield start
    for service in services:
        service.process.kill()
        service.process.wait()
