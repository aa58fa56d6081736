"""The dashboards as Grafana reads them: their panels, their queries, and the values that it puts into these."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

FOLDER = Path(__file__).parent.parent / "grafana"
BOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
# What Grafana itself knows.
OWN = {"__interval", "__rate_interval", "__range"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")


class Query(Struct, frozen=True, kw_only=True):
    """One query. over: of a range of time, not of its last moment. values: it asks for the values of a variable's label."""

    board: str
    panel: str
    ref: str
    expression: str
    over: bool = False
    values: str | None = None

    @property
    def id(self) -> str:
        """A name for it."""
        return f"{self.board}: {self.panel} {self.ref}"


def panels(board: str) -> list[dict[str, Any]]:
    """All panels of a dashboard but the rows."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def variables(board: str) -> dict[str, dict[str, Any]]:
    """By name."""
    return {one["name"]: one for one in BOARDS[board]["templating"]["list"]}


def queries() -> list[Query]:
    """All queries of all dashboards: of panels, of marks and of variables."""
    return [query for board in BOARDS for query in _of_board(board)]


def _of_board(board: str) -> Iterator[Query]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query(
                board=board, panel=panel["title"], ref=target["refId"], expression=target["expr"], over=target["range"]
            )
    for mark in BOARDS[board]["annotations"]["list"]:
        yield Query(board=board, panel=mark["name"], ref="mark", expression=mark["target"]["expr"], over=True)
    for name, variable in variables(board).items():
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            assert asked, name
            yield Query(board=board, panel=f"${name}", ref="values", expression=asked[1], values=asked[2])


def named(text: str) -> set[str]:
    """The variables in a query, a title or an address, Grafana's own in it."""
    return {first or second for first, second in _VARIABLE.findall(text)}


def filled(query: Query, chosen: Mapping[str, list[str]], own: Mapping[str, str]) -> str:
    """A query with its variables' values. chosen: by name; where all are chosen of many: [] for "All"."""
    there = variables(query.board)

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return own[name] if name in own else _chosen(there[name], chosen[name])

    return _VARIABLE.sub(value, query.expression)


def _chosen(variable: dict[str, Any], values: list[str]) -> str:
    """As Grafana's Prometheus data source does: regular expressions where several can be chosen."""
    if not (variable.get("multi") or variable.get("includeAll")):
        [one] = values
        return one.replace("\\", "\\\\").replace('"', '\\"')
    if not values:
        return str(variable["allValue"])
    escaped = [_SPECIAL.sub(r"\\\\\g<0>", one) for one in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
