"""Vantages behind a proxy: what passes, what is left out, and that nobody is accused for what the proxy does."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import labs
import pytest
from peers import HERE, Authority, Conn, TlsConn, answer, now, says, tcp_peer

from monitor import check
from monitor.config import parse
from monitor.failures import PROXY_SILENT
from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.proxy import Proxy as Relay
from monitor.lab.scenario import Page
from monitor.models import Measurement, Network, Role
from monitor.run import measure_all
from monitor.steps import dns as dns_step
from monitor.steps import http, tcp, tls
from monitor.vantage import Resolver, Vantage, proxy

SECRET = "geheim"
NAME = "open.example"


def behind(url: str) -> Vantage:
    """A vantage behind a proxy."""
    return Vantage("behind", Network(), (), proxy=proxy(url))


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(limited())


@asynccontextmanager
async def relay(*, early: bool = False) -> AsyncIterator[str]:
    """A proxy for both protocols that relays anywhere on this machine: its host and port."""
    server = await asyncio.start_server(Relay(Vantage("out", Network(), ()), early=early).serve, HERE, 0)
    try:
        yield f"{HERE}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def connect(here: Vantage, port: int, timeout_s: float = 5.0) -> tuple[Any, Any]:
    return await tcp.connect(here, HERE, port, occasion=now(), sources=("literal",), timeout_s=timeout_s)


def free_port() -> int:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        return int(taken.getsockname()[1])


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_connections_tls_and_pages_pass(scheme: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def serve(conn: Conn) -> None:
        secure = TlsConn(conn, authority.server(NAME))
        await secure.shake()
        await secure.read()
        await secure.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async def work() -> None:
        async with relay() as place, tcp_peer(serve) as port:
            here = behind(f"{scheme}://{place}")
            connected, stream = await connect(here, port)
            assert (connected.failure, connected.local_port) == (None, None)
            shaken, secure = await tls.handshake(
                stream, NAME, tls.client_context(authority.file), occasion=now(), sources=(), timeout_s=5
            )
            assert (shaken.failure, shaken.local_port) == (None, None)
            seen, body = await http.exchange(secure, f"https://{NAME}/", occasion=now(), sources=(), timeout_s=5)
            secure.close()
            assert (seen.failure, seen.local_port, body) == (None, None, b"hi")
            assert here.traffic.sent >= shaken.bytes_sent > 100
            assert here.traffic.received >= shaken.bytes_received + 40

    run(work)


def test_dns_passes_over_tcp_and_no_datagram_leaves() -> None:
    async def resolve(conn: Conn) -> None:
        asked = await conn.read()
        said = answer(dns.message.from_wire(asked[2:]), f"{NAME} 60 IN A 93.184.216.34").to_wire()
        await conn.write(len(said).to_bytes(2) + said)

    async def work() -> None:
        async with relay() as place, tcp_peer(resolve) as port:
            here, server = behind(f"socks5://{place}"), Resolver(address=HERE, port=port, role=Role.ISP)
            asked = await dns_step.ask(here, server, NAME, "A", occasion=now(), timeout_s=5, linger_s=0.5)
            assert (asked.dns.transport, asked.dns.answers, asked.dns.local_port) == ("tcp", ("93.184.216.34",), None)
            assert here.traffic.sent > 0
            with pytest.raises(OSError, match="no sockets of its own"):
                here.open_socket(4, socket.SOCK_DGRAM)

    run(work)


@pytest.mark.parametrize("pieces", [(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n220 hi",)])
def test_an_answer_in_pieces_and_what_comes_right_behind_it_are_told_apart(pieces: tuple[bytes, ...]) -> None:
    async def serve(conn: Conn) -> None:
        await conn.read()
        for piece in pieces:
            await conn.write(piece)
            await asyncio.sleep(0.05)
        if not pieces[-1].endswith(b"hi"):
            await conn.write(b"220 hi")
        await conn.silence()

    async def work() -> None:
        async with tcp_peer(serve) as port:
            _, stream = await connect(behind(f"http://{HERE}:{port}"), 443)
            assert await stream.receive() == b"220 hi"
            stream.close()

    run(work)


def test_a_password_is_given_to_the_proxy_that_asks_for_one() -> None:
    heard: list[bytes] = []

    async def socks(conn: Conn) -> None:
        heard.append(await conn.read())
        await conn.write(b"\5\2")
        heard.append(await conn.read())
        await conn.write(b"\1\0")
        await conn.read()
        await conn.write(b"\5\0\0\1\0\0\0\0\0\0")

    async def connecting(conn: Conn) -> None:
        heard.append(await conn.read())
        await conn.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async def work() -> None:
        for scheme, serve in (("socks5", socks), ("http", connecting)):
            async with tcp_peer(serve) as port:
                connected, stream = await connect(behind(f"{scheme}://user:{SECRET}@{HERE}:{port}"), 443)
                assert connected.failure is None
                stream.close()

    run(work)
    assert heard[1] == b"\1\4user\6geheim"
    assert b"Proxy-Authorization: Basic dXNlcjpnZWhlaW0=\r\n" in heard[2]


@pytest.mark.parametrize("trusted", [True, False])
def test_an_https_proxy_must_show_a_valid_certificate(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)

    async def serve(conn: Conn) -> None:
        secure = TlsConn(conn, authority.server("localhost"))
        await secure.shake()
        await secure.read()
        await secure.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await secure.read()
        await secure.write(b"pong")
        await conn.silence()

    async def work() -> None:
        async with tcp_peer(serve if trusted else _shaken(serve)) as port:
            connected, stream = await connect(behind(f"https://localhost:{port}"), 443)
            if not trusted:
                assert connected.failure == "unknown_failure: proxy_certificate"
                return
            await stream.send(b"ping")
            assert await stream.receive() == b"pong"
            stream.close()

    run(work)


def _shaken(serve: Callable[[Conn], Awaitable[None]]) -> Callable[[Conn], Awaitable[None]]:
    """The same, for a client that turns away."""

    async def behave(conn: Conn) -> None:
        try:
            await serve(conn)
        except (OSError, EOFError):
            return

    return behave


# --- what fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (1, "unknown_failure: proxy_refuses"),
        (2, "unknown_failure: proxy_refuses"),
        (3, "network_unreachable"),
        (4, "host_unreachable"),
        (5, "connection_refused"),
        (6, "generic_timeout_error"),
        (7, "unknown_failure: proxy_refuses"),
        (8, "unknown_failure: proxy_refuses"),
        (99, "unknown_failure: proxy_refuses"),
    ],
)
def test_a_socks_reply_is_the_failure_it_names(code: int, failure: str) -> None:
    async def serve(conn: Conn) -> None:
        await conn.read()
        await conn.write(b"\5\0")
        await conn.read()
        await conn.write(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))

    async def work() -> None:
        async with tcp_peer(serve) as port:
            connected, stream = await connect(behind(f"socks5://{HERE}:{port}"), 443)
            assert (connected.failure, stream) == (failure, None)

    run(work)


PROXYS_OWN = {
    "socks5, hangs up": ("socks5", b""),
    "socks5, wants a password": ("socks5", b"\5\xff"),
    "socks5, is a web server": ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "socks5, is version 4": ("socks5", b"\4\0"),
    "http, hangs up": ("http", b""),
    "http, wants a password": ("http", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
    "http, forbids": ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n"),
    "http, cannot": ("http", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"),
    "http, is busy": ("http", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"),
    "http, is a mail server": ("http", b"220 mail.example ESMTP\r\n"),
    "http, never ends its head": ("http", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000),
    "https, is plain": ("https", b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize(("scheme", "said"), PROXYS_OWN.values(), ids=PROXYS_OWN)
def test_what_a_proxy_does_itself_is_an_unknown_failure(scheme: str, said: bytes) -> None:
    async def work() -> None:
        async with tcp_peer(_shaken(says(said))) as port:
            connected, stream = await connect(behind(f"{scheme}://user:{SECRET}@{HERE}:{port}"), 443)
            assert connected.failure.startswith("unknown_failure: proxy_")
            assert stream is None
            assert SECRET not in repr(connected)

    run(work)


@pytest.mark.parametrize("scheme", ["socks5", "http", "https"])
def test_a_dead_proxy_and_a_silent_one_are_the_proxys(scheme: str) -> None:
    async def silent(conn: Conn) -> None:
        await conn.silence()

    async def work() -> None:
        dead, _ = await connect(behind(f"{scheme}://{HERE}:{free_port()}"), 443)
        assert dead.failure == "unknown_failure: proxy_unreachable"
        async with tcp_peer(silent) as port:
            mute, _ = await connect(behind(f"{scheme}://{HERE}:{port}"), 443, timeout_s=0.3)
            assert mute.failure == PROXY_SILENT
            server = Resolver(address=HERE, port=53, role=Role.ISP)
            here = behind(f"{scheme}://{HERE}:{port}")
            asked = await dns_step.ask(here, server, NAME, "A", occasion=now(), timeout_s=0.3)
            assert (asked.dns.failure, asked.dns.rcode) == (PROXY_SILENT, None)

    run(work)


def test_what_breaks_inside_a_proxys_tls_is_not_the_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)

    async def serve(conn: Conn) -> None:
        secure = TlsConn(conn, authority.server("localhost"))
        await secure.shake()
        await secure.read()
        await secure.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await secure.read()
        await conn.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    async def work() -> None:
        async with tcp_peer(serve) as port:
            _, stream = await connect(behind(f"https://localhost:{port}"), 443)
            shaken, _ = await tls.handshake(stream, NAME, tls.client_context(), occasion=now(), sources=(), timeout_s=5)
            assert shaken.failure == "unknown_failure: proxy_broken"

    run(work)


def test_a_proxy_is_shown_without_its_password() -> None:
    found = proxy(f"socks5h://user:{SECRET}@[::1]:9050/")
    assert (found.scheme, found.host, found.port, found.password) == ("socks5", "::1", 9050, SECRET)
    assert found.label == "socks5://[::1]:9050"
    assert SECRET not in f"{found} {found!r} {Vantage('v', Network(), (), proxy=found).__dict__}"


# --- in the lab ------------------------------------------------------------------------------------------------------

SITES = {
    "open.example": Page(),
    "plain.example": Page(scheme="http"),
    "named.example": Page(),
    "refused.example": Page(ipv6=False),
    "dropped.example": Page(ipv6=False),
    "denied.example": Page(),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.started(draw(9050, sites=SITES)) as running:
        running.censor("cantv", "tls-reset", "named.example")
        running.censor("cantv", "tcp-reset", "refused.example")
        running.censor("cantv", "drop", "dropped.example")
        running.censor("cantv", "dns-nxdomain", "denied.example")
        yield running


@pytest.fixture
def trusting(lab: Lab, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.ca_file))


def configuration(lab: Lab, url: str, resolvers: tuple[str, ...]) -> str:
    sections = dict(line.split(": ", 1) for line in lab.probes_yaml(["cantv"]).splitlines())
    vantage = {"name": "behind", "via": {"proxy": url}, "resolvers": list(resolvers)}
    patience = json.loads(sections["measure"]) | {"timeout": "2s"}
    sections |= {"vantages": json.dumps([vantage]), "measure": json.dumps(patience)}
    return "".join(f"{key}: {value}\n" for key, value in sections.items())


def measured(lab: Lab, url: str, resolvers: tuple[str, ...] = ("system",)) -> dict[str, Measurement]:
    config = parse(configuration(lab, url, resolvers), "lab")

    async def work() -> dict[str, Measurement]:
        urls = [lab.world.sites[name].url for name in SITES]
        return {one.site: one async for one in measure_all(config, urls)}

    return asyncio.run(work())


def verdicts(found: dict[str, Measurement]) -> dict[str, str]:
    told = {name: one.verdict for name, one in found.items()}
    return {name.removesuffix(".example"): f"{v.status} {','.join(v.methods)}".strip() for name, v in told.items() if v}


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_without_resolvers_of_its_own_sites_are_reached_and_blocks_are_seen(lab: Lab) -> None:
    found = measured(lab, f"socks5://{lab.start_proxy('cantv')}")
    assert verdicts(found) == {
        "open": "ok",
        "plain": "ok",
        "denied": "ok",  # nobody was asked who denies it
        "refused": "blocked tcp.refused",  # the proxy says so
        "named": "blocked tls.eof",  # a proxy passes a reset on as an end
        "dropped": "inconclusive",  # the proxy is silent, and may be so for reasons of its own
    }
    for one in found.values():
        assert one.network == Network(asn=8048, isp="CANTV", country="VE", source="observed")
        assert one.conditions.proxied is True
        assert {seen.local_port for seen in (*one.dns, *one.tcp, *one.tls, *one.http)} == {None}
        assert {seen.transport for seen in one.dns} == {"doh"}


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_with_the_networks_resolvers_their_lies_are_seen(lab: Lab) -> None:
    found = measured(lab, f"http://{lab.start_proxy('cantv')}", lab.isps["cantv"].resolvers)
    assert verdicts(found) == {
        "open": "ok", "plain": "ok", "denied": "blocked dns.nxdomain", "named": "blocked tls.eof",
        "refused": "inconclusive", "dropped": "inconclusive",  # CONNECT has one answer for both: 502
    }  # fmt: skip
    assert {seen.transport for one in found.values() for seen in one.dns} == {"doh", "tcp"}


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_a_proxy_that_says_connected_too_early_makes_nobody_guilty(lab: Lab) -> None:
    found = measured(lab, f"socks5://{lab.start_proxy('cantv', early=True)}")
    assert verdicts(found) == {
        "open": "ok", "plain": "ok", "denied": "ok", "named": "blocked tls.eof",
        "refused": "inconclusive", "dropped": "inconclusive",
    }  # fmt: skip


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_behind_a_dead_proxy_the_vantage_is_offline(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"socks5://user:{SECRET}@{HERE}:{free_port()}"
    found = measured(lab, url)
    assert {one.verdict.rule for one in found.values() if one.verdict} == {"network_down"}
    assert {one.network for one in found.values()} == {Network()}
    kept = json.dumps([repr(one) for one in found.values()])
    assert check.run(parse(configuration(lab, url, ("system",)), "lab")) == 1
    said = capsys.readouterr()
    assert "through" not in said.err
    assert f"Vantage behind: proxy {url.replace(f'user:{SECRET}@', '')}; resolvers none" in said.out
    assert SECRET not in kept + said.out + said.err


@pytest.mark.lab
@pytest.mark.usefixtures("trusting")
def test_check_goes_through_the_proxy(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    config = parse(configuration(lab, f"http://{lab.start_proxy('movilnet')}", ("system",)), "lab")
    assert check.run(config) == 0
    assert "Vantage behind: AS27889, Movilnet, VE, as observed" in capsys.readouterr().out.splitlines()
