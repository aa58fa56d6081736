"""Vantages that are not there now: the interface, the source address or the network namespace they go by is missing.

A namespace does not survive a reboot, and a modem may be plugged in later: the other vantages go on without them.
"""

import errno
from pathlib import Path

from monitor.config import VantageConfig, placed

_NOT_ALLOWED = (errno.EPERM, errno.EACCES)
# EINVAL: there is a file of that name, but it is no namespace (any more).
_MISSING = {
    "interface": ((errno.ENODEV,), "interface"),
    "source": ((errno.EADDRNOTAVAIL,), "address"),
    "netns": ((errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.ESRCH), "network namespace"),
}


class Absent(Exception):
    """This machine has no such path now. Its text is one line. key: the configuration's, inside the vantage."""

    def __init__(self, named: VantageConfig, problem: OSError) -> None:
        self.key, text = _worded(named, problem)
        super().__init__(text)

    def located(self, file: Path | None, i: int) -> str:
        """The same with file, line and key. i: of the vantage in the configuration that `file` holds."""
        return str(placed(file, f"vantages[{i}].{self.key}", str(self)))


class NoVantage(Exception):
    """None of the vantages is there. Its text is one line."""


def _worded(named: VantageConfig, problem: OSError) -> tuple[str, str]:
    other = (problem.strerror or type(problem).__name__).lower()
    for way, (codes, what) in _MISSING.items():
        value = getattr(named.via, way, None)
        if value is not None:
            refused = f"this user may not use the {what} {value}" if problem.errno in _NOT_ALLOWED else other
            return f"via.{way}", f"no {what} {value} here" if problem.errno in codes else refused
    return "via", other
