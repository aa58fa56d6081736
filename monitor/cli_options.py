"""What options and arguments of the commands have in common, and the configuration that they name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli_errors import said
from monitor.messages import Said

if TYPE_CHECKING:
    from monitor.config import Config

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
            self.fail(said(exc), param, ctx)


config_option = click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration. Default: probes.yaml here, then in the user's configuration folder.",
)


def configuration(file: Path | None, *, required: bool = True) -> "Config":
    """The named configuration, or the one found, or the defaults where none is required."""
    from monitor.config import Config, find, load

    if file is None and find() is None and not required:
        return Config()
    return load(found(file))


def found(file: Path | None) -> Path:
    """The named configuration file, or the one found."""
    from monitor.config import ConfigError, find

    there = file or find()
    if there is None:
        expected = Said("expected here or in the user's configuration folder; -c names another")
        raise ConfigError("probes.yaml", None, None, expected)
    return there


def given(file: Path | None) -> "Config | None":
    """The named configuration; None where none is named. For commands that need none."""
    return None if file is None else configuration(file)
