"""`almenara report`: what a bundle has in it, what it must not have, and that it is the same each time."""

import base64
import contextlib
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from evidence_cases import (
    BEGAN,
    CANTV,
    EVERY,
    SECRETS,
    SITE_NAME,
    SUBNET,
    blocked_page,
    files_of,
    fill,
    history,
    made,
    of_a_volunteer,
    the_event,
)
from hypothesis import given
from test_verdict_properties import measurements

from monitor.evidence import drawing
from monitor.evidence.drawing import NotDrawn
from monitor.evidence.errors import NotWritten
from monitor.evidence.report import zone_of
from monitor.models import Incident, Kind, Measurement, Network
from monitor.publish.behind import EventUnknown
from monitor.publish.options import NotUnderstood
from monitor.redaction import Redaction, is_withheld
from monitor.store import Store
from monitor.verdict import judge

ROOT = Path(__file__).parent.parent
EVENT = "3fa9c1d2e4b5a697"


def can_draw() -> bool:
    try:
        drawing.possible()
    except NotDrawn:
        return False
    return True


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an operator, with a store, and a bundle of the event in the folder `bundle`."""
    home = tmp_path_factory.mktemp("evidence")
    fill(f"sqlite:{home / 'almenara.db'}")
    made(home, EVENT, "bundle", pdf=True)
    return home


@pytest.fixture(scope="module")
def files(whole: Path) -> dict[str, bytes]:
    """The bundle's files."""
    return files_of(whole / "bundle")


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


def test_a_bundle_has_all_that_is_needed_to_believe_it(files: dict[str, bytes]) -> None:
    expected = {
        "SHA256SUMS", "SHA256SUMS.minisig", "SHA256SUMS.sha256", "VERIFY.txt", "event.json", "measurements.jsonl",
        "pages/page-01.txt", "report.html", "signing.pub", "summary.json", "timeline.svg", "verdicts.jsonl",
        "withheld.jsonl",
    }  # fmt: skip
    drawn = {"report.pdf", "pages/page-01.png"} if can_draw() else set()
    certificates = {name for name in files if name.startswith("certificates/")}
    assert set(files) == expected | drawn | certificates
    assert len(certificates) == 2
    assert json.loads(files["event.json"])["id"] == EVENT
    summary = json.loads(files["summary.json"])
    assert summary["statuses"] == {"blocked": 17, "ok": 2}
    assert (summary["measurements"], summary["withheld"], summary["probes"]) == (19, 1, 2)


def test_every_measurement_behind_the_event_is_there(files: dict[str, bytes]) -> None:
    first, last = BEGAN - EVERY, BEGAN + 18 * EVERY
    behind = [one.id for one in history() if first <= one.started <= last]
    published = lines(files["measurements.jsonl"])
    assert sorted(behind) == sorted(
        [one["id"] for one in published] + [one["id"] for one in lines(files["withheld.jsonl"])]
    )
    assert [one["started"] for one in published] == sorted(one["started"] for one in published)


def words(content: bytes) -> str:
    """The content, and all that is packed in it: base64, and what was compressed before."""
    found = [content]
    for packed in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", content):
        plain = base64.b64decode(packed[: len(packed) // 4 * 4])
        with contextlib.suppress(zlib.error):
            plain = zlib.decompress(plain)
        found.append(plain)
    return b"\n".join(found).decode("latin-1")


def test_nothing_in_it_identifies_a_volunteer(files: dict[str, bytes]) -> None:
    stored = "".join(words(msgspec.json.encode(one)) for one in history())
    subnet = bytes(map(int, SUBNET.split(".")[:3])).decode("latin-1")
    for secret in (*SECRETS, subnet):
        assert secret in stored, f"{secret} proves nothing: it was not stored"
        for name, content in files.items():
            assert secret not in words(content), (name, secret)
    if can_draw():
        import pypdfium2

        with pypdfium2.PdfDocument(files["report.pdf"]) as pdf:
            text = "".join(page.get_textpage().get_text_range() for page in pdf)
        assert "CANTV" in text
        assert not [secret for secret in SECRETS if secret in text]


def test_no_moment_is_told_to_the_second(files: dict[str, bytes]) -> None:
    """But for what certificates say of themselves."""
    for name in ("measurements.jsonl", "verdicts.jsonl", "withheld.jsonl", "event.json", "summary.json"):
        text = re.sub(rb'"(not_before|not_after|checked)":"[^"]*"', b"", files[name])
        moments = re.findall(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:([\d.]+)Z", text)
        assert moments
        assert set(moments) == {b"00"}, name
    assert not re.search(rb"\d\d:\d\d:\d\d", files["report.html"] + files["timeline.svg"])


def test_what_is_published_gives_the_same_verdicts(files: dict[str, bytes], whole: Path) -> None:
    for line in files["measurements.jsonl"].splitlines():
        one = msgspec.json.decode(line, type=Measurement)
        assert one.verdict is not None
        again = judge(one)
        assert (again.status, again.methods, again.rule) == (one.verdict.status, one.verdict.methods, one.verdict.rule)
    assert all(one["same"] and one["then"] == one["now"] for one in lines(files["verdicts.jsonl"]))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    command = [sys.executable, "-m", "monitor", "classify", "--json", "measurements.jsonl"]
    done = subprocess.run(command, capture_output=True, cwd=whole / "bundle", env=env, timeout=60, check=False)
    assert done.returncode == 0
    assert [one["verdict"] for one in lines(done.stdout)] == [
        one["verdict"] for one in lines(files["measurements.jsonl"])
    ]


@given(measurements)
def test_no_verdict_rests_on_what_is_taken_out(measurement: Measurement) -> None:
    before = judge(measurement)
    if not is_withheld(msgspec.structs.replace(measurement, verdict=before), before):
        after = judge(Redaction().measurement(measurement))
        assert (after.status, after.methods, after.rule) == (before.status, before.methods, before.rule)
        assert (after.confidence, after.confirmed) == (before.confidence, before.confirmed)


def test_a_verdict_by_older_rules_is_told_beside_the_one_of_now(home: Path) -> None:
    one = of_a_volunteer(blocked_page(), 0)
    assert one.verdict is not None
    old = msgspec.structs.replace(one.verdict, rule="blocked_tcp", methods=("tcp.timeout",), rules_version=1)
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([msgspec.structs.replace(one, verdict=old)])
        store.save_events([the_event()])
    files = files_of(made(home, EVENT, "b"))
    [row] = lines(files["verdicts.jsonl"])
    assert (row["same"], row["then"]["rule"], row["now"]["rule"]) == (False, "blocked_tcp", "blocked_http")
    assert json.loads(files["summary.json"])["judged_again"] == {"same": 0, "different": 1}
    assert b"The file verdicts.jsonl tells both" in files["report.html"]


def test_the_same_event_gives_the_same_bytes(whole: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    packed = made(whole, EVENT, "again.zip", pdf=True)
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
    again = files_of(tmp_path / "again")
    assert again.keys() == files.keys()
    assert {name for name in files if files[name] != again[name]} <= {"SHA256SUMS.minisig"}


# --- the report ------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.found.append(tag)
        for name, value in attrs:
            local = name in ("href", "src") and (value or "").startswith(("data:image/png;base64,", "#"))
            if name.startswith("on") or (name in ("href", "src", "xlink:href", "action") and not local):
                self.found.append(f"{name}={value}")


def reached(html: bytes) -> list[str]:
    links = Links()
    links.feed(html.decode())
    return links.found + re.findall(r"url\(|@import", html.decode())


def test_the_report_says_what_where_when_how_and_how_sure(files: dict[str, bytes]) -> None:
    text = re.sub(r"<[^>]*>", "", files["report.html"].decode())
    for said in (
        "elpitazo.example was blocked on CANTV AS8048 VE", "15 Jan 2018, 13:05 UTC (09:05 local time)",
        "last seen open: 15 Jan 2018, 12:55 UTC", "it lasted 3 hours", "A block page comes instead of the site", "99%",
        "Somebody in between shows a false certificate", "by 17 measurements of 2 probes", "helper-1, AS24940, Germany",
        "answered 19 of 19 times", "Of 1 further measurement only the time is published", "Acceso restringido",
        "19 of 19 measurements have the same verdict", "What this does not say",
    ):  # fmt: skip
        assert said in text, said


def test_the_report_needs_nothing_but_itself_and_runs_nothing(files: dict[str, bytes]) -> None:
    assert reached(files["report.html"]) == []
    assert reached(files["timeline.svg"]) == []


def test_the_report_speaks_spanish(whole: Path) -> None:
    html = files_of(made(whole, EVENT, "es", language="es"))["report.html"].decode()
    assert '<html lang="es">' in html
    assert "elpitazo.example estuvo bloqueado en CANTV" in html
    assert "In short" not in html


def test_how_to_check_it_is_told_in_both_languages(files: dict[str, bytes]) -> None:
    text = files["VERIFY.txt"].decode()
    assert "How to check that nothing in this bundle was changed" in text
    assert text.count("sha256sum -c SHA256SUMS") == text.count("minisign -Vm SHA256SUMS -P RW") == 2


def test_names_of_strangers_are_text_and_nothing_else(home: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>\u202e\x1b[31m{{7*7}}%(x)s"
    page = f"<title>{evil}</title><h1>{evil}</h1>" + "x" * 300
    base = of_a_volunteer(blocked_page(page), 0)
    where = Network(asn=8048, isp=evil, country="VE")
    response = msgspec.structs.replace(
        base.http[0], title=evil, url=f"http://elpitazo.example/{evil}", headers=((evil, evil),)
    )
    one = msgspec.structs.replace(
        base, site=evil, network=where, vantage=evil, software=evil, http=(response, *base.http[1:])
    )
    event = the_event(site=evil, network=where, methods=(evil, "http.blockpage"))
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([one])
        store.save_events([event])
    files = files_of(made(home, EVENT, "b"))
    assert reached(files["report.html"]) == []
    assert reached(files["timeline.svg"]) == []
    assert b"&lt;script&gt;" in files["report.html"]
    for name in ("report.html", "timeline.svg", "pages/page-01.txt", "VERIFY.txt"):
        assert not {"\u202e", "\x1b"} & set(files[name].decode()), name


# --- other events ----------------------------------------------------------------------------------------------------


def test_an_incident_has_a_bundle_of_all_its_events(home: Path) -> None:
    movilnet = Network(asn=27889, isp="Movilnet", country="VE")
    own = [of_a_volunteer(blocked_page(), number) for number in range(3)]
    others = [msgspec.structs.replace(one, id=f"x{one.id}", network=movilnet, vantage="movilnet") for one in own]
    events = (the_event(), msgspec.structs.replace(the_event(), id="ffff000011112222", network=movilnet))
    incident = Incident(
        id="9c0ffee000000001", revision=7, state="ended", started=BEGAN, ended=events[0].ended, events=events
    )
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([*own, *others])
        store.save_events(events, [incident])
    files = files_of(made(home, "9c0ffee", "b"))
    told = json.loads(files["incident.json"])
    assert (told["id"], len(told["events"]), "event.json" in files) == ("9c0ffee000000001", 2, False)
    assert len(lines(files["measurements.jsonl"])) == 6
    assert b"1 site was blocked on CANTV AS8048 VE and Movilnet AS27889 VE" in files["report.html"]
    assert b"CANTV, Movilnet" in files["report.html"]


def test_what_goes_on_is_told_as_far_as_it_was_measured(home: Path) -> None:
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(6)])
        store.save_events([the_event(ended=None, ended_range=None)])
    now = files_of(made(home, EVENT, "now"))
    assert b"is blocked on CANTV" in now["report.html"]
    assert b"not over when last measured" in now["report.html"]
    until = (BEGAN + 3 * EVERY).isoformat()
    before = files_of(made(home, EVENT, "before", until=until))
    assert len(lines(before["measurements.jsonl"])) == 3
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(6, 9)])
    later = files_of(made(home, EVENT, "later", until=until))
    assert later["SHA256SUMS"] == before["SHA256SUMS"]


def test_an_event_whose_measurements_are_gone_says_that_it_proves_nothing(home: Path) -> None:
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.save_events([the_event()])
    files = files_of(made(home, EVENT, "b"))
    assert b"are no longer kept" in files["report.html"]
    assert lines(files["measurements.jsonl"]) == []


@pytest.mark.parametrize("kind", [Kind.SITE_OUTAGE, Kind.NETWORK_OUTAGE, Kind.SILENCE])
def test_every_kind_of_event_has_a_bundle(home: Path, kind: Kind) -> None:
    site, network = (None, CANTV) if kind is not Kind.SITE_OUTAGE else (SITE_NAME, None)
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append(history()[:4])
        store.save_events([the_event(kind=kind, site=site, network=network, methods=())])
    files = files_of(made(home, EVENT, "b"))
    assert b"How it is blocked" not in files["report.html"]
    assert lines(files["measurements.jsonl"])


def test_what_was_withdrawn_accuses_nobody(home: Path) -> None:
    event = the_event(confidence=0.0, ended=BEGAN, ended_range=(BEGAN, BEGAN))
    incident = Incident(id="9c0ffee000000001", revision=2, state="ended", started=BEGAN, ended=BEGAN, events=())
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.save_events([event], [incident])
    for id in (EVENT, "9c0ffee"):
        with pytest.raises(NotWritten, match="was withdrawn"):
            made(home, id, "b")


def test_a_country_with_one_time_zone_has_a_local_time() -> None:
    assert str(zone_of("VE")) == "America/Caracas"
    assert [zone_of(code) for code in ("BR", None, "", "XX", "../..")] == [None] * 5


# --- the command -----------------------------------------------------------------------------------------------------


def almenara(home: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), "LC_ALL": "C"}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        env.pop(name, None)
    command = [sys.executable, "-c", f"{before}\nfrom monitor.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=200, check=False, cwd=home)


@pytest.fixture
def operator(home: Path) -> Path:
    """A home with a configuration and a small store."""
    (home / "probes.yaml").write_text("store: sqlite:almenara.db\n")
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(2)])
        store.save_events([the_event()])
    return home


def test_report_and_verify_from_the_command_line(operator: Path) -> None:
    done = almenara(operator, "report", "3fa9", "--no-pdf")
    assert (done.returncode, done.stdout) == (0, f"almenara-{EVENT}.zip\n")
    assert stat.S_IMODE((operator / ".config" / "almenara" / "signing.key").stat().st_mode) == 0o600
    checked = almenara(operator, "verify", f"almenara-{EVENT}.zip")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines()[-1] == "That is this installation's own key."
    again = almenara(operator, "report", "3fa9", "--no-pdf")
    assert (again.returncode, again.stderr) == (
        1,
        f"almenara: almenara-{EVENT}.zip is there already: --output names another\n",
    )


def test_without_the_extra_there_is_html_all_the_same(operator: Path) -> None:
    done = almenara(operator, "report", "3fa9", "--output", "b", before="import sys; sys.modules['weasyprint'] = None")
    assert (done.returncode, done.stdout) == (0, "b\n")
    assert done.stderr.splitlines() == [
        "almenara: no pages/page-01.png: they need the extra report: pip install 'almenara[report]'",
        "almenara: no report.pdf: they need the extra report: pip install 'almenara[report]'",
    ]
    assert (operator / "b" / "report.html").exists()
    assert almenara(operator, "verify", "b").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "beef"], 1, "almenara: no event has the id beef: `almenara events` lists them"),
        (["report", "3fa9", "--language", "xx"], 2, "almenara: --language: expected one of en, es, got xx"),
        (["report", "3fa9", "--until", "soon"], 2, "almenara: --until: expected a date"),
        (["report", "3fa9", "--output", "none/b.zip"], 1, "almenara: none/b.zip: no such file or directory"),
        (["report", "3fa9", "--key", "probes.yaml"], 1, "almenara: probes.yaml can be read by others"),
        (["verify", "none.zip"], 2, "almenara: Invalid value for 'BUNDLE'"),
        (["verify", "probes.yaml"], 1, "almenara: probes.yaml: it is no zip, or a damaged one"),
        (["verify", "."], 1, "almenara: .: it has no SHA256SUMS, so it is no bundle"),
    ],
)
def test_what_is_wrong_is_one_line(operator: Path, arguments: list[str], code: int, said: str) -> None:
    done = almenara(operator, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith(said)
    assert not [path for path in operator.iterdir() if path.name.startswith(".b") or path.name.endswith(".zip")]


def test_errors_have_types_of_their_own(operator: Path) -> None:
    for wrong, error in (({"output": "almenara.db"}, NotWritten), ({"language": "xx"}, NotUnderstood)):
        with pytest.raises(error):
            made(operator, EVENT, **({"output": "b"} | wrong))
    with pytest.raises(EventUnknown):
        made(operator, "beef", "b")
