"""Vantages that are not there now: the interface, the source address or the network namespace they go by is missing.

A namespace does not survive a reboot, and a modem may be plugged in later: the other vantages go on without them.
"""

import errno
from pathlib import Path

from monitor import system_errors
from monitor.config import ConfigError, VantageConfig, placed
from monitor.messages import N_, Said

_NOT_ALLOWED = (errno.EPERM, errno.EACCES)
# What the system says then; that it is not there; that it is another's. EINVAL: there is a file of that name, but it is
# no namespace (any more).
_MISSING = {
    "interface": (
        (errno.ENODEV,), N_("no interface {value} here"), N_("this user may not use the interface {value}"),
    ),
    "source": (
        (errno.EADDRNOTAVAIL,), N_("no address {value} here"), N_("this user may not use the address {value}"),
    ),
    "netns": (
        (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.ESRCH),
        N_("no network namespace {value} here"), N_("this user may not use the network namespace {value}"),
    ),
}  # fmt: skip


class Absent(Exception):
    """This machine has no such path now. Its text is one line. key: the configuration's, inside the vantage."""

    def __init__(self, named: VantageConfig, problem: OSError) -> None:
        self.key, text = _worded(named, problem)
        super().__init__(text)

    def located(self, file: Path | None, i: int) -> ConfigError:
        """The same with file, line and key. i: of the vantage in the configuration that `file` holds."""
        return placed(file, f"vantages[{i}].{self.key}", self)


class NoVantage(Exception):
    """None of the vantages is there. Its text is one line."""


def _worded(named: VantageConfig, problem: OSError) -> tuple[str, Said | str]:
    for way, (codes, missing, refused) in _MISSING.items():
        value = getattr(named.via, way, None)
        if value is not None and problem.errno in (*codes, *_NOT_ALLOWED):
            return f"via.{way}", Said(missing if problem.errno in codes else refused, value=value)
        if value is not None:
            return f"via.{way}", system_errors.problem(problem)
    return "via", system_errors.problem(problem)
