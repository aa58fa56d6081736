"""The files of a bundle, in a folder or in a zip, which may be anybody's: bounded, and nothing is unpacked or followed."""

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from monitor.evidence.errors import NotABundle
from monitor.evidence.manifest import MOST_FILES

MOST_BYTES = 8 * 1024 * 1024 * 1024  # of all files together
_AT_ONCE = 256 * 1024
_MOST_DIRECTORY = 16 * 1024 * 1024  # of a zip's list of its files
_MOST_NAME = 1000
_MOST_DEPTH = 16
# APPNOTE.TXT, 4.3.12 and 4.3.16.
_LISTED, _LISTED_MARK = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
_END, _END_MARK = struct.Struct("<4s4H2LH"), b"PK\5\6"
_END64_MARK, _END64_BYTES = b"PK\6\7", 20
_COMMENT_BYTES = 65_535
# What zipfile raises for archives that somebody made to be odd.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)
# How a bundle is packed, by `bundle` and by nobody else.
FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
FILE_MODE, UNIX = 0o100644 << 16, 3
_VERSION = 20
_IN_UTF8 = 0x800


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
        with bundle.open("rb") as file:
            yield Zip(file)
    except OSError as exc:
        raise NotABundle((exc.strerror or type(exc).__name__).lower()) from None


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
            _refuse_large(len(found), size)
        return found

    def _below(self, folder: Path, within: str, depth: int) -> Iterator[tuple[str, int]]:
        """Names and bytes; of a folder with nothing in it the name with a `/`, since nothing else would tell of it."""
        if depth > _MOST_DEPTH:
            raise NotABundle("it has folders within folders without end")
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
            handle = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            yield None
            return
        with open(handle, "rb") as file:
            yield file


class Zip:
    """A bundle in one file, byte for byte laid out as `bundle` lays it out: everything in it is below one folder.

    Programs that unpack differ in what they go by (the list, the files' own headers, extra fields, where a zip begins).
    Only what leaves no choice is read the same way by all of them, so that what was checked is what they unpack.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        start = _start_of_list(file)
        infos = _listed(file)
        _refuse_large(len(infos), sum(info.file_size for info in infos))
        for info in infos:
            _refuse_elsewhere(info)
            _refuse_odd(info)
        names = [info.filename.partition("/")[2] for info in infos]
        if len({info.filename.partition("/")[0] for info in infos}) != 1 or "" in names:
            raise NotABundle("its files are not below one folder")
        places = _places(file, infos, start)
        self._files = dict(zip(names, zip(infos, places, strict=True), strict=True))
        if len(self._files) != len(infos):
            raise NotABundle("it has two files of one name")

    def names(self) -> list[str]:
        """Of all files."""
        return list(self._files)

    def digest(self, name: str) -> str:
        """SHA-256, hex; of what cannot be unpacked a text that is none."""
        digest = hashlib.sha256()
        try:
            for piece in self._pieces(name):
                digest.update(piece)
        except _DAMAGED:
            return "damaged"
        return digest.hexdigest()

    def read(self, name: str, most: int) -> bytes:
        """The beginning of a file."""
        if name not in self._files:
            return b""
        content = b""
        try:
            for piece in self._pieces(name):
                content += piece
                if len(content) > most:
                    break
        except _DAMAGED:
            return b""
        return content[:most]

    def _pieces(self, name: str) -> Iterator[bytes]:
        """What all programs unpack. zipfile would stop, content, at the length that the list tells: others go on."""
        info, place = self._files[name]
        self._file.seek(place)
        left, size, check = info.compress_size, 0, 0
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        while not unpacking.eof:
            packed = unpacking.unconsumed_tail
            if not packed:
                packed = self._file.read(min(_AT_ONCE, left))
                left -= len(packed)
            piece = unpacking.decompress(packed, _AT_ONCE)
            size += len(piece)
            check = zlib.crc32(piece, check)
            if size > info.file_size or not (piece or packed):
                raise zipfile.BadZipFile
            yield piece
        if left or unpacking.unused_data or (size, check) != (info.file_size, info.CRC):
            raise zipfile.BadZipFile


def _refuse_large(files: int, size: int) -> None:
    if files > MOST_FILES:
        raise NotABundle(f"it has more than {MOST_FILES} files")
    if size > MOST_BYTES:
        raise NotABundle(f"its files have more than {MOST_BYTES // 1024**3} GiB together, which is too large")


def _foreign(what: str) -> NotABundle:
    """Bundles that another program packed anew are among these, and their folders are as good as ever."""
    return NotABundle(f"{what}, as no bundle has: unpack it, and verify the folder")


def _start_of_list(file: BinaryIO) -> int:
    """Where a zip's list of files begins; its end comes right after it, and then nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _COMMENT_BYTES))
    tail = file.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise NotABundle("it is no zip, or a damaged one")
    _, _, _, _, count, length, start, comment = _END.unpack_from(tail, at)
    # The list is read into memory as a whole: not one of gigabytes.
    if length > _MOST_DIRECTORY or _END64_MARK in tail[max(0, at - _END64_BYTES) : at]:
        raise NotABundle(f"it has more than {MOST_FILES} files, or more than fits into a plain zip")
    if comment:
        raise _foreign("it has a comment")
    if len(tail) - at > _END.size:
        raise _foreign("it has something behind its end")
    if start + length + _END.size < size:
        raise _foreign("it has something before its beginning")
    if tail[at:] != _END.pack(_END_MARK, 0, 0, count, count, length, start, 0) or start + length + _END.size != size:
        raise NotABundle("it is no zip, or a damaged one")
    return int(start)


def _listed(file: BinaryIO) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except _DAMAGED:
        raise NotABundle("it is no zip, or a damaged one") from None


def _refuse_elsewhere(info: zipfile.ZipInfo) -> None:
    """What harms who unpacks it."""
    path = PurePosixPath(info.filename)
    odd = path.is_absolute() or ".." in path.parts or "\\" in info.filename or info.filename[1:2] == ":"
    if odd or len(info.filename) > _MOST_NAME:
        raise NotABundle("it has a file that would be unpacked elsewhere")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise NotABundle("it has a link or a device in it")


def _refuse_odd(info: zipfile.ZipInfo) -> None:
    """What no bundle of ours has in it."""
    if info.flag_bits & 1:
        raise NotABundle("it is encrypted")
    if info.is_dir():
        raise _foreign("it has an entry for a folder")
    if info.extra:
        raise _foreign("it has an extra field, which can give a file another name")
    if info.comment:
        raise _foreign("it has a comment on a file")
    if info.orig_filename != info.filename:
        raise _foreign("it has a file with two names")
    if info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & ~_IN_UTF8:
        raise _foreign("it is packed in another way")
    if info.date_time != FIXED_TIME or info.external_attr != FILE_MODE:
        raise _foreign("it has a file with a time or permissions of its own")


def _places(file: BinaryIO, infos: list[zipfile.ZipInfo], start: int) -> list[int]:
    """Where each file's packed bytes are: nothing stands between them, and their own headers say what the list says."""
    places, listed, at = [], b"", 0
    for info in infos:
        header = _header(info)
        if info.header_offset != at:
            raise _foreign("it has something that its list of files does not name")
        file.seek(at)
        if file.read(len(header)) != header:
            raise _foreign("it has a file that its list of files tells otherwise of")
        places.append(at + len(header))
        listed += _line(info, header)
        at = places[-1] + info.compress_size
    if at != start:
        raise _foreign("it has something that its list of files does not name")
    file.seek(start)
    if file.read(len(listed)) != listed:
        raise _foreign("it has a list of files that is written in another way")
    return places


def _header(info: zipfile.ZipInfo) -> bytes:
    """What `bundle` would have written before the file."""
    ours = zipfile.ZipInfo(info.filename, FIXED_TIME)
    ours.compress_type, ours.create_system = zipfile.ZIP_DEFLATED, UNIX
    ours.CRC, ours.compress_size, ours.file_size = info.CRC, info.compress_size, info.file_size
    return ours.FileHeader(zip64=False)


def _line(info: zipfile.ZipInfo, header: bytes) -> bytes:
    """..and into the list, where all of it but the mark is told again, with a little more."""
    made_by = UNIX << 8 | _VERSION
    _, needs, flags, kind, hour, day, check, packed, size, name, _ = struct.unpack_from("<4s5H3L2H", header)
    told = _LISTED.pack(
        _LISTED_MARK, made_by, needs, flags, kind, hour, day, check, packed, size, name, 0, 0, 0, 0, FILE_MODE, info.header_offset
    )  # fmt: skip
    return told + header[-name:]
