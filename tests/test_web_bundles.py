"""Evidence from the page: whoever reads of a block takes along what proves it, and learns nothing of who measured."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from evidence_cases import EVENT, SECRETS, fill, said, the_event, the_incident
from html_checks import checked
from web_cases import PUBLIC, Watched, served

from monitor.store import Store
from monitor.web.shelf import Shelf

ROOT = Path(__file__).parent.parent
INCIDENT = the_incident().id
OF_EVENT, OF_INCIDENT = f"/events/{EVENT}/evidence.zip", f"/incidents/{INCIDENT}/evidence.zip"
ANYWHERE = {"host": "almenara.example"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    fill(f"sqlite:{folder / 'almenara.db'}")
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the service has its temporary files."""
    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def client(home: Path, scratch: Path) -> Iterator[httpx.Client]:
    with served(f"sqlite:{home / 'almenara.db'}", Watched(public=PUBLIC), key=home / "signing.key") as client:
        client.timeout = httpx.Timeout(100)
        yield client


@pytest.mark.parametrize(("page", "link"), [(f"/events/{EVENT}", OF_EVENT), (f"/incidents/{INCIDENT}", OF_INCIDENT)])
def test_the_page_of_what_happened_leads_to_its_evidence(client: httpx.Client, page: str, link: str) -> None:
    assert link in checked(client.get(page)).links()


def test_what_is_downloaded_is_a_bundle_signed_by_the_operator(
    client: httpx.Client, home: Path, tmp_path: Path
) -> None:
    answer = client.get(OF_EVENT, headers=ANYWHERE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert "attachment" in answer.headers["content-disposition"]
    (file := tmp_path / "b.zip").write_bytes(answer.content)
    assert said(file, str(home / "signing.pub"))[0] == 0
    with zipfile.ZipFile(file) as bundle:
        names = {name.partition("/")[2] for name in bundle.namelist()}
        everything = b"".join(map(bundle.read, bundle.namelist()))
    assert {"report.html", "report.pdf", "measurements.jsonl", "SHA256SUMS.minisig"} <= names
    assert any(name.startswith("pages/") and name.endswith(".png") for name in names)
    assert [secret for secret in SECRETS if secret.encode() in everything] == []


def test_evidence_is_in_the_readers_language(client: httpx.Client, tmp_path: Path) -> None:
    answer = client.get(OF_EVENT, headers={"accept-language": "es-VE"})
    assert answer.headers["content-language"] == "es"
    (file := tmp_path / "b.zip").write_bytes(answer.content)
    with zipfile.ZipFile(file) as bundle:
        report = next(name for name in bundle.namelist() if name.endswith("/report.html"))
        assert "estuvo bloqueado en CANTV" in bundle.read(report).decode()


def test_what_was_made_is_kept_for_a_while_and_a_download_that_broke_goes_on(
    client: httpx.Client, scratch: Path
) -> None:
    whole = client.get(OF_EVENT)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in scratch.glob("almenara-*")] == [0o700]
    assert client.get(OF_EVENT).content == whole.content
    made = parsedate_to_datetime(whole.headers["last-modified"])
    assert (made.minute % 10, made.second) == (0, 0)  # not when somebody first asked
    rest = client.get(OF_EVENT, headers={"range": "bytes=1000-", "if-range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])


def test_who_only_looks_whether_there_is_evidence_has_none_made(client: httpx.Client) -> None:
    answer = client.head(OF_INCIDENT, headers=ANYWHERE)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/zip", b"")
    assert making() == []


def test_of_what_was_withdrawn_or_never_was_there_is_no_evidence(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'almenara.db'}"
    with Store.open(url) as store:
        store.save_events([the_event(confidence=0.0)])
    with served(url, key=tmp_path / "signing.key") as client:
        assert "evidence.zip" not in client.get(f"/events/{EVENT}").text
        for path in (OF_EVENT, OF_INCIDENT, "/events/../evidence.zip", "/events/%2e%2e%2fx/evidence.zip"):
            assert client.get(path).status_code == 404, path
    assert not (tmp_path / "signing.key").exists()


def test_a_key_that_others_can_read_signs_nothing_and_the_reader_is_told(home: Path, tmp_path: Path) -> None:
    (key := tmp_path / "signing.key").write_text("anything")
    key.chmod(0o644)
    with served(f"sqlite:{home / 'almenara.db'}", key=key) as client:
        answer = client.get(OF_EVENT)
    assert answer.status_code == 500
    assert "The evidence could not be bundled" in checked(answer).words
    assert str(tmp_path) not in answer.text


def test_who_comes_when_many_wait_is_turned_away_and_the_others_get_theirs(client: httpx.Client, home: Path) -> None:
    with ThreadPoolExecutor(9) as at_once:
        answers = list(at_once.map(client.get, [OF_INCIDENT] * 9))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert client.get(f"/incidents/{INCIDENT}").status_code == 200


def test_when_the_service_ends_nothing_goes_on_and_nothing_stays(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with served(f"sqlite:{home / 'almenara.db'}", key=home / "signing.key") as client:
        asking = threading.Thread(target=broken_off, args=(client,))
        asking.start()
        while not (found := making()) or not list(tmp_path.rglob("tmp*/tmp*")):  # a page is being drawn
            time.sleep(0.01)
    asking.join()
    assert list(tmp_path.iterdir()) == []
    assert [pid for pid in found if pid in making()] == []


@contextmanager
def halted() -> Iterator[None]:
    """Whatever makes a bundle is stopped as soon as it starts: no bundle is ever ready."""
    over = threading.Event()

    def halt() -> None:
        while not over.wait(0.01):
            for pid in making():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)

    halting = threading.Thread(target=halt)
    halting.start()
    try:
        yield
    finally:
        over.set()
        halting.join()


def hanging_up(client: httpx.Client, path: str) -> None:
    with pytest.raises(httpx.TimeoutException):
        client.get(path, timeout=0.5)


def test_what_is_kept_is_read_also_while_another_is_made(home: Path, scratch: Path) -> None:
    with served(f"sqlite:{home / 'almenara.db'}", key=home / "signing.key") as client:
        whole = client.get(OF_EVENT, timeout=100)
        with halted():
            hanging_up(client, OF_INCIDENT)
            for _ in range(5):
                assert client.get(OF_EVENT, headers={"range": "bytes=0-9"}).content == whole.content[:10]


def test_one_who_asks_for_everything_leaves_room_for_others(home: Path, scratch: Path) -> None:
    watched = Watched(public=PUBLIC)
    with served(f"sqlite:{home / 'almenara.db'}", watched, key=home / "signing.key") as client, halted():
        for path in (OF_EVENT, OF_INCIDENT):
            hanging_up(client, path)
        assert client.get(OF_EVENT).status_code == 429
        another = {**ANYWHERE, "x-forwarded-for": "192.0.2.7"}
        with pytest.raises(httpx.TimeoutException):  # has a place
            client.get(OF_EVENT, headers=another, timeout=0.5)


def test_for_those_who_hung_up_while_they_waited_nothing_is_made(home: Path, scratch: Path) -> None:
    with served(f"sqlite:{home / 'almenara.db'}", key=home / "signing.key") as client, halted():
        for path in (OF_EVENT, OF_INCIDENT):
            hanging_up(client, path)
        first = making()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert client.get(OF_INCIDENT.replace(INCIDENT, "nothing")).status_code == 404
        while set(making()) & set(first):
            time.sleep(0.01)
        time.sleep(0.2)
        assert making() == []


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of one event that goes on, of which little is known; temporary files lie beside it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"sqlite:{tmp_path / 'almenara.db'}"
    with Store.open(url) as store:
        store.save_events([the_event(ended=None, ended_range=None)])
    return url


def test_what_goes_on_takes_the_room_of_one_bundle_however_often_it_is_made(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.web.bundles.GOES_ON_S", 0.0)
    with served(small, key=tmp_path / "signing.key") as client:
        client.timeout = httpx.Timeout(100)
        tags = {client.get(OF_EVENT).headers["etag"] for _ in range(2)}
        assert (len(tags), len(list(tmp_path.glob("almenara-*/*/evidence.zip")))) == (2, 1)


def test_what_the_system_tidied_away_is_made_anew(small: str, tmp_path: Path) -> None:
    with served(small, key=tmp_path / "signing.key") as client:
        client.timeout = httpx.Timeout(100)
        assert client.get(OF_EVENT).status_code == 200
        for folder in tmp_path.glob("almenara-*/"):
            shutil.rmtree(folder)
        assert client.get(OF_EVENT).status_code == 200
    assert list(tmp_path.glob("almenara-*/")) == []


def test_without_a_place_for_it_the_reader_is_told_that_there_is_no_bundle(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with served(f"sqlite:{home / 'almenara.db'}", key=home / "signing.key") as client:
        answer = client.get(OF_EVENT)
    assert answer.status_code == 500
    assert "The evidence could not be bundled" in checked(answer).words


def test_what_a_killed_service_left_is_removed_and_what_a_running_one_keeps_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "almenara-bundles-left" / "one").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "almenara-bundles-link").symlink_to(tmp_path / "elsewhere")
    one, another = Shelf(), Shelf()
    places = [one.place(), another.place(), one.place()]
    assert all(place.is_dir() for place in places)
    assert {path.name for path in tmp_path.iterdir()} == {
        places[0].parent.name, places[1].parent.name, "almenara-bundles-link", "elsewhere",
    }  # fmt: skip
    one.clear()
    another.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"almenara-bundles-link", "elsewhere"}


def test_the_process_that_makes_a_bundle_ends_by_itself_when_nobody_is_there_to_end_it(tmp_path: Path) -> None:
    """Its parent may have been killed, and the store that it asks may never answer."""
    start = (
        "from monitor.evidence import order\norder.PATIENCE_S = 1\nfrom monitor.evidence import ordered\nordered.main()"
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = f"postgresql://127.0.0.1:{mute.getsockname()[1]}/almenara"
        order = {"store": store, "id": EVENT, "language": "en", "output": str(tmp_path / "b.zip"), "key": "no.key"}
        done = subprocess.run(
            [sys.executable, "-c", start], input=json.dumps(order).encode(), capture_output=True, timeout=60,
            check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGALRM, b"")


def broken_off(client: httpx.Client) -> None:
    with pytest.raises(httpx.HTTPError):
        client.get(OF_EVENT)


def making() -> list[int]:
    """The processes of ours that make a bundle."""
    tasks = Path("/proc/self/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in children if b"monitor.evidence.ordered" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
