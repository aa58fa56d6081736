"""Zips that are too large for numbers of 32 bits are written and read; what is larger than the bound is refused."""

import zipfile
from pathlib import Path

import pytest
from evidence_cases import EVENT, entry, fill, made, said

from monitor.evidence.contents import MOST_BYTES
from monitor.evidence.errors import NotABundle
from monitor.evidence.zipped import Zip

GIB = 1024**3


def test_a_bundle_that_needs_64_bits_is_written_and_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 2,000 bytes were two gigabytes, for zipfile and for who reads what it writes."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2000)
    fill(f"sqlite:{home / 'almenara.db'}")
    bundle = made(home, EVENT, "b.zip")
    content = bundle.read_bytes()
    assert content.count(b"PK\6\6") == content.count(b"PK\6\7") == 1
    assert said(bundle)[0] == 0
    with zipfile.ZipFile(bundle) as archive:  # others read it as well
        assert archive.testzip() is None
        assert any(info.extra for info in archive.infolist())
    for place in range(content.rfind(b"PK\6\6"), len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        bundle.write_bytes(changed)
        with pytest.raises(NotABundle):
            said(bundle)


def test_64_bits_where_none_are_needed_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        info = entry("almenara-b/f", date_time=(1980, 1, 1, 0, 0, 0))
        with archive.open(info, "w", force_zip64=True) as target:
            target.write(b"x")
    with pytest.raises(NotABundle, match="tells otherwise of"):
        said(tmp_path / "b.zip")


def hollow(file: Path, size: int, packed: int) -> None:
    """A zip with a file of so many bytes, of which the packed ones are a hole that takes no room, and one behind it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        large = entry("almenara-b/large", date_time=(1980, 1, 1, 0, 0, 0))
        with archive.open(large, "w", force_zip64=True) as target:
            target.write(b"x")
        large.file_size, large.compress_size = size, packed
        assert archive.fp is not None
        archive.fp.seek(0)
        archive.fp.write(large.FileHeader(zip64=True))
        archive.start_dir = archive.fp.tell() + packed
        archive.writestr(entry("almenara-b/small", date_time=(1980, 1, 1, 0, 0, 0)), b"small")


def test_files_of_gigabytes_are_read_where_they_are(tmp_path: Path) -> None:
    hollow(tmp_path / "b.zip", 7 * GIB, 6 * GIB)
    with (tmp_path / "b.zip").open("rb") as file:
        found = Zip(file)
        assert found.names() == ["large", "small"]
        assert found.read("small", 100) == b"small"
        assert found.digest("large") == "damaged"  # a hole unpacks to nothing
    assert (tmp_path / "b.zip").stat().st_size > 6 * GIB


@pytest.mark.parametrize(("size", "packed"), [(MOST_BYTES + 1, 3 * GIB), (3 * GIB, MOST_BYTES + 1)])
def test_more_than_the_bound_is_refused(tmp_path: Path, size: int, packed: int) -> None:
    hollow(tmp_path / "b.zip", size, packed)
    with pytest.raises(NotABundle, match="more than 8 GiB together"):
        said(tmp_path / "b.zip")
