"""YAML 1.2 -> plain values and the line of each key, or one error that names the line.

ruamel knows line numbers and YAML 1.2 (`NO` is text, `22:00` is text). Aliases, tags and several documents are refused:
a configuration needs none, and they are how a small file becomes a large one.
"""

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, NodeEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from monitor.messages import N_, Said, Speaker

MAX_BYTES = 256 * 1024  # ten times the Venezuelan test list; longer lists of sites belong under `lists`
MAX_DEPTH = 12
_TAG = "tag:yaml.org,2002:"


class _Placed(Said):
    """What is expected, after the place where it is."""

    def __str__(self) -> str:
        return one_line(super().__str__())

    def told(self, w: Speaker) -> str:
        return one_line(super().told(w))


class ConfigError(Exception):
    """The configuration is wrong. Its text is one line: file, line, key, what is expected.

    expected: a message, an error that carries one, or a text that stays as it is.
    """

    def __init__(self, file: str, line: int | None, key: str | None, expected: Said | Exception | str) -> None:
        place = [file if line is None else f"{file}:{line}", *filter(None, [key])]
        super().__init__(_Placed("{place}: {expected}", place=": ".join(place), expected=expected))


def one_line(text: str) -> str:
    """Text from a file as it may be printed on a terminal: one bounded line without control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text[:1000])
    return " ".join(clean.split())[:400]


class Document:
    """A parsed file: `values`, and `lines` by dotted path (`vantages[0].via`); "" is the whole."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines: dict[str, int] = {"": 1}
        self.values: Any = None
        root = self._composed(text)
        if root is not None:
            self.values = self._plain(root, "")

    def error(self, path: str, expected: Said | Exception | str) -> ConfigError:
        """An error about the value at `path`, with the line of the nearest key that the file has."""
        known = path
        while known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        return ConfigError(self.file, self.lines[known], path or "yaml", expected)

    def _composed(self, text: str) -> Node | None:
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise ConfigError(
                self.file, None, None, Said("expected a file of at most {number} KiB", number=MAX_BYTES // 1024)
            )
        yaml = YAML(typ="safe", pure=True)
        try:
            self._refuse_tricks(yaml, text)
            root: Node | None = yaml.compose(text)
            return root
        except ReaderError as exc:
            line = text.count("\n", 0, exc.position) + 1
            raise ConfigError(self.file, line, "yaml", Said("expected text, got a control character")) from None
        except MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            raise ConfigError(self.file, mark.line + 1 if mark else None, "yaml", _problem(exc)) from None
        except (YAMLError, ValueError, OverflowError) as exc:
            # An escape beyond Unicode (`"\U99999999"`) makes ruamel raise outside its own errors.
            raise ConfigError(
                self.file, None, "yaml", Said("expected YAML 1.2 ({problem})", problem=type(exc).__name__)
            ) from None

    def _refuse_tricks(self, yaml: YAML, text: str) -> None:
        """Look at the events first: composing recurses, and shares what aliases point to."""
        depth = 0
        for event in yaml.parse(text):
            line = event.start_mark.line + 1 if event.start_mark else None
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(self.file, line, "yaml", Said("expected no anchors and aliases (&, *)"))
            if isinstance(event, NodeEvent) and getattr(event, "tag", None):
                raise ConfigError(self.file, line, "yaml", Said("expected no tags (!)"))
            if getattr(event, "version", None) not in (None, (1, 2)):
                raise ConfigError(self.file, line, "yaml", Said("expected YAML 1.2"))
            depth += _nesting(event)
            if depth > MAX_DEPTH:
                raise ConfigError(self.file, line, "yaml", Said("expected at most {number} levels", number=MAX_DEPTH))

    def _plain(self, node: Node, path: str) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            values = []
            for i, item in enumerate(node.value):
                self.lines[f"{path}[{i}]"] = item.start_mark.line + 1
                values.append(self._plain(item, f"{path}[{i}]"))
            return values
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or key_node.tag != _TAG + "str":
                raise ConfigError(self.file, line, path or "yaml", Said("expected a key that is a word"))
            here = f"{path}.{key}" if path else key
            if key in values:
                first = self.lines[here]
                raise ConfigError(self.file, line, here, Said("expected once, first given in line {line}", line=first))
            self.lines[here] = line
            values[key] = self._plain(value_node, here)
        return values

    def _scalar(self, node: Node, path: str) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        try:
            if kind == "int":
                return int(text, 0) if text.lower().lstrip("+-").startswith(("0x", "0o", "0b")) else int(text)
            if kind == "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise self.error(path, Said("expected a number")) from None
        return {"null": None, "bool": text.lower() == "true"}.get(kind, text)


def _nesting(event: Any) -> int:
    if isinstance(event, MappingStartEvent | SequenceStartEvent):
        return 1
    return -1 if type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent") else 0


_PROBLEMS = (  # as ruamel tells them: those that people make most
    N_("mapping values are not allowed here"),
    N_("could not find expected ':'"),
    N_("found character '\\t' that cannot start any token"),
    N_("did not find expected key"),
    N_("while scanning a quoted scalar"),
    N_("found unexpected end of stream"),
    N_("but found another document"),
)
_UNCLOSED = {"]": N_("expected ',' or ']', but got {token}"), "}": N_("expected ',' or '}}', but got {token}")}


def _problem(exc: MarkedYAMLError) -> Said:
    problem = str(exc.problem or exc.context or "")
    told: Said | str = Said(problem) if problem in _PROBLEMS else problem
    if unclosed := re.fullmatch(r"expected ',' or '([\]}])', but got (.*)", problem):
        told = Said(_UNCLOSED[unclosed[1]], token=unclosed[2])
    return Said("expected YAML 1.2 ({problem})", problem=told)
