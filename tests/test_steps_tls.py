"""Invariant: whatever happens in a handshake, it has its own name, and the certificate shown is captured."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import HERE, Authority, TlsConn, connected, now, says, tcp_peer, vantage

from monitor.models import Tcp, Tls
from monitor.steps import tcp
from monitor.steps.certificates import MAX_CERTIFICATES, chain_of
from monitor.steps.stream import alert_of
from monitor.steps.tls import client_context, handshake

NAME = "elpitazo.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trust(authority):
    return client_context(authority.file)


@pytest.fixture(scope="module")
def strangers_trust(tmp_path_factory):
    """Trusts another authority."""
    return client_context(Authority(tmp_path_factory.mktemp("stranger")).file)


def connect(port: int, address: str = HERE, timeout_s: float = 5.0, where=None) -> Tcp:
    async def run() -> Tcp:
        seen, stream = await tcp.connect(
            where or vantage(), address, port, occasion=now(), sources=("isp",), timeout_s=timeout_s
        )
        if stream is not None:
            stream.close()
        return seen

    return asyncio.run(run())


def free_port() -> int:
    with socket.create_server((HERE, 0)) as taken:
        return taken.getsockname()[1]


def test_a_closed_port_refuses_and_the_source_port_is_known():
    seen = connect(free_port())
    assert (seen.failure, seen.address, seen.sources, seen.family) == ("connection_refused", HERE, ("isp",), 4)
    assert seen.local_port


def test_a_listening_port_connects():
    with socket.create_server((HERE, 0)) as listener:
        seen = connect(listener.getsockname()[1])
    assert seen.failure is None
    assert seen.local_port
    assert seen.duration < 5


def test_a_host_that_drops_is_a_timeout():
    with socket.create_server((HERE, 0), backlog=0) as listener, contextlib.ExitStack() as full:
        for _ in range(3):  # a full queue drops further connections
            waiting = full.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        seen = connect(listener.getsockname()[1], timeout_s=0.1)
    assert seen.failure == "generic_timeout_error"
    assert seen.local_port


@pytest.mark.parametrize("address", ["not-an-address", "999.1.1.1", ""])
def test_what_is_no_address_is_an_unknown_failure(address):
    assert connect(443, address).failure.startswith("unknown_failure")


def shake(behave, context, *, name=NAME, timeout_s=5.0) -> Tls:
    """What a handshake with such a peer gives."""

    async def run() -> Tls:
        async with connected(behave) as stream:
            seen, tls = await handshake(
                stream, name, context, occasion=now(), sources=("literal",), timeout_s=timeout_s
            )
            assert (tls is None) == (seen.failure is not None)
            return seen

    return asyncio.run(run())


def serves(context: ssl.SSLContext):
    """A peer with this context, which then waits for our end."""

    async def behave(conn) -> None:
        server = TlsConn(conn, context)
        with contextlib.suppress(ssl.SSLError):
            await server.shake()
            await server.read()

    return behave


def test_an_honest_handshake(authority, trust):
    seen = shake(serves(authority.server(NAME, alpn=("h2",))), trust)
    assert (seen.failure, seen.version, seen.alpn, seen.verify, seen.alert) == (None, "TLSv1.3", "h2", None, None)
    assert seen.cipher
    assert seen.local_port
    assert min(seen.bytes_sent, seen.bytes_received) > 200
    leaf = seen.chain[0]
    assert leaf.names == (NAME,)
    assert leaf.issuer
    assert leaf.not_before < datetime.now(UTC) < leaf.not_after
    assert hashlib.sha256(base64.b64decode(leaf.der)).hexdigest() == leaf.sha256


def test_a_reset_in_the_handshake(trust):
    seen = shake(says(then="reset"), trust)
    assert (seen.failure, seen.alert, seen.bytes_received) == ("connection_reset", None, 0)
    assert seen.bytes_sent > 200


def test_a_fin_in_the_handshake(trust):
    assert shake(says(then="fin"), trust).failure == "eof_error"


def test_silence_in_the_handshake(trust):
    seen = shake(says(then="silence"), trust, timeout_s=0.1)
    assert seen.failure == "generic_timeout_error"
    assert 0.1 <= seen.duration < 2


def test_half_a_server_hello_and_then(authority, trust):
    async def first_bytes(conn) -> None:
        server = TlsConn(conn, authority.server(NAME))
        server._in.write(await conn.read())
        with contextlib.suppress(ssl.SSLWantReadError):
            server.tls.do_handshake()
        await conn.write(server._out.read()[:100])

    async def reset(conn) -> None:
        await first_bytes(conn)
        # The client must have read it: an RST overtakes what lies unread.
        await asyncio.sleep(0.05)
        conn.reset()

    async def silent(conn) -> None:
        await first_bytes(conn)
        await conn.silence()

    for behave, failure in [
        (first_bytes, "eof_error"),
        (reset, "connection_reset"),
        (silent, "generic_timeout_error"),
    ]:
        seen = shake(behave, trust, timeout_s=0.3)
        assert (seen.failure, seen.bytes_received) == (failure, 100)


@pytest.mark.parametrize("alert", [40, 80, 112])
def test_an_alert_by_its_number(trust, alert):
    for then in ("fin", "silence"):
        seen = shake(says(bytes([21, 3, 3, 0, 2, 2, alert]), then=then), trust)
        assert (seen.failure, seen.alert) == ("ssl_failed_handshake", alert)


def test_an_alert_byte_by_byte(trust):
    seen = shake(says(*(bytes([byte]) for byte in (21, 3, 1, 0, 2, 2, 70)), then="silence"), trust)
    assert (seen.failure, seen.alert) == ("ssl_failed_handshake", 70)


def test_a_warning_and_then_a_fin(trust):
    seen = shake(says(bytes([21, 3, 3, 0, 2, 1, 112])), trust)
    assert (seen.failure, seen.alert) == ("eof_error", 112)


def test_a_real_servers_alert(authority, trust):
    context = authority.server(NAME)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    old = client_context(authority.file)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    async def refuse(conn) -> None:
        server = TlsConn(conn, context)
        server._in.write(await conn.read())
        with contextlib.suppress(ssl.SSLError):
            server.tls.do_handshake()
        await conn.write(server._out.read())

    seen = shake(refuse, old)
    assert (seen.failure, seen.alert) == ("ssl_failed_handshake", 70)


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        ("TLSV1_ALERT_INTERNAL_ERROR", 80),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", 40),
        ("TLSV1_UNRECOGNIZED_NAME", 112),
        ("WRONG_VERSION_NUMBER", None),
        ("TLSV1_ALERT_NO_SUCH_THING", None),
        (None, None),
    ],
)
def test_an_encrypted_alert_is_told_by_openssls_reason(reason, alert):
    error = ssl.SSLError()
    error.reason = reason
    assert alert_of(error) == alert


def test_plain_http_on_the_tls_port(trust):
    seen = shake(says(b"HTTP/1.1 403 Forbidden\r\n\r\nno"), trust)
    assert (seen.failure, seen.alert) == ("ssl_failed_handshake", None)


def test_a_false_certificate_is_rejected_and_captured(authority, strangers_trust):
    seen = shake(serves(authority.server(NAME)), strangers_trust)
    assert seen.failure == "ssl_unknown_authority"
    assert seen.verify == "unable to get local issuer certificate"
    assert seen.verify_code == 20
    assert seen.chain[0].names == (NAME,)


def test_a_certificate_for_another_name(authority, trust):
    seen = shake(serves(authority.server("block.example")), trust)
    assert (seen.failure, seen.verify_code) == ("ssl_invalid_hostname", 62)
    assert seen.chain[0].names == ("block.example",)


def self_signed(folder, name, *, days=(-1, 1), extensions=()) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate of its own making, and that certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today + timedelta(days[0])).not_valid_after(today + timedelta(days[1]))
    for extension in (x509.SubjectAlternativeName([x509.DNSName(name)]), *extensions):
        builder = builder.add_extension(extension, critical=False)
    certificate, keyfile = folder / "self.pem", folder / "self.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, keyfile)
    return context, str(certificate)


def test_a_self_signed_certificate(tmp_path, trust):
    context, _ = self_signed(tmp_path, NAME)
    seen = shake(serves(context), trust)
    assert (seen.failure, seen.verify_code) == ("ssl_unknown_authority", 18)
    assert seen.chain[0].subject == seen.chain[0].issuer == f"CN={NAME}"


def test_an_expired_certificate(tmp_path):
    context, certificate = self_signed(tmp_path, NAME, days=(-9, -2))
    seen = shake(serves(context), client_context(certificate))
    assert (seen.failure, seen.verify) == ("ssl_invalid_certificate", "certificate has expired")
    assert seen.chain[0].not_after < datetime.now(UTC)


def test_a_certificate_with_unreadable_names_is_kept_by_its_hash():
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "b\x00l\u202eock")])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - timedelta(1)).not_valid_after(today + timedelta(1))
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x7fnonsense")
    certificate = builder.add_extension(broken, critical=False).sign(key, hashes.SHA256())
    (leaf,) = chain_of(_Peer([certificate.public_bytes(serialization.Encoding.DER)], public=True))
    assert leaf.sha256 == certificate.fingerprint(hashes.SHA256()).hex()
    assert (leaf.subject, leaf.names) == ("CN=b\\00lock", ())
    assert leaf.not_after is not None


class _Certificates:
    """What stands behind an SSLObject before Python 3.13."""

    def __init__(self, ders):
        self._ders = ders

    def get_unverified_chain(self):
        return [_Der(der) for der in self._ders]


class _Der(bytes):
    def public_bytes(self, encoding):
        assert encoding == ssl._ssl.ENCODING_DER
        return bytes(self)


class _Peer:
    """An SSLObject of either kind."""

    def __init__(self, ders, *, public):
        if public:
            self.get_unverified_chain = lambda: list(ders)
        else:
            self._sslobj = _Certificates(ders)


@pytest.mark.parametrize("public", [True, False])
def test_a_chain_is_bounded_on_every_python(public):
    huge = b"x" * 20_000
    chain = chain_of(_Peer([huge, *(bytes([n]) for n in range(50))], public=public))
    assert len(chain) == MAX_CERTIFICATES
    assert (chain[0].der, chain[0].sha256) == ("", hashlib.sha256(huge).hexdigest())
    assert base64.b64decode(chain[1].der) == b"\0"


@given(st.binary(max_size=400))
def test_no_bytes_of_a_certificate_make_it_raise(der):
    assert len(chain_of(_Peer([der], public=True))) == 1


@given(st.data())
@settings(max_examples=200)
def test_no_damaged_certificate_makes_it_raise(authority, data):
    der = bytearray(_leaf(authority))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(der) - 1), st.integers(0, 255)), max_size=5)):
        der[place] = value
    (certificate,) = chain_of(_Peer([bytes(der)], public=True))
    assert all(name.isprintable() for name in (certificate.subject, certificate.issuer, *certificate.names))


_LEAVES: dict[str, bytes] = {}


def _leaf(authority) -> bytes:
    if authority.file not in _LEAVES:
        seen = shake(serves(authority.server(NAME)), client_context(authority.file))
        _LEAVES[authority.file] = base64.b64decode(seen.chain[0].der)
    return _LEAVES[authority.file]


@pytest.mark.parametrize("name", ["", ".leading.example", "a" * 64 + ".example", "nul\0.example"])
def test_a_name_that_cannot_be_sent_is_an_unknown_failure(trust, name):
    assert shake(says(then="silence"), trust, name=name).failure.startswith("unknown_failure")


def test_an_address_instead_of_a_name(authority, trust):
    assert shake(serves(authority.server("127.0.0.1")), trust, name="127.0.0.1").failure is None


def test_roots_are_mozillas_unless_ssl_cert_file_says_otherwise(monkeypatch, authority):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert len(client_context(None).get_ca_certs()) > 50
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert len(client_context(None).get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with pytest.raises(OSError, match="No such file"):
        client_context(None)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.sampled_from(["fin", "reset"]))
def test_no_bytes_make_a_handshake_raise(trust, pieces, then):
    assert shake(says(*pieces, then=then), trust, timeout_s=2).failure


@given(
    st.lists(st.tuples(st.sampled_from([20, 21, 22, 23]), st.binary(max_size=60)), min_size=1, max_size=6),
)
def test_no_records_make_a_handshake_raise(trust, records):
    wire = b"".join(bytes([kind, 3, 3]) + len(content).to_bytes(2) + content for kind, content in records)
    assert shake(says(wire), trust, timeout_s=2).failure


def test_a_flood_of_records_does_not_outlast_the_timeout(trust):
    async def flood(conn) -> None:
        await conn.read()
        while True:
            # Change-cipher-spec records are ignored by TLS 1.3, for ever.
            await conn.write(bytes([20, 3, 3, 0, 1, 1]) * 5000)

    seen = shake(flood, trust, timeout_s=0.2)
    assert seen.failure in ("generic_timeout_error", "ssl_failed_handshake")
    assert seen.duration < 3


def test_cancelling_closes_the_socket(trust):
    async def run() -> None:
        async with connected(says(then="silence")) as stream:
            task = asyncio.create_task(handshake(stream, NAME, trust, occasion=now(), sources=(), timeout_s=60))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises((OSError, ValueError)):  # "bad file descriptor", or what asyncio says of one
                await stream.send(b"x")

    asyncio.run(run())


def test_many_connections_at_once():
    async def run() -> list[Tcp]:
        async def behave(conn) -> None:
            await conn.read()

        async with tcp_peer(behave) as port:
            here, occasion = vantage(), now()
            results = await asyncio.gather(
                *(tcp.connect(here, HERE, port, occasion=occasion, sources=(), timeout_s=10) for _ in range(100))
            )
            for _, stream in results:
                if stream is not None:
                    stream.close()
            return [seen for seen, _ in results]

    assert {seen.failure for seen in asyncio.run(run())} == {None}
