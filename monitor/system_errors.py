"""What the operating system says when it refuses, in the words that users read."""

import errno

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
}


def problem(exc: OSError) -> Said | str:
    """A few words in small letters; those that are not known as the system has them."""
    known = _WORDS.get(exc.errno or 0)
    return Said(known) if known else (exc.strerror or type(exc).__name__).lower()
