"""A uvicorn server that can stand on the open internet: every connection has a place, and every request a deadline.

uvicorn alone holds a connection whose header trickles in for ever, gives a TLS handshake a minute, and counts neither.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.control.quota import client_of, plain

LARGEST_HEADER = 16 * 1024
_ACCEPT_PAUSE_S = 0.1  # after accepting failed for want of file descriptors
_TLS_GOODBYE_S = 2.0


class Door(Struct, frozen=True, kw_only=True):
    """What a connection may take. receive_s: from its opening (TLS included) to the complete request; answer_s: from
    there until the answer is read. per_client: connections of one client, except for `proxies`, who bring many."""

    connections: int = 256
    per_client: int = 32
    receive_s: float = 10.0
    answer_s: float = 90.0
    stop_s: float = 5.0
    proxies: tuple[str, ...] = ()


class _Connection(H11Protocol):
    def __init__(self, door: Door, deadline: float, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.gone = asyncio.Event()
        self._door = door
        self._timer = self.loop.call_at(deadline, self._abort)
        self._answering = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)
        self.gone.set()

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.more_body and not self._answering:
            self._answering = True
            self._timer.cancel()
            self._timer = self.loop.call_later(self._door.answer_s, self._abort)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Server(uvicorn.Server):
    """Serves `config` on an open listener until a signal. on_start, on_stop: called when the door opens and closes."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        door: Door,
        *,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._door = door
        self._on_start = on_start
        self._on_stop = on_stop
        self._places = asyncio.Semaphore(door.connections)
        self._clients: Counter[str] = Counter()
        self._guests: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the door."""
        await self.lifespan.startup()
        self.servers = []
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        self.started = True
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the door; who is inside gets an answer."""
        self._accepting.cancel()
        await asyncio.wait({self._accepting})
        self._listener.close()
        self._on_stop()
        await super().shutdown()
        for guest in self._guests:
            guest.cancel()
        if self._guests:
            await asyncio.wait(self._guests)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal ends the work, and is not raised again when it has ended."""
        self.should_exit = True

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                accepted, (address, *_) = await loop.sock_accept(self._listener)
            except OSError:
                self._places.release()
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            except asyncio.CancelledError:
                self._places.release()
                raise
            guest = asyncio.create_task(self._welcome(accepted, address))
            self._guests.add(guest)
            guest.add_done_callback(self._guests.discard)

    async def _welcome(self, accepted: socket.socket, address: str) -> None:
        client = client_of(address)
        self._clients[client] += 1
        try:
            if self._clients[client] <= self._door.per_client or plain(address) in self._door.proxies:
                await self._serve_connection(accepted)
        finally:
            accepted.close()
            self._places.release()
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _serve_connection(self, accepted: socket.socket) -> None:
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        connection = _Connection(
            self._door,
            loop.time() + self._door.receive_s,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        waits = {"ssl_handshake_timeout": self._door.receive_s, "ssl_shutdown_timeout": _TLS_GOODBYE_S} if tls else {}
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: connection, accepted, ssl=tls, **waits)
        except OSError:
            return  # no TLS handshake worth the name
        try:
            await connection.gone.wait()
        finally:
            if not connection.gone.is_set():  # Python 3.11.2 raises when a TLS transport that has ended is aborted
                transport.abort()


def configured(app: Any, *, door: Door, certificate: str | None = None, key: str | None = None) -> uvicorn.Config:
    """uvicorn as the door needs it: no keep-alive, no log of its own, forwarded addresses only from known proxies."""
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        headers=[("connection", "close")],
        proxy_headers=bool(door.proxies),
        forwarded_allow_ips=[*door.proxies, *(f"::ffff:{proxy}" for proxy in door.proxies if ":" not in proxy)],
        timeout_graceful_shutdown=max(1, round(door.stop_s)),
        h11_max_incomplete_event_size=LARGEST_HEADER,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
