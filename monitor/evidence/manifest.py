"""The manifest of a bundle: a SHA-256 digest of each file, as `sha256sum -c` reads them, and what differs from it."""

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from monitor.messages import Said

SUMS = "SHA256SUMS"
SIGNATURE = f"{SUMS}.minisig"
PUBLIC_KEY = "signing.pub"
DIGEST = f"{SUMS}.sha256"
# What cannot be in the manifest: itself, and what is made of it, by us or later by others (OpenTimestamps).
BESIDE = frozenset({SUMS, SIGNATURE, DIGEST})
STAMPS = frozenset({f"{SUMS}.ots", f"{SIGNATURE}.ots"})

MOST_FILES = 20_000
MOST_BYTES = 4 * 1024 * 1024
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._/-]{0,199})")
# All that `report` writes. A list that names anything else (`pages/.ssh/config`, `CON`, names that a Mac takes for one) may
# be signed and true, and do harm to whoever unpacks what it stands for.
_NAME = re.compile("|".join((
    r"report\.(html|pdf)", r"timeline\.svg", r"(event|incident|summary)\.json", r"(measurements|verdicts|withheld)\.jsonl",
    r"pages/page-[0-9]{2}\.(txt|png)", r"certificates/[0-9a-f]{16}\.pem", r"VERIFY\.txt", re.escape(PUBLIC_KEY),
)))  # fmt: skip


class NotAManifest(Exception):
    """A file is no manifest of ours. Its text is one line."""


class Difference(Struct, frozen=True, kw_only=True):
    """Names of files."""

    touched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def written(digests: Mapping[str, str]) -> bytes:
    """The manifest of these files (name -> digest)."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def read(content: bytes) -> dict[str, str]:
    """Name -> digest; NotAManifest, also where a name stands twice."""
    lines = content.decode("utf-8", "replace").split("\n")
    if lines.pop() or not lines or len(lines) > MOST_FILES:
        raise NotAManifest(
            Said("{file} is not as it was written: it does not end with a line, or is too long", file=SUMS)
        )
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found or match[2] in BESIDE:
            raise NotAManifest(Said("{file} is not as it was written: line {number}", file=SUMS, number=number))
        found[match[2]] = match[1]
    return found


def foreign(told: Iterable[str]) -> list[str]:
    """Names that no bundle has."""
    return [name for name in told if not _NAME.fullmatch(name)]


def difference(told: Mapping[str, str], there: Mapping[str, str]) -> Difference:
    """What the manifest tells against what is there."""
    return Difference(
        touched=tuple(sorted(name for name in told if name in there and there[name] != told[name])),
        missing=tuple(sorted(name for name in told if name not in there)),
        added=tuple(sorted(name for name in there if name not in told)),
    )
