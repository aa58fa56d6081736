"""Evidence bundles for readers: made when somebody asks, one at a time, by another process; and kept for a while.

A bundle is redacted whoever asks for it (docs/evidence.md), so that this machine's own reader can hand it on.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.json import encode

from monitor import journal, system_errors
from monitor.evidence import keys
from monitor.evidence.order import PATIENCE_S, Order
from monitor.messages import Said
from monitor.models import Event, Incident
from monitor.web.archive import Busy
from monitor.web.shelf import Shelf

MOST_WAITING = 4
MOST_OF_ONE = 2  # of these, so that nobody takes them all
MOST_KEPT = 8
GOES_ON_S = 600.0  # how old a bundle of what goes on, or may end, may be
_MOST_SAID = 2000
_NAME = "evidence.zip"
_HERE = Path(__file__).parent.parent.parent

_Key = tuple[str, int, str]  # id, revision, language


class NotMade(Exception):
    """There will be none now."""


class Asker(Struct, frozen=True, kw_only=True):
    """Who waits for a bundle. gone: have they hung up? resting: as long as the last one took, nothing is made for them.

    Who measures on a small machine shall not be kept from it by strangers who ask all day.
    """

    client: str
    gone: Callable[[], Awaitable[bool]]
    resting: bool


class _Made(Struct, frozen=True, kw_only=True):
    file: Path
    at: float


class Bundles:
    """store: its URL. key: the file of what they are signed with, by default the operator's; made where it is not there."""

    def __init__(self, store: str, key: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._key, self._clock = store, key or keys.place(), clock
        self._turn, self._waiting, self._rested = asyncio.Lock(), Counter[str](), 0.0
        self._kept: dict[_Key, _Made] = {}
        self._shelf = Shelf()
        self._process: asyncio.subprocess.Process | None = None

    async def aclose(self) -> None:
        """Ends what is being made, and removes what is kept."""
        await self._end()
        self._shelf.clear()

    async def of(self, about: Event | Incident, language: str, asker: Asker) -> Path:
        """The zip. NotMade; Busy where too many wait."""
        key = (about.id, about.revision, language)
        if kept := self._fresh(key, about):
            return kept
        with self._place(asker.client):
            async with self._turn:
                return self._fresh(key, about) or await self._anew(key, asker)

    def _fresh(self, key: _Key, about: Event | Incident) -> Path | None:
        """What is kept, where it is not too old; systems tidy their temporary folders."""
        made = self._kept.get(key)
        if made is None or not made.file.exists():
            return None
        return None if about.ended is None and self._clock() - made.at >= GOES_ON_S else made.file

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        """To wait in; Busy."""
        if self._waiting.total() >= MOST_WAITING or self._waiting.get(client, 0) >= MOST_OF_ONE:
            raise Busy
        self._waiting[client] += 1
        try:
            yield
        finally:
            self._waiting[client] -= 1
            self._waiting += Counter()

    async def _anew(self, key: _Key, asker: Asker) -> Path:
        if asker.resting:
            await asyncio.sleep(self._rested - self._clock())
        if await asker.gone():
            raise NotMade
        id, _, language = key
        made = await self._made(id, language)
        self._forget(key)
        self._kept[key] = made
        while len(self._kept) > MOST_KEPT:
            self._forget(next(iter(self._kept)))
        return made.file

    async def _made(self, id: str, language: str) -> _Made:
        began, folder = self._clock(), None
        problem: Said | str | None = None
        try:
            folder = self._shelf.place()
            order = Order(store=self._store, id=id, language=language, output=str(folder / _NAME), key=str(self._key))
            problem = await self._run(encode(order), folder)
        except OSError as exc:
            problem = system_errors.problem(exc)
        finally:
            self._rested = 2 * self._clock() - began
        if problem is None and folder is not None and (folder / _NAME).exists():
            return _Made(file=folder / _NAME, at=began)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        said = journal.spoken().text("no evidence bundle was made for a reader: {problem}", problem=problem)
        journal.say("bundle", said, level=logging.WARNING, problem=str(problem))
        raise NotMade

    async def _run(self, order: bytes, folder: Path) -> str | None:
        """What went wrong. folder: for all that it writes."""
        command = (sys.executable, "-P", "-m", "monitor.evidence.ordered")
        env = os.environ | {"PYTHONPATH": str(_HERE), "TMPDIR": str(folder)}
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=-1, stdout=asyncio.subprocess.DEVNULL, stderr=-1, env=env, start_new_session=True
        )
        try:
            _, said = await asyncio.wait_for(self._process.communicate(order), PATIENCE_S)
        except TimeoutError:
            return f"> {PATIENCE_S} s"
        finally:
            await self._end()
        if self._process.returncode == 0:
            return None
        return said.decode("utf-8", "replace")[-_MOST_SAID:].strip() or f"exit {self._process.returncode}"

    async def _end(self) -> None:
        """With all that it started."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def _forget(self, key: _Key) -> None:
        """Who is reading it holds it open."""
        if old := self._kept.pop(key, None):
            shutil.rmtree(old.file.parent, ignore_errors=True)
