"""`/live`: tells open pages that there is something new, by server-sent events. They then fetch themselves again.

What is sent says nothing but that: so there is one way in which a page comes about, and nothing to keep in step with it.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from monitor.control.quota import client_of
from monitor.store import StoreError
from monitor.web.archive import Busy
from monitor.web.pages.rendering import Pages

MOST_LISTENERS = 24  # at once; the others' pages stay as they are until they are loaded again
MOST_OF_ONE = 4  # of these, so that nobody takes them all
LOOK_S = 3.0  # between two looks at the store, however many listen
HEARTBEAT_S = 15.0
# A connection lasts no longer (the server ends what takes a minute or two); the browser comes back by itself.
LISTEN_S = 50.0
COME_BACK_MS = 3000


class News:
    """Looks at the store while somebody listens. state: another one when something visible has changed; ended: no more."""

    def __init__(self, pages: Pages) -> None:
        self._clients: Counter[str] = Counter()
        self.state = ""
        self.ended = False
        self._pages = pages
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    def take(self, client: str) -> bool:
        """A place to listen, where there is one. At once: who is counted when the first byte goes is counted too late."""
        if self._clients.total() >= MOST_LISTENERS or self._clients.get(client, 0) >= MOST_OF_ONE:
            return False
        self._clients[client] += 1
        return True

    def give_back(self, client: str) -> None:
        """Of one who has gone."""
        self._clients[client] -= 1
        self._clients += Counter()

    async def wait(self, known: str, seconds: float) -> str:
        """The state when it is another than that, or after so many seconds."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        async with self._changed:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(lambda: self.ended or self.state not in ("", known))
            except TimeoutError:
                pass
        return self.state

    def end(self) -> None:
        """The service stops: nobody is kept waiting."""
        self.ended = True
        self._ending = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _look(self) -> None:
        while self._clients and not self.ended:
            try:
                whole = await self._pages.overview.whole()
                told = await asyncio.to_thread(_fingerprint, whole.latest, whole.active)
            except (StoreError, Busy):
                told = self.state
            if told != self.state:
                self.state = told
                await self._wake()
            await asyncio.sleep(LOOK_S)


def _fingerprint(*seen: object) -> str:
    return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:16]


class _Listening(StreamingResponse):
    """Gives the place back, also where nothing was sent."""

    def __init__(self, news: News, client: str, told: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(told, media_type="text/event-stream", headers=headers)
        self._news, self._client = news, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._news.give_back(self._client)


def live(news: News) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint."""

    async def answer(request: Request) -> Response:
        client = client_of(request.client.host if request.client else "")
        if not news.take(client):
            return Response(status_code=503, headers={"Retry-After": "60", "Cache-Control": "no-store"})
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        known = request.headers.get("last-event-id", "")[:16]
        return _Listening(news, client, _told(news, known), headers)

    return answer


async def _told(news: News, known: str) -> AsyncIterator[bytes]:
    """One event for each change; a comment now and then, so that whoever is in between keeps the connection."""
    yield f"retry: {COME_BACK_MS}\n\n".encode()
    end = asyncio.get_running_loop().time() + LISTEN_S
    while not news.ended and (left := end - asyncio.get_running_loop().time()) > 0:
        state = await news.wait(known, min(HEARTBEAT_S, left))
        if state == known or not state:
            yield b":\n\n"
        else:
            first, known = not known, state
            yield f"id: {state}\nevent: {'state' if first else 'news'}\ndata: {state}\n\n".encode()
