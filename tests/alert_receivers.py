"""Receivers of alerts on the loopback: a webhook and a mail server that behave as a test wants them to."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP
from msgspec import Struct

from monitor.alerts.sender import Sender


class Request(Struct):
    """What arrived. at: seconds since 1970."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float


class Webhook:
    """requests: all that arrived. answers: the statuses to give, one after the other; the last one for good.

    headers: of each answer. hold_s: before it answers. endless: an answer without an end.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers = [200]
        self.headers: dict[str, str] = {}
        self.hold_s, self.endless = 0.0, False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"


@contextmanager
def webhook(port: int = 0, known: Webhook | None = None) -> Iterator[Webhook]:
    """A server while the block runs."""
    receiving = known or Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiving.requests.append(Request(self.requestline, dict(self.headers), body, time.time()))
            status = receiving.answers.pop(0) if len(receiving.answers) > 1 else receiving.answers[0]
            time.sleep(receiving.hold_s)
            self.send_response(status)
            for name, value in receiving.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                while receiving.endless:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass

        def do_GET(self) -> None:
            receiving.requests.append(Request(self.requestline, dict(self.headers), b"", time.time()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Server(("127.0.0.1", port), Handler) as server:
        receiving.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiving
        finally:
            server.shutdown()
            thread.join()


class Post:
    """A mail server's memory. refuse: its answer instead of taking a message. hold_s: before it answers."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse: str | None = None
        self.hold_s = 0.0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(self.hold_s)
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@asynccontextmanager
async def post_office(post: Post, port: int = 0) -> AsyncIterator[int]:
    """A mail server while the block runs; its port."""
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(post, hostname="mx.example"), "127.0.0.1", port
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def sending(sender: Sender) -> AsyncIterator[None]:
    """While the block runs, messages are carried."""
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What happens by itself, waited for."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)
    return found
