"""What the operating system says when it refuses, in the words that users read."""

import errno
import socket

from monitor.messages import N_, Said

_WORDS = {
    errno.ENOENT: N_("no such file or directory"),
    errno.EACCES: N_("permission denied"),
    errno.EPERM: N_("operation not permitted"),
    errno.EISDIR: N_("is a directory"),
    errno.ENOTDIR: N_("not a directory"),
    errno.EEXIST: N_("file exists"),
    errno.ENOTEMPTY: N_("directory not empty"),
    errno.EROFS: N_("read-only file system"),
    errno.ENOSPC: N_("no space left on device"),
    errno.EDQUOT: N_("disk quota exceeded"),
    errno.EFBIG: N_("file too large"),
    errno.EIO: N_("input/output error"),
    errno.ENAMETOOLONG: N_("file name too long"),
    errno.ELOOP: N_("too many levels of symbolic links"),
    errno.EMFILE: N_("too many open files"),
    errno.EADDRINUSE: N_("address already in use"),
    errno.EADDRNOTAVAIL: N_("cannot assign requested address"),
    errno.ENODEV: N_("no such device"),
    errno.ENXIO: N_("no such device or address"),
    errno.EINVAL: N_("invalid argument"),
    errno.EBUSY: N_("device or resource busy"),
    errno.ENOMEM: N_("cannot allocate memory"),
    errno.ECONNREFUSED: N_("connection refused"),
    errno.ECONNRESET: N_("connection reset by peer"),
    errno.ETIMEDOUT: N_("no answer in time"),
    errno.ENETUNREACH: N_("network is unreachable"),
    errno.EHOSTUNREACH: N_("no route to host"),
}
_NAMES = {
    socket.EAI_NONAME: N_("name or service not known"),
    getattr(socket, "EAI_NODATA", None): N_("no address associated with hostname"),
    socket.EAI_AGAIN: N_("temporary failure in name resolution"),
    socket.EAI_FAIL: N_("non-recoverable failure in name resolution"),
}
_PEM_LIBRARY = 9  # OpenSSL's ERR_R_PEM_LIB, among flags that differ between versions


def problem(exc: OSError) -> Said | str:
    """A few words in small letters; those that are not known as the system has them."""
    known = _known(exc)
    return Said(known) if known else (exc.strerror or type(exc).__name__).lower()


def problem_behind(exc: Exception) -> Said | str:
    """What made a library fail: the system's error that it passed on, else the name of its own."""
    causes: list[BaseException] = [exc]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    last = next((cause for cause in reversed(causes) if isinstance(cause, OSError)), None)
    return problem(last) if last is not None else type(exc).__name__


def _known(exc: OSError) -> str | None:
    import ssl  # slow, and only what went wrong needs it

    if isinstance(exc, ssl.SSLError):  # its numbers are OpenSSL's
        if isinstance(exc, ssl.SSLCertVerificationError):
            return N_("its certificate is not valid")
        if exc.reason == "KEY_VALUES_MISMATCH":
            return N_("the key does not belong to the certificate")
        return N_("expected a certificate and a key in PEM") if (exc.errno or 0) & 0xFFF == _PEM_LIBRARY else None
    if isinstance(exc, TimeoutError) and exc.errno is None:
        return _WORDS[errno.ETIMEDOUT]
    return (_NAMES if isinstance(exc, socket.gaierror) else _WORDS).get(exc.errno or 0)
