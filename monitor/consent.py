"""The question before measuring: measuring can put a volunteer at risk, so nothing is measured before a yes."""

import os
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from monitor import system_errors
from monitor.consent_texts import AGAIN, QUESTION, REFUSED, UNREMEMBERED, answers, risks
from monitor.language import Words, here
from monitor.messages import N_, Said

# A new version of the text is a new question: what was agreed to before was another text.
TEXT_VERSION = 1

HOW_TO = N_(
    "nothing is measured without consent: run this on a terminal to read about the risks and answer, "
    "or write `consent: true` in probes.yaml"
)
_MAX_BYTES = 4096


class ConsentMissing(Exception):
    """Nobody agreed to measuring. Its text is one line that says how to."""


class _Given(Struct, frozen=True, kw_only=True):
    """A yes, as remembered."""

    date: datetime
    text_version: int


def remembered_at() -> Path:
    """The file that remembers a yes: $XDG_STATE_HOME/almenara/consent, by default under ~/.local/state."""
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "almenara" / "consent"


def require(configured: bool | None, *, ask: Callable[[str], str] | None, now: datetime, remembered: Path) -> None:
    """Return when there is consent, else raise ConsentMissing. ask: None where there is no terminal to ask on."""
    if configured is True:
        return
    if configured is False:
        raise ConsentMissing(Said("nothing is measured: the configuration says `consent: false`"))
    if _is_remembered(remembered):
        return
    if ask is None:
        raise ConsentMissing(Said(HOW_TO))
    if not _agrees(ask, here(), remembered):
        raise ConsentMissing(Said(REFUSED))
    _remember(remembered, _Given(date=now, text_version=TEXT_VERSION))


def require_here(configured: bool | None) -> None:
    """`require` on this machine: asks on the terminal where there is one."""
    on_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    ask = _ask_on_terminal if on_terminal else None
    require(configured, ask=ask, now=datetime.now(UTC), remembered=remembered_at())


def _agrees(ask: Callable[[str], str], w: Words, remembered: Path) -> bool:
    yes, no = answers(w)
    answer = _plain(ask(f"{risks(w, remembered)}\n\n{w.text(QUESTION)} "))
    while answer not in yes | no:
        answer = _plain(ask(f"{w.text(AGAIN)} "))
    return answer in yes


def _plain(answer: str) -> str:
    # Some keyboards, macOS' among them, send an accent of its own after the letter.
    return unicodedata.normalize("NFC", answer).strip().lower()


def _ask_on_terminal(text: str) -> str:
    # Not `input`: it writes to stdout, where the data goes. An empty line at the end of input is a no.
    sys.stderr.write(text)
    sys.stderr.flush()
    return sys.stdin.readline()


def _is_remembered(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            given = msgspec.json.decode(opened.read(_MAX_BYTES), type=_Given)
    except (OSError, msgspec.DecodeError):
        return False
    return given.text_version == TEXT_VERSION


def _remember(file: Path, given: _Given) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_bytes(msgspec.json.encode(given) + b"\n")
        file.chmod(0o600)
    except OSError as exc:
        sys.stderr.write(here().text(UNREMEMBERED, file=file, problem=system_errors.problem(exc)) + "\n")
