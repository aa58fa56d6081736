"""HTTP/1.1 on an open stream, by h11; and what is left when a middlebox sends what h11 rejects."""

import asyncio
import re
import zlib

import h11

from monitor.failures import EOF, HTTP_PROTOCOL, failure_string
from monitor.steps.messages import Request, Response
from monitor.steps.stream import Stream

MAX_HEAD_BYTES = 64 * 1024
# How long to wait for more of what is not HTTP and has no length. Who forges a page sends it at once.
QUIET_S = 1.0

_STATUS_LINE = re.compile(rb"\s{0,8}(?:HTTP/[\d.]{1,4}|ICY)[ \t]{1,8}(\d{3})(?!\d)")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BLANK = b"\r\n \t"


async def converse(stream: Stream, request: Request, response: Response) -> None:
    """Sends the request and fills the response until it ends. Raises OSError, EOFError."""
    reader = _Reader(request, response, stream)
    unsent: OSError | None = None
    try:
        await stream.send(reader.request())
    except OSError as error:
        # Who resets us may have answered first: what lies in the buffer is still to be read.
        unsent = error
    response.sent()
    while not reader.done:
        data = await _receive(stream, patient=not reader.lenient)
        if data:
            response.arrived(stream.received_at)
            reader.take(data)
        elif response.first_at is None:
            raise unsent or EOFError
        else:
            reader.end()
            if unsent is not None and response.failure == EOF:
                response.failure = failure_string(unsent)


async def _receive(stream: Stream, patient: bool) -> bytes:
    try:
        async with asyncio.timeout(None if patient else QUIET_S):
            return await stream.receive()
    except TimeoutError:
        if patient:  # ETIMEDOUT: the kernel's own patience is over
            raise
        return b""


class _Reader:
    """Reads one response: strictly, until that fails; then leniently, for the evidence."""

    def __init__(self, request: Request, response: Response, stream: Stream) -> None:
        self.done = False
        self.lenient = False
        self._request = request
        self._response = response
        self._stream = stream
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head = bytearray()

    def request(self) -> bytes:
        """The request's bytes. Raises ValueError where it cannot be written."""
        asked, body = self._request, self._request.body
        length = [("Content-Length", str(len(body)))] if body else []
        headers = [("Host", asked.authority), *asked.headers, *length]
        try:
            head = h11.Request(method=asked.method, target=asked.target, headers=headers)
        except h11.LocalProtocolError as error:
            raise ValueError("no such request") from error
        parts = [self._h11.send(head), self._h11.send(h11.Data(data=body)), self._h11.send(h11.EndOfMessage())]
        return b"".join(part for part in parts if part)

    def take(self, data: bytes) -> None:
        """The next bytes."""
        if self.lenient:
            self._feed(data)
            return
        if self._response.status is None:
            self._head += data
            if not _may_be_http(self._head):
                self._give_up()
                return
        try:
            self._h11.receive_data(data)
            self._read_events(at_end=False)
        except (h11.RemoteProtocolError, zlib.error):
            self._give_up()

    def end(self) -> None:
        """The peer's end."""
        self.done = True
        if self.lenient:
            return
        try:
            self._h11.receive_data(b"")
            self._read_events(at_end=True)
        except (h11.RemoteProtocolError, zlib.error):
            self._give_up()
            self._response.failure = EOF

    def _read_events(self, *, at_end: bool) -> None:
        response = self._response
        while not response.body.truncated:
            event = self._h11.next_event()
            if isinstance(event, h11.Response):
                response.begin(event.status_code, event.headers)
            elif isinstance(event, h11.Data):
                response.body.feed(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                # Without a length the end of the connection ends the page; under TLS many servers forget to say so.
                response.complete = not at_end or self._stream.ended_cleanly or response.body.finished
                break
            elif not isinstance(event, h11.InformationalResponse):
                return
        self.done = True

    def _feed(self, data: bytes) -> None:
        self._response.body.feed(data)
        self.done = self.done or self._response.body.truncated

    def _give_up(self) -> None:
        """Not HTTP as we know it. What can be told of the head is; the rest is body."""
        self._response.failure = HTTP_PROTOCOL
        if self._response.status is not None:
            self.done = True
            return
        self.lenient = True
        content = bytes(self._head)
        status = _STATUS_LINE.match(content)
        if status is not None:
            head, content = _split_head(content)
            self._response.begin(int(status[1]), _lenient_headers(head))
            self._response.body.encoded("")
        self._feed(content)


def _may_be_http(start: bytearray) -> bool:
    text = bytes(start[:64]).lstrip(_BLANK)[:5]
    return b"HTTP/".startswith(text)


def _split_head(content: bytes) -> tuple[bytes, bytes]:
    end = _HEAD_END.search(content, 0, MAX_HEAD_BYTES)
    return (content, b"") if end is None else (content[: end.start()], content[end.end() :])


def _lenient_headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = [line.partition(b":") for line in head.splitlines()[1:]]
    return [(name.strip(), value.strip()) for name, colon, value in lines if colon]
