"""The files of a bundle, in a folder or in a zip, which may be anybody's: bounded, and nothing is unpacked or followed."""

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Protocol

from monitor.evidence.errors import NotABundle
from monitor.evidence.manifest import MOST_FILES

MOST_BYTES = 8 * 1024 * 1024 * 1024  # of all files together
_AT_ONCE = 1024 * 1024
_MOST_DIRECTORY = 16 * 1024 * 1024  # of a zip's list of its files
_MOST_NAME = 1000
_MOST_DEPTH = 16
_END, _END64 = b"PK\5\6", b"PK\6\7"
# What zipfile raises for archives that somebody made to be odd.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)
_END_BYTES, _COMMENT_BYTES = 22, 65_535


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


@contextmanager
def opened(bundle: Path) -> Iterator[Contents]:
    """A bundle's files; NotABundle."""
    try:
        if bundle.is_dir():
            yield Folder(bundle)
            return
        with bundle.open("rb") as file, _archive(file) as archive:
            yield Zip(archive)
    except OSError as exc:
        raise NotABundle((exc.strerror or type(exc).__name__).lower()) from None


def _archive(file: BinaryIO) -> zipfile.ZipFile:
    _refuse_endless(file)
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED:
        raise NotABundle("it is no zip, or a damaged one") from None


class Folder:
    """A bundle that was unpacked."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Of all files, links and whatever else lies there."""
        found = list(self._below(self._root, 0))
        return [path.relative_to(self._root).as_posix() for path in found]

    def _below(self, folder: Path, depth: int) -> Iterator[Path]:
        if depth > _MOST_DEPTH:
            raise NotABundle("it has folders within folders without end")
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_FILES:
                    raise NotABundle(f"it has more than {MOST_FILES} files")
                if entry.is_dir(follow_symlinks=False):
                    yield from self._below(Path(entry.path), depth + 1)
                else:
                    yield Path(entry.path)

    def digest(self, name: str) -> str:
        """SHA-256, hex; of a link or a device a text that is none."""
        with self._file(name) as file:
            return _digest(file) if file else "no plain file"

    def read(self, name: str, most: int) -> bytes:
        """The beginning of a file."""
        with self._file(name) as file:
            return file.read(most) if file else b""

    @contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO | None]:
        try:
            handle = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        with open(handle, "rb") as file:
            yield file if stat.S_ISREG(os.fstat(handle).st_mode) else None


class Zip:
    """A bundle in one file: everything in it is below one folder."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        files = [info for info in archive.infolist() if not info.is_dir()]
        if len(files) > MOST_FILES:
            raise NotABundle(f"it has more than {MOST_FILES} files")
        if sum(info.file_size for info in files) > MOST_BYTES:
            raise NotABundle("it would be too large when unpacked")
        for info in files:
            _refuse_odd(info)
        names = [info.filename.partition("/")[2] for info in files]
        if len({info.filename.partition("/")[0] for info in files}) != 1 or "" in names:
            raise NotABundle("its files are not below one folder")
        self._files = dict(zip(names, files, strict=True))
        if len(self._files) != len(files):
            raise NotABundle("it has two files of one name")

    def names(self) -> list[str]:
        """Of all files."""
        return list(self._files)

    def digest(self, name: str) -> str:
        """SHA-256, hex; of what cannot be unpacked a text that is none."""
        try:
            with self._archive.open(self._files[name]) as file:
                return _digest(file)
        except _DAMAGED:
            return "damaged"

    def read(self, name: str, most: int) -> bytes:
        """The beginning of a file."""
        if name not in self._files:
            return b""
        try:
            with self._archive.open(self._files[name]) as file:
                return file.read(most)
        except _DAMAGED:
            return b""


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_AT_ONCE):
        digest.update(piece)
    return digest.hexdigest()


def _refuse_odd(info: zipfile.ZipInfo) -> None:
    """What no bundle of ours has in it, and what harms who unpacks it."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or len(info.filename) > _MOST_NAME:
        raise NotABundle("it has a file that would be unpacked elsewhere")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise NotABundle("it has a link or a device in it")
    if info.flag_bits & 1:
        raise NotABundle("it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotABundle("it is packed in another way than bundles are")


def _refuse_endless(file: BinaryIO) -> None:
    """A zip's list of files is read into memory as a whole: not one of gigabytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise NotABundle("it is no zip, or a damaged one")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    if directory > _MOST_DIRECTORY or _END64 in tail[max(0, at - 20) : at]:
        raise NotABundle(f"it has more than {MOST_FILES} files, or more than fits into a plain zip")
    file.seek(0)
