"""Exceptions -> failure strings: by type and errno, with real errors of a real TLS library."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from monitor.failures import REFUSED, certificate_failure, dns_failure, failure_string, socks_failure

AUTHORITY = trustme.CA()

BY_TYPE: list[tuple[BaseException, str]] = [
    (TimeoutError(), "generic_timeout_error"),
    (TimeoutError("timed out"), "generic_timeout_error"),
    (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "generic_timeout_error"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection_reset"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "connection_reset"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection_refused"),
    (ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort"), "connection_aborted"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), "host_unreachable"),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), "network_unreachable"),
    (OSError(errno.ENETDOWN, "Network is down"), "network_down"),
    (OSError(errno.ENETRESET, "Network dropped connection"), "network_reset"),
    (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "address_not_available"),
    (OSError(errno.EADDRINUSE, "Address already in use"), "address_in_use"),
    (OSError(errno.EAFNOSUPPORT, "Address family not supported"), "address_family_not_supported"),
    (PermissionError(errno.EACCES, "Permission denied"), "permission_denied"),
    (PermissionError(errno.EPERM, "Operation not permitted"), "permission_denied"),
    (OSError(errno.EINVAL, "Invalid argument"), "invalid_argument"),
    (OSError(errno.ENOBUFS, "No buffer space available"), "no_buffer_space"),
    (OSError(errno.EMSGSIZE, "Message too long"), "message_size"),
    (OSError(errno.EMFILE, "Too many open files"), "too_many_open_files"),
    (OSError(errno.ENFILE, "Too many open files in system"), "too_many_open_files"),
    (asyncio.IncompleteReadError(b"", 4), "eof_error"),
    (EOFError(), "eof_error"),
    (ssl.SSLEOFError(), "eof_error"),
    (ssl.SSLZeroReturnError(), "eof_error"),
    (ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR]"), "ssl_failed_handshake"),
    # What nobody can name is no evidence, even where its message pretends to be some.
    (OSError("connection_reset"), "unknown_failure: OSError"),
    (OSError(errno.EXDEV, "Connection reset by peer"), "unknown_failure: OSError"),
    (TimeoutError(errno.ECONNRESET, "odd"), "connection_reset"),
    (ValueError("Connection reset by peer"), "unknown_failure: ValueError"),
    (asyncio.CancelledError(), "unknown_failure: CancelledError"),
]


@pytest.mark.parametrize(("raised", "name"), BY_TYPE, ids=[f"{type(e).__name__} {n}" for e, n in BY_TYPE])
def test_an_exception_gets_its_name(raised: BaseException, name: str) -> None:
    assert failure_string(raised) == name


# --- the operating system's own ------------------------------------------------------------------------------------


def nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        socket.create_connection(held.getsockname(), timeout=5)


def peer_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        ours.recv(1)


def peer_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        ours.settimeout(0.01)
        ours.recv(1)


@pytest.mark.parametrize(
    ("happens", "name"),
    [
        (nobody_listens, "connection_refused"),
        (peer_resets, "connection_reset"),
        (peer_is_silent, "generic_timeout_error"),
    ],
)
def test_what_the_system_raises_gets_its_name(happens: Callable[[], None], name: str) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011  # which one is the question
        happens()
    assert failure_string(raised.value) == name


# --- the TLS library's own -----------------------------------------------------------------------------------------


def shaken(
    certificate: trustme.LeafCert | None = None, name: str = "elpitazo.example", *, trusted: bool = True, answer: bytes = b""
) -> BaseException:  # fmt: skip
    """The exception of a handshake with a server that shows a certificate, or answers with these bytes, or ends."""
    context = ssl.create_default_context()
    if trusted:
        AUTHORITY.configure_trust(context)
    to_us, to_them = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_us, to_them, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    if certificate is not None:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(served)
        server = served.wrap_bio(to_them, to_us, server_side=True)
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
    elif answer:
        to_us.write(answer)
    else:
        to_us.write_eof()
    with pytest.raises(ssl.SSLError) as raised:
        client.do_handshake()
    return raised.value


EXPIRED = AUTHORITY.issue_cert("elpitazo.example", not_after=datetime(2018, 1, 15, tzinfo=UTC))

HANDSHAKES: dict[str, tuple[Callable[[], BaseException], str]] = {
    "nobody we trust signed it": (
        lambda: shaken(AUTHORITY.issue_cert("elpitazo.example"), trusted=False),
        "ssl_unknown_authority",
    ),
    "another name": (lambda: shaken(AUTHORITY.issue_cert("otro.example")), "ssl_invalid_hostname"),
    "another address": (lambda: shaken(AUTHORITY.issue_cert("127.0.0.2"), "127.0.0.1"), "ssl_invalid_hostname"),
    "expired": (lambda: shaken(EXPIRED), "ssl_invalid_certificate"),
    "an alert": (lambda: shaken(answer=b"\x15\x03\x03\x00\x02\x02\x28"), "ssl_failed_handshake"),
    "no TLS at all": (lambda: shaken(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "ssl_failed_handshake"),
    "the end": (lambda: shaken(), "eof_error"),
}


@pytest.mark.parametrize("what", HANDSHAKES)
def test_a_failed_handshake_gets_its_name(what: str) -> None:
    fails, name = HANDSHAKES[what]
    assert failure_string(fails()) == name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (2, "ssl_unknown_authority"),
        (10, "ssl_invalid_certificate"),
        (9, "ssl_invalid_certificate"),
        (18, "ssl_unknown_authority"),
        (19, "ssl_unknown_authority"),
        (20, "ssl_unknown_authority"),
        (21, "ssl_unknown_authority"),
        (27, "ssl_unknown_authority"),
        (62, "ssl_invalid_hostname"),
        (64, "ssl_invalid_hostname"),
        (-1, "ssl_invalid_certificate"),
    ],
)
def test_openssls_reason_to_reject_gets_its_name(code: int, name: str) -> None:
    assert certificate_failure(code) == name


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rcode", "has_addresses", "name"),
    [
        ("NOERROR", True, None),
        ("NOERROR", False, "dns_no_answer"),
        ("NXDOMAIN", False, "dns_nxdomain_error"),
        ("NXDOMAIN", True, "dns_nxdomain_error"),
        ("SERVFAIL", False, "dns_servfail_error"),
        ("REFUSED", False, "dns_refused_error"),
        ("NOTIMP", False, "dns_server_misbehaving"),
        ("FORMERR", False, "dns_server_misbehaving"),
    ],
)
def test_a_response_code_gets_its_name(rcode: str, has_addresses: bool, name: str | None) -> None:
    assert dns_failure(rcode, has_addresses) == name


@given(st.sampled_from([OSError, TimeoutError, ssl.SSLError, ValueError, KeyError]), st.integers(), st.text())
def test_anything_raised_gets_a_name_without_its_message(kind: type[Exception], number: int, message: str) -> None:
    named = failure_string(kind(number, message))
    assert named
    assert named.isprintable()
    assert len(message) < 3 or message not in named or message in failure_string(kind(number, ""))


@pytest.mark.parametrize(
    ("code", "failure"),
    [(None, "unknown_failure: proxy_refuses"), (99, "unknown_failure: proxy_refuses"), (5, REFUSED)],
)
def test_what_a_socks_proxy_replies_is_said_in_words(code: int | None, failure: str):
    assert failure_string(socks_failure(code)) == failure
