"""Asking test helpers: whatever they do comes back as a Control, and the next one is asked.

Real helpers over real sockets, good and bad ones.
"""

import asyncio
import functools
import json
from collections.abc import Sequence
from typing import Any

import pytest
import trustme
from control_net import (
    AUTHORITY,
    OTHER,
    PAGE,
    SITE,
    URL,
    Answer,
    client_context,
    loopback,
    needs_namespaces,
    network,
    responding,
    run,
    server,
    server_context,
    serving,
    silence,
    site,
    tools,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import failures
from monitor.control.client import ControlClient, Controls, Patience, VantageControl
from monitor.control.protocol import DnsResult, HttpResult, Response, TcpResult
from monitor.models import Control, to_json
from monitor.trail import observe

HASTY = Patience(step_s=1.0, helper_s=1.0, budget_s=3.0, pause_s=(0.05, 0.1))
SAID = to_json(
    Response(
        tcp_connect={f"{SITE}:443": TcpResult(status=True)},
        dns=DnsResult(addrs=(SITE,)),
        http_request=HttpResult(status_code=200, body_length=5),
    )
)
GOOD = responding("200 OK", SAID, "Content-Type: application/json")


async def nobody(host: str) -> Sequence[str]:
    return ()


def client(*ports: int | str, resolve: Any = nobody, patience: Patience = HASTY, agree: int = 1) -> ControlClient:
    urls = [port if isinstance(port, str) else f"http://127.0.0.1:{port}/" for port in ports]
    trust = client_context(AUTHORITY)
    return ControlClient(loopback(), urls, resolve=resolve, trust=trust, agree=agree, patience=patience)


async def ask(asking: Any, **more: Any) -> tuple[Control, ...]:
    return await asking.ask(URL, **({"addresses": [(SITE, 443)], "hop": 0, "attempts": 1} | more))


def recording(answer: Answer, seen: list[int]) -> Answer:
    """Counts the requests."""

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)
        await answer(reader, writer)

    return counted


def in_turn(*answers: Answer) -> Answer:
    """Answers each request in another way."""
    left = iter(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(left)(reader, writer)

    return answer


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


def test_a_helper_of_oonis() -> None:
    async def work() -> None:
        async with server(GOOD) as port:
            (control,) = await ask(client(port), hop=2)
        assert (control.kind, control.id, control.failure) == ("helper", f"http://127.0.0.1:{port}/", None)
        assert control.address == "127.0.0.1"
        assert [(one.address, one.hop, one.failure) for one in control.tcp] == [(SITE, 2, None)]
        assert control.started is not None
        assert control.runtime is not None

    run(work)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (hang_up, failures.EOF),
        (silence, failures.TIMEOUT),
        (responding("500 Oops", b"x"), "http_status_500"),
        (responding("403 Forbidden", b"<html>blocked"), "http_status_403"),
        (responding("302 Found", b"", "Location: http://block.example/"), "http_status_302"),
        (responding("503 Busy"), "http_status_503"),
        (responding("429 Slow"), "http_status_429"),
        (responding("200 OK", b"<html>blocked</html>"), "json_parse_error"),
        (responding("200 OK", b"{}"), "json_parse_error"),
        (responding("200 OK", b"[" * 100_000), "json_parse_error"),
        (responding("200 OK", b'{"tcp_connect": 1}'), "json_parse_error"),
        (responding("200 OK", b'{"a":"' + b"x" * 3_000_000 + b'"}'), "response_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_helper_that_fails_is_recorded_and_the_next_one_asked(answer: Answer, failure: str) -> None:
    async def work() -> None:
        async with server(answer) as bad, server(GOOD) as good:
            first, second = await ask(client(bad, good))
        assert (first.id, first.failure) == (f"http://127.0.0.1:{bad}/", failure)
        assert (first.dns, first.tcp, first.tls, first.http) == ((), (), (), ())
        assert (second.id, second.failure) == (f"http://127.0.0.1:{good}/", None)

    run(work)


def test_a_helper_that_is_not_there() -> None:
    async def work() -> None:
        async with server(GOOD) as gone:
            pass
        (control,) = await ask(client(gone))
        assert control.failure == failures.REFUSED

    run(work)


def test_a_helper_whose_name_is_not_found() -> None:
    async def fails(host: str) -> Sequence[str]:
        raise OSError("no resolver")

    async def work() -> None:
        for resolve in (nobody, fails):
            (control,) = await ask(client("https://helper.test/", resolve=resolve))
            assert control.failure == "unknown_failure: helper_unresolved"

    run(work)


def test_https_is_verified() -> None:
    async def resolve(host: str) -> Sequence[str]:
        return ["nonsense", "127.0.0.1"]

    async def work() -> None:
        async with (
            server(GOOD, server_context(AUTHORITY, "helper.test")) as good,
            server(GOOD, server_context(trustme.CA(), "helper.test")) as forged,
            server(GOOD, server_context(AUTHORITY, "other.test")) as other,
        ):
            urls = [f"https://helper.test:{port}/" for port in (forged, other, good)]
            controls = await ask(client(*urls, resolve=resolve))
        assert [control.failure for control in controls] == [
            failures.UNKNOWN_AUTHORITY,
            failures.INVALID_HOSTNAME,
            None,
        ]

    run(work)


def test_the_second_address_of_a_helper_is_tried() -> None:
    async def resolve(host: str) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async def work() -> None:
        async with server(GOOD) as port:
            (control,) = await ask(client(f"http://helper.test:{port}/", resolve=resolve))
        assert (control.failure, control.address) == (None, "127.0.0.1")

    run(work)


@pytest.mark.parametrize("status", ["503 Busy", "429 Slow"])
def test_an_overloaded_helper_is_asked_a_second_time(status: str) -> None:
    async def work() -> None:
        async with server(in_turn(responding(status, b"", "Retry-After: 9999"), GOOD)) as port:
            (control,) = await ask(client(port))
        assert control.failure is None

    run(work)


def test_who_failed_lately_is_asked_last() -> None:
    seen: list[int] = []

    async def work() -> None:
        async with server(recording(hang_up, seen)) as bad, server(GOOD) as good:
            asking = client(bad, good)
            assert [control.failure for control in await ask(asking)] == [failures.EOF, None]
            assert [control.failure for control in await ask(asking)] == [None]
        assert len(seen) == 1

    run(work)


def test_a_failure_is_forgotten() -> None:
    async def work() -> None:
        async with server(in_turn(hang_up, GOOD)) as healed, server(GOOD) as good:
            asking = client(healed, good, patience=Patience(step_s=1, helper_s=1, avoid_s=0))
            await ask(asking)
            (control,) = await ask(asking)
        assert control.id == f"http://127.0.0.1:{healed}/"

    run(work)


def test_a_dead_helper_holds_up_only_the_first_question() -> None:
    async def work() -> None:
        async with server(silence) as port:  # speaks no TLS
            asking = client(f"https://127.0.0.1:{port}/", patience=Patience(step_s=0.6, hurried_s=0.1))
            took = []
            for _ in range(2):
                (control,) = await ask(asking)
                assert control.failure == failures.TIMEOUT
                took.append(control.runtime or 0)
        assert took[0] > 0.5 > took[1]

    run(work)


def test_two_helpers_are_to_answer() -> None:
    async def work() -> None:
        async with server(GOOD) as one, server(hang_up) as bad, server(GOOD) as two, server(GOOD) as spare:
            controls = await ask(client(one, bad, two, spare, agree=2))
        answered = [control.id for control in controls if control.failure is None]
        assert sorted(answered) == sorted(f"http://127.0.0.1:{port}/" for port in (one, two))
        assert len(controls) == 3

    run(work)


def test_two_wanted_and_one_configured() -> None:
    async def work() -> None:
        async with server(GOOD) as port:
            assert len(await ask(client(port, agree=2))) == 1
        assert await ask(client()) == ()

    run(work)


def test_all_helpers_together_have_a_budget() -> None:
    async def work() -> None:
        async with server(silence) as one, server(silence) as two, server(silence) as three:
            begun = asyncio.get_running_loop().time()
            controls = await ask(client(one, two, three, patience=Patience(step_s=1, helper_s=0.5, budget_s=0.8)))
            took_s = asyncio.get_running_loop().time() - begun
        assert [control.failure for control in controls] == [failures.TIMEOUT] * 2
        assert took_s < 1.5

    run(work)


def test_questions_to_one_helper_wait_for_each_other() -> None:
    now, most = 0, 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)  # as long as a measurement takes
        now -= 1
        await GOOD(reader, writer)

    async def work() -> None:
        async with server(counting) as port:
            asking = client(port, patience=Patience(at_once=3))
            controls = await asyncio.gather(*(ask(asking) for _ in range(12)))
        assert all(control.failure is None for (control,) in controls)
        assert most == 3

    run(work)


def test_what_is_asked() -> None:
    bodies: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        bodies.append(await reader.readexactly(length))
        assert head.startswith(b"POST /some/path HTTP/1.1\r\n")

    async def work() -> None:
        async with server(keep) as port:
            known = [(SITE, 443), ("2606:2800::1", 443)] + [(OTHER, n) for n in range(1, 50)]
            await ask(client(f"http://127.0.0.1:{port}/some/path"), addresses=known, attempts=10)
        said = json.loads(bodies[0])
        assert said["http_request"] == URL
        assert said["tcp_connect"][:2] == [f"{SITE}:443", "[2606:2800::1]:443"]
        assert len(said["tcp_connect"]) == 32
        assert set(said["http_request_headers"]) == {"Accept", "Accept-Language", "User-Agent"}
        assert said["x_attempts"] == 5

    run(work)


@settings(max_examples=60)
@given(st.binary(max_size=300) | st.builds(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body, st.binary(max_size=300)))
def test_no_bytes_of_a_helper_make_asking_raise(data: bytes) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)

    async def work() -> None:
        async with server(garbage) as port:
            (control,) = await ask(client(port, patience=Patience(step_s=1, helper_s=1, pause_s=(0.0, 0.0))))
        assert control.failure is not None

    run(work)


def test_nothing_is_left_behind_when_asking_is_cancelled() -> None:
    async def work() -> None:
        async with server(silence) as one, server(silence) as two:
            before = asyncio.all_tasks()
            asking = asyncio.create_task(ask(client(one, two, agree=2)))
            await asyncio.sleep(0.1)
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled()
            ours = {task for task in asyncio.all_tasks() - before if "handle" not in repr(task.get_coro())}
            assert ours == set()

    run(work)


# --- our own helper, and a vantage as the control ---


@needs_namespaces
def test_our_own_helper_is_told_everything() -> None:
    async def work() -> None:
        async with site(net), serving(net.vantage) as port:
            asking = client(port)
            (control,) = await ask(asking, addresses=[(SITE, 443), (OTHER, 443)], hop=1, attempts=2)
        assert control.failure is None
        assert {(page.hop, page.attempt, page.status) for page in control.http} == {(1, 1, 200), (1, 2, 200)}
        assert control.http[0].simhash
        assert control.http[0].body_length == len(PAGE)
        assert {(one.address, one.failure) for one in control.tcp} == {(SITE, None), (OTHER, failures.REFUSED)}
        assert asking.seen_as == set()  # 127.0.0.1 is no public address

    with network() as net:
        run(work)


def test_the_public_address_that_a_helper_tells() -> None:
    def telling(you: str) -> Answer:
        observations: dict[str, Any] = {}
        said = json.loads(SAID) | {"x_almenara": {"version": 1, "observations": observations, "you": you}}
        return responding("200 OK", json.dumps(said).encode())

    async def work() -> None:
        for you, expected in (("198.41.0.77", {"198.41.0.77"}), (SITE, set()), ("10.0.0.1", set()), ("x", set())):
            async with server(telling(you)) as port:
                asking = client(port)
                await ask(asking)
                assert asking.seen_as == expected

    run(work)


@needs_namespaces
def test_a_vantage_as_the_control() -> None:
    async def work() -> None:
        used = tools()
        async with site(net), server(hang_up) as bad:
            vantage = VantageControl(
                net.vantage, functools.partial(observe, vantage=net.vantage, tools=used), used.trust
            )
            controls = await ask(Controls([client(bad), vantage]), hop=1, attempts=2, addresses=[(OTHER, 443)])
        failed, control = controls
        assert failed.failure == failures.EOF
        assert (control.kind, control.id, control.failure) == ("vantage", "helper", None)
        assert {(page.hop, page.attempt, page.status) for page in control.http} == {(1, 1, 200), (1, 2, 200)}
        assert (OTHER, failures.REFUSED) in {(one.address, one.failure) for one in control.tcp}

    with network() as net:
        run(work)
