"""The tls step: one handshake on an open stream, the certificate verified and captured either way."""

import asyncio
import os
import ssl
from collections.abc import Sequence
from typing import Any

import certifi

from monitor.failures import failure_string
from monitor.models import Tls
from monitor.steps.certificates import chain_of, printable
from monitor.steps.occasion import Occasion
from monitor.steps.stream import Stream, TlsStream

ALPN = ["h2", "http/1.1"]
MAX_VERIFY_CHARACTERS = 300


def client_context(trust_file: str | None = None) -> ssl.SSLContext:
    """The one context that all handshakes share (building it costs 16 ms). Raises OSError where the file is no bundle.

    Trusts Mozilla's roots, never the machine's, where antivirus and state authorities live; `SSL_CERT_FILE`, or the
    given file, replaces them.
    """
    # Not `create_default_context`: since Python 3.13 it is stricter, and verdicts would depend on the version.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trust_file or os.environ.get("SSL_CERT_FILE") or certifi.where())
    context.set_alpn_protocols(ALPN)
    return context


async def handshake(
    stream: Stream,
    server_name: str,
    context: ssl.SSLContext,
    *,
    occasion: Occasion,
    sources: Sequence[str],
    timeout_s: float,
) -> tuple[Tls, Stream | None]:
    """Shakes hands as server_name's client. The stream is None where that failed, and the given one is closed."""
    started = occasion.elapsed()
    tls: TlsStream | None = None
    error: Exception | None = None
    try:
        tls = TlsStream(stream, context, server_name)
        async with asyncio.timeout(timeout_s):
            await tls.handshake()
    except (OSError, EOFError, ValueError) as caught:
        error = caught
    finally:
        if error is not None or tls is None or tls.tls.version() is None:
            stream.close()
    observation = Tls(
        hop=occasion.hop,
        attempt=occasion.attempt,
        purpose=occasion.purpose,
        started=started,
        duration=round(occasion.elapsed() - started, 6),
        failure=None if error is None else failure_string(error),
        address=stream.address,
        port=stream.port,
        sources=tuple(sources),
        local_port=stream.local_port,
        server_name=server_name,
        **_facts(tls, error),
    )
    return observation, None if error is not None else tls


def _facts(tls: TlsStream | None, error: Exception | None) -> dict[str, Any]:
    """What was learned of the peer, as far as the handshake came."""
    if tls is None:
        return {}
    facts: dict[str, Any] = {"alert": tls.alert, "bytes_sent": tls.sent, "bytes_received": tls.received}
    if error is None:
        cipher = tls.tls.cipher()
        facts |= {
            "version": tls.tls.version(),
            "cipher": cipher[0] if cipher else None,
            "alpn": tls.tls.selected_alpn_protocol(),
        }
    if isinstance(error, ssl.SSLCertVerificationError):
        facts |= {"verify": printable(error.verify_message)[:MAX_VERIFY_CHARACTERS], "verify_code": error.verify_code}
    return facts | {"chain": chain_of(tls.tls)}
