"""`/probe?target=URL&vantage=NAME`: blackbox_exporter's multi-target contract, told by a real measurement.

Whoever may ask here makes this machine connect to a site, in the sight of its ISP. So only what is configured is
measured, unless the configuration says otherwise, and everything about asking is bounded.
"""

import asyncio
import ipaddress
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote_plus, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.addresses import is_public
from monitor.asked import Busy
from monitor.config import MeasureConfig, WebConfig
from monitor.config_values import shown, web_url
from monitor.control.quota import Quota, client_of
from monitor.models import Measurement
from monitor.urls import DEFAULT_PORTS, target
from monitor.web import guard
from monitor.web.probe_log import debug_text
from monitor.web.probe_metrics import Probed, ended_ago, exposition, samples

TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"
TIMEOUT_OFFSET_S = 0.5  # for the network, as blackbox_exporter
DEFAULT_TIMEOUT_S = 120.0  # where the header is missing, as there
PER_MINUTE = 600  # requests of one client
GONE = 499  # nobody is there to read it
_SAFE = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Probing(Protocol):
    """The service, as a probe sees it."""

    @property
    def web(self) -> WebConfig: ...

    @property
    def measuring(self) -> MeasureConfig: ...

    def vantages(self) -> tuple[str, ...]: ...

    def watches(self, url: str) -> bool:
        """Is it one of the sites that are measured regularly?"""

    async def measured(self, url: str, vantage: str, client: str) -> Measurement:
        """How a site is on a vantage, measured now or shared with whoever measures it now or just has; Busy."""


class Refusal(Exception):
    """Why nothing is measured, in one line for the client."""

    def __init__(self, status: int, line: str, retry_after_s: float | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.retry_after_s = status, line, retry_after_s


def probing(service: Probing) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint."""
    quota = Quota(PER_MINUTE)

    async def probe(request: Request) -> Response:
        try:
            return await _answer(service, request, quota)
        except Refusal as refusal:
            retry = {} if refusal.retry_after_s is None else {"retry-after": str(math.ceil(refusal.retry_after_s))}
            return PlainTextResponse(refusal.line + "\n", status_code=refusal.status, headers=_SAFE | retry)

    return probe


async def _answer(service: Probing, request: Request, quota: Quota) -> Response:
    asked, since = datetime.now(UTC), asyncio.get_running_loop().time()
    _allow(request, service.web, stray=False)
    client = client_of(request.client.host if request.client else "")
    wait_s = quota.wait_s(client, since)
    if wait_s:
        raise Refusal(429, "Too many requests from your address: ask later", wait_s)
    timeout_s = _timeout_s(request.headers.get(TIMEOUT_HEADER))
    text, vantage = _first(request, "target"), _vantage(request, service.vantages())
    url = _url(service, request, text)
    try:
        measurement = await _within(timeout_s, request, service.measured(url, vantage, client))
    except Busy as busy:
        raise Refusal(503, f"{str(busy)[:1].upper()}{str(busy)[1:]}", busy.retry_after_s) from None
    probed = Probed(
        vantage=vantage, timeout_s=timeout_s, waited_s=asyncio.get_running_loop().time() - since,
        measurement=measurement, age_s=ended_ago(measurement, datetime.now(UTC)) if measurement else 0.0,
    )  # fmt: skip
    if _first(request, "debug") == "true":
        return PlainTextResponse(debug_text(text, probed, service.measuring, asked), headers=_SAFE)
    content, media_type = exposition(samples(probed), request.headers.get("accept", ""))
    return Response(content, headers=_SAFE | {"content-type": media_type})


def _allow(request: Request, web: WebConfig, *, stray: bool) -> None:
    refusal = guard.measuring(request, web, stray=stray)
    if refusal:
        raise Refusal(403, refusal)


def _timeout_s(header: str | None) -> float:
    """How long the answer may take. An answer takes at most as long as without the header."""
    try:
        given = float(header or 0)
    except ValueError:
        given = math.nan
    if math.isnan(given):
        raise Refusal(500, "Failed to parse timeout from Prometheus header: not a number")
    return max(0.0, min(given or DEFAULT_TIMEOUT_S, DEFAULT_TIMEOUT_S) - TIMEOUT_OFFSET_S)


def _vantage(request: Request, names: tuple[str, ...]) -> str:
    """The one that is named, by `module` too, which other values of mean nothing here; else the first."""
    named, module = _first(request, "vantage"), _first(request, "module")
    if named and named not in names:
        raise Refusal(400, f"Unknown vantage {shown(named)}")
    if not names:
        raise Refusal(503, "There is no vantage")
    return named or (module if module in names else names[0])


def _url(service: Probing, request: Request, text: str) -> str:
    """The site that is meant: as configured, or another one where that is allowed."""
    if not text:
        raise Refusal(400, "Target parameter is missing")
    # blackbox_exporter takes a percent-encoding off once more: existing configurations may rely on it.
    for wording in dict.fromkeys((text, unquote_plus(text))):
        found = next((url for url in _meant(wording) if service.watches(url)), None)
        if found is not None:
            return found
    if not service.web.probe_any:
        raise Refusal(400, f"Unknown target {shown(text)}: not one of the configured sites (see web: probe_any)")
    _allow(request, service.web, stray=True)
    return _stray(text)


def _meant(text: str) -> Iterator[str]:
    """The configured URLs that a target may mean: without its scheme, with or without a slash at its end."""
    for whole in [text] if _has_scheme(text) else [f"http://{text}", f"https://{text}"]:
        try:
            url = web_url(whole)
        except ValueError:
            continue
        yield url
        parts = urlsplit(url)
        path = parts.path.removesuffix("/") if parts.path.endswith("/") else f"{parts.path}/"
        yield parts._replace(path=path).geturl()


def _stray(text: str) -> str:
    """The URL of a site that is not configured; only such as the whole world can visit."""
    try:
        url = web_url(text if _has_scheme(text) else f"http://{text}")
    except ValueError as exc:
        raise Refusal(400, f"Unusable target: {exc}") from None
    here = target(url)
    if here.port not in DEFAULT_PORTS.values():
        raise Refusal(400, f"Unusable target: port {here.port} is not a web site's")
    if not is_public(here.host) if _is_address(here.host) else guard.is_home_name(here.host):
        raise Refusal(400, "Unusable target: not on the public internet")
    return url


def _has_scheme(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _first(request: Request, name: str) -> str:
    """A parameter's first value, as blackbox_exporter takes it."""
    return next(iter(request.query_params.getlist(name)), "")


async def _within(limit_s: float, request: Request, work: Coroutine[Any, Any, Measurement]) -> Measurement | None:
    """The result; None after so long. Who asks and leaves is not waited for; measurements go on by themselves."""
    measuring, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    waited: set[asyncio.Future[Any]] = {measuring, leaving}
    try:
        await asyncio.wait(waited, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not measuring.done():
            raise Refusal(GONE, "You left")
        return measuring.result() if measuring.done() else None
    finally:
        for task in waited:
            task.cancel()
        await asyncio.wait(waited)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
