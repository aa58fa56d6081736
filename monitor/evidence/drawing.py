"""HTML -> a PDF or a picture, by a process of its own that can reach neither files nor the network."""

import importlib.util
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from monitor.evidence import confined, pixels
from monitor.messages import N_

# Of a whole drawing, by the clock; `painter` bounds the processor's. Beginning alone takes a Raspberry Pi half a minute.
MOST_S = {"pdf": 180, "picture": 90}
MOST_BYTES = {"pdf": 64 * 1024 * 1024, "picture": pixels.MOST_BYTES}
_HERE = Path(__file__).parent.parent.parent


NO_EXTRA = N_("the extra report is missing: pip install 'almenara[report]'")
NO_WALLS = N_("only Linux on a 64-bit machine can draw a hostile page safely")
TOO_LONG = N_("drawing it took too long")
FAILED = N_("drawing it failed")


class NotDrawn(Exception):
    """There will be none. Its text is a message, one line."""


def possible() -> None:
    """NotDrawn where this machine, or this installation, cannot draw at all."""
    if not all(importlib.util.find_spec(module) for module in ("weasyprint", "pypdfium2")):
        raise NotDrawn(NO_EXTRA)
    if not confined.possible():
        raise NotDrawn(NO_WALLS)


def drawn(what: str, html: str) -> bytes:
    """what: pdf or picture. NotDrawn where that takes too much time or memory, or fails."""
    possible()
    command = (sys.executable, "-P", "-m", "monitor.evidence.painter", what)
    content = output(command, html, most=MOST_BYTES[what], most_s=MOST_S[what])
    if what == "picture":
        try:
            return pixels.png(content)
        except ValueError:
            raise NotDrawn(FAILED) from None
    if not content.startswith(b"%PDF-"):
        raise NotDrawn(FAILED)
    return content


def output(command: Sequence[str], html: str, *, most: int, most_s: float) -> bytes:
    """What a program writes that is given a page, and may have become the page's; NotDrawn."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as page:
        page.write(html.encode("utf-8", "replace"))
        page.seek(0)
        # What is drawn depends on the page alone: no date, no chance, and none of the user's settings.
        # Nor any program: cffi would start compilers by the dozen to find a library's other names, a fifth of all the time.
        env = {"PATH": scratch, "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8"}
        env |= {"SOURCE_DATE_EPOCH": "0", "PYTHONHASHSEED": "0", "PYTHONPATH": str(_HERE)}
        with subprocess.Popen(
            command, stdin=page, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=scratch
        ) as painter:
            content = _read(painter, most, most_s)
    if len(content) > most:
        raise NotDrawn(FAILED)
    if painter.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise NotDrawn(TOO_LONG)
    if painter.returncode:
        raise NotDrawn(FAILED)
    return content


def _read(painter: "subprocess.Popen[bytes]", most: int, most_s: float) -> bytes:
    """What it writes until it ends, at most one byte more than is allowed, and at most for so long."""
    assert painter.stdout is not None
    late = threading.Timer(most_s, painter.kill)
    late.start()
    try:
        content = painter.stdout.read(most + 1)
        if len(content) <= most:
            painter.wait()
        return content
    finally:
        late.cancel()
        painter.kill()  # one that writes without end, or has said all and does not go
