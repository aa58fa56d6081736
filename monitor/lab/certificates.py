"""Certificates: the lab's own authority, a false one, and every way a certificate can be wrong."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=90)


class Certificates:
    """Server contexts, made when first needed and kept: making one takes milliseconds."""

    def __init__(self, addresses: Mapping[str, Sequence[str]] | None = None) -> None:
        """addresses: name -> what else its certificate is for."""
        self._addresses = addresses or {}
        self.authority = trustme.CA(organization_name="Lab Root")
        self._false_authority = trustme.CA(organization_name="Secure Gateway")
        self._contexts: dict[tuple[str, str, int, bool], ssl.SSLContext] = {}

    def context(self, name: str, quality: str, clock_days: int = 0, http2: bool = False) -> ssl.SSLContext:
        """quality: "good", "expired", "self-signed", "wrong-name", "false" (another authority's).

        clock_days: valid around a day that far from now.
        """
        key = (name, quality, clock_days, http2)
        if key not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._issue(name, quality, clock_days).configure_cert(context)
            context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
            self._contexts[key] = context
        return self._contexts[key]

    def leaf(self, name: str) -> trustme.LeafCert:
        """A good certificate with its key."""
        return self._issue(name, "good", 0)

    def _issue(self, name: str, quality: str, clock_days: int) -> trustme.LeafCert:
        start = datetime.now(UTC) + timedelta(days=clock_days) - _LIFE / 2
        if quality == "expired":
            start -= 2 * _LIFE
        if quality == "self-signed":
            return _self_signed(name, start)
        authority = self._false_authority if quality == "false" else self.authority
        names = [f"wrong.{name}"] if quality == "wrong-name" else [name]
        names += self._addresses.get(name, ())
        return authority.issue_cert(*names, not_before=start, not_after=start + _LIFE, common_name=names[0])


def _self_signed(name: str, start: datetime) -> trustme.LeafCert:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), start, start + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return trustme.LeafCert(private, certificate.public_bytes(Encoding.PEM), [])
