"""What goes wrong is told in the terminal's language: every bad input is tried in English and in Spanish."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from messages import PROGRAM
from test_config import BAD

from monitor import system_errors
from monitor.config import ConfigError, parse
from monitor.language import words

ROOT = Path(__file__).parent.parent
SPANISH = words("es")
ENGLISH_WORDS = set(
    re.findall(
        r"\w+",
        "the is are be an of or and expected got such cannot could missing with without for from it its this at least most "
        "unknown value option directory does exist another must than only already first",
    )
)
# What is quoted, names of keys and options, and msgspec's own words.
GIVEN = re.compile(r"Expected `.*|`[^`]*`|'[^']*'|https?://\S+|\b\w+:(?=\s)|--[\w-]+|[A-Z]\S+")
CONFIGURED = "consent: true\nsites: ['https://a.example/']\nstore: sqlite:almenara.db\n"

# What is asked for, and the files that are there. Each goes wrong, or is told of on stderr.
CASES: list[tuple[list[str], dict[str, str]]] = [
    (["frob"], {}),
    (["measur"], {}),
    (["measure", "--frob"], {}),
    (["measure", "--jsn"], {}),
    (["measure", "--json=1"], {}),
    (["measure", "www.lapatilla.com"], {}),
    (["measure"], {}),
    (["measure", "-c"], {}),
    (["check", "-c", "none.yaml"], {}),
    (["check", "-c", "."], {}),
    (["measure"], {"probes.yaml": "consent: false\nsites: ['https://a.example/']\n"}),
    (["measure"], {"probes.yaml": "sites: ['https://a.example/']\n"}),
    (["measure"], {"probes.yaml": "consent: true\nvantages: [{name: usb, via: {interface: usb0}}]\n"}),
    (["measure"], {"probes.yaml": "consent: true\nvantages: [{name: far, via: {source: 192.0.2.77}}]\n"}),
    (["measure"], {"probes.yaml": "consent: true\nvantages: [{name: far, via: {netns: nowhere}}]\n"}),
    (["check"], {"probes.yaml": CONFIGURED + "lists: [{path: list.csv}]\n"}),
    (["check"], {"probes.yaml": CONFIGURED + "lists: [{path: list.csv}]\n", "list.csv": "url\nhttps://a.example/\n"}),
    (["run"], {"probes.yaml": CONFIGURED + "web: {listen: '192.0.2.77:9105'}\n"}),
    (["run"], {"probes.yaml": CONFIGURED.replace("almenara.db", "folder/none.db")}),
    (["sites"], {"probes.yaml": CONFIGURED + "lists: [{path: list.csv}]\n",
                 "list.csv": "url,category_code\nhttps://a.example/,NEWS,x\n"}),
    (["sites"], {"probes.yaml": CONFIGURED + "lists: [{path: list.csv}]\n",
                 "list.csv": "url,category_code\na.example,NEWS\n"}),
    (["sites"], {"probes.yaml": CONFIGURED + "lists: [{path: list.csv}]\n",
                 "list.csv": "url,category_code\nhttps://a.example/,HUMR\n"}),
    (["sites", "--approve", "https://b.example/"], {"probes.yaml": CONFIGURED}),
    (["helper"], {}),
    (["helper", "--listen", "9"], {}),
    (["helper", "--listen", "[::1]:9", "--tls-key", "probes.yaml"], {"probes.yaml": ""}),
    (["helper", "--listen", "[::1]:9", "--tls-key", "none"], {}),
    (["helper", "--listen", "[::1]:9", "--tls-key", "."], {}),
    (["helper", "--listen", "[::1]:9", "--allow-port", "70000"], {}),
    (["helper", "--listen", "[::1]:9", "--allow-port", "http"], {}),
    (["helper", "--listen", "192.0.2.77:9"], {}),
    (["classify"], {}),
    (["classify", "--store", "x"], {}),
    (["classify", "none.json"], {}),
    (["classify", "x.json"], {"x.json": "{\n"}),
    (["classify", "x.json"], {"x.json": '{"id": 5}\n5\n{"test_keys": 1}\n'}),
    (["classify", "--store"], {"probes.yaml": CONFIGURED}),
    (["detect"], {}),
    (["detect", "x.json"], {"x.json": '{\n{"site": 1}\n'}),
    (["events"], {"probes.yaml": CONFIGURED}),
    (["events"], {"probes.yaml": CONFIGURED, "almenara.db": "no database at all, but more than a hundred bytes " * 9}),
    (["events"], {"probes.yaml": CONFIGURED.replace("almenara.db", ".")}),
    (["events", "x", "--active"], {"probes.yaml": CONFIGURED}),
    (["events", "--exchange", "--json"], {"probes.yaml": CONFIGURED}),
    (["events", "--kind", "rain"], {}),
    (["events", "--minimum-confidence", "2"], {}),
    (["events", "--minimum-confidence", "much"], {}),
    (["events", "--country", "Venezuela"], {}),
    (["events", "--asn", "0"], {}),
    (["events", "a", "b"], {}),
    (["events", "--since", "then"], {"probes.yaml": CONFIGURED}),
    (["events", "--since", "1d", "--until", "2d"], {"probes.yaml": CONFIGURED}),
    (["export", "--method", "rain"], {"probes.yaml": CONFIGURED}),
    (["export", "--site", "a b"], {"probes.yaml": CONFIGURED}),
    (["export", "--format", "xml"], {}),
    (["alerts", "--show", "1", "--secrets"], {"probes.yaml": CONFIGURED}),
    (["helper", "--listen", "localhost:9", "--tls-certificate", "x", "--tls-key", "x"], {"x": "no certificate"}),
    (["sites"], {"probes.yaml": CONFIGURED + "lists: [{url: 'https://127.0.0.1:1/list.csv'}]\n"}),
    (["check"], {"probes.yaml": "sites: [a\n"}),
    (["check"], {"probes.yaml": "control: {helpers: []\nstore: x\n"}),
    (["verify", "none.zip"], {}),
    (["verify"], {}),
    (["demo", "--seed", "-1"], {}),
    (["measure", "--help"], {}),
    (["helper", "--help"], {}),
]  # fmt: skip
TRIED = """
import contextlib, io, json, os, pathlib, shutil, sys
from monitor.cli import main
said = []
for number, (arguments, files) in enumerate(json.load(sys.stdin)):
    folder = pathlib.Path.home() / "tried"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    for name, content in files.items():
        (folder / name).write_text(content)
    out, err, code = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as exc:
            code = exc.code
    said.append([code, (out.buffer.getvalue().decode() + err.getvalue()).replace(str(folder), "FOLDER")])
print(json.dumps(said))
"""


def tried(home: Path, locale: str) -> list[tuple[int, str]]:
    """Exit code and all that is said, for each case."""
    here = {"HOME": home, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_DATA_HOME": home / "data"}
    environment = os.environ | {name: str(value) for name, value in here.items()}
    environment |= {"LC_ALL": locale, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", TRIED],
        input=json.dumps(CASES),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


def english_in(text: str) -> set[str]:
    """English words in a text, besides what it quotes."""
    return set(re.findall(r"[a-z]+", GIVEN.sub(" ", text).lower())) & ENGLISH_WORDS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[str], tuple[int, str], tuple[int, str]]]:
    """Each case, in English and in Spanish."""
    english, spanish = (tried(tmp_path_factory.mktemp("home"), locale) for locale in ("C.UTF-8", "es_VE.UTF-8"))
    return [(arguments, *told) for (arguments, _), *told in zip(CASES, english, spanish, strict=True)]


def test_every_command_line_that_goes_wrong_says_so_in_spanish(both):
    for arguments, (_, english), (_, spanish) in both:
        assert english.strip(), arguments
        kept = set(english.splitlines()) & set(spanish.splitlines()) - {""}
        assert kept <= {"almenara: "}, arguments
        assert english_in(spanish) == set(), (arguments, spanish)


def test_the_exit_code_has_no_language(both):
    for arguments, (in_english, _), (in_spanish, _) in both:
        assert in_english == in_spanish, arguments


def test_english_would_be_seen(both):
    seen = [arguments for arguments, (_, english), _ in both if english_in(english)]
    assert len(seen) > len(both) / 2


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message[:60] for _, message in BAD])
def test_every_bad_configuration_is_told_in_spanish(text, message):
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    told = SPANISH.said(caught.value)
    assert told.partition(": ")[0] == message.partition(": ")[0]  # file and line
    assert told != message
    assert english_in(told) == set()


def test_a_name_that_is_not_found_is_told_in_spanish():
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("no.such.name", 443, flags=socket.AI_NUMERICHOST)  # asks nobody
    assert SPANISH.said(system_errors.problem(caught.value)) == "no se encuentra ese nombre"


# --- what nobody tried -----------------------------------------------------------------------------------------------

# Errors whose text the user reads, and functions that make some.
TOLD = {
    "Absent", "AlreadyRunning", "BadParameter", "ClickException", "ConfigError", "ConsentMissing", "DatabaseUnusable",
    "EventUnknown", "KeyProblem", "LabError", "ListUnavailable", "NotABundle", "NotMinisign", "NotUnderstood", "NotWritten",
    "NoVantage", "OoniError", "PortTaken", "StoreError", "Unknown", "UnreadableError", "Unwritable", "UsageError",
    "placed", "trouble",
}  # fmt: skip
# Where a ValueError says what a value must be.
VALUES = ("config", "config_alerts", "config_values", "config_yaml", "moments", "options", "sites", "place")


def test_no_error_is_made_of_bare_text():
    """`raise StoreError("full", "the disk is full")` can be told in English only: expected Said(..) around it."""
    found = []
    for file in sorted(PROGRAM.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(), file)):
            told = TOLD | {"ValueError", "error"} if file.stem in VALUES else TOLD
            if isinstance(node, ast.Call) and name_of(node.func) in told and any(map(is_bare, node.args)):
                found.append(f"{file.name}:{node.lineno}")
    assert found == []


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_bare(value: ast.expr) -> bool:
    """A text of several words, or one with something filled in."""
    if isinstance(value, ast.JoinedStr):
        return any(isinstance(part, ast.Constant) and " " in str(part.value) for part in value.values)
    return isinstance(value, ast.Constant) and " " in str(value.value)
