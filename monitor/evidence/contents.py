"""The files of a bundle, which may be anybody's, in a folder: bounded, and nothing is followed."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from monitor.evidence.errors import NotABundle
from monitor.evidence.manifest import MOST_FILES
from monitor.messages import Said

MOST_BYTES = 8 * 1024**3  # of all files together: some 700,000 measurements
_MOST_DEPTH = 16


class Contents(Protocol):
    """Files by name, with `/` between folders. Raises NotABundle."""

    def names(self) -> list[str]:
        """Of all files."""
        ...

    def digest(self, name: str) -> str:
        """SHA-256, hex; of what is no plain file, a text that is none."""
        ...

    def read(self, name: str, most: int) -> bytes:
        """A file, of which at most so many bytes are read; nothing where it is missing."""
        ...


class Folder:
    """A bundle that was unpacked."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Of all files, links and whatever else lies there."""
        found: list[str] = []
        size = 0
        for name, more in self._below(self._root, "", 0):
            found.append(name)
            size += more
            refuse_large(len(found), size)
        return found

    def _below(self, folder: Path, within: str, depth: int) -> Iterator[tuple[str, int]]:
        """Names and bytes; of a folder with nothing in it the name with a `/`, since nothing else would tell of it."""
        if depth > _MOST_DEPTH:
            raise NotABundle(Said("it has folders within folders without end"))
        empty = True
        with os.scandir(folder) as entries:
            for entry in entries:
                empty = False
                if entry.is_dir(follow_symlinks=False):
                    yield from self._below(Path(entry.path), f"{within}{entry.name}/", depth + 1)
                else:
                    yield within + entry.name, entry.stat(follow_symlinks=False).st_size
        if empty and within:
            yield within, 0

    def digest(self, name: str) -> str:
        """SHA-256, hex; of a link or a device a text that is none."""
        with self._file(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if file else "no plain file"

    def read(self, name: str, most: int) -> bytes:
        """The beginning of a file."""
        with self._file(name) as file:
            return file.read(most) if file else b""

    @contextmanager
    def _file(self, name: str) -> Iterator[BufferedReader | None]:
        try:
            file = plain(self._root / name, os.O_NOFOLLOW)
        except OSError:
            yield None
            return
        with file:
            yield file


def plain(path: str | Path, more: int = 0) -> BufferedReader:
    """A file to read; OSError, also where it is none, such as a pipe on which one would wait for ever. more: flags."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | more)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return open(handle, "rb")


def refuse_large(files: int, size: int) -> None:
    """NotABundle where that is more than a bundle has."""
    if files > MOST_FILES:
        raise NotABundle(Said("it has more than {number} files", number=MOST_FILES))
    if size > MOST_BYTES:
        raise NotABundle(
            Said("its files have more than {number} GiB together, which is too large", number=MOST_BYTES // 1024**3)
        )
