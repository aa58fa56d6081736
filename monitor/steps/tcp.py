"""The tcp step: one connection attempt to one address."""

import asyncio
import socket
from collections.abc import Sequence

from monitor.failures import failure_string
from monitor.models import Tcp
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream
from monitor.vantage import Vantage


async def connect(
    vantage: Vantage, address: str, port: int, *, occasion: Occasion, sources: Sequence[str], timeout_s: float
) -> tuple[Tcp, Stream | None]:
    """Connects to a numeric address; the stream is None where it failed."""
    started = occasion.elapsed()
    stream: Stream | None = None
    failure: str | None = None
    try:
        stream = Stream(vantage.open_socket(6 if ":" in address else 4, socket.SOCK_STREAM), address, port)
        async with asyncio.timeout(timeout_s):
            await stream.connect()
    except (OSError, ValueError) as error:
        failure = failure_string(error)
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
