"""`almenara alerts`, `check --send-test`, `events --exchange`: as somebody runs them."""

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from alert_cases import block, configured
from alert_receivers import webhook
from msgspec.structs import replace

from monitor.alerts.desk import Desk
from monitor.alerts.exchange import COLUMNS
from monitor.incidents import incidents
from monitor.store import Store

ROOT = Path(__file__).parent.parent
ALERTS = (
    "[{to: 'mailto://mail.example?to=desk@example.org', name: desk}, {to: 'webhook:https://hook.example/', name: hook}]"
)


def almenara(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "monitor", *arguments], cwd=folder, env=environment | {"HOME": str(folder), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and a store: one message was given up, one waits."""
    folder: Path = tmp_path_factory.mktemp("alerts")
    (folder / "probes.yaml").write_text(f"store: sqlite:alerts.db\nalerts: {ALERTS}\n")
    with Store.open(f"sqlite:{folder}/alerts.db") as store:
        desk, now = Desk(configured(ALERTS), ()), datetime.now(UTC) - timedelta(hours=2)
        event = replace(block("www.lapatilla.com", 0), started=now, started_range=(now, now), detected=now)
        store.save_events([event], incidents([event]), partial(desk.decide_at, now=now))
        for one in store.outbox.due(datetime.now(UTC), 10):
            again = None if one.channel == "mailto" else datetime.now(UTC) + timedelta(hours=1)
            store.outbox.failed(one, datetime.now(UTC), "the login is refused", again)
    return folder


def listed(folder: Path, *more: str) -> list[dict[str, object]]:
    done = almenara(folder, "alerts", "--json", *more)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_list_says_what_became_of_each(folder):
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
    assert done.returncode == 0
    assert "✗ given up" in done.stdout
    assert "… waiting, again 20" in done.stdout
    assert "the login is refused" in done.stdout


def test_a_message_is_shown_as_it_was_told(folder):
    [desk] = listed(folder, "--state", "given_up")
    done = almenara(folder, "alerts", "--show", str(desk["id"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("www.lapatilla.com is blocked on CANTV\n\n")
    assert "What is not known" in done.stdout


def test_secrets_are_those_of_webhooks(folder):
    done = almenara(folder, "alerts", "--secrets")
    name, secret = done.stdout.split()
    assert (name, len(secret)) == ("hook", 64)
    assert almenara(folder, "alerts", "--secrets").stdout == done.stdout


def test_one_is_tried_again_by_hand(folder, tmp_path):
    for name in ("probes.yaml", "alerts.db"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    [desk] = listed(tmp_path, "--state", "given_up")
    done = almenara(tmp_path, "alerts", "--retry", str(desk["id"]))
    assert (done.returncode, done.stdout) == (0, "1 message is tried again, as soon as almenara run runs\n")
    assert listed(tmp_path, "--state", "given_up") == []
    assert almenara(tmp_path, "alerts", "--retry", "all").stdout.startswith("2 messages are tried again")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--show", "none"), 1, "almenara: no message none in the store\n"),
        (("--retry", "none"), 1, "almenara: no message none waits or was given up\n"),
        (
            ("--retry", "all", "--json"),
            2,
            "almenara: --show, --retry, --secrets: expected alone; --state and --json are for the list\n",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, arguments, code, line):
    done = almenara(folder, "alerts", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", line)


def test_without_a_store_it_says_so(tmp_path):
    done = almenara(tmp_path, "alerts")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "nothing was stored yet" in done.stderr


def test_incidents_are_rows_in_the_exchanges_columns(folder):
    done = almenara(folder, "events", "--exchange")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = csv.reader(done.stdout.splitlines())
    assert tuple(heading) == COLUMNS
    assert row[0:2] == ["Venezuela", "VE"]
    assert row[6] == "www.lapatilla.com"


def test_a_test_goes_through_every_channel_and_each_is_told(tmp_path):
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
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert "A test went to well" in lines
    assert "A test went to chat" in lines
    assert "A test did not reach ill: refused (HTTP 500)" in lines
    tests = [json.loads(request.body) for request in well.requests]
    [signed] = [one for one in tests if "alert" in one]
    assert (signed["alert"]["status"], list(signed)) == ("Test", ["alert"])
    [chat] = [one for one in tests if "message" in one]
    assert "Nothing has happened." in chat["message"]


def test_the_service_does_not_begin_without_a_secret_that_is_to_be_there(tmp_path):
    """What is wrong with alerts is told when it starts, not when the first of them is due."""
    text = "consent: true\nweb: {listen: '127.0.0.1:39105'}\n"
    text += "alerts: [{to: 'webhook:https://x.example/', secret: environment:NOT_THERE}]\n"
    (tmp_path / "probes.yaml").write_text(text)
    done = almenara(tmp_path, "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "almenara: probes.yaml:3: alerts[0].secret: expected something in the variable NOT_THERE\n"
