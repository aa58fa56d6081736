"""Vantages that are not there: named with file, line and key, left out, and joined when they appear."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alone import ROOT, written

from monitor import assemble, check
from monitor.config import load
from monitor.probers import Probers


@contextmanager
def namespace() -> Iterator[int]:
    """A network namespace without any network; a process in it."""
    command = ["unshare", "-n", sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        assert inside.stdout is not None
        inside.stdout.readline()
        yield inside.pid
        inside.kill()


HERE = "name: here"
ABSENT = [
    ("interface: nope0", "vantages[1].via.interface: no interface nope0 here"),
    ("source: 192.0.2.9", "vantages[1].via.source: no address 192.0.2.9 here"),
    ("source: '2001:db8::9'", "vantages[1].via.source: no address 2001:db8::9 here"),
    ("netns: almenara-none", "vantages[1].via.netns: no network namespace almenara-none here"),
    ("netns: /proc/1/ns/none", "vantages[1].via.netns: no network namespace /proc/1/ns/none here"),
    ("netns: /etc/hostname", "vantages[1].via.netns: no network namespace /etc/hostname here"),
]


@pytest.mark.parametrize(("via", "told"), ABSENT, ids=[via for via, _ in ABSENT])
def test_what_is_not_there_is_named_with_file_line_and_key(tmp_path, capsys, via, told):
    file = written(tmp_path, HERE, f"name: gone, via: {{{via}}}")
    present = assemble.present(load(file), file)
    assert {name: str(why) for name, why in present.absent.items()} == {"gone": f"{file}:7: {told}"}
    assert [vantage.name for vantage in present.config.vantages] == ["here"]
    check.run(load(file), file)
    assert f"Vantage gone is left out until it is there: {file}:7: {told}" in capsys.readouterr().out.splitlines()


def test_what_is_there_is_not_left_out(tmp_path):
    file = written(tmp_path, "name: a, via: {interface: lo}", "name: b, via: {source: 127.0.0.1}", HERE)
    assert assemble.present(load(file), file).absent == {}


def test_check_fails_where_no_vantage_is_there(tmp_path, capsys):
    file = written(tmp_path, "name: gone, via: {interface: nope0}")
    assert check.run(load(file), file) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "No vantage is there: nothing could be measured."


def arranged(probers: Probers, file: Path) -> tuple[str, ...]:
    asyncio.run(probers.arrange(load(file), file))
    return probers.names()


@pytest.mark.root
def test_a_namespace_that_is_made_anew_under_the_same_name_is_another(tmp_path):
    told: list[str] = []
    probers = Probers(assemble.trust(), told.append)
    link = tmp_path / "ns"
    file = written(tmp_path, HERE, f"name: inside, via: {{netns: {link}}}")
    assert arranged(probers, file) == ("here",)
    assert arranged(probers, file) == ("here",)
    assert len(told) == 1
    with namespace() as first, namespace() as second:
        link.symlink_to(f"/proc/{first}/ns/net")
        assert arranged(probers, file) == ("here", "inside")
        assert told[1:] == ["vantage inside is there now"]
        before = os.stat(f"/proc/{first}/ns/net").st_ino
        link.unlink()
        link.symlink_to(f"/proc/{second}/ns/net")
        assert arranged(probers, file) == ("here", "inside")
        held = _namespaces_held()
        assert before not in held
        assert os.stat(f"/proc/{second}/ns/net").st_ino in held
    link.unlink()
    assert arranged(probers, file) == ("here",)
    assert "left out until it is there" in told[2]
    assert probers.networks().keys() == {"here", "inside"}
    assert _namespaces_held() == set()


def _namespaces_held() -> set[int]:
    """The namespaces that this process has open: none of them can go, nor can the interfaces inside."""
    open_files = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return {file.stat().st_ino for file in open_files if file.exists() and os.readlink(file).startswith("net:")}


@pytest.mark.root
def test_a_control_that_is_not_there_is_done_without(tmp_path):
    told: list[str] = []
    probers = Probers(assemble.trust(), told.append)
    link = tmp_path / "ns"
    file = written(tmp_path, HERE, f"name: abroad, via: {{netns: {link}}}")
    file.write_text(file.read_text().replace("helpers: []", "helpers: [], vantage: abroad"))
    assert arranged(probers, file) == ("here",)
    assert len(told) == 1
    assert "abroad" in told[0]
    with namespace() as inside:
        link.symlink_to(f"/proc/{inside}/ns/net")
        assert arranged(probers, file) == ("here",)
        assert len(_namespaces_held()) == 1


def measured(file: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """`almenara measure`, where no packet can leave."""
    command = ["unshare", "-n", sys.executable, "-m", "monitor", "measure", "-c", str(file), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(file.parent)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.root
def test_measure_goes_on_with_those_that_are_there(tmp_path):
    file = written(tmp_path, HERE, "name: gone, via: {interface: nope0}")
    done = measured(file, "--json", "https://a.example/")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    told = f"almenara: vantage gone is left out: {file}:7: vantages[1].via.interface: no interface nope0 here\n"
    assert done.stderr == told
    file = written(tmp_path, "name: gone, via: {interface: nope0}")
    done = measured(file, "https://a.example/")
    told = f"almenara: {file}:6: vantages[0].via.interface: no interface nope0 here\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


@pytest.mark.root
@pytest.mark.slow  # it looks each minute
def test_the_service_waits_for_its_only_vantage_and_lets_it_go(tmp_path, alone):
    file = written(tmp_path, "name: usb, via: {interface: usb0}", more="sites: ['https://a.example/']\n")
    service = alone(file)
    service.until(lambda: service.said("started") == ["watching 1 site on no vantage so far"])
    [told] = service.said("vantage")
    assert (
        told
        == f"vantage usb is left out until it is there: {file}:6: vantages[0].via.interface: no interface usb0 here"
    )
    service.inside("ip", "link", "add", "usb0", "type", "veth", "peer", "name", "usb1")
    service.until(lambda: service.said("vantage")[1:] == ["vantage usb is there now"], 75)  # by itself
    service.inside("ip", "link", "del", "usb0")
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: service.said("reloaded") == ["watching 1 site on no vantage so far"])
    assert len(service.said("vantage")) == 3
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert service.said("bug") == []
