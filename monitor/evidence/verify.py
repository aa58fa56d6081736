"""`almenara verify`: is a bundle as it was signed? Names every file that was touched, is missing, or was added."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from monitor import system_errors
from monitor.evidence import keys, manifest
from monitor.evidence.contents import Contents, Folder, plain
from monitor.evidence.errors import NotABundle
from monitor.evidence.manifest import BESIDE, DIGEST, PUBLIC_KEY, SIGNATURE, STAMPS, SUMS, Difference
from monitor.evidence.minisign import NotMinisign, PublicKey, Signature, is_signed, read_public, read_signature
from monitor.evidence.zipped import Zip
from monitor.language import Words, here
from monitor.messages import Said
from monitor.show import printable

_MOST_SMALL = 8192  # bytes of a signature, a key, a digest
_MOST_STAMP = 65_536
_MOST_NOTE = 300  # characters
_STAMP = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94\x01\x08"  # magic, version 1, SHA-256


class Problem(Struct, frozen=True):
    """Of manifest or signature, one line. what: touched or missing, the same in every language, or nothing."""

    what: str
    told: str | Said

    def line(self, words: Words) -> str:
        """As it is printed."""
        told = words.said(self.told)
        return f"{self.what}: {told}" if self.what else told


_NO_FIT = Problem("touched", Said("{file} or {other}: the signature does not fit", file=SUMS, other=SIGNATURE))


class Checked(Struct, frozen=True, kw_only=True):
    """What was found. key: that signed it, where one did; without one nothing vouches for the list of files."""

    files: int
    difference: Difference
    problems: tuple[Problem, ...]
    key: PublicKey | None
    signature: Signature | None
    stamps: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Is everything as it was signed?"""
        return not self.problems and self.difference == Difference()


def run(bundle: Path, key: str | None) -> int:
    """Print what was found; 1 where anything is not as it was signed. Raises NotABundle, KeyProblem."""
    trusted = keys.named(key) if key is not None else None
    try:
        with opened(bundle) as contents:
            found = checked(contents, trusted)
    except NotABundle as exc:
        raise NotABundle(Said("{file}: {problem}", file=printable(str(bundle), 200), problem=exc)) from None
    for line in _lines(found, trusted):
        sys.stdout.write(line + "\n")
    return 0 if found.intact else 1


@contextmanager
def opened(bundle: Path) -> Iterator[Contents]:
    """A bundle's files; NotABundle."""
    try:
        if bundle.is_dir():
            yield Folder(bundle)
            return
        with plain(bundle) as file:
            yield Zip(file)
    except OSError as exc:
        raise NotABundle(system_errors.problem(exc)) from None


def checked(contents: Contents, trusted: PublicKey | None = None) -> Checked:
    """Compare everything with the manifest, and the manifest with its signature. trusted: the key it must be."""
    names = contents.names()
    sums = contents.read(SUMS, manifest.MOST_BYTES + 1)
    if SUMS not in names or len(sums) > manifest.MOST_BYTES:
        raise NotABundle(Said("it has no {file}, so it is no bundle", file=SUMS))
    try:
        told = manifest.read(sums)
    except manifest.NotAManifest as exc:
        problem = Problem("touched", exc.args[0])
        return Checked(files=0, difference=Difference(), problems=(problem,), key=None, signature=None)
    there = {name: contents.digest(name) for name in names if name not in BESIDE | STAMPS}
    key, signature, problems = _vouched(contents, sums, trusted)
    if key is not None:
        problems += [
            Problem("", Said("{file} names {name}, as no bundle does", file=SUMS, name=name))
            for name in manifest.foreign(told)
        ]
    stamps = tuple(sorted(STAMPS & set(names)))
    problems += [
        Problem("touched", Said("{file}, which is no timestamp of this bundle", file=name))
        for name in stamps
        if not _stamps(contents, name)
    ]
    return Checked(
        files=len(there), difference=manifest.difference(told, there), problems=tuple(problems), key=key,
        signature=signature, stamps=stamps,
    )  # fmt: skip


def _vouched(
    contents: Contents, sums: bytes, trusted: PublicKey | None
) -> tuple[PublicKey | None, Signature | None, list[Problem]]:
    """Who signed the list of files, and what is wrong with that."""
    key, signature, problem = _signed(contents, sums, trusted)
    told = contents.read(DIGEST, _MOST_SMALL)
    fits = told == digest_file(sums)
    if problem is _NO_FIT and told and not fits:  # two witnesses against the list: it is not they who lie
        return None, None, [Problem("touched", Said("{file}: neither the signature nor the digest fits it", file=SUMS))]
    problems = [problem] if problem else []
    if not fits:
        problems.append(Problem("touched" if told else "missing", DIGEST))
    return key, signature, problems


def _signed(
    contents: Contents, sums: bytes, trusted: PublicKey | None
) -> tuple[PublicKey | None, Signature | None, Problem | None]:
    text = contents.read(SIGNATURE, _MOST_SMALL)
    if not text:
        return None, None, Problem("missing", Said("{file}, so that nobody answers for it", file=SIGNATURE))
    try:
        signature = read_signature(text.decode("utf-8", "replace"))
        enclosed = read_public(contents.read(PUBLIC_KEY, _MOST_SMALL).decode("utf-8", "replace"))
    except NotMinisign as exc:
        told = Said("{file} or {other}: {problem}", file=SIGNATURE, other=PUBLIC_KEY, problem=exc)
        return None, None, Problem("touched", told)
    key = trusted or enclosed
    if trusted is not None and signature.id != trusted.id:
        told = Said(
            "signed with another key, {name}, and not with {other}", name=signature.key_name, other=trusted.name
        )
        return None, None, Problem("", told)
    # Not only the signature: a file that anybody can write something into, unnoticed, is not as it was signed.
    if not is_signed(sums, signature, key) or text != signature.file.encode():
        return None, None, _NO_FIT
    return key, signature, None


def digest_file(sums: bytes) -> bytes:
    """The manifest's own digest, for whoever stamps or quotes the bundle."""
    return manifest.written({SUMS: hashlib.sha256(sums).hexdigest()})


def _stamps(contents: Contents, name: str) -> bool:
    """Does an OpenTimestamps proof begin with the digest of what it is named after? What it proves is not looked at."""
    of = name.removesuffix(".ots")
    if not contents.read(of, 1):  # it is missing, or no plain file
        return False
    digest = bytes.fromhex(contents.digest(of))
    proof = contents.read(name, _MOST_STAMP + 1)
    return proof.startswith(_STAMP + digest) and len(proof) <= _MOST_STAMP


def _lines(found: Checked, trusted: PublicKey | None) -> list[str]:
    """What is wrong in words that programs may look for; the rest in the reader's language."""
    difference, words = found.difference, here()
    lines = [problem.line(words) for problem in found.problems]
    if found.key is None and difference != Difference():
        lines.append(words.text("What follows is by a list of files that nothing vouches for, and may be wrong:"))
    for what, names in (
        ("touched", difference.touched),
        ("missing", difference.missing),
        ("added", difference.added),
    ):
        lines += [f"{what}: {printable(name, 200)}" for name in names]
    if not found.intact:
        return [*lines, words.text("This bundle is not as it was signed.")]
    assert found.key is not None
    assert found.signature is not None
    lines.append(
        words.many("All is as it was signed, {count} file.", "All is as it was signed, {count} files.", found.files)
    )
    # Whoever signs may write anything: in quotes, and on a line of its own, it is nobody else's word.
    note = json.dumps(printable(found.signature.comment, _MOST_NOTE), ensure_ascii=False)
    lines.append(words.text("The signature's own note: {note}", note=note))
    lines.append(words.text("Signed with the key {name}: {key}", name=found.key.name, key=found.key.text))
    lines.append(_whose(found.key, trusted, words))
    lines += [
        words.text("{file} says it is a timestamp of this; that is not checked here, but by `ots verify`.", file=name)
        for name in found.stamps
    ]
    return lines


def _whose(key: PublicKey, trusted: PublicKey | None, words: Words) -> str:
    if trusted is not None:
        return words.text("That is the key you named.")
    own = keys.known(keys.place())
    if own is not None and own.public == key:
        return words.text("That is this installation's own key.")
    return words.text(
        "Anybody can make a key: compare it with the one that the publisher tells elsewhere, or name that with --key."
    )
