"""A process that has shut itself in: from here on it opens no file, makes no connection and starts no program.

Hostile pages are drawn by libraries written in C, so what refuses is the kernel: a seccomp filter (Linux's
Documentation/userspace-api/seccomp_filter.rst), which needs no privilege and cannot be taken off again.
"""

import ctypes
import errno
import platform
import resource
import struct
import sys

_SET_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_X32 = 0x40000000  # x86_64's second set of numbers, by which the first could be got around

# Architecture -> its place in the table, its number for the kernel (linux/audit.h).
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "riscv64": (1, 0xC00000F3)}
_SECCOMP = (317, 277)
# Call -> its number on x86_64, and on those that have the common table (asm-generic/unistd.h).
_FORBIDDEN = {
    "openat": (257, 56), "openat2": (437, 437), "open_by_handle_at": (304, 265), "truncate": (76, 45),
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "connect": (42, 203),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "renameat": (264, 38), "renameat2": (316, 276), "linkat": (265, 37), "symlinkat": (266, 36), "unlinkat": (263, 35),
    "mkdirat": (258, 34), "fchmodat": (268, 53), "mount": (165, 40), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "unshare": (272, 97), "setns": (308, 268),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217), "keyctl": (250, 219),
}  # fmt: skip
# What only x86_64 still has: open, creat, fork, vfork, rename, mkdir, rmdir, link, unlink, symlink, chmod.
_OLD = (2, 85, 57, 58, 82, 83, 84, 86, 87, 88, 90)


class NotConfined(Exception):
    """This machine cannot shut a process in."""


def possible() -> bool:
    """Can this machine?"""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES and struct.calcsize("P") == 8


def confine(*, memory: int, seconds: int) -> None:
    """Shut this process in, for good; NotConfined. memory: bytes, in all; seconds: of processor, from its start."""
    if not possible():
        raise NotConfined
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    libc = ctypes.CDLL(None, use_errno=True)
    place, architecture = _ARCHITECTURES[platform.machine()]
    program = _program(place, architecture)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    # A filter for this thread alone would leave out those that libraries have started.
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        _SECCOMP[place], _SET_FILTER, _ALL_THREADS, header
    ):
        raise NotConfined


def _program(place: int, architecture: int) -> bytes:
    """BPF: another architecture's calls end the process, the forbidden ones fail, all others pass."""
    calls = [numbers[place] for numbers in _FORBIDDEN.values()] + list(_OLD if place == 0 else ())
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, len(calls) + 1, 0, _X32),
        *((_IF_EQUAL, len(calls) - number, 0, call) for number, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EACCES),
    ]
    return b"".join(struct.pack("HBBI", *one) for one in instructions)
