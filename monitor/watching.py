"""`almenara run`: consent, one service a store, the live view or the log, and the loop."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from monitor import consent, files
from monitor.config import load
from monitor.journal import open_journal
from monitor.language import here
from monitor.live import screen
from monitor.messages import Said
from monitor.service import Service
from monitor.store import Store, StoreError, locate, same_place
from monitor.web.server import PortTaken

__all__ = ["AlreadyRunning", "PortTaken", "StoreError", "run"]


class AlreadyRunning(Exception):
    """Another `almenara run` uses the same store. Its text is one line."""


def run(config_file: Path, *, log_format: str | None) -> int:
    """Watch until a signal: 0; KeyboardInterrupt for Ctrl-C. log_format: None for the live view on a terminal."""
    config = load(config_file)
    consent.require_here(config.consent)
    url = locate(config.store)
    with _alone(url), Store.open(url) as store:
        service = Service(config_file, config, store)
        console = Console(stderr=True, highlight=False)
        if log_format is None and console.is_terminal and sys.stdout.isatty():
            asyncio.run(_shown(service, console))
        else:
            open_journal(log_format or "text")
            asyncio.run(service.run())
    if service.interrupted:
        raise KeyboardInterrupt
    return 0


async def _shown(service: Service, console: Console) -> None:
    """With the live view, and the log's lines above it."""
    open_journal("text", lambda line: console.print(Text(line), soft_wrap=True))
    async with _view(service, console):
        await service.run()


@asynccontextmanager
async def _view(service: Service, console: Console) -> AsyncIterator[None]:
    def render() -> Group | Text:
        if not service.began:
            return Text(here().text("reading what is stored"), style="dim")
        return screen(service.view(), datetime.now(UTC), console.height, console.width, here())

    live = Live(console=console, auto_refresh=False, get_renderable=render)

    async def refresh() -> None:
        while True:
            await asyncio.sleep(1.0)
            live.refresh()

    with live:
        refreshing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """The only service on this store; the lock goes with the process, whatever ends it."""
    file, locks = _lock_of(url), ExitStack()
    try:
        if url == locate(None) or not url.startswith("sqlite:"):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        locks.enter_context(files.locked(file))
    except files.Busy:
        text = Said("another `almenara run` uses this store ({file})", file=file.with_suffix(""))
        raise AlreadyRunning(text) from None
    except files.NoLock:
        text = Said("{file} is not this program's: remove it, or keep the store elsewhere", file=file)
        raise StoreError("unavailable", text) from None
    except OSError:
        pass  # a folder that is not there, or cannot be written: the store says it better
    with locks:
        yield


def _lock_of(url: str) -> Path:
    try:
        place = same_place(url)
    except ValueError:
        place = url  # the store says it better
    if url.startswith("sqlite:"):
        return Path(f"{place}.lock")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "almenara" / f"store-{hashlib.sha256(place.encode()).hexdigest()[:16]}.lock"
