"""Files of ours in folders where others may have put something in their place: locks, and content replaced at once."""

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RETRY_S = 0.05


class Busy(OSError):
    """Another process holds the lock."""

    def __init__(self, file: Path) -> None:
        super().__init__(errno.EAGAIN, "another program holds its lock", str(file))


class NoLock(OSError):
    """What is there is no lock file, but a link or a device."""

    def __init__(self, file: Path) -> None:
        super().__init__(errno.EINVAL, f"{file} is no lock file", str(file))


@contextmanager
def locked(file: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock, which goes with the process, whatever ends it. Raises Busy after so many seconds; NoLock, OSError.

    It sleeps meanwhile: an event loop calls it in a thread.
    """
    handle = _opened(file)
    try:
        _take(handle, file, time.monotonic() + wait_s)
        yield
    finally:
        os.close(handle)


def _opened(file: Path) -> int:
    """A link is not followed, nothing is emptied, and nobody else may open it: whoever can could hold the lock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(file, flags, 0o600)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NoLock(file) from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise NoLock(file)
    if found.st_mode & 0o077 and found.st_uid == os.geteuid() and found.st_nlink == 1:
        os.fchmod(handle, 0o600)  # made by a version that did not know better
    return handle


def _take(handle: int, file: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Busy(file) from None
            time.sleep(_RETRY_S)
        else:
            return


def beside(file: Path) -> Path:
    """A new file in the same folder, empty and ours alone, under a name that nobody can know before."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    return Path(name)


def replace(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = beside(file)
    try:
        with new.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)
