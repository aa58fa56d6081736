"""The tcp step: one connection attempt to one address."""

import asyncio
import socket
from collections.abc import Sequence

from monitor.failures import PROXY_SILENT, failure_string
from monitor.models import Tcp
from monitor.steps.occasion import Occasion
from monitor.steps.proxies import ProxyWire
from monitor.steps.stream import SocketWire, Stream, Wire
from monitor.vantage import Vantage


async def connect(
    vantage: Vantage, address: str, port: int, *, occasion: Occasion, sources: Sequence[str], timeout_s: float
) -> tuple[Tcp, Stream | None]:
    """Connects to a numeric address; the stream is None where it failed."""
    started = occasion.elapsed()
    stream: Stream | None = None
    failure: str | None = None
    try:
        stream = stream_to(vantage, address, port)
        async with asyncio.timeout(timeout_s):
            await stream.connect()
    except (OSError, ValueError) as error:
        failure = connecting_failure(vantage, error)
    observation = Tcp(
        hop=occasion.hop,
        attempt=occasion.attempt,
        purpose=occasion.purpose,
        started=started,
        duration=round(occasion.elapsed() - started, 6),
        failure=failure,
        address=address,
        port=port,
        sources=tuple(sources),
        local_port=None if stream is None else stream.local_port,
    )
    return observation, None if failure else stream


def stream_to(vantage: Vantage, address: str, port: int) -> Stream:
    """A stream to a numeric address, not yet connected. Raises OSError, ValueError."""
    wire: Wire
    if vantage.proxy is not None:
        wire = ProxyWire(vantage.proxy, vantage.traffic)
    else:
        wire = SocketWire(vantage.open_socket(6 if ":" in address else 4, socket.SOCK_STREAM), vantage.traffic)
    return Stream(wire, address, port)


def connecting_failure(vantage: Vantage, error: Exception) -> str:
    """Why there is no connection. A proxy that does not answer says nothing about whom it was to connect to."""
    if vantage.proxy is not None and isinstance(error, TimeoutError) and error.errno is None:
        return PROXY_SILENT
    return failure_string(error)
