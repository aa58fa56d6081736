"""Alerts through a proxy, or through a vantage that is one: names and all, and nothing ever beside it."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from alert_cases import configured
from alert_receivers import Post, post_office, webhook

from monitor.alerts import trial
from monitor.alerts.channels import services
from monitor.alerts.order import Order
from monitor.alerts.subscriptions import Subscription, subscribed
from monitor.config import ConfigError, parse
from monitor.config_alerts import MAIL, NOT_BY_PROXY

NOWHERE = "desk.almenara.invalid"  # no name server knows it


class Proxy:
    """SOCKS5 and CONNECT on one port; every name leads to `place`. asked: what it was asked for.

    greets: it answers CONNECT with the first words of whoever is there behind its own.
    """

    def __init__(self, place: tuple[str, int]) -> None:
        self.place, self.asked, self.port, self.greets = place, [], 0, False


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """While the block runs, to that port of this machine."""
    serving = Proxy(("127.0.0.1", port))

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            first = self.rfile.read(1)
            host, wanted = self._socks() if first == b"\5" else self._connect()
            serving.asked.append((host, wanted))
            with socket.create_connection(serving.place) as there:
                greeting = there.recv(65536) if serving.greets else b""
                answer = bytes((5, 0, 0, 1, 0, 0, 0, 0, 0, 0)) if first == b"\5" else b"HTTP/1.1 200 OK\r\n\r\n"
                self.wfile.write(answer + greeting)
                back = threading.Thread(target=self._pump, args=(there,))
                back.start()
                while data := self.request.recv(65536):
                    there.sendall(data)
                there.shutdown(socket.SHUT_WR)
                back.join()

        def _socks(self) -> tuple[str, int]:
            self.rfile.read(self.rfile.read(1)[0])
            self.wfile.write(b"\5\0")
            kind = self.rfile.read(4)[3]
            name = self.rfile.read(self.rfile.read(1)[0]).decode() if kind == 3 else f"address {self.rfile.read(4)!r}"
            return name, int.from_bytes(self.rfile.read(2))

        def _connect(self) -> tuple[str, int]:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.rfile.read(1)
            host, _, wanted = head.split()[1].decode().rpartition(":")
            return host, int(wanted)

        def _pump(self, there: socket.socket) -> None:
            while data := there.recv(65536):
                self.request.sendall(data)
            self.request.shutdown(socket.SHUT_WR)

    class Server(ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler, bind_and_activate=True) as server:
        serving.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield serving
        finally:
            server.shutdown()
            thread.join()


def tried(*subscriptions: Subscription) -> list[str | None]:
    return [problem for _, problem in asyncio.run(trial.tried(subscriptions))]


def by(to: str, scheme: str, port: int) -> Subscription:
    [one] = configured(f"[{{to: '{to}', name: desk, proxy: '{scheme}://127.0.0.1:{port}'}}]")
    return one


@pytest.mark.parametrize("greets", [False, True])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_mail_goes_through_the_proxy_and_says_no_name_of_this_machine(scheme: str, greets: bool) -> None:
    async def story() -> tuple[Post, Proxy, list[Any]]:
        post = Post()
        async with post_office(post) as port:
            with proxy(port) as between:
                between.greets = greets
                to = f"mailto://{NOWHERE}:2525?from=probe@a.example&to=desk@b.example&mode=insecure"
                return post, between, await trial.tried([by(to, scheme, between.port)])

    post, between, outcomes = asyncio.run(story())
    assert outcomes == [("desk", None)]
    assert between.asked == [(NOWHERE, 2525)]
    assert len(post.mails) == 1
    assert socket.gethostname() not in str(post.mails[0])


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize(
    "to", ["json://{host}:8080/in", "webhook:http://{host}:8080/in", "alertmanager:http://{host}:8080"]
)
def test_what_speaks_http_lets_the_proxy_look_the_name_up(scheme: str, to: str) -> None:
    with webhook() as hook, proxy(hook.port) as between:
        assert tried(by(to.format(host=NOWHERE), scheme, between.port)) == [None]
    assert between.asked == [(NOWHERE, 8080)]
    assert len(hook.requests) == 1


def test_a_vantage_that_is_a_proxy_carries_alerts(home: Path) -> None:
    with webhook() as hook, proxy(hook.port) as between:
        text = f"vantages: [{{name: abroad, via: {{proxy: 'socks5://127.0.0.1:{between.port}'}}}}]\n"
        text += (
            f"alerts: [{{to: 'json://{NOWHERE}/', via: abroad}}, {{to: 'webhook:http://{NOWHERE}/', via: abroad}}]\n"
        )
        assert tried(*subscribed(parse(text, "probes.yaml"), None)) == [None, None]
    assert [host for host, _ in between.asked] == [NOWHERE, NOWHERE]


@pytest.mark.parametrize("to", ["json://127.0.0.1:{port}/", "mailto://127.0.0.1:{port}?from=a@a.example&mode=insecure"])
def test_when_the_proxy_is_gone_nothing_goes_without_it(to: str) -> None:
    with webhook() as hook:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        [problem] = tried(by(to.format(port=hook.port), "socks5", port))
    assert problem is not None
    assert hook.requests == []


def test_what_a_library_sends_beside_the_proxy_does_not_leave() -> None:
    """The configuration refuses it; this is what stands behind, for what nobody knew of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving, webhook() as hook, proxy(hook.port) as between:
        receiving.bind(("127.0.0.1", 0))
        receiving.setblocking(False)
        order = Order(
            url=f"rsyslog://127.0.0.1:{receiving.getsockname()[1]}", proxy=f"socks5://127.0.0.1:{between.port}",
            subject="s", short="s", html="s", thread="t", delivery="d",
        )  # fmt: skip
        outcome = asyncio.run(services._carried(order))
        assert outcome.problem == "it does not go through a proxy"
        with pytest.raises(BlockingIOError):
            receiving.recv(100)
        unproxied = asyncio.run(
            services._carried(Order(**{**{f: getattr(order, f) for f in order.__struct_fields__}, "proxy": None}))
        )
        assert unproxied.problem is None
        assert receiving.recv(1000)


REFUSED = [
    ("{to: 'syslog://here', proxy: 'socks5://h:1'}", "to: expected a channel that can be reached through a proxy, syslog: cannot"),
    ("{to: 'mqtts://h/topic', proxy: 'http://h:1'}", "to: expected a channel that can be reached through a proxy, mqtts: cannot"),
    ("{to: 'mailtos://u:geheim@h', proxy: 'https://h:1'}", "to: expected a proxy that mail can go through: socks5:// or http://"),
    ("{to: 'json://h', via: nowhere}", "via: expected the name of a vantage, got nowhere"),
    ("{to: 'json://h', via: line}", "via: expected a vantage that is a proxy: alerts cannot choose an interface, and line is none"),
    ("{to: 'json://h', via: abroad, proxy: 'http://h:1'}", "via: expected proxy or via, not both"),
    ("{to: 'xmpps://u:geheim@h', via: abroad}", "to: expected a channel that can be reached through a proxy, xmpps: cannot"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "problem"), REFUSED, ids=[entry for entry, _ in REFUSED])
def test_what_cannot_go_that_way_is_refused_when_the_configuration_is_read(
    entry: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "probes.yaml"
    vantages = "[{name: line, via: {interface: eth1}}, {name: abroad, via: {proxy: 'socks5://u:geheim@h:1'}}]"
    file.write_text(f"vantages: {vantages}\nalerts: [{entry}]\n")
    with pytest.raises(ConfigError) as caught:
        subscribed(parse(file.read_text(), str(file)), file)
    assert str(caught.value).startswith(f"{file}:2: alerts[0].{problem}")
    assert "geheim" not in str(caught.value)


# Apprise's imports warn of what Python 3.13 does not have, so it is asked in a process of its own.
SILENT = """
import importlib, pathlib, re
from apprise.manager_plugins import NotificationManager
for plugin in NotificationManager().plugins(include_disabled=True):
    files = [importlib.import_module(base.__module__).__file__ for base in plugin.__mro__ if base is not object]
    if not any(re.search(r"^(import|from) requests", pathlib.Path(file).read_text(), re.MULTILINE) for file in files):
        for names in (plugin.protocol, plugin.secure_protocol):
            print(*([names] if isinstance(names, str) else names or ()))
"""


def test_the_channels_that_no_proxy_reaches_are_those_that_do_not_speak_http() -> None:
    pytest.importorskip("apprise")
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == NOT_BY_PROXY | set(MAIL)
