"""One prober per vantage, as the configuration names them; rebuilt where it changes, while measurements finish."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from monitor import assemble
from monitor.absence import Absent
from monitor.config import Config, ConfigError, VantageConfig
from monitor.control.shared import Line, Together
from monitor.journal import spoken
from monitor.measure import Prober
from monitor.models import Measurement, Network


class _Held:
    """A prober and what closes with it. users: measurements under way; retired: nobody begins with it any more."""

    def __init__(self, settings: tuple[Any, ...], prober: Prober, open_until: AsyncExitStack) -> None:
        self.settings, self.prober = settings, prober
        self.line = Line(prober.controls) if prober.controls else None
        self.retired = False
        self._open_until = open_until
        self._users = 0

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """While a measurement needs it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            await self.close_if_idle()

    async def close_if_idle(self) -> None:
        """Close its connections, when it is retired and the last measurement has ended."""
        if self.retired and not self._users:
            await self._open_until.aclose()


class Probers:
    """All vantages that are there but the one named as the control. tell: told of each that is not, and when it is again."""

    def __init__(self, context: ssl.SSLContext, tell: Callable[[str], None]) -> None:
        self._context = context
        self._tell = tell
        self._held: dict[str, _Held] = {}
        self._absent: dict[str, ConfigError] = {}
        self._declared: dict[str, Network] = {}
        self._past_traffic = 0

    def names(self) -> tuple[str, ...]:
        """The vantages to measure from."""
        return tuple(self._held)

    def isp(self, name: str) -> str:
        """A vantage's network for people."""
        network = self._held[name].prober.vantage.network
        return network.isp or name

    def absent(self) -> dict[str, ConfigError]:
        """What is configured and not there now, and what it lacks."""
        return self._absent.copy()

    def networks(self) -> dict[str, Network]:
        """Who carries each vantage's packets, as last known; as declared, while it is not there."""
        return self._declared | {name: held.prober.identity.network for name, held in self._held.items()}

    def traffic(self) -> int:
        """Bytes sent and received through all vantages so far."""
        return self._past_traffic + sum(_traffic(held) for held in self._held.values())

    async def arrange(self, config: Config, file: Path | None = None) -> None:
        """Measure through these from now on. What is not there is left out, so long as nobody asks for it again.

        file: the configuration's, for its lines.
        """
        present = assemble.present(config, file)
        absent, built = present.absent, {}
        self._declared = {one.name: one.network for one in config.vantages if one.name != config.control.vantage}
        for named in present.config.vantages:
            if named.name in self._declared:
                try:
                    built[named.name] = await self._kept_or_built(present, named)
                except Absent as exc:  # it vanished just now
                    absent[named.name] = exc.located(file, config.vantages.index(named))
        self._tell_changes(absent, {named.name for named in config.vantages})
        await self._swap(built)

    async def aclose(self) -> None:
        """Close all, once their measurements have ended."""
        await self._swap({})

    async def measure(
        self, url: str, vantage: str, together: Together, place: AbstractAsyncContextManager[None]
    ) -> Measurement | None:
        """One measurement, its control shared with the others of the round; None where the vantage is gone.

        place: needed while the site is measured, not while its network's name is looked up.
        """
        held = self._held.get(vantage)
        if held is None:
            together.left()
            return None
        async with held.used():
            controls = together.on(held.line) if held.line else None
            try:
                async with place:
                    seen = await held.prober.observe(url, controls)
            finally:
                together.left()
            return await held.prober.file(seen)

    def _tell_changes(self, absent: dict[str, ConfigError], configured: set[str]) -> None:
        for name, problem in absent.items():
            if name not in self._absent:
                self._tell(
                    spoken().text("vantage {name} is left out until it is there: {problem}", name=name, problem=problem)
                )
        for name in self._absent.keys() & configured - absent.keys():
            self._tell(spoken().text("vantage {name} is there now", name=name))
        self._absent = absent

    async def _kept_or_built(self, present: assemble.Present, named: VantageConfig) -> _Held:
        config = present.config
        settings, held = _settings(present, named), self._held.get(named.name)
        if held and held.settings == settings:
            return held
        async with AsyncExitStack() as unless_built:
            prober = assemble.prober(config, named, self._context, unless_built)
            return _Held(settings, prober, unless_built.pop_all())

    async def _swap(self, built: dict[str, _Held]) -> None:
        gone = [held for held in self._held.values() if held not in built.values()]
        self._held = built
        self._past_traffic += sum(map(_traffic, gone))
        await _retire(gone)


async def _retire(gone: list[_Held]) -> None:
    for held in gone:
        held.retired = True
        await held.close_if_idle()


def _traffic(held: _Held) -> int:
    counted = held.prober.vantage.traffic
    return counted.sent + counted.received


def _settings(present: assemble.Present, named: VantageConfig) -> tuple[Any, ...]:
    """All of the configuration, and of this machine, that a vantage's prober is made of."""
    config, namespaces = present.config, present.namespaces
    control = next((one for one in config.vantages if one.name == config.control.vantage), None)
    ways = namespaces[named.name], control and namespaces[control.name]
    return named, control, ways, config.control, config.measure, config.network
