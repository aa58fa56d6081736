"""Certificates: the lab's own authority, a false one, and every way a certificate can be wrong."""

import ssl
from datetime import UTC, datetime, timedelta

import trustme

_LIFE = timedelta(days=90)


class Certificates:
    """Server contexts, made when first needed and kept: making one takes milliseconds."""

    def __init__(self) -> None:
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
        authority = self.authority
        if quality == "self-signed":
            authority = trustme.CA(organization_name=name)
        elif quality == "false":
            authority = self._false_authority
        names = [f"wrong.{name}"] if quality == "wrong-name" else [name]
        return authority.issue_cert(*names, not_before=start, not_after=start + _LIFE, common_name=names[0])
