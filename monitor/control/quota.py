"""How often one client may ask."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

# A table that a flood from many addresses cannot grow; the client that was silent longest is forgotten first.
MOST_CLIENTS = 10_000
_MINUTE_S = 60.0


class Quota:
    """A bucket per client that refills over a minute. Knows no clock: `now` is any time in seconds that only grows."""

    def __init__(self, per_minute: int, most_clients: int = MOST_CLIENTS) -> None:
        self._per_minute = per_minute
        self._most_clients = most_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, now: float) -> float:
        """Takes one request from the client's bucket; 0 where there was one, else seconds until there will be."""
        left, since = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / _MINUTE_S)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        while len(self._buckets) > self._most_clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) * _MINUTE_S / self._per_minute

    def __len__(self) -> int:
        return len(self._buckets)


def plain(address: str) -> str:
    """An address as its owner writes it: a socket for both families shows an IPv4 client as ::ffff:192.0.2.1."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str((parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None) or parsed)


def client_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, an IPv6 /64 (one line has that many to choose from)."""
    try:
        parsed = ip_address(plain(address))
    except ValueError:
        return "unknown"
    return str(ip_network((int(parsed) >> 64 << 64, 64)) if isinstance(parsed, IPv6Address) else parsed)
