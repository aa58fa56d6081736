"""What msgspec says of a value that is not what a field takes, in the words that users read."""

import re

import msgspec

from monitor.messages import N_, Said

_WORDS = {
    "int": N_("a whole number"), "float": N_("a number"), "str": N_("text"), "bool": N_("true or false"),
    "array": N_("a list"), "object": N_("a mapping"), "null": N_("nothing"), "bool | null": N_("true or false"),
    "str | null": N_("text"), "int | null": N_("a whole number"), "array | null": N_("a list"),
    "object | null": N_("a mapping"),
}  # fmt: skip
# The table of bad configurations pins each form.
_FORMS = (
    (re.compile("Expected `(?P<kind>[^`]*)`, got `(?P<found>[^`]*)`"), N_("expected {kind}, got {found}")),
    (re.compile("Expected `(?P<kind>[^`]*)` of length (?P<limit>.+)"), N_("expected {kind} of length {limit}")),
    (re.compile("Expected `(?P<kind>[^`]*)` (?P<limit>[<>=]+ .+)"), N_("expected {kind} {limit}")),
)


def unfit(exc: msgspec.ValidationError) -> tuple[str, Said | Exception | str]:
    """The path in a message of msgspec's, and what is expected."""
    message, _, place = str(exc).partition(" - at `$")
    path = place.removesuffix("`").removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return f"{path}.{missing[1]}" if path else missing[1], Said("expected, but missing")
    if isinstance(exc.__cause__, ValueError):  # ours, of a section as a whole
        return path, exc.__cause__
    for form, expected in _FORMS:
        if found := form.fullmatch(message):
            return path, Said(expected, **{name: _kind(text) for name, text in found.groupdict().items()})
    return path, message[:1].lower() + message[1:]


def _kind(text: str) -> Said | str:
    return Said(_WORDS[text]) if text in _WORDS else text
