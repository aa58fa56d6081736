"""`almenara check` against controls on the loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from monitor import check
from monitor.config import parse

ANSWER = {
    "tcp_connect": {},
    "tls_handshake": {},
    "http_request": {"body_length": 1, "failure": None, "title": "", "headers": {}, "status_code": 200},
    "dns": {"failure": None, "addrs": []},
    "ip_info": {},
}


@contextmanager
def helper(status: int, body: bytes) -> Iterator[str]:
    """A test helper that answers everything in one way; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def report(capsys, *, helpers=(), more="") -> tuple[int, list[str]]:
    text = f"""
sites: ['https://a.example/']
vantages: [{{name: here, resolvers: ['127.0.0.1:1']}}, {{name: vps, resolvers: ['127.0.0.1:1']}}]
control: {{helpers: [{", ".join(repr(url) for url in helpers)}], resolvers: [] {more}}}
measure: {{timeout: 1s}}
network: {{lookup: false}}
"""
    code = check.run(parse(text, "probes.yaml"))
    return code, capsys.readouterr().out.splitlines()


def test_one_helper_that_answers_is_enough(capsys):
    with helper(200, json.dumps(ANSWER).encode()) as good, helper(503, b"busy") as busy:
        code, lines = report(capsys, helpers=(busy, good))
    assert code == 0
    assert f"From here, test helper {good} answers" in lines
    assert f"From vps, test helper {busy} does not answer: http_status_503" in lines
    assert not any("nothing could be called blocked" in line for line in lines)


def test_a_helper_that_nobody_finds_is_told_in_words(capsys):
    _, lines = report(capsys, helpers=("http://nowhere.invalid:1/",))
    [line] = [line for line in lines if line.startswith("From here, test helper")]
    assert "does not answer: Nobody said where the test helper is: its own name found no answer." in line


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>welcome", b"[" * 10_000], ids=["empty", "other-json", "html", "deep"]
)
def test_a_server_that_is_no_helper_is_no_control(body, capsys):
    with helper(200, body) as other:
        code, lines = report(capsys, helpers=(other,))
    assert code == 1
    assert lines[-1] == "No control answers at all: nothing could be called blocked."


def test_a_vantage_named_as_the_control_is_not_measured(capsys):
    code, lines = report(capsys, more=", vantage: vps")
    assert code == 0
    assert "A round is 1 measurement: 16 at once, each within 120 s." in lines
    assert lines[-1] == "Vantage vps is a control; whether it works shows when measuring."
