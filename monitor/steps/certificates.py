"""The certificates a peer showed, whether it was believed or not. Their bytes are hostile."""

import hashlib
import ssl
import warnings
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from monitor.models import Certificate

MAX_CERTIFICATES = 10
MAX_DER_BYTES = 16 * 1024
MAX_NAMES = 100
MAX_NAME_CHARACTERS = 255

_DER = 2  # _ssl.ENCODING_DER
# What `cryptography` raises, lazily, for a certificate it cannot read.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    NotImplementedError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
T = TypeVar("T")


def chain_of(tls: ssl.SSLObject) -> tuple[Certificate, ...]:
    """What the peer sent, leaf first, at most MAX_CERTIFICATES; also when it was just rejected."""
    return tuple(certificate_of(der) for der in _unverified_chain(tls)[:MAX_CERTIFICATES])


def _unverified_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The chain as DER.

    Public since Python 3.13. Before, `getpeercert()` raises once the certificate was rejected, and the chain is only
    at the private object behind it.
    """
    public: Callable[[], list[bytes]] | None = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    private: Any = getattr(tls, "_sslobj", None)
    return [certificate.public_bytes(_DER) for certificate in private.get_unverified_chain() or ()]


# The same chains come again and again, and reading one costs as much as a quarter of a handshake.
@lru_cache(maxsize=512)
def certificate_of(der: bytes) -> Certificate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns about what other people put in their certificates
        parsed = _read(lambda: x509.load_der_x509_certificate(der), None)
        return Certificate(
            sha256=hashlib.sha256(der).hexdigest(),
            subject=_read(lambda: _text(parsed.subject), "") if parsed else "",
            issuer=_read(lambda: _text(parsed.issuer), "") if parsed else "",
            names=_read(lambda: _names(parsed), ()) if parsed else (),
            not_before=_read(lambda: parsed.not_valid_before_utc, None) if parsed else None,
            not_after=_read(lambda: parsed.not_valid_after_utc, None) if parsed else None,
            der=b64encode(der).decode() if len(der) <= MAX_DER_BYTES else "",
        )


def _read(field: Callable[[], T], missing: T) -> T:
    try:
        return field()
    except _UNREADABLE:
        return missing


def _text(name: x509.Name) -> str:
    return printable(name.rfc4514_string())[: 2 * MAX_NAME_CHARACTERS]


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Whom it is for: DNS names and addresses."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return tuple(printable(name)[:MAX_NAME_CHARACTERS] for name in found[:MAX_NAMES])


def printable(text: str) -> str:
    """Without control characters, nor what cannot be written as UTF-8."""
    return "".join(character for character in text if character.isprintable())
