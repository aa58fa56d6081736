"""What options and arguments of the commands have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

READABLE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Value(click.ParamType[str]):
    """A value on the command line, read as the configuration reads it. kind: a function of `config_values`.

    prepare: what is done to it before.
    """

    def __init__(self, kind: str, prepare: Callable[[str], str] = str) -> None:
        self.name = kind
        self._prepare = prepare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value, checked."""
        from monitor import config_values

        try:
            return str(getattr(config_values, self.name)(self._prepare(value)))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


config_option = click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration. Default: probes.yaml here, then in the user's configuration folder.",
)
