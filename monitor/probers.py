"""One prober per vantage, as the configuration names them; rebuilt where it changes, while measurements finish."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from monitor import assemble
from monitor.config import Config, ConfigError, VantageConfig
from monitor.control.shared import Line, Together
from monitor.measure import Prober
from monitor.models import Measurement


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
    """All vantages but the one named as the control. Closed by arranging none."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._held: dict[str, _Held] = {}
        self._past_traffic = 0

    def names(self) -> tuple[str, ...]:
        """The vantages to measure from."""
        return tuple(self._held)

    def isp(self, name: str) -> str:
        """A vantage's network for people."""
        network = self._held[name].prober.vantage.network
        return network.isp or name

    def traffic(self) -> int:
        """Bytes sent and received through all vantages so far."""
        return self._past_traffic + sum(_traffic(held) for held in self._held.values())

    async def arrange(self, config: Config) -> None:
        """Measure through these from now on; ConfigError, and nothing changes, where one cannot be had."""
        built: dict[str, _Held] = {}
        try:
            for named in config.vantages:
                if named.name != config.control.vantage:
                    built[named.name] = await self._kept_or_built(config, named)
        except ConfigError:
            await _retire([held for held in built.values() if held not in self._held.values()])
            raise
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
            return None
        async with held.used():
            controls = together.on(held.line) if held.line else None
            try:
                async with place:
                    seen = await held.prober.observe(url, controls)
            finally:
                together.left()
            return await held.prober.file(seen)

    async def _kept_or_built(self, config: Config, named: VantageConfig) -> _Held:
        settings, held = _settings(config, named), self._held.get(named.name)
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


def _settings(config: Config, named: VantageConfig) -> tuple[Any, ...]:
    """All of the configuration that a vantage's prober is made of."""
    control = next((one for one in config.vantages if one.name == config.control.vantage), None)
    return named, control, config.control, config.measure, config.network
