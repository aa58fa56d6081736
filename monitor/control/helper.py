"""A test helper: makes the control measurement for probes elsewhere. Stands on the open internet and trusts nobody.

It must never become a port scanner or a way into private networks: only http and https, only agreed ports, only public
addresses, checked again on whatever is connected to. Everything it does for a stranger is bounded.
"""

import asyncio
import contextlib
import functools
import logging
import math
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import prometheus_client
from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from monitor import __version__
from monitor.addresses import is_public
from monitor.assemble import Lookup
from monitor.config import Config
from monitor.control import bounds, door, protocol
from monitor.control.answer import to_response
from monitor.control.endpoints import with_endpoints
from monitor.control.quota import Quota, client_of, plain
from monitor.models import Network, Observations
from monitor.steps import http, tls
from monitor.steps.doh import DohClient
from monitor.trail import Tools, observe
from monitor.urls import BadUrl, Target, target
from monitor.vantage import Vantage, resolver, system_resolvers

BUSY_RETRY_S = 2
GONE = 499  # nginx's: nobody is there to read it
MEASURING_SHARE = 0.75  # of the deadline: the rest is for the endpoints that the measurement does not visit

_log = logging.getLogger("almenara.helper")


class Observe(Protocol):
    """Measures a URL, every hop of it, in bounded time: `monitor.trail.observe` with its vantage, tools and ports."""

    async def __call__(
        self,
        url: str,
        *,
        extra: Mapping[str, Sequence[str]] | None,
        attempts_each: int,
        headers: tuple[tuple[str, str], ...],
    ) -> Observations: ...


class Limits(Struct, frozen=True, kw_only=True):
    """What a helper does for strangers. ports: where it may connect; per_minute: requests of one client."""

    ports: frozenset[int] = frozenset({80, 443})
    max_concurrency: int = 25
    per_minute: int = 600
    deadline_s: float = 60.0


class Refusal(Exception):
    """Why a request is not served, in one line for the peer. reason: one word, for the metrics."""

    def __init__(self, status: int, reason: str, line: str, retry_after_s: float | None = None) -> None:
        super().__init__(line)
        self.status, self.reason, self.line, self.retry_after_s = status, reason, line, retry_after_s


class Helper:
    """The helper as an ASGI application, `app`. vantage, trust: for the endpoints that `observe` did not visit."""

    def __init__(self, observe: Observe, vantage: Vantage, trust: ssl.SSLContext, limits: Limits | None = None) -> None:
        self._observe = observe
        self._vantage = vantage
        self._trust = trust
        self._limits = limits or Limits()
        self._quota = Quota(self._limits.per_minute)
        self._in_flight = 0
        self._stopping = asyncio.Event()
        self._metrics = _Metrics()
        self.app = Starlette(
            routes=[
                Route("/", self._post, methods=["POST"]),
                Route("/", _health, methods=["GET"]),
                Route("/metrics", self._metrics.page, methods=["GET"]),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=1024)],
        )

    def stop(self) -> None:
        """Ends the measurements under way: their probes are told to ask elsewhere."""
        self._stopping.set()

    async def _post(self, request: HttpRequest) -> HttpResponse:
        started = asyncio.get_running_loop().time()
        result, status = "error", 500
        try:
            content = await self._answer(request)
            result, status = "measured", 200
            return HttpResponse(content, media_type="application/json")
        except Refusal as refusal:
            result, status = refusal.reason, refusal.status
            return _refused(refusal)
        except ClientDisconnect:
            result, status = "gone", GONE
            return HttpResponse(status_code=GONE)
        finally:
            took_s = asyncio.get_running_loop().time() - started
            self._metrics.count(result, took_s)
            _log.info("POST %d %s %.2f s", status, result, took_s)

    async def _answer(self, request: HttpRequest) -> bytes:
        address = plain(request.client.host) if request.client else ""
        wait_s = self._quota.wait_s(client_of(address), asyncio.get_running_loop().time())
        if wait_s:
            raise Refusal(429, "rate", "too many requests from your address: ask later", wait_s)
        asked = _decoded(await _body(request))
        here = self._target(asked.http_request)
        if self._stopping.is_set() or self._in_flight >= self._limits.max_concurrency:
            raise Refusal(503, "busy", "too many measurements under way: ask later", BUSY_RETRY_S)
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            seen = await self._unless_over(request, self._measured(asked, here))
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
        you = address if bounds.is_address(address) else None
        return msgspec.json.encode(to_response(seen, asked, here, you=you))

    def _target(self, url: str) -> Target:
        try:
            here = target(url)
        except BadUrl as exc:
            raise Refusal(400, "url", str(exc)) from exc
        if here.port not in self._limits.ports:
            raise Refusal(400, "port", f"this helper does not connect to port {here.port}")
        if bounds.is_address(here.host) and not is_public(here.host):
            raise Refusal(400, "address", "this helper does not connect to addresses that are not public")
        return here

    async def _unless_over(self, request: HttpRequest, work: Awaitable[Observations]) -> Observations:
        """The work's result; a Refusal when the deadline passes, the helper stops or the probe goes away before."""
        measuring = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        leaving = asyncio.ensure_future(_left(request))
        waited = {measuring, stopping, leaving}
        try:
            await asyncio.wait(waited, timeout=self._limits.deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if measuring.done():
                return measuring.result()
            if leaving.done():
                raise Refusal(GONE, "gone", "you left")
            if stopping.done():
                raise Refusal(503, "stopping", "this helper is stopping: ask another", BUSY_RETRY_S)
            raise Refusal(504, "timeout", f"no result within {self._limits.deadline_s:g} s")
        finally:
            for task in waited:
                task.cancel()
            await asyncio.wait(waited)

    async def _measured(self, asked: protocol.Request, here: Target) -> Observations:
        seen = await self._observe(
            here.url, extra=_addresses(asked, here), attempts_each=asked.x_attempts, headers=_headers(asked)
        )
        return await with_endpoints(
            seen,
            here,
            self._endpoints(asked, here),
            vantage=self._vantage,
            trust=self._trust,
            attempts=asked.x_attempts,
        )

    def _endpoints(self, asked: protocol.Request, here: Target) -> list[tuple[str, int]]:
        """The endpoints asked for that we may connect to; of an https URL, as with OONI's helper, those of its port."""
        wanted = (pair for pair in asked.endpoints() if here.scheme == "http" or pair[1] == here.port)
        return [(address, port) for address, port in wanted if port in self._limits.ports and is_public(address)]


class _Metrics:
    """Counted in a registry of its own. Nothing about who asked, or for what."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        named: Any = {"registry": self.registry, "namespace": "almenara", "subsystem": "helper"}
        self.requests = prometheus_client.Counter("requests", "Requests, by what became of them.", ["result"], **named)
        self.rejected = prometheus_client.Counter("rejected", "Requests not served, by reason.", ["reason"], **named)
        self.in_flight = prometheus_client.Gauge("requests_in_flight", "Measurements under way.", **named)
        self.duration = prometheus_client.Histogram(
            "request_duration_seconds", "From a request's header to its answer.", buckets=_BUCKETS_S, **named
        )

    def count(self, result: str, took_s: float) -> None:
        """One request has been answered."""
        served = result == "measured"
        self.requests.labels("measured" if served else "rejected").inc()
        if not served:
            self.rejected.labels(result).inc()
        self.duration.observe(took_s)

    async def page(self, request: HttpRequest) -> HttpResponse:
        """What Prometheus reads."""
        text = prometheus_client.generate_latest(self.registry)
        return HttpResponse(text, headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST})


_BUCKETS_S = (0.01, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


async def _health(request: HttpRequest) -> HttpResponse:
    return PlainTextResponse(f"almenara helper {__version__}: ready\n")


def _refused(refusal: Refusal) -> HttpResponse:
    headers = {} if refusal.retry_after_s is None else {"retry-after": str(math.ceil(refusal.retry_after_s))}
    return PlainTextResponse(f"{bounds.text(refusal.line, 300)}\n", status_code=refusal.status, headers=headers)


async def _left(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > protocol.LARGEST_REQUEST:
            raise Refusal(413, "too_large", f"a request has at most {protocol.LARGEST_REQUEST} bytes")
    return bytes(body)


def _decoded(body: bytes) -> protocol.Request:
    try:
        return msgspec.json.decode(body, type=protocol.Request)
    except RecursionError as exc:
        raise Refusal(400, "malformed", "not a request: nested too deeply") from exc
    except ValueError as exc:  # malformed JSON or UTF-8, or not of the protocol's shape
        raise Refusal(400, "malformed", f"not a request of the test-helper protocol: {exc}") from exc


def _addresses(asked: protocol.Request, here: Target) -> dict[str, tuple[str, ...]]:
    """host -> further addresses to visit."""
    return {
        here.host: tuple(address for address, port in asked.endpoints() if port == here.port and is_public(address))
    }


def _headers(asked: protocol.Request) -> tuple[tuple[str, str], ...]:
    """Our browser-like headers, with the three that pass as the probe sent them."""
    passed = {name.lower(): value for name, value in asked.headers()}
    return tuple((name, passed.get(name.lower(), value)) for name, value in http.BROWSER)


def listener(listen: str) -> socket.socket:
    """A listening socket for "HOST:PORT" or "[HOST]:PORT". Raises ValueError for other text, and OSError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not int(port[:6]) < 65536:
        raise ValueError(f"{listen!r}: expected HOST:PORT or [HOST]:PORT")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = found[0][0], found[0][4]
    dual = family == socket.AF_INET6 and address[0] == "::"
    return socket.create_server(address[:2], family=family, dualstack_ipv6=dual, backlog=128)


async def serve(
    helper: Helper,
    listening: socket.socket,
    *,
    at_the_door: door.Door | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or SIGINT, or until cancelled. ready: called when connections are accepted."""
    at_the_door = at_the_door or door.Door()
    config = door.configured(
        helper.app,
        door=at_the_door,
        certificate=str(certificate) if certificate else None,
        key=str(key) if key else None,
    )
    server = door.Server(config, listening, at_the_door, on_start=ready, on_stop=helper.stop)
    serving = asyncio.ensure_future(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


def run(
    config: Config,
    listen: str,
    *,
    limits: Limits | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    proxies: Sequence[str] = (),
) -> None:
    """Serves on this machine's own connection until a signal; one line per request on stderr. Names are looked up by
    the configuration's encrypted resolvers. proxies: addresses whose X-Forwarded-For is believed. Raises ValueError or
    OSError where it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    listening, entrance = listener(listen), door.Door(proxies=tuple(proxies))

    def ready() -> None:
        _log.info("helper listens on %s", protocol.endpoint_text(*listening.getsockname()[:2]))

    async def serving() -> None:
        async with _configured(config, limits or Limits()) as served:
            await serve(served, listening, at_the_door=entrance, certificate=certificate, key=key, ready=ready)

    asyncio.run(serving())


@contextlib.asynccontextmanager
async def _configured(config: Config, limits: Limits) -> AsyncIterator[Helper]:
    vantage, trust = Vantage("helper", Network(), ()), tls.client_context()
    bootstrap = Lookup(
        vantage=vantage, resolvers=(*system_resolvers(), *map(resolver, config.measure.public_resolvers))
    )
    doh = tuple(DohClient(vantage, url, trust=trust, bootstrap=bootstrap) for url in config.control.resolvers)
    settings = msgspec.structs.replace(
        config.measure, budget_s=min(config.measure.budget_s, limits.deadline_s * MEASURING_SHARE)
    )
    tools = Tools(settings=settings, trust=trust, doh=doh)
    try:
        yield Helper(
            functools.partial(observe, vantage=vantage, tools=tools, ports=limits.ports), vantage, trust, limits
        )
    finally:
        for client in doh:
            await client.aclose()
