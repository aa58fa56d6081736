"""The process that draws hostile pages: from the kernel's own answers, it can do nothing but draw."""

import errno
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.evidence import confined
from monitor.evidence.calls import ALLOWED, ALLOWED_IN_PART, ARCHITECTURES, NOT_THERE, Architecture, program

ROOT = Path(__file__).parent.parent
needs_walls = pytest.mark.skipif(not confined.possible(), reason="needs Linux on a 64-bit machine")


def python(code: str, *arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout, check=False, input="in")


# Tries everything, confined or not, and prints what came of each: "done", or the error's name. {prepare}, {confine},
# {draw}: what comes before and after.
TRIES = """
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, sys, termios, threading
{prepare}
folder, victim = sys.argv[1], int(sys.argv[2])
mine = folder + "/mine"
X86 = os.uname().machine == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
def raw(x86_64, common, *arguments):
    passed = (one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments)
    if libc.syscall(x86_64 if X86 else common, *passed) == -1:
        raise OSError(ctypes.get_errno(), "")
def forked():
    if not os.fork():
        os._exit(0)
    os.wait()
def executable():
    if libc.mprotect(ctypes.c_void_p(at), 4096, 5):
        raise OSError(ctypes.get_errno(), "")
def later():
    go.wait()
    tried("opens in a thread from before", lambda: open("/etc/hostname"))
found = {{}}
def tried(name, what):
    try:
        what()
        found[name] = "done"
    except OSError as exc:
        found[name] = errno.errorcode.get(exc.errno, str(exc))
go = threading.Event()
thread = threading.Thread(target=later)
thread.start()
{confine}
go.set()
thread.join()
for name, what in {{
    "reads": lambda: open("/etc/hostname"), "writes": lambda: open(folder + "/x", "w"), "appends": lambda: open(mine, "a"),
    "lists": lambda: os.listdir("/"), "stats": lambda: os.stat("/etc/passwd"), "looks": lambda: os.readlink("/proc/self/exe"),
    "asks of a file": lambda: os.getxattr(mine, "user.x"),
    "makes a folder": lambda: os.mkdir(folder + "/d"), "goes into it": lambda: os.chdir(folder),
    "marks": lambda: os.setxattr(mine, "user.y", b"1"), "cuts": lambda: os.truncate(mine, 0),
    "permits": lambda: os.chmod(mine, 0o777), "gives away": lambda: os.chown(mine, -1, os.getgid()),
    "dates": lambda: os.utime(mine, (0, 0)), "links": lambda: os.link(mine, folder + "/l"),
    "points": lambda: os.symlink("/", folder + "/s"), "makes a pipe": lambda: os.mkfifo(folder + "/f"),
    "makes a node": lambda: os.mknod(folder + "/n"), "renames": lambda: os.rename(mine, folder + "/y"),
    "deletes": lambda: os.unlink(folder + "/y"), "opens by another call": lambda: raw(437, 437, -100, b"/etc/hosts", bytes(24), 24),
    "IPv4": lambda: socket.socket(), "IPv6": lambda: socket.socket(socket.AF_INET6), "UDP": lambda: socket.socket(type=2),
    "local": lambda: socket.socket(socket.AF_UNIX), "kernel": lambda: socket.socket(socket.AF_NETLINK, 3),
    "pair": socket.socketpair,
    "connects": lambda: socket.socket().connect(("127.0.0.1", int(sys.argv[3]))),
    "listens": lambda: socket.create_server(("127.0.0.1", 0)),
    "forks": forked, "spawns": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0),
    "signals": lambda: os.kill(victim, 0), "signals a thread": lambda: raw(200, 130, victim, 0),
    "signals one of a group": lambda: raw(234, 131, victim, victim, 0), "holds": lambda: os.pidfd_open(victim),
    "traces": lambda: raw(101, 117, 0x4206, victim, 0, 0), "reads memory": lambda: raw(310, 270, victim, 0, 0, 0, 0, 0),
    "slows": lambda: os.setpriority(os.PRIO_PROCESS, victim, 1), "limits": lambda: resource.prlimit(victim, resource.RLIMIT_CPU),
    "asks a device": lambda: fcntl.ioctl(0, termios.FIONREAD, bytes(4)), "asks of a handle": lambda: fcntl.fcntl(1, fcntl.F_GETFL),
    "doubles a handle": lambda: os.dup(1), "writes elsewhere": lambda: os.write(2, b"x"),
    "shares memory": lambda: raw(29, 194, 0, 4096, 0o600), "makes a file in memory": lambda: os.memfd_create("x"),
    "makes a counter": lambda: os.eventfd(0), "runs what it wrote": executable,
    "maps what can run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC), "asks whose machine": os.uname,
    "arms a timer": lambda: signal.setitimer(signal.ITIMER_REAL, 100), "asks who it is": lambda: raw(102, 174),
}}.items():
    tried(name, what)
{draw}
print(json.dumps(found), flush=True)
os.execv("/bin/echo", ["echo", "started another program"])
"""
CONFINED = {
    "prepare": "from monitor.evidence import painter\ndraw = painter.prepared('picture')",
    "confine": "painter.confine(memory=painter.MOST_MEMORY, seconds=20)",
    "draw": "found['draws'] = len(draw('<h1>Acceso restringido</h1>')) > 100_000 and 'done'",
}


@pytest.fixture
def victim() -> Iterator[int]:
    """Another process of this user."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def port() -> Iterator[str]:
    """Of a server that answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file in it."""
    (tmp_path / "mine").write_text("here")
    os.setxattr(tmp_path / "mine", "user.x", b"1")
    return tmp_path


def tries(how: dict[str, str], folder: Path, victim: int, port: str) -> tuple[dict[str, Any], list[str]]:
    """What came of each, and what else was printed."""
    done = python(TRIES.format(**how), str(folder), str(victim), port)
    found, *more = done.stdout.splitlines()
    return json.loads(found), [*more, *done.stderr.splitlines()]


@needs_walls
def test_unconfined_everything_that_is_tried_can_be_done(folder: Path, victim: int, port: str) -> None:
    """Else what follows proves nothing."""
    found, more = tries({"prepare": "", "confine": "", "draw": ""}, folder, victim, port)
    assert {name: came for name, came in found.items() if came != "done"} == {}
    assert more[0] == "started another program"


@needs_walls
def test_confined_nothing_can_be_done_but_a_picture_is_drawn(folder: Path, victim: int, port: str) -> None:
    pytest.importorskip("weasyprint", reason="the extra report is not installed")
    found, more = tries(CONFINED, folder, victim, port)
    assert found.pop("draws") == "done"
    assert {name: came for name, came in found.items() if came != "EPERM"} == {}
    assert not [line for line in more if "started another program" in line]
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("mine", "here")]


# x86_64's uretprobe and uprobe: only the kernel's own trampolines may make them, anybody else gets SIGILL, and no filter
# is asked (kernel/seccomp.c).
TRAMPOLINES = (335, 336)
EVERY_CALL = """
import ctypes, errno, json, os, sys
from monitor.evidence.confined import confine
let = set(json.loads(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
confine(memory=1 << 31, seconds=20)
found = {}
for number in [n for n in range(1024) if n not in let] + [n + 0x40000000 for n in range(1024)]:
    ctypes.set_errno(0)
    if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM:
        found[number] = ctypes.get_errno()
print(json.dumps(found))
"""


@needs_walls
def test_every_other_system_call_is_refused_whatever_its_number() -> None:
    """x86_64's second set of numbers included, and those that kernels will add."""
    here = ARCHITECTURES[os.uname().machine]
    known = [*ALLOWED.values(), *(call for call, _ in ALLOWED_IN_PART.values()), *NOT_THERE.values()]
    done = python(EVERY_CALL, json.dumps([*(here.of(call) for call in known), *TRAMPOLINES]))
    assert (json.loads(done.stdout), done.stderr) == ({}, "")


# getpid by the door of 32-bit programs, with numbers of its own: mov eax, 20; int 0x80; ret.
OTHER_DOOR = """
import ctypes, mmap, os
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("b814000000cd80c3"))
asks = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
{confine}
os.write(1, b"%d" % (asks() == os.getpid()))
"""
SHUT_IN = "from monitor.evidence.confined import confine\nconfine(memory=1 << 31, seconds=20)"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86_64 has two doors")
def test_who_takes_the_door_of_32_bit_programs_is_ended() -> None:
    if python(OTHER_DOOR.format(confine="")).stdout != "1":
        pytest.skip("this kernel has no such door")
    done = python(OTHER_DOOR.format(confine=SHUT_IN))
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")


@needs_walls
@pytest.mark.parametrize(
    ("layer", "trial", "expected"),
    [
        ("lock_files", "open('/etc/hostname')", errno.EACCES),
        ("lock_files", "open(sys.argv[1] + '/x', 'w')", errno.EACCES),
        ("lock_files", "socket.create_connection(('127.0.0.1', int(sys.argv[2])))", errno.EACCES),
        ("leave_network", "socket.create_connection(('127.0.0.1', int(sys.argv[2])))", errno.ENETUNREACH),
    ],
)
def test_each_further_layer_holds_by_itself(tmp_path: Path, port: str, layer: str, trial: str, expected: int) -> None:
    code = f"""import socket, sys\nfrom monitor.evidence import confined\nif not confined.{layer}(): sys.exit(77)
try:\n    {trial}\nexcept OSError as exc:\n    print(exc.errno)"""
    done = python(code, str(tmp_path), port)
    if done.returncode == 77:
        pytest.skip("this kernel, or its administrator, does not let")
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


# --- other machines --------------------------------------------------------------------------------------------------


def answer(machine: Architecture, number: int, *arguments: int, code: int | None = None) -> int:
    """What the filter says to a call there: BPF, as far as the filter uses it."""
    data = struct.pack("iIQ6Q", number, code or machine.number, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("HBBI", program(machine)))
    assert len(instructions) <= 4096
    place = held = 0
    while True:
        what, yes, no, value = instructions[place]
        place += 1
        if what == 0x20:
            (held,) = struct.unpack_from("I", data, value)
        elif what == 0x54:
            held &= value
        elif what == 0x15:
            place += yes if held == value else no
        else:
            assert what == 0x06
            return int(value)


LET, EPERM, ENOSYS, KILLED = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_filter_lets_through_what_is_on_the_list_on_every_architecture(name: str) -> None:
    machine = ARCHITECTURES[name]
    let = {number for call in ALLOWED.values() if (number := machine.of(call)) is not None}
    assert {number for number in range(1024) if answer(machine, number, 0, 0, 0) == LET} == let | {
        machine.of(ALLOWED_IN_PART[call][0]) for call in ("mmap", "mprotect", "madvise")
    }  # fmt: skip
    write, mmap, mprotect, clone, madvise = (
        machine.of(ALLOWED_IN_PART[call][0]) for call in ("write", "mmap", "mprotect", "clone", "madvise")
    )
    assert None not in (write, mmap, mprotect, clone, madvise)
    assert [answer(machine, write or 0, handle) for handle in (0, 1, 2, 3, (1 << 32) - 1)] == [
        EPERM,
        LET,
        EPERM,
        EPERM,
        EPERM,
    ]
    assert [answer(machine, mmap or 0, 0, 1, bits) for bits in (0, 3, 4, 5, 7)] == [LET, LET, EPERM, EPERM, EPERM]
    assert [answer(machine, mprotect or 0, 0, 1, bits) for bits in (0, 3, 4, 5, 7)] == [LET, LET, EPERM, EPERM, EPERM]
    assert [answer(machine, clone or 0, flags) for flags in (17, 0x4111, 0x3D0F00, 0x10000)] == [EPERM, EPERM, LET, LET]
    assert [answer(machine, madvise or 0, 0, 1, advice) for advice in (4, 8, 14, 25, 100, 101, 1 << 31)] == [
        LET, LET, LET, LET, EPERM, EPERM, EPERM,
    ]  # fmt: skip
    assert answer(machine, 435) == ENOSYS
    assert answer(machine, 0, code=machine.number ^ 1) == KILLED


@pytest.mark.parametrize(
    ("header", "prefix", "machine"),
    [
        ("x86_64-linux-gnu/asm/unistd_64.h", "__NR_", "x86_64"),
        ("asm-generic/unistd.h", "__NR(?:3264)?_", "aarch64"),
    ],
)
def test_the_numbers_are_those_of_the_kernels_headers(header: str, prefix: str, machine: str) -> None:
    file = Path("/usr/include") / header
    if not file.exists():
        pytest.skip(f"{header} is not installed")
    numbers = {name: int(number) for name, number in re.findall(rf"#define {prefix}(\w+)\s+(\d+)\b", file.read_text())}
    here = ARCHITECTURES[machine]
    calls = ALLOWED | {name: call for name, (call, _) in ALLOWED_IN_PART.items()} | NOT_THERE
    told = {name: number for name, call in calls.items() if (number := here.of(call)) is not None}
    assert told == {name: numbers[name] for name in told}
