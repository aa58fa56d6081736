"""Evidence bundles: what is in one, that nobody can be found by it, and that it is the same each time."""

import base64
import contextlib
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from evidence_cases import (
    BEGAN,
    EVENT,
    EVERY,
    ROOT,
    SECRETS,
    SUBNET,
    almenara,
    blocked_page,
    files_of,
    fill,
    history,
    lines,
    made,
    of_a_volunteer,
    the_event,
)
from hypothesis import given
from msgspec import inspect
from test_verdict_properties import measurements

from monitor.evidence import drawing
from monitor.evidence.drawing import NotDrawn
from monitor.models import Measurement
from monitor.redaction import Redaction, is_withheld
from monitor.store import Store
from monitor.verdict import judge


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


def test_no_moment_is_told_to_the_second(files: dict[str, bytes]) -> None:
    """But for what certificates say of themselves."""
    for name in ("measurements.jsonl", "verdicts.jsonl", "withheld.jsonl", "event.json", "summary.json"):
        text = re.sub(rb'"(not_before|not_after|checked)":"[^"]*"', b"", files[name])
        moments = re.findall(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:([\d.]+)Z", text)
        assert moments
        assert set(moments) == {b"00"}, name
    assert not re.search(rb"\d\d:\d\d:\d\d", files["report.html"] + files["timeline.svg"])


# Of a measurement, what is published: every word and number in it, by its path (`controls.` left out: the same, less).
PUBLISHED = re.findall(
    r"\S+",
    """
    id url site hops runtime software network.asn network.isp network.country network.source verdict.methods
    verdict.confidence verdict.rule verdict.rules_version dns.name dns.type dns.resolver dns.transport dns.rcode
    dns.answers dns.cnames dns.errors dns.late.delay dns.late.rcode dns.late.answers tls.server_name tls.version
    tls.cipher tls.alpn tls.alert tls.verify tls.verify_code tls.bytes_sent tls.bytes_received tls.chain.sha256
    tls.chain.subject tls.chain.issuer tls.chain.names tls.chain.der http.url http.method http.status
    http.headers http.location http.title http.body_length http.declared_length http.sha256 http.simhash
    http.bytes_received http.first_byte_s http.last_byte_s http.body conditions.speed conditions.neutral.url
    conditions.neutral.family conditions.neutral.failure conditions.neutral.layer conditions.neutral.status
    conditions.neutral.speed conditions.resolvers.resolver conditions.resolvers.control_names
    conditions.resolvers.control_names_answered conditions.resolvers.nonexistent
    conditions.resolvers.nonexistent_answers conditions.neighbours.address conditions.neighbours.seconds_ago
    kind failure asn country
""",
)
EACH = ("hop", "attempt", "started", "duration", "failure")  # operation
FLOW = ("address", "port", "sources")


def filled(kind: Any, path: str, told: dict[str, str]) -> Any:
    """A value of a type in which every word and number stands once; told: each of them, and where it stands."""
    match kind:
        case inspect.UnionType(types=types):
            return filled(next(one for one in types if not isinstance(one, inspect.NoneType)), path, told)
        case inspect.StrType() | inspect.IntType() | inspect.FloatType():
            number = 10_001 + len(told)
            value: Any = number if isinstance(kind, inspect.IntType) else number + 0.5
            value = f"word{number}" if isinstance(kind, inspect.StrType) else value
            told[str(value)] = path
            return value
        case inspect.BoolType():
            return True
        case inspect.DateTimeType():
            return BEGAN
        case inspect.EnumType(cls=words):
            return next(iter(words))
        case inspect.VarTupleType(item_type=item):
            return (filled(item, path, told),)
        case inspect.TupleType(item_types=items):
            return tuple(filled(item, path, told) for item in items)
        case inspect.DictType():
            return {"id": "resolver_denies"}
        case inspect.StructType(cls=noun, fields=fields):
            return noun(**{one.name: filled(one.type, f"{path}.{one.name}".lstrip("."), told) for one in fields})
    raise AssertionError(kind)


def test_every_word_and_number_that_is_published_is_on_a_list() -> None:
    """Whoever adds something to a measurement has to think of whom it gives away."""
    told: dict[str, str] = {}
    one = filled(inspect.type_info(Measurement), "", told)
    published = msgspec.json.encode(Redaction().measurement(one)).decode()
    kept = {
        path.removeprefix("controls.")
        for value, path in told.items()
        if re.search(rf"\b{re.escape(value)}\b", published)
    }
    of_operations = {f"{step}.{name}" for step in ("dns", "tcp", "tls", "http") for name in EACH}
    of_flows = {f"{step}.{name}" for step in ("tcp", "tls", "http") for name in FLOW}
    assert kept == {*PUBLISHED, *of_operations, *of_flows}


@pytest.mark.parametrize(
    ("url", "published"),
    [
        ("https://x.example/?sid=8c1f2e3d4b5a69788c1f2e3d4b5a6978&lang=es", "https://x.example/?sid=value-1&lang=es"),
        ("https://x.example/?session=QUJDREVGR0hJSktMTU5PUA==", "https://x.example/?session=value-1"),
        ("https://x.example/?s=aB3%2BdE4%3D%3DfG5hIj&a=1", "https://x.example/?s=value-1&a=1"),
        ("https://x.example/?who=584121234567890.ve", "https://x.example/?who=value-1"),
        ("http://b.example/?u=https%3A%2F%2Felpitazo.example%2F2018%2F01", None),
        ("https://x.example/?__cf_chl_tk=aB3.d_e-1516021507-0-gaNycGzNCKU", "https://x.example/?__cf_chl_tk=value-1"),
        (
            "http://b.example/;jsessionid=0123456789ABCDEF0123?t=1516021507",
            "http://b.example/;jsessionid=0123456789ABCDEF0123?t=value-1",
        ),
        ("http://b.example/?u=https://elpitazo.example/2018/noticia-larga", None),
        ("http://b.example/?site=www.elpitazo24.example", None),
        ("http://b.example/?categoria=prohibido&n=12345678", None),
        ("http://elpitazo.example/?article=123456789012", None),
    ],
)
def test_what_a_visitor_is_known_by_in_an_address_is_a_number(url: str, published: str | None) -> None:
    one = blocked_page()
    one = msgspec.structs.replace(one, url="http://elpitazo.example/?article=123456789012", hops=(one.url, url))
    response = msgspec.structs.replace(one.http[0], location=url, headers=(("Location", url), ("Set-Cookie", url)))
    after = Redaction().measurement(msgspec.structs.replace(one, http=(response,)))
    expected = published or url
    assert (after.url, after.hops[1], after.http[0].location) == (one.url, expected, expected)
    assert after.http[0].headers == (("Location", expected), ("Set-Cookie", "[scrubbed]"))


def test_the_same_event_gives_the_same_bytes_on_another_machine(
    whole: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    """Another time zone, language, home, name and mask: nothing of them is in it."""
    home = tmp_path / "juan-perez"
    home.mkdir()
    for name in ("almenara.db", "signing.key"):
        (home / name).write_bytes((whole / name).read_bytes())
    (home / "signing.key").chmod(0o600)
    (home / "probes.yaml").write_text("store: sqlite:almenara.db\n")
    asked = ("--language", "en", "--key", "signing.key", "--output", "again.zip")
    told = {"TZ": "America/Caracas", "LC_ALL": "es_VE.UTF-8", "USER": "juan-perez", "LOGNAME": "juan-perez"}
    done = almenara(home, "report", EVENT, *asked, before="import os; os.umask(0o77)", **told)
    assert (done.returncode, done.stdout) == (0, "again.zip\n"), done.stderr
    packed = home / "again.zip"
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
        assert archive.namelist() == sorted(archive.namelist())
    again = files_of(tmp_path / f"almenara-{EVENT}")
    assert again.keys() == files.keys()
    assert {name for name in files if files[name] != again[name]} <= {"SHA256SUMS.minisig"}
    for word in ("juan-perez", "Caracas", str(tmp_path)):
        assert not [name for name, content in again.items() if word in words(content)], word
        assert word.encode() not in packed.read_bytes()


def test_no_archive_of_it_tells_when_it_was_made(whole: Path, tmp_path: Path) -> None:
    """The zip; and one that somebody makes of the folder. Whose files those are is whoever makes it."""
    with zipfile.ZipFile(made(whole, EVENT, "zipped.zip")) as archive:
        told = {(info.date_time, info.create_system, info.external_attr, info.extra) for info in archive.infolist()}
    assert told == {((1980, 1, 1, 0, 0, 0), 3, (stat.S_IFREG | 0o644) << 16, b"")}
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(whole / "bundle", "bundle")
        assert {member.mtime for member in tar.getmembers()} == {315_532_800}


def test_pictures_and_the_pdf_tell_nothing_of_who_drew_them(files: dict[str, bytes]) -> None:
    pypdfium2 = pytest.importorskip("pypdfium2", reason="the extra report is not installed")
    with pypdfium2.PdfDocument(files["report.pdf"]) as pdf:
        told = {name: value for name, value in pdf.get_metadata_dict().items() if value}
        text = "".join(page.get_textpage().get_text_range() for page in pdf)
    assert set(told) <= {"Title", "Producer", "CreationDate"}
    assert told["Producer"].startswith("WeasyPrint")
    assert "1970" in told.get("CreationDate", "1970")
    assert "CANTV" in text
    assert not [secret for secret in SECRETS if secret in text]
    picture, at, kinds = files["pages/page-01.png"], 8, []
    while at < len(picture):
        size, kind = struct.unpack_from(">L4s", picture, at)
        kinds.append(kind)
        at += 12 + size
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
