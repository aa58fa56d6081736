"""What tests share: the folder of recorded data, and skipping, with a reason, what this machine cannot run."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ALMENARA_TEST_DATA", "../shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `root` need root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of recorded data."""
    if not DATA.is_dir():
        pytest.skip(f"no recorded data in {DATA} (ALMENARA_TEST_DATA names the folder)")
    return DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, also the current one, so that no test reads or writes the user's own files."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path
