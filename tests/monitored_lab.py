"""A story in the lab that Prometheus and Alertmanager watch: all is open; an ISP blocks three sites; it lets them through
again, while nothing is heard of the other any more; then Almenara itself has troubles. What Prometheus has kept of it can be
asked for afterwards, of any moment.

A service needs minutes to be sure of what it sees. So between two chapters it is away, and what it has measured is dated
back and repeated, as if the chapter had lasted many times as long: it comes back to what it would know by then.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab_window import window
from msgspec import Struct
from msgspec.structs import replace
from prometheus_servers import Desk, Prometheus, alertmanager, desk, faster, prometheus
from ruamel.yaml import YAML
from test_service import PORT, Running

from monitor.lab.box import Lab
from monitor.models import Measurement, Status
from monitor.store import Store

RULES = Path(__file__).parent.parent / "prometheus"
# The durations in the rules and in Alertmanager's configuration are so many times as short: an hour is half a minute.
TIMES = 120
SCRAPE_S = 2
STRETCH = 40  # of a chapter: a minute is forty
REPEATED = 4  # each measurement of it
EVERY_S = 10
UNPLUGGED = "movilnet"
BLOCKED = 3
NO_HELPER = "https://helper.invalid:1/"


class Story(Struct, kw_only=True):
    """What there is to ask. moments: by chapter, seconds since 1970; names: the sites, the blocked ones first."""

    prometheus: Prometheus
    desk: Desk
    address: str
    names: list[str]
    moments: dict[str, float]
    metrics: str


@contextmanager
def told(lab: Lab, names: list[str], folder: Path) -> Iterator[Story]:
    """The story, when it has been told; Prometheus still runs."""
    service = Running(lab, folder, names)
    with ExitStack() as until:
        until.callback(_ended, service)
        received, desk_url = until.enter_context(desk())
        address = until.enter_context(window(lab, lab.control_netns, PORT))
        alerts = until.enter_context(alertmanager(folder, alerting(desk_url)))
        configuration = scraping(folder, address, alerts.url, lab.world.sites[names[-1]].url)
        asked = until.enter_context(prometheus(folder, configuration))
        story = Story(prometheus=asked, desk=received, address=address, names=names, moments={}, metrics="")
        _tell(story, service)
        yield story


def _ended(service: Running) -> None:
    if service.process and service.process.poll() is None:
        service.process.kill()
        service.process.wait()


def _tell(story: Story, service: Running) -> None:
    _configure(service)
    began = _begin(service)
    _open(story, service)
    numbers = [service.lab.censor("cantv", "tls-reset", name) for name in story.names[:BLOCKED]]
    service.until(lambda: all(len(service.blocked(name)) >= 2 for name in story.names[:BLOCKED]), 120)
    _away(service, "blocked", began)
    began = _begin(service)
    _blocked(story, service)
    for number in numbers:
        service.lab.lift(number)
    service.until(lambda: all(_good(service, name) >= 3 for name in story.names[:BLOCKED]), 120)
    _away(service, "lifted", began)
    _begin(service)
    _lifted(story, service)
    _troubled(story, service)


def _begin(service: Running) -> datetime:
    service.start()
    return datetime.now(UTC)


def _good(service: Running, site: str) -> int:
    """How many measurements in a row, the last ones, have found a site open on the ISP that had blocked it."""
    with Store.open(f"sqlite:{service.database}", create=False) as store:
        found = [point.status is Status.OK for point in store.points(site=site) if point.network.asn == 8048]
    return [*found[::-1], False].index(False)


def _open(story: Story, service: Running) -> None:
    asked = story.prometheus
    every = 2 * len(story.names)
    service.until(lambda: len(service.stored()) >= 2 * every, 120)
    service.until(lambda: asked.value('sum(almenara_site_status{status="ok"})') == every)
    service.until(lambda: asked.value("min(probe_success)") == 1)
    # So long a network must have been watched before a wave of blocking is told.
    service.until(lambda: asked.now("almenara_events_active offset 45s"))
    story.moments["open"] = time.time()


def _blocked(story: Story, service: Running) -> None:
    asked, received = story.prometheus, story.desk
    service.until(lambda: asked.value('max(almenara_events_active{asn="8048"})') == BLOCKED)
    service.until(lambda: asked.value('sum(almenara_site_status{status="blocked"})') == BLOCKED)
    service.until(lambda: len({_site(one) for one in received.alerts("AlmenaraSiteBlocked")}) == BLOCKED)
    service.until(lambda: received.alerts("AlmenaraIspBlocksMany"))
    time.sleep(SCRAPE_S)  # what was scraped when the alerts were sent may be half a scrape
    story.moments["blocked"] = time.time()


def _lifted(story: Story, service: Running) -> None:
    asked, received = story.prometheus, story.desk
    service.until(lambda: asked.value("sum(almenara_events_active)") == 0)
    service.until(lambda: asked.value('sum(almenara_site_status{status="blocked"})') == 0)
    resolved = "AlmenaraSiteBlocked", "resolved"
    service.until(lambda: len({_site(one) for one in received.alerts(*resolved)}) == BLOCKED)
    service.until(lambda: received.alerts("AlmenaraNetworkOutage"), 120)
    story.moments["lifted"] = time.time()
    story.metrics = service.request("GET", "/metrics")[1] + "\n"


def _troubled(story: Story, service: Running) -> None:
    """Its helper is gone, its configuration is wrong, and then it ends."""
    received, right = story.desk, service.file.read_text()
    service.file.write_text(right.replace(service.lab.helper_url, NO_HELPER))
    assert service.request("POST", "/-/reload")[0] == 200
    service.until(lambda: received.alerts("AlmenaraControlDown"), 120)
    service.file.write_text(right + "nonsense: 1\n")
    assert service.request("POST", "/-/reload")[0] == 400
    service.until(lambda: received.alerts("AlmenaraReloadFailed"))
    story.moments["troubled"] = time.time()
    assert service.stop() == 0
    service.process = None
    service.until(lambda: received.alerts("AlmenaraDown"))


def _site(alert: dict[str, Any]) -> str:
    return str(alert["labels"]["site"])


def _configure(service: Running, vantages: int = 2) -> None:
    service.configure(every=f"{EVERY_S}s")
    text = service.file.read_text()
    listed = json.loads(re.search(r"^vantages: (.*)$", text, re.MULTILINE)[1])
    service.file.write_text(text.replace(json.dumps(listed), json.dumps(listed[:vantages])))
    service.file.write_text(service.file.read_text().replace('"jitter": "1s"', '"jitter": "1s", "budget": "500GB"'))


def _away(service: Running, chapter: str, began: datetime) -> None:
    """End it, and give it another store, in which all that came since then took longer."""
    assert service.stop() == 0
    end = datetime.now(UTC)
    with Store.open(f"sqlite:{service.database}", create=False) as store:
        measured = list(store.measurements())
    service.database = service.folder / f"{chapter}.db"
    _configure(service, 1 if chapter == "lifted" else 2)
    with Store.open(f"sqlite:{service.database}") as store:
        dated = [again for one in measured for again in _dated_back(one, began, end)]
        if chapter == "lifted":
            dated = [_silenced(one) if one.vantage == UNPLUGGED else one for one in dated]
        store.append(dated)


def _dated_back(one: Measurement, began: datetime, end: datetime) -> Iterator[Measurement]:
    """A measurement as of longer ago, and one of this chapter several times."""
    if one.started < began:
        yield replace(one, started=one.started - (end - began) * (STRETCH - 1))
        return
    started = end - (end - one.started) * STRETCH
    for number in range(REPEATED):
        before = timedelta(seconds=EVERY_S * STRETCH * number / REPEATED)
        yield replace(one, id=f"{one.id}-{number}", started=started - before)


def _silenced(one: Measurement) -> Measurement:
    return replace(one, started=one.started - timedelta(hours=2))


def scraping(folder: Path, address: str, alerts: str, probed: str) -> dict[str, Any]:
    """The example of a configuration, with our addresses, and all that takes a minute in seconds."""
    config: dict[str, Any] = YAML(typ="safe").load(RULES / "prometheus.yml")
    rules = folder / "rules"
    shutil.copytree(RULES / "rules", rules)
    for file in rules.iterdir():
        file.write_text(faster(file.read_text(), TIMES))
    config["global"] = {
        "scrape_interval": f"{SCRAPE_S}s",
        "scrape_timeout": f"{SCRAPE_S}s",
        "evaluation_interval": "1s",
    }
    config["rule_files"] = [str(rules / "*.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts.removeprefix("http://")]
    job, probe = config["scrape_configs"]
    job["static_configs"][0]["targets"] = [address]
    probe |= {"scrape_interval": "20s", "scrape_timeout": "20s"}
    probe["static_configs"][0]["targets"] = [probed]
    probe["relabel_configs"][-1]["replacement"] = address
    return config


def alerting(desk_url: str) -> dict[str, Any]:
    """The example for Alertmanager, with our desk, and faster."""
    text = faster((RULES / "alertmanager.yml").read_text(), TIMES)
    config: dict[str, Any] = YAML(typ="safe").load(text.replace("http://127.0.0.1:5001/", desk_url))
    return json.loads(json.dumps(config))
