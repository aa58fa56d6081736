"""The rules for Prometheus as they are shipped."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).parent.parent / "prometheus"


def _rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in YAML(typ="safe").load(FOLDER / "rules" / file)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in _rules("alerts.yml")}
RECORDS = {rule["record"]: rule for rule in _rules("recording.yml")}
