"""`almenara demo`: the story of 15 January 2018, told by measurements in an internet in a box.

Both ISPs open; then one site after another is blocked on each by its own technique, and the matrix shows what
Almenara finds. Names of sites and ISPs are the real ones; addresses, delays and pages are drawn from a seed, and the
techniques stand for those that are in use, not for who used which on that night.
"""

import asyncio
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.namespaces import LabError
from monitor.lab.scenario import Page
from monitor.lab.showing import Showing, showing
from monitor.lab.stage import Stage
from monitor.lab.table import prober_on
from monitor.language import here
from monitor.measure import Prober
from monitor.messages import N_
from monitor.show import results_console
from monitor.signals import until_signal
from monitor.steps.tls import client_context

ISPS = ("cantv", "movilnet")
_PLAIN = Page(scheme="http", https_side=True)
_LONG = Page(size=(90_000, 160_000), gzip=False)
SITES = {
    "www.lapatilla.com": Page(),
    "elpitazo.net": Page(),
    "efectococuyo.com": Page(),
    "www.caraotadigital.net": _PLAIN,
    "armando.info": Page(),
    "runrun.es": _LONG,
    "talcualdigital.com": Page(),
    "cronica.uno": Page(),
    "correodelcaroni.com": Page(status=503),
    "www.noticiero.example": Page(refuses="403"),
}
PAUSE_S = 4.0  # between two acts


_NOTICE = (
    "<html><head><title>Sitio bloqueado</title></head><body><h1>Bloqueado por orden de la autoridad</h1></body></html>"
)
_BLOCK_PAGE = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
    f"Content-Length: {len(_NOTICE)}\r\nConnection: close\r\n\r\n{_NOTICE}"
)


class Act(Struct, frozen=True, kw_only=True):
    """What one ISP does to one site. told: how the demo tells it. parameters: of the technique, as in Policy."""

    isp: str
    technique: str
    site: str
    told: str
    parameters: dict[str, Any] = {}


ACTS = (
    Act(isp="cantv", technique="dns-nxdomain", site="www.lapatilla.com", told=N_("its resolvers deny the name of La Patilla")),
    Act(isp="cantv", technique="tls-reset", site="elpitazo.net", told=N_("the name of El Pitazo draws a reset")),
    Act(isp="movilnet", technique="tls-silence", site="www.lapatilla.com", told=N_("the name of La Patilla draws silence")),
    Act(isp="movilnet", technique="dns-injection", site="elpitazo.net", told=N_("forged answers for El Pitazo, whoever is asked"),
        parameters={"answers": ("10.10.34.34",)}),
    Act(isp="cantv", technique="http-page", site="www.caraotadigital.net", told=N_("a block page in place of Caraota Digital"),
        parameters={"response": _BLOCK_PAGE}),
    Act(isp="movilnet", technique="drop", site="armando.info", told=N_("packets to Armando.info vanish")),
    Act(isp="movilnet", technique="tls-throttle", site="runrun.es", told=N_("Runrun.es gets 1 KB a second"),
        parameters={"rate": 1000}),
)  # fmt: skip


def run(*, once: bool, seed: int | None) -> int:
    """Show the demo; 1 where the lab cannot run here. KeyboardInterrupt for Ctrl-C; another signal's code as shells count."""
    drawn = secrets.randbelow(1_000_000) if seed is None else seed
    console = results_console()
    try:
        with Lab(draw(drawn, sites=SITES)) as lab:
            lab.start_helper()
            story = Story(lab, console)
            ended = asyncio.run(until_signal(story.once() if once else story.live()))
    except LabError as exc:
        why = here().text("the lab cannot run here: {problem}", problem=exc)
        sys.stderr.write(f"almenara: {why}\n")
        return 1
    if ended is signal.SIGINT:
        raise KeyboardInterrupt
    if ended:
        return 128 + ended
    again = here().text("seed {seed}: --seed {seed} draws the same addresses, delays and pages again", seed=drawn)
    console.print(Text(again, style="dim"))
    return 0


class Story:
    """The acts, the measurements, and the stage that shows them."""

    def __init__(self, lab: Lab, console: Console) -> None:
        self._lab, self._words = lab, here()
        self._urls = {name: lab.world.sites[name].url for name in SITES}
        self._stage = Stage(console, [lab.isps[name] for name in ISPS], tuple(SITES))
        self._slots = asyncio.Semaphore(16)
        self._page: Showing | None = None

    async def once(self) -> None:
        """The censored state, measured once."""
        with self._stage.following():
            for act in ACTS:
                self._perform(act)
            async with AsyncExitStack() as open_until:
                await self._round(self._probers(open_until))
        self._stage.outcome()

    async def live(self) -> None:
        """Both ISPs open; then act after act, measured without a pause; a last look at everything; the summary."""
        async with AsyncExitStack() as open_until:
            probers = self._probers(open_until)
            self._page = await open_until.enter_async_context(showing(self._lab, self._urls))
            with self._stage.following():
                self._stage.head(self._words.text("the page: {address}", address=self._page.address))
                self._stage.tell(self._words.text("15 January 2018: both ISPs are open"))
                await self._round(probers)
                watching = asyncio.ensure_future(self._watch(probers))
                try:
                    for act in ACTS:
                        await asyncio.sleep(PAUSE_S)
                        self._perform(act)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                self._stage.tell(self._words.text("all is said and done: a last look"))
                await self._round(probers)
            self._stage.outcome()
            if self._stage.is_followed:
                await self._stay(probers, self._page.address)

    async def _stay(self, probers: dict[str, Prober], address: str) -> None:
        """Go on for whoever looks at the page."""
        self._stage.say(self._words.text("the page stays at {address} until Ctrl-C", address=address))
        await self._watch(probers)

    def _probers(self, open_until: AsyncExitStack) -> dict[str, Prober]:
        context = client_context(str(self._lab.ca_file))
        return {isp: prober_on(self._lab, isp, context, open_until) for isp in ISPS}

    async def _round(self, probers: dict[str, Prober]) -> None:
        await asyncio.gather(*(self._measure(prober, name) for name in SITES for prober in probers.values()))

    async def _watch(self, probers: dict[str, Prober]) -> None:
        while True:
            await self._round(probers)

    async def _measure(self, prober: Prober, name: str) -> None:
        async with self._slots:
            measurement = await prober.measure(self._urls[name])
        if self._page:
            await self._page.note(measurement)
        assert measurement.verdict is not None
        self._stage.note(prober.vantage.name, name, measurement.verdict)

    def _perform(self, act: Act) -> None:
        self._lab.censor(act.isp, act.technique, act.site, **act.parameters)
        self._stage.tell(f"{self._lab.isps[act.isp].isp}: {self._words.gettext(act.told)}")
