"""The command line: what is imported, exit codes, one-line errors, streams. Each test runs the real command."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {
    "dns",
    "httpx",
    "cryptography",
    "rich",
    "starlette",
    "h2",
    "apscheduler",
    "sqlalchemy",
    "pyroute2",
    "trustme",
    "uvicorn",
    "babel",
    "ruamel",
    "msgspec",
}


def almenara(*arguments: str, **options) -> subprocess.CompletedProcess:
    """The command, run where `options` say."""
    command = [sys.executable, "-m", "monitor", *arguments]
    options.setdefault("env", {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"})
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, **options)


@pytest.fixture
def empty(tmp_path) -> dict:
    """A folder without configuration, for a user without one."""
    user = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    return {"cwd": tmp_path, "env": {**os.environ, **user, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["measure", "--help"], ["helper", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = f"""
        import sys
        from monitor.cli import main
        try:
            main({arguments!r})
        finally:
            sys.stderr.write(" ".join(sorted({{name.split(".")[0] for name in sys.modules}})))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0
    assert "almenara" in done.stdout
    assert set(done.stderr.split()) & HEAVY == set()


def test_the_commands_are_those_that_work():
    done = almenara("--help")
    listed = done.stdout.partition("Commands:")[2].split("\n")
    names = [
        "alerts", "check", "classify", "demo", "detect", "events", "export", "helper", "key", "measure", "report", "run",
        "sites", "verify",
    ]  # fmt: skip
    assert [line.split()[0] for line in listed if re.match(r"  \S", line)] == names


def test_without_a_command_the_help_is_an_error():
    done = almenara()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: almenara" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["frob"], "almenara: No such command 'frob'."),
        (["measure", "--frob"], "almenara: No such option '--frob'."),
        (["measure", "www.lapatilla.com"],
         "almenara: Invalid value for '[URL]...': expected a URL; for a host alone write https://www.lapatilla.com/"),
        (["measure"], "almenara: probes.yaml: expected here or in the user's configuration folder; -c names another"),
        (["check"], "almenara: probes.yaml: expected here or in the user's configuration folder; -c names another"),
        (["check", "-c", "none.yaml"], "almenara: none.yaml: no such file or directory"),
        (["demo", "-c", "none.yaml"], "almenara: none.yaml: no such file or directory"),
        (["classify", "-c", "none.yaml", "x"], "almenara: none.yaml: no such file or directory"),
        (["classify"], "almenara: expected FILE..., or --store for all that is stored"),
        (["helper"], "almenara: Missing option '--listen'."),
        (["helper", "--listen", "9"],
         "almenara: Invalid value for '--listen': expected HOST:PORT such as 127.0.0.1:9105 or [::1]:9105, got '9'"),
        (["helper", "--listen", "[::1]:9", "--tls-key", __file__],
         "almenara: --tls-certificate and --tls-key: expected both or none"),
        (["helper", "--listen", "[::1]:9", "--tls-key", "none"],
         "almenara: Invalid value for '--tls-key': File 'none' does not exist."),
        (["helper", "--listen", "[::1]:9", "--proxy", "lan"],
         "almenara: Invalid value for '--proxy': expected an IP address, got 'lan'"),
        (["helper", "--listen", "[::1]:9", "--allow-port", "70000"],
         "almenara: Invalid value for '--allow-port': 70000 is not in the range 1<=x<=65535."),
    ],
)  # fmt: skip
def test_wrong_use_is_exit_2_and_one_line(arguments, line, empty):
    done = almenara(*arguments, **empty)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + "\n")


def test_a_wrong_configuration_is_exit_2_and_one_line(empty):
    (empty["cwd"] / "probes.yaml").write_text("sites:\n  - www.lapatilla.com\n")
    done = almenara("measure", **empty)
    assert done.returncode == 2
    assert done.stderr == (
        "almenara: probes.yaml:2: sites[0].url: expected a URL; for a host alone write https://www.lapatilla.com/\n"
    )


def test_nothing_is_measured_without_consent(empty):
    (empty["cwd"] / "probes.yaml").write_text("sites: ['https://a.example/']\n")
    done = almenara("measure", **empty)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("almenara: nothing is measured without consent: ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error_to_talk_about():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m monitor --help | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, 1)  # 0 where the pipe took it all before the reader left
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_exit_1_and_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "monitor", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "almenara: cannot write: no space left\n")


@pytest.fixture
def silent_helper():
    """A control that accepts connections and never answers, and the moment somebody came."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        came, connections = threading.Event(), []

        def accept() -> None:
            connections.append(listening.accept()[0])
            came.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", came
        thread.join(10)
        for connection in connections:
            connection.close()


def configured(folder: Path, helper: str, **measure: str) -> None:
    settings = ", ".join(f"{key}: {value}" for key, value in measure.items())
    (folder / "probes.yaml").write_text(
        f"""
        sites: ['https://a.example/', 'https://b.example/']
        vantages: [{{name: here, isp: CANTV, asn: 8048, country: VE, resolvers: ['127.0.0.1:1']}}]
        control: {{helpers: ['{helper}'], resolvers: []}}
        measure: {{{settings}}}
        schedule: {{every: 1h}}
        network: {{lookup: false}}
        """
    )


def test_check_says_what_it_would_do_and_that_no_control_answers(empty):
    configured(empty["cwd"], "http://127.0.0.1:1/", timeout="1s")
    done = almenara("check", **empty)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "The configuration is valid.",
        "Consent: `almenara measure` asks for it, unless it was given before.",
        "Sites: 2",
        "Vantage here: CANTV, AS8048, VE, this machine's own connection; resolvers 127.0.0.1:1",
        "All of them are in your home: add your ISP's own, or its lies cannot be told from those of a Pi-hole.",
        "A round is 2 measurements: 16 at once, each within 120 s.",
        "Vantage here: AS8048, CANTV, VE, as declared",
        "From here, test helper http://127.0.0.1:1/ does not answer: The connection was refused. (connection_refused)",
        "No control answers at all: nothing could be called blocked.",
    ]


def test_ctrl_c_ends_cleanly_with_exit_130(empty, silent_helper):
    url, came = silent_helper
    configured(empty["cwd"], url, timeout="60s")
    command = [sys.executable, "-m", "monitor", "check"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **empty) as running:
        assert came.wait(30)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors.strip() == ""


def test_a_helper_serves_until_ctrl_c(empty):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = almenara("helper", "--listen", f"127.0.0.1:{port}", **empty)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"almenara: cannot serve on 127.0.0.1:{port}: address already in use")
    command = [sys.executable, "-m", "monitor", "helper", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **empty) as running:
        assert f"helper listens on 127.0.0.1:{port}" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=30)
    assert running.returncode in (0, 130)
    assert output == ""
    assert "Traceback" not in errors
