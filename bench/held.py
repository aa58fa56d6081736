"""Holds a command to so much memory and so much of a core, by whatever the machine offers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")
_JOIN = 'for file in $JOIN; do echo $$ > "$file" || exit 1; done; exec "$@"'
_LIMIT_AND_RUN = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


class Held:
    """how: what holds it, in words. wrapper: what to put before the command. Closed after the command has ended."""

    def __init__(self, how: str, wrapper: tuple[str, ...], folders: tuple[Path, ...] = ()) -> None:
        self.how, self.wrapper, self._folders = how, wrapper, folders

    def oom_kills(self) -> int | None:
        """Kills for want of memory so far; None where that cannot be read."""
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):
                found = re.search(r"^oom_kill (\d+)$", _read(folder / name), re.MULTILINE)
                if found:
                    return int(found[1])
        return None

    def close(self) -> None:
        """Take the groups away."""
        for folder in self._folders:
            folder.rmdir()


def hold(megabytes: int, cores: float) -> Held:
    """By cgroup v2, cgroup v1, systemd-run; else by an address space limit alone."""
    return (
        _unified(megabytes, cores) or _classic(megabytes, cores) or _by_systemd(megabytes, cores) or _limited(megabytes)
    )


def _unified(megabytes: int, cores: float) -> Held | None:
    folder = _made(_ROOT, _own(""))
    if folder is None:
        return None
    limits = {"memory.max": megabytes << 20, "memory.swap.max": 0, "cpu.max": f"{int(cores * _PERIOD_US)} {_PERIOD_US}"}
    return _filled("cgroup v2", {folder: limits})


def _classic(megabytes: int, cores: float) -> Held | None:
    memory, cpu = (_made(_ROOT / name, _own(name)) for name in ("memory", "cpu"))
    if memory is None or cpu is None:
        _remove(memory, cpu)
        return None
    limits: dict[Path, dict[str, object]] = {
        memory: {"memory.limit_in_bytes": megabytes << 20},
        cpu: {"cpu.cfs_period_us": _PERIOD_US, "cpu.cfs_quota_us": int(cores * _PERIOD_US)},
    }
    return _filled("cgroup v1", limits)


def _by_systemd(megabytes: int, cores: float) -> Held | None:
    if not shutil.which("systemd-run") or not Path("/run/systemd/system").is_dir():
        return None
    options = ("-p", f"MemoryMax={megabytes}M", "-p", "MemorySwapMax=0", "-p", f"CPUQuota={cores:.0%}")
    return Held("systemd-run", ("systemd-run", "--quiet", "--scope", *options))


def _limited(megabytes: int) -> Held:
    # Address space is more than memory: a limit of twice that is what an interpreter and its threads need.
    limit = str(2 * megabytes << 20)
    return Held("RLIMIT_AS of twice that, the core not held", (sys.executable, "-c", _LIMIT_AND_RUN, limit))


def _own(controller: str) -> str | None:
    """This process's own group of a controller; "": of cgroup v2."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return None


def _made(root: Path, own: str | None) -> Path | None:
    """A group below our own; None where it cannot be."""
    if own is None:
        return None
    folder = root / own.strip("/") / f"almenara-bench-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder


def _filled(how: str, limits: dict[Path, dict[str, object]]) -> Held | None:
    try:
        for folder, values in limits.items():
            for name, value in values.items():
                if name != "memory.swap.max" or (folder / name).exists():
                    _write(folder / name, str(value))
    except OSError:
        _remove(*limits)
        return None
    files = " ".join(str(folder / "cgroup.procs") for folder in limits)
    return Held(how, ("env", f"JOIN={files}", "sh", "-c", _JOIN, "sh"), tuple(limits))


def _write(file: Path, value: str) -> None:
    # Not write_text: where the controller is not there, opening must not make a file of that name.
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remove(*folders: Path | None) -> None:
    for folder in folders:
        if folder is not None:
            folder.rmdir()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    held = hold(256, 0.25)
    sys.stdout.write(f"{held.how}: {' '.join(held.wrapper)}\n")
    subprocess.run([*held.wrapper, "true"], check=True)
    held.close()
