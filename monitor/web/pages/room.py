"""How much of strangers' writing a page has room for: what they write must not make it too heavy for a bad line."""

from markupsafe import escape

from monitor.web import strangers


class Room:
    """left: bytes of HTML. What comes when there are none left is an ellipsis."""

    def __init__(self, size: int) -> None:
        self.left = size

    def line(self, text: object, most: int = strangers.MAX_LINE) -> str:
        """One line of it."""
        return self._taken(strangers.line(text, most))

    def passage(self, text: str, most: int = strangers.MAX_PASSAGE) -> str:
        """Several lines of it."""
        return self._taken(strangers.passage(text, most))

    def _taken(self, shown: str) -> str:
        size = len(escape(shown).encode())
        if size > self.left:
            return "…"
        self.left -= size
        return shown
