"""A bundle in one file: how it is packed, and read again, which nobody else may have packed otherwise.

Programs that unpack differ in what they go by (the list, the files' own headers, extra fields, where a zip begins).
Only what leaves no choice is read the same way by all of them, so that what was checked is what they unpack: byte for
byte what `pack` writes but for the packed contents, everything below one folder. Sections are those of APPNOTE.TXT.
"""

import hashlib
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from monitor.evidence.contents import refuse_large
from monitor.evidence.errors import NotABundle
from monitor.evidence.manifest import MOST_FILES
from monitor.messages import N_, Said

_AT_ONCE = 256 * 1024
_MOST_LIST = 16 * 1024 * 1024  # of a zip's list of its files, which is read into memory as a whole
_MOST_NAME = 1000
_FIXED_TIME, _FIXED_DAY = (1980, 1, 1, 0, 0, 0), 1 << 5 | 1  # the first that a zip can tell
_UNIX, _FILE_MODE = 3, 0o100644 << 16
_IN_UTF8 = 0x800
_SEE_FIELD = 0xFFFFFFFF  # what zipfile.ZIP64_LIMIT or less does not reach is told in 64 bits, in an extra field (4.5.3)
_PLAIN_VERSION, _VERSION_64, _FIELD_64 = 20, 45, 1
_HEADER, _HEADER_MARK = struct.Struct("<4s5H3L2H"), b"PK\3\4"  # 4.3.7
_LISTED, _LISTED_MARK = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"  # 4.3.12
_END, _END_MARK = struct.Struct("<4s4H2LH"), b"PK\5\6"  # 4.3.16
_END64, _END64_MARK = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"  # 4.3.14
_LOCATOR, _LOCATOR_MARK = struct.Struct("<4sLQL"), b"PK\6\7"  # 4.3.15
_COMMENT_BYTES = 65_535
_FOLDER = re.compile(r"almenara-[A-Za-z0-9-]{1,64}")  # unpacked, it is nobody's `.ssh`
# What zipfile raises for archives that somebody made to be odd.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)


def folder_name(id: str) -> str:
    """Of what is packed, by what it is about."""
    return f"almenara-{re.sub('[^A-Za-z0-9]', '-', id)[:64]}"


def bundle_name(id: str, language: str) -> str:
    """Of a bundle that a reader downloads."""
    return f"{folder_name(id)}-{language}.zip"


def pack(folder: Path, packed: Path) -> None:
    """A new zip of a folder, its owner's alone; OSError. Times, permissions and owners of the files are not in it."""
    with (
        open(os.open(packed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", _FIXED_TIME)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, _UNIX, _FILE_MODE
            large = path.stat().st_size > zipfile.ZIP64_LIMIT
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=large) as target:
                shutil.copyfileobj(source, target, _AT_ONCE)


class Zip:
    """A bundle in one file. Raises NotABundle."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        start, count = _start_of_list(file)
        infos = _listed(file)
        if count != len(infos):  # some programs would unpack fewer
            raise _damaged()
        refuse_large(len(infos), max(sum(info.file_size for info in infos), start))
        for info in infos:
            _refuse_elsewhere(info)
            _refuse_odd(info)
        names = [info.filename.partition("/")[2] for info in infos]
        folders = {info.filename.partition("/")[0] for info in infos}
        if len(folders) != 1 or "" in names:
            raise NotABundle(Said("its files are not below one folder"))
        if not _FOLDER.fullmatch(folders.pop()):
            raise NotABundle(Said("its folder is not called almenara-.., as that of a bundle is"))
        places = _places(file, infos, start)
        self._files = dict(zip(names, zip(infos, places, strict=True), strict=True))
        if len(self._files) != len(infos):
            raise NotABundle(Said("it has two files of one name"))

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


def _foreign(what: str) -> NotABundle:
    """Bundles that another program packed anew are among these, and their folders are as good as ever."""
    return NotABundle(Said("{what}, as no bundle has: unpack it, and verify the folder", what=Said(what)))


def _damaged() -> NotABundle:
    return NotABundle(Said("it is no zip, or a damaged one"))


def _start_of_list(file: BinaryIO) -> tuple[int, int]:
    """Where a zip's list of files begins, and how many it says it has; its end comes right after it, and then nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END64.size - _LOCATOR.size - _END.size - _COMMENT_BYTES))
    tail = file.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise _damaged()
    _, _, _, _, count, length, start, comment = _END.unpack_from(tail, at)
    if comment:
        raise _foreign(N_("it has a comment"))
    if len(tail) - at > _END.size:
        raise _foreign(N_("it has something behind its end"))
    large = max(0, at - _LOCATOR.size - _END64.size)
    if tail.startswith(_END64_MARK, large):
        *_, count, length, start = _END64.unpack_from(tail, large)
    if length > _MOST_LIST:
        raise NotABundle(Said("it has more than {number} files", number=MOST_FILES))
    expected = _end(count & 0xFFFF, length, min(start, size))
    if start + length + len(expected) < size:
        raise _foreign(N_("it has something before its beginning"))
    if not tail.endswith(expected) or start + length + len(expected) != size:
        raise _damaged()
    return int(start), int(count)


def _end(count: int, length: int, start: int) -> bytes:
    """What `pack` writes behind a list of so many files and bytes that begins there."""
    plain = _END.pack(_END_MARK, 0, 0, count, count, length, min(start, _SEE_FIELD), 0)
    if start <= zipfile.ZIP64_LIMIT:
        return plain
    versions = (_VERSION_64, _VERSION_64)
    large = _END64.pack(_END64_MARK, _END64.size - 12, *versions, 0, 0, count, count, length, start)
    return large + _LOCATOR.pack(_LOCATOR_MARK, 0, start + length, 1) + plain


def _listed(file: BinaryIO) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except _DAMAGED:
        raise _damaged() from None


def _refuse_elsewhere(info: zipfile.ZipInfo) -> None:
    """What harms who unpacks it."""
    path = PurePosixPath(info.filename)
    odd = path.is_absolute() or ".." in path.parts or "\\" in info.filename or info.filename[1:2] == ":"
    if odd or len(info.filename) > _MOST_NAME:
        raise NotABundle(Said("it has a file that would be unpacked elsewhere"))
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise NotABundle(Said("it has a link or a device in it"))


def _refuse_odd(info: zipfile.ZipInfo) -> None:
    """What no bundle of ours has in it."""
    if info.flag_bits & 1:
        raise NotABundle(Said("it is encrypted"))
    if info.is_dir():
        raise _foreign(N_("it has an entry for a folder"))
    if info.extra != _in_list(info)[2]:
        raise _foreign(N_("it has an extra field, which can give a file another name"))
    if info.comment:
        raise _foreign(N_("it has a comment on a file"))
    if info.orig_filename != info.filename:
        raise _foreign(N_("it has a file with two names"))
    if info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & ~_IN_UTF8:
        raise _foreign(N_("it is packed in another way"))
    if info.date_time != _FIXED_TIME or info.external_attr != _FILE_MODE:
        raise _foreign(N_("it has a file with a time or permissions of its own"))


def _places(file: BinaryIO, infos: Sequence[zipfile.ZipInfo], start: int) -> list[int]:
    """Where each file's packed bytes are: nothing stands between them, and their own headers say what the list says."""
    places, listed, at = [], b"", 0
    for info in infos:
        header = _header(info)
        if info.header_offset != at:
            raise _foreign(N_("it has something that its list of files does not name"))
        file.seek(at)
        if file.read(len(header)) != header:
            raise _foreign(N_("it has a file that its list of files tells otherwise of"))
        places.append(at + len(header))
        listed += _line(info)
        at = places[-1] + info.compress_size
    if at != start:
        raise _foreign(N_("it has something that its list of files does not name"))
    file.seek(start)
    if file.read(len(listed)) != listed:
        raise _foreign(N_("it has a list of files that is written in another way"))
    return places


def _header(info: zipfile.ZipInfo) -> bytes:
    """What `pack` would have written before the file."""
    large = info.file_size > zipfile.ZIP64_LIMIT
    needs, sizes = _PLAIN_VERSION, (info.compress_size, info.file_size)
    extra = b""
    if large:
        needs, sizes, extra = _VERSION_64, (_SEE_FIELD, _SEE_FIELD), _field(info.file_size, info.compress_size)
    name, flags = _name(info)
    kind, check = zipfile.ZIP_DEFLATED, info.CRC
    told = _HEADER.pack(
        _HEADER_MARK, needs, flags, kind, 0, _FIXED_DAY, check, *map(_short, sizes), len(name), len(extra)
    )
    return told + name + extra


def _line(info: zipfile.ZipInfo) -> bytes:
    """..and into the list."""
    sizes, place, extra = _in_list(info)
    needs = _VERSION_64 if extra else _PLAIN_VERSION
    name, flags = _name(info)
    told = _LISTED.pack(
        _LISTED_MARK, _UNIX << 8 | needs, needs, flags, zipfile.ZIP_DEFLATED, 0, _FIXED_DAY, info.CRC, *sizes,
        len(name), len(extra), 0, 0, 0, _FILE_MODE, place,
    )  # fmt: skip
    return told + name + extra


def _in_list(info: zipfile.ZipInfo) -> tuple[tuple[int, int], int, bytes]:
    """Sizes and place as the list tells them in 32 bits, and the field that has those which are too large for it."""
    sizes, place = (info.compress_size, info.file_size), info.header_offset
    large: list[int] = []
    if max(sizes) > zipfile.ZIP64_LIMIT:
        large += [info.file_size, info.compress_size]
        sizes = (_SEE_FIELD, _SEE_FIELD)
    if place > zipfile.ZIP64_LIMIT:
        large.append(place)
        place = _SEE_FIELD
    return sizes, place, _field(*large)


def _field(*numbers: int) -> bytes:
    """The extra field of numbers in 64 bits; nothing where there are none."""
    return struct.pack(f"<HH{len(numbers)}Q", _FIELD_64, 8 * len(numbers), *numbers) if numbers else b""


def _short(size: int) -> int:
    """No number of a damaged list is too large to be compared."""
    return size & 0xFFFFFFFF


def _name(info: zipfile.ZipInfo) -> tuple[bytes, int]:
    """A file's name as bytes, and the flag that says in which letters."""
    return info.filename.encode(), 0 if info.filename.isascii() else _IN_UTF8
