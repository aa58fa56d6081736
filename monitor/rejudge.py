"""`almenara classify --store`: every stored measurement judged again by the rules of this version."""

import sys

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from monitor.config import Config
from monitor.language import here
from monitor.store import Rejudged, Store, locate
from monitor.verdict import RULES_VERSION, judge

NOT_JUDGED = "not judged"


def run(config: Config, *, json: bool) -> int:
    """Judge again, say how many became something else, and return 0. Raises StoreError."""
    columns = (TextColumn(here().text("judging again")), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False)
    with (
        Store.open(locate(config.store), create=False) as store,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown,
    ):
        task = shown.add_task("", total=None)
        done = store.rejudge(judge, RULES_VERSION, lambda done, of: shown.update(task, completed=done, total=of))
    sys.stdout.write(_as_json(done) if json else _as_text(done))
    return 0


def _changes(done: Rejudged) -> list[tuple[str, str, int]]:
    """Old status, new status, how often; the most frequent first."""
    found = [(old.value if old else NOT_JUDGED, new.value, count) for (old, new), count in done.changes.items()]
    return sorted(found, key=lambda change: (-change[2], change))


def _as_json(done: Rejudged) -> str:
    changes = [{"from": old, "to": new, "measurements": count} for old, new, count in _changes(done)]
    return msgspec.json.encode({"total": done.total, "changed": done.changed, "changes": changes}).decode() + "\n"


def _as_text(done: Rejudged) -> str:
    w = here()
    lines = [
        w.many(
            "{count} measurement judged again, {changed} with another verdict",
            "{count} measurements judged again, {changed} with another verdict",
            done.total, changed=w.number(done.changed),
        )
    ]  # fmt: skip
    for old, new, count in _changes(done):
        before = w.text("not judged") if old == NOT_JUDGED else w.status(old)
        lines.append(f"  {before:<14} -> {w.status(new):<14} {count:>9}")
    return "\n".join(lines) + "\n"
