"""The vantage's public address, as seen from outside, asked over the vantage itself. Whoever asks forgets it at once.

By https: the answer of a service whose address is written out and whose certificate is valid is nobody's forgery, and
looks like a visit to any site. DNS is the second way, in the clear: whoever is on the path can answer what he likes, so
that it is taken only where https says nothing, and is marked.
"""

import asyncio
import base64
import binascii
import re
import ssl

import dns.exception
import dns.message
import dns.rdatatype
from msgspec import Struct
from msgspec.structs import replace

from monitor.addresses import is_public
from monitor.models import Dns, Role
from monitor.steps import dns as dns_step
from monitor.steps import http, tcp, tls
from monitor.steps.occasion import Occasion
from monitor.vantage import Resolver, Vantage

# Cloudflare's resolver by address: its certificate names the addresses themselves. Some networks use the first one
# for something else; IPv6 is asked where IPv4 cannot be.
TRACES = ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111")
TRACE_PATH = "/cdn-cgi/trace"
# OpenDNS: its resolvers answer with the asker's address. One of IPv4, one of IPv6.
MIRRORS = (("208.67.222.222", "A"), ("2620:119:35::35", "AAAA"))
MIRROR_NAME = "myip.opendns.com"
# Google's own name servers: they answer with the address of whoever asks.
NAME_SERVERS = ("216.239.32.10", "2001:4860:4802:32::a")
NAME_SERVERS_NAME = "o-o.myaddr.l.google.com"

STEP_S = 4.0
ALL_S = 8.0
HEAD_START_S = 1.5  # how long https alone is waited for
SECURE_S = 4.0  # how long https is waited for in all
STAGGER_S = 1.0  # until the next address is asked as well
MOST_TRACE = 4096  # bytes
MOST_TEXTS = 16
MOST_TEXT = 512  # characters

_NOWHERE = frozenset({"XX", "T1"})  # Cloudflare's words for unknown, and for Tor


class Sighting(Struct, frozen=True, kw_only=True):
    """Where the vantage was seen. country: where its address is said to be, if that was told.

    secure: nobody on the path can have made it up.
    """

    address: str
    country: str | None = None
    secure: bool = False

    def __repr__(self) -> str:
        return "Sighting(...)"  # an address must not come into a log by way of a traceback


class WhoAmI:
    """Asks who we are. Errors are None."""

    def __init__(self, vantage: Vantage, trust: ssl.SSLContext) -> None:
        self._vantage = vantage
        self._trust = trust

    async def __call__(self) -> Sighting | None:
        """By https, which is waited for even where DNS is faster; by DNS where it fails."""
        secure = asyncio.create_task(self._by_https())
        clear: asyncio.Task[Sighting | None] | None = None
        try:
            async with asyncio.timeout(ALL_S):
                await asyncio.wait([secure], timeout=HEAD_START_S)
                if secure.done() and secure.result():
                    return secure.result()
                clear = asyncio.create_task(self._by_dns())
                await asyncio.wait([secure], timeout=SECURE_S - HEAD_START_S)
                return (secure.result() if secure.done() else None) or await clear
        except TimeoutError:
            return None
        finally:
            await _end(*(task for task in (secure, clear) if task is not None))

    async def _by_https(self) -> Sighting | None:
        """The first answer. The next address is asked when one fails or takes long."""
        asking: set[asyncio.Task[Sighting | None]] = set()
        waiting = iter(TRACES)
        try:
            while True:
                place = next(waiting, None)
                if place is not None:
                    asking.add(asyncio.create_task(self._traced(place)))
                elif not asking:
                    return None
                done, asking = await asyncio.wait(
                    asking, timeout=None if place is None else STAGGER_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if task.result():
                        return task.result()
        finally:
            await _end(*asking)

    async def _traced(self, address: str) -> Sighting | None:
        occasion = Occasion(since=asyncio.get_running_loop().time())
        _, stream = await tcp.connect(self._vantage, address, 443, occasion=occasion, sources=(), timeout_s=STEP_S)
        if stream is None:
            return None
        try:
            shaken, secure = await tls.handshake(
                stream, address, self._trust, occasion=occasion, sources=(), timeout_s=STEP_S
            )
            if secure is None:
                return None
            stream = secure
            seen, body = await http.exchange(
                secure, f"https://{_in_url(address)}{TRACE_PATH}",
                occasion=occasion, sources=(), timeout_s=STEP_S, cap=MOST_TRACE, protocol=shaken.alpn or "http/1.1",
            )  # fmt: skip
        finally:
            stream.close()
        found = read_trace(body) if seen.failure is None and seen.status == 200 else None
        return replace(found, secure=True) if found else None

    async def _by_dns(self) -> Sighting | None:
        for address, kind in MIRRORS:
            said = await self._ask(address, MIRROR_NAME, kind)
            if said.rcode is not None:  # even a denial: it was intercepted, and the next would be as well
                return _public(said.answers)
        for address in NAME_SERVERS:
            said = await self._ask(address, NAME_SERVERS_NAME, "TXT")
            if said.rcode is not None:
                return _public(texts(said))
        return None

    async def _ask(self, address: str, name: str, kind: str) -> Dns:
        occasion = Occasion(since=asyncio.get_running_loop().time())
        server = Resolver(address=address, role=Role.PUBLIC)
        asked = await dns_step.ask(self._vantage, server, name, kind, occasion=occasion, timeout_s=STEP_S / 2)
        return asked.dns


async def _end(*tasks: "asyncio.Task[Sighting | None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def read_trace(body: bytes) -> Sighting | None:
    """The lines `ip=` and `loc=` of a trace page, whatever it is."""
    lines = body[:MOST_TRACE].decode("ascii", "replace").splitlines()
    told = dict(line.partition("=")[::2] for line in lines)
    address, country = told.get("ip", ""), told.get("loc", "")
    if not is_public(address):
        return None
    return Sighting(address=address, country=country_code(country))


def country_code(text: object) -> str | None:
    """Two capital letters, of a country; None for anything else."""
    if not isinstance(text, str) or not re.fullmatch("[A-Z]{2}", text) or text in _NOWHERE:
        return None
    return text


def texts(said: Dns) -> list[str]:
    """The TXT records of an answer, whatever is in it."""
    try:
        message = dns.message.from_wire(base64.b64decode(said.raw or ""), ignore_trailing=True)
    except (dns.exception.DNSException, binascii.Error, ValueError):
        return []
    records = [record for rrset in message.answer if rrset.rdtype == dns.rdatatype.TXT for record in rrset]
    strings = (b"".join(record.strings)[:MOST_TEXT].decode("utf-8", "replace") for record in records[:MOST_TEXTS])
    return ["".join(c for c in text if c.isprintable()) for text in strings]


def _public(said: list[str] | tuple[str, ...]) -> Sighting | None:
    """The one public address in an answer. Google's names the subnet of who asked as well, where it was passed on."""
    found = [text for text in said if is_public(text)]
    return Sighting(address=found[0]) if len(found) == 1 else None


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
