"""HTTP/2 on an open stream, by h2."""

import contextlib
import struct
import zlib
from collections.abc import Iterable, Sequence

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack.exceptions
import hyperframe.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from monitor.failures import HTTP_PROTOCOL
from monitor.steps.messages import Request, Response
from monitor.steps.stream import Stream

MAX_HEADER_LIST_BYTES = 64 * 1024
# Large enough for a capped page to come at the line's speed, not at one window a round trip.
WINDOW_BYTES = 1024 * 1024

# More than a header block in as many frames as h2 takes, and less than what would hurt.
MAX_SILENT_BYTES = 256 * 1024
_FRAME_HEADER_BYTES = 9
_FRAME_TYPE = 3
_SETTINGS = 4  # what a server must send first (RFC 9113, 3.4)

# h2 lets some of what its own libraries raise through.
_NOT_HTTP2 = (
    h2.exceptions.H2Error,
    hpack.exceptions.HPACKError,
    hyperframe.exceptions.HyperframeError,
    ValueError,
    IndexError,
    KeyError,
    struct.error,
)
# Meaningless or forbidden in HTTP/2 (RFC 9113, 8.2.2).
_CONNECTION_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "host"})


class NotHttp2(Exception):
    """Bytes that break the protocol."""


class Client:
    """The protocol of one connection, as a client: bytes in, events out."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config=config)
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            },
        )
        self._start = b""
        self._silent_bytes = 0
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW_BYTES)

    def ask(self, request: Request) -> int:
        """Queues a request's head; its stream. Raises NotHttp2 where the peer allows no more."""
        headers = [
            (":method", request.method),
            (":scheme", request.scheme),
            (":authority", request.authority),
            (":path", request.target),
        ]
        ordinary = ((name.lower(), value) for name, value in request.headers)
        headers += [(name, value) for name, value in ordinary if name not in _CONNECTION_HEADERS]
        if request.body:
            headers.append(("content-length", str(len(request.body))))
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, headers, end_stream=not request.body)
        except _NOT_HTTP2 as error:
            raise NotHttp2 from error
        return stream_id

    def push(self, stream_id: int, body: bytes) -> bytes:
        """Queues as much of the request's body as the peer lets us send now; the rest."""
        try:
            while body:
                room = self._h2.local_flow_control_window(stream_id)
                size = min(len(body), room, self._h2.max_outbound_frame_size)
                if size <= 0:
                    break
                self._h2.send_data(stream_id, body[:size], end_stream=size == len(body))
                body = body[size:]
        except _NOT_HTTP2 as error:
            raise NotHttp2 from error
        return body

    def receive(self, data: bytes) -> Sequence[h2.events.Event]:
        """What these bytes say; data is acknowledged at once. Raises NotHttp2."""
        self._check(data)
        try:
            events = self._h2.receive_data(data)
            for event in events:
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        except _NOT_HTTP2 as error:
            raise NotHttp2 from error
        self._silent_bytes = 0 if events else self._silent_bytes
        return events

    def _check(self, data: bytes) -> None:
        """h2 waits for a frame of up to 16 MB to be complete before it says that it is too long, or no frame at all."""
        self._start += data[: _FRAME_HEADER_BYTES - len(self._start)]
        self._silent_bytes += len(data)
        begun = len(self._start) > _FRAME_TYPE
        if (begun and self._start[_FRAME_TYPE] != _SETTINGS) or self._silent_bytes > MAX_SILENT_BYTES:
            raise NotHttp2

    def forget(self, stream_id: int) -> None:
        """Queues the end of a stream that is still open: nobody waits for it any more."""
        with contextlib.suppress(*_NOT_HTTP2):
            self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)

    def pending(self) -> bytes:
        """What is to be sent."""
        return self._h2.data_to_send()


async def converse(stream: Stream, request: Request, response: Response) -> None:
    """Sends the request and fills the response until it ends. Raises OSError, EOFError, NotHttp2."""
    client = Client()
    stream_id = client.ask(request)
    body = client.push(stream_id, request.body)
    await stream.send(client.pending())
    response.sent()
    done = False
    while not done:
        data = await stream.receive()
        if not data:
            raise EOFError
        done = _take(client.receive(data), response, stream.received_at)
        if body and not done:
            body = client.push(stream_id, body)
        pending = client.pending()
        if pending and not done:
            await stream.send(pending)


def _take(events: Iterable[h2.events.Event], response: Response, moment: float | None) -> bool:
    """Adds what came; True when that was all."""
    for event in events:
        if isinstance(event, h2.events.ResponseReceived):
            response.arrived(moment)
            response.begin(status_of(event.headers or ()), event.headers or ())
        elif isinstance(event, h2.events.DataReceived):
            response.arrived(moment)
            feed(response, event.data or b"")
        elif isinstance(event, h2.events.StreamEnded):
            response.complete = not response.failure and not response.body.truncated
            return True
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            response.failure = response.failure or HTTP_PROTOCOL
        if response.failure or response.body.truncated:
            return True
    return False


def feed(response: Response, data: bytes) -> None:
    """Adds to the body."""
    try:
        response.body.feed(data)
    except zlib.error:
        response.failure = HTTP_PROTOCOL


def status_of(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The `:status` of a response. Raises NotHttp2."""
    text = next((bytes(value) for name, value in headers if bytes(name) == b":status"), b"")
    if len(text) != 3 or not text.isdigit():
        raise NotHttp2
    return int(text)
