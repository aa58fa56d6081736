"""A story in the lab that Prometheus and Alertmanager watch: all is open; an ISP blocks three sites; it lets them through
again, while the other is unplugged and nothing is heard of it any more; then Almenara itself has troubles. What Prometheus
has kept of it can be asked for afterwards, of any moment.

A service needs hours to be sure of what it sees. So between two chapters it is away, and what it has measured is repeated
and spread evenly over such hours, however long the chapter took: it comes back to what it would know by then.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab_service import PORT, Running
from lab_window import window
from msgspec import Struct
from msgspec.structs import replace
from prometheus_rules import FOLDER
from prometheus_servers import Desk, Prometheus, alertmanager, desk, faster, prometheus
from ruamel.yaml import YAML

from monitor.lab.box import Lab
from monitor.models import Measurement, Status
from monitor.store import Store

# The durations in the rules and in Alertmanager's configuration are so many times as short: an hour is half a minute.
TIMES = 120
SCRAPE_S = 2
CHAPTER = timedelta(hours=2)  # as long as each is said to have lasted
REPEATED = 4  # each measurement of it
EVERY_S = 10
PATIENCE_S = 120.0
DATED = "dated-"
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
    service.start()
    _open(story, service)
    numbers = [service.lab.censor("cantv", "tls-reset", name) for name in story.names[:BLOCKED]]
    _until(
        service, "every site that is to be blocked was found so twice", lambda: _found(story, service, _blocked) >= 2
    )
    _away(service, "blocked")
    service.start()
    _told_blocked(story, service)
    for number in numbers:
        service.lab.lift(number)
    _until(service, "every site was found open again three times", lambda: _found(story, service, _good) >= 3)
    _unplug(service)
    _away(service, "lifted")
    service.start()
    _lifted(story, service)
    _troubled(story, service)


def _until(service: Running, what: str, holds: Callable[[], Any]) -> None:
    """What happens by itself, waited for. what: said where it does not."""
    try:
        service.until(holds, PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"waited in vain until {what}\n{error}") from None


def _found(story: Story, service: Running, count: Callable[[list[Status]], int]) -> int:
    """The least that is counted in what each of the sites to be blocked was found to be on that ISP, so far."""
    with Store.open(f"sqlite:{service.database}", create=False) as store:
        points = list(store.points(asn=8048))
    return min(count([point.status for point in points if point.site == name]) for name in story.names[:BLOCKED])


def _blocked(found: list[Status]) -> int:
    return found.count(Status.BLOCKED)


def _good(found: list[Status]) -> int:
    """How many in a row, the last ones, are open."""
    return [*(one is Status.OK for one in reversed(found)), False].index(False)


def _open(story: Story, service: Running) -> None:
    asked = story.prometheus
    every = 2 * len(story.names)
    _until(service, "each site was measured twice on each ISP", lambda: len(service.stored()) >= 2 * every)
    open_sites = 'sum(almenara_site_status{status="ok"})'
    _until(service, "all sites are told as open", lambda: asked.value(open_sites) == every)
    _until(service, "probes succeed", lambda: asked.value("min(probe_success)") == 1)
    # So long a network must have been watched before a wave of blocking is told.
    _until(service, "it was watched for a while", lambda: asked.now("almenara_events_active offset 45s"))
    story.moments["open"] = time.time()


def _told_blocked(story: Story, service: Running) -> None:
    asked, received = story.prometheus, story.desk
    active, blocked = 'max(almenara_events_active{asn="8048"})', 'sum(almenara_site_status{status="blocked"})'
    _until(service, "the events are told", lambda: asked.value(active) == BLOCKED)
    _until(service, "the sites are told as blocked", lambda: asked.value(blocked) == BLOCKED)
    _until(service, "each site has its alert", lambda: len(_sites(received.alerts("AlmenaraSiteBlocked"))) == BLOCKED)
    _until(service, "AlmenaraIspBlocksMany arrives", lambda: received.alerts("AlmenaraIspBlocksMany"))
    _until(service, "a control was asked", lambda: asked.value("max(almenara_control_up)") == 1)
    time.sleep(SCRAPE_S)  # what was scraped when the alerts were sent may be half a scrape
    story.moments["blocked"] = time.time()


def _lifted(story: Story, service: Running) -> None:
    asked, received = story.prometheus, story.desk
    active, blocked = "sum(almenara_events_active)", 'sum(almenara_site_status{status="blocked"})'
    over = "AlmenaraSiteBlocked", "resolved"
    _until(service, "no event goes on", lambda: asked.value(active) == 0)
    _until(service, "no site is told as blocked", lambda: asked.value(blocked) == 0)
    _until(service, "the end of each alert arrives", lambda: len(_sites(received.alerts(*over))) == BLOCKED)
    _until(service, "the silence is told", lambda: asked.value('almenara_outages_active{kind="silence"}') == 1)
    _until(service, "AlmenaraNetworkSilent arrives", lambda: received.alerts("AlmenaraNetworkSilent"))
    story.moments["lifted"] = time.time()
    story.metrics = service.request("GET", "/metrics")[1] + "\n"


def _troubled(story: Story, service: Running) -> None:
    """Its helper is gone, its configuration is wrong, and then it ends."""
    received, right = story.desk, service.file.read_text()
    service.file.write_text(right.replace(service.lab.helper_url, NO_HELPER))
    assert service.request("POST", "/-/reload")[0] == 200
    _until(service, "AlmenaraControlDown arrives", lambda: received.alerts("AlmenaraControlDown"))
    service.file.write_text(right + "nonsense: 1\n")
    assert service.request("POST", "/-/reload")[0] == 400
    _until(service, "AlmenaraReloadFailed arrives", lambda: received.alerts("AlmenaraReloadFailed"))
    story.moments["troubled"] = time.time()
    assert service.stop() == 0
    service.process = None
    _until(service, "AlmenaraDown arrives", lambda: received.alerts("AlmenaraDown"))


def _sites(alerts: Iterable[dict[str, Any]]) -> set[str]:
    return {str(alert["labels"]["site"]) for alert in alerts}


def _configure(service: Running) -> None:
    service.configure(every=f"{EVERY_S}s")
    text = service.file.read_text()
    alerts = 'alerts: [{to: "webhook:http://127.0.0.1:1/"}]\n'  # a receiver that is not there
    service.file.write_text(text.replace('"jitter": "1s"', '"jitter": "1s", "budget": "500GB"') + alerts)


def _unplug(service: Running) -> None:
    """The network of a vantage that stays declared is gone."""
    text = service.file.read_text()
    listed = json.loads(re.search(r"^vantages: (.*)$", text, re.MULTILINE)[1])
    [unplugged] = [one for one in listed if one["name"] == UNPLUGGED]
    service.file.write_text(text.replace(json.dumps(unplugged["via"]), '{"netns": "/proc/1/ns/none"}'))


def _away(service: Running, chapter: str) -> None:
    """End it, and give it another store, in which all that came since it began took longer."""
    assert service.stop() == 0
    with Store.open(f"sqlite:{service.database}", create=False) as store:
        measured = list(store.measurements())
    database = service.folder / f"{chapter}.db"
    service.file.write_text(service.file.read_text().replace(str(service.database), str(database)))
    service.database = database
    if chapter == "lifted":  # it was unplugged when the chapter began
        measured = [one for one in measured if one.vantage != UNPLUGGED or _is_dated(one)]
    with Store.open(f"sqlite:{database}") as store:
        store.append(_dated(measured, datetime.now(UTC)))


def _dated(measured: list[Measurement], end: datetime) -> list[Measurement]:
    """Those of this chapter, each repeated, spread evenly over its hours; those of the chapters before go before it."""
    dated = [replace(one, started=one.started - CHAPTER) for one in measured if _is_dated(one)]
    fresh: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured:
        if not _is_dated(one):
            fresh.setdefault((one.url, one.vantage), []).extend([one] * REPEATED)
    for pairs, seen in enumerate(fresh.values()):
        pace = CHAPTER / len(seen)
        for number, one in enumerate(reversed(seen)):
            started = end - pace * (number + (pairs + 1) / (len(fresh) + 1))
            dated.append(replace(one, id=f"{DATED}{len(dated)}-{one.id}", started=started))
    return dated


def _is_dated(one: Measurement) -> bool:
    """Of a chapter before this."""
    return one.id.startswith(DATED)


def scraping(folder: Path, address: str, alerts: str, probed: str) -> dict[str, Any]:
    """The example of a configuration, with our addresses, and all that takes a minute in seconds."""
    config: dict[str, Any] = YAML(typ="safe").load(FOLDER / "prometheus.yml")
    rules = folder / "rules"
    shutil.copytree(FOLDER / "rules", rules)
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
    text = faster((FOLDER / "alertmanager.yml").read_text(), TIMES)
    config: dict[str, Any] = YAML(typ="safe").load(text.replace("http://127.0.0.1:5001/", desk_url))
    return json.loads(json.dumps(config))
