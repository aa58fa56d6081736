"""The volunteers' pages say the same in both languages, and only what the program does."""

import os
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.cli import almenara
from monitor.config import parse
from monitor.explain import REASONS, template
from monitor.language import words

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("volunteer.md", "volunteer.es.md")}
UNIT = ROOT / "docs" / "almenara.service"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    return BLOCK.findall(text)


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def headings(text: str) -> list[str]:
    return re.findall(r"^(#+) .+$", prose(text), re.MULTILINE)


def anchors(text: str) -> list[str]:
    """As the pages' readers make them: lower case, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", prose(text))


def shape(text: str) -> list[str]:
    """Of each paragraph what kind it is, and how many of it a list or a table has."""
    kinds = []
    for part in re.split(r"\n{2,}", BLOCK.sub(r"CODE \1", text).strip()):
        lines = part.splitlines()
        items = [line for line in lines if re.match(r"- |\||CODE |#+ ", line)]
        kinds.append(" ".join(re.match(r"- |\||CODE \w+|#+ ", line)[0].strip() for line in items) or "text")
    return kinds


def uses(text: str) -> list[tuple[str, list[str]]]:
    """Each `almenara COMMAND` with its options, wherever it stands."""
    found = re.findall(r"(?:^|`|bin/)almenara ([a-z]+)((?: [^\s`]+)*)", text, re.MULTILINE)
    return [(command, re.findall(r"--[a-z-]+", rest)) for command, rest in found]


def test_both_languages_have_the_same_structure():
    english, spanish = PAGES.values()
    assert headings(english) == headings(spanish)
    assert shape(english) == shape(spanish)


def test_both_languages_give_the_same_commands_and_configurations():
    english, spanish = map(blocks, PAGES.values())
    assert len(english) > 20
    assert english == spanish


def test_both_languages_lead_to_the_same_places():
    english, spanish = map(links, PAGES.values())
    assert len(english) == len(spanish)
    for one, other in zip(english, spanish, strict=True):
        if one.startswith("#"):
            assert anchors(PAGES["volunteer.md"]).index(one[1:]) == anchors(PAGES["volunteer.es.md"]).index(other[1:])
        elif "volunteer" not in one:
            assert one == other


# What one types, or fills in, or reads on the terminal.
TRANSLATED = {
    "yes": "sí",
    "control: {vantage: NAME}": "control: {vantage: NOMBRE}",
    "inconclusive": words("es").status("inconclusive"),
}


def test_both_languages_name_the_same_code():
    english, spanish = (
        [code for code in re.findall(r"`([^`\n]+)`", prose(text)) if code not in reasons(text)]
        for text in PAGES.values()
    )
    assert set(TRANSLATED) <= set(english)
    assert sorted(TRANSLATED.get(code, code) for code in english) == sorted(spanish)


@pytest.mark.parametrize("page", PAGES)
def test_a_service_is_not_set_up_before_consent_nor_restarted_in_vain(page):
    anchor = {"volunteer.md": "#a-first-look", "volunteer.es.md": "#un-primer-vistazo"}[page]
    sections = re.split(r"^### ", PAGES[page], flags=re.MULTILINE)
    services = [
        text for text in sections if "systemctl --user enable" in text.split("## ")[0] or "plist version" in text
    ]
    assert len(services) == 2
    for text in services:
        assert anchor in text.partition("```")[0]
    [plist] = [code for kind, code in blocks(PAGES[page]) if kind == "xml"]
    job = plistlib.loads(plist.encode())
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["ThrottleInterval"] >= 60


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page):
    found = uses(PAGES[page])
    assert {"run", "events", "sites", "check", "measure", "classify", "export"} <= {command for command, _ in found}
    for command, options in found:
        assert command in almenara.commands, f"almenara {command}"
        known = {flag for parameter in almenara.commands[command].params for flag in parameter.opts} | {"--help"}
        assert set(options) <= known, f"almenara {command} {options}"


@pytest.mark.parametrize("number", range(len([code for kind, code in blocks(PAGES["volunteer.md"]) if kind == "yaml"])))
def test_every_configuration_is_valid(number):
    parse([code for kind, code in blocks(PAGES["volunteer.md"]) if kind == "yaml"][number], "volunteer.md")


def reasons(text: str) -> list[str]:
    """What the program says, in the table of what to do about it."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_the_reasons_in_the_table_are_the_programs_in_each_language():
    english, spanish = map(reasons, PAGES.values())
    assert len(english) > 5
    for one, other in zip(english, spanish, strict=True):
        [id] = [id for id, text in REASONS.items() if text.startswith(one)]
        assert (template(id, words("es").gettext) or "").startswith(other), other


def test_every_shell_command_is_one():
    for kind, code in blocks(PAGES["volunteer.md"]):
        if kind == "sh":
            subprocess.run(["bash", "-n"], input=code.encode(), check=True)


def test_the_pages_give_the_units_own_commands():
    """The comment at the head of the unit is for those who read only that."""
    told = [line.removeprefix("#   ") for line in UNIT.read_text().splitlines() if line.startswith("#   ")]
    commands = "".join(code for kind, code in blocks(PAGES["volunteer.md"]) if kind == "sh")
    assert len(told) == 4
    for line in told[2:]:
        assert line in commands


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    program = tmp_path / "almenara" / ".venv" / "bin" / "almenara"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(UNIT)],
        env=os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_starts_a_command_that_exists():
    [start] = re.findall(r"^ExecStart=%h/almenara/\.venv/bin/(almenara .*)$", UNIT.read_text(), re.MULTILINE)
    [(command, options)] = uses(start)
    known = {flag for parameter in almenara.commands[command].params for flag in parameter.opts}
    assert command == "run"
    assert set(options) <= known


@pytest.mark.parametrize("fence", ["NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always", "Type=notify"])
def test_the_unit_is_fenced_and_comes_back(fence):
    assert fence in UNIT.read_text().splitlines()
