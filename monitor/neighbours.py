"""Sites that share an address: measured one after another, and who met interference there last is remembered.

Some censors keep cutting the pair of hosts for 60 to 180 s after a trigger, innocent neighbours on the address with it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from monitor.models import Neighbour

RESIDUAL_S = 180.0  # facts.md: 60 to 180 s


class Neighbours:
    """One vantage's ledger of addresses; bounded by the residual time."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}
        self._triggers: dict[str, dict[str, float]] = {}

    @asynccontextmanager
    async def hold(self, addresses: Iterable[str]) -> AsyncIterator[None]:
        """Have these addresses for oneself. Taken in sorted order, so that two sites never wait for each other."""
        wanted = sorted(set(addresses))
        for address in wanted:
            self._users[address] = self._users.get(address, 0) + 1
        try:
            async with AsyncExitStack() as held:
                for address in wanted:
                    await held.enter_async_context(self._locks.setdefault(address, asyncio.Lock()))
                yield
        finally:
            for address in wanted:
                self._release(address)

    def _release(self, address: str) -> None:
        self._users[address] -= 1
        if not self._users[address]:
            del self._users[address]
            self._locks.pop(address, None)  # none yet where the wait was cancelled

    def triggered(self, site: str, addresses: Iterable[str]) -> None:
        """This site met interference at these addresses just now."""
        now = asyncio.get_running_loop().time()
        for address in addresses:
            self._triggers.setdefault(address, {})[site] = now

    def recent(self, site: str, addresses: Iterable[str]) -> tuple[Neighbour, ...]:
        """Other sites that met interference at these addresses within RESIDUAL_S."""
        now = asyncio.get_running_loop().time()
        self._forget(now - RESIDUAL_S)
        return tuple(
            Neighbour(site=other, address=address, seconds_ago=round(now - when, 1))
            for address in addresses
            for other, when in self._triggers.get(address, {}).items()
            if other != site
        )

    def _forget(self, before: float) -> None:
        for address, sites in list(self._triggers.items()):
            kept = {site: when for site, when in sites.items() if when >= before}
            if kept:
                self._triggers[address] = kept
            else:
                del self._triggers[address]
