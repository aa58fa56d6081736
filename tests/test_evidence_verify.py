"""`almenara verify`: whatever is done to a bundle, the file that it was done to is named; no archive does harm."""

import contextlib
import hashlib
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from evidence_cases import files_of, fill, made
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence import manifest, verify
from monitor.evidence.errors import KeyProblem, NotABundle
from monitor.evidence.minisign import new_key, sign

ROOT = Path(__file__).parent.parent
INTACT = "All is as it was signed, "


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as a folder, which is not to be touched."""
    home = tmp_path_factory.mktemp("evidence")
    fill(f"sqlite:{home / 'almenara.db'}")
    return made(home, "3fa9", "bundle")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def no_key_of_ours(home: Path) -> None:
    """The home folder is empty."""


def said(bundle: Path, key: str | None = None) -> tuple[int, list[str]]:
    """Exit code and lines."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = verify.run(bundle, key)
    return code, out.getvalue().splitlines()


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))


def test_a_bundle_that_nobody_touched_is_intact(folder: Path) -> None:
    for bundle in (folder, zipped(folder)):
        code, lines = said(bundle)
        assert code == 0
        assert INTACT in lines[0]
        assert "event 3fa9c1d2e4b5a697 revision 4" in lines[0]
        assert lines[2].startswith("Anybody can make a key")
    key = (folder / "signing.pub").read_text().splitlines()[1]
    assert said(folder, key)[1][2] == "That is the key you named."


def test_sha256sum_and_minisign_agree(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS", "SHA256SUMS.sha256"], cwd=folder, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"FAILED" not in done.stdout
    if shutil.which("minisign"):
        checked = subprocess.run(
            ["minisign", "-Vm", "SHA256SUMS", "-p", "signing.pub"], cwd=folder, capture_output=True, check=False
        )
        assert checked.returncode == 0


def names(lines: list[str], name: str) -> bool:
    return any(line.startswith("touched: ") and name in line for line in lines)


def test_any_file_with_a_byte_flipped_is_named(folder: Path) -> None:
    chance = Random(1)
    for name, content in files_of(folder).items():
        for place in {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(3))}:
            flipped = bytearray(content)
            flipped[place] ^= 1 << chance.randrange(8)
            (folder / name).write_bytes(flipped)
            code, lines = said(folder)
            assert code == 1, (name, place)
            assert names(lines, name), (name, place, lines)
        (folder / name).write_bytes(content)
    assert said(folder)[0] == 0


def test_any_byte_of_the_manifest_and_its_signature_counts(folder: Path) -> None:
    for name in ("SHA256SUMS.minisig", "SHA256SUMS.sha256", "signing.pub"):
        content = (folder / name).read_bytes()
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 4
            (folder / name).write_bytes(flipped)
            code, lines = said(folder)
            assert (code, names(lines, name)) == (1, True), (name, place)
        (folder / name).write_bytes(content)


def test_files_that_are_gone_or_new_are_named(folder: Path) -> None:
    (folder / "event.json").unlink()
    (folder / "pages" / "extra.html").write_text("x")
    (folder / "certificates" / "link.pem").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")
    for bundle in (folder,):
        code, lines = said(bundle)
        assert code == 1
        assert {"missing: event.json", "added: pages/extra.html", "added: certificates/link.pem", "added: pipe"} <= set(
            lines
        )
        assert lines[-1] == "This bundle is not as it was signed."


def test_a_file_that_became_a_link_to_the_same_is_touched(folder: Path) -> None:
    shutil.move(folder / "event.json", folder.parent / "event.json")
    (folder / "event.json").symlink_to(folder.parent / "event.json")
    assert "touched: event.json" in said(folder)[1]


@pytest.mark.parametrize("name", ["SHA256SUMS.minisig", "SHA256SUMS.sha256", "signing.pub"])
def test_what_vouches_for_it_must_be_there(folder: Path, name: str) -> None:
    (folder / name).unlink()
    code, lines = said(folder)
    assert code == 1
    assert any(name in line for line in lines)


def test_a_bundle_that_somebody_else_signed_anew_is_not_the_publishers(folder: Path) -> None:
    publisher = (folder / "signing.pub").read_text().splitlines()[1]
    (folder / "event.json").write_text('{"nothing": "happened"}\n')
    forger = new_key()
    (folder / "signing.pub").write_text(forger.public.file)
    told = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files_of(folder).items()
        if name not in manifest.BESIDE
    }
    sums = manifest.written(told)
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.sha256").write_bytes(verify.digest_file(sums))
    (folder / "SHA256SUMS.minisig").write_text(sign(forger, sums, "almenara event").file)
    code, lines = said(folder, publisher)
    assert code == 1
    assert lines[0].startswith("signed with another key, ")
    code, lines = said(folder)
    assert (code, lines[1].rpartition(" ")[2]) == (0, forger.public.text)
    assert lines[2].startswith("Anybody can make a key")


def test_a_timestamp_beside_it_is_looked_at(folder: Path) -> None:
    magic = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94\x01\x08"
    stamp = folder / "SHA256SUMS.minisig.ots"
    stamp.write_bytes(magic + hashlib.sha256((folder / "SHA256SUMS.minisig").read_bytes()).digest() + b"\xf0rest")
    code, lines = said(folder)
    assert code == 0
    assert lines[-1].startswith("SHA256SUMS.minisig.ots is a timestamp of it")
    stamp.write_bytes(magic + bytes(32) + b"rest")
    assert said(folder)[1][0] == "touched: SHA256SUMS.minisig.ots, which is no timestamp of this bundle"


def test_a_key_that_is_none_is_one_line(folder: Path) -> None:
    with pytest.raises(KeyProblem, match="expected a minisign public key"):
        said(folder, "nonsense")


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
            info.compress_type = kind
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


PLAIN = archive(("b/SHA256SUMS", b"x"), ("b/f", b"y"))
HARMFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no zip"),
    "no-zip": (lambda: b"x" * 100_000, "no zip"),
    "empty": (lambda: archive(), "not below one folder"),
    "cut": (lambda: PLAIN[:-30], "no zip"),
    "traversal": (lambda: archive(("b/../../evil", b"x")), "unpacked elsewhere"),
    "absolute": (lambda: archive(("/etc/evil", b"x")), "unpacked elsewhere"),
    "backslash": (lambda: archive(("b/..\\evil", b"x")), "unpacked elsewhere"),
    "link": (lambda: archive(("b/SHA256SUMS", b"/etc/passwd"), change=link), "a link or a device"),
    "twice": (lambda: archive(("b/f", b"x"), ("b/f", b"y")), "two files of one name"),
    "two-roots": (lambda: archive(("b/f", b"x"), ("c/f", b"y")), "not below one folder"),
    "no-root": (lambda: archive(("f", b"x")), "not below one folder"),
    "encrypted": (lambda: encrypted(PLAIN), "encrypted"),
    "lzma": (lambda: archive(("b/f", b"x"), kind=zipfile.ZIP_LZMA), "packed in another way"),
    "too-large": (lambda: declared(archive(*((f"b/{n}", b"x") for n in range(4))), 0xFFFF0000), "too large"),
    "many": (lambda: archive(*((f"b/{n}", b"") for n in range(20_001))), "more than 20000 files"),
    "endless-list": (lambda: directory(PLAIN, 0x7FFFFFFF), "more than 20000 files"),
    "zip64": (lambda: PLAIN[: PLAIN.rfind(b"PK\5\6")] + b"PK\6\7" + bytes(16) + PLAIN[PLAIN.rfind(b"PK\5\6") :], "plain zip"),
    "long-name": (lambda: archive(("b/" + "n" * 60_000, b"x")), "unpacked elsewhere"),
    "no-manifest": (lambda: archive(("b/f", b"x")), "no SHA256SUMS"),
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
    (tmp_path / "b.zip").write_bytes(archive(("b/SHA256SUMS", line + b"\n")))
    code, lines = said(tmp_path / "b.zip")
    assert (code, lines[0]) == (1, "touched: SHA256SUMS is not as it was written: line 1")


def test_the_command_says_it_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(HARMFUL["traversal"][0]())
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    command = [sys.executable, "-m", "monitor", "verify", "b.zip"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "almenara: b.zip: it has a file that would be unpacked elsewhere\n"


def test_a_folder_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 20)).mkdir(parents=True)
    with pytest.raises(NotABundle, match="without end"):
        said(tmp_path)


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_manifest_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(manifest.NotAManifest):
        assert sorted(manifest.written(manifest.read(content)).splitlines()) == sorted(content.splitlines())


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40))
def test_a_damaged_archive_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes
) -> None:
    content = bytearray(archive(("b/SHA256SUMS", manifest.written({"f": "0" * 64})), ("b/f", b"content " * 50)))
    place %= len(content)
    content[place : place + len(junk)] = junk
    file = tmp_path_factory.mktemp("damaged") / "b.zip"
    file.write_bytes(content)
    with contextlib.suppress(NotABundle):
        assert said(file)[0] == 1
