"""Asks the controls: test helpers, our own or OONI's, and vantages named as control.

A helper is asked over the vantage itself, with the same steps as a site. Whatever it does, it comes back as a Control:
with a failure where it could not be asked, never as an exception.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from monitor import __version__, failures
from monitor.addresses import is_public
from monitor.control import bounds, protocol
from monitor.control.endpoints import with_endpoints
from monitor.measure import Asker, local_addresses
from monitor.models import Control, Http, Observations
from monitor.steps import http, tcp, tls
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream
from monitor.urls import Target, target
from monitor.vantage import Vantage

Resolve = Callable[[str], Awaitable[Sequence[str]]]

MOST_ADDRESSES = 3  # of a helper, tried one after another
MOST_SEEN_AS = 64
JSON_ERROR = "json_parse_error"  # df-007
_OVERLOADED = frozenset({429, 503})
_SOURCES = ("control",)


class Patience(Struct, frozen=True, kw_only=True):
    """How long a control is waited for.

    step_s: connecting; hurried_s: connecting to a helper that failed lately; helper_s: one helper in all; budget_s: all
    helpers asked one after another; pause_s: before an overloaded helper is asked again, at least and at most; avoid_s:
    how long a helper that failed is asked last; at_once: questions to one helper (ours and OONI's refuse more than 25).
    """

    step_s: float = 10.0
    hurried_s: float = 3.0
    helper_s: float = 60.0
    budget_s: float = 90.0
    pause_s: tuple[float, float] = (1.0, 5.0)
    avoid_s: float = 60.0
    at_once: int = 16


class _Answer(Struct, frozen=True, kw_only=True):
    """What came of asking a helper once. address: where it was reached."""

    failure: str | None
    address: str | None = None
    page: Http | None = None
    body: bytes = b""


class ControlClient:
    """Asks test helpers. seen_as: the vantage's public addresses, as helpers of ours told it.

    helpers: URLs, asked in this order; agree: how many are to answer. resolve: the addresses of a helper's host.
    """

    def __init__(
        self,
        vantage: Vantage,
        helpers: Sequence[str],
        *,
        resolve: Resolve,
        trust: ssl.SSLContext,
        agree: int = 1,
        patience: Patience | None = None,
    ) -> None:
        self.seen_as: set[str] = set()
        self._vantage = vantage
        self._helpers = {url: target(url) for url in helpers}
        self._resolve = resolve
        self._trust = trust
        self._agree = agree
        self._patience = patience or Patience()
        self._failed: dict[str, float] = {}
        self._places = {url: asyncio.Semaphore(self._patience.at_once) for url in helpers}

    async def ask(
        self, url: str, *, addresses: Sequence[tuple[str, int]], hop: int, attempts: int
    ) -> tuple[Control, ...]:
        """What helpers see of the URL that the vantage met at `hop`: one Control from every helper that was asked."""
        here = target(url)
        request = protocol.Request(
            http_request=here.url,
            http_request_headers={name: (value,) for name, value in http.BROWSER if name in protocol.PASSED_HEADERS},
            tcp_connect=tuple(protocol.endpoint_text(*pair) for pair in addresses)[: protocol.MOST_ENDPOINTS],
            x_almenara=protocol.VERSION,
            x_attempts=max(1, min(attempts, protocol.MOST_ATTEMPTS)),
        )
        question = _Question(here=here, hop=hop, addresses=frozenset(address for address, _ in addresses))
        body = msgspec.json.encode(request)
        until = asyncio.get_running_loop().time() + self._patience.budget_s
        waiting = iter(self._order())

        async def until_one_answers() -> list[Control]:
            asked: list[Control] = []
            for helper in waiting:
                asked.append(await self._control(helper, question, body, until))
                if asked[-1].failure is None or asyncio.get_running_loop().time() >= until:
                    break
            return asked

        rounds = await asyncio.gather(*(until_one_answers() for _ in range(self._agree)))
        return tuple(control for asked in rounds for control in asked)

    def _order(self) -> list[str]:
        """As configured; who failed lately goes last."""
        return sorted(self._helpers, key=self._failed_lately)

    def _failed_lately(self, helper: str) -> bool:
        recent = asyncio.get_running_loop().time() - self._patience.avoid_s
        return self._failed.get(helper, recent) > recent

    async def _control(self, helper: str, question: "_Question", body: bytes, until: float) -> Control:
        loop = asyncio.get_running_loop()
        begun, started = loop.time(), _now()
        answer = _Answer(failure=failures.TIMEOUT)
        try:
            async with asyncio.timeout_at(until), self._places[helper]:
                # A dead helper must not hold up every site as long as the first one.
                step_s = self._patience.hurried_s if self._failed_lately(helper) else self._patience.step_s
                async with asyncio.timeout(self._patience.helper_s):
                    answer = await self._ask_patiently(helper, body, step_s)
        except TimeoutError:
            pass
        runtime = round(loop.time() - begun, 3)
        told = _understood(answer)
        if isinstance(told, str):
            self._failed[helper] = loop.time()
            return Control(
                kind="helper", id=helper, failure=told, started=started, runtime=runtime, address=answer.address
            )
        self._failed.pop(helper, None)
        self._note_address(told, question)
        return protocol.to_control(
            told,
            question.here,
            hop=question.hop,
            helper=helper,
            started=started,
            runtime=runtime,
            address=answer.address,
        )

    def _note_address(self, told: protocol.Response, question: "_Question") -> None:
        """What a helper calls us is scrubbed from what we keep: it must not be able to name the site's addresses."""
        shared = protocol.shared(told)
        if shared and shared.you and is_public(shared.you) and shared.you not in question.addresses:
            if len(self.seen_as) >= MOST_SEEN_AS:
                self.seen_as.clear()
            self.seen_as.add(shared.you)

    async def _ask_patiently(self, helper: str, body: bytes, step_s: float) -> _Answer:
        """Once, and a second time when it is overloaded."""
        answer = await self._ask(self._helpers[helper], body, step_s)
        if answer.page is None or answer.page.status not in _OVERLOADED:
            return answer
        await asyncio.sleep(_pause_s(answer.page, *self._patience.pause_s))
        return await self._ask(self._helpers[helper], body, step_s)

    async def _ask(self, helper: Target, body: bytes, step_s: float) -> _Answer:
        addresses = [helper.host] if bounds.is_address(helper.host) else await self._resolved(helper.host)
        answer = _Answer(failure=failures.HELPER_UNRESOLVED)
        for address in addresses[:MOST_ADDRESSES]:
            stream, failure, spoken = await self._connect(helper, address, step_s)
            if stream is None:
                answer = _Answer(failure=failure, address=address)
                continue
            try:
                return await self._post(stream, helper, address, body, spoken)
            finally:
                stream.close()
        return answer

    async def _resolved(self, host: str) -> list[str]:
        try:
            return [address for address in await self._resolve(host) if bounds.is_address(address)]
        except OSError:
            return []

    async def _connect(self, helper: Target, address: str, step_s: float) -> tuple[Stream | None, str | None, str]:
        """The open stream, or why there is none; and the HTTP version spoken on it."""
        occasion = Occasion(since=asyncio.get_running_loop().time())
        connected, stream = await tcp.connect(
            self._vantage,
            address,
            helper.port,
            occasion=occasion,
            sources=_SOURCES,
            timeout_s=step_s,
        )
        if stream is None or helper.scheme == "http":
            return stream, connected.failure, "http/1.1"
        secure: Stream | None = None
        try:
            shaken, secure = await tls.handshake(
                stream,
                helper.host,
                self._trust,
                occasion=occasion,
                sources=_SOURCES,
                timeout_s=step_s,
            )
        finally:
            if secure is None:
                stream.close()
        return secure, shaken.failure, shaken.alpn or "http/1.1"

    async def _post(self, stream: Stream, helper: Target, address: str, body: bytes, spoken: str) -> _Answer:
        page, content = await http.exchange(
            stream,
            helper.url,
            occasion=Occasion(since=asyncio.get_running_loop().time()),
            sources=_SOURCES,
            timeout_s=self._patience.helper_s,
            method="POST",
            headers=_HEADERS,
            body=body,
            verified=helper.scheme == "https",
            cap=protocol.LARGEST_RESPONSE + 1,
            protocol=spoken,
            address=address,
            port=helper.port,
        )
        return _Answer(failure=page.failure, address=address, page=page, body=content)


class _Question(Struct, frozen=True, kw_only=True):
    """What is asked about: the URL, the hop at which the vantage met it, the addresses it knows."""

    here: Target
    hop: int
    addresses: frozenset[str]


_HEADERS = (
    ("User-Agent", f"almenara/{__version__}"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "application/json"),
)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _understood(answer: _Answer) -> protocol.Response | str:
    """The helper's response, or the failure."""
    if answer.failure is not None or answer.page is None:
        return answer.failure or failures.EOF
    if answer.page.status != 200:
        return f"http_status_{answer.page.status}"
    if answer.page.truncated or len(answer.body) > protocol.LARGEST_RESPONSE:
        return "response_too_large"
    try:
        response = msgspec.json.decode(answer.body, type=protocol.Response)
    except (ValueError, RecursionError):
        return JSON_ERROR
    # Some other server's JSON: a control that says nothing is none.
    return response if response.dns or response.tcp_connect or response.http_request else JSON_ERROR


def _pause_s(page: Http, least: float, most: float) -> float:
    """As long as the helper asks for, within bounds; a little random, so that refused probes do not return together."""
    told = next((value for name, value in page.headers if name.lower() == "retry-after"), "")
    wanted = float(told) if told.isascii() and told.isdigit() and len(told) < 6 else least
    return max(least, min(most, wanted)) * random.uniform(1.0, 1.2)


class Observe(Protocol):
    """Measures a URL, every hop of it, in bounded time: `monitor.trail.observe` with its vantage and tools."""

    async def __call__(
        self, url: str, *, extra: Mapping[str, Sequence[str]] | None, attempts_each: int
    ) -> Observations: ...


class VantageControl:
    """A vantage named as the control. observe: measures on that vantage."""

    def __init__(self, vantage: Vantage, observe: Observe, trust: ssl.SSLContext) -> None:
        self.seen_as: set[str] = local_addresses(vantage)  # nobody's either, though it is a control's
        self._vantage = vantage
        self._observe = observe
        self._trust = trust

    async def ask(
        self, url: str, *, addresses: Sequence[tuple[str, int]], hop: int, attempts: int
    ) -> tuple[Control, ...]:
        """What the vantage sees of the URL, with as many attempts at every address."""
        here, begun, started = target(url), asyncio.get_running_loop().time(), _now()
        known = tuple(address for address, port in addresses if port == here.port)
        seen = await self._observe(here.url, extra={here.host: known}, attempts_each=attempts)
        seen = await with_endpoints(
            seen,
            here,
            [pair for pair in addresses if is_public(pair[0]) and (here.scheme == "http" or pair[1] == here.port)],
            vantage=self._vantage,
            trust=self._trust,
            attempts=attempts,
        )
        moved = protocol.at_hop(seen, hop)
        runtime = round(asyncio.get_running_loop().time() - begun, 3)
        return (
            Control(
                kind="vantage",
                id=self._vantage.name,
                failure=None,
                asn=self._vantage.network.asn,
                country=self._vantage.network.country,
                started=started,
                runtime=runtime,
                hops=moved.hops,
                dns=moved.dns,
                tcp=moved.tcp,
                tls=moved.tls,
                http=moved.http,
            ),
        )


class Controls:
    """Several controls, asked at the same time."""

    def __init__(self, askers: Iterable[Asker]) -> None:
        self.seen_as: set[str] = set()
        self._askers = tuple(askers)

    async def ask(
        self, url: str, *, addresses: Sequence[tuple[str, int]], hop: int, attempts: int
    ) -> tuple[Control, ...]:
        """The Controls of all of them."""
        asked = (asker.ask(url, addresses=addresses, hop=hop, attempts=attempts) for asker in self._askers)
        controls = await asyncio.gather(*asked)
        self.seen_as = set().union(*(asker.seen_as for asker in self._askers))
        return tuple(control for each in controls for control in each)
