"""The question before measuring: measuring can put a volunteer at risk, so nothing is measured before a yes."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

# A new version of the text is a new question: what was agreed to before was another text.
TEXT_VERSION = 1

RISKS = """\
Before Almenara measures anything from here, please read this.

What it does. It contacts the news sites in your list from your own connection, as a browser would, including sites
that your network or your government blocks. It asks several name servers about them, and asks a test helper
elsewhere to try the same sites. You can see the list in your probes.yaml and change it.

Who can see it. Your internet provider, and whoever watches its network, can see that you contact these sites, that
you do it again and again, and that you ask public name servers and a test helper: this looks different from
browsing and can be recognised as measuring. The sites and the test helper see your IP address.

What it may mean for you. In some countries visiting such sites, or measuring them, is illegal, or is punished
whether it is or not. If you are at risk already, talk to people who know your country first. Almenara is no VPN and
does not hide you.

What is recorded. For each site: the time, the network's name and number (ISP, ASN, country), the answers of name
servers, the addresses contacted, certificates, and what the pages were like. Where a page looks like a block page
the page itself is kept as evidence.

What is not recorded. Your IP address is removed from what is kept, and nothing else about you, your machine or what
you browse is looked at. Nothing is published by this command.

You may stop at any time. To take your yes back, delete {remembered}
or write `consent: false` in your probes.yaml.
"""

QUESTION = "Do you understand this, and want to measure from here? Type yes or no: "
HOW_TO = (
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
        raise ConsentMissing("nothing is measured: the configuration says `consent: false`")
    if _is_remembered(remembered):
        return
    if ask is None:
        raise ConsentMissing(HOW_TO)
    if not _agrees(ask, RISKS.format(remembered=remembered)):
        raise ConsentMissing("nothing is measured: consent was not given")
    _remember(remembered, _Given(date=now, text_version=TEXT_VERSION))


def require_here(configured: bool | None) -> None:
    """`require` on this machine: asks on the terminal where there is one."""
    on_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    ask = _ask_on_terminal if on_terminal else None
    require(configured, ask=ask, now=datetime.now(UTC), remembered=remembered_at())


def _agrees(ask: Callable[[str], str], risks: str) -> bool:
    """Only the whole word is a yes: an Enter pressed too soon must not be one."""
    answer = ask(f"{risks}\n{QUESTION}").strip().lower()
    while answer not in ("yes", "no", ""):
        answer = ask("Please type yes or no: ").strip().lower()
    return answer == "yes"


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
        problem = exc.strerror or type(exc).__name__
        sys.stderr.write(f"Your yes holds for this run; it could not be remembered in {file}: {problem.lower()}\n")
