"""Our test helper on the open internet: what it measures, and what it does not let strangers do.

Real servers, real connections, the real measurement. Where the helper is to visit a site, both live in a network
namespace of the test's own.
"""

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_net import (
    AUTHORITY,
    OTHER,
    PAGE,
    REDIRECTOR,
    SITE,
    URL,
    client_context,
    loopback,
    needs_both_families,
    needs_namespaces,
    network,
    responding,
    run,
    serving,
    site,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import MeasureConfig
from monitor.control import door, helper
from monitor.control.quota import Quota, client_of
from monitor.models import Network
from monitor.trail import Tools, observe
from monitor.vantage import Vantage, resolver


async def post(port: int, body: Any, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.post(f"http://127.0.0.1:{port}/", content=content, **more)


async def get(port: int, path: str = "/") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


def asked(url: str = URL, *endpoints: str, **more: Any) -> dict[str, Any]:
    return {"http_request": url, "http_request_headers": {}, "tcp_connect": list(endpoints)} | more


# --- what it measures ---


@needs_namespaces
def test_a_probe_of_oonis_gets_oonis_answer() -> None:
    async def work() -> None:
        async with site(net), serving(net.vantage) as port:
            response = await post(port, asked(URL, f"{SITE}:443", f"{SITE}:80", f"{OTHER}:443", "10.0.0.1:443"))
        assert response.status_code == 200
        said = response.json()
        assert said["dns"] == {"failure": None, "addrs": [SITE]}
        assert said["tcp_connect"][f"{SITE}:443"] == {"status": True, "failure": None}
        assert said["tcp_connect"][f"{OTHER}:443"] == {"status": False, "failure": "connection_refused_error"}
        assert set(said["tcp_connect"]) == {f"{SITE}:443", f"{OTHER}:443"}
        assert said["tls_handshake"][f"{SITE}:443"] == {"server_name": "site.test", "status": True, "failure": None}
        assert said["http_request"]["status_code"] == 200
        assert said["http_request"]["title"] == "La Patilla"
        assert said["http_request"]["body_length"] == len(PAGE)
        assert said["http_request"]["headers"]["X-Site"] == "yes"
        assert said["ip_info"] == {
            SITE: {"asn": 0, "flags": 1 | 2 | 8},
            OTHER: {"asn": 0, "flags": 1},
            "10.0.0.1": {"asn": 0, "flags": 1 | 4},
        }
        assert "x_almenara" not in said

    with network() as net:
        run(work)


@needs_namespaces
def test_a_probe_of_ours_gets_every_hop_and_attempt() -> None:
    async def work() -> None:
        net.names["old.test"] = REDIRECTOR
        moved = responding("302 Found", b"", f"Location: {URL}")
        async with site(net), net.server(REDIRECTOR, 80, moved), serving(net.vantage) as port:
            response = await post(port, asked("http://old.test/", x_almenara=1, x_attempts=3))
        seen = response.json()["x_almenara"]
        assert seen["you"] == "127.0.0.1"
        pages = [(page["hop"], page["status"]) for page in seen["observations"]["http"]]
        assert sorted(pages) == [(0, 302)] * 3 + [(1, 200)] * 3
        assert {one["attempt"] for one in seen["observations"]["tcp"]} == {1, 2, 3}
        assert response.json()["http_request"]["title"] == "La Patilla"

    with network() as net:
        run(work)


@needs_namespaces
def test_the_https_side_of_a_plain_site_is_visited_when_asked_for() -> None:
    async def work() -> None:
        async with site(net), serving(net.vantage) as port:
            said = (await post(port, asked("http://site.test/", f"{SITE}:443", f"{SITE}:80"))).json()
        reached = {"status": True, "failure": None}
        assert said["tcp_connect"] == {f"{SITE}:443": reached, f"{SITE}:80": reached}
        assert said["tls_handshake"][f"{SITE}:443"]["status"] is True

    with network() as net:
        run(work)


@needs_namespaces
def test_three_headers_pass_and_no_other() -> None:
    heads: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def work() -> None:
        net.names["site.test"] = SITE
        given = {"Accept-Language": ["es-VE"], "User-Agent": ["probe/1"], "Cookie": ["secret=1"], "X-Other": ["y"]}
        async with net.resolver(), net.server(SITE, 80, keep), serving(net.vantage) as port:
            await post(port, asked("http://site.test/", http_request_headers=given))
        sent = heads[0].lower()
        assert b"accept-language: es-ve" in sent
        assert b"user-agent: probe/1" in sent
        assert b"secret" not in sent
        assert b"x-other" not in sent

    with network() as net:
        run(work)


# --- what it does not do ---


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://site.test/", "not an http or https URL"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("gopher://site.test:80/", "not an http or https URL"),
        ("https://", "not"),
        ("", "not"),
        ("https://site.test:22/", "port 22"),
        ("http://site.test:8080/", "port 8080"),
        ("http://127.0.0.1/", "not public"),
        ("http://[::1]/", "not public"),
        ("http://[::ffff:10.0.0.1]/", "not public"),
        ("http://169.254.169.254/latest/meta-data/", "not public"),
        ("http://2130706433/", None),
        ("http://0x7f000001/", None),
        ("http://localhost/", None),
    ],
)
def test_urls_that_are_not_measured(url: str, reason: str | None) -> None:
    """Where no reason is given the name is looked up like any other, and nothing is connected to."""

    async def work() -> None:
        async with serving(loopback()) as port:
            response = await post(port, asked(url))
        if reason is None:
            assert response.json()["tcp_connect"] == {}
        else:
            assert response.status_code == 400
            assert reason in response.text
        assert response.text.count("\n") <= 1

    run(work)


@needs_namespaces
@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "http://inside.test/", "http://site.test:22/", "http://site.test:8080/"]
)
def test_a_redirect_never_leads_inside_or_to_other_ports(location: str) -> None:
    visited: list[int] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.append(1)

    async def work() -> None:
        net.names |= {"old.test": REDIRECTOR, "site.test": SITE, "inside.test": "127.0.0.1"}
        moved = responding("302 Found", b"", f"Location: {location}")
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(net.resolver())
            await stack.enter_async_context(net.server(REDIRECTOR, 80, moved))
            for address, port in (("127.0.0.1", 80), (SITE, 22), (SITE, 8080)):
                await stack.enter_async_context(net.server(address, port, trap))
            helping = await stack.enter_async_context(serving(net.vantage))
            said = (await post(helping, asked("http://old.test/", f"{SITE}:22", "127.0.0.1:80"))).json()
        assert visited == []
        assert said["tcp_connect"] == {f"{REDIRECTOR}:80": {"status": True, "failure": None}}
        assert said["http_request"]["status_code"] == -1

    with network() as net:
        run(work)


@needs_namespaces
def test_a_name_that_leads_inside_is_resolved_and_not_visited() -> None:
    visited: list[int] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.append(1)

    async def work() -> None:
        net.names["rebound.test"] = "127.0.0.1"
        async with net.resolver(), net.server("127.0.0.1", 80, trap), serving(net.vantage) as port:
            said = (await post(port, asked("http://rebound.test/"))).json()
        assert said["dns"]["addrs"] == ["127.0.0.1"]
        assert said["tcp_connect"] == {}
        assert visited == []

    with network() as net:
        run(work)


@needs_namespaces
def test_a_port_that_the_configuration_allows() -> None:
    async def work() -> None:
        net.names["site.test"] = SITE
        limits = helper.Limits(ports=frozenset({80, 443, 8080}))
        async with (
            net.resolver(),
            net.server(SITE, 8080, responding("200 OK", PAGE)),
            serving(net.vantage, limits) as port,
        ):
            said = (await post(port, asked("http://site.test:8080/"))).json()
        assert said["http_request"]["status_code"] == 200

    with network() as net:
        run(work)


# --- bounds ---


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"http_request": 1}', 400),
        (b'{"http_request": "https://a.test/", "x_attempts": 6}', 400),
        (b'{"http_request": "https://a.test/", "x_attempts": 0}', 400),
        (b'{"http_request": "' + b"a" * 5000 + b'"}', 400),
        (b'{"x":' + b"[" * 60_000, 400),
        (b" " * 70_000, 413),
    ],
)
def test_bodies_that_are_no_request(body: bytes, status: int) -> None:
    async def work() -> None:
        async with serving(loopback()) as port:
            response = await post(port, body)
            assert (await get(port)).status_code == 200
        assert response.status_code == status
        assert response.text.count("\n") == 1
        assert "Traceback" not in response.text

    run(work)


def test_a_body_without_end_is_not_read() -> None:
    async def work() -> None:
        async with serving(loopback()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                assert b" 413 " in await reader.readline()
            writer.transport.abort()

    run(work)


@pytest.mark.parametrize(
    "sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"\x16\x03\x01"]
)
def test_a_request_that_trickles_in_has_a_deadline(sent: bytes) -> None:
    async def work() -> None:
        at_the_door = door.Door(receive_s=0.5)
        async with serving(loopback(), at_the_door=at_the_door) as port:
            begun = asyncio.get_running_loop().time()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            trickling = asyncio.create_task(trickle(writer))
            with contextlib.suppress(ConnectionError):
                assert (await reader.read()).startswith(b"HTTP/1.1 400 " if sent.startswith(b"\x16") else b"")
            trickling.cancel()
            await asyncio.wait({trickling})
            writer.transport.abort()
            assert asyncio.get_running_loop().time() - begun < 3

    run(work)


async def trickle(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(0.05)
            writer.write(b"x")
            await writer.drain()


def test_a_tls_handshake_that_never_ends_has_the_same_deadline(tmp_path: Any) -> None:
    async def work() -> None:
        more = certificate_files(tmp_path)
        async with serving(loopback(), at_the_door=door.Door(receive_s=0.5), **more) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.transport.abort()

    run(work)


def certificate_files(folder: Any) -> dict[str, Any]:
    issued = AUTHORITY.issue_cert("127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return {"certificate": certificate, "key": key}


def test_its_own_tls(tmp_path: Any) -> None:
    async def work() -> None:
        trusting = httpx.AsyncClient(verify=client_context(AUTHORITY), trust_env=False)
        async with serving(loopback(), **certificate_files(tmp_path)) as port, trusting as client:
            response = await client.get(f"https://127.0.0.1:{port}/")
        assert response.text.startswith("almenara helper")

    run(work)


def test_connections_of_one_client_are_counted() -> None:
    async def work() -> None:
        async with serving(loopback(), at_the_door=door.Door(per_client=3)) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for _, writer in held:
                writer.write(b"GET / HTTP/1.1\r\n")
                await writer.drain()
            with pytest.raises(httpx.TransportError):
                await get(port)
            for _, writer in held:
                writer.transport.abort()
            async with asyncio.timeout(5):
                while not await opened_again(port):  # noqa: ASYNC110 - asks the server
                    await asyncio.sleep(0.02)

    run(work)


async def opened_again(port: int) -> bool:
    try:
        return (await get(port)).status_code == 200
    except httpx.TransportError:
        return False


def test_a_full_house_opens_again() -> None:
    async def work() -> None:
        async with serving(loopback(), at_the_door=door.Door(connections=4, receive_s=0.5)) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            assert (await get(port)).status_code == 200
            for _, writer in held:
                writer.transport.abort()

    run(work)


@contextlib.asynccontextmanager
async def slow() -> AsyncIterator[tuple[Vantage, Tools]]:
    """A vantage whose resolver never answers: every measurement takes as long as its timeouts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        vantage = Vantage("slow", Network(), (resolver(f"127.0.0.1:{mute.getsockname()[1]}"),))
        settings = MeasureConfig(timeout_s=3.0, budget_s=5.0, attempts=1)
        yield vantage, Tools(settings=settings, trust=client_context(AUTHORITY))


def test_too_many_measurements_at_once_are_refused() -> None:
    async def work() -> None:
        async with slow() as (vantage, used), serving(vantage, helper.Limits(max_concurrency=2), used=used) as port:
            answers = await asyncio.gather(*(post(port, asked()) for _ in range(4)))
            metrics = (await get(port, "/metrics")).text
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
        assert all(answer.headers["retry-after"] == "2" for answer in answers if answer.status_code == 503)
        assert 'almenara_helper_rejected_total{reason="busy"} 2.0' in metrics
        assert 'almenara_helper_requests_total{result="measured"} 2.0' in metrics
        assert "almenara_helper_requests_in_flight 0.0" in metrics
        assert "almenara_helper_request_duration_seconds_count 4.0" in metrics
        assert "127.0.0.1" not in metrics

    run(work)


def test_a_measurement_has_a_deadline() -> None:
    async def work() -> None:
        async with slow() as (vantage, used), serving(vantage, helper.Limits(deadline_s=0.2), used=used) as port:
            response = await post(port, asked())
        assert response.status_code == 504
        assert response.text == "no result within 0.2 s\n"

    run(work)


def test_a_probe_that_leaves_frees_its_place() -> None:
    async def work() -> None:
        async with slow() as (vantage, used), serving(vantage, helper.Limits(max_concurrency=1), used=used) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(asked()).encode()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await metric(port, "almenara_helper_requests_in_flight 1.0")
            writer.transport.abort()
            await metric(port, "almenara_helper_requests_in_flight 0.0")
            await metric(port, 'almenara_helper_rejected_total{reason="gone"} 1.0')

    run(work)


async def metric(port: int, line: str) -> None:
    """Waits until the helper says so."""
    async with asyncio.timeout(2):
        while line not in (await get(port, "/metrics")).text:  # noqa: ASYNC110 - asks the server
            await asyncio.sleep(0.02)


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    async def work() -> None:
        async with serving(loopback(), helper.Limits(per_minute=3)) as port:
            answers = [await post(port, asked()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20

    run(work)


@pytest.mark.parametrize(("proxies", "statuses"), [((), [200, 429]), (("127.0.0.1",), [200, 200])])
def test_forwarded_addresses_count_only_from_known_proxies(proxies: tuple[str, ...], statuses: list[int]) -> None:
    async def work() -> None:
        async with serving(loopback(), helper.Limits(per_minute=1), door.Door(proxies=proxies)) as port:
            answers = [await post(port, asked(), headers={"X-Forwarded-For": f"198.41.0.{n}"}) for n in range(2)]
        assert [answer.status_code for answer in answers] == statuses

    run(work)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", pytest.param("[::]:0", marks=needs_both_families)])
def test_a_probe_is_told_its_address_as_it_writes_it(listen: str) -> None:
    async def work() -> None:
        async with serving(loopback(), at_the_door=door.Door(proxies=("127.0.0.1",)), listen=listen) as port:
            direct = await post(port, asked(x_almenara=1))
            forwarded = await post(port, asked(x_almenara=1), headers={"X-Forwarded-For": "198.41.0.7"})
        assert direct.json()["x_almenara"]["you"] == "127.0.0.1"
        assert forwarded.json()["x_almenara"]["you"] == "198.41.0.7"

    run(work)


def test_a_signal_stops_it_and_who_waits_is_told() -> None:
    async def work() -> None:
        async with slow() as (vantage, used):
            measure = functools.partial(observe, vantage=vantage, tools=used)
            served = helper.Helper(measure, vantage, used.trust)
            listening = helper.listener("127.0.0.1:0")
            port, started = listening.getsockname()[1], asyncio.Event()
            task = asyncio.create_task(helper.serve(served, listening, ready=started.set))
            await started.wait()
            asking = asyncio.create_task(post(port, asked()))
            await metric(port, "almenara_helper_requests_in_flight 1.0")
            os.kill(os.getpid(), signal.SIGTERM)
            assert (await asking).status_code == 503
            await task

    run(work)


@settings(max_examples=15)
@given(st.binary(max_size=200))
def test_no_bytes_on_the_connection_break_it(data: bytes) -> None:
    async def work() -> None:
        async with serving(loopback(), at_the_door=door.Door(receive_s=0.05)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                assert b" 500 " not in await reader.read()
            writer.transport.abort()
            assert (await get(port)).status_code == 200

    run(work)


def test_a_bug_is_not_told_to_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(url: str, **more: Any) -> Any:
        raise RuntimeError("secret")

    async def work() -> None:
        served = helper.Helper(broken, loopback(), client_context(AUTHORITY))
        listening = helper.listener("127.0.0.1:0")
        port, started = listening.getsockname()[1], asyncio.Event()
        task = asyncio.create_task(helper.serve(served, listening, ready=started.set))
        await started.wait()
        response = await post(port, asked())
        await metric(port, 'almenara_helper_rejected_total{reason="error"} 1.0')
        task.cancel()
        await asyncio.wait({task})
        assert (response.status_code, response.text) == (500, "Internal Server Error")

    run(work)
    assert "secret" in caplog.text


def test_the_log_has_one_line_a_request_and_nobodys_address(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with serving(loopback()) as port:
            await post(port, asked())
            await post(port, b"nonsense")

    caplog.set_level("INFO", "almenara.helper")
    run(work)
    lines = [record.getMessage() for record in caplog.records if record.name == "almenara.helper"]
    assert [line.rsplit(" ", 2)[0] for line in lines] == ["POST 200 measured", "POST 400 malformed"]
    assert "127.0.0.1" not in "".join(lines)
    assert "site.test" not in "".join(lines)


def test_every_metric_is_documented() -> None:
    documented = Path("docs/helper.md").read_text()

    async def work() -> None:
        async with serving(loopback()) as port:
            metrics = (await get(port, "/metrics")).text
        names = {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")}
        assert {name for name in names if not name.endswith("_created") and name not in documented} == set()

    run(work)


# --- parts ---


def test_a_bucket_empties_and_refills() -> None:
    quota = Quota(per_minute=2)
    assert [quota.wait_s("a", now) for now in (0, 0, 0)] == [0, 0, 30]
    assert quota.wait_s("b", 0) == 0
    assert quota.wait_s("a", 29.9) > 0
    assert quota.wait_s("a", 30.1) == 0


def test_many_clients_do_not_grow_the_table() -> None:
    quota = Quota(per_minute=1, most_clients=10)
    for n in range(100):
        quota.wait_s(str(n), 0)
    assert len(quota) == 10


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("198.41.0.4", "198.41.0.4"),
        ("2a02:1:2:3:4:5:6:7", "2a02:1:2:3::/64"),
        ("::ffff:198.41.0.4", "198.41.0.4"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "unknown"),
        ("", "unknown"),
    ],
)
def test_who_counts_as_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize("text", ["", "8080", "localhost", "127.0.0.1:port", "127.0.0.1:99999", "[::1]"])
def test_listen_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        helper.listener(text)


@pytest.mark.parametrize(("text", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::")])
@needs_both_families
def test_listen_addresses(text: str, host: str) -> None:
    with helper.listener(text) as listening:
        assert listening.getsockname()[0] == host
