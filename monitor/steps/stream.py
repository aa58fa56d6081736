"""An open connection that counts what passes, in the clear or under TLS."""

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol

from monitor.vantage import Traffic, sockaddr

RECEIVE_BYTES = 16384
# `sock_recv` does not suspend while bytes lie ready: a peer that floods us would stop every timeout from firing.
_RECEIVES_BETWEEN_PAUSES = 2
_ALERT_RECORD = 21
_RECORD_HEADER_BYTES = 5


class Wire(Protocol):
    """What carries a stream's bytes: a socket, or a proxy's tunnel. local_port: None where it has none. Errors are OSErrors."""

    @property
    def local_port(self) -> int | None: ...

    async def connect(self, address: str, port: int) -> None:
        """To a numeric address. Raises OSError, ValueError."""
        ...

    async def send(self, data: bytes) -> None:
        """Sends everything."""
        ...

    async def receive(self) -> bytes:
        """What arrives next; nothing after the end."""
        ...

    def send_at_once(self, data: bytes) -> int:
        """As much as can be sent without waiting: how much."""
        ...

    def close(self) -> None:
        """Ends it. Nobody may be waiting on it."""
        ...


class SocketWire:
    """A non-blocking stream socket. traffic: counts what passes."""

    def __init__(self, opened: socket.socket, traffic: Traffic | None = None) -> None:
        self._socket = opened
        self._traffic = traffic or Traffic()
        self._receives = 0

    async def connect(self, address: str, port: int) -> None:
        """See Wire."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._socket, sockaddr(address, port))

    @property
    def local_port(self) -> int | None:
        """None where the socket has none yet."""
        return port_of(self._socket)

    async def send(self, data: bytes) -> None:
        """See Wire."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)
        self._traffic.sent += len(data)

    async def receive(self) -> bytes:
        """See Wire."""
        self._receives += 1
        if self._receives % _RECEIVES_BETWEEN_PAUSES == 0:
            await asyncio.sleep(0)
        data = await asyncio.get_running_loop().sock_recv(self._socket, RECEIVE_BYTES)
        self._traffic.received += len(data)
        return data

    def send_at_once(self, data: bytes) -> int:
        """See Wire."""
        sent = self._socket.send(data)
        self._traffic.sent += sent
        return sent

    def close(self) -> None:
        """See Wire."""
        self._socket.close()


class Stream:
    """A connection. sent, received: bytes on the wire. Errors are OSErrors.

    ended_cleanly: the peer said that it has finished (under TLS: by a close_notify, which nobody else can forge).
    """

    def __init__(self, wire: Wire, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.local_port = wire.local_port
        self.sent = 0
        self.received = 0
        self.received_at: float | None = None  # the loop's time when the last bytes came
        self.ended_cleanly = False
        self._wire = wire

    async def connect(self) -> None:
        """Connects to the address, which is numeric. Raises OSError, ValueError; the stream is closed then."""
        connected = False
        try:
            await self._wire.connect(self.address, self.port)
            connected = True
        finally:
            self.local_port = self._wire.local_port
            if not connected:
                self.close()

    async def send(self, data: bytes) -> None:
        """Sends everything."""
        await self._send_wire(data)

    async def receive(self) -> bytes:
        """What arrives next, at most RECEIVE_BYTES; nothing after the peer's end."""
        data = await self._receive_wire()
        self.ended_cleanly = not data
        return data

    def close(self) -> None:
        """Ends the connection. Nobody may be waiting on it."""
        self._wire.close()

    async def _send_wire(self, data: bytes) -> None:
        await self._wire.send(data)
        self.sent += len(data)

    async def _receive_wire(self) -> bytes:
        data = await self._wire.receive()
        self.received += len(data)
        if data:
            self.received_at = asyncio.get_running_loop().time()
        return data


class TlsStream(Stream):
    """TLS by memory buffers over an open stream, which it takes over.

    Implementation note: `loop.start_tls` IS WRONG here. It reports a FIN during the handshake as ConnectionResetError,
    so that two different censors would look alike.
    """

    def __init__(self, plain: Stream, context: ssl.SSLContext, server_name: str) -> None:
        """Raises ValueError where the name cannot be one."""
        super().__init__(plain._wire, plain.address, plain.port)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        if "\0" in server_name:
            raise ValueError("a name with a NUL")  # where the ssl module raises TypeError
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.alert: int | None = None
        self._records = _Records()
        self._sending = asyncio.Lock()

    async def handshake(self) -> None:
        """Raises OSError (ssl.SSLError is one), and EOFError where the peer ends the connection."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                self.alert = self._records.alert if self._records.alert is not None else alert_of(error)
                self._flush_without_waiting()
                raise
            else:
                await self._flush()
                return
            await self._feed_handshake()

    async def _feed_handshake(self) -> None:
        data = await self._receive_wire()
        self._records.read(data)
        self.alert = self._records.alert
        if not data:
            raise EOFError
        self._incoming.write(data)

    async def send(self, data: bytes) -> None:
        """Sends everything, encrypted."""
        self.tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        """What arrives next, decrypted; nothing after the peer's end. Raises ssl.SSLError on forged records."""
        while True:
            try:
                data = self.tls.read(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
            else:
                self.ended_cleanly = not data
                return data
            wire = await self._receive_wire()
            if not wire:
                return b""
            self._incoming.write(wire)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            # One at a time: two of these would mix their bytes.
            async with self._sending:
                await self._send_wire(self._outgoing.read())

    def _flush_without_waiting(self) -> None:
        """Tells the peer why (our alert), if it still listens."""
        if self._outgoing.pending:
            with contextlib.suppress(OSError):
                self.sent += self._wire.send_at_once(self._outgoing.read())


class _Records:
    """Reads along in the clear part of a handshake, to find the peer's alert."""

    def __init__(self) -> None:
        self.alert: int | None = None
        self._buffer = b""
        self._skip = 0

    def read(self, data: bytes) -> None:
        """Takes the next bytes of the wire. Only a plain alert is two bytes long; an encrypted one cannot be read."""
        self._buffer += data
        while self._buffer:
            dropped = self._buffer[self._skip :]
            self._skip = max(0, self._skip - len(self._buffer))
            self._buffer = dropped
            if len(self._buffer) < _RECORD_HEADER_BYTES + 2:
                return
            length = int.from_bytes(self._buffer[3:5])
            if self._buffer[0] == _ALERT_RECORD and length == 2:
                self.alert = self._buffer[6]
            self._skip = _RECORD_HEADER_BYTES + length


def alert_of(error: ssl.SSLError) -> int | None:
    """The number of the peer's alert as OpenSSL names it (`TLSV1_ALERT_INTERNAL_ERROR`): also what came encrypted."""
    family, _, name = (error.reason or "").partition("_")
    if family not in ("SSLV3", "TLSV1", "TLSV13"):
        return None
    found = ssl.AlertDescription.__members__.get(f"ALERT_DESCRIPTION_{name.removeprefix('ALERT_')}")
    return None if found is None else int(found)


def port_of(opened: socket.socket) -> int | None:
    """The local port; None where the socket has none yet."""
    name = opened.getsockname()
    return int(name[1]) or None if isinstance(name, tuple) else None
