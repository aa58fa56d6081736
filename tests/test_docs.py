"""The documentation says everything there is, and nothing that is not."""

import re
from pathlib import Path

import click
import msgspec
import pytest

from monitor.cli import almenara
from monitor.config import UNUSED, Config, Section
from monitor.explain import METHOD_WORDS, STATUS_WORDS
from monitor.verdict.rules import RULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
CODE = set(re.findall(r"`([^`\n]+)`", DOCS))
WORDS = {word for code in CODE for word in re.findall(r"[\w.-]+", code)}

COMMANDS = almenara.commands


def options() -> list[tuple[str, str]]:
    return [
        (name, flag)
        for name, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    ]


def sections() -> list[type[Section]]:
    return [Config, *Section.__subclasses__()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    assert f"`almenara {command}" in README


@pytest.mark.parametrize(("command", "flag"), options())
def test_every_option_is_documented(command, flag):
    assert flag in WORDS


@pytest.mark.parametrize(
    "key", sorted({field.encode_name for section in sections() for field in msgspec.structs.fields(section)})
)
def test_every_configuration_key_is_documented(key):
    assert key in WORDS


def test_every_section_without_effect_is_said_to_be():
    [passage] = re.findall(r"Validated, but without effect in this version.*?\n\n", README, re.DOTALL)
    assert all(f"`{section}`" in passage for section in UNUSED)


@pytest.mark.parametrize("name", [*STATUS_WORDS, *METHOD_WORDS])
def test_every_status_and_method_is_documented(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_is_documented(rule):
    assert f"`{rule}`" in DOCS


def test_the_commands_that_the_documentation_uses_exist():
    used = re.findall(r"(?:^|[ /`])almenara ([a-z]+)((?: --?[a-z-]+(?: [A-Z0-9.:]+)?)*)", DOCS, re.MULTILINE)
    used = [(name, flags) for name, flags in used if name in COMMANDS or "--" in flags]
    assert used
    for name, flags in used:
        known = {flag for parameter in COMMANDS[name].params for flag in parameter.opts} | {"--help"}
        assert set(re.findall(r"--[a-z-]+", flags)) <= known, f"almenara {name}{flags}"


def test_ci_runs_the_command_that_the_readme_gives():
    [line] = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text().splitlines()
    assert line in (ROOT / "CONTRIBUTING.md").read_text().splitlines()


def test_the_configuration_in_the_readme_is_valid():
    from monitor.config import parse

    [example] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert parse(example, "README.md").consent is True


def test_no_table_is_torn_apart():
    """A row after a blank line is no row any more; what follows it must be a heading of its own."""
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        torn = re.findall(r"^\|.*\n\n(\|.*)\n(?!\|[-|: ]+\|$)", document.read_text(), re.MULTILINE)
        assert torn == [], document.name


def test_the_least_durations_are_told():
    rows = {row.split("|")[1].strip(" `"): row for row in re.findall(r"^\| `.*", README, re.MULTILINE)}
    assert "`10s`" in rows["schedule"]
    assert "`1d`" in rows["keep"]


def test_links_inside_the_repository_lead_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_changelog_has_a_place_for_verdicts():
    assert "### Verdicts" in (ROOT / "CHANGELOG.md").read_text()
