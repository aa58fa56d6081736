"""`almenara detect`: what must always hold: any file gives events or one line for each thing wrong, never a traceback."""

import fcntl
import gzip
import io
import json
import os
import re
import struct
import subprocess
import sys
import termios
import tracemalloc
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.classify import MAX_LINE
from monitor.cli import main
from monitor.models import Conditions, Kind, Measurement, Network, Status, Verdict, to_json

ROOT = Path(__file__).parent.parent
NIGHT = datetime(2018, 1, 15, tzinfo=UTC)
SITE = "www.lapatilla.com"
STATUSES = {"o": "ok", "X": "blocked", "d": "down", "?": "inconclusive"}


def line(said: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """As little as `detect` needs, ten minutes apart; more: other members, or other values."""
    known = {
        "site": SITE,
        "network": {"asn": 8048, "isp": "CANTV", "country": "VE"},
        "started": (NIGHT + timedelta(minutes=10 * number)).isoformat(),
        "verdict": {"status": STATUSES[said]},
    }
    return known | more


def lines(drawn: str, **more: Any) -> list[dict[str, Any]]:
    return [line(said, number, **more) for number, said in enumerate(drawn) if said != " "]


BLOCK = lines("o" * 60 + "X" * 12 + "o" * 30)
QUIET = lines("o" * 60)


def jsonl(told: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in told)


class Done(NamedTuple):
    """What a command has left."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.stdout.splitlines()]

    @property
    def messages(self) -> list[str]:
        return self.stderr.splitlines()


def almenara(*arguments: str | Path) -> Done:
    """The command in this process: starting it a hundred times would take a minute."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["detect", *map(str, arguments)])
    out_bytes, err_bytes = (stream.buffer.getvalue() for stream in (out, err))  # type: ignore[attr-defined]
    return Done(int(ended.value.code or 0), out_bytes.decode(), err_bytes.decode())


@pytest.fixture
def detected(home: Path) -> Any:
    """The command with `--json` on these bytes."""

    def run(data: bytes, *options: str) -> Done:
        (home / "history").write_bytes(data)
        return almenara("--json", *options, home / "history")

    return run


# --- what is found -------------------------------------------------------------------------------------------------


def test_site_network_started_and_verdict_are_enough(detected):
    done = detected(jsonl(BLOCK))
    assert (done.returncode, done.stderr) == (0, "")
    [event] = done.events
    assert event | {"id": "", "detected": "", "confidence": 0} == {
        "id": "", "revision": 1, "kind": "blocking", "site": SITE, "methods": [],
        "network": {"asn": 8048, "isp": "CANTV", "country": "VE"},
        "started": "2018-01-15T10:00:00Z", "started_range": ["2018-01-15T09:50:00Z", "2018-01-15T10:00:00Z"],
        "detected": "", "ended": "2018-01-15T12:00:00Z", "ended_range": ["2018-01-15T11:50:00Z", "2018-01-15T12:00:00Z"],
        "confidence": 0, "measurements": 12, "probes": 1,
    }  # fmt: skip
    assert "2018-01-15T10:20:00Z" <= event["detected"] <= "2018-01-15T11:00:00Z"
    assert 0.95 <= event["confidence"] < 1
    assert event["id"]


def test_the_order_of_lines_and_files_and_repeated_lines_do_not_matter(detected, home):
    expected = detected(jsonl(BLOCK)).stdout
    for seed in range(5):
        shuffled = BLOCK + Random(seed).sample(BLOCK, 50)
        Random(seed).shuffle(shuffled)
        assert detected(jsonl(shuffled)).stdout == expected
        (home / "one").write_bytes(jsonl(shuffled[:70]))
        (home / "other").write_bytes(jsonl(shuffled[70:]))
        assert almenara("--json", home / "other", home / "one", home / "one").stdout == expected


def test_measurements_as_measure_prints_them_are_read(detected):
    measured = [
        Measurement(
            id=f"m{number}", url=f"https://{SITE}/", site=SITE, vantage="cantv", probe=f"probe{number % 2}",
            network=Network(asn=8048, isp="CANTV", country="VE", source="observed"),
            started=NIGHT + timedelta(minutes=10 * number), runtime=1.9, conditions=Conditions(),
            verdict=Verdict(
                status=Status(STATUSES[said]), methods=("dns.nxdomain",) if said == "X" else (), confidence=0.98,
                confirmed=said == "X", rule="blocked_dns" if said == "X" else "page_verified", rules_version=1,
            ),
        )
        for number, said in enumerate("o" * 60 + "X" * 12)
    ]  # fmt: skip
    [event] = detected(b"".join(to_json(one) + b"\n" for one in measured)).events
    assert (event["methods"], event["probes"], event["ended"]) == (["dns.nxdomain"], 2, None)


def test_times_are_read_in_every_zone_and_told_in_utc(detected):
    caracas = [one | {"started": one["started"].replace("+00:00", "-04:00")} for one in BLOCK]
    [event] = detected(jsonl(caracas)).events
    assert event["started"] == "2018-01-15T14:00:00Z"


def test_only_blocking_unless_all_kinds_are_asked_for(detected):
    data = jsonl([*lines("o" * 60 + "d" * 20 + "o" * 20), *lines("o" * 60 + " " * 30 + "o", site="elpitazo.net")])
    assert detected(data).stdout == ""
    assert [event["kind"] for event in detected(data, "--all-kinds").events] == [Kind.SITE_OUTAGE]
    quiet = jsonl(lines("o" * 60 + " " * 30 + "o"))
    [event] = detected(quiet, "--all-kinds").events
    assert (event["kind"], event["site"], event["measurements"]) == (Kind.SILENCE, None, 0)


def test_the_configuration_says_how_many_measurements_and_probes_are_enough(detected, home):
    (home / "probes.yaml").write_text("detect: {measurements: 3, probes: 2}\n")
    (home / "many.yaml").write_text("detect: {measurements: 13}\n")
    data = jsonl(BLOCK)
    assert len(detected(data).events) == 1, "one that is not named is not read"
    assert detected(data, "-c", "probes.yaml").events == []
    assert detected(data, "-c", "many.yaml").events == []
    second = [one | {"probe": "b", "started": one["started"].replace(":00+", ":30+")} for one in BLOCK]
    [event] = detected(jsonl([*BLOCK, *second]), "-c", "probes.yaml").events
    assert event["probes"] == 2


def test_the_table_shows_what_was_found(home):
    (home / "block").write_bytes(jsonl(lines("X" * 12 + "o" * 30) + lines("o" * 60 + "X" * 12, site="elpitazo.net")))
    done = almenara(home / "block")
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, second = (row.split() for row in done.stdout.splitlines())
    assert heading == [
        "kind",
        "site",
        "network",
        "started",
        "ended",
        "detected",
        "methods",
        "confidence",
        "n",
        "probes",
    ]
    assert first[:6] == ["blocking", SITE, "AS8048", "CANTV", "<=", "2018-01-15"]
    assert second[:6] == ["blocking", "elpitazo.net", "AS8048", "CANTV", "2018-01-15", "10:00Z"]
    assert "-" in second, "it goes on"


@pytest.mark.parametrize("width", [80, 60, 200])
def test_no_time_is_cut_on_a_narrow_terminal(home, width):
    (home / "block").write_bytes(jsonl(lines("X" * 12 + "o" * 30) + lines("o" * 60 + "X" * 12, site="elpitazo.net")))
    shown = on_a_terminal(width, "detect", home / "block")
    rows = shown.splitlines()
    assert max(map(len, rows)) <= width
    for part in ("<= 2018-01-15 00:00Z", "2018-01-15 02:00Z", "2018-01-15 10:00Z", "www.lapatil", "0.9"):
        assert part in shown, part
    assert (len(rows) == 3) == (width == 200)


def on_a_terminal(width: int, *arguments: str | Path) -> str:
    """What the command writes to a terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = subprocess.run(
            command, stdin=theirs, stdout=theirs, env=env | {"TERM": "xterm", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
            check=False, timeout=60,
        )  # fmt: skip
        os.close(theirs)
        assert done.returncode == 0
        text = b""
        with suppress(OSError):  # the other end is closed
            while part := screen.read(65536):
                text += part
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).replace("\r\n", "\n")


def test_the_table_shows_every_kind(home):
    shown = (
        lines("o" * 60 + "d" * 20, site="down.example")
        + lines("o" * 60 + "?" * 40)
        + lines("o" * 60, network={"isp": "Inter"})
    )
    (home / "all").write_bytes(jsonl(shown))
    done = almenara("--all-kinds", home / "all")
    assert done.returncode == 0
    assert {row.split()[0] for row in done.stdout.splitlines()[1:]} == {
        Kind.SITE_OUTAGE,
        Kind.SILENCE,
        Kind.NETWORK_OUTAGE,
    }
    assert "Inter" in done.stdout


def test_no_event_is_said_in_words_and_not_in_json(home):
    (home / "quiet").write_bytes(jsonl(QUIET))
    assert almenara(home / "quiet") == Done(0, "no events\n", "")
    assert almenara("--json", home / "quiet") == Done(0, "", "")


# --- where it is read from -----------------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_compressed_files_are_read_whatever_they_are_called(detected, pack):
    assert len(detected(pack(jsonl(BLOCK))).events) == 1


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(BLOCK).encode(),
        json.dumps(BLOCK, indent=2).encode(),
        b"\xef\xbb\xbf" + jsonl(BLOCK).replace(b"\n", b"\r\n\r\n"),
        jsonl([BLOCK[:50], BLOCK[50:]]),
        jsonl(BLOCK).rstrip(),
    ],
    ids=["one list", "an indented list", "with a mark and blank lines", "lists", "without a last newline"],
)
def test_other_shapes_of_the_same(detected, data):
    done = detected(data)
    assert (done.returncode, done.stderr, len(done.events)) == (0, "", 1)


def test_standard_input_in_a_pipe(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "detect", "--json", "-"],
        input=jsonl([*BLOCK, {}]), capture_output=True, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert done.stderr.decode().startswith(f"stdin:{len(BLOCK) + 1}: not a measurement with a verdict: ")


def test_without_files_it_is_a_wrong_command_line(home):
    done = almenara()
    assert (done.returncode, done.stdout) == (2, "")
    assert "FILE" in done.stderr


def test_a_wrong_configuration_is_said_in_one_line(home):
    (home / "bad.yaml").write_text("detect: {measurements: none}\n")
    (home / "quiet").write_bytes(jsonl(QUIET))
    done = almenara("-c", "bad.yaml", home / "quiet")
    assert (done.returncode, done.stdout, len(done.messages)) == (2, "", 1)


def test_a_file_that_cannot_be_read_costs_one_line_and_not_the_other_files(home):
    (home / "block").write_bytes(jsonl(BLOCK))
    done = almenara("--json", home / "absent", home, home / "block")
    assert (done.returncode, len(done.events)) == (1, 1)
    assert done.messages == [f"{home / 'absent'}: no such file or directory", f"{home}: is a directory"]


# --- what strangers write ------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "missing required field `site`"),
    "a-number": (7, "Expected `object`"),
    "a-null": (None, "Expected `object`"),
    "not-judged": (line("o", verdict=None), "Expected `object`, got `null`"),
    "no-status": (line("o", verdict={}), "missing required field `status`"),
    "a-status-nobody-knows": (line("o", verdict={"status": "fine"}), "Invalid enum value 'fine'"),
    "no-network": (line("o", network=None), "Expected `object`, got `null`"),
    "a-network-in-words": (line("o", network={"asn": "AS8048"}), "Expected `int | null`"),
    "a-negative-network": (line("o", network={"asn": -1}), "network.asn: expected 0 to 4294967295"),
    "a-network-too-large": (line("o", network={"asn": 2**32}), "network.asn: expected 0 to 4294967295"),
    "no-site": (line("o", site=""), "site: expected 1 to 255 characters"),
    "a-site-without-end": (line("o", site="x" * 256), "site: expected 1 to 255 characters"),
    "a-time-in-words": (line("o", started="yesterday"), "Invalid RFC3339 encoded datetime"),
    "a-time-as-number": (line("o", started=1516021500), "Expected `datetime`, got `int`"),
    "a-time-without-zone": (line("o", started="2018-01-15T13:05:00"), "started: a time without its zone"),
    "before-all-time": (line("o", started="0001-01-01T00:00:00+14:00"), "expected a time between 2000 and 2199"),
    "after-all-time": (line("o", started="9999-12-31T23:59:59-14:00"), "expected a time between 2000 and 2199"),
    "surer-than-sure": (line("X", verdict={"status": "ok", "confidence": 1.01}), "verdict.confidence: expected 0 to 1"),
    "less-than-nothing": (
        line("X", verdict={"status": "ok", "confidence": -0.1}),
        "verdict.confidence: expected 0 to 1",
    ),
    "methods-in-words": (line("X", verdict={"status": "ok", "methods": "dns"}), "Expected `array`"),
}
WRONG_BYTES = {
    "no-json": (b"<html>", "not JSON"),
    "half-a-line": (jsonl(QUIET)[:40], "not JSON"),
    "no-utf-8": (b'{"site": "\xff\xfe"}', "not JSON"),
    "half-a-character": (b'{"site": "\\ud800"}', "not JSON"),
    "no-number": (b'{"network": {"asn": NaN}}', "not JSON"),
    "binary": (bytes(range(1, 10)) + b"\x00\xff", "not JSON"),
    "nested-without-end": (b"[" * 100_000, "not a measurement"),
    "nested-in-what-is-not-needed": (b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
}


@pytest.mark.parametrize(("wrong", "says"), WRONG.values(), ids=WRONG)
def test_a_line_that_says_nothing_costs_one_message_and_not_the_others(detected, wrong, says):
    done = detected(jsonl([*BLOCK[:30], wrong, *BLOCK[30:]]))
    assert (done.returncode, len(done.events)) == (1, 1)
    [message] = done.messages
    assert ":31: not a measurement with a verdict: " in message
    assert says in message
    assert "Traceback" not in message


@pytest.mark.parametrize(("wrong", "says"), WRONG_BYTES.values(), ids=WRONG_BYTES)
def test_bytes_that_are_no_json_cost_one_message_and_not_the_others(detected, wrong, says):
    done = detected(jsonl(BLOCK[:30]) + wrong + b"\n" + jsonl(BLOCK[30:]))
    assert (done.returncode, len(done.events), len(done.messages)) == (1, 1, 1)
    assert says in done.stderr
    assert len(done.stderr) < 500


def test_a_line_without_end_is_passed_over(detected):
    endless = b'{"site": "' + b"x" * MAX_LINE + b'"}\n'
    done = detected(jsonl(BLOCK[:30]) + endless + jsonl(BLOCK[30:]))
    assert (done.returncode, len(done.events)) == (1, 1)
    assert f":31: longer than {MAX_LINE} bytes" in done.stderr


def test_a_bomb_is_not_unpacked(detected):
    done = detected(gzip.compress(b" " * 300_000_000, 9))
    assert done.returncode == 1
    assert "grows to more than" in done.stderr


def test_of_many_unreadable_lines_the_first_are_told_and_the_rest_counted(detected):
    done = detected(b"no\n" * 1000 + jsonl(BLOCK))
    assert (done.returncode, len(done.events), len(done.messages)) == (1, 1, 21)
    assert done.messages[-1].endswith("980 more lines could not be read")


def test_long_words_are_cut_and_not_kept(detected):
    """Ids, rules, methods and names of networks have no length of their own in JSON."""
    long = "x" * 200_000
    told = (
        line(
            said, number, id=f"{number}{long}", probe=long, network={"asn": 1, "isp": long, "country": long},
            verdict={"status": STATUSES[said], "rule": f"{number}{long}", "methods": [f"{number}{long}"] * 10},
        )
        for number, said in enumerate("o" * 25 + "X" * 12)
    )  # fmt: skip
    data = jsonl(told)
    assert len(data) > 100_000_000
    tracemalloc.start()
    try:
        done = detected(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    [event] = done.events
    assert max(map(len, [*event["methods"], event["network"]["isp"], event["network"]["country"]])) <= 255
    assert peak < 30_000_000, "one line at a time"


def test_ids_that_begin_alike_are_not_the_same(detected):
    assert len(detected(jsonl(one | {"id": "x" * 500 + str(n)} for n, one in enumerate(BLOCK))).events) == 1


def test_names_from_strangers_do_not_reach_the_terminal(home):
    evil = "evil\x1b]0;owned\x07\u202e\x9b2J.example"
    verdict = {"status": "blocked", "methods": [evil]}
    told = [
        line("X", n, site=evil, network={"asn": 1, "isp": evil, "country": evil}, verdict=verdict) for n in range(12)
    ]
    (home / "evil").write_bytes(jsonl([*told, {"site": evil, "verdict": {"status": evil}}]))
    for options in ([], ["--json"]):
        done = almenara(*options, home / "evil")
        assert done.returncode == 1
        assert "evil" in done.stdout
        assert not set("\x1b\x07\u202e\x9b") & set(done.stdout + done.stderr)


def test_confidence_tells_weak_verdicts_from_strong_ones(detected):
    def told(confidence: float) -> bytes:
        verdict = {"status": "blocked", "confidence": confidence}
        return jsonl([*lines("o" * 300), *(line("X", n, verdict=verdict) for n in range(300, 306))])

    assert len(detected(told(0.9)).events) == 1
    assert detected(told(0.3)).events == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
almost = st.builds(
    lambda which, value: line("X", **{which: value}),
    st.sampled_from(["site", "network", "started", "verdict", "id", "probe"]),
    anything,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(almost | anything | st.binary(max_size=20), max_size=8))
def test_no_file_makes_it_fail_otherwise_than_in_words(home, told):
    data = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in told)
    for separator in (b"", b"\n"):
        data = separator.join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in told)
        (home / "any").write_bytes(data)
        done = almenara("--json", "--all-kinds", home / "any")
        assert done.returncode == (1 if done.stderr else 0)
        assert all(event["revision"] == 1 for event in done.events)
