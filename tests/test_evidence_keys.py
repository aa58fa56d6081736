"""Keys and signatures: minisign's own program reads ours, and we read its."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence import keys
from monitor.evidence.errors import KeyProblem
from monitor.evidence.minisign import (
    NotMinisign,
    is_signed,
    new_key,
    read_public,
    read_secret,
    read_signature,
    sign,
)

ROOT = Path(__file__).parent.parent
KEY = new_key()
needs_minisign = pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")


def minisign(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["minisign", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False, input="\n\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_minisign
def test_minisign_reads_what_is_signed_here(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"some content")
    (tmp_path / "f.minisig").write_text(sign(KEY, b"some content", "almenara event x").file)
    (tmp_path / "k.pub").write_text(KEY.public.file)
    assert "almenara event x" in minisign(tmp_path, "-Vm", "f", "-p", "k.pub")
    assert "almenara event x" in minisign(tmp_path, "-Vm", "f", "-P", KEY.public.text)


@needs_minisign
def test_minisign_signs_with_a_key_made_here(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"some content")
    (tmp_path / "k.key").write_text(KEY.file)
    minisign(tmp_path, "-Sm", "f", "-s", "k.key", "-t", "by hand")
    signature = read_signature((tmp_path / "f.minisig").read_text())
    assert is_signed(b"some content", signature, KEY.public)
    assert signature.comment == "by hand"
    assert signature.file == (tmp_path / "f.minisig").read_text()
    minisign(tmp_path, "-R", "-s", "k.key", "-p", "k.pub")
    # Its comment leaves out the zeros that an id may begin with.
    assert (tmp_path / "k.pub").read_text().splitlines()[1] == KEY.public.file.splitlines()[1]


@needs_minisign
def test_a_key_that_minisign_made_is_used_here(tmp_path: Path) -> None:
    minisign(tmp_path, "-G", "-W", "-s", "k.key", "-p", "k.pub")
    key = read_secret((tmp_path / "k.key").read_text())
    assert key.file == (tmp_path / "k.key").read_text()
    assert key.public == read_public((tmp_path / "k.pub").read_text())
    (tmp_path / "f").write_bytes(b"x")
    minisign(tmp_path, "-l", "-Sm", "f", "-s", "k.key")  # the older form, not over a digest
    assert is_signed(b"x", read_signature((tmp_path / "f.minisig").read_text()), key.public)


@given(st.binary(max_size=200), st.data())
def test_no_changed_content_is_signed(content: bytes, data: st.DataObject) -> None:
    signature = sign(KEY, content, "note")
    other = data.draw(st.binary(max_size=200))
    assert is_signed(content, signature, KEY.public)
    assert is_signed(other, signature, KEY.public) is (other == content)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_signature_file_with_one_byte_changed_is_not_as_it_was(place: int, change: int) -> None:
    file = bytearray(sign(KEY, b"content", "note").file.encode())
    file[place % len(file)] ^= change
    text = file.decode("utf-8", "replace")
    try:
        read = read_signature(text)
    except NotMinisign:
        return
    assert not (is_signed(b"content", read, KEY.public) and read.file.encode() == bytes(file))


def test_another_key_and_a_key_of_the_same_number_are_not_the_one_that_signed() -> None:
    signature = sign(KEY, b"content", "note")
    stranger = new_key()
    assert not is_signed(b"content", signature, stranger.public)
    assert not is_signed(b"content", signature, type(stranger.public)(KEY.id, stranger.public.key))


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_public, read_secret, read_signature):
        with pytest.raises(NotMinisign):
            read(text)


def test_a_key_with_a_password_is_refused_and_says_so() -> None:
    import base64

    lines = KEY.file.splitlines()
    content = bytearray(base64.b64decode(lines[1]))
    content[2:4] = b"Sc"
    with pytest.raises(NotMinisign, match="without a password"):
        read_secret(f"{lines[0]}\n{base64.b64encode(content).decode()}\n")


# --- almenara key ----------------------------------------------------------------------------------------------------


def almenara(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)} | {"LC_ALL": "C"}
    env.pop("XDG_CONFIG_HOME", None)
    command = [sys.executable, "-m", "monitor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False, cwd=home)


def test_a_key_is_made_once_and_is_its_owners_alone(home: Path) -> None:
    first = almenara(home, "key")
    file = home / ".config" / "almenara" / "signing.key"
    assert first.returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first.stdout == read_secret(file.read_text()).public.text + "\n"
    assert read_public(file.with_suffix(".pub").read_text()).text + "\n" == first.stdout
    assert str(file) in first.stderr
    assert file.read_text().split()[-1] not in first.stdout + first.stderr
    assert almenara(home, "key").stdout == first.stdout


def test_a_key_that_others_can_read_is_not_used(home: Path) -> None:
    almenara(home, "key")
    (home / ".config" / "almenara" / "signing.key").chmod(0o644)
    done = almenara(home, "key")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "can be read by others" in done.stderr


@pytest.mark.parametrize("content", ["", "not a key\n", "untrusted comment: x\nAAAA\n", "\0" * 10_000])
def test_what_is_there_is_never_overwritten(tmp_path: Path, content: str) -> None:
    file = tmp_path / "signing.key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(KeyProblem):
        keys.own(file)
    assert file.read_text() == content


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyProblem):
        keys.own(file)
    assert not (tmp_path / "elsewhere").exists()


def test_a_public_key_is_named_by_its_line_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_text(KEY.public.file)
    assert keys.named(KEY.public.text) == keys.named(str(tmp_path / "k.pub")) == KEY.public
    for wrong in ("", "RWQ", str(tmp_path), str(tmp_path / "none"), "a\0b"):
        with pytest.raises(KeyProblem):
            keys.named(wrong)
