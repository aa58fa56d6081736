"""HTML -> a PDF or a picture, by a process of its own that can reach neither files nor the network."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from monitor.evidence import confined

MOST_S = 120  # of a whole drawing: a Raspberry Pi takes ten times as long as a laptop
MOST_BYTES = {"pdf": 64 * 1024 * 1024, "picture": 8 * 1024 * 1024}
_BEGINNING = {"pdf": b"%PDF-", "picture": b"\x89PNG\r\n\x1a\n"}
_HERE = Path(__file__).parent.parent.parent


class NotDrawn(Exception):
    """There will be none. Its text is one line."""


def possible() -> None:
    """NotDrawn where this machine, or this installation, cannot draw at all."""
    if not all(importlib.util.find_spec(module) for module in ("weasyprint", "pypdfium2")):
        raise NotDrawn("they need the extra report: pip install 'almenara[report]'")
    if not confined.possible():
        raise NotDrawn("they need Linux on a 64-bit machine, where a hostile page can be drawn safely")


def drawn(what: str, html: str, most_s: float = MOST_S) -> bytes:
    """what: pdf or picture. NotDrawn where that takes too much time or memory, or fails."""
    possible()
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as page:
        page.write(html.encode("utf-8", "replace"))
        page.seek(0)
        command = (sys.executable, "-P", "-m", "monitor.evidence.painter", what)
        # What is drawn depends on the page alone: no date, no chance, and none of the user's settings.
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8"}
        env |= {"SOURCE_DATE_EPOCH": "0", "PYTHONHASHSEED": "0", "PYTHONPATH": str(_HERE)}
        with subprocess.Popen(
            command, stdin=page, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=scratch
        ) as painter:
            content = _read(painter, MOST_BYTES[what], most_s)
    if painter.returncode or len(content) > MOST_BYTES[what] or not content.startswith(_BEGINNING[what]):
        raise NotDrawn("drawing it failed, or would have taken too long")
    return content


def _read(painter: "subprocess.Popen[bytes]", most: int, most_s: float) -> bytes:
    """What it writes, at most one byte more than is allowed, and at most for so long."""
    assert painter.stdout is not None
    late = threading.Timer(most_s, painter.kill)
    late.start()
    try:
        return painter.stdout.read(most + 1)
    finally:
        late.cancel()
        painter.stdout.close()  # ends one that writes without end
