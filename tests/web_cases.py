"""The application on a real socket, with a store of the test's own; beside the test, so that this asks as any client does."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from monitor.config import WebConfig
from monitor.web.app import app
from monitor.web.archive import Archive
from monitor.web.bundles import Bundles
from monitor.web.scope import Scope
from monitor.web.server import opened, serving

PUBLIC = "https://almenara.example/"


class Watched:
    """A service, as far as readers see it. reloaded: how often it was told to read its configuration again."""

    def __init__(self, scope: Scope | None = None, **web: Any) -> None:
        self.web = WebConfig(**web)
        self.reloaded = 0
        self._scope = scope or Scope()

    def scope(self) -> Scope:
        return self._scope

    async def reload(self) -> str | None:
        self.reloaded += 1
        return None


@contextmanager
def served(
    store_url: str, service: Watched | None = None, *, per_minute: int = 10**6, key: Path | None = None, **archive: Any
) -> Iterator[httpx.Client]:
    """A client of the application. key: to sign evidence with, where it can be had."""
    service = service or Watched()
    listening = opened("127.0.0.1:0")
    port = listening.getsockname()[1]
    started, ended = threading.Event(), threading.Event()
    bundles = Bundles(store_url, key) if key else None

    async def serve() -> None:
        reader = Archive(store_url, **archive)
        async with serving(app(service, reader, bundles, per_minute=per_minute), listening):  # type: ignore[arg-type]
            started.set()
            await asyncio.to_thread(ended.wait)
        await reader.aclose()
        if bundles:
            await bundles.aclose()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        ended.set()
        thread.join()
