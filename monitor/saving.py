"""Stores what `almenara measure` finds, each as it comes; what the store did not take is offered again at the end."""

import asyncio
from contextlib import suppress

from monitor.config import Config
from monitor.messages import Said
from monitor.metrics.counting import Counting
from monitor.models import Measurement
from monitor.store import Store, StoreError


class Saving:
    """Saves to the store at a URL. Nothing is raised before `finish`: what was measured is printed in any case."""

    def __init__(self, url: str, config: Config) -> None:
        self._url = url
        self._count = Counting(config).of
        self._store: Store | None = None
        self._left: list[Measurement] = []

    async def save(self, measurement: Measurement) -> None:
        """On disk when it returns, unless the store is, or was, in trouble: it is not waited for with each."""
        self._left.append(measurement)
        if len(self._left) == 1:
            with suppress(StoreError):
                await asyncio.to_thread(self._append)

    def finish(self) -> None:
        """Save what is left; StoreError."""
        try:
            if self._left:
                self._append()
        except StoreError as exc:
            raise StoreError(
                exc.kind, Said("{number} measurements were not saved: {problem}", number=len(self._left), problem=exc)
            ) from exc
        finally:
            if self._store is not None:
                self._store.close()

    def _append(self) -> None:
        if self._store is None:
            self._store = Store.open(self._url)
        self._store.append(self._left, self._count)
        self._left.clear()
