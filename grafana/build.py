"""Writes the dashboards' JSON: `python grafana/build.py [--into FOLDER]`, by default into grafana/dashboards."""

import argparse
import json
from pathlib import Path

from boards.isp import isp
from boards.operations import operations
from boards.overview import overview
from boards.site import site
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

HERE = Path(__file__).parent
DASHBOARDS = {"overview": overview, "site": site, "isp": isp, "operations": operations}


def text(board: Dashboard) -> str:
    """A dashboard's JSON, its panels numbered in their order."""
    built = board.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    for shown in (*(built.links or []), *(built.annotations.list_val or [] if built.annotations else [])):
        shown.placement = None  # the library's default hides them in a menu
    return json.dumps(built, cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=HERE / "dashboards", metavar="FOLDER")
    folder = parser.parse_args().into
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(text(board()), encoding="utf-8")


if __name__ == "__main__":
    main()
