"""Exception -> failure string: the one door for errors.

Names are OONI's (data format df-007), so that our data can be read beside theirs. Decided by type and errno, never by
message text. A failure nobody can name is `unknown_failure: ...` and is never evidence.
"""

import asyncio
import errno
import ssl

TIMEOUT = "generic_timeout_error"
RESET = "connection_reset"
REFUSED = "connection_refused"
EOF = "eof_error"
NXDOMAIN = "dns_nxdomain_error"
NO_ANSWER = "dns_no_answer"
SERVFAIL = "dns_servfail_error"
DNS_REFUSED = "dns_refused_error"
DNS_MISBEHAVING = "dns_server_misbehaving"
BOGON = "dns_bogon_error"
UNKNOWN_AUTHORITY = "ssl_unknown_authority"
INVALID_HOSTNAME = "ssl_invalid_hostname"
INVALID_CERTIFICATE = "ssl_invalid_certificate"
FAILED_HANDSHAKE = "ssl_failed_handshake"
HTTP_PROTOCOL = "http_protocol_error"
# Not of df-007 either: what a proxy keeps to itself is no evidence of anything.
PROXY_SILENT = "unknown_failure: proxy_silent"
# Nobody told where the control is: this must not read as an answer about the site.
HELPER_UNRESOLVED = "unknown_failure: helper_unresolved"
RESOLVER_UNRESOLVED = "unknown_failure: resolver_unresolved"

CERTIFICATE_FAILURES = frozenset({UNKNOWN_AUTHORITY, INVALID_HOSTNAME, INVALID_CERTIFICATE})
UNREACHABLE_FAILURES = frozenset({"host_unreachable", "network_unreachable"})

_BY_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    # A write after the peer's reset was already read: the same cut, seen one call later.
    errno.EPIPE: RESET,
    errno.ECONNABORTED: "connection_aborted",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ENETUNREACH: "network_unreachable",
    errno.ENETDOWN: "network_down",
    errno.ENETRESET: "network_reset",
    errno.EADDRNOTAVAIL: "address_not_available",
    errno.EADDRINUSE: "address_in_use",
    errno.EAFNOSUPPORT: "address_family_not_supported",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EINVAL: "invalid_argument",
    errno.ENOBUFS: "no_buffer_space",
    errno.EMSGSIZE: "message_size",
    errno.ETIMEDOUT: TIMEOUT,
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
}

# OpenSSL's X509_V_ERR_* codes: chains that end in nobody we trust; names that do not fit; the rest is "invalid".
_UNKNOWN_AUTHORITY_CODES = frozenset({2, 18, 19, 20, 21, 27})
_HOSTNAME_CODES = frozenset({62, 64})

# What a SOCKS proxy says of the address it was to connect to (RFC 1928, 6). "TTL expired" is what Tor and microsocks say
# of a connection attempt that timed out. Other codes are about the proxy itself.
SOCKS_REPLIES = {
    3: errno.ENETUNREACH,
    4: errno.EHOSTUNREACH,
    5: errno.ECONNREFUSED,
    6: errno.ETIMEDOUT,
}

_BY_RCODE = {"NXDOMAIN": NXDOMAIN, "SERVFAIL": SERVFAIL, "REFUSED": DNS_REFUSED}

# Every name that this program gives to a failure.
NAMES = frozenset({
    TIMEOUT, RESET, REFUSED, EOF, NXDOMAIN, NO_ANSWER, SERVFAIL, DNS_REFUSED, DNS_MISBEHAVING, BOGON, FAILED_HANDSHAKE,
    HTTP_PROTOCOL, *CERTIFICATE_FAILURES, *_BY_ERRNO.values(),
})  # fmt: skip


class ProxyFailure(OSError):
    """What a proxy does, or says of itself: known by no name of df-007, and never evidence. what: a word for it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def socks_failure(code: int | None) -> OSError:
    """A SOCKS proxy's reply, by its code, as the error that it stands for."""
    number = SOCKS_REPLIES.get(-1 if code is None else code)
    return ProxyFailure("proxy_refuses") if number is None else OSError(number, "as the proxy says")


def failure_string(exc: BaseException) -> str:
    """The df-007 name of what an exception says happened on the wire."""
    if isinstance(exc, ProxyFailure):
        return f"unknown_failure: {exc.what}"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return certificate_failure(exc.verify_code)
    if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError | asyncio.IncompleteReadError | EOFError):
        return EOF
    if isinstance(exc, ssl.SSLError):
        return FAILED_HANDSHAKE
    if isinstance(exc, TimeoutError) and getattr(exc, "errno", None) in (None, errno.ETIMEDOUT):
        return TIMEOUT
    if isinstance(exc, OSError) and exc.errno in _BY_ERRNO:
        return _BY_ERRNO[exc.errno]
    return f"unknown_failure: {type(exc).__name__}"


def is_unknown(failure: str | None) -> bool:
    """A failure that nobody can name: no evidence."""
    return failure is not None and failure.startswith("unknown_failure")


def certificate_failure(verify_code: int) -> str:
    """The df-007 name for OpenSSL's reason to reject a certificate."""
    if verify_code in _UNKNOWN_AUTHORITY_CODES:
        return UNKNOWN_AUTHORITY
    if verify_code in _HOSTNAME_CODES:
        return INVALID_HOSTNAME
    return INVALID_CERTIFICATE


def dns_failure(rcode: str, has_addresses: bool) -> str | None:
    """The df-007 name for a DNS answer, None where it carries an address."""
    if rcode == "NOERROR":
        return None if has_addresses else NO_ANSWER
    return _BY_RCODE.get(rcode, DNS_MISBEHAVING)
