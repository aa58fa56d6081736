"""Who carries a vantage's packets, looked up over the vantage itself, and looked up again when that may have changed.

A laptop that moves from one network to another must never file the second one's results under the first, even behind
the same local address: each measurement asks before (`recent`) and after (`now`), and compares `changes`.
"""

import asyncio
import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from monitor.identity import probe_id
from monitor.models import Network
from monitor.network_path import NetworkPath, path_of
from monitor.origin import Carrier, prefix_of
from monitor.vantage import Vantage
from monitor.whoami import Sighting

FRESH_S = 60.0  # a lookup serves the measurements that start within so many seconds
FRESH_FAILURE_S = 10.0  # the same, of one that failed
CLEAR_S = 600.0  # how long the name of a prefix is believed that was told in the clear
# Lookups that may follow each other at once, and under load one in so many seconds: whoever comes in between waits for
# the next, and shares it.
BURST, PERIOD_S = 4, 2.0
MOST_KNOWN = 64  # networks remembered, by a digest of the prefix

UNKNOWN = Network(source="observed")  # two networks in one measurement: neither is named

_IN_CLEAR = "in the clear"

_log = logging.getLogger("almenara.network")

Origin = Callable[[str], Awaitable[Carrier | None]]
Ask = Callable[[], Awaitable[Sighting | None]]


def _now() -> float:
    """Seconds that go on while the machine sleeps, as a laptop does on its way."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Identity:
    """One vantage's. changes: grows whenever it may be on another network than before.

    disagreement: what is declared and not so, or contested, and what counts, in words; None where nothing is.
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
        self._known: dict[bytes, tuple[Carrier, float]] = {}  # by prefix, until when
        self._network = vantage.network
        self._secured: Network | None = None  # the last on this path that cannot have been forged
        self._path: NetworkPath | None = None
        self._home: NetworkPath | None = None  # where the declaration holds
        self._told: set[str] = set()
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
        self._notice_path()  # asking fills in what the path's hardware is
        if self._begun != begun:
            return  # packets left another way meanwhile: which one this was seen on is not known
        if found is not None:
            self._succeeded = begun
            (self._observed if found.secure else self._heard)(found.network)
        elif sighting is not None and sighting.secure:
            self._unnamed()
        elif self._network.asn is None:
            self._settle(self._assumed())

    async def _network_of(self, sighting: Sighting, origin: Origin) -> Carrier | None:
        prefix = str(prefix_of(sighting.address))
        digest = hmac.digest(self._secret, prefix.encode(), hashlib.sha256)
        known, until = self._known.get(digest, (None, 0.0))
        if known is None or self._now() > until:
            known = await origin(sighting.address)
            if known is None:
                return None
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[digest] = known, math.inf if known.secure else self._now() + CLEAR_S
        # Where an address is said to be is nearer the truth than where its prefix was registered.
        network, country = known.network, sighting.country or known.network.country
        network = Network(asn=network.asn, isp=network.isp, country=country, source="observed")
        return Carrier(network=network, secure=known.secure and sighting.secure)

    def _observed(self, found: Network) -> None:
        """Nobody on the path made it up: it counts, whatever is declared."""
        declared = self._vantage.network
        said = _disagreement(declared, found)
        if declared.asn in (None, found.asn) and not (said and declared.asn is None):
            self._home = self._path
        elif self._declaration_holds():
            self._home = None  # the declaration is of another place, or wrong
        if found.asn == declared.asn:
            isp, country = found.isp or declared.isp, found.country or declared.country
            found = Network(asn=found.asn, isp=isp, country=country, source="observed")
        self._secured = found
        self._say(f"{said}; what is observed counts" if said else None, said)
        self._settle(found)

    def _heard(self, found: Network) -> None:
        """In the clear, where whoever is on the path says what he likes: it may agree, or tell what nobody knows."""
        declared = self._vantage.network
        stands = self._network if self._network.asn is not None else self._assumed()
        if stands.source == "observed" and stands.asn is not None:
            said = None if stands.asn == found.asn else f"observed AS{stands.asn} before, now AS{found.asn}"
        else:
            said = _disagreement(declared, found)
        if said:
            if self._secured is None and self._declaration_holds() and declared.asn == stands.asn:
                stands = declared
            counts = "no network is named" if stands == UNKNOWN else f"what is {stands.source} counts"
            self._say(f"{said}, in the clear, where it can be forged; {counts}", _IN_CLEAR)
            self._settle(stands)
        elif self._secured is not None:
            self._settle(self._secured)
        else:
            isp, country = declared.isp or found.isp, declared.country or found.country
            self._settle(Network(asn=found.asn, isp=isp, country=country, source="observed"))

    def _unnamed(self) -> None:
        """The address is surely ours, and nobody can say whose prefix that is."""
        self._secured = None
        self._settle(self._assumed())

    def _assumed(self) -> Network:
        """Without any observation on this path."""
        return self._vantage.network if self._declaration_holds() else UNKNOWN

    def _declaration_holds(self) -> bool:
        """Is it of this path: that of the start or one where it was confirmed, or behind the same router or proxy?

        Where nothing is declared, or nothing else is wanted, that holds everywhere.
        """
        here, home = self._path, self._home
        if self._vantage.network == Network() or self._ask is None:
            return True
        if here is None or home is None:
            return False
        return self._vantage.proxy is not None or here.is_as(home) or here.same_router(home)

    def _settle(self, network: Network) -> None:
        before, self._network = self._network, network
        if not _same(before, network):
            self.changes += 1

    def _say(self, text: str | None, about: str | None) -> None:
        """Once on each path, that the configuration is wrong about this network, or that somebody lies about it."""
        if about == _IN_CLEAR and about in self._told:
            return  # it may lie in another way each time
        self.disagreement = text
        if text and about and about not in self._told:
            self._told.add(about)
            _log.warning("vantage %s: %s", self._vantage.name, text)

    def _notice_path(self) -> None:
        """Forget what is known, if packets now leave this machine another way."""
        path, before = self._path_of(self._vantage), self._path
        if before is None:
            self._path = self._home = path
            return
        if path.is_as(before):
            if path.hardware:
                self._path, self._home = path, path if self._home is before else self._home
            return
        self.changes += 1
        self._path = path
        self._begun = self._succeeded = None
        if not path.same_cable(before):
            self._secured = None
            self._told.clear()
            self._network = self._assumed()
        elif self._home is before:
            self._home = path
        self._vantage.reread_resolvers()


def _same(before: Network, after: Network) -> bool:
    """Is it one network? What was only declared may turn out to be so, and be no longer looked up."""
    if before.asn is None or after.asn is None:
        return before == after
    return before.asn == after.asn


def _disagreement(declared: Network, observed: Network) -> str | None:
    """What the configuration says otherwise. Names are held against each other only where no number is declared."""
    said, source = [], declared.source
    if declared.asn is not None and declared.asn != observed.asn:
        said.append(f"{source} AS{declared.asn}, observed AS{observed.asn}")
    if declared.asn is None and declared.isp and observed.isp and not _words(declared.isp) & _words(observed.isp):
        said.append(f"{source} isp {declared.isp}, observed {observed.isp}")
    if declared.country and observed.country and declared.country != observed.country:
        said.append(f"{source} country {declared.country}, observed {observed.country}")
    return ", ".join(said) or None


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w{3,}", name.casefold()))
