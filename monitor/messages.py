"""Marks of messages that are to be translated where they are told, and not where they stand."""


def N_(message: str) -> str:
    """The message itself; Babel finds it by this name."""
    return message
