"""HTTP/2 on the server's side, as far as a browser and a DoH client need it."""

from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from monitor.lab.content import Reply

_LONGEST_BODY = 65536  # bytes of a request

Ask = Callable[[str, str, str, dict[str, str], bytes, Callable[[Reply], None]], None]


class Http2:
    """One connection. ask: method, host, path, headers, body, and whom to give the reply to."""

    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None], ask: Ask) -> None:
        self._write, self._close, self._ask = write, close, ask
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._connection.initiate_connection()
        self._requests: dict[int, tuple[dict[str, str], bytes]] = {}
        self._waiting: dict[int, bytes] = {}
        self._flush()

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            for event in self._connection.receive_data(data):
                self._handle(event)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._close()
            return
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = {_text(name).lower(): _text(value) for name, value in event.headers or ()}
            self._requests[event.stream_id] = (headers, b"")
        elif isinstance(event, h2.events.DataReceived):
            headers, body = self._requests[event.stream_id]
            self._requests[event.stream_id] = (headers, (body + (event.data or b""))[:_LONGEST_BODY])
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in [event.stream_id] if event.stream_id else list(self._waiting):
                self._send(stream)
        elif isinstance(event, h2.events.StreamReset):
            self._waiting.pop(event.stream_id, None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._close()

    def _answer(self, stream: int) -> None:
        headers, body = self._requests.pop(stream)

        def done(reply: Reply) -> None:
            fields = [(":status", str(reply.status)), *((name.lower(), value) for name, value in reply.headers)]
            if not reply.chunked:
                fields.append(("content-length", str(len(reply.body))))
            try:
                self._connection.send_headers(stream, fields)
                self._waiting[stream] = reply.body
                self._send(stream)
            except h2.exceptions.ProtocolError:
                return  # the stream was reset while the reply was being made
            self._flush()

        host = headers.get(":authority", "")
        self._ask(headers.get(":method", "GET"), host, headers.get(":path", "/"), headers, body, done)

    def _send(self, stream: int) -> None:
        """As much as the client's windows allow."""
        body = self._waiting.get(stream)
        while body is not None:
            room = min(
                self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size, len(body)
            )
            if room <= 0 and body:
                return
            self._connection.send_data(stream, body[:room], end_stream=room == len(body))
            body = self._waiting[stream] = body[room:]
            if not body:
                del self._waiting[stream]
                return

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._write(data)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
