"""/healthz and /-/reload: who may, who may not, and what they answer. Over real sockets."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from monitor.config import WebConfig
from monitor.web.app import Health, app
from monitor.web.server import PortTaken, opened, serving


class Watched:
    """A service of the test's own. problem: what is wrong with its configuration."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.web = WebConfig()
        self.status = "ok"
        self.reloads = 0

    def health(self) -> Health:
        return Health(
            status=self.status,
            problem=None,
            sites=3,
            waiting=1,
            vantages=2,
            absent=(),
            unsaved=0,
            last_measurement=None,
        )

    async def reload(self) -> str | None:
        self.reloads += 1
        return self.problem


def asked(
    ask: Callable[[httpx.AsyncClient], Any], watched: Watched | None = None, host: str = "127.0.0.1"
) -> httpx.Response:
    """The response to one request."""

    async def work() -> httpx.Response:
        listening = opened(f"{host}:0")
        port = listening.getsockname()[1]
        async with (
            serving(app(watched or Watched()), listening),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            return await ask(client)

    return asyncio.run(work())


def test_health_of_a_service_that_is_well_and_of_one_in_trouble():
    watched = Watched()
    response = asked(lambda client: client.get("/healthz"), watched)
    assert response.status_code == 200
    assert msgspec.json.decode(response.content, type=Health) == watched.health()
    watched.status = "store"
    assert asked(lambda client: client.get("/healthz"), watched).status_code == 503


def test_reload_says_when_it_is_done_and_what_is_wrong():
    watched = Watched()
    response = asked(lambda client: client.post("/-/reload"), watched)
    assert (response.status_code, response.text, watched.reloads) == (200, "reloaded\n", 1)
    watched.problem = "probes.yaml:3: sites: expected a list"
    response = asked(lambda client: client.post("/-/reload"), watched)
    assert (response.status_code, response.text) == (400, watched.problem + "\n")


def test_reading_is_not_reloading():
    watched = Watched()
    assert asked(lambda client: client.get("/-/reload"), watched).status_code == 405
    assert watched.reloads == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:9105"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"X-Real-IP": "203.0.113.7"},
    ],
)
def test_nobody_elses_page_or_proxy_may_reload(headers):
    watched = Watched()
    response = asked(lambda client: client.post("/-/reload", headers=headers), watched)
    assert response.status_code in (400, 403)
    assert response.text.count("\n") <= 1
    assert watched.reloads == 0


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_may_by_any_of_its_names(name):
    assert asked(lambda client: client.post("/-/reload", headers={"Host": f"{name}:9105"})).status_code == 200


def test_a_page_of_our_own_may():
    def ask(client: httpx.AsyncClient) -> Any:
        origin = str(client.base_url).rstrip("/")
        return client.post("/-/reload", headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"})

    assert asked(ask).status_code == 200


def test_other_machines_may_not():
    """The loopback stands in for them: the application is asked as the server would for a peer elsewhere."""

    async def work() -> int:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http", "method": "POST", "path": "/-/reload", "raw_path": b"/-/reload", "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:9105")], "client": ("192.0.2.7", 4000), "server": ("127.0.0.1", 9105),
            "scheme": "http", "http_version": "1.1", "root_path": "",
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(watched)(scope, receive, send)
        return int(sent[0]["status"])

    watched = Watched()
    assert asyncio.run(work()) == 403
    assert watched.reloads == 0


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^web.listen: cannot serve on 127.0.0.1:{port}: address already in use$"):
            opened(f"127.0.0.1:{port}")


def test_a_connection_that_says_nothing_does_not_keep_the_service_from_ending():
    async def work() -> None:
        listening = opened("127.0.0.1:0")
        async with serving(app(Watched()), listening):
            _, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
            writer.write(b"GET / HT")
            await writer.drain()
        writer.close()

    asyncio.run(asyncio.wait_for(work(), 8))
