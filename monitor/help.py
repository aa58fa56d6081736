"""`--help` in the user's language. What click itself says beyond headings, such as `[default: 25]`, stays English."""

from collections.abc import Iterable, Iterator

import click

from monitor.language import Words
from monitor.messages import N_

CLICKS_OWN = (
    N_("Usage: "),
    N_("Options"),
    N_("Commands"),
    N_("Show this message and exit."),
    N_("Show the version and exit."),
)


def translate(group: click.Group, w: Words) -> None:
    """The texts of the commands and their options, from now on."""

    class Formatter(click.HelpFormatter):
        def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
            super().write_usage(prog, args, prefix or w.gettext(CLICKS_OWN[0]))

        def write_heading(self, heading: str) -> None:
            super().write_heading(w.gettext(heading))

        def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
            super().write_dl([(name, w.gettext(text)) for name, text in rows], col_max, col_spacing)

    class Context(click.Context):
        formatter_class = Formatter

    for command in (group, *group.commands.values()):
        command.context_class = Context
        command.help = "\n\n".join(w.gettext(text) for text in _paragraphs(command))
        for option in _options(command):
            option.help = w.gettext(option.help) if option.help else None


def messages(group: click.Group) -> Iterator[str]:
    """The texts, in English."""
    for command in (group, *group.commands.values()):
        yield from _paragraphs(command)
        yield from (option.help for option in _options(command) if option.help)


def _paragraphs(command: click.Command) -> Iterator[str]:
    return (" ".join(text.split()) for text in (command.help or "").split("\n\n"))


def _options(command: click.Command) -> Iterator[click.Option]:
    return (one for one in command.params if isinstance(one, click.Option))
