"""Messages that are to be translated where they are told, and not where they stand."""

from typing import Protocol


def N_(message: str) -> str:
    """The message itself; Babel finds it by this name."""
    return message


def NN_(singular: str, plural: str) -> tuple[str, str]:
    """The forms of a message with a number."""
    return singular, plural


class Speaker(Protocol):
    """A language (`language.Words`)."""

    def text(self, message: str, /, **values: object) -> str:
        """The message in it, with its values."""


class Said:
    """A message with the values that it names in braces: an error carries it to where it is told. `str()` is English.

    A value may be a message too, or an error that carries one.
    """

    def __init__(self, message: str, /, **values: object) -> None:
        self.message, self.values = message, values

    def __str__(self) -> str:
        return self.message.format(**self.values)

    def told(self, w: Speaker) -> str:
        """In that language."""
        return w.text(self.message, **self.values)
