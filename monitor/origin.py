"""A public address -> the network that announces it: by a database, else by DNS (Team Cymru's origin zones).

Only the address's prefix is asked for: /24, or /48 of IPv6, as long as any that the world's routers accept.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from msgspec import Struct

from monitor.models import Dns, Network
from monitor.steps import dns
from monitor.steps.doh import DohClient
from monitor.steps.occasion import Occasion
from monitor.vantage import Resolver, Vantage
from monitor.whoami import country_code, texts

ZONES = {4: "origin.asn.cymru.com", 6: "origin6.asn.cymru.com"}
NAMES_ZONE = "asn.cymru.com"
PREFIX_BITS = {4: 24, 6: 48}
STEP_S = 3.0
MOST_ASN = 4_294_967_295
MOST_NAME = 80  # characters

Prefix = IPv4Network | IPv6Network


class Database(Protocol):
    """An ASN database."""

    async def network(self, address: str) -> Network | None: ...


class Origin(Struct, frozen=True):
    """What one record of an origin zone says."""

    prefix: Prefix
    asn: int
    country: str | None


def prefix_of(address: str) -> Prefix:
    """As much of an address as tells its network."""
    return ip_network(f"{address}/{PREFIX_BITS[ip_address(address).version]}", strict=False)


class Carrier(Struct, frozen=True, kw_only=True):
    """The network of an address. secure: nobody on the path can have made it up."""

    network: Network
    secure: bool


class Origins:
    """Looks networks up, over the vantage. Errors are None."""

    def __init__(
        self,
        vantage: Vantage,
        *,
        doh: Sequence[DohClient] = (),
        public: Sequence[Resolver] = (),
        database: Database | None = None,
    ) -> None:
        """public: resolvers that are asked in the clear where encrypted ones cannot be and the vantage has none."""
        self._vantage = vantage
        self._doh = doh
        self._public = public
        self._database = database

    async def network(self, address: str) -> Carrier | None:
        """Who announces a public address."""
        if self._database is not None:
            found = await self._database.network(address)
            if found is not None:
                return Carrier(network=found, secure=True)
        prefix = prefix_of(address)
        for secure, ask in ((True, self._encrypted), (False, self._clear)):
            found = await _by_dns(prefix, ask)
            if found is not None:
                return Carrier(network=found, secure=secure)
        return None

    async def _encrypted(self, name: str) -> list[str]:
        """TXT records, from the first encrypted resolver that has some."""
        occasion = Occasion(since=asyncio.get_running_loop().time())
        asking = [client.ask(name, "TXT", occasion=occasion, timeout_s=STEP_S) for client in self._doh]
        return await _soonest([asyncio.ensure_future(one) for one in asking])

    async def _clear(self, name: str) -> list[str]:
        """The same, from the first resolver that has some."""
        occasion = Occasion(since=asyncio.get_running_loop().time())
        for resolver in (*self._vantage.resolvers, *self._public)[:3]:
            asked = await dns.ask(self._vantage, resolver, name, "TXT", occasion=occasion, timeout_s=STEP_S / 2)
            found = texts(asked.dns)
            if found:
                return found
        return []


async def _by_dns(prefix: Prefix, ask: Callable[[str], Awaitable[list[str]]]) -> Network | None:
    origins = [read_origin(text) for text in await ask(_question(prefix))]
    fitting = [origin for origin in origins if origin and _covers(origin.prefix, prefix)]
    if not fitting:
        return None
    best = max(fitting, key=lambda origin: origin.prefix.prefixlen)
    names = [read_name(text, best.asn) for text in await ask(f"AS{best.asn}.{NAMES_ZONE}")]
    isp = next((name for name in names if name), None)
    return Network(asn=best.asn, isp=isp, country=best.country, source="observed")


async def _soonest(asking: Sequence["asyncio.Future[Dns]"]) -> list[str]:
    try:
        for one in asyncio.as_completed(asking):
            found = texts(await one)
            if found:
                return found
        return []
    finally:
        for late in asking:
            late.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _question(prefix: Prefix) -> str:
    reverse = prefix.network_address.reverse_pointer.rpartition(".")[0].rpartition(".")[0]
    return f"{reverse}.{ZONES[prefix.version]}"


def _covers(announced: Prefix, prefix: Prefix) -> bool:
    if isinstance(announced, IPv4Network):
        return isinstance(prefix, IPv4Network) and announced.overlaps(prefix)
    return isinstance(prefix, IPv6Network) and announced.overlaps(prefix)


def read_origin(text: str) -> Origin | None:
    """`8048 | 200.44.0.0/16 | VE | lacnic | 1999-09-21`; of several origins the first. None for anything else."""
    fields = [field.strip() for field in text.split("|")]
    asn = number(fields[0].partition(" ")[0])
    if len(fields) < 3 or asn is None:
        return None
    try:
        return Origin(ip_network(fields[1]), asn, country_code(fields[2]))
    except ValueError:
        return None


def read_name(text: str, asn: int) -> str | None:
    """`8048 | VE | lacnic | 1997-08-14 | CANTV Servicios, Venezuela, VE` -> the name, without the country at its end."""
    fields = [field.strip() for field in text.split("|", 4)]
    if len(fields) < 5 or number(fields[0]) != asn:
        return None
    return clean_name(re.sub(r",\s*[A-Z]{2}$", "", fields[4]))


def number(text: str) -> int | None:
    """An autonomous system's number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return int(text) if 1 <= int(text) <= MOST_ASN else None


def clean_name(text: object) -> str | None:
    """A network's name as it may be stored and shown: one bounded line."""
    if not isinstance(text, str):
        return None
    visible = "".join(c if c.isprintable() else " " for c in text[: 4 * MOST_NAME])
    return " ".join(visible.split())[:MOST_NAME].strip() or None
