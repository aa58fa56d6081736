"""The demo's page: the same as the service's, over a store that goes when the demo ends."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from monitor.conclusions import Conclusions, point_of
from monitor.config import DetectConfig, WebConfig
from monitor.lab.box import Lab
from monitor.models import Measurement, Network
from monitor.store import Store
from monitor.web.app import reading
from monitor.web.archive import Archive
from monitor.web.scope import Place, Scope, Subject
from monitor.web.server import PortTaken, opened, serving

ANY_PORT = "127.0.0.1:0"  # where the usual one is taken
PERIOD_S = 60.0  # a round takes less


class Showing:
    """What the demo measures, stored and concluded from as the service does. address: of the page."""

    def __init__(
        self, lab: Lab, urls: Mapping[str, str], store: Store, writer: Executor, web: WebConfig, address: str
    ) -> None:
        """urls: of each site. writer: of one thread."""
        self.web, self.address = web, address
        self._store, self._writer = store, writer
        self._conclusions, _ = Conclusions.from_store(DetectConfig(), store)
        self._scope = Scope(
            subjects=tuple(Subject(url=url, site=site, period_s=PERIOD_S) for site, url in urls.items()),
            places=tuple(
                Place(name=line.name, network=Network(asn=line.asn, isp=line.isp, country=line.country))
                for line in lab.isps.values()
            ),
        )

    def scope(self) -> Scope:
        """What is watched."""
        return self._scope

    async def note(self, measurement: Measurement) -> None:
        """Another result."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._keep, measurement)

    def _keep(self, measurement: Measurement) -> None:
        self._store.append([measurement])
        point = point_of(measurement)
        news = self._conclusions.add([point]) if point else []
        if news:
            self._store.save_events(news, self._conclusions.incidents())


@asynccontextmanager
async def showing(lab: Lab, urls: Mapping[str, str]) -> AsyncIterator[Showing]:
    """Serves the page while the context lasts."""
    web = WebConfig()
    try:
        listening = opened(web.listen)
    except PortTaken:
        listening = opened(ANY_PORT)
    with listening, tempfile.TemporaryDirectory(prefix="almenara-demo-") as folder:
        url = f"sqlite:{Path(folder) / 'demo.db'}"
        # The writer has ended before the store does, and the store before its folder goes.
        with Store.open(url) as store, ThreadPoolExecutor(1) as writer:
            host, port = listening.getsockname()[:2]
            shown, archive = Showing(lab, urls, store, writer, web, f"http://{host}:{port}/"), Archive(url)
            try:
                async with serving(reading(shown, archive, made_up=True), listening):
                    yield shown
            finally:
                await archive.aclose()
