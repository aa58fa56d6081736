"""The commands that read and mend the store: `export`, `classify --store`, `measure --save`. Each test runs the real one."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_cases import BEGAN, SITES, drawn, real, small, verdict

from monitor.explain import worded_measurement
from monitor.models import Measurement, Network, Status, to_json
from monitor.publish.export import COLUMNS, cell, csv_lines
from monitor.store import Store, locate
from monitor.verdict import RULES_VERSION, judge

ROOT = Path(__file__).parent.parent


def almenara(*arguments: str, under: tuple[str, ...] = (), **options) -> subprocess.CompletedProcess:
    command = [*under, sys.executable, "-m", "monitor", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, env=env, timeout=100, check=False, **options)


@pytest.fixture
def kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Measurement]:
    """What the store of this home has, in order."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    chance = Random(5)
    measurements = [real(), *(drawn(chance, number) for number in range(300))]
    with Store.open(locate(None)) as store:
        store.append(measurements)
    return sorted(measurements, key=lambda one: (one.started, one.id))


def lines(measurements: list[Measurement]) -> bytes:
    return b"".join(to_json(worded_measurement(one)) + b"\n" for one in measurements)


def test_json_lines_are_those_that_measure_prints(kept: list[Measurement]) -> None:
    done = almenara("export")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == lines(kept)
    judged = almenara("classify", "--json", "-", input=done.stdout)
    assert judged.returncode == 0
    assert len(judged.stdout.splitlines()) == len(kept)


def test_filters_narrow_it(kept: list[Measurement]) -> None:
    arguments = [
        "--site",
        f"https://{SITES[1]}/some/page",
        "--asn",
        "8048",
        "--vantage",
        "cantv",
        "--status",
        "blocked",
    ]
    arguments += ["--method", "tls.reset", "--since", "2018-01-15T00:00Z", "--until", "2018-01-19T00:00:00+00:00"]
    done = almenara("export", *arguments)
    expected = [
        one for one in kept
        if (one.site, one.network.asn, one.vantage) == (SITES[1], 8048, "cantv") and one.verdict
        and one.verdict.status is Status.BLOCKED and "tls.reset" in one.verdict.methods and one.started.day < 19
    ]  # fmt: skip
    assert 0 < len(expected) < 50
    assert (done.returncode, done.stdout) == (0, lines(expected))


@pytest.mark.parametrize(("option", "name"), [("--site", "never.example"), ("--vantage", "nosuch")])
def test_a_site_or_vantage_that_was_never_measured_is_said_to_be(
    kept: list[Measurement], option: str, name: str
) -> None:
    done = almenara("export", option, name)
    said = f"almenara: no measurement in the store is of {option.removeprefix('--')} {name}\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"", said)


def test_csv_has_a_row_for_each(kept: list[Measurement]) -> None:
    done = almenara("export", "--format", "csv")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["id"] for row in rows] == [one.id for one in kept]
    [row] = [row for row in rows if row["id"] == real().id]
    measured = real().verdict
    assert measured is not None
    assert row["status"] == "blocked"
    assert row["methods"] == "dns.nxdomain tls.reset"
    assert float(row["confidence"]) == measured.confidence
    assert row["confirmed"] == str(measured.confirmed).lower()
    assert row["started"] == "2018-01-15T13:05:00Z"
    assert row["asn"] == str(real().network.asn)
    assert "; the ISP's resolver 200.44.32.12 was asked for" in row["reasons"]
    assert any(row["status"] == row["asn"] == "" for row in rows)


def test_columns_are_documented() -> None:
    page = (ROOT / "docs" / "store.md").read_text()
    assert all(f"| `{column}` |" in page for column in COLUMNS)


@given(
    st.text() | st.sampled_from(["=1+1", " =1", "\t=1", "\r@x", "+1", "-1", "＝1", "\u202e=1", "\n=x", '"=1"', "a,=b"])
)
def test_no_cell_is_a_formula_whatever_strangers_write(text: str) -> None:
    found = cell(text)
    assert not found.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert found.isprintable()


def test_strangers_names_stay_in_their_cells() -> None:
    evil = '=HYPERLINK("http://evil.example/","x"),\n"y'
    one = small(
        1, site=evil, network=Network(isp=evil, country="-1"), vantage="\ud800", verdict=verdict(Status.OK, (evil,))
    )
    text = b"".join(csv_lines(iter([one]))).decode()
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    flat = evil.replace("\n", " ")
    assert (row["site"], row["isp"], row["country"]) == (f"'{flat}", f"'{flat}", "'-1")
    assert row["methods"].startswith("'=")


def test_a_file_gets_its_name_when_it_is_complete(kept: list[Measurement], home: Path) -> None:
    out = home / "out.jsonl"
    out.write_text("old")
    done = almenara("export", "--output", "out.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert out.read_bytes() == lines(kept)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600  # as the store's
    assert almenara("export", "--output", "-").stdout == lines(kept)
    assert almenara("export", "--output", "/dev/stdout").stdout == lines(kept)
    (home / ".local" / "share" / "almenara" / "almenara.db").write_bytes(b"x" * 10_000)
    assert almenara("export", "--output", "out.jsonl").returncode == 1
    assert out.read_bytes() == lines(kept)
    assert [one.name for one in home.iterdir() if one.name.startswith(".out")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--since", "soon"],
            2,
            "almenara: --since: expected a date, a time such as 2018-01-15T09:05, or how long ago",
        ),
        (["--method", "tls.rst"], 2, "almenara: --method: expected one of dns.nxdomain, dns.no_answer, "),
        (["--since", "1h", "--until", "2h"], 2, "almenara: --until: expected a time after --since"),
        (["--site", "a b"], 2, "almenara: --site: expected a site such as www.example.org, got 'a b'"),
        (["--format", "xml"], 2, "almenara: Invalid value for '--format'"),
        (["--output", "none/x"], 1, "almenara: none/x: no such file or directory"),
        (["--output", "."], 1, "almenara: .: is a directory"),
        (["-c", "none.yaml"], 2, "almenara: none.yaml: no such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line(kept: list[Measurement], arguments: list[str], code: int, said: str) -> None:
    done = almenara("export", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.decode().startswith(said)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", [["export"], ["classify", "--store"], ["events"]])
def test_without_a_store_there_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    done = almenara(*command)
    said = f"almenara: {home}/data/almenara/almenara.db is not there: nothing was stored yet\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", said)


def test_a_configured_store_is_the_one_that_is_read(home: Path) -> None:
    (home / "probes.yaml").write_text("store: sqlite:here.db\n")
    with Store.open(f"sqlite:{home}/here.db") as store:
        store.append([small(1)])
    assert almenara("export").stdout == lines([small(1)])


@pytest.mark.slow
def test_a_long_export_needs_no_more_memory_than_a_short_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with Store.open(locate(None)) as store:
        for start in range(0, 6000, 500):
            store.append([small(start + number, software="x" * 10_000) for number in range(500)])
    code = "import resource, sys; from monitor.cli import main\ntry: main(['export', *sys.argv[1:]])\n"
    code += "finally: sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"

    def peak_kib(*arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        return int(done.stderr)

    short = peak_kib("--until", (BEGAN + timedelta(hours=50)).isoformat())
    assert peak_kib() < short + 10_000


# --- classify --store ------------------------------------------------------------------------------------------------


def test_the_store_is_judged_by_the_rules_of_now(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    old = [
        msgspec.structs.replace(real(), id=f"r{number}", verdict=verdict(Status.OK, rules_version=RULES_VERSION - 1))
        for number in range(3)
    ]
    empty = [small(number) for number in range(5)]
    with Store.open(locate(None)) as store:
        store.append([*old, *empty])
    expected = judge(empty[0]).status
    assert expected is Status.INCONCLUSIVE
    done = almenara("classify", "--store")
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode().splitlines()
    assert said[0] == "8 measurements judged again, 8 with another verdict"
    assert [line.split() for line in said[1:]] == [["ok", "->", "inconclusive", "5"], ["ok", "->", "blocked", "3"]]
    again = almenara("classify", "--store", "--json")
    assert json.loads(again.stdout) == {"total": 8, "changed": 0, "changes": []}
    with Store.open(locate(None)) as store:
        assert [one.verdict for one in store.measurements()] == [judge(one) for one in store.measurements()]


def test_a_file_and_the_store_are_not_judged_together(home: Path) -> None:
    for arguments in (["classify", "--store", "x"], ["classify"]):
        done = almenara(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


# --- measure --save --------------------------------------------------------------------------------------------------

NOWHERE = ("unshare", "--net")  # a network namespace without a network


@pytest.mark.root
def test_measure_saves_what_it_prints(home: Path) -> None:
    (home / "probes.yaml").write_text("consent: true\nstore: sqlite:kept.db\nnetwork: {lookup: false}\n")
    done = almenara("measure", "--save", "--json", "https://a.example/", "https://b.example/", under=NOWHERE)
    assert (done.returncode, done.stderr) == (0, b"")
    with Store.open(f"sqlite:{home}/kept.db", create=False) as store:
        stored = {to_json(worded_measurement(one)) for one in store.measurements()}
    assert stored == set(done.stdout.splitlines())
    assert len(stored) == 2


def listed(home: Path, *urls: str) -> None:
    (home / "ve.csv").write_text("url,category_code\n" + "".join(f"{url},NEWS\n" for url in urls))


@pytest.mark.root
def test_a_site_that_joined_a_list_is_not_measured_before_it_was_seen(home: Path) -> None:
    (home / "probes.yaml").write_text("consent: true\nlists: [{path: ve.csv}]\nnetwork: {lookup: false}\n")
    listed(home, "https://a.example/")
    assert almenara("sites").returncode == 0
    listed(home, "https://a.example/", "https://b.example/", "https://c.example/")
    done = almenara("measure", "--json", under=NOWHERE)
    assert [json.loads(line)["site"] for line in done.stdout.splitlines()] == ["a.example"]
    said = "almenara: 2 sites joined a list and wait until you have seen them: almenara sites\n"
    assert (done.returncode, done.stderr.decode()) == (0, said)
    checked = almenara("check", under=NOWHERE).stdout.decode().splitlines()
    assert "Sites: 1" in checked
    assert "2 sites joined a list and wait until you have seen them: almenara sites" in checked
    named = almenara("measure", "--json", "https://b.example/", under=NOWHERE)
    assert [json.loads(line)["site"] for line in named.stdout.splitlines()] == ["b.example"]
    assert almenara("sites", "--approve", "https://c.example/").returncode == 0
    done = almenara("measure", "--json", under=NOWHERE)
    assert {json.loads(line)["site"] for line in done.stdout.splitlines()} == {"a.example", "c.example"}
    assert done.stderr.decode().startswith("almenara: 1 site joined a list and waits")


@pytest.mark.root
def test_what_cannot_be_saved_is_printed_all_the_same(home: Path) -> None:
    (home / "probes.yaml").write_text("consent: true\nstore: sqlite:kept.db\nnetwork: {lookup: false}\n")
    (home / "kept.db").write_bytes(b"not a database" * 1000)
    done = almenara("measure", "--save", "--json", "https://a.example/", "https://b.example/", under=NOWHERE)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    said = done.stderr.decode()
    assert said.startswith(f"almenara: 2 measurements were not saved: {home}/kept.db is no database")
    assert said.count("\n") == 1
