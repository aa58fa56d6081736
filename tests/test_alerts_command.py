"""`almenara alerts`, `check --send-test`, `events --exchange`: as somebody runs them."""

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alert_cases import block, configured, due
from alert_receivers import webhook
from msgspec.structs import replace

from monitor.alerts import courier, problems, sender
from monitor.alerts.desk import Desk
from monitor.alerts.exchange import COLUMNS, rows
from monitor.cli import main
from monitor.incidents import incidents
from monitor.language import words
from monitor.store import Store

ROOT = Path(__file__).parent.parent
ALERTS = (
    "[{to: 'mailto://mail.example?to=desk@example.org', name: desk}, {to: 'webhook:https://hook.example/', name: hook}]"
)


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def almenara(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in a folder, which is also the home."""

    def run(folder: Path, *arguments: str) -> Done:
        for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and a store: one message was given up, one waits."""
    folder: Path = tmp_path_factory.mktemp("alerts")
    (folder / "probes.yaml").write_text(f"store: sqlite:alerts.db\nalerts: {ALERTS}\n")
    with Store.open(f"sqlite:{folder}/alerts.db") as store:
        desk, now = Desk(configured(ALERTS), ()), datetime.now(UTC) - timedelta(hours=2)
        event = replace(block("www.lapatilla.com", 0), started=now, started_range=(now, now), detected=now)
        store.save_events([event], incidents([event]), partial(desk.decide_at, now=now))
        for one in due(store, datetime.now(UTC)):
            again = None if one.channel == "mailto" else datetime.now(UTC) + timedelta(hours=1)
            store.outbox.failed(one, datetime.now(UTC), "the login is refused", again)
    return folder


@pytest.fixture
def listed(almenara: Callable[..., Done]) -> Callable[..., list[dict[str, Any]]]:
    """What `almenara alerts --json` prints."""

    def read(folder: Path, *more: str) -> list[dict[str, Any]]:
        done = almenara(folder, "alerts", "--json", *more)
        assert (done.code, done.err) == (0, "")
        return [json.loads(line) for line in done.out.splitlines()]

    return read


def test_the_list_says_what_became_of_each(folder, almenara, listed):
    hook, desk = listed(folder)
    assert (desk["to"], desk["state"], desk["attempts"], desk["error"]) == (
        "desk",
        "given_up",
        1,
        "the login is refused",
    )
    assert (hook["to"], hook["state"], hook["what"]) == ("hook", "waiting", "first")
    assert [one["to"] for one in listed(folder, "--state", "given_up")] == ["desk"]
    done = almenara(folder, "alerts")
    assert done.code == 0
    assert "✗ given up" in done.out
    assert "… waiting, again 20" in done.out
    assert "the login is refused" in done.out


def test_the_list_is_in_the_readers_language(folder):
    """In a process of its own: what the command line says is translated for as long as it runs."""
    env = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "LANG": "es_VE.UTF-8"}
    asked = [sys.executable, "-m", "monitor", "alerts"]
    told = subprocess.run(asked, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    for english, spanish in (
        ("first", "primero"),
        ("the login is refused", "el usuario o la contraseña no se aceptan"),
    ):
        assert spanish in told
        assert english not in told


def test_every_reason_that_is_told_is_known_to_be_translated():
    sources = [Path(problems.__file__).parent / name for name in ("courier.py", "sender.py", "channels")]
    text = "".join(
        file.read_text() for path in sources for file in ([path] if path.is_file() else sorted(path.glob("*.py")))
    )
    told = set(re.findall(r'Undelivered\(\s*f?"([^"]+)"', text)) | set(
        re.findall(r'return f?"([a-z][^"]+ [^"]+)"', text)
    )
    told |= {*courier._PROBLEMS.values(), courier._MISSING, courier._OUTSIDE, sender._GONE}
    known = {re.sub(r"{\w+}", "{}", message) for message in problems.PROBLEMS}
    assert len(told) > 15
    assert {re.sub(r"{[^}]+}", "{}", message) for message in told} <= known


def test_a_message_is_shown_as_it_was_told(folder, almenara, listed):
    [desk] = listed(folder, "--state", "given_up")
    done = almenara(folder, "alerts", "--show", str(desk["id"]))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("www.lapatilla.com is blocked on CANTV\n\n")
    assert "What is not known" in done.out


def test_secrets_are_those_of_webhooks(folder, almenara):
    done = almenara(folder, "alerts", "--secrets")
    name, secret = done.out.split()
    assert (name, len(secret)) == ("hook", 64)
    assert almenara(folder, "alerts", "--secrets").out == done.out


def test_one_is_tried_again_by_hand(folder, tmp_path, almenara, listed):
    for name in ("probes.yaml", "alerts.db"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    [desk] = listed(tmp_path, "--state", "given_up")
    done = almenara(tmp_path, "alerts", "--retry", str(desk["id"]))
    assert (done.code, done.out) == (0, "1 message is tried again, as soon as almenara run runs\n")
    assert listed(tmp_path, "--state", "given_up") == []
    assert almenara(tmp_path, "alerts", "--retry", "all").out.startswith("2 messages are tried again")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--show", "none"), 1, "almenara: no message none in the store\n"),
        (("--retry", "none"), 1, "almenara: no message none waits or was given up\n"),
        (("--show", "\udcff"), 1, "almenara: no message � in the store\n"),
        (("--retry", "\udcff"), 1, "almenara: no message � waits or was given up\n"),
        (
            ("--retry", "all", "--json"),
            2,
            "almenara: --show, --retry, --secrets: expected alone; --state and --json are for the list\n",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(almenara, folder, arguments, code, line):
    done = almenara(folder, "alerts", *arguments)
    assert (done.code, done.out, done.err) == (code, "", line)


@pytest.fixture
def strange(folder: Path, tmp_path: Path) -> Path:
    """Rows that nobody of ours wrote: several write into one PostgreSQL, and a file can be anybody's."""
    for name in ("probes.yaml", "alerts.db"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    odd = "\x1b[2J\u202e"
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as base, base:
        [known] = base.execute("SELECT data FROM deliveries WHERE subscription = 'desk'").fetchone()
        told = zlib.compress(zlib.decompress(known).replace(b'"thread":"', b'"thread":"\\u001b[2J'))
        base.execute("UPDATE deliveries SET id = ?, what = ?, error = ? WHERE subscription = 'hook'", (odd, odd, odd))
        for id, data in (("escaping", told), ("damaged", zlib.compress(b"{}"))):
            base.execute(
                "INSERT INTO deliveries (id, data, subscription, channel, thread, what, state, created, trying, next, attempts,"
                " error) SELECT ?, ?, subscription, channel, thread, what, state, created, trying, next, attempts, error"
                " FROM deliveries WHERE subscription = 'desk' LIMIT 1",
                (id, data),
            )
    return tmp_path


def test_what_a_row_says_reaches_no_terminal_as_a_command(almenara, strange):
    shown = (almenara(strange, "alerts"), almenara(strange, "alerts", "--show", "escaping"))
    for done in shown:
        assert done.code == 0
        assert "[2J" in done.out
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", done.out)


def test_a_row_that_cannot_be_read_is_one_line(almenara, strange):
    done = almenara(strange, "alerts", "--show", "damaged")
    assert done == (1, "", "almenara: message damaged is damaged, or of another version\n")


def test_without_a_store_it_says_so(tmp_path, almenara):
    done = almenara(tmp_path, "alerts")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "nothing was stored yet" in done.err


def test_incidents_are_rows_in_the_exchanges_columns(folder, almenara):
    done = almenara(folder, "events", "--exchange")
    assert (done.code, done.err) == (0, "")
    heading, row = csv.reader(done.out.splitlines())
    assert tuple(heading) == COLUMNS
    assert row[0:2] == ["Venezuela", "VE"]
    assert row[6] == "www.lapatilla.com"


def test_of_an_incident_that_is_over_in_part_the_exchange_has_two_rows(tmp_path):
    """One row with one end would tell of all its sites that they are still blocked."""
    events = [block("a.example", 0), block("b.example", 0, 1500)]
    on, over = rows(words("en"), events, None)
    assert (on["affected_services"], on["start_date"], on["end_date"]) == ("a.example", "2018-01-15", "")
    assert (over["affected_services"], over["start_date"], over["end_date"]) == (
        "b.example",
        "2018-01-15",
        "2018-01-16",
    )


def test_a_test_goes_through_every_channel_and_each_is_told(tmp_path, almenara):
    with webhook() as well, webhook() as ill:
        ill.answers = [500]
        text = (
            "sites: ['https://a.example/']\nvantages: [{name: here, resolvers: ['127.0.0.1:1']}]\nnetwork: {lookup: false}\n"
            "control: {helpers: [], resolvers: []}\nmeasure: {timeout: 1s}\n"
            f"alerts: [{{to: 'webhook:{well.url}', name: well}}, {{to: 'webhook:{ill.url}', name: ill}},"
            f" {{to: 'json://127.0.0.1:{well.port}/', name: chat}}]\n"
        )
        (tmp_path / "probes.yaml").write_text(text)
        done = almenara(tmp_path, "check", "--send-test")
    lines = done.out.splitlines()
    assert done.code == 1
    assert "A test went to well" in lines
    assert "A test went to chat" in lines
    assert "A test did not reach ill: refused (HTTP 500)" in lines
    tests = [json.loads(request.body) for request in well.requests]
    [signed] = [one for one in tests if "alert" in one]
    assert (signed["alert"]["status"], list(signed)) == ("Test", ["alert"])
    [chat] = [one for one in tests if "message" in one]
    assert "Nothing has happened." in chat["message"]


def test_a_channel_that_there_is_not_is_told_without_sending_anything(tmp_path, almenara):
    with webhook() as well:
        text = (
            "sites: ['https://a.example/']\nvantages: [{name: here, resolvers: ['127.0.0.1:1']}]\nnetwork: {lookup: false}\n"
            "control: {helpers: [], resolvers: []}\nmeasure: {timeout: 1s}\n"
            f"alerts: [{{to: 'nosuch://x', name: ill}}, {{to: 'json://127.0.0.1:{well.port}/', name: well}}]\n"
        )
        (tmp_path / "probes.yaml").write_text(text)
        done = almenara(tmp_path, "check")
        assert well.requests == []
    lines = done.out.splitlines()
    assert done.code == 1
    assert "ill cannot be told anything: expected a URL that Apprise understands" in lines
    assert "Alerts go to well; --send-test tries it" in lines


def test_a_subscription_to_what_nothing_here_measures_is_told(tmp_path, almenara):
    """A host that is watched with `www.` only, an ISP with a typing error: nobody would ever be told."""
    text = (
        "sites: [{url: 'https://www.a.example/', tags: [news]}]\nnetwork: {lookup: false}\n"
        "vantages: [{name: here, isp: CANTV, asn: 8048, country: VE, resolvers: ['127.0.0.1:1']}]\n"
        "control: {helpers: [], resolvers: []}\nmeasure: {timeout: 1s}\n"
        "alerts: [{to: 'json://127.0.0.1:1/', name: desk, sites: [a.example, www.a.example, 'tag:news', 'tag:new'],\n"
        "          isps: [cantv, AS8048, Movilnet], countries: [VE, CO]}]\n"
    )
    (tmp_path / "probes.yaml").write_text(text)
    told = [line for line in almenara(tmp_path, "check").out.splitlines() if line.startswith("desk ")]
    assert told == [
        f"desk asks for {name}, which nothing here measures" for name in ("a.example", "tag:new", "Movilnet", "CO")
    ]
    (tmp_path / "probes.yaml").write_text(text.replace("isp: CANTV, asn: 8048, country: VE, ", ""))
    told = [line for line in almenara(tmp_path, "check").out.splitlines() if line.startswith("desk ")]
    assert [line.split()[3] for line in told] == ["a.example,", "tag:new,"], "whose network it is will be found out"


def test_the_service_does_not_begin_without_a_secret_that_is_to_be_there(tmp_path, almenara):
    """What is wrong with alerts is told when it starts, not when the first of them is due."""
    text = "consent: true\nweb: {listen: '127.0.0.1:39105'}\n"
    text += "alerts: [{to: 'webhook:https://x.example/', secret: environment:NOT_THERE}]\n"
    (tmp_path / "probes.yaml").write_text(text)
    done = almenara(tmp_path, "run")
    assert (done.code, done.out) == (2, "")
    assert done.err == "almenara: probes.yaml:3: alerts[0].secret: expected something in the variable NOT_THERE\n"
