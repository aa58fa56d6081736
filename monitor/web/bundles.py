"""Evidence bundles for readers: made when somebody asks, one at a time, by another process; and kept for a while.

A bundle is redacted whoever asks for it (docs/evidence.md), so that this machine's own reader can hand it on.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.json import encode

from monitor import journal
from monitor.evidence import keys
from monitor.evidence.order import Order
from monitor.models import Event, Incident
from monitor.web.archive import Busy

MADE_S = 90.0  # how long it may take; the rest of what an answer may take is for reading it
MOST_WAITING = 4
MOST_KEPT = 8
GOES_ON_S = 600.0  # how old a bundle of what goes on, or may end, may be
_MOST_SAID = 2000
_HERE = Path(__file__).parent.parent.parent


class NotMade(Exception):
    """There will be none now."""


class _Made(Struct, frozen=True, kw_only=True):
    file: Path
    at: float


class Bundles:
    """store: its URL. key: the file of what they are signed with, by default the operator's; made where it is not there."""

    def __init__(self, store: str, key: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._key, self._clock = store, key or keys.place(), clock
        self._turn, self._waiting, self._rested = asyncio.Lock(), 0, 0.0
        self._kept: dict[tuple[str, int, str], _Made] = {}
        self._folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def aclose(self) -> None:
        """Ends what is being made, and removes what is kept."""
        await self._end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def of(self, about: Event | Incident, language: str, *, resting: bool) -> Path:
        """The zip. NotMade; Busy where too many wait. resting: as long as the last one took, nothing is made.

        Who measures on a small machine shall not be kept from it by strangers who ask all day.
        """
        key = (about.id, about.revision, language)
        if self._waiting >= MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                made = self._kept.get(key)
                if made is None or (about.ended is None and self._clock() - made.at >= GOES_ON_S):
                    if resting:
                        await asyncio.sleep(self._rested - self._clock())
                    made = self._kept[key] = await self._made(about.id, language)
                    self._forget()
                return made.file
        finally:
            self._waiting -= 1

    async def _made(self, id: str, language: str) -> _Made:
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="almenara-bundles-"))
        began = self._clock()
        file = Path(tempfile.mkdtemp(dir=self._folder)) / "evidence.zip"
        order = Order(store=self._store, id=id, language=language, output=str(file), key=str(self._key))
        problem = await self._run(encode(order))
        self._rested = 2 * self._clock() - began
        if problem is None and file.exists():
            return _Made(file=file, at=began)
        shutil.rmtree(file.parent, ignore_errors=True)
        said = journal.spoken().text("no evidence bundle was made for a reader: {problem}", problem=problem)
        journal.say("bundle", said, level=logging.WARNING, problem=problem)
        raise NotMade

    async def _run(self, order: bytes) -> str | None:
        """What went wrong."""
        command = (sys.executable, "-P", "-m", "monitor.evidence.ordered")
        env = os.environ | {"PYTHONPATH": str(_HERE)}
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=-1, stdout=asyncio.subprocess.DEVNULL, stderr=-1, env=env, start_new_session=True
        )
        try:
            _, said = await asyncio.wait_for(self._process.communicate(order), MADE_S)
        except TimeoutError:
            return f"> {MADE_S:.0f} s"
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

    def _forget(self) -> None:
        """The oldest. Who is reading one holds it open."""
        while len(self._kept) > MOST_KEPT:
            oldest = self._kept.pop(next(iter(self._kept)))
            shutil.rmtree(oldest.file.parent, ignore_errors=True)
