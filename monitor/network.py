"""Who carries a vantage's packets, looked up over the vantage itself, and looked up again when that may have changed.

A laptop that moves from one network to another must never file the second one's results under the first, even behind
the same local address: each measurement asks before (`recent`) and after (`now`), and compares `changes`.
"""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from monitor.identity import probe_id
from monitor.models import Network
from monitor.network_path import NetworkPath, path_of
from monitor.origin import prefix_of
from monitor.vantage import Vantage
from monitor.whoami import Sighting

FRESH_S = 60.0  # a lookup serves the measurements that start within so many seconds
FRESH_FAILURE_S = 10.0  # the same, of one that failed
STANDS_S = 600.0  # how long the last that succeeded stands in for those that fail, on an unchanged path
# Lookups that may follow each other at once, and under load one in so many seconds: whoever comes in between waits for
# the next, and shares it.
BURST, PERIOD_S = 4, 2.0
MOST_KNOWN = 64  # networks remembered, by a digest of the prefix

UNKNOWN = Network(source="observed")  # two networks in one measurement: neither is named

_log = logging.getLogger("almenara.network")

Origin = Callable[[str], Awaitable[Network | None]]
Ask = Callable[[], Awaitable[Sighting | None]]


def _now() -> float:
    """Seconds that go on while the machine sleeps, as a laptop does on its way."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Identity:
    """One vantage's. changes: grows whenever it may be on another network than before.

    disagreement: what is declared and not so, in words; None where nothing is.
    """

    def __init__(
        self,
        vantage: Vantage,
        ask: Ask | None = None,
        origin: Origin | None = None,
        *,
        path: Callable[[Vantage], NetworkPath] = path_of,
        clock: Callable[[], float] = _now,
    ) -> None:
        """ask: the public address; origin: its network. Without them nothing is looked up, and the declared counts."""
        self.changes = 0
        self.disagreement: str | None = None
        self._vantage = vantage
        self._ask, self._origin, self._path_of, self._now = ask, origin, path, clock
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, Network] = {}
        self._network = vantage.network
        self._path: NetworkPath | None = None
        self._begun: float | None = None
        self._succeeded: float | None = None
        self._allowance, self._allowed_at = float(BURST), 0.0
        self._lock = asyncio.Lock()
        self._probe: tuple[int, int | None, str] | None = None

    @property
    def network(self) -> Network:
        """As last known, for whom it suffices."""
        return self._network

    async def recent(self) -> Network:
        """By a lookup not older than a minute, on a path that is still the same."""
        self._notice_path()
        return await self._since(self._now() - (FRESH_S if self._succeeded == self._begun else FRESH_FAILURE_S))

    async def now(self) -> Network:
        """By a lookup begun after this call; concurrent callers share one."""
        network = await self._since(self._now())
        self._notice_path()
        return network

    def probe(self, network: Network) -> str:
        """This installation as known on that network; where it has no number, another one after each change."""
        if self._probe is None or self._probe[:2] != (self.changes, network.asn):
            self._probe = (self.changes, network.asn, probe_id(network))
        return self._probe[2]

    async def _since(self, moment: float) -> Network:
        async with self._lock:
            if self._begun is None or self._begun < moment:
                await self._paced()
                await self._look_up()
            return self._network

    async def _paced(self) -> None:
        now = self._now()
        self._allowance = min(BURST, self._allowance + (now - self._allowed_at) / PERIOD_S)
        self._allowed_at = now
        if self._allowance < 1:
            await asyncio.sleep((1 - self._allowance) * PERIOD_S)

    async def _look_up(self) -> None:
        self._notice_path()
        self._begun = begun = self._now()
        if self._ask is None or self._origin is None:
            self._succeeded = begun
            return
        self._allowance -= 1
        sighting = await self._ask()
        found = await self._network_of(sighting, self._origin) if sighting else None
        if found is not None:
            self._succeeded = begun
            self._settle(found)
        elif sighting is not None or not self._stands(begun):
            # An address that nobody knows, or nothing heard for long: this may be any network.
            self._settle(self._vantage.network)

    async def _network_of(self, sighting: Sighting, origin: Origin) -> Network | None:
        prefix = str(prefix_of(sighting.address))
        digest = hmac.digest(self._secret, prefix.encode(), hashlib.sha256)
        if digest not in self._known:
            found = await origin(sighting.address)
            if found is None:
                return None
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            # Where an address is said to be is nearer the truth than where its prefix was registered.
            country = sighting.country or found.country
            self._known[digest] = Network(asn=found.asn, isp=found.isp, country=country, source="observed")
        return self._completed(self._known[digest])

    def _completed(self, found: Network) -> Network:
        """What was not observed of a network is as declared, if it is that network."""
        declared = self._vantage.network
        if found.asn != declared.asn:
            return found
        isp, country = found.isp or declared.isp, found.country or declared.country
        return Network(asn=found.asn, isp=isp, country=country, source="observed")

    def _stands(self, now: float) -> bool:
        return self._succeeded is not None and now - self._succeeded <= STANDS_S

    def _settle(self, network: Network) -> None:
        before, self._network = self._network, network
        if not _same(before, network):
            self.changes += 1
        if network.source == "observed":
            self._compare(network)

    def _compare(self, observed: Network) -> None:
        """Say once that the configuration is wrong about this network."""
        said = _disagreement(self._vantage.network, observed)
        if said and said != self.disagreement:
            _log.warning("vantage %s: %s; what is observed counts", self._vantage.name, said)
        self.disagreement = said

    def _notice_path(self) -> None:
        """Forget what is known, if packets now leave this machine another way."""
        path = self._path_of(self._vantage)
        if self._path is not None and path.is_as(self._path):
            if path.hardware:
                self._path = path
            return
        if self._path is not None:
            self.changes += 1
            self._begun = self._succeeded = None
            self._network = self._vantage.network
            self._vantage.reread_resolvers()
        self._path = path


def _same(before: Network, after: Network) -> bool:
    """Is it one network? What was only declared may turn out to be so; what was observed and no longer is, may not."""
    if before.asn is None or after.asn is None:
        return before == after
    return before.asn == after.asn and (before.source == after.source or after.source == "observed")


def _disagreement(declared: Network, observed: Network) -> str | None:
    """What the configuration says otherwise. Names are held against each other only where no number is declared."""
    said = []
    if declared.asn is not None and declared.asn != observed.asn:
        said.append(f"declared AS{declared.asn}, observed AS{observed.asn}")
    if declared.asn is None and declared.isp and observed.isp and not _words(declared.isp) & _words(observed.isp):
        said.append(f"declared isp {declared.isp}, observed {observed.isp}")
    if declared.country and observed.country and declared.country != observed.country:
        said.append(f"declared country {declared.country}, observed {observed.country}")
    return ", ".join(said) or None


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w{3,}", name.casefold()))
