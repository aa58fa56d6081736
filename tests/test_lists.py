"""Lists over time: what is watched, what waits, and what stands in for a list that cannot be had."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from monitor.config import Config, ConfigError, ListConfig, SiteConfig
from monitor.lists import ALL, REFRESH_S, Lists, remembered_at
from monitor.sites import ListUnavailable

ROOT = Path(__file__).parent.parent
HEADER = "url,category_code,category_description,date_added,source,notes\n"


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture
def warned() -> list[str]:
    return []


def rows(*urls: str, category: str = "NEWS") -> str:
    return "".join(f"{url},{category},News Media,2018-07-06,OONI,\n" for url in urls)


def write(path: Path, *urls: str, category: str = "NEWS") -> Config:
    path.write_text(HEADER + rows(*urls, category=category))
    return Config(lists=(ListConfig(path=str(path)),))


def gathered(config: Config, warned: list[str], lists: Lists | None = None) -> tuple[list[str], list[str]]:
    watched = asyncio.run((lists or Lists(warned.append)).gather(config))
    return [site.url for site in watched.sites], [site.url for site in watched.waiting]


def test_sites_at_first_sight_are_watched_and_later_ones_wait(tmp_path, warned):
    config = write(tmp_path / "ve.csv", "https://a.example/", "https://b.example/")
    assert gathered(config, warned) == (["https://a.example/", "https://b.example/"], [])
    write(tmp_path / "ve.csv", "https://b.example/", "https://c.example/")
    assert gathered(config, warned) == (["https://b.example/"], ["https://c.example/"])
    write(tmp_path / "ve.csv", "https://a.example/")
    assert gathered(config, warned) == (["https://a.example/"], [])
    assert warned == []


def test_a_category_that_the_volunteer_adds_is_seen_for_the_first_time(tmp_path, warned):
    path = tmp_path / "ve.csv"
    path.write_text(HEADER + rows("https://a.example/") + rows("https://h.example/", category="HUMR"))
    assert gathered(Config(lists=(ListConfig(path=str(path)),)), warned) == (["https://a.example/"], [])
    both = Config(lists=(ListConfig(path=str(path), categories=("NEWS", "HUMR")),))
    assert gathered(both, warned) == (["https://a.example/", "https://h.example/"], [])
    path.write_text(HEADER + rows("https://a.example/", "https://h.example/"))  # it is news now
    assert gathered(Config(lists=(ListConfig(path=str(path)),)), warned) == (
        ["https://a.example/"], ["https://h.example/"],
    )  # fmt: skip


def test_a_site_that_the_configuration_names_or_another_list_had_does_not_wait(tmp_path, warned):
    config = write(tmp_path / "ve.csv", "https://a.example/")
    other = write(tmp_path / "other.csv", "https://c.example/")
    gathered(config, warned)
    write(tmp_path / "ve.csv", "https://a.example/", "https://b.example/", "https://c.example/")
    config = Config(sites=(SiteConfig(url="https://b.example/"),), lists=(*config.lists, *other.lists))
    assert gathered(config, warned)[1] == []


def test_what_waits_is_approved_one_by_one_or_all(tmp_path, warned):
    config = write(tmp_path / "ve.csv", "https://a.example/")
    gathered(config, warned)
    write(tmp_path / "ve.csv", "https://a.example/", "https://b.example/", "https://c.example/", "https://d.example/")
    lists, service = Lists(warned.append), Lists(warned.append)
    gathered(config, warned, service)
    gathered(config, warned, lists)
    lists.approve(config, ["https://c.example/"])
    assert [site.url for site in service.approved(config).waiting] == ["https://b.example/", "https://d.example/"]
    with pytest.raises(ConfigError, match="expected the URL of a site that waits, or all"):
        lists.approve(config, ["https://e.example/"])
    lists.approve(config, [ALL])
    assert service.approved(config).waiting == ()
    assert gathered(config, warned)[1] == []


def test_what_was_seen_is_never_forgotten_for_a_damaged_file(tmp_path, warned):
    config = write(tmp_path / "ve.csv", "https://a.example/")
    gathered(config, warned)
    for damage in (b"", b"{", b'{"seen": 3}', b"\xff"):
        remembered_at().write_bytes(damage)
        with pytest.raises(ConfigError, match="expected what `almenara sites` wrote") as caught:
            gathered(config, warned)
        assert "\n" not in str(caught.value)


def test_two_at_once_lose_nothing(tmp_path, warned):
    configs = [write(tmp_path / f"{i}.csv", f"https://s{i}.example/") for i in range(8)]
    code = "import asyncio, sys; from monitor.lists import Lists; from monitor.config import Config, ListConfig\n"
    code += "asyncio.run(Lists(print).gather(Config(lists=(ListConfig(path=sys.argv[1]),))))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(config.lists[0].path)], cwd=ROOT) for config in configs
    ]
    assert [process.wait(30) for process in running] == [0] * 8
    assert len(json.loads(remembered_at().read_bytes())["seen"]) == 8


class ListServer:
    """Serves one list over https. status: what it answers."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = "200 OK", b"", 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Config]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + self.body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        try:
            port = server.sockets[0].getsockname()[1]
            yield Config(lists=(ListConfig(url=f"https://127.0.0.1:{port}/ve.csv"),))
        finally:
            server.close()


AUTHORITY = trustme.CA()


@pytest.fixture
def served(tmp_path, monkeypatch) -> ListServer:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return ListServer()


def aged(seconds: float) -> None:
    """Every kept copy, as old as that."""
    then = time.time() - seconds
    for copy in Path(".cache/almenara/lists").iterdir():
        os.utime(copy, (then, then))


def damage() -> None:
    """Every kept copy, cut short."""
    for copy in Path(".cache/almenara/lists").iterdir():
        copy.write_bytes(b"url,cat")


def test_a_list_by_url_is_kept_and_asked_for_once_a_day(served, warned):
    async def work() -> None:
        served.body = (HEADER + rows("https://a.example/")).encode()
        async with served.serving() as config:
            for _ in range(3):  # three starts
                assert len((await Lists(warned.append).gather(config)).sites) == 1
            assert served.asked == 1
            aged(REFRESH_S + 1)
            lists = Lists(warned.append)
            served.body += rows("https://b.example/").encode()
            assert len((await lists.gather(config)).waiting) == 1
            assert served.asked == 2

    asyncio.run(work())
    assert warned == []


@pytest.mark.parametrize(
    ("status", "body"),
    [("500 Oops", b""), ("200 OK", b"<html>blocked</html>"), ("200 OK", b""), ("404 Gone", b"x"), ("200 OK", b"\xff")],
)
def test_the_last_good_copy_serves_when_the_list_cannot_be_had(served, warned, status, body):
    async def work() -> None:
        served.body = good = (HEADER + rows("https://a.example/")).encode()
        async with served.serving() as config:
            await Lists(warned.append).gather(config)
            aged(REFRESH_S + 1)
            served.status, served.body = status, body
            lists = Lists(warned.append)
            for _ in range(3):
                assert [site.url for site in (await lists.gather(config)).sites] == ["https://a.example/"]
            assert len(warned) == 1
            assert "the last good copy is used" in warned[0]
            served.status, served.body = "200 OK", good
            await lists.gather(config)
            assert len(warned) == 2
            assert warned[1].endswith("can be had again")

    asyncio.run(work())


def test_a_list_that_could_never_be_had_is_waited_for(served, warned):
    async def work() -> None:
        served.status = "503 Busy"
        async with served.serving() as config:
            lists = Lists(warned.append)
            assert (await lists.gather(config)).sites == ()
            assert (await lists.gather(config)).sites == ()
            assert len(warned) == 1
            served.status, served.body = "200 OK", (HEADER + rows("https://a.example/")).encode()
            watched = await lists.gather(config)
            assert [site.url for site in watched.sites] == ["https://a.example/"]  # its first sight

    asyncio.run(work())


def test_a_damaged_copy_is_fetched_anew(served, warned):
    async def work() -> None:
        served.body = (HEADER + rows("https://a.example/")).encode()
        async with served.serving() as config:
            await Lists(warned.append).gather(config)
            damage()
            assert len((await Lists(warned.append).gather(config)).sites) == 1
            assert served.asked == 2

    asyncio.run(work())


BROKEN = [None, b"", b"url\n", b"\xff", b"url,category_code\nhttps://a.example/,HUMR\n"]


@pytest.mark.parametrize("content", BROKEN, ids=["missing", "empty", "column", "bytes", "category"])
def test_the_last_good_copy_serves_for_a_file_too(tmp_path, warned, content):
    path = tmp_path / "ve.csv"
    config = write(path, "https://a.example/")
    lists = Lists(warned.append)
    gathered(config, warned, lists)
    write(path, "https://a.example/", "https://b.example/")
    gathered(config, warned, lists)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert warned == []
    expected = (["https://a.example/"], ["https://b.example/"])  # what waited still does
    assert gathered(config, warned, lists) == gathered(config, warned, lists) == expected
    assert len(warned) == 1
    again = Lists(warned.append)  # after a power cut
    assert gathered(config, warned, again) == gathered(config, warned, again) == expected
    assert len(warned) == 2
    assert "the last good copy is used" in warned[1]
    assert str(path) in warned[1]
    write(path, "https://a.example/")
    assert gathered(config, warned, again) == (["https://a.example/"], [])
    assert warned[2:] == [f"{path}: can be had again"]


def test_a_file_that_was_never_right_is_waited_for_while_the_others_are_watched(tmp_path, warned):
    config = Config(
        sites=(SiteConfig(url="https://s.example/"),),
        lists=(ListConfig(path=str(tmp_path / "none.csv")), *write(tmp_path / "ve.csv", "https://a.example/").lists),
    )
    lists = Lists(warned.append)
    assert gathered(config, warned, lists)[0] == ["https://s.example/", "https://a.example/"]
    assert not lists.complete
    gathered(config, warned, lists)
    assert len(warned) == 1
    assert "none.csv: no such file or directory; its sites are not watched until it can be had" in warned[0]
    write(tmp_path / "none.csv", "https://b.example/")
    assert "https://b.example/" in gathered(config, warned, lists)[0]  # its first sight
    assert lists.complete


def test_a_copy_that_is_the_same_is_not_written_again(tmp_path, warned):
    config = write(tmp_path / "ve.csv", "https://a.example/")
    inodes = set()
    for _ in range(3):
        gathered(config, warned)
        [copy] = Path(".cache/almenara/lists").iterdir()
        inodes.add(copy.stat().st_ino)
    assert len(inodes) == 1


def test_a_folder_that_cannot_be_written_is_no_wrong_configuration(tmp_path, warned):
    remembered_at().parent.parent.mkdir(parents=True)
    remembered_at().parent.write_text("no folder")
    with pytest.raises(ListUnavailable, match=r"lists\.json: cannot be kept: "):
        gathered(write(tmp_path / "ve.csv", "https://a.example/"), warned)


def sites_command(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-m", "monitor", "sites", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60)


def test_the_command_shows_and_approves(tmp_path):
    write(tmp_path / "ve.csv", "https://a.example/")
    (tmp_path / "probes.yaml").write_text(
        "sites: [{url: 'https://s.example/', name: Site S, every: 5m}]\nlists: [{path: ve.csv}]\n"
    )
    assert sites_command(folder=tmp_path).returncode == 0
    write(tmp_path / "ve.csv", "https://a.example/", "https://b.example/")
    shown = sites_command(folder=tmp_path)
    assert "1 waits since joining a list" in shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        "https://s.example/", "https://a.example/", "https://b.example/",
    ]  # fmt: skip
    as_json = [json.loads(line) for line in sites_command("--json", folder=tmp_path).stdout.splitlines()]
    assert [(one["site"], one["state"], one["every"]) for one in as_json] == [
        ("s.example", "watched", 300.0), ("a.example", "watched", 1800.0), ("b.example", "waiting", 1800.0),
    ]  # fmt: skip
    wrong = sites_command("--approve", "https://x.example/", folder=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert sites_command("--approve", "https://b.example", "--json", folder=tmp_path).stdout.count("watched") == 3
    write(tmp_path / "ve.csv", "https://a.example/", "https://b.example/", "https://c.example/")
    assert sites_command("--approve", "all", "--json", folder=tmp_path).stdout.count("waiting") == 0


def test_the_command_shows_what_it_can_when_a_list_is_gone(tmp_path):
    write(tmp_path / "ve.csv", "https://a.example/")
    (tmp_path / "probes.yaml").write_text("sites: ['https://s.example/']\nlists: [{path: ve.csv}]\n")
    sites_command(folder=tmp_path)
    (tmp_path / "ve.csv").unlink()
    shown = sites_command("--json", folder=tmp_path)
    assert (shown.returncode, shown.stdout.count("watched"), shown.stderr.count("\n")) == (0, 2, 1)
    assert "the last good copy is used" in shown.stderr
    (tmp_path / "probes.yaml").write_text("sites: ['https://s.example/']\nlists: [{path: none.csv}]\n")
    shown = sites_command("--json", folder=tmp_path)
    assert (shown.returncode, shown.stdout.count("watched"), shown.stderr.count("\n")) == (1, 1, 1)


def test_a_budget_that_may_slow_it_down_is_mentioned(tmp_path):
    (tmp_path / "probes.yaml").write_text("sites: ['https://s.example/']\nschedule: {budget: 40MB}\n")
    shown = sites_command(folder=tmp_path)
    assert shown.stderr == "almenara: every: as configured; a budget of 40 MB a day may make it longer\n"
