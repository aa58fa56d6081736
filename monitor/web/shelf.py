"""Where bundles lie while the service runs: a temporary folder of its own, which goes with it, whatever ends it."""

import os
import shutil
import stat
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from monitor.files import locked

_PREFIX = "almenara-bundles-"
_LOCK = "lock"  # held as long as the service runs: what nobody holds was left behind


class Shelf:
    """Made when it is needed, and anew where somebody has tidied it away. Every method but `clear` raises OSError."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._held = ExitStack()

    def place(self) -> Path:
        """An empty folder."""
        if self._folder is None or not self._folder.is_dir():
            self.clear()
            self._folder = self._made()
        return Path(tempfile.mkdtemp(dir=self._folder))

    def clear(self) -> None:
        """All of it is removed."""
        self._held.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _made(self) -> Path:
        _sweep(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held.enter_context(locked(folder / _LOCK))
        return folder


def _sweep(where: Path) -> None:
    """What services of this user left that were killed."""
    for folder in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                with locked(folder / _LOCK):
                    shutil.rmtree(folder, ignore_errors=True)
