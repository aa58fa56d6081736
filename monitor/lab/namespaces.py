"""Namespaces: hosts that live exactly as long as the process that made them."""

import ctypes
import errno
import fcntl
import os
import signal
import struct
import sys
from pathlib import Path

from monitor import system_errors
from monitor.lab import netlink
from monitor.messages import N_, Said

_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_SYS_ADMIN, _NET_ADMIN = 21, 12
_SET_PDEATHSIG = 1
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_TUN_DEVICE = "/dev/net/tun"
_MTU = 1500
_QUEUE = 5000  # packets: a burst must wait for the wire, not be lost

_NO_ENTRY = N_("cannot enter the network namespace {path}: {problem}")
_NO_USER_NAMESPACE = {
    errno.EINVAL: N_("not without root: an unprivileged process must start it before any thread"),
    errno.ENOSPC: N_("not without root: this machine allows no more user namespaces (user.max_user_namespaces)"),
}
_NO_TUN = {
    errno.ENOENT: N_("the kernel has no tun device (modprobe tun)"),
    errno.ENODEV: N_("the kernel has no tun device (modprobe tun)"),
    errno.EACCES: N_("this user may not open it (root, or chmod a+rw)"),
    errno.EPERM: N_("this container may not use it"),
}

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab cannot run here: one line that says why."""


def prepare() -> None:
    """Makes this process able to create network namespaces, entering a user namespace of its own where needed.

    Raises LabError. An unprivileged process must call it before it starts a thread.
    """
    if sys.platform != "linux":
        raise LabError(Said("it needs Linux: it is made of network namespaces"))
    try:
        os.close(os.open(_TUN_DEVICE, os.O_RDWR))
    except OSError as error:
        raise LabError(_tun_trouble(error)) from None
    if not _privileged():
        _enter_user_namespace()


def create(device: str = "wire0") -> tuple[int, int]:
    """Moves this process into a new network namespace with one tun device: (the namespace's fd, the device's fd)."""
    _call(_libc.unshare(_NEWNET), N_("cannot create a network namespace: {problem}"))
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        tun = os.open(_TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TUN_WITHOUT_HEADER))
    except OSError as error:
        raise LabError(_tun_trouble(error)) from None
    return namespace, tun


def furnish(addresses: tuple[str, ...], owned: tuple[str, ...] = (), *, routed: bool = True) -> None:
    """Configures the namespace this process is in: loopback, the device, its addresses and routes.

    owned: addresses that it answers for without carrying them. routed: it has a way out.
    """
    device = 2  # the loopback is 1; nothing else can be in a new namespace
    messages = [netlink.link(1), netlink.link(device, mtu=_MTU, queue=_QUEUE)]
    messages += [netlink.address(device, text) for text in addresses]
    families = sorted({6 if ":" in text else 4 for text in addresses}) if routed else []
    messages += [netlink.default_route(device, family) for family in families]
    messages += [netlink.any_ip(text) for text in owned]
    # The kernel would remember the round trips of one scenario and use them in the next.
    _write_setting("net/ipv4/tcp_no_metrics_save", "1")
    _write_setting("net/ipv6/conf/wire0/accept_ra", "0")
    try:
        netlink.apply(messages)
    except OSError as error:
        problem = system_errors.problem(error)
        raise LabError(Said("cannot configure a network namespace: {problem}", problem=problem)) from None


def enter(path: str) -> None:
    """Moves this process (and what it starts) into a network namespace, through its owner's user namespace if need be."""
    if not _privileged():
        _enter_user_namespace_of(path)
    try:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(Said(_NO_ENTRY, path=path, problem=system_errors.problem(error))) from None
    try:
        _call(_libc.setns(namespace, _NEWNET), _NO_ENTRY, path=path)
    finally:
        os.close(namespace)


def die_with(parent: int) -> None:
    """This process is killed when the thread that started it ends, whatever ends it."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def _privileged() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            capabilities = int(line.split()[1], 16)
            return all(capabilities >> number & 1 for number in (_SYS_ADMIN, _NET_ADMIN))
    return False


def _enter_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_NEWUSER):
        error = _last_error()
        known = _NO_USER_NAMESPACE.get(
            error.errno or 0, N_("not without root: this machine allows no user namespaces ({problem})")
        )
        raise LabError(Said(known, problem=system_errors.problem(error)))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    except OSError as error:
        problem = system_errors.problem(error)
        raise LabError(
            Said("not without root: user namespaces are restricted here ({problem})", problem=problem)
        ) from None
    if not _privileged():
        raise LabError(Said("not without root: user namespaces have no rights on this machine"))


def _enter_user_namespace_of(path: str) -> None:
    parts = Path(path).parts
    if parts[:2] != ("/", "proc") or len(parts) < 3:
        raise LabError(Said("cannot enter the network namespace {path} without root", path=path))
    try:
        owner = os.open(f"/proc/{parts[2]}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(Said(_NO_ENTRY, path=path, problem=system_errors.problem(error))) from None
    try:
        _call(_libc.setns(owner, _NEWUSER), _NO_ENTRY, path=path)
    finally:
        os.close(owner)


def _write_setting(name: str, value: str) -> None:
    try:
        Path("/proc/sys", name).write_text(value)
    except OSError:
        return  # a machine with a read-only /proc/sys, or without IPv6: a little less exact, and still a lab


def _tun_trouble(error: OSError) -> Said:
    hint = _NO_TUN.get(error.errno or 0)
    return Said("{device}: {problem}", device=_TUN_DEVICE, problem=Said(hint) if hint else system_errors.problem(error))


def _call(result: int, message: str, **values: object) -> None:
    """message: what cannot be done where the result is an error; it names the {problem}."""
    if result:
        raise LabError(Said(message, problem=system_errors.problem(_last_error()), **values))


def _last_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
