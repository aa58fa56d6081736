"""One measurement: what the vantage sees, what the controls see, the counterfactuals where they differ, the verdict."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Protocol

import msgspec

from monitor import __version__, counterfactuals
from monitor.conditions import ConditionsChecker
from monitor.models import Conditions, Control, Dns, Measurement, Network, Observations, Purpose, Status, Verdict
from monitor.neighbours import Neighbours
from monitor.network import UNKNOWN, Identity
from monitor.scrub import Scrubber, without_subscriber
from monitor.trail import Tools, Trail, observe
from monitor.urls import DEFAULT_PORTS, Target, target
from monitor.vantage import Vantage
from monitor.verdict import judge
from monitor.verdict.fingerprints import KNOWN, Fingerprint

__all__ = ["Asker", "Prober", "Tools", "local_addresses", "observe"]

MAX_SHOWN = 2048  # characters of a hop's URL, when a control is asked about it
MAX_CONTROLLED_HOPS = 3  # asked again with all attempts, of a failing measurement


class Asker(Protocol):
    """A control, asked for the same observations; what it cannot do comes back as a Control with a failure.

    seen_as: the vantage's public addresses as the controls see them; scrubbed, never kept.
    """

    seen_as: set[str]

    async def ask(
        self, url: str, *, addresses: Sequence[tuple[str, int]], hop: int, attempts: int
    ) -> tuple[Control, ...]: ...


@dataclass(kw_only=True)
class Prober:
    """Measures sites on one vantage. identity: who carries its packets. fingerprints: of block pages."""

    vantage: Vantage
    tools: Tools
    conditions: ConditionsChecker
    controls: Asker | None
    identity: Identity
    fingerprints: tuple[Fingerprint, ...] = KNOWN
    neighbours: Neighbours = field(default_factory=Neighbours)
    _network_changes: int = 0

    async def measure(self, url: str, controls: Asker | None = None) -> Measurement:
        """Everything about one site, judged. Never raises for what a peer does. controls: in place of its own."""
        return await self.file(await self.observe(url, controls))

    async def observe(self, url: str, controls: Asker | None = None) -> "Unfiled":
        """The same, but under nobody's network yet. When it is over, the line is free for others."""
        await self.identity.recent()
        changes = self.identity.changes
        self._forget_other_networks(changes)
        measurement = await self._measure(target(url), controls or self.controls)
        return Unfiled(measurement, changes)

    async def file(self, unfiled: "Unfiled") -> Measurement:
        """Under the network that carried it, if that is still the same. Many may wait for the same lookup."""
        network = await self.identity.now()
        return self._filed(unfiled.measurement, network, changed=self.identity.changes != unfiled.changes)

    def _forget_other_networks(self, changes: int) -> None:
        """What was found out on another network than this one is worth nothing here."""
        if changes != self._network_changes:
            self._network_changes = changes
            self.conditions.forget()
            self.neighbours = Neighbours()
            for client in self.tools.doh:
                client.forget()

    def _filed(self, measurement: Measurement, network: Network, *, changed: bool) -> Measurement:
        """Under the network that carried it from beginning to end; where there is none such, under nobody's."""
        if changed:
            network = UNKNOWN
            conditions = msgspec.structs.replace(measurement.conditions, network_changed=True)
            measurement = msgspec.structs.replace(measurement, conditions=conditions)
            measurement = msgspec.structs.replace(measurement, verdict=judge(measurement, self.fingerprints))
        return msgspec.structs.replace(measurement, network=network, probe=self.identity.probe(network))

    async def _measure(self, here: Target, controls: Asker | None) -> Measurement:
        before = await self.conditions.recent()
        started = datetime.now(UTC)  # with the trail, whose observations are told in seconds since then
        work = _Work(
            prober=self, here=here, started=started, conditions=before, trail=self._trail(before), asker=controls
        )
        try:
            async with asyncio.timeout(self.tools.settings.budget_s) as deadline:
                work.trail.hold = partial(_hold, self.neighbours, deadline)
                await work.run()
        except TimeoutError:
            pass  # what was seen until then is judged
        await work.trail.settle()
        measurement = work.done or work.judged()
        if measurement.verdict and _beyond_dns(measurement.verdict):
            self.neighbours.triggered(measurement.site, _addresses(measurement))
        return measurement

    def own_addresses(self, controls: Asker | None) -> set[str]:
        """The vantage's own addresses, to be scrubbed."""
        return local_addresses(self.vantage) | (controls.seen_as if controls else set())

    def _trail(self, conditions: Conditions) -> Trail:
        # A family that works for nobody here is not tried: broken IPv6 is not blocking.
        works = {4: conditions.online4 is not False, 6: conditions.online6 is True}
        families = frozenset(family for family in works if works[family])
        return Trail(vantage=self.vantage, tools=self.tools, families=families)


@dataclass(frozen=True)
class Unfiled:
    """A measurement, and the identity's count of changes when it began."""

    measurement: Measurement
    changes: int


@dataclass(kw_only=True)
class _Work:
    """One measurement under way. asker: its controls. done: it needed no second look."""

    prober: Prober
    here: Target
    started: datetime
    conditions: Conditions
    trail: Trail
    asker: Asker | None
    controls: list[Control] = field(default_factory=list)
    done: Measurement | None = None

    async def run(self) -> None:
        await self.trail.follow(self.here.url, further=self._further)
        await self.trail.settle()
        measurement = self.judged()
        first = measurement.verdict
        assert first is not None
        if first.status is Status.OK and first.rule != "page_alike" and not counterfactuals.cut_at_times(self.trail):
            self.done = measurement
            return
        if counterfactuals.cut_at_times(self.trail) or _beyond_dns(first):
            self.prober.neighbours.triggered(self.here.site, _addresses(self.trail.observations()))
        await asyncio.gather(
            counterfactuals.check(self.trail, self.prober.conditions.neutrals),
            self._control_again(),
            self._conditions_now(),
        )

    async def _further(self, hop: int, here: Target, addresses: Sequence[str]) -> Sequence[str]:
        """What the control finds for this hop; a hop it has already been to is not asked again."""
        if self.asker is None:
            return ()
        if not self._covered(here, addresses):
            pairs = [(a, port) for a in addresses for port in sorted({here.port, *DEFAULT_PORTS.values()})]
            self.controls += await self.asker.ask(self._shown(here), addresses=pairs, hop=hop, attempts=1)
        return [a for control in self.controls for answer in _answers(control, here.host) for a in answer.answers]

    def _covered(self, here: Target, addresses: Sequence[str]) -> bool:
        tried = {seen.address for control in self.controls for seen in control.tcp if seen.port == here.port}
        named = any(_answers(control, here.host) for control in self.controls if control.failure is None)
        return named and tried.issuperset(addresses)

    def _shown(self, here: Target) -> str:
        """A hop's URL as a control may see it."""
        shown = without_subscriber(here.url, self.here.host)
        return shown if len(shown) <= MAX_SHOWN else shown.partition("?")[0][:MAX_SHOWN]

    async def _control_again(self) -> None:
        """As many attempts as the vantage made, at every hop that failed."""
        if self.asker is None:
            return
        seen = self.trail.observations()
        failing = {o.hop for o in (*seen.dns, *seen.tcp, *seen.tls, *seen.http) if o.failure is not None}
        last = len(self.trail.hops) - 1
        for hop in sorted(failing | {last})[-MAX_CONTROLLED_HOPS:]:
            here = self.trail.hops[hop]
            pairs = [(a, here.port) for a in self.trail.visited(hop)]
            attempts = self.prober.tools.settings.attempts
            self.controls += await self.asker.ask(self._shown(here), addresses=pairs, hop=hop, attempts=attempts)

    async def _conditions_now(self) -> None:
        self.conditions = await self.prober.conditions.now()

    def judged(self) -> Measurement:
        """What was seen so far, with its verdict."""
        measurement = self._measurement()
        return msgspec.structs.replace(measurement, verdict=judge(measurement, self.prober.fingerprints))

    def _measurement(self) -> Measurement:
        loop = asyncio.get_running_loop()
        scrubber = _scrubber(frozenset(self.prober.own_addresses(self.asker)))
        seen = scrubber.observations(self.trail.observations(scrubber.body))
        site = self.here.site
        neighbours = self.prober.neighbours.recent(site, _addresses(seen))
        return Measurement(
            id=str(uuid.uuid4()),
            url=self.here.url,
            site=site,
            vantage=self.prober.vantage.name,
            probe="",  # it and the network are told when the measurement is over
            network=UNKNOWN,
            started=self.started.replace(microsecond=self.started.microsecond // 1000 * 1000),
            runtime=round(loop.time() - self.trail.since, 3),
            verdict=None,
            conditions=scrubber.without_own(msgspec.structs.replace(self.conditions, neighbours=neighbours)),
            controls=tuple(scrubber.control(control) for control in self.controls),
            software=f"almenara {__version__}",
            hops=seen.hops,
            dns=seen.dns,
            tcp=seen.tcp,
            tls=seen.tls,
            http=seen.http,
        )


@lru_cache(maxsize=16)
def _scrubber(own: frozenset[str]) -> Scrubber:
    return Scrubber(own)


def local_addresses(vantage: Vantage) -> set[str]:
    """The addresses this vantage sends from."""
    return set(vantage.local_addresses().values())


@asynccontextmanager
async def _hold(neighbours: Neighbours, deadline: asyncio.Timeout, addresses: Iterable[str]) -> AsyncIterator[None]:
    """Have the addresses for oneself; waiting for neighbours is not charged to the site's budget."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    async with neighbours.hold(addresses):
        when = deadline.when()
        if when is not None and not deadline.expired():
            deadline.reschedule(when + loop.time() - since)
        yield


def _beyond_dns(verdict: Verdict) -> bool:
    """Was interference found on connections, where a neighbour on the address can feel its echo?"""
    return any(not method.startswith("dns.") for method in verdict.methods)


def _answers(control: Control, host: str) -> list[Dns]:
    return [answer for answer in control.dns if answer.name == host]


def _addresses(seen: Observations) -> set[str]:
    return {connected.address for connected in seen.tcp if connected.purpose is Purpose.SITE}
