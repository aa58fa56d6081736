"""Invariant: no bytes from a peer make an exchange raise, and what arrived is kept whatever ended it."""

import asyncio
import gzip
import hashlib
import os
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Authority, TlsConn, connected, now, says

from monitor.models import Http
from monitor.steps.http import BROWSER, exchange
from monitor.steps.tls import client_context, handshake

URL = "http://www.lapatilla.example/"
PAGE = b"<html><head><title>La Patilla</title></head><body>" + b"<p>Noticias de hoy</p>" * 40 + b"</body></html>"


def get(behave, *, url=URL, timeout_s=5.0, **options) -> tuple[Http, bytes]:
    """What an exchange with such a peer gives."""

    async def run() -> tuple[Http, bytes]:
        async with connected(behave) as stream:
            return await exchange(stream, url, occasion=now(), sources=("isp",), timeout_s=timeout_s, **options)

    return asyncio.run(run())


def response(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def test_an_honest_page():
    seen, body = get(says(response(PAGE, "Content-Type: text/html", "Server: x"), then="silence"))
    assert body == PAGE
    assert (seen.failure, seen.status, seen.complete, seen.truncated) == (None, 200, True, False)
    assert (seen.title, seen.body_length, seen.declared_length) == ("La Patilla", len(PAGE), len(PAGE))
    assert ("content-type", "text/html") in seen.headers
    assert seen.sha256 == hashlib.sha256(PAGE).hexdigest()
    assert len(seen.simhash) == 16
    assert seen.bytes_received > len(PAGE)
    assert 0 <= seen.first_byte_s <= seen.last_byte_s <= seen.duration
    assert (seen.sources, seen.address, seen.body, seen.verified) == (("isp",), "127.0.0.1", None, False)


def requested(url=URL, **options) -> bytes:
    """What the peer is sent."""
    heard = bytearray()

    async def behave(conn) -> None:
        while b"\r\n\r\n" not in heard:
            heard.extend(await conn.read())
        await conn.write(response(b""))

    get(behave, url=url, **options)
    return bytes(heard)


def test_the_request_is_a_browsers():
    lines = requested("http://www.lapatilla.example:8080/a b/ñ?q=1 2&r=%20#part").decode().split("\r\n")
    assert lines[:2] == ["GET /a%20b/%C3%B1?q=1%202&r=%20 HTTP/1.1", "Host: www.lapatilla.example:8080"]
    assert lines[2:-2] == [f"{name}: {value}" for name, value in BROWSER]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://x.example:80", "x.example"),
        ("https://x.example:443/", "x.example"),
        ("https://x.example:80/", "x.example:80"),
        ("http://user:secret@x.example/", "x.example"),
        ("http://[2001:db8::1]:81/", "[2001:db8::1]:81"),
    ],
)
def test_the_host_is_the_urls(url, host):
    assert f"\r\nHost: {host}\r\n".encode() in requested(url)


def test_a_body_is_sent():
    heard = requested(method="POST", body=b"{}", headers=(("Content-Type", "application/json"),))
    assert heard.startswith(b"POST / HTTP/1.1\r\n")
    assert b"Content-Length: 2\r\n" in heard
    assert heard.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("url", ["http://[bad/", "nothing", "http://", "http://x.example:99999/", "http://ñ.example/"])
def test_what_is_no_url_is_an_unknown_failure(url):
    seen, _ = get(says(then="silence"), url=url)
    assert seen.failure.startswith("unknown_failure")


def test_a_header_that_cannot_be_sent_is_an_unknown_failure():
    seen, _ = get(says(then="silence"), headers=(("Cookie", "a\r\nb: c"),))
    assert seen.failure.startswith("unknown_failure")


@pytest.mark.parametrize(
    ("then", "failure"),
    [("reset", "connection_reset"), ("fin", "eof_error"), ("silence", "generic_timeout_error")],
)
def test_before_any_answer(then, failure):
    seen, body = get(says(then=then), timeout_s=0.2)
    assert (seen.failure, seen.status, seen.complete, body, seen.sha256) == (failure, None, False, b"", None)
    assert (seen.first_byte_s, seen.last_byte_s, seen.bytes_received) == (None, None, 0)


@pytest.mark.parametrize(
    ("then", "failure"),
    [("fin", "eof_error"), ("silence", "generic_timeout_error")],
)
def test_in_the_middle_of_the_page_what_arrived_is_kept(then, failure):
    seen, body = get(says(response(PAGE[:200], length=len(PAGE)), then=then), timeout_s=0.2)
    assert (seen.failure, seen.status, seen.complete, body) == (failure, 200, False, PAGE[:200])
    assert (seen.declared_length, seen.title) == (len(PAGE), "La Patilla")
    assert seen.last_byte_s < 0.2


def test_a_reset_in_the_middle_of_the_page():
    async def behave(conn) -> None:
        await conn.read()
        await conn.write(response(PAGE[:200], length=len(PAGE)))
        # An RST overtakes what lies unread: wait until it was read.
        await asyncio.sleep(0.05)
        conn.reset()

    seen, body = get(behave)
    assert (seen.failure, seen.status, body) == ("connection_reset", 200, PAGE[:200])


def test_a_page_then_a_reset_before_the_request_was_sent():
    async def run() -> tuple[Http, bytes]:
        gone = asyncio.Event()

        async def behave(conn) -> None:
            await conn.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            conn.reset()
            gone.set()

        async with connected(behave) as stream:
            await gone.wait()
            return await exchange(stream, URL, occasion=now(), sources=(), timeout_s=5)

    seen, _ = asyncio.run(run())
    assert seen.failure in (None, "connection_reset")


def test_a_page_in_trickles_is_stopped_by_the_timeout_for_the_whole():
    async def behave(conn) -> None:
        await conn.read()
        await conn.write(response(b"", length=1000))
        while True:
            await conn.write(b"x")
            await asyncio.sleep(0.01)

    seen, body = get(behave, timeout_s=0.3)
    assert seen.failure == "generic_timeout_error"
    assert 5 < len(body) < 40
    assert 0.2 < seen.last_byte_s < 0.5


def test_a_page_that_stalls_shows_when_its_last_byte_came():
    seen, _ = get(says(response(b"x" * 16384, length=100_000), then="silence"), timeout_s=0.4)
    assert (seen.failure, seen.body_length) == ("generic_timeout_error", 16384)
    assert seen.last_byte_s < 0.2


def test_byte_by_byte_it_is_the_same_page():
    pieces = [bytes([byte]) for byte in response(PAGE[:100], "Content-Type: text/html")]
    seen, body = get(says(*pieces))
    assert (seen.failure, seen.complete, body) == (None, True, PAGE[:100])


def test_a_chunked_page():
    wire = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    )
    seen, body = get(says(wire, then="silence"))
    assert (seen.failure, seen.complete, seen.declared_length, body) == (None, True, None, b"hello world")


def test_a_broken_chunk_keeps_what_came_before():
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nXYZ\r\n"
    seen, body = get(says(wire, then="silence"))
    assert (seen.failure, seen.status, seen.complete, body) == ("http_protocol_error", 200, False, b"hello")


def test_a_page_ended_by_the_connection_is_complete():
    seen, body = get(says(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nhello"))
    assert (seen.failure, seen.complete, body) == (None, True, b"hello")


def test_100_continue_and_103_are_passed_over():
    wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    seen, body = get(says(wire, response(b"hello")))
    assert (seen.status, body) == (200, b"hello")


def test_only_a_100_continue():
    assert get(says(b"HTTP/1.1 100 Continue\r\n\r\n"))[0].failure == "eof_error"


def test_a_flood_of_100_continue_does_not_outlast_the_timeout():
    async def behave(conn) -> None:
        await conn.read()
        while True:
            await conn.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)

    seen, _ = get(behave, timeout_s=0.2)
    assert seen.failure == "generic_timeout_error"
    assert seen.duration < 3


def test_no_content_has_no_body():
    seen, body = get(says(b"HTTP/1.1 204 No Content\r\n\r\n", then="silence"))
    assert (seen.failure, seen.status, seen.complete, body) == (None, 204, True, b"")


def test_a_redirect_is_kept_as_sent():
    seen, _ = get(says(response(b"", "Location: //x.example/\x85\x01bl\xe9", status="302 Found")))
    assert (seen.status, seen.location) == (302, "//x.example/bl\xe9")


def test_headers_are_bounded_and_plain():
    lines = ["X: \x1b[2J\x07y"] + [f"Header-{n}: {'v' * 5000 if n == 0 else n}" for n in range(150)]
    seen, _ = get(says(response(b"", *lines)))
    assert len(seen.headers) == 100
    assert ("header-0", "v" * 4096) in seen.headers
    assert all(value.isprintable() for _, value in seen.headers)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("Deflate", lambda data: zlib.compressobj(wbits=-15).compress(data) + b""),
        ("br", lambda data: data),
        ("identity", lambda data: data),
    ],
)
def test_encodings(encoding, encode):
    def encoded() -> bytes:
        if encoding == "Deflate":
            bare = zlib.compressobj(wbits=-15)
            return bare.compress(PAGE) + bare.flush()
        return encode(PAGE)

    wire = response(encoded(), f"Content-Encoding: {encoding}")
    for pieces in ([wire], [wire[n : n + 1] for n in range(len(wire))]):
        seen, body = get(says(*pieces))
        assert (seen.failure, body, seen.complete) == (None, PAGE, True)


def test_a_gzip_bomb_is_cut_at_the_cap():
    bomb = gzip.compress(bytes(50_000_000))
    seen, body = get(says(response(bomb, "Content-Encoding: gzip")))
    assert (len(body), seen.truncated, seen.complete, seen.failure) == (512 * 1024, True, False, None)


def test_what_is_said_to_be_gzip_and_is_not():
    seen, _ = get(says(response(PAGE, "Content-Encoding: gzip")))
    assert (seen.failure, seen.status) == ("http_protocol_error", 200)


def test_a_long_page_is_cut_and_its_length_known():
    page = os.urandom(700_000)
    seen, body = get(says(response(page)))
    assert (body, seen.truncated, seen.complete) == (page[: 512 * 1024], True, False)
    assert (seen.body_length, seen.declared_length, seen.failure) == (512 * 1024, 700_000, None)


def test_a_page_of_exactly_the_cap_is_whole():
    seen, body = get(says(response(b"x" * 1000)), cap=1000)
    assert (len(body), seen.truncated, seen.complete) == (1000, False, True)


@pytest.mark.parametrize(
    ("wire", "status", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nA : b\r\nServer: box\r\n\r\n<html>no</html>", 403, b"<html>no</html>"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n<p>no", 200, b"<p>no"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n<p>no", 200, b"<p>no"),
        (b"<html><title>Bloqueado</title></html>", None, b"<html><title>Bloqueado</title></html>"),
        (b"\r\n<html>no", None, b"\r\n<html>no"),
        (b"ICY 200 OK\r\n\r\nmusic", 200, b"music"),
        (b"HTTP/9 302\r\nLocation: http://block.example/\r\n\r\n", 302, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nx", 200, b"x"),
        (b"HTTP/1.1 999999\r\n\r\n", None, b"HTTP/1.1 999999\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("then", ["fin", "silence"])
def test_what_middleboxes_send_is_kept(monkeypatch, wire, status, body, then):
    monkeypatch.setattr("monitor.steps.http1.QUIET_S", 0.05)
    seen, kept = get(says(wire, then=then))
    assert (seen.failure, seen.status, kept, seen.complete) == ("http_protocol_error", status, body, False)
    assert seen.duration < 2


def test_a_lenient_head_is_read():
    seen, _ = get(says(b"HTTP/1.1 302 Found\r\nA : b\r\nLocation: http://block.example/\r\n\r\n"))
    assert seen.location == "http://block.example/"
    assert ("a", "b") in seen.headers


def test_bare_html_in_pieces_is_kept_whole():
    seen, body = get(says(b"<", b"html><title>Blo", b"queado</title>"))
    assert (seen.failure, seen.title, body) == ("http_protocol_error", "Bloqueado", b"<html><title>Bloqueado</title>")


def test_half_a_head_is_an_early_end():
    seen, _ = get(says(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Le"))
    assert (seen.failure, seen.status, seen.complete) == ("eof_error", 200, False)
    assert get(says(b"HTT"))[0].failure == "eof_error"


def test_an_endless_head_is_cut():
    async def behave(conn) -> None:
        await conn.read()
        await conn.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await conn.write(b"X: " + b"y" * 10_000 + b"\r\n")

    seen, body = get(behave, timeout_s=3)
    assert seen.failure == "http_protocol_error"
    assert len(body) <= 512 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def get_secure(behave, authority, *, alpn=("http/1.1",), timeout_s=5.0, **options) -> tuple[Http, bytes]:
    """The same under TLS; behave gets the peer's TlsConn."""
    context = authority.server("www.lapatilla.example", alpn=alpn)

    async def serve(conn) -> None:
        server = TlsConn(conn, context)
        await server.shake()
        await behave(server)

    async def run() -> tuple[Http, bytes]:
        trust = client_context(authority.file)
        async with connected(serve) as plain:
            shaken, stream = await handshake(
                plain, "www.lapatilla.example", trust, occasion=now(), sources=(), timeout_s=5
            )
            assert stream is not None
            return await exchange(
                stream,
                "https://www.lapatilla.example/",
                occasion=now(),
                sources=(),
                timeout_s=timeout_s,
                verified=True,
                protocol=shaken.alpn,
                **options,
            )

    return asyncio.run(run())


def test_a_page_over_tls(authority):
    async def behave(server) -> None:
        await server.read()
        await server.write(response(PAGE))
        await server.conn.silence()

    seen, body = get_secure(behave, authority)
    assert (seen.failure, seen.verified, seen.complete, body) == (None, True, True, PAGE)


@pytest.mark.parametrize(
    ("page", "encoding", "goodbye", "complete"),
    [
        (b"<p>without an end", "identity", True, True),
        (b"<p>without an end", "identity", False, False),
        (PAGE, "identity", False, True),
        (gzip.compress(b"text", mtime=0), "gzip", False, True),
        (gzip.compress(b"text", mtime=0)[:-3], "gzip", False, False),
    ],
)
def test_without_a_length_the_end_must_be_shown(authority, page, encoding, goodbye, complete):
    async def behave(server) -> None:
        await server.read()
        await server.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode() + page)
        await (server.goodbye() if goodbye else asyncio.sleep(0))

    seen, _ = get_secure(behave, authority)
    assert (seen.failure, seen.complete) == (None, complete)


def test_forged_bytes_inside_tls(authority):
    async def behave(server) -> None:
        await server.read()
        await server.write(response(PAGE[:50], length=500))
        await server.conn.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await server.conn.silence()

    seen, body = get_secure(behave, authority)
    assert (seen.failure, body) == ("ssl_failed_handshake", PAGE[:50])


def over_http2(authority, act, **options) -> tuple[Http, bytes]:
    """An HTTP/2 peer; act(connection, event) queues its answers."""

    async def behave(server) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        while True:
            await server.write(connection.data_to_send())
            for event in connection.receive_data(await server.read()):
                act(connection, event)

    return get_secure(behave, authority, alpn=("h2",), **options)


def test_a_page_over_http2(authority):
    heads = []

    def act(connection, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            heads.append(event.headers)
            fields = [(":status", "200"), ("Content-Type", "text/html"), ("content-length", str(len(PAGE)))]
            connection.send_headers(event.stream_id, [(name.lower(), value) for name, value in fields])
            connection.send_data(event.stream_id, PAGE, end_stream=True)

    seen, body = over_http2(authority, act)
    assert (seen.failure, seen.status, seen.complete, body) == (None, 200, True, PAGE)
    assert (seen.title, seen.declared_length) == ("La Patilla", len(PAGE))
    assert dict(seen.headers)["content-type"] == "text/html"
    names = [bytes(name).decode() if isinstance(name, bytes) else name for name, _ in heads[0]]
    assert names[:4] == [":method", ":scheme", ":authority", ":path"]
    assert "connection" not in names


def test_a_long_page_over_http2(authority):
    page = b"x" * 400_000

    async def paced(server) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        await server.write(connection.data_to_send())
        asked = False
        while not asked:
            for event in connection.receive_data(await server.read()):
                asked = asked or isinstance(event, h2.events.RequestReceived)
        connection.send_headers(1, [(":status", "200")])
        rest = page
        while rest:
            room = min(connection.local_flow_control_window(1), connection.max_outbound_frame_size)
            if room:
                connection.send_data(1, rest[:room], end_stream=len(rest) <= room)
                rest = rest[room:]
                await server.write(connection.data_to_send())
            else:
                connection.receive_data(await server.read())
        await server.conn.silence()

    seen, body = get_secure(paced, authority, alpn=("h2",))
    assert (seen.failure, len(body)) == (None, 400_000)


def test_a_large_request_over_http2_waits_for_the_window(authority):
    heard = bytearray()

    def act(connection, event) -> None:
        if isinstance(event, h2.events.DataReceived):
            heard.extend(event.data)
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, h2.events.StreamEnded):
            connection.send_headers(event.stream_id, [(":status", "200")], end_stream=True)

    question = os.urandom(300_000)
    seen, _ = over_http2(authority, act, method="POST", body=question)
    assert (seen.failure, bytes(heard) == question) == (None, True)


def test_a_stream_that_is_refused_or_a_farewell(authority):
    def refuse(connection, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)

    def leave(connection, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            connection.close_connection()

    assert over_http2(authority, refuse)[0].failure == "http_protocol_error"
    assert over_http2(authority, leave)[0].failure == "http_protocol_error"


@pytest.mark.parametrize(
    ("wire", "failure"),
    [(b"", "eof_error"), (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5, "http_protocol_error")],
)
def test_no_http2_at_all(authority, wire, failure):
    async def behave(server) -> None:
        await server.read()
        if wire:
            await server.write(wire)
        await server.goodbye()

    seen, _ = get_secure(behave, authority, alpn=("h2",))
    assert seen.failure == failure


def test_an_endless_http2_frame_is_not_waited_for():
    async def behave(conn) -> None:
        await conn.read()
        await conn.write(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]) + b"\xff\xff\xff\0\0\0\0\0\1")
        while True:
            await conn.write(bytes(65536))

    seen, _ = get(behave, protocol="h2")
    assert seen.failure == "http_protocol_error"
    assert seen.bytes_received < 1_000_000


_BROKEN = st.lists(st.binary(max_size=80), min_size=1, max_size=4)


@given(_BROKEN, st.sampled_from(["fin", "reset"]))
def test_no_bytes_make_an_exchange_raise(pieces, then):
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        seen, body = get(says(start, *pieces, then=then), timeout_s=2)
        assert seen.body_length == len(body)


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1]), st.binary(max_size=40))))
def test_no_frames_make_an_http2_exchange_raise(frames):
    settings_frame = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    wire = settings_frame + b"".join(
        len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content
        for kind, flags, stream, content in frames
    )
    # In the clear, because only the protocol matters here.
    seen, _ = get(says(wire), protocol="h2", timeout_s=2)
    assert seen.failure or seen.complete


@given(st.binary(max_size=120))
def test_no_encoded_bytes_make_an_exchange_raise(garbage):
    for encoding in ("gzip", "deflate"):
        wire = response(garbage, f"Content-Encoding: {encoding}")
        assert get(says(wire), timeout_s=2)[0].status == 200
