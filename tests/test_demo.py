"""The demo as it is seen on terminals and in files, and what is left of it however it ends: nothing."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from store_cases import verdict

from monitor.lab.box import IspInfo
from monitor.lab.demo import SITES
from monitor.lab.stage import Stage
from monitor.models import Status
from monitor.show import results_console

LINES = [
    IspInfo(name=name, isp=isp, asn=asn, country="VE", netns="", addresses=(), resolvers=())
    for name, isp, asn in (("cantv", "CANTV", 8048), ("movilnet", "Movilnet", 27889))
]
OPEN = verdict(Status.OK)
BLOCKED = verdict(Status.BLOCKED, ("throttling.rate", "dns.nxdomain"))


class Screen(io.StringIO):
    """What a terminal is sent."""

    def isatty(self) -> bool:
        return True


def played(stage: Stage) -> None:
    """A short story: what was open is blocked, and opens again."""
    with stage.following():
        stage.head("the page: http://127.0.0.1:9105/")
        stage.tell("both ISPs are open")
        for found in (OPEN, BLOCKED, OPEN, BLOCKED):
            for site in SITES:
                stage.note("cantv", site, found)
        stage.tell("a last look")
        for site in SITES:
            stage.note("movilnet", site, OPEN)
    stage.outcome()


def test_in_a_file_each_line_stands_once_and_alone(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    played(Stage(results_console(), LINES, tuple(SITES)))
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.out.endswith("\n")
    assert said.err == ""
    assert lines[:2] == ["the page: http://127.0.0.1:9105/", "both ISPs are open"]
    assert lines.count("a last look") == 1
    assert "found: runrun.es on CANTV ok" in lines
    assert lines.index("a last look") < lines.index("CANTV: 10 blocked")
    assert "  runrun.es: The site is slowed down, while other sites are not." in lines
    [row] = (line for line in lines if line.startswith("runrun.es"))
    assert " ".join(row.split()) == "runrun.es ✗ blocked throttling.rate, dns.nxdomain 98 % ✓ ok 98 %"


@pytest.mark.parametrize("variables", [{"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_variable_makes_a_picture_that_moves_of_a_file(capsys, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    played(Stage(results_console(), LINES, tuple(SITES)))
    out = capsys.readouterr().out
    assert out.count("both ISPs are open\n") == 1
    assert "\x1b[1A" not in out
    assert ("\x1b" in out) == ("FORCE_COLOR" in variables)


def test_a_dumb_terminal_is_told_line_by_line():
    screen = Screen()
    played(Stage(Console(file=screen, width=200, _environ={"TERM": "dumb"}), LINES, tuple(SITES)))
    assert screen.getvalue().count("both ISPs are open") == 1
    assert "\x1b" not in screen.getvalue()


@pytest.mark.parametrize(("width", "height"), [(40, 24), (80, 24), (100, 30), (200, 60)])
def test_the_picture_fits_the_terminal_and_the_page_stays_in_sight(width, height):
    console = Console(file=Screen(), width=width, height=height, color_system=None, _environ={"TERM": "xterm"})
    stage = Stage(console, LINES, tuple(SITES))
    played(stage)
    with console.capture() as captured:
        console.print(stage._screen())
    lines = captured.get().splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert all(any(line.startswith(site) for line in lines) for site in SITES)
    assert "  the page: http://127.0.0.1:9105/" in [line.rstrip() for line in lines]
    assert "  a last look" in [line.rstrip() for line in lines]


def test_on_a_terminal_the_matrix_stands_in_the_picture_or_is_printed_at_the_end():
    for follows in (True, False):
        screen = Screen()
        stage = Stage(Console(file=screen, width=100, height=30, _environ={"TERM": "xterm"}), LINES, tuple(SITES))
        with stage.following() if follows else nullcontext():
            stage.tell("CANTV: its resolvers deny the name of La Patilla")
            stage.note("cantv", "runrun.es", BLOCKED)
        stage.outcome()
        assert "✗" in screen.getvalue(), follows


def test_a_sentence_that_is_wrapped_stays_indented():
    screen = Screen()
    stage = Stage(Console(file=screen, width=60, height=24, _environ={"TERM": "dumb"}), LINES, tuple(SITES))
    stage.note("cantv", "elpitazo.net", verdict(Status.BLOCKED, ("tls.reset",)))
    stage.outcome()
    told = screen.getvalue().partition("CANTV: 1 blocked\n")[2].partition("Movilnet")[0]
    assert len(told.splitlines()) > 1
    assert all(line.startswith("  ") for line in told.splitlines())


@pytest.mark.root
def test_where_it_cannot_start_it_says_why_once_and_in_spanish():
    no_device = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    command = [*no_device, sys.executable, "-m", "monitor", "demo", "--once"]
    done = subprocess.run(
        command, env=os.environ | {"LC_ALL": "es_VE.UTF-8"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "almenara: el laboratorio no puede funcionar aquí: /dev/net/tun: "
        "el núcleo no tiene el dispositivo tun (modprobe tun)\n"
    )


# --- what is left of it ----------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, which has just shown its first line; its temporary folder is the test's, and `nohup` is nobody's."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "monitor", "demo", "--seed", "2018"]
    heeding = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        if not child.stdout.readline():
            pytest.skip(child.stderr.read())
        try:
            yield child
        finally:
            child.kill()


def descendants(pid: int) -> list[int]:
    """The processes that one has started, and theirs."""
    children = [int(one) for file in Path(f"/proc/{pid}/task").glob("*/children") for one in file.read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def all_gone(pids: list[int]) -> bool:
    """Within ten seconds."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]:
        if time.monotonic() > deadline:
            return not left
        time.sleep(0.05)
    return True


@pytest.mark.lab
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGHUP,), 129),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), 143),
    ],
    ids=["HUP", "Ctrl-C thrice", "TERM and more"],
)
def test_whatever_signal_ends_it_nothing_stays(demo, tmp_path, signals, code):
    started = descendants(demo.pid)
    assert len(started) >= 3
    assert list(tmp_path.glob("almenara-demo-*"))
    for number in signals:
        demo.send_signal(number)
        time.sleep(0.01)  # a signal that waits already is not sent again
    _, errors = demo.communicate(timeout=30)
    assert demo.returncode == code
    assert errors.strip() == ""
    assert list(tmp_path.iterdir()) == []
    assert all_gone(started)


@pytest.mark.lab
def test_a_reader_who_has_seen_enough_ends_it_quietly(demo, tmp_path):
    demo.stdout.close()
    assert demo.stderr.read() == ""
    assert demo.wait(30) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lab
def test_nothing_outlives_a_demo_that_was_killed(demo):
    started = descendants(demo.pid)
    assert len(started) >= 3
    demo.kill()
    assert all_gone(started)
