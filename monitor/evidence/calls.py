"""The system calls that drawing needs, and the filter that lets no other through.

Found with strace: what the interpreter, Pango, HarfBuzz, PDFium and Pillow ask for once everything is loaded is memory,
threads and the time. A call that is not here fails with EPERM, whatever kernels will add to what there is.
"""

import errno
import struct

from msgspec import Struct

_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data of linux/seccomp.h
_EXECUTABLE, _THREAD = 0x4, 0x10000  # PROT_EXEC, CLONE_THREAD
STANDARD_OUTPUT = 1


class Call(Struct, frozen=True):
    """numbers: on x86_64 (None: it has none), and where the common table holds (asm-generic/unistd.h)."""

    x86_64: int
    common: int | None


class Only(Struct, frozen=True):
    """Allowed where an argument, counted from 0, has this value in these bits."""

    argument: int
    bits: int
    value: int


ALLOWED = {
    "read": Call(0, 63), "munmap": Call(11, 215), "brk": Call(12, 214), "mremap": Call(25, 216),
    "rt_sigaction": Call(13, 134), "rt_sigprocmask": Call(14, 135),
    "rt_sigreturn": Call(15, 139), "sigaltstack": Call(131, 132), "restart_syscall": Call(219, 128),
    "futex": Call(202, 98), "set_robust_list": Call(273, 99), "rseq": Call(334, 293), "sched_yield": Call(24, 124),
    "sched_getaffinity": Call(204, 123), "getpid": Call(39, 172), "gettid": Call(186, 178),
    "getrusage": Call(98, 165), "sysinfo": Call(99, 179), "getcwd": Call(79, 17), "gettimeofday": Call(96, 169),
    "time": Call(201, None), "clock_gettime": Call(228, 113), "clock_getres": Call(229, 114),
    "getrandom": Call(318, 278), "exit": Call(60, 93), "exit_group": Call(231, 94),
}  # fmt: skip
# Writing only where the drawing goes; no memory that can be run; a thread, but no process; of advice on memory none from
# MADV_HWPOISON on, by which an administrator takes it away from the whole machine.
ALLOWED_IN_PART = {
    "write": (Call(1, 64), Only(0, 0xFFFFFFFF, STANDARD_OUTPUT)),
    "mmap": (Call(9, 222), Only(2, _EXECUTABLE, 0)),
    "mprotect": (Call(10, 226), Only(2, _EXECUTABLE, 0)),
    "clone": (Call(56, 220), Only(0, _THREAD, _THREAD)),
    "madvise": (Call(28, 233), Only(2, 0xFFFFFFC0, 0)),
}
# Its arguments lie in memory, where a filter cannot look. Where it seems not to exist, libraries take `clone`.
NOT_THERE = {"clone3": Call(435, 435)}


class Architecture(Struct, frozen=True):
    """number: as the kernel tells it (linux/audit.h). x86_64: has the numbers of that table."""

    number: int
    x86_64: bool

    def of(self, call: Call) -> int | None:
        """The call's number, None where there is no such call."""
        return call.x86_64 if self.x86_64 else call.common


# All of them have the lower half of an argument first.
ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, True),
    "aarch64": Architecture(0xC00000B7, False),
    "riscv64": Architecture(0xC00000F3, False),
}


def program(architecture: Architecture) -> bytes:
    """The filter, as BPF: another architecture's calls end the process."""
    body = [_load(_NUMBER_AT)]
    for call in ALLOWED.values():
        body += _if_equal(architecture.of(call), _return(_ALLOW))
    for call, only in ALLOWED_IN_PART.values():
        told = _load(_ARGUMENTS_AT + 8 * only.argument)
        fits = [told, (_AND, 0, 0, only.bits), (_IF_EQUAL, 0, 1, only.value), _return(_ALLOW)]
        body += _if_equal(architecture.of(call), *fits, _return(_ERRNO | errno.EPERM))
    for call in NOT_THERE.values():
        body += _if_equal(architecture.of(call), _return(_ERRNO | errno.ENOSYS))
    head = [_load(_ARCHITECTURE_AT), (_IF_EQUAL, 1, 0, architecture.number), _return(_KILL)]
    return b"".join(struct.pack("HBBI", *one) for one in (*head, *body, _return(_ERRNO | errno.EPERM)))


_Instruction = tuple[int, int, int, int]  # what, how many to leave out where it is so, and where not, a number


def _load(place: int) -> _Instruction:
    return _LOAD, 0, 0, place


def _return(what: int) -> _Instruction:
    return _RETURN, 0, 0, what


def _if_equal(number: int | None, *then: _Instruction) -> list[_Instruction]:
    return [] if number is None else [(_IF_EQUAL, 0, len(then), number), *then]
