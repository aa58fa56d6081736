"""A process that has shut itself in: from here on it opens no file, makes no connection and starts no program.

Hostile pages are drawn by libraries written in C, so what refuses is the kernel, in layers that need no privilege and
cannot be taken off again. One must hold, or nothing is drawn: a filter that lets through the few system calls which
drawing needs (seccomp: Documentation/userspace-api/seccomp_filter.rst of Linux), together with limits. Two are added
where the kernel has them: no file and no port by Landlock (userspace-api/landlock.rst), and a network with nothing in it.
"""

import ctypes
import math
import os
import platform
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path

from monitor.evidence.calls import ARCHITECTURES, program

_SET_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1
_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same everywhere
_ABI_VERSION = 1
# Rights that Landlock can refuse, from which of its versions on: files, ports, and what goes to other processes.
_FILES = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_PORTS, _OTHERS = ((4, 0b11),), ((6, 0b11),)
_NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000


class NotConfined(Exception):
    """This machine cannot shut a process in."""


def possible() -> bool:
    """Can this machine?"""
    return sys.platform == "linux" and platform.machine() in ARCHITECTURES and struct.calcsize("P") == 8


def confine(*, memory: int, seconds: int) -> None:
    """Shut this process in, for good; NotConfined. memory: bytes, in all; seconds: of processor, from now on."""
    if not possible():
        raise NotConfined
    _go_first()
    os.chdir("/")  # where it is, is all that it may ask for of files
    _close_files()
    leave_network()
    lock_files()
    _limit(memory, seconds)
    _filter()


def _go_first() -> None:
    """When this machine has no memory left, the kernel is to end this process and no other."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _close_files() -> None:
    """All but the standard ones: what a library left open could be read."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with suppress(OSError):  # that of the list itself
                os.close(int(name))


def leave_network() -> bool:
    """Into a network of its own, with nothing in it; False where the kernel, or its administrator, does not let."""
    return not ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC)


def lock_files() -> bool:
    """No file and no port can be opened any more; False where this kernel has no Landlock."""
    libc = ctypes.CDLL(None)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ABI_VERSION)
    if version < 1:
        return False
    refused = [sum(right for since, right in rights if since <= version) for rights in (_FILES, _PORTS, _OTHERS)]
    told = ctypes.create_string_buffer(struct.pack("3Q", *refused), 24)
    rules = libc.syscall(_CREATE_RULESET, told, ctypes.c_size_t(len(told)), 0)
    if rules < 0 or libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    held = not libc.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return held


def _limit(memory: int, seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    latest = math.ceil(used.ru_utime + used.ru_stime) + seconds
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, latest, latest + 1),  # the first is a signal that says what it was
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))


def _filter() -> None:
    libc = ctypes.CDLL(None)
    code = program(ARCHITECTURES[platform.machine()])
    kept = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
    # A filter for this thread alone would leave out those that libraries have started.
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        _SECCOMP[platform.machine()], _SET_FILTER, _ALL_THREADS, header
    ):
        raise NotConfined
