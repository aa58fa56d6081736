"""The dependencies point one way: cli -> run -> edges -> pure core. Read from the imports, function-level ones included."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "monitor").rglob("*.py"))
}

CORE = (
    "monitor.models", "monitor.failures", "monitor.addresses", "monitor.verdict", "monitor.detection",
    "monitor.backing", "monitor.events", "monitor.watch", "monitor.incidents", "monitor.outcome",
    "monitor.alerts.terms", "monitor.alerts.threads", "monitor.alerts.decisions", "monitor.alerts.machines",
    "monitor.messages",
)  # fmt: skip
# What the core may use: nothing that has a clock, chance, or the world in it.
PURE = {
    "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "datetime", "enum", "functools", "hashlib", "heapq",
    "html", "ipaddress", "itertools", "json", "math", "operator", "pickle", "re", "statistics", "string", "types", "typing",
    "unicodedata", "zlib", "msgspec",
}  # fmt: skip
# failures.py names other people's exceptions: it needs their types, and calls nothing.
ALSO_PURE = {"monitor.failures": {"asyncio", "errno", "ssl"}}
# Parsing is pure, the rest of these packages is not.
PURE_PARTS = {"urllib.parse", "email.utils"}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "getenv"}

# module or package -> who alone may import it. Everything else is imported by whom it serves.
ONLY_FROM = {
    "monitor.cli": ("monitor.__main__",),
    "monitor.run": ("monitor.cli", "monitor.lab"),
    "monitor.check": ("monitor.cli",),
    "monitor.watching": ("monitor.cli",),
    "monitor.service": ("monitor.watching",),
    "monitor.probers": ("monitor.rounds", "monitor.service"),
    "monitor.rounds": ("monitor.service",),
    "monitor.sweep": ("monitor.lab", "monitor.run"),
    "monitor.web": ("monitor.evidence", "monitor.lab", "monitor.service", "monitor.watching"),
    "monitor.metrics": ("monitor.rounds", "monitor.saving", "monitor.service", "monitor.web"),
    "monitor.publish": ("monitor.cli", "monitor.evidence", "monitor.web"),
    "monitor.cli_errors": ("monitor.cli", "monitor.cli_options"),
    "monitor.cli_options": ("monitor.cli",),
    "monitor.evidence": ("monitor.cli", "monitor.web"),
    "monitor.alerts": ("monitor.check", "monitor.cli", "monitor.publish.exchange", "monitor.service"),
    "monitor.timeline": ("monitor.evidence", "monitor.publish"),
    "monitor.lab": ("monitor.cli", "monitor.lab"),
    "monitor.control": (
        "monitor.assemble", "monitor.check", "monitor.classify", "monitor.cli", "monitor.detect", "monitor.lab", "monitor.ooni",
        "monitor.ooni_entries", "monitor.ooni_format", "monitor.probers", "monitor.rounds",
        "monitor.run", "monitor.service", "monitor.web",
    ),
}  # fmt: skip
# package -> what of this project it may import besides itself and the core.
MAY_USE = {
    "monitor.steps": ("monitor.vantage", "monitor.urls"),
    "monitor.vantage": (),
    "monitor.store": ("monitor.system_errors",),
    "monitor.whoami": ("monitor.steps", "monitor.vantage", "monitor.urls"),
    "monitor.network_path": ("monitor.vantage",),
    "monitor.config": (
        "monitor.config_alerts",
        "monitor.config_mismatch",
        "monitor.config_section",
        "monitor.config_values",
        "monitor.config_yaml",
        "monitor.system_errors",
        "monitor.urls",
    ),
}


def within(module: str, packages: tuple[str, ...] | str) -> bool:
    """Is the module one of these, or inside one?"""
    packages = (packages,) if isinstance(packages, str) else packages
    return any(module == package or module.startswith(package + ".") for package in packages)


@cache
def parsed(path: Path) -> ast.Module:
    """A file, read once."""
    return ast.parse(path.read_text(), path)


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, dotted; `from a import b` gives a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
    return frozenset(found)


CORE_MODULES = [module for module in MODULES if within(module, CORE)]


def test_there_is_a_core():
    assert {"monitor.models", "monitor.failures", "monitor.verdict"} <= set(CORE_MODULES)


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_is_pure(module):
    foreign = {
        name
        for name in imports(MODULES[module])
        if name.partition(".")[0] not in PURE | ALSO_PURE.get(module, set())
        and name not in PURE_PARTS
        and not within(name, CORE)
    }
    assert foreign == set(), f"{module} belongs to the core"


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_does_not_ask_for_the_time_or_the_world(module):
    for node in ast.walk(parsed(MODULES[module])):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), (
            f"{module}:{node.lineno}: the core is synchronous"
        )
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in IMPURE_CALLS, f"{module}:{node.lineno}: {name}()"


@pytest.mark.parametrize("package", ONLY_FROM)
def test_upper_layers_are_not_imported_from_below(package):
    importers = {module for module in MODULES for name in imports(MODULES[module]) if within(name, package)}
    wrong = {module for module in importers if not within(module, (*ONLY_FROM[package], package))}
    assert wrong == set(), f"{package} may only be imported from {', '.join(ONLY_FROM[package])}"


@pytest.mark.parametrize("package", MAY_USE)
def test_lower_layers_keep_to_themselves(package):
    allowed = (*MAY_USE[package], *CORE, package)
    used = {
        (module, name)
        for module in MODULES
        if within(module, package)
        for name in imports(MODULES[module])
        if name.startswith("monitor.") and not within(name, allowed)
    }
    assert used == set()


def test_only_the_store_speaks_sql():
    databases = ("sqlalchemy", "alembic", "psycopg", "sqlite3")
    speakers = {module for module in MODULES for name in imports(MODULES[module]) if within(name, databases)}
    assert {module for module in speakers if not within(module, "monitor.store")} == set()


def test_no_module_imports_itself_in_a_circle_at_load():
    """Circles work until somebody imports the other end first."""
    done: set[str] = set()
    for module in MODULES:
        trail: list[str] = []
        _walk(module, trail, done)


def _walk(module: str, trail: list[str], done: set[str]) -> None:
    assert module not in trail, " -> ".join([*trail, module])
    if module in done:
        return
    trail.append(module)
    for name in top_level_imports(MODULES[module]):
        if name in MODULES and name != module:
            _walk(name, trail, done)
    trail.pop()
    done.add(module)


def top_level_imports(path: Path) -> set[str]:
    """What is imported when the file is: not inside functions, not for type checkers only."""
    top = [node for node in parsed(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    found: set[str] = set()
    for node in top:
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{name}" for name in names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
        else:
            found |= set(names)
    return found


def test_files_have_guessable_names_and_a_docstring():
    for module, path in MODULES.items():
        name = module.rpartition(".")[2]
        assert name not in {"utils", "common", "base", "manager", "helpers", "misc"}, module
        if path.name != "__init__.py":
            assert ast.get_docstring(parsed(path)), f"{module} says nowhere what it is for"


def test_nothing_is_imported_that_is_not_declared():
    """A package that only a developer's machine has would fail at a volunteer's."""
    names = {"dns": "dnspython", "ruamel": "ruamel.yaml", "prometheus_client": "prometheus-client",
             "python_socks": "python-socks", "PIL": "pillow"}  # fmt: skip
    declared = (ROOT / "pyproject.toml").read_text()
    for module, path in MODULES.items():
        for name in {found.partition(".")[0] for found in imports(path)} - {"monitor"}:
            if name not in sys.stdlib_module_names:
                assert f'"{names.get(name, name)}' in declared, f"{module} imports {name}"
