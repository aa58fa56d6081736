"""By which names the service may be asked: every spelling of its own, and no other."""

import socket

import pytest
from starlette.requests import Request
from web_cases import PUBLIC, Watched, served

from monitor.config import WebConfig
from monitor.store import Store
from monitor.web import guard
from monitor.web.scope import Scope

HERE = WebConfig(hosts=("example.org",))
OPEN = WebConfig(listen="0.0.0.0:9105", hosts=("example.org",))
SHOWN = WebConfig(hosts=("desk.localhost",), public=PUBLIC)


def asked(*hosts: bytes) -> Request:
    """A request that names these hosts."""
    headers = [(b"host", host) for host in hosts]
    return Request(
        {"type": "http", "http_version": "1.1", "scheme": "http", "headers": headers, "client": ("127.0.0.1", 1)}
    )


SAME = (
    b"localhost", b"localhost:9105", b"LocalHost", b"localhost.", b"localhost.:9105", b"127.0.0.1", b"127.0.0.1:443",
    b"[::1]", b"[::1]:9105", b"example.org", b"Example.ORG", b"example.org.", b"example.org:443", b"example.org.:80",
    b"EXAMPLE.org.:9105",
)  # fmt: skip
OTHER = (
    b"", b".", b"..", b"evil.example", b"evil.example.", b"example.org.evil.example", b"example.org..", b"example.org.:x",
    b".example.org", b"xexample.org", b"localhost.evil.example", b"localhost..", b"127.0.0.1.evil.example", b"org", b"org.",
    b"x@localhost", b"localhost@evil.example", b"evil.example:80@localhost", b"localhost/", b"localhost#", b"localhost?x",
    b"localhost:80:80", b"localhost:+80", b"localhost:999999", b" localhost", b"localhost ", b"local\thost", b"localhost\x00",
    b"localhost,evil.example", b"\xef\xbd\x8cocalhost", b"localhost\xe3\x80\x82", b"[::1", b"[::1].evil.example",
    b"[::1]evil.example", b"::1", b"[localhost]", b"http://localhost", b"localhost\\", b"%6cocalhost",
)  # fmt: skip


@pytest.mark.parametrize("web", [HERE, OPEN], ids=["here", "open"])
@pytest.mark.parametrize("host", SAME)
def test_every_spelling_of_a_name_of_its_own_is_that_name(web, host):
    assert guard.reading(asked(host), web) is None
    assert guard.watching(asked(host), web) is None


@pytest.mark.parametrize("host", OTHER)
def test_no_other_name_reads_or_measures_or_changes_anything(host):
    assert guard.reading(asked(host), HERE) is not None
    assert guard.changing(asked(host), HERE) is not None
    assert guard.measuring(asked(host), HERE, stray=True) is not None


@pytest.mark.parametrize("host", sorted({*OTHER} - {b"org"}))
def test_nor_where_other_machines_may_ask(host):
    assert guard.reading(asked(host), OPEN) is not None


def test_a_top_level_domain_is_no_machine_of_this_network():
    """`http://org./` is asked of whoever owns org; `http://org/` of the machine of that name, if there is one."""
    assert guard.reading(asked(b"almenara"), OPEN) is None
    assert guard.reading(asked(b"almenara."), OPEN) is not None


@pytest.mark.parametrize("hosts", [(), (b"localhost", b"localhost"), (b"localhost", b"evil.example")])
def test_a_request_names_one_host(hosts):
    assert guard.reading(asked(*hosts), HERE) is not None
    assert guard.reading(asked(*hosts), OPEN) is not None


@pytest.mark.parametrize(
    "host",
    [b"almenara.example", b"ALMENARA.example", b"almenara.example.", b"almenara.example:443", b"almenara.example.:80"],
)
def test_who_asks_by_the_public_name_however_it_is_written_is_a_stranger(host):
    assert guard.is_public(asked(host), SHOWN)
    assert guard.is_strangers(asked(host), SHOWN)
    assert guard.reading(asked(host), SHOWN) is None


def test_another_port_of_the_public_name_is_another_place():
    assert not guard.is_public(asked(b"almenara.example:9105"), SHOWN)
    own_port = WebConfig(public="https://almenara.example:8443/")
    assert guard.is_public(asked(b"Almenara.example.:8443"), own_port)
    assert not guard.is_public(asked(b"almenara.example"), own_port)


def test_who_asks_by_its_own_name_with_a_dot_is_the_operator():
    assert not guard.is_strangers(asked(b"Desk.localhost.:9105"), SHOWN)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: LOCALHOST.\r\n", 200), (b"Host: evil.example.\r\n", 403), (b"", 400),
        (b"Host: localhost\r\nHost: localhost\r\n", 400), (b"Host: x@localhost\r\n", 403), (b"Host: localhost\x01\r\n", 403),
    ],
)  # fmt: skip
def test_over_a_socket_too(tmp_path, lines, status):
    url = f"sqlite:{tmp_path / 'almenara.db'}"
    Store.open(url).close()
    with (
        served(url, Watched(Scope())) as service,
        socket.create_connection((service.base_url.host, service.base_url.port), timeout=10) as raw,
    ):
        raw.sendall(b"GET /about HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
        assert raw.recv(12) == f"HTTP/1.1 {status}".encode()
