"""What systemd is told by a service of type `notify`."""

import os
import socket
from pathlib import Path

import pytest

from monitor import systemd


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_it_is_told_that_we_are_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    address = f"@almenara-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if abstract else address)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        systemd.notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all"])
def test_nobody_to_tell_is_no_trouble(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


def test_it_is_told_twice_in_the_time_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "300000000")
    assert systemd.watchdog_s() == 150
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_s() is None, "meant for another process"
    for nonsense in ("", "-5", "0", "five", "\u0665"):
        monkeypatch.setenv("WATCHDOG_PID", "")
        monkeypatch.setenv("WATCHDOG_USEC", nonsense)
        assert systemd.watchdog_s() is None
