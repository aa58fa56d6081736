"""Receivers of alerts, and proxies, that answer without an end: they cost a bounded time and a bounded memory."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alert_cases import configured

from monitor.alerts import trial
from monitor.alerts.problems import problem_words
from monitor.language import words

ROOT = Path(__file__).parent.parent


@contextmanager
def answering(first: bytes, endlessly: bytes) -> Iterator[int]:
    """A server that hears a little, and then says this without an end; its port."""

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                if first.startswith(b"HTTP"):
                    connection.recv(65536)
                connection.sendall(first)
                while endlessly:
                    connection.sendall(endlessly)
                while connection.recv(65536):  # until the other side goes
                    pass
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def tried(entry: str) -> str | None:
    [(_, problem)] = asyncio.run(trial.tried(configured(f"[{entry}]")))
    return problem


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("to", ["webhook:http://127.0.0.1:{port}/in", "alertmanager:http://127.0.0.1:{port}"])
@pytest.mark.parametrize("what", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("by", ["", ", proxy: 'http://127.0.0.1:{port}'"])
def test_an_answer_of_nothing_but_hints_keeps_nobody_busy(to: str, what: bytes, by: str) -> None:
    with answering(what, what * 1000) as port:
        to = to.replace("http:", "https:") if by and to.startswith("webhook") else to
        before = cpu_s()
        assert tried(f"{{to: '{to}', name: desk{by}}}".replace("{port}", str(port))) is not None
    assert cpu_s() - before < 4


@pytest.mark.parametrize("to", ["webhook:https://desk.invalid/", "alertmanager:http://desk.invalid/"])
@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        ("http", b"\0\xff garbage\r\n\r\n"), ("http", b"HTTP/1.1 407 No\r\n\r\nx"), ("socks5", b"\0\xff garbage"),
        ("socks5", b"\5\0\5"), ("socks5", b"\5\0\5\0\0\1\0"), ("socks5", b"\5\xff"), ("socks5", b"\5\0\5\0\0\7\0\0\0\0\0\0"),
        ("socks5", b"\5\2\1\0"),
    ],
)  # fmt: skip
def test_whatever_a_proxy_says_it_is_one_line(to: str, scheme: str, says: bytes) -> None:
    with answering(says, says * 1000) as port:
        problem = tried(f"{{to: '{to}', name: desk, proxy: '{scheme}://127.0.0.1:{port}'}}")
    assert problem is not None
    assert problem_words(words("es"), problem) != problem


@pytest.mark.parametrize(
    ("to", "first", "endlessly"),
    [
        ("json://127.0.0.1:{port}/", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (
            "mailto://127.0.0.1:{port}?from=a@a.example&to=b@b.example&mode=insecure",
            b"220-x\r\n",
            (b"220-" + b"x" * 8000 + b"\r\n") * 9,
        ),
    ],
)
def test_what_apprise_is_answered_without_end_does_not_fill_the_memory(to: str, first: bytes, endlessly: bytes) -> None:
    with answering(first, endlessly) as port:
        assert tried(f"{{to: '{to.format(port=port)}'}}") == "the service did not take it"


def test_the_process_that_sends_ends_by_itself_when_nobody_is_there_to_end_it() -> None:
    """Its parent may have been killed, and a receiver may never say all."""
    start = "from monitor.alerts import order\norder.PATIENCE_S = 1\nfrom monitor.alerts import courier\ncourier.main()"
    with answering(b"HTTP/1.1 200 OK\r\nX: ", b"") as port:
        url = f"json://127.0.0.1:{port}/?rto=60&cto=60"
        order = {"url": url, "proxy": None, "subject": "", "short": "s", "html": "", "thread": "t", "delivery": "d"}
        done = subprocess.run(
            [sys.executable, "-c", start], input=json.dumps(order).encode(), capture_output=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (-14, b"")
