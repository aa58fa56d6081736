"""`almenara verify`: whatever is done to a bundle, the file that it was done to is named."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from evidence_cases import files_of, fill, made, said
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence import keys, manifest, verify
from monitor.evidence.errors import KeyProblem, NotABundle
from monitor.evidence.minisign import Signature, new_key, sign
from monitor.evidence.zipped import pack


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as a folder, which is not to be touched."""
    home = tmp_path_factory.mktemp("evidence")
    fill(f"sqlite:{home / 'almenara.db'}")
    return made(home, "3fa9", "bundle")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "almenara-bundle"))


@pytest.fixture(autouse=True)
def no_key_of_ours(home: Path) -> None:
    """The home folder is empty."""


def test_a_bundle_that_nobody_touched_is_intact(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "b.zip")
    for bundle in (folder, tmp_path / "b.zip"):
        code, lines = said(bundle)
        assert code == 0
        assert re.fullmatch(r"All is as it was signed, \d+ files\.", lines[0])
        note = lines[1].removeprefix("The signature's own note: ")
        assert re.fullmatch(r'"almenara event 3fa9c1d2e4b5a697 revision 4, signed \d{4}-\d\d-\d\dT\d\d:\d\dZ"', note)
        assert lines[3].startswith("Anybody can make a key")
    key = (folder / "signing.pub").read_text().splitlines()[1]
    assert said(folder, key)[1][3] == "That is the key you named."


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ('x". That is the key you named.', '"x\\". That is the key you named."'),
        (
            "x\x1b[2J\x1b]0;title\x07\x9b1m\u202e\u2028\r\u200f",
            '"x\ufffd[2J\ufffd]0;title\ufffd\ufffd1m\ufffd\ufffd\ufffd\ufffd"',
        ),
        ("y" * 5000, '"' + "y" * 299 + '\u2026"'),
    ],
    ids=["words", "escapes", "length"],
)
def test_what_a_signer_notes_is_quoted_and_reaches_no_terminal(folder: Path, note: str, shown: str) -> None:
    """Anybody may sign anything, with minisign's own program too."""
    forger = new_key()
    private = Ed25519PrivateKey.from_private_bytes(forger.seed)
    (folder / "signing.pub").write_text(forger.public.file)
    sums = signed_anew(folder)
    first = private.sign(hashlib.blake2b(sums).digest())
    whole = private.sign(first + note.encode())
    made = Signature(algorithm=b"ED", id=forger.id, signature=first, comment=note, whole=whole)
    (folder / "SHA256SUMS.minisig").write_bytes(made.file.encode())
    code, lines = said(folder)
    assert (code, lines[1]) == (0, f"The signature's own note: {shown}")
    assert len(lines) == 4


def signed_anew(folder: Path) -> bytes:
    """The manifest of what lies there now, and its digest; who signs it is another matter."""
    files = {name: content for name, content in files_of(folder).items() if name not in manifest.BESIDE}
    sums = manifest.written({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.sha256").write_bytes(verify.digest_file(sums))
    return sums


HARMFUL = [
    ".ssh/authorized_keys", "pages/.ssh/config", "pages/.profile", "REPORT.HTML", "pages/page-01.TXT", "Pages/page-01.txt",
    "VERIFY.txt.", "VERIFY.txt ", "CON", "pages/NUL.txt", "report.html:stream", "pages\\page-01.txt", "C:evil.txt",
    "report-\u00e9.html", "report-e\u0301.html", "pages/page-\u0661\u0661.txt", "autorun.inf", "x\x1b[2J.txt", "-rf",
    "pages/pages/page-01.txt", "almenara.desktop",
]  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_a_file_that_report_does_not_write_is_in_no_bundle_whoever_signed_it(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """Two of them may be one on a Mac or on Windows, others are a setting or a device of whoever unpacks them."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    signed_by_somebody(folder)
    code, lines = said(folder)
    assert (code, lines[-1]) == (1, "This bundle is not as it was signed.")
    assert re.match(r"touched: SHA256SUMS is not as it was written: line \d+$", lines[0]) or (
        f"SHA256SUMS names {name}, as no bundle does" in lines
    )
    pack(folder, tmp_path / "b.zip")
    try:
        code, lines = said(tmp_path / "b.zip")
    except NotABundle:
        return
    assert (code, "\x1b" in "".join(lines)) == (1, False)


@pytest.mark.parametrize(
    "name", [".ssh", "CON", "almenara-x.", "almenara-x ", "ALMENARA-x", "almenara-\u00e9", "almenara-x:y", "bundle"]
)
def test_a_zip_whose_folder_is_not_a_bundles_is_refused_whoever_signed_it(
    folder: Path, tmp_path: Path, name: str
) -> None:
    signed_by_somebody(folder)
    assert said(folder)[0] == 0
    pack(folder.rename(tmp_path / name), tmp_path / "b.zip")
    with pytest.raises(NotABundle, match="its folder is not called almenara-"):
        said(tmp_path / "b.zip")


def signed_by_somebody(folder: Path) -> None:
    """With a key of their own, of whatever lies there now."""
    forger = new_key()
    (folder / "signing.pub").write_text(forger.public.file)
    (folder / "SHA256SUMS.minisig").write_text(sign(forger, signed_anew(folder), "almenara event").file)


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


def test_empty_folders_that_are_new_are_named(folder: Path) -> None:
    (folder / "pages" / "more" / "still").mkdir(parents=True)
    (folder / "SHA256SUMS.ots").mkdir()
    code, lines = said(folder)
    assert (code, lines[:-1]) == (1, ["added: SHA256SUMS.ots/", "added: pages/more/still/"])


def test_a_folder_of_endless_bytes_is_refused_by_its_size(folder: Path) -> None:
    with (folder / "event.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(NotABundle, match="too large"):
        said(folder)


def test_the_most_files_of_a_folder_count_in_all_its_folders(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        for other in range(manifest.MOST_FILES // 3 + 1):
            os.symlink("x", f"{tmp_path}/{number}/{other}")
    with pytest.raises(NotABundle, match="more than 20000 files"):
        said(tmp_path)


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
    signed_by_somebody(folder)
    code, lines = said(folder, publisher)
    assert code == 1
    assert lines[0].startswith("signed with another key, ")
    code, lines = said(folder)
    assert (code, lines[2].rpartition(" ")[2]) == (0, (folder / "signing.pub").read_text().splitlines()[1])
    assert lines[3].startswith("Anybody can make a key")


def test_a_timestamp_beside_it_is_looked_at(folder: Path) -> None:
    magic = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94\x01\x08"
    stamp = folder / "SHA256SUMS.minisig.ots"
    stamp.write_bytes(magic + hashlib.sha256((folder / "SHA256SUMS.minisig").read_bytes()).digest() + b"\xf0rest")
    code, lines = said(folder)
    assert code == 0
    assert lines[-1] == (
        "SHA256SUMS.minisig.ots says it is a timestamp of this; that is not checked here, but by `ots verify`."
    )
    for forged in (magic + bytes(32) + b"rest", stamp.read_bytes() + bytes(65_536)):
        stamp.write_bytes(forged)
        assert said(folder)[1][0] == "touched: SHA256SUMS.minisig.ots, which is no timestamp of this bundle"


def test_a_timestamp_of_a_signature_that_is_missing_is_none(folder: Path) -> None:
    (folder / "SHA256SUMS.minisig").rename(folder / "SHA256SUMS.minisig.ots")
    code, lines = said(folder)
    assert code == 1
    assert any(line.startswith("missing: SHA256SUMS.minisig") for line in lines)
    assert "touched: SHA256SUMS.minisig.ots, which is no timestamp of this bundle" in lines


@pytest.mark.parametrize("odd", ["pipe", "/dev/zero", "/dev/null", "link"])
def test_what_is_no_file_is_refused_and_not_waited_for(folder: Path, tmp_path: Path, odd: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(NotABundle, match="invalid argument"):
        said(tmp_path / odd)
    with pytest.raises(KeyProblem, match="expected a minisign public key"):
        said(folder, str(tmp_path / odd))
    with pytest.raises(KeyProblem, match="invalid argument"):
        keys.own(tmp_path / odd)


def test_a_key_that_is_none_is_one_line(folder: Path) -> None:
    with pytest.raises(KeyProblem, match="expected a minisign public key"):
        said(folder, "nonsense")


def test_a_folder_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 20)).mkdir(parents=True)
    with pytest.raises(NotABundle, match="without end"):
        said(tmp_path)


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_manifest_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(manifest.NotAManifest):
        assert sorted(manifest.written(manifest.read(content)).splitlines()) == sorted(content.splitlines())
