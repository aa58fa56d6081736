"""The box: starts the lab's processes, and is the one handle on them.

    with Lab(draw(seed, SCENARIOS)) as lab:
        lab.start_helper()
        lab.censor("cantv", "tls-reset", "www.example.com")

Everything ends with the process that started it. The thread that started it must outlive it, too: the kernel kills a
process with the thread that is its parent.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec
from msgspec import Struct

import monitor
from monitor.lab import namespaces
from monitor.lab.censors import TECHNIQUES
from monitor.lab.namespaces import LabError
from monitor.lab.policy import EVERYONE, LIES, Policy
from monitor.lab.wire import SERVERS
from monitor.lab.world import Line, World
from monitor.messages import Said

_PUBLIC_RESOLVERS = ("8.8.8.8", "1.1.1.1", "9.9.9.9")
_STARTS_S = 15.0
_ENDED = Said("a process of the lab has ended")


class IspInfo(Struct, frozen=True, kw_only=True):
    """A line to measure from. netns: the path of its network namespace."""

    name: str
    isp: str
    asn: int
    country: str
    netns: str
    addresses: tuple[str, ...]
    resolvers: tuple[str, ...]


class Lab:
    """A running lab. Raises LabError, one line, where it cannot run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.isps: dict[str, IspInfo] = {}
        self.helper_url = f"https://{world.helper}/"
        self.neutral = world.neutral
        self.doh = world.doh
        self.public_resolvers = _PUBLIC_RESOLVERS
        self._children: list[subprocess.Popen[bytes]] = []
        self._files: list[int] = []
        self._spaces: dict[str, str] = {}
        self._number = 0
        self._moved: dict[str, str] = {}

    def __enter__(self) -> Self:
        namespaces.prepare()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of the lab; its namespaces go with them."""
        for child in reversed(self._children):
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream:
                    stream.close()
        self._children.clear()
        for file in self._files:
            os.close(file)
        self._files.clear()

    @property
    def control_netns(self) -> str:
        """The path of the uncensored network's namespace."""
        return self._spaces["control"]

    def censor(self, isp: str, technique: str, site: str, **parameters: Any) -> int:
        """Puts a censor up while the lab runs: its number. isp: a line or EVERYONE. site: a URL or a name.

        parameters: as in Policy; a lie is told by all of the ISP's resolvers unless `resolvers` says which.
        """
        owner = self.world.site_of(site)
        fields: dict[str, Any] = {"technique": technique, "names": (owner.name,), "addresses": owner.addresses}
        if technique in LIES:
            fields["resolvers"] = self.world.lines[isp].resolvers
        return self.put(isp, Policy(**(fields | parameters)))

    def put(self, isp: str, policy: Policy) -> int:
        """Puts a policy up: its number."""
        if isp not in {EVERYONE, "control", *self.isps}:
            raise ValueError(f"no line is called {isp}")
        if policy.technique not in TECHNIQUES.keys() | LIES.keys():
            raise ValueError(f"no technique is called {policy.technique}")
        self._number += 1
        child = self._servers if policy.technique in LIES else self._wire
        self._command(child, {"do": "put", "host": isp, "number": self._number, "policy": msgspec.to_builtins(policy)})
        return self._number

    def lift(self, number: int) -> None:
        """Takes a censor away."""
        for child in (self._wire, self._servers):
            self._command(child, {"do": "lift", "number": number})

    def move(self, name: str, *, to: str) -> None:
        """Puts a vantage's line into another network, behind the same local address; `to` its own name: back home."""
        line, there = self.world.lines[name], self.world.lines[to]
        if to != name and to in self._moved.values():
            raise ValueError(f"somebody has moved to {to} already")
        faces = {} if to == name else {a: b for a in line.addresses for b in there.guests if (":" in a) == (":" in b)}
        if len(there.addresses) == 1:  # a network without IPv6
            faces = {own: face for own, face in faces.items() if ":" not in own}
        self._command(self._wire, {"do": "move", "host": name, "to": to, "faces": faces})
        self._moved[name] = to
        if to == name:
            del self._moved[name]

    def start_proxy(self, isp: str, *, early: bool = False) -> str:
        """A proxy on this machine's loopback whose way out is that line: its host and port, for SOCKS5 and CONNECT.

        early: it says that it is connected before it is, as `ssh -D` does.
        """
        child = self._spawn("monitor.lab.proxy", self.isps[isp].netns, *(["early"] if early else []))
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        if not port:
            raise LabError(Said("the proxy does not listen"))
        return f"127.0.0.1:{port.decode()}"

    def carried(self) -> int:
        """Packets that the wire has carried so far."""
        return int(self._command(self._wire, {"do": "count"})["carried"])

    def start_helper(self) -> None:
        """Starts the real `almenara helper` in the uncensored network, and waits until it listens."""
        settings = self._file("helper.yaml", self._helper_yaml().encode())
        addresses = self.world.control.addresses
        command = [sys.executable, "-m", "monitor", "helper", "-c", str(settings)]
        command += ["--max-concurrency", "256", "--rate-limit", "100000", "--listen", f"{addresses[0]}:443"]
        command += ["--tls-certificate", str(self._certificate), "--tls-key", str(self._key)]
        log = os.memfd_create("helper.log")
        self._files.append(log)
        # A session of its own: Ctrl-C is for the command, which then ends the lab in order.
        child = self.run_in(self.control_netns, command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self._children.append(child)
        self._await_listener(child, addresses[0], 443, log)

    def environment(self) -> dict[str, str]:
        """For processes that measure here: they trust the lab's authority, and find this package."""
        home = str(Path(monitor.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        return os.environ | {"SSL_CERT_FILE": str(self.ca_file), "PYTHONPATH": path}

    def run_in(self, netns: str, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command inside a namespace of the lab; it ends with this process."""
        wrapper = [sys.executable, "-m", "monitor.lab.enter", netns, "--die-with", str(os.getpid()), "--"]
        return subprocess.Popen([*wrapper, *command], env=self.environment(), **options)

    def probes_yaml(self, isps: list[str] | None = None, sites: list[str] | None = None) -> str:
        """The text of a probes.yaml for some lines (by default all) and sites. Lines with another helper go alone."""
        lines = [self.world.lines[name] for name in isps or self.isps]
        sections = {
            "consent": True,
            "sites": list(sites or []),
            "vantages": [self._vantage(line) for line in lines],
            "control": {"helpers": [self._helper_of(lines)], "resolvers": list(self.doh)},
            "measure": {
                "timeout": "10s",
                "concurrency": 16,
                "attempts": 3,
                "public_resolvers": list(self.public_resolvers),
                "neutral": list(self.neutral),
            },
        }
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())

    def _vantage(self, line: Line) -> dict[str, object]:
        info = self.isps[line.name]
        return {
            "name": line.name,
            "isp": line.isp,
            "asn": line.asn,
            "country": line.country,
            "via": {"netns": info.netns},
            "resolvers": list(info.resolvers),
        }

    def _helper_of(self, lines: list[Line]) -> str:
        return f"https://{self.world.busy_helper}/" if lines[0].helper == "overloaded" else self.helper_url

    def _helper_yaml(self) -> str:
        sections = {
            "vantages": [{"name": "control", "country": "NL", "asn": 1103, "resolvers": list(self.public_resolvers)}],
            "control": {"helpers": [], "resolvers": list(self.doh)},
            "measure": {"public_resolvers": list(self.public_resolvers), "neutral": list(self.neutral)},
        }
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())

    def _start(self) -> None:
        self._wire = self._spawn("monitor.lab.wire")
        self._servers = self._spawn("monitor.lab.servers")
        _write(self._wire, msgspec.json.encode(self.world))
        spaces = self._answer(self._wire)["hosts"]
        self._spaces = {name: f"/proc/{self._wire.pid}/fd/{fd}" for name, fd in spaces.items()}
        _write(self._servers, msgspec.json.encode({"world": self.world, "netns": self._spaces[SERVERS]}))
        ready = self._answer(self._servers)
        self.ca_file = self._file("authority.pem", ready["authority"].encode())
        self._certificate = self._file("helper.pem", ready["certificate"].encode())
        self._key = self._file("helper.key", ready["key"].encode())
        for line in self.world.lines.values():
            self.isps[line.name] = IspInfo(
                name=line.name,
                isp=line.isp,
                asn=line.asn,
                country=line.country,
                netns=self._spaces[line.name],
                addresses=line.addresses,
                resolvers=line.resolvers,
            )

    def _spawn(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        home = str(Path(monitor.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def _command(self, child: subprocess.Popen[bytes], command: dict[str, object]) -> dict[str, Any]:
        _write(child, json.dumps(command).encode())
        return self._answer(child)

    def _answer(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise LabError(_ENDED)
        answer = cast(dict[str, Any], json.loads(line))
        if "error" in answer:
            raise LabError(answer["error"])
        return answer

    def _file(self, name: str, content: bytes) -> Path:
        """A file without a place on the disk: it vanishes with this process, keys and all."""
        file = os.memfd_create(name)
        self._files.append(file)
        os.write(file, content)
        return Path(f"/proc/{os.getpid()}/fd/{file}")

    def _await_listener(self, child: subprocess.Popen[bytes], address: str, port: int, log: int) -> None:
        listens = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X} 00000000:0000 0A"
        deadline = time.monotonic() + _STARTS_S
        while listens not in Path(f"/proc/{child.pid}/net/tcp").read_text():
            if child.poll() is not None or time.monotonic() > deadline:
                *_, last = os.pread(log, 1 << 16, 0).decode("utf-8", "replace").strip().split("\n")
                raise LabError(Said("the helper does not listen: {problem}", problem=last))
            time.sleep(0.05)


def _write(child: subprocess.Popen[bytes], line: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(line + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        raise LabError(_ENDED) from None
