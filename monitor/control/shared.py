"""One control for a site that is measured on several vantages at the same time.

The first vantage to ask waits a moment for the others; one of them then asks for what all need, and the answer serves
all. Whoever needs further addresses asks for those alone. A helper that one vantage cannot reach is tried over another,
and so is one that keeps it waiting.
"""

import asyncio
from collections.abc import Sequence
from typing import Self

from monitor.control.protocol import MOST_ENDPOINTS
from monitor.measure import Asker
from monitor.models import Control

WINDOW_S = 1.0  # for the others, who resolve the name at the same time
FRESH_S = 60.0  # an answer serves measurements of the same minute
# A vantage learns its own address, which is scrubbed, by asking itself; a line that redials has another one.
OWN_ASKING_S = 900.0

# Until another vantage asks as well: a helper that looks at a dead site takes long itself, which is no reason to ask
# twice; one that a vantage never reached before is more likely not reached.
PATIENCE_S, PATIENCE_AT_FIRST_S = 30.0, 5.0

Pair = tuple[str, int]


class Line:
    """One vantage's own controls, over all rounds. asked_at: when they were last asked over it; failed: in vain.

    reached: whether they ever answered.
    """

    def __init__(self, own: Asker) -> None:
        self.own = own
        self.asked_at: float | None = None
        self.failed = False
        self.reached = False

    async def ask(self, url: str, *, addresses: Sequence[Pair], hop: int, attempts: int) -> tuple[Control, ...]:
        """Ask over this vantage."""
        try:
            controls = await self.own.ask(url, addresses=addresses, hop=hop, attempts=attempts)
        finally:
            self.asked_at = asyncio.get_running_loop().time()
        self.failed = not _usable(controls)
        self.reached = self.reached or not self.failed
        return controls

    def patience_s(self) -> float:
        """How long it alone is waited for."""
        return PATIENCE_S if self.reached else PATIENCE_AT_FIRST_S

    def knows_itself(self) -> bool:
        """Has it asked lately?"""
        return self.asked_at is not None and asyncio.get_running_loop().time() - self.asked_at < OWN_ASKING_S

    def order(self) -> tuple[bool, float]:
        """Who asks for all: the one that has not asked for longest, of those that reach a control."""
        return self.failed, self.asked_at or 0.0


class Together:
    """One round: the same site on so many vantages. As a context: what is still being asked ends with it."""

    def __init__(self, vantages: int) -> None:
        self._vantages = vantages
        self._questions: dict[tuple[str, int, int], _Question] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._begun: list[_Question] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = self._asking | {task for question in self._begun for task in question.asking.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on(self, line: Line) -> Asker:
        """The controls of one of the round's vantages, shared with the others."""
        return _Shared(self, line)

    def left(self) -> None:
        """One vantage has finished: nobody waits for it any more."""
        self._vantages -= 1
        for question in self._questions.values():
            question.complete(self._vantages)

    async def ask(
        self, line: Line, url: str, addresses: Sequence[Pair], hop: int, attempts: int
    ) -> tuple[Control, ...]:
        """What the controls say of the URL; asked anew only for what nobody has asked for."""
        key = (url, hop, attempts)
        question = self._questions.get(key)
        if question is None or question.stale() or line in question.lines:
            question = self._questions[key] = _Question(url, hop, attempts)
            self._begun.append(question)
        question.join(line, addresses)
        question.complete(self._vantages)
        if question.answering is None:
            question.answering = asyncio.create_task(question.answer())
            self._asking.add(question.answering)
        # Whoever began may run out of time; the others still want the answer.
        await asyncio.shield(question.answering)
        await question.further(line, addresses)
        return tuple(question.controls)


class _Shared:
    """What a prober asks in place of its own controls."""

    def __init__(self, round_: Together, line: Line) -> None:
        self._round, self._line = round_, line
        self.seen_as = set(line.own.seen_as)

    async def ask(self, url: str, *, addresses: Sequence[Pair], hop: int, attempts: int) -> tuple[Control, ...]:
        try:
            return await self._round.ask(self._line, url, addresses, hop, attempts)
        finally:
            self.seen_as = set(self._line.own.seen_as)


class _Question:
    """One question of a round, its answers, and who has asked. covered: addresses that were asked for or tried.

    asking: what each line was asked for all.
    """

    def __init__(self, url: str, hop: int, attempts: int) -> None:
        self.url, self.hop, self.attempts = url, hop, attempts
        self.lines: list[Line] = []
        self.controls: list[Control] = []
        self.answering: asyncio.Task[None] | None = None
        self.asking: dict[Line, asyncio.Task[None]] = {}
        self._wanted: dict[Pair, None] = {}
        self._covered: set[str] = set()
        self._complete = asyncio.Event()
        self._begun = asyncio.get_running_loop().time()

    def stale(self) -> bool:
        """Too long ago to serve a measurement of now."""
        return asyncio.get_running_loop().time() - self._begun > FRESH_S

    def join(self, line: Line, addresses: Sequence[Pair]) -> None:
        """A vantage asks."""
        self.lines.append(line)
        self._wanted |= dict.fromkeys(addresses)

    def complete(self, vantages: int) -> None:
        """All that are still measuring have asked: nobody is waited for."""
        if len(self.lines) >= vantages:
            self._complete.set()

    async def answer(self) -> None:
        """Wait a moment for the others, then ask over one vantage after another until a control answers.

        Those that keep us waiting are asked on: what a vantage's own address is, only they tell.
        """
        try:
            async with asyncio.timeout(WINDOW_S):
                await self._complete.wait()
        except TimeoutError:
            pass
        for line in sorted(self.lines, key=Line.order):
            self.asking[line] = asking = asyncio.create_task(self._ask(line, list(self._wanted)))
            if await self._answered(asking, within=line.patience_s()):
                return
            line.failed = True  # unless it answers later
        for asking in list(self.asking.values()):
            if await self._answered(asking, within=None):
                return

    async def _answered(self, asking: "asyncio.Task[None]", *, within: float | None) -> bool:
        """Has a control answered when this one is done, or has taken that long?"""
        try:
            async with asyncio.timeout(within):
                while not (asking.done() or _usable(self.controls)):
                    waiting = [task for task in self.asking.values() if not task.done()]
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        if asking.done():
            asking.result()
        return _usable(self.controls)

    async def further(self, line: Line, addresses: Sequence[Pair]) -> None:
        """What this vantage still needs, asked over it."""
        asking = self.asking.get(line)
        if asking is not None and not line.knows_itself():
            await asyncio.shield(asking)
        if asking is None and not (_usable(self.controls) and line.knows_itself()):
            await self._ask(line, list(addresses))
        elif _usable(self.controls):
            missing = [pair for pair in addresses if pair[0] not in self._covered]
            if missing:
                await self._ask(line, missing)

    async def _ask(self, line: Line, addresses: list[Pair]) -> None:
        asked = addresses[:MOST_ENDPOINTS]
        controls = await line.ask(self.url, addresses=asked, hop=self.hop, attempts=self.attempts)
        self.controls += controls
        if _usable(controls):
            self._covered |= {address for address, _ in asked} | {one.address for c in controls for one in c.tcp}


def _usable(controls: Sequence[Control]) -> bool:
    return any(control.failure is None for control in controls)
