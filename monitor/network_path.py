"""How a vantage's packets leave this machine, as cheaply as can be told: a sign that it may be on another network.

Nothing of it is stored or shown. Sent packets: none.
"""

import socket
import sys
import time
from ipaddress import ip_interface
from pathlib import Path as File

from msgspec import Struct

from monitor.vantage import Vantage, system_resolvers

_MOST_TABLE = 64 * 1024  # bytes of a kernel table that are looked at
_NO_HARDWARE = "00:00:00:00:00:00"
_SLEEP_S = 2.0  # less is how the clocks are read
_PREFIX_BITS = {4: 32, 6: 64}  # of IPv6, a machine changes the rest by itself every day (RFC 8981)


class NetworkPath(Struct, frozen=True, kw_only=True):
    """addresses: our own; gateways: interface and next hop of the default routes; links: how often each link came up.

    hardware: the gateways' own, which tells two routers apart that are both called 192.168.1.1; () where not known.
    slept: seconds that the machine has slept so far: what it wakes up to may be another place.
    """

    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    slept: float = 0.0

    def is_as(self, before: "NetworkPath") -> bool:
        """Does nothing tell the two apart? Hardware that is not known just now tells nothing."""
        seen, then = (self.addresses, self.gateways, self.links, self.resolvers), before
        if seen != (then.addresses, then.gateways, then.links, then.resolvers) or self._slept_since(before):
            return False
        return not self.hardware or not before.hardware or self.hardware == before.hardware

    def same_router(self, before: "NetworkPath") -> bool:
        """Is it the same router for certain, or the same line where there is none (PPP, a SIM, a tunnel)?

        Whatever else changed: a link that was down, a new address of our own.
        """
        if self.hardware and before.hardware:
            return self.hardware == before.hardware
        return bool(self.gateways) and self.gateways == before.gateways and all(map(_no_router, self.gateways))

    def same_cable(self, before: "NetworkPath") -> bool:
        """The same router, and the link to it has not been down: only addresses and routes came or went."""
        held = bool(self.links) and self.links == before.links and not self._slept_since(before)
        return held and bool(self.hardware) and self.hardware == before.hardware

    def _slept_since(self, before: "NetworkPath") -> bool:
        return self.slept - before.slept > _SLEEP_S


def path_of(vantage: Vantage) -> NetworkPath:
    """Where the vantage's packets would go now."""
    addresses = vantage.local_addresses()
    routes = [*_routes4(vantage), *_routes6(vantage)]
    here = vantage.netns is None
    return NetworkPath(
        addresses=tuple(
            str(ip_interface(f"{address}/{_PREFIX_BITS[family]}").network) for family, address in addresses.items()
        ),
        gateways=tuple(f"{interface} {gateway}" for interface, gateway in routes),
        links=tuple(_link(interface) for interface in sorted({interface for interface, _ in routes})) if here else (),
        resolvers=tuple(one.label for one in system_resolvers()) if here else (),
        hardware=_hardware(vantage, {gateway for _, gateway in routes}),
        slept=_slept(),
    )


def _slept() -> float:
    """Seconds this machine has slept: one clock goes on meanwhile, another does not (Linux, macOS)."""
    for going, stopping in (("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"), ("CLOCK_MONOTONIC_RAW", "CLOCK_UPTIME_RAW")):
        if hasattr(time, going) and hasattr(time, stopping):
            return time.clock_gettime(getattr(time, going)) - time.clock_gettime(getattr(time, stopping))
    return 0.0


def _no_router(gateway: str) -> bool:
    return not gateway.rpartition(" ")[2].strip("0")


def _routes4(vantage: Vantage) -> list[tuple[str, str]]:
    """(interface, gateway) of the IPv4 default routes that count: Linux; elsewhere none are told."""
    found = []
    for line in vantage.read("/proc/thread-self/net/route", _MOST_TABLE).splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == words[7] == "00000000" and words[6].isdigit():
            found.append((int(words[6]), words[0], words[2]))
    return _preferred(vantage, found)


def _routes6(vantage: Vantage) -> list[tuple[str, str]]:
    found = []
    for line in vantage.read("/proc/thread-self/net/ipv6_route", _MOST_TABLE).splitlines():
        words = line.split()
        if len(words) > 9 and words[1] == "00" and words[9] != "lo":
            found.append((_hex(words[5]), words[9], words[4]))
    return _preferred(vantage, found)


def _preferred(vantage: Vantage, found: list[tuple[int, str, str]]) -> list[tuple[str, str]]:
    """Those with the lowest metric, of the vantage's interface where it has one."""
    usable = [route for route in found if vantage.interface in (None, route[1])]
    best = min((metric for metric, _, _ in usable), default=0)
    return sorted({(interface, gateway) for metric, interface, gateway in usable if metric == best})


def _hardware(vantage: Vantage, gateways: set[str]) -> tuple[str, ...]:
    found = []
    for line in vantage.read("/proc/thread-self/net/arp", _MOST_TABLE).splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] != _NO_HARDWARE and _as_in_routes(words[0]) in gateways:
            found.append(words[3])
    return tuple(sorted(set(found)))


def _as_in_routes(address: str) -> str:
    """192.168.1.1 -> 0101A8C0: in the machine's own order of bytes, as /proc/net/route writes it."""
    try:
        return f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"
    except OSError:
        return ""


def _link(interface: str) -> str:
    """How often the link went up and down so far: Wi-Fi that joins another network does."""
    if "/" in interface or interface in (".", ".."):
        return ""
    try:
        return f"{interface} {File('/sys/class/net', interface, 'carrier_changes').read_text().strip()[:20]}"
    except OSError:
        return ""


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
