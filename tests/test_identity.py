"""A probe is the same on one network, and unlinkable to itself on another."""

import os
import re
from pathlib import Path

import pytest

from monitor.identity import probe_id
from monitor.models import Network

CANTV, MOVILNET = Network(asn=8048, isp="CANTV"), Network(asn=27889, isp="Movilnet")
SECRET = Path(".local", "state", "almenara", "secret")


def test_a_probe_is_the_same_on_one_network(home: Path) -> None:
    first = probe_id(CANTV)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert probe_id(CANTV) == first
    assert probe_id(Network(asn=8048, source="observed")) == first


def test_it_cannot_be_linked_across_networks(home: Path) -> None:
    assert len({probe_id(CANTV), probe_id(MOVILNET), probe_id(Network()), probe_id(Network())}) == 4


def test_two_machines_on_one_network_differ(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe_id(CANTV)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "another machine"))
    assert probe_id(CANTV) != first
    assert (home / "another machine" / "almenara" / "secret").is_file()


def test_its_secret_is_the_users_alone(home: Path) -> None:
    probe_id(CANTV)
    assert (home / SECRET).stat().st_mode & 0o077 == 0
    assert [path.name for path in (home / SECRET).parent.iterdir()] == ["secret"]


def test_a_spoiled_secret_is_replaced(home: Path) -> None:
    (home / SECRET).parent.mkdir(parents=True)
    (home / SECRET).write_bytes(b"short")
    first = probe_id(CANTV)
    assert len((home / SECRET).read_bytes()) == 32
    assert probe_id(CANTV) == first


def test_nothing_of_the_machine_is_in_it(home: Path) -> None:
    """Same machine, same user, same network: only the secret makes the difference."""
    first = probe_id(CANTV)
    (home / SECRET).unlink()
    assert probe_id(CANTV) != first


def test_where_nothing_can_be_stored_the_probe_works_without(home: Path) -> None:
    (home / ".local").write_text("a file, where a folder is wanted")
    first = probe_id(CANTV)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert os.listdir(home) == [".local"]
