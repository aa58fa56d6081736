"""Invariant: whatever the DoH server does, each question gets its observation, and no task or socket outlives the client."""

import asyncio
import dataclasses
import ssl
from contextlib import asynccontextmanager

import dns.message
import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import HERE, Authority, TlsConn, answer, now, says, tcp_peer, vantage

from monitor.models import Dns, Role
from monitor.steps.doh import DohClient
from monitor.steps.tls import client_context

SERVER = "dns.example"
NAME = "www.lapatilla.example"
GENUINE = f"{NAME} 60 IN A 198.51.100.7"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@dataclasses.dataclass
class Resolving:
    """An honest DoH server over HTTP/2, and what it saw. farewell: after so many answers it leaves."""

    context: ssl.SSLContext
    farewell: int = 1_000_000
    together: int = 1
    connections: int = 0
    heads: list = dataclasses.field(default_factory=list)
    asked: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def __call__(self, conn) -> None:
        self.connections += 1
        server = TlsConn(conn, self.context)
        await server.shake()
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        bodies: dict[int, bytes] = {}
        waiting: list[int] = []
        answered = 0
        while answered < self.farewell:
            await server.write(connection.data_to_send())
            for event in connection.receive_data(await server.read()):
                if isinstance(event, h2.events.RequestReceived):
                    self.heads.append({bytes(name): bytes(value) for name, value in event.headers})
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                elif isinstance(event, h2.events.StreamEnded):
                    waiting.append(event.stream_id)
                    self.asked.set()
                elif isinstance(event, h2.events.StreamReset):
                    waiting.remove(event.stream_id)
            # The last first, to show that questions do not wait for each other.
            for stream_id in reversed(waiting) if len(waiting) >= self.together else ():
                answered += 1
                response = answer(dns.message.from_wire(bodies[stream_id]), GENUINE).to_wire()
                head = [(":status", "200"), ("content-type", "application/dns-message")]
                connection.send_headers(stream_id, head)
                connection.send_data(stream_id, response, end_stream=True)
            waiting = waiting if len(waiting) < self.together else []
        connection.close_connection()
        await server.write(connection.data_to_send())
        await server.goodbye()


@asynccontextmanager
async def client_of(behave, authority, *, addresses=(HERE,), host=SERVER):
    """A client of such a peer. At the end nothing may be left over."""
    others = asyncio.all_tasks()
    async with tcp_peer(behave) as port:
        serving = asyncio.all_tasks()

        async def bootstrap(name: str):
            assert name == SERVER
            return addresses

        trust = client_context(authority.file)
        client = DohClient(vantage(), f"https://{host}:{port}/dns-query", trust=trust, bootstrap=bootstrap)
        try:
            yield client
        finally:
            await client.aclose()
        left = asyncio.all_tasks() - serving - others
        assert not [task for task in left if "tcp_peer" not in repr(task.get_coro())]


def ask_all(behave, authority, count: int = 1, *, timeout_s: float = 5, **options) -> list[Dns]:
    async def run() -> list[Dns]:
        async with client_of(behave, authority, **options) as client:
            asking = [client.ask(NAME, "A", occasion=now(), timeout_s=timeout_s) for _ in range(count)]
            return list(await asyncio.gather(*asking))

    return asyncio.run(run())


def test_an_honest_answer(authority):
    server = Resolving(authority.server(SERVER, alpn=("h2",)))
    (seen,) = ask_all(server, authority)
    assert (seen.failure, seen.rcode, seen.answers) == (None, "NOERROR", ("198.51.100.7",))
    assert (seen.role, seen.transport, seen.type, seen.name) == (Role.DOH, "doh", "A", NAME)
    assert seen.resolver.startswith("https://dns.example:")
    assert seen.raw
    assert seen.local_port
    head = server.heads[0]
    assert (head[b":method"], head[b":path"]) == (b"POST", b"/dns-query")
    assert head[b"content-type"] == head[b"accept"] == b"application/dns-message"


def test_many_questions_share_one_connection(authority):
    server = Resolving(authority.server(SERVER, alpn=("h2",)), together=20)
    seen = ask_all(server, authority, 100)
    assert {one.failure for one in seen} == {None}
    assert server.connections == 1


def test_a_server_by_its_address_needs_no_bootstrap(authority):
    server = Resolving(authority.server(HERE, alpn=("h2",)))
    assert ask_all(server, authority, host=HERE)[0].failure is None


def test_when_the_connection_has_died_another_is_made(authority):
    server = Resolving(authority.server(SERVER, alpn=("h2",)), farewell=1)

    async def run() -> list[Dns]:
        async with client_of(server, authority) as client:
            return [await client.ask(NAME, "A", occasion=now(), timeout_s=5) for _ in range(3)]

    assert {seen.failure for seen in asyncio.run(run())} == {None}
    assert server.connections == 3


def test_the_next_address_is_tried(authority):
    server = Resolving(authority.server(SERVER, alpn=("h2",)))
    assert ask_all(server, authority, addresses=("not-an-address", "127.0.0.99", HERE))[0].failure is None


def test_without_an_address_there_is_no_answer(authority):
    assert ask_all(says(), authority, addresses=())[0].failure == "unknown_failure: resolver_unresolved"


def test_a_bootstrap_that_fails_is_the_failure(authority):
    async def run() -> Dns:
        async def bootstrap(name: str):
            raise ConnectionResetError(104, "reset")

        client = DohClient(vantage(), "https://dns.example/", trust=client_context(authority.file), bootstrap=bootstrap)
        return await client.ask(NAME, "A", occasion=now(), timeout_s=5)

    assert asyncio.run(run()).failure == "connection_reset"


@pytest.mark.parametrize(
    ("then", "failure"),
    [("reset", "connection_reset"), ("fin", "eof_error"), ("silence", "generic_timeout_error")],
)
def test_the_failure_of_connecting_is_the_failure_of_each_question(authority, then, failure):
    seen = ask_all(says(then=then), authority, 3, timeout_s=0.3)
    assert [one.failure for one in seen] == [failure] * 3


def test_a_false_certificate_is_refused(authority, tmp_path):
    stranger = Authority(tmp_path)
    server = Resolving(stranger.server(SERVER, alpn=("h2",)))
    assert ask_all(server, authority)[0].failure == "ssl_unknown_authority"
    assert ask_all(Resolving(authority.server("other.example")), authority)[0].failure == "ssl_invalid_hostname"


def after_handshake(authority, act):
    """A peer that shakes hands and reads the question, and then acts."""

    async def behave(conn) -> None:
        server = TlsConn(conn, authority.server(SERVER, alpn=("h2",)))
        await server.shake()
        await server.read()
        await act(server)

    return behave


def test_cut_after_the_handshake(authority):
    async def reset(server) -> None:
        server.conn.reset()

    async def silent(server) -> None:
        await server.conn.silence()

    for act, failure in [(reset, "connection_reset"), (silent, "generic_timeout_error")]:
        assert ask_all(after_handshake(authority, act), authority, timeout_s=0.5)[0].failure == failure


def test_one_question_timing_out_leaves_the_others_alone(authority):
    server = Resolving(authority.server(SERVER, alpn=("h2",)), together=2)

    async def run() -> list[Dns]:
        async with client_of(server, authority) as client:
            lost = await client.ask(NAME, "A", occasion=now(), timeout_s=0.2)
            asking = [client.ask(NAME, "A", occasion=now(), timeout_s=5) for _ in range(2)]
            return [lost, *await asyncio.gather(*asking)]

    seen = asyncio.run(run())
    assert [one.failure for one in seen[:1]] == ["generic_timeout_error"]
    assert sum(one.failure is None for one in seen[1:]) >= 1
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(b"404", b"not here"), (b"200", b"<html>sign in</html>"), (b"200", bytes(70_000)), (b"xyz", b"")],
)
def test_an_answer_that_is_none(authority, status, body):
    async def behave(conn) -> None:
        server = TlsConn(conn, authority.server(SERVER, alpn=("h2",)))
        await server.shake()
        config = h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
        connection = h2.connection.H2Connection(config)
        asked = False
        while not asked:
            events = connection.receive_data(await server.read())
            asked = any(isinstance(event, h2.events.StreamEnded) for event in events)
        connection.send_headers(1, [(b":status", status)])
        for start in range(0, len(body), 16_000):
            connection.send_data(1, body[start : start + 16_000])
        connection.end_stream(1)
        await server.write(connection.data_to_send())
        await conn.silence()

    seen = ask_all(behave, authority, timeout_s=2)[0]
    assert seen.failure == "dns_server_misbehaving"


def test_an_old_server_that_speaks_only_http1(authority):
    asked = []

    async def behave(conn) -> None:
        asked.append(0)
        server = TlsConn(conn, authority.server(SERVER, alpn=("http/1.1",)))
        await server.shake()
        for _ in range(3):
            heard = b""
            while b"\r\n\r\n" not in heard or not heard.partition(b"\r\n\r\n")[2]:
                heard += await server.read()
            wire = answer(dns.message.from_wire(heard.partition(b"\r\n\r\n")[2]), GENUINE).to_wire()
            await server.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(wire), wire))
        await server.goodbye()

    seen = ask_all(behave, authority, 7)
    assert {one.failure for one in seen} == {None}
    assert len(asked) == 3


def test_closing_ends_questions_that_are_still_open(authority):
    async def run() -> Dns:
        server = Resolving(authority.server(SERVER, alpn=("h2",)), together=9)
        async with client_of(server, authority) as client:
            asking = asyncio.create_task(client.ask(NAME, "A", occasion=now(), timeout_s=20))
            await server.asked.wait()
            await client.aclose()
            return await asking

    assert asyncio.run(asyncio.wait_for(run(), 5)).failure == "eof_error"


def test_closing_while_connecting(authority):
    async def run() -> None:
        async with client_of(says(then="silence"), authority) as client:
            asking = asyncio.create_task(client.ask(NAME, "A", occasion=now(), timeout_s=20))
            await asyncio.sleep(0.05)
            await client.aclose()
            assert (await asking).failure == "eof_error"

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_client_that_was_never_asked_closes():
    asyncio.run(DohClient(vantage(), "https://x.example/", trust=client_context(), bootstrap=None).aclose())


@given(st.binary(max_size=200))
@settings(max_examples=40)
def test_no_bytes_make_a_question_raise(authority, garbage):
    async def act(server) -> None:
        await server.write(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]) + garbage)

    assert ask_all(after_handshake(authority, act), authority, timeout_s=2)[0].failure
