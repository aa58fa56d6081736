"""What must always hold: every readable measurement of a file is judged, and every other line gets one message."""

import gzip
import io
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import classify
from monitor.classify import Limits, measurements
from monitor.models import Conditions, Measurement, Network, to_json
from monitor.verdict import judge

SHARED = Path(os.environ.get("ALMENARA_TEST_DATA", "../shared")) / "ooni"
TRUTH: dict[str, dict[str, Any]] = {}
if (SHARED / "truth.json").is_file():
    TRUTH = json.loads((SHARED / "truth.json").read_text())
needs_recordings = pytest.mark.skipif(not TRUTH, reason=f"no OONI recordings in {SHARED}")

OURS = Measurement(
    id="1",
    url="https://www.lapatilla.com/",
    site="www.lapatilla.com",
    vantage="cantv",
    probe="7f3a",
    network=Network(asn=8048, isp="CANTV", country="VE", source="observed"),
    started=datetime(2026, 1, 15, 13, 5, tzinfo=UTC),
    runtime=1.9,
    verdict=None,
    conditions=Conditions(),
)
LINE = to_json(OURS) + b"\n"
THEIRS = {
    "test_name": "web_connectivity",
    "input": "https://elpitazo.net/",
    "measurement_start_time": "2018-01-15 13:05:00",
    "probe_asn": "AS8048",
    "test_keys": {},
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


def read(path: Path, limits: Limits | None = None) -> list[str]:
    """The sites of what was read, the messages of what was not."""
    return [
        found.site if isinstance(found, Measurement) else f"{where.removeprefix(str(path))} {found}"
        for where, found in measurements(path, limits)
    ]


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl", "x.gz", "x.zst", "x"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_formats_are_told_by_content_and_not_by_name(tmp_path: Path, name: str, pack: Any) -> None:
    path = written(tmp_path / name, pack(LINE + json.dumps(THEIRS).encode() + b"\n"))
    assert read(path) == ["www.lapatilla.com", "elpitazo.net"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_files_compressed_in_pieces_are_read_to_the_end(tmp_path: Path, pack: Any) -> None:
    assert read(written(tmp_path / "x", pack(LINE) + pack(LINE))) == ["www.lapatilla.com"] * 2


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("several", [False, True])
def test_a_document_may_take_many_lines_and_hold_a_list(tmp_path: Path, indent: int | None, several: bool) -> None:
    value = [THEIRS, THEIRS] if several else THEIRS
    path = written(tmp_path / "x", b"\n" + json.dumps(value, indent=indent).encode())
    assert read(path) == ["elpitazo.net"] * (2 if several else 1)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + LINE, b"\r\n\n" + LINE.replace(b"\n", b"\r\n"), LINE.rstrip()])
def test_marks_and_ends_of_lines_do_not_matter(tmp_path: Path, data: bytes) -> None:
    assert read(written(tmp_path / "x", data)) == ["www.lapatilla.com"]


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    assert read(written(tmp_path / "x", LINE.replace(b"{", b'{"later":1,', 1))) == ["www.lapatilla.com"]


# --- what cannot be read -------------------------------------------------------------------------------------------

BAD = {
    b"{": "not JSON",
    b"\xff": "not JSON",
    b"7": "not a measurement",
    b"{}": "not a measurement: Object missing required field `id`",
    b'{"test_keys": 7}': "not an OONI measurement",
    b"[" * 100_000: "not a measurement: nested too deeply",
    LINE.strip().replace(b"13:05:00Z", b"13:05:00"): "not a measurement: a time without its zone",
    LINE.strip().replace(b'"asn":8048', b'"asn":"8048"'): "not a measurement: Expected `int | null`, got `str`",
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("bad", "said"), BAD.items(), ids=lambda value: str(value)[:20])
def test_a_bad_line_does_not_cost_the_others(tmp_path: Path, bad: bytes, said: str, first: bool) -> None:
    lines = [bad + b"\n", LINE, LINE] if first else [LINE, bad + b"\n", LINE]
    found = read(written(tmp_path / "x", b"".join(lines)))
    assert [line for line in found if ":" not in line] == ["www.lapatilla.com"] * 2
    (message,) = [line for line in found if ":" in line]
    assert message.startswith(f":{1 if first else 2} {said}")


@pytest.mark.parametrize("before", [b"", LINE])
def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, before: bytes) -> None:
    path = written(tmp_path / "x", before + b'"' + b"x" * 300_000 + b'"\n' + LINE)
    found = read(path, Limits(line=2000))
    assert found[-1] == "www.lapatilla.com"
    assert found[-2] == f":{1 + bool(before)} longer than 2000 bytes"


def test_a_broken_first_line_of_a_long_file_costs_only_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "x", b'{"id": \n' + LINE * 50)
    assert read(path, Limits(line=1000))[1:] == ["www.lapatilla.com"] * 50


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("filling", [b"\n", b"x", LINE])
def test_a_bomb_is_not_unpacked(tmp_path: Path, pack: Any, filling: bytes) -> None:
    path = written(tmp_path / "x", pack(filling * (8_000_000 // len(filling))))
    found = list(measurements(path, Limits(unquestioned=1_000_000, ratio=100)))
    said = [str(message) for _, message in found if not isinstance(message, Measurement)]
    assert "grows to more than 100 times its compressed size" in said
    assert len(found) * len(filling) < 3_000_000


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_compression_that_ends_early_costs_only_what_is_missing(tmp_path: Path, pack: Any) -> None:
    lines = b"".join(LINE.replace(b'"id":"1"', b'"id":"%064x"' % pow(3, n, 2**255)) for n in range(2000))
    found = read(written(tmp_path / "x", pack(lines)[:-100]))
    assert 0 < found.count("www.lapatilla.com") < 2000
    assert "www.lapatilla.com" not in found[-1]


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify.run([tmp_path / "none", tmp_path], json=False) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{tmp_path}/none: no such file or directory", f"{tmp_path}: is a directory"]


def test_zstd_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x", zstd(LINE))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert read(path) == [":1 is zstd: install the extra zstd, or the package zstandard, to read it"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.binary(max_size=30) | st.sampled_from([LINE, b"\n", b"{", b"[", b"\x1f\x8b\x08", zstd(LINE)])),
    pack=st.sampled_from([bytes, gzip.compress, zstd]),
    cut=st.integers(0, 20),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, pieces: list[bytes], pack: Any, cut: int) -> None:
    data = pack(b"".join(pieces))
    for where, found in measurements(written(tmp_path / "x", data[: len(data) - cut])):
        assert where.startswith(str(tmp_path / "x"))
        assert isinstance(found, Measurement) or str(found).isprintable()


TEXTS = ["", "x", "0.0.0.0", "::", "::ffff:1.2.3.4", "999.1.1.1", "http://", "https://[::1", "//", "http://a:99999/"]
TEXTS += [
    "\x00",
    "é",
    "9" * 400,
    "connection_reset",
    "generic_timeout_error",
    "NXDOMAIN",
    "A",
    "isp",
    "control",
    "====",
]
NUMBERS = [0, -1, 1, 80, 443, 403, 302, 0.5, 10**18, 10**30, -(10**18), 1e300, -1e300]


def varied(value: Any, chance: Random) -> Any:
    """Another value of the same type: what strict decoding lets through."""
    match value:
        case bool():
            return not value
        case str():
            return chance.choice(TEXTS)
        case int() | float():
            return chance.choice(NUMBERS)
        case list():
            return chance.choice([[], value * 2, value[:1] * 100, value[::-1]])
        case None:
            return chance.choice([*TEXTS, *NUMBERS, True])
        case dict():
            return {key: varied(inner, chance) if chance.random() < 0.1 else inner for key, inner in value.items()}
    raise AssertionError(value)


def varied_inside(value: Any, chance: Random, share: float) -> Any:
    """With a share of everything inside replaced."""
    if chance.random() < share:
        return varied(value, chance)
    if isinstance(value, dict):
        return {key: varied_inside(inner, chance, share) for key, inner in value.items()}
    return [varied_inside(inner, chance, share) for inner in value] if isinstance(value, list) else value


@needs_recordings
@settings(max_examples=200)
@given(name=st.sampled_from(sorted(TRUTH) or ["none"]), chance=st.randoms(), share=st.sampled_from([0.002, 0.01, 0.05]))
def test_a_measurement_that_lies_is_judged_or_refused(name: str, chance: Random, share: float) -> None:
    ((_, recorded),) = measurements(SHARED / "measurements" / f"{name}.json")
    assert isinstance(recorded, Measurement)
    lying = varied_inside(json.loads(to_json(recorded)), chance, share)
    (found,) = classify.measurements_of(json.dumps(lying).encode())
    if isinstance(found, Measurement):
        assert to_json(judge(found))


# --- what is printed -----------------------------------------------------------------------------------------------


def test_json_prints_each_measurement_with_its_verdict(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = written(tmp_path / "x", LINE + b"nonsense\n" + LINE)
    assert classify.run([path], json=True) == 1
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    judged = [msgspec.json.decode(line, type=Measurement) for line in out.splitlines()]
    assert [one.id for one in judged] == ["1", "1"]
    assert all(one.verdict is not None for one in judged)
    assert err.decode().startswith(f"{path}:2: not JSON")
    assert len(err.splitlines()) == 1


def test_lines_in_a_pipe_are_plain_and_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = msgspec.structs.replace(OURS, site="\x1b[2Jevil\n.example")
    assert classify.run([written(tmp_path / "x", to_json(hostile))], json=False) == 0
    out, err = capsys.readouterr()
    heading, line = out.splitlines()
    assert heading.split() == ["site", "network", "status", "methods", "confidence", "rule"]
    assert "\x1b" not in line
    assert "AS8048 CANTV" in line
    assert "inconclusive" in line
    assert err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [True, False])
def test_lines_on_a_terminal_have_colours_unless_unwanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1" if no_color else "")
    assert classify.run([written(tmp_path / "x", LINE)], json=False) == 0
    out = sys.stdout.getvalue()
    assert "www.lapatilla.com" in out
    assert len(out.splitlines()) == 2
    assert ("\x1b[2;" in out or "\x1b[2m" in out) or no_color


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LINE))))
    assert [where for where, found in measurements(Path("-"))] == ["stdin:1"]


# --- verdicts ------------------------------------------------------------------------------------------------------


@needs_recordings
@pytest.mark.parametrize("name", sorted(TRUTH))
def test_recordings_are_judged_as_what_really_happened(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert classify.run([SHARED / "measurements" / f"{name}.json"], json=True) == 0
    sys.stdout.flush()
    verdict = msgspec.json.decode(capfdbinary.readouterr().out, type=Measurement).verdict
    assert verdict is not None
    truth = TRUTH[name]
    assert verdict.status in truth["status"], truth["why"]
    if verdict.status == "blocked" and truth["layers"]:
        assert {method.split(".")[0] for method in verdict.methods} & set(truth["layers"]), truth["why"]
