"""The command line in the user's language: `--help`, and what click says of a wrong use."""

import gettext
import sys
from collections.abc import Iterator

import click

from monitor.language import Words
from monitor.messages import N_, NN_

# What click says, as far as these commands meet it.
CLICKS_OWN = (
    N_("Usage:"),
    N_("Options"),
    N_("Commands"),
    N_("Show this message and exit."),
    N_("Show the version and exit."),
    N_("default: {default}"),
    N_("required"),
    N_("Missing argument"),
    N_("Missing option"),
    N_("No such command {name!r}."),
    N_("No such option {name!r}."),
    N_("No such option: {name}"),
    N_("Option {name!r} does not take a value."),
    N_("Invalid value: {message}"),
    N_("Invalid value for {param_hint}: {message}"),
    N_("{value} is not in the range {range}."),
    N_("{value!r} is not a valid {number_type}."),
    N_("{name} {filename!r} does not exist."),
    N_("{name} {filename!r} is a directory."),
    N_("{name} {filename!r} is not readable."),
    NN_("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    NN_("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    NN_("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    NN_("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
)
# Its names for kinds of values, which are in those messages.
_KINDS = (N_("file"), N_("path"), N_("integer"), N_("float"), N_("integer range"), N_("float range"))


def translate(group: click.Group, w: Words) -> None:
    """What the command line says, from now on."""
    _translate_click(w)
    for command in (group, *group.commands.values()):
        command.help = "\n\n".join(w.gettext(text) for text in _paragraphs(command))
        for option in _options(command):
            option.help = w.gettext(option.help) if option.help else None
        for parameter in command.params:
            if parameter.type.name in _KINDS:
                parameter.type.name = w.gettext(parameter.type.name)


def _translate_click(w: Words) -> None:
    """click asks the standard library, which reads only compiled catalogues in folders of its own."""
    for module in [module for name, module in sys.modules.items() if name.startswith("click.")]:
        for name, value in list(vars(module).items()):
            if value is gettext.gettext:
                setattr(module, name, w.gettext)
            if value is gettext.ngettext:
                setattr(module, name, w.ngettext)


def messages(group: click.Group) -> Iterator[str]:
    """The texts, in English."""
    for command in (group, *group.commands.values()):
        yield from _paragraphs(command)
        yield from (option.help for option in _options(command) if option.help)


def _paragraphs(command: click.Command) -> Iterator[str]:
    return (" ".join(text.split()) for text in (command.help or "").split("\n\n"))


def _options(command: click.Command) -> Iterator[click.Option]:
    return (one for one in command.params if isinstance(one, click.Option))
