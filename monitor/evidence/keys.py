"""The operator's key: made once, kept for its owner alone, never overwritten. `almenara key` shows its public half."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from monitor import system_errors
from monitor.evidence.contents import plain
from monitor.evidence.errors import KeyProblem
from monitor.evidence.minisign import NotMinisign, PublicKey, SecretKey, new_key, read_public, read_secret
from monitor.language import here
from monitor.messages import Said

_MOST_BYTES = 8192


def place() -> Path:
    """Where the secret key is kept; the public one lies beside it."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "almenara" / "signing.key"


def run(file: Path | None) -> int:
    """Print the public key, of a new pair where there is none yet, and return 0. Raises KeyProblem."""
    file = file or place()
    key = own(file)
    sys.stdout.write(key.public.text + "\n")
    told = here().text(
        "The secret key is {file}: keep a copy where nobody else can read it. The line above is public: say it where your "
        "readers know you.",
        file=file,
    )
    sys.stderr.write(told + "\n")
    return 0


def own(file: Path) -> SecretKey:
    """The key in that file, made there if nothing is; KeyProblem."""
    return known(file) or _made(file)


def known(file: Path) -> SecretKey | None:
    """The key in that file, None where there is no file; KeyProblem."""
    try:
        with plain(file) as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise KeyProblem(
                    Said("{file} can be read by others: chmod 600 it, and think about who may have read it", file=file)
                )
            return read_secret(opened.read(_MOST_BYTES).decode("utf-8", "replace"))
    except FileNotFoundError:
        return None
    except NotMinisign as exc:
        raise KeyProblem(Said("{file}: {problem}", file=file, problem=exc)) from None
    except OSError as exc:
        raise KeyProblem(Said("{file}: {problem}", file=file, problem=system_errors.problem(exc))) from None


def _made(file: Path) -> SecretKey:
    key = new_key()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(file, key.file, 0o600)
        with suppress(FileExistsError):  # of an older key: `almenara key` prints the right one
            _write_new(file.with_suffix(".pub"), key.public.file, 0o644)
    except OSError as exc:
        raise KeyProblem(Said("{file}: {problem}", file=file, problem=system_errors.problem(exc))) from None
    return key


def _write_new(file: Path, text: str, mode: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(handle, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def named(text: str) -> PublicKey:
    """A public key, as its line or as the name of its file; KeyProblem."""
    with suppress(NotMinisign):
        return read_public(text)
    try:
        with plain(text) as opened:
            return read_public(opened.read(_MOST_BYTES).decode("utf-8", "replace"))
    except NotMinisign as exc:
        raise KeyProblem(Said("{file}: {problem}", file=text, problem=exc)) from None
    except (OSError, ValueError):
        raise KeyProblem(Said("--key: expected a minisign public key, as its line or its file")) from None
