"""Messages reach real receivers: a webhook, a mail server, Alertmanager; that are down, slow, refuse, and come back.

Nothing secret of a subscription's URL is ever in the log, the store, an error or a metric.
"""

import asyncio
import json
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alert_cases import CANTV, block, configured
from alert_receivers import Post, Webhook, post_office, sending, until, webhook
from msgspec.structs import replace
from prometheus_servers import alertmanager

from monitor.alerts import trial
from monitor.alerts.alerting import Alerts
from monitor.alerts.channels import plumbing
from monitor.alerts.channels.webhook import signature
from monitor.alerts.desk import Desk
from monitor.alerts.sender import Sender
from monitor.incidents import incidents
from monitor.journal import open_journal
from monitor.models import Event, Incident
from monitor.store import Delivery, Sending, Store, StoreError

SITE = "www.lapatilla.com"


@pytest.fixture
def store(tmp_path: Path, home: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:{tmp_path}/alerts.db") as opened:
        yield opened


@pytest.fixture
def log() -> list[str]:
    lines: list[str] = []
    open_journal("text", lines.append)
    return lines


def now_block(site: str = SITE, minutes_ago: float = 9, **more: Any) -> Event:
    """A block that began so long ago."""
    began = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    known = {"started": began, "started_range": (began, began), "detected": began}
    return replace(block(site, 0), id=f"event-{site}", **(known | more))


class Told:
    """Subscribers, a store, and a sender that is quick to try again."""

    def __init__(self, store: Store, alerts: str) -> None:
        self.store, self.subscriptions = store, configured(alerts)
        self.desk = Desk(self.subscriptions, ())
        self.sender = Sender(store, pause_s=0.05)
        self.sender.arrange(self.subscriptions)
        self.events: dict[str, Event] = {}
        self.incidents: dict[str, Incident] = {}

    def happens(self, *events: Event) -> None:
        """Stored, and decided on."""
        self.events |= {event.id: event for event in events}
        found = {one.id: one for one in incidents(self.events.values(), self.incidents.values())}
        self.incidents |= found
        self.store.save_events(events, list(found.values()), self.desk.decide)
        self.sender.wake()

    def rows(self, *states: Sending) -> list[Delivery]:
        return self.store.outbox.listed(states or tuple(Sending), 100)


def arrives(told: Told, count: int = 1) -> Any:
    return until(lambda: len(told.rows(Sending.SENT)) >= count)


# --- the webhook ---------------------------------------------------------------------------------------------------

SECRET = "correct-horse-battery"
DOCUMENT = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text()


def is_genuine(body: bytes, header: str, secret: str) -> bool:
    """As docs/alerts.md tells a receiver to check."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    told: dict[str, Any] = {}
    exec(code, told)
    return bool(told["is_genuine"](body, header, secret))


def test_a_webhook_receives_the_incident_signed_and_at_each_change(store):
    async def story(hook: Webhook) -> None:
        told = Told(store, f"[{{to: 'webhook:{hook.url}', secret: {SECRET}}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await arrives(told)
            told.happens(now_block(revision=2, ended=datetime.now(UTC)))
            await arrives(told, 2)

    with webhook() as hook:
        asyncio.run(story(hook))
    first, end = hook.requests
    signed = first.headers["X-Almenara-Signature"]
    assert is_genuine(first.body, signed, SECRET)
    assert not is_genuine(first.body + b" ", signed, SECRET)
    assert not is_genuine(first.body, signed, "another-secret-")
    assert not is_genuine(first.body, signed.replace("t=1", "t=2"), SECRET)
    assert not is_genuine(first.body, signature(SECRET, first.body, int(first.at) - 400), SECRET)
    for forged in (
        "",
        "t=1",
        "v1=",
        "t=x,v1=y",
        "t,v1",
        signed[:-1],
        signed + "0",
        signed.replace("v1=", "v1=\xe9"),
        "=" * 9999,
    ):
        assert not is_genuine(first.body, forged, SECRET)
    said, over = json.loads(first.body), json.loads(end.body)
    assert list(said)[:6] == ["id", "revision", "state", "started", "ended", "events"]
    assert (said["state"], said["ended"], over["state"]) == ("started", None, "ended")
    assert said["id"] == over["id"] == said["alert"]["thread"]
    assert said["alert"]["identifier"] == first.headers["X-Almenara-Delivery"]
    assert (said["alert"]["msgType"], over["alert"]["msgType"], said["alert"]["status"]) == (
        "Alert",
        "Update",
        "Actual",
    )
    assert said["events"][0]["network"] == {"asn": 8048, "isp": "CANTV", "country": "VE"}
    assert said["alert"]["exchange"]["affected_services"] == SITE


def test_without_a_secret_it_is_signed_with_one_that_the_command_prints(store, capsys):
    from monitor.alerts import listing

    with webhook() as hook:
        told = Told(store, f"[{{to: 'webhook:{hook.url}', name: desk}}]")

        async def story() -> None:
            async with sending(told.sender):
                told.happens(now_block())
                await arrives(told)

        asyncio.run(story())
    listing._secrets(told.subscriptions)
    name, secret = capsys.readouterr().out.split()
    [request] = hook.requests
    assert name == "desk"
    assert is_genuine(request.body, request.headers["X-Almenara-Signature"], secret)


def test_one_that_refuses_is_tried_again_with_the_same_id(store, log):
    async def story(hook: Webhook) -> None:
        hook.answers = [500, 503, 429, 204]
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await arrives(told)
        [row] = told.rows()
        assert (row.state, row.attempts, row.error) == (Sending.SENT, 4, "")

    with webhook() as hook:
        asyncio.run(story(hook))
    assert len({request.headers["X-Almenara-Delivery"] for request in hook.requests}) == 1
    assert len({request.body for request in hook.requests}) == 1
    assert sum("cannot be told now" in line for line in log) == 1


def test_one_that_is_down_is_told_when_it_comes_back(store):
    async def story(told: Told, gone: Webhook) -> None:
        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: told.rows()[0].attempts >= 2)
            assert told.rows()[0].error == "cannot be connected to"
            with webhook(gone.port, gone):
                await arrives(told)

    with webhook() as gone:
        pass
    asyncio.run(story(Told(store, f"[{{to: 'webhook:{gone.url}'}}]"), gone))
    assert len(gone.requests) == 1


def test_one_that_is_slow_holds_up_nobody_else(store, monkeypatch):
    monkeypatch.setattr(plumbing, "PATIENCE_S", 5.0)

    async def story(slow: Webhook, quick: Webhook) -> None:
        told = Told(store, f"[{{to: 'webhook:{slow.url}', name: slow}}, {{to: 'webhook:{quick.url}', name: quick}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: quick.requests, 4.5)
            await until(lambda: any(row.error == "no answer in time" for row in told.rows()))

    with webhook() as slow, webhook() as quick:
        slow.hold_s = 8.0
        asyncio.run(story(slow, quick))


def test_an_answer_without_an_end_is_not_read(store):
    async def story(hook: Webhook) -> None:
        hook.endless = True
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await arrives(told)

    with webhook() as hook:
        asyncio.run(story(hook))


def test_a_redirect_is_not_followed(store):
    async def story(hook: Webhook, elsewhere: Webhook) -> None:
        hook.answers, hook.headers = [307], {"Location": elsewhere.url}
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: told.rows()[0].attempts)
        assert told.rows()[0].error == "a redirect (HTTP 307), which is not followed"

    with webhook() as hook, webhook() as elsewhere:
        asyncio.run(story(hook, elsewhere))
    assert elsewhere.requests == []


def test_a_receiver_may_ask_for_a_pause(store):
    async def story(hook: Webhook) -> None:
        hook.answers, hook.headers = [503], {"Retry-After": "1800"}
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: told.rows()[0].attempts)
        assert told.rows()[0].next - datetime.now(UTC) > timedelta(minutes=29)

    with webhook() as hook:
        asyncio.run(story(hook))


def test_what_is_refused_holds_up_no_other_message(store):
    """4xx is about this one message; a dead receiver is about all."""

    async def story(hook: Webhook) -> None:
        hook.answers = [422, 200]
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        told.sender = Sender(store, pause_s=3600)
        told.sender.arrange(told.subscriptions)
        told.happens(now_block())
        told.happens(now_block(revision=2, confidence=0.99))
        async with sending(told.sender):
            await arrives(told)

    with webhook() as hook:
        asyncio.run(story(hook))


def test_it_goes_through_its_proxy_and_never_to_this_machine_through_the_environments(store, monkeypatch):
    async def story(proxy: Webhook, hook: Webhook) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        away = f"{{to: 'webhook:http://desk.example/in', proxy: 'http://127.0.0.1:{proxy.port}'}}"
        told = Told(store, f"[{away}, {{to: 'webhook:{hook.url}'}}]")
        async with sending(told.sender):
            told.happens(now_block())
            await arrives(told, 2)

    with webhook() as proxy, webhook() as hook:
        asyncio.run(story(proxy, hook))
    assert [request.line for request in proxy.requests] == ["POST http://desk.example/in HTTP/1.1"]
    assert len(hook.requests) == 1


# --- giving up -----------------------------------------------------------------------------------------------------


def test_after_a_day_it_is_given_up_told_and_tried_again_by_hand(store, log):
    async def story(hook: Webhook) -> None:
        hook.answers = [500]
        told = Told(store, f"[{{to: 'webhook:{hook.url}', name: desk}}]")
        yesterday = datetime.now(UTC) - timedelta(days=1, minutes=1)
        event = now_block(minutes_ago=24 * 60 + 5)
        store.save_events([event], incidents([event]), partial(told.desk.decide_at, now=yesterday))
        async with sending(told.sender):
            await until(lambda: told.rows(Sending.GIVEN_UP))
            await until(lambda: told.sender.undelivered == 1)
            hook.answers = [200]
            assert store.outbox.retry(None, datetime.now(UTC)) == 1
            told.sender.wake()
            await arrives(told)
            await until(lambda: told.sender.undelivered == 0)

    with webhook() as hook:
        asyncio.run(story(hook))
    assert any("desk was not told, and it is given up: refused (HTTP 500)" in line for line in log)


def test_a_mistake_in_deciding_costs_no_event_and_is_told(store, log):
    class Mistaken:
        def decide(self, ground: Any) -> None:
            raise ZeroDivisionError

    alerts = Alerts(store)
    alerts._desk = Mistaken()  # type: ignore[assignment]
    event = now_block()
    alerts.save_events([event], incidents([event]))
    assert store.events() == [event]
    assert any("a bug in this program, while deciding on alerts" in line for line in log)


def test_the_service_says_of_a_channel_that_there_is_not_before_the_first_block(store, log):
    async def story() -> None:
        alerts = Alerts(store)
        alerts.subscriptions = configured("[{to: 'nosuch://x', name: desk}, {to: 'json://127.0.0.1:9/', name: well}]")
        alerts.arrange(())
        await until(lambda: any("desk cannot be told anything: expected a URL" in line for line in log))

    asyncio.run(story())
    assert not any("well" in line for line in log)


def test_a_subscription_that_is_gone_gets_nothing(store):
    async def story(hook: Webhook) -> None:
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        told.happens(now_block())
        told.sender.arrange(())
        async with sending(told.sender):
            await until(lambda: told.rows(Sending.GIVEN_UP))

    with webhook() as hook:
        asyncio.run(story(hook))
    assert hook.requests == []


def test_what_the_store_cannot_note_is_noted_later_and_not_sent_again(store, monkeypatch):
    from monitor.alerts import sender as module

    monkeypatch.setattr(module, "STORE_PAUSE_S", 0.05)

    class Troubled:
        """An outbox that cannot write three times."""

        def __init__(self, outbox: Any) -> None:
            self._outbox, self.refusals = outbox, 3

        def sent(self, *arguments: Any) -> None:
            if self.refusals:
                self.refusals -= 1
                raise StoreError("full", "the disk is full")
            self._outbox.sent(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._outbox, name)

    async def story(hook: Webhook) -> None:
        told = Told(store, f"[{{to: 'webhook:{hook.url}'}}]")
        store.outbox = Troubled(store.outbox)  # type: ignore[assignment]
        async with sending(told.sender):
            told.happens(now_block())
            await arrives(told)

    with webhook() as hook:
        asyncio.run(story(hook))
    assert len(hook.requests) == 1


# --- mail ----------------------------------------------------------------------------------------------------------


def mail(port: int, more: str = "") -> str:
    return f"[{{to: 'mailto://127.0.0.1:{port}?from=probe@almenara.example&to=desk@example.org&mode=insecure'{more}}}]"


def test_a_mail_has_all_forms_and_stands_in_its_thread(store):
    async def story() -> list[Any]:
        post = Post()
        async with post_office(post) as port:
            told = Told(store, mail(port, ", language: es, zone: America/Caracas"))
            async with sending(told.sender):
                told.happens(now_block(network=replace(CANTV, isp="<b>CANTV</b> @everyone [x](http://evil.example)")))
                await arrives(told)
                told.happens(now_block(revision=2, ended=datetime.now(UTC)))
                await arrives(told, 2)
        return post.mails

    first, end = asyncio.run(story())
    assert first["References"] == end["References"] == end["In-Reply-To"]
    assert first["References"].endswith("@thread.almenara.invalid>")
    assert SITE in first["Subject"]
    text, html = (first.get_body((form,)).get_content() for form in ("plain", "html"))
    for form in (text, html, first["Subject"]):
        assert "@everyone" not in form
        assert "<b>" not in form
        assert "evil.example" not in form
    assert "-04" in text
    assert "UTC" in text
    assert "\n\nDónde\n- " in text.replace("\r", "")
    assert "<p>" in html


def test_a_mail_server_that_refuses_is_down_and_comes_back(store):
    async def story() -> None:
        post = Post()
        post.refuse = "451 later"
        async with post_office(post) as port:
            told = Told(store, mail(port))
            async with sending(told.sender):
                told.happens(now_block())
                await until(lambda: told.rows()[0].attempts, 30)
                problem = told.rows()[0].error
                post.refuse = None
                await until(lambda: told.rows(Sending.SENT), 30)
        assert problem == "refused (451)"
        assert len(post.mails) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("who", "mode", "told_is"),
    [("user:geheim@", "insecure", "it takes no login: leave name and password out"),
     ("", "starttls", "it does not encrypt (STARTTLS)")],
)  # fmt: skip
def test_what_a_mail_server_cannot_do_is_told(store, who, mode, told_is):
    async def story() -> None:
        async with post_office(Post()) as port:
            to = f"mailto://{who}127.0.0.1:{port}?from=a@a.example&to=desk@example.org&mode={mode}"
            told = Told(store, f"[{{to: '{to}'}}]")
            async with sending(told.sender):
                told.happens(now_block())
                await until(lambda: told.rows()[0].attempts, 30)
            assert told.rows()[0].error == told_is

    asyncio.run(story())


def test_nothing_secret_is_in_the_log_the_store_or_an_error(store, log, tmp_path):
    hidden = ("geheim", "tok3n-geheim", "user-geheim")

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        told = Told(
            store,
            f"[{{to: 'mailto://user-geheim:geheim@127.0.0.1:{port}?from=a@a.example&to=desk@example.org&mode=insecure'}},"
            f" {{to: 'json://user:geheim@127.0.0.1:{port}/tok3n-geheim'}},"
            f" {{to: 'webhook:http://127.0.0.1:{port}/tok3n-geheim?key=geheim'}}]",
        )
        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: all(row.attempts for row in told.rows()), 40)
        problems = {row.error for row in told.rows()}
        assert problems <= {"the connection is refused", "cannot be connected to", "the service did not take it"}
        assert all("geheim" not in repr(one) for one in told.subscriptions)

    asyncio.run(story())
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("alerts.db*"))
    assert not any(word.encode() in stored for word in hidden)
    assert not any(word in line for word in hidden for line in log)


# --- Alertmanager --------------------------------------------------------------------------------------------------


def test_alertmanager_fires_and_resolves_the_same_alert(store, tmp_path):
    routes = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}

    async def story(server: Any) -> None:
        told = Told(store, f"[{{to: 'alertmanager:{server.url}'}}]")

        def firing() -> dict[str, str]:
            return {one["labels"]["site"]: one["labels"]["event"] for one in server.ask("/api/v2/alerts")}

        async with sending(told.sender):
            told.happens(now_block(), now_block("b.example"))
            await arrives(told)
            assert sorted(firing()) == ["b.example", SITE]
            [one] = [alert for alert in server.ask("/api/v2/alerts") if alert["labels"]["site"] == SITE]
            assert one["labels"] == {
                "alertname": "AlmenaraBlocking", "source": "almenara", "event": f"event-{SITE}", "kind": "blocking",
                "site": SITE, "asn": "8048",
            }  # fmt: skip
            assert one["annotations"]["summary"] == f"{SITE} is blocked on CANTV"
            told.happens(now_block(revision=2, network=replace(CANTV, isp="another name"), ended=datetime.now(UTC)))
            await until(lambda: sorted(firing()) == ["b.example"])
            gone = now_block("b.example")
            told.happens(replace(gone, revision=2, confidence=0.0, ended=gone.started))
            await until(lambda: firing() == {})

    with alertmanager(tmp_path, routes) as server:
        asyncio.run(story(server))


def test_a_site_that_comes_and_goes_does_not_flap_alertmanager(store, tmp_path):
    """One alert: it resolves once, fires again under its name, and then its end must last."""
    routes = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}

    async def story(server: Any) -> None:
        told = Told(store, f"[{{to: 'alertmanager:{server.url}'}}]")

        def firing() -> dict[str, str]:
            return {one["labels"]["site"]: one["labels"]["event"] for one in server.ask("/api/v2/alerts")}

        async with sending(told.sender):
            told.happens(now_block())
            await until(lambda: firing() == {SITE: f"event-{SITE}"})
            told.happens(now_block(revision=2, ended=datetime.now(UTC)))
            await until(lambda: firing() == {})
            back = replace(now_block(started=datetime.now(UTC)), id="another")
            told.happens(back)
            await until(lambda: firing() == {SITE: f"event-{SITE}"})
            for number in range(2, 8, 2):
                told.happens(replace(back, revision=number, ended=datetime.now(UTC)))
                told.happens(replace(back, revision=number + 1, confidence=0.0, ended=back.started))
            told.happens(now_block("b.example"))
            await until(lambda: "b.example" in firing())
            assert firing()[SITE] == f"event-{SITE}"
            assert len(told.rows()) == 4

    with alertmanager(tmp_path, routes) as server:
        asyncio.run(story(server))


@pytest.mark.parametrize(
    ("to", "line", "login"),
    [
        ("http://us%40er:p%3Ass@127.0.0.1:{port}/pre", "POST /pre/api/v2/alerts HTTP/1.1", b"us@er:p:ss"),
        ("http://name:secret@127.0.0.1:{port}/?x=1", "POST /api/v2/alerts?x=1 HTTP/1.1", b"name:secret"),
        ("http://127.0.0.1:{port}", "POST /api/v2/alerts HTTP/1.1", None),
    ],
)
def test_an_alertmanager_may_want_a_name_and_a_password(to, line, login):
    with webhook() as hook:
        [one] = configured(f"[{{to: 'alertmanager:{to.format(port=hook.port)}'}}]")
        assert asyncio.run(trial.tried([one])) == [(one.key, None)]
        hook.answers = [401]
        assert asyncio.run(trial.tried([one])) == [(one.key, "refused (HTTP 401)")]
    sent = hook.requests[0]
    assert (sent.line, sent.headers.get("Authorization")) == (line, login and f"Basic {b64encode(login).decode()}")
    assert "secret" not in repr(one) + one.key


def test_alertmanager_is_reminded_of_what_goes_on(store, tmp_path, monkeypatch):
    from monitor.alerts import sender as module

    monkeypatch.setattr(module, "REMIND_S", 0.3)

    async def story(hook: Webhook) -> None:
        told = Told(store, f"[{{to: 'alertmanager:http://127.0.0.1:{hook.port}'}}]")
        async with sending(told.sender):
            told.happens(now_block(), now_block("b.example", ended=datetime.now(UTC)))
            await arrives(told)
            await until(lambda: len(hook.requests) >= 3)

    with webhook() as hook:
        asyncio.run(story(hook))
    reminded = json.loads(hook.requests[-1].body)
    assert [alert["labels"]["site"] for alert in reminded] == [SITE]
    assert hook.requests[-1].line == "POST /api/v2/alerts HTTP/1.1"
