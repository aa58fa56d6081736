"""Serves the web application beside the measuring, in the same loop; signals are the service's."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.applications import Starlette

from monitor import system_errors
from monitor.control import door
from monitor.control.helper import listener
from monitor.messages import Said
from monitor.web.probe import DEFAULT_TIMEOUT_S

CLOSE_S = 2.0
READ_S = 10.0  # for a client to read the answer


class PortTaken(Exception):
    """The address to listen on cannot be had. Its text is one line."""


class _Server(door.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The service's own handlers stay."""
        yield


def opened(listen: str) -> socket.socket:
    """The listening socket; PortTaken."""
    try:
        return listener(listen)
    except OSError as exc:
        problem = system_errors.problem(exc)
        raise PortTaken(
            Said("web.listen: cannot serve on {listen}: {problem}", listen=listen, problem=problem)
        ) from None


def _nothing() -> None:
    """Of an application that needs not know that it ends."""


@asynccontextmanager
async def serving(app: Starlette, listening: socket.socket) -> AsyncIterator[None]:
    """Serves while the context lasts."""
    proxies = getattr(app.state, "proxies", ())
    at_the_door = door.Door(connections=64, answer_s=DEFAULT_TIMEOUT_S + READ_S, stop_s=CLOSE_S, proxies=proxies)
    config = door.configured(app, door=at_the_door)
    started = asyncio.Event()
    server = _Server(
        config, listening, at_the_door, on_start=started.set, on_stop=getattr(app.state, "on_stop", _nothing)
    )
    task = asyncio.create_task(server.serve())
    try:
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        server.should_exit = True
        await task
