"""`almenara verify` on zips: none does harm, and none unpacks to something else than what was signed."""

import contextlib
import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from evidence_cases import FILE, almenara, entry, false_certificate, fill, made, of_a_volunteer, said
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence import manifest
from monitor.evidence.errors import NotABundle
from monitor.evidence.zipped import pack


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle as a zip."""
    home = tmp_path_factory.mktemp("packed")
    fill(f"sqlite:{home / 'almenara.db'}")
    pack(made(home, "3fa9", "almenara-b"), home / "b.zip")
    return (home / "b.zip").read_bytes()


@pytest.fixture(autouse=True)
def no_key_of_ours(home: Path) -> None:
    """The home folder is empty."""


# --- archives that somebody made to do harm --------------------------------------------------------------------------


def archive(
    *files: tuple[str, bytes],
    change: Callable[[zipfile.ZipInfo], None] = lambda _: None,
    kind: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as made:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = kind, (stat.S_IFREG | 0o644) << 16
            change(info)
            made.writestr(info, content)
    return out.getvalue()


def link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def declared(content: bytes, size: int) -> bytes:
    """The same archive, in which each file claims to be so long."""
    changed = bytearray(content)
    at = content.find(b"PK\1\2")
    while at >= 0:
        struct.pack_into("<I", changed, at + 24, size)
        at = content.find(b"PK\1\2", at + 4)
    return bytes(changed)


def directory(content: bytes, size: int) -> bytes:
    """The same archive, whose list of files claims to be so long."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, content.rfind(b"PK\5\6") + 12, size)
    return bytes(changed)


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    for mark, place in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        changed[content.find(mark) + place] |= 1
    return bytes(changed)


PLAIN = archive(("almenara-b/SHA256SUMS", b"x"), ("almenara-b/f", b"y"))
HARMFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no zip"),
    "no-zip": (lambda: b"x" * 100_000, "no zip"),
    "empty": (lambda: archive(), "not below one folder"),
    "cut": (lambda: PLAIN[:-30], "no zip"),
    "traversal": (lambda: archive(("almenara-b/../../evil", b"x")), "unpacked elsewhere"),
    "absolute": (lambda: archive(("/etc/evil", b"x")), "unpacked elsewhere"),
    "backslash": (lambda: archive(("almenara-b/..\\evil", b"x")), "unpacked elsewhere"),
    "link": (lambda: archive(("almenara-b/SHA256SUMS", b"/etc/passwd"), change=link), "a link or a device"),
    "twice": (lambda: archive(("almenara-b/f", b"x"), ("almenara-b/f", b"y")), "two files of one name"),
    "two-roots": (lambda: archive(("almenara-b/f", b"x"), ("c/f", b"y")), "not below one folder"),
    "no-root": (lambda: archive(("f", b"x")), "not below one folder"),
    "encrypted": (lambda: encrypted(PLAIN), "encrypted"),
    "lzma": (lambda: archive(("almenara-b/f", b"x"), kind=zipfile.ZIP_LZMA), "packed in another way"),
    "too-large": (lambda: declared(archive(*((f"almenara-b/{n}", b"x") for n in range(4))), 0xFFFF0000), "too large"),
    "many": (lambda: archive(*((f"almenara-b/{n}", b"") for n in range(20_001))), "more than 20000 files"),
    "endless-list": (lambda: directory(PLAIN, 0x7FFFFFFF), "more than 20000 files"),
    "zip64": (
        lambda: PLAIN[: PLAIN.rfind(b"PK\5\6")] + b"PK\6\7" + bytes(16) + PLAIN[PLAIN.rfind(b"PK\5\6") :],
        "before its beginning"),
    "long-name": (lambda: archive(("almenara-b/" + "n" * 60_000, b"x")), "unpacked elsewhere"),
    "no-manifest": (lambda: archive(("almenara-b/f", b"x")), "no SHA256SUMS"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", HARMFUL)
def test_a_harmful_archive_gets_one_clear_line(tmp_path: Path, what: str) -> None:
    make, expected = HARMFUL[what]
    (tmp_path / "b.zip").write_bytes(make())
    with pytest.raises(NotABundle, match=expected) as refused:
        said(tmp_path / "b.zip")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "b.zip"]


@pytest.mark.parametrize(
    "line", [b"../../x", b"0" * 64 + b"  ../x", b"0" * 64 + b"  /x", b"0" * 63 + b"  x", b"", b"\xff"]
)
def test_a_manifest_that_names_files_elsewhere_is_none(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(archive(("almenara-b/SHA256SUMS", line + b"\n")))
    code, lines = said(tmp_path / "b.zip")
    assert (code, lines[0]) == (1, "touched: SHA256SUMS is not as it was written: line 1")


def test_the_command_says_it_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(HARMFUL["traversal"][0]())
    done = almenara(tmp_path, "verify", "b.zip")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "almenara: b.zip: it has a file that would be unpacked elsewhere\n"


# --- bundles that unpack to something else than what was signed ------------------------------------------------------

FORGED = b"<h1>Nothing was blocked</h1>"


def unicode_path(old: str, new: str) -> bytes:
    """The extra field by which Info-ZIP's unzip names a file (APPNOTE.TXT, 4.6.9)."""
    return struct.pack("<HHBL", 0x7075, 5 + len(new), 1, zlib.crc32(old.encode())) + new.encode()


def rewritten(
    good: bytes,
    *added: tuple[zipfile.ZipInfo, bytes],
    change: Callable[[zipfile.ZipInfo], None] = lambda _: None,
) -> bytes:
    """The same files, some of them told of otherwise, and more."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            change(info)
            target.writestr(info, content)
        for info, content in added:
            target.writestr(info, content)
    return out.getvalue()


def swapped(info: zipfile.ZipInfo) -> None:
    others = {"almenara-b/report.html": "almenara-b/VERIFY.txt", "almenara-b/VERIFY.txt": "almenara-b/report.html"}
    if other := others.get(info.filename):
        info.extra = unicode_path(info.filename, other)


def one(**more: object) -> Callable[[zipfile.ZipInfo], None]:
    """Tell otherwise of the report."""

    def change(info: zipfile.ZipInfo) -> None:
        if info.filename == "almenara-b/report.html":
            for what, value in more.items():
                setattr(info, what, value)

    return change


def local(name: bytes, content: bytes) -> bytes:
    """A file as it stands in a zip, without the list."""
    stored = (20, 0, 0, 0, 0x21, zlib.crc32(content), len(content), len(content), len(name), 0)
    return struct.pack("<4sHHHHHLLLHH", b"PK\3\4", *stored) + name + content


def moved(good: bytes, before: bytes = b"", between: bytes = b"", after: bytes = b"") -> bytes:
    """With bytes before the first file, between the last and the list, and between the list and its end; offsets fit."""
    changed, end = bytearray(good), good.rfind(b"PK\5\6")
    (start,) = struct.unpack_from("<L", good, end + 16)
    at = start
    while at < end:
        struct.pack_into("<L", changed, at + 42, struct.unpack_from("<L", good, at + 42)[0] + len(before))
        at += 46 + sum(struct.unpack_from("<HHH", good, at + 28))
    struct.pack_into("<L", changed, end + 16, start + len(before + between))
    return before + bytes(changed[:start]) + between + bytes(changed[start:end]) + after + bytes(changed[end:])


def commented(good: bytes) -> bytes:
    return good[:-2] + struct.pack("<H", len(FORGED)) + FORGED


def overwritten(good: bytes, mark: bytes, place: int, new: bytes) -> bytes:
    """With a field of the report's own header, or of its line in the list, changed."""
    at = (
        good.find(b"almenara-b/report.html", good.find(mark))
        if mark == b"PK\3\4"
        else good.rfind(b"almenara-b/report.html")
    )
    at += place - (30 if mark == b"PK\3\4" else 46)
    return good[:at] + new + good[at + len(new) :]


FOLDER = (stat.S_IFDIR | 0o755) << 16
FOLDERS, EXTRA, UNNAMED = "an entry for a folder", "an extra field", "something that its list of files does not name"
OWN_HEADER, IN_LIST = b"PK\3\4", b"PK\1\2"
ZZ = "almenara-b/zz/"
FORGERIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gives-a-folder-the-reports-name": (
        lambda good: rewritten(good, (entry(ZZ, extra=unicode_path(ZZ, "almenara-b/report.html")), FORGED)), FOLDERS),
    "gives-a-folder-a-name-elsewhere": (
        lambda good: rewritten(good, (entry(ZZ, extra=unicode_path(ZZ, "../../evil")), FORGED)), FOLDERS),
    "puts-bytes-into-a-folder": (lambda good: rewritten(good, (entry("almenara-b/zz/", FOLDER), FORGED)), FOLDERS),
    "adds-a-folder": (lambda good: rewritten(good, (entry("almenara-b/zz/", FOLDER), b"")), FOLDERS),
    "adds-a-folder-elsewhere": (lambda good: rewritten(good, (entry("../../x/", FOLDER), b"")), "unpacked elsewhere"),
    "adds-a-folder-on-another-drive": (lambda good: rewritten(good, (entry("C:x/", FOLDER), b"")), "unpacked elsewhere"),
    "adds-a-folder-that-is-a-link": (
        lambda good: rewritten(good, (entry("almenara-b/zz/", stat.S_IFLNK << 16), b"/etc")), "a link or a device"),
    "swaps-two-files": (lambda good: rewritten(good, change=swapped), EXTRA),
    "adds-any-extra-field": (lambda good: rewritten(good, change=one(extra=struct.pack("<HH", 0xCAFE, 0))), EXTRA),
    "comments-on-a-file": (lambda good: rewritten(good, change=one(comment=FORGED)), "a comment on a file"),
    "stores-a-file": (lambda good: rewritten(good, change=one(compress_type=zipfile.ZIP_STORED)), "in another way"),
    "dates-a-file": (lambda good: rewritten(good, change=one(date_time=(2020, 1, 1, 0, 0, 0))), "a time or permissions"),
    "lets-a-file-run": (lambda good: rewritten(good, change=one(external_attr=FILE | 0o4111 << 16)), "or permissions"),
    "says-it-is-from-another-system": (lambda good: rewritten(good, change=one(create_system=0)), "written in another way"),
    "names-a-file-otherwise-in-its-own-header": (
        lambda good: overwritten(good, OWN_HEADER, 30, b"almenara-b/rep0rt.html"), "tells otherwise of"),
    "tells-another-length-in-its-own-header": (
        lambda good: overwritten(good, OWN_HEADER, 18, b"\1\0\0\0"), "tells otherwise of"),
    "hides-a-name-behind-a-zero": (lambda good: overwritten(good, IN_LIST, 46, b"almenara-b/report\0html"), "with two names"),
    "has-sizes-follow-the-file": (lambda good: overwritten(good, IN_LIST, 8, b"\x08\0"), "packed in another way"),
    "puts-a-program-before-it": (lambda good: b"#!/bin/sh\n" + good, "before its beginning"),
    "puts-a-program-before-it-that-fits": (lambda good: moved(good, before=b"#!/bin/sh\n"), UNNAMED),
    "puts-another-zip-before-it": (lambda good: archive(("almenara-b/report.html", FORGED)) + good, "before its beginning"),
    "hides-a-file-that-is-not-listed": (lambda good: moved(good, between=local(b"almenara-b/report.html", FORGED)), UNNAMED),
    "puts-a-file-before-the-first": (lambda good: moved(good, before=local(b"almenara-b/report.html", FORGED)), UNNAMED),
    "puts-bytes-behind-the-list": (lambda good: moved(good, after=FORGED), "before its beginning"),
    "puts-bytes-behind-its-end": (lambda good: good + FORGED, "behind its end"),
    "comments-on-it": (commented, "a comment"),
    "says-it-is-one-of-two-disks": (
        lambda good: good[:-18] + b"\1\0" + good[-16:], "no zip, or a damaged one"),
    "says-it-has-fewer-files": (lambda good: good[:-14] + b"\1\0\1\0" + good[-10:], "no zip, or a damaged one"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forger_gets_one_clear_line_who(packed: bytes, tmp_path: Path, what: str) -> None:
    forge, expected = FORGERIES[what]
    (tmp_path / "b.zip").write_bytes(forge(packed))
    with pytest.raises(NotABundle, match=expected) as refused:
        said(tmp_path / "b.zip")
    assert "\n" not in str(refused.value)


def repacked(good: bytes, content: Callable[[bytes], bytes], size: int, check: int) -> bytes:
    """The last file's packed bytes changed, and what the headers tell of it."""
    with zipfile.ZipFile(io.BytesIO(good)) as source:
        last = source.infolist()[-1]
    end = good.rfind(b"PK\5\6")
    begin = last.header_offset + 30 + len(last.filename)
    packed = content(good[begin : begin + last.compress_size])
    told = struct.pack("<LLL", check or last.CRC, len(packed), size or last.file_size)
    line = good.rfind(b"PK\1\2")
    start = good.find(b"PK\1\2", begin + last.compress_size)
    own, listed = bytearray(good[last.header_offset : begin]), bytearray(good[start:end])
    own[14:26] = told
    listed[line - start + 16 : line - start + 28] = told
    tail = good[end : end + 16] + struct.pack("<LH", begin + len(packed), 0)
    return good[: last.header_offset] + bytes(own) + packed + bytes(listed) + tail


def longer(packed: bytes) -> bytes:
    """What unpacks to the same and more."""
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(zlib.decompress(packed, -zlib.MAX_WBITS) + FORGED) + packing.flush()


@pytest.mark.parametrize(
    ("content", "size", "check"),
    [
        pytest.param(longer, 0, 0, id="goes-on-behind-the-length-that-is-told"),
        pytest.param(lambda packed: packed + FORGED, 0, 0, id="has-bytes-behind-it"),
        pytest.param(lambda packed: packed[:-1], 0, 0, id="breaks-off"),
        pytest.param(bytes, 0, 1, id="has-another-checksum"),
        pytest.param(bytes, 1 << 20, 0, id="is-said-to-be-longer"),
    ],
)
def test_a_file_is_touched_that(
    packed: bytes, tmp_path: Path, content: Callable[[bytes], bytes], size: int, check: int
) -> None:
    with zipfile.ZipFile(io.BytesIO(packed)) as source:
        last = source.namelist()[-1].removeprefix("almenara-b/")
    (tmp_path / "b.zip").write_bytes(repacked(packed, bytes, 0, 0))
    assert said(tmp_path / "b.zip")[0] == 0
    (tmp_path / "b.zip").write_bytes(repacked(packed, content, size, check))
    code, lines = said(tmp_path / "b.zip")
    assert (code, lines[0]) == (1, f"touched: {last}")


def test_a_bundle_that_another_program_zipped_is_to_be_unpacked_first(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(packed)
    shutil.unpack_archive(tmp_path / "b.zip", tmp_path)
    folder = tmp_path / "almenara-b"
    bundle = Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))
    with pytest.raises(NotABundle, match="as no bundle has: unpack it, and verify the folder"):
        said(bundle)
    shutil.rmtree(folder)
    shutil.unpack_archive(bundle, folder.parent)
    assert said(folder)[0] == 0


@pytest.mark.parametrize("name", ["boletín de mayo.zip", ".ssh.zip", "CON.zip"])
def test_a_bundle_may_have_any_name_and_the_folder_in_it_one(tmp_path: Path, name: str) -> None:
    fill(f"sqlite:{tmp_path / 'almenara.db'}", [of_a_volunteer(false_certificate(), 0)])
    bundle = made(tmp_path, "3fa9", name)
    assert said(bundle)[0] == 0
    with zipfile.ZipFile(bundle) as archive:
        assert {one.partition("/")[0] for one in archive.namelist()} == {"almenara-3fa9c1d2e4b5a697"}


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_a_damaged_archive_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes
) -> None:
    content = bytearray(
        archive(
            ("almenara-b/SHA256SUMS", manifest.written({"event.json": "0" * 64})),
            ("almenara-b/event.json", b"content " * 50),
        )
    )
    place %= len(content)
    content[place : place + len(junk)] = junk
    file = tmp_path_factory.mktemp("damaged") / "b.zip"
    file.write_bytes(content)
    with contextlib.suppress(NotABundle):
        assert said(file)[0] == 1
