"""/probe of the real service in the lab, beside the real blackbox_exporter on the same line."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import labs
import pytest
from lab_service import PORT, Running
from lab_window import window
from prometheus_servers import prometheus, promtool
from ruamel.yaml import YAML

from monitor.lab.box import Lab
from monitor.lab.draw import draw
from monitor.lab.scenario import Page
from monitor.models import Status
from monitor.store import Store, Wanted
from monitor.web.probe_metrics import address_hash

pytestmark = pytest.mark.lab

PLAIN, MODERN, PACKED, EXPIRED, STRAY = "plain.example.com", "modern.news", "packed.org", "expired.net", "stray.com.ve"
PAGES = {
    PLAIN: Page(http2=False, gzip=False, ipv6=False), MODERN: Page(http2=True, gzip=False, ipv6=True),
    PACKED: Page(gzip=True, http2=False, ipv6=False),
    EXPIRED: Page(certificate="expired"), STRAY: Page(),
}  # fmt: skip
# What blackbox_exporter tells and we do not (docs/probe.md), and the other way round.
THEIRS = {"probe_ssl_last_chain_expiry_timestamp_seconds", "probe_ssl_last_chain_info", "probe_tls_cipher_info"}
OURS = {"probe_timeout_seconds"}
TIMES = ("probe_duration_seconds", "probe_dns_lookup_time_seconds", "probe_http_duration_seconds")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.started(draw(7, sites=PAGES)) as running:  # where cantv has IPv6
        yield running


def asking_at(address: str) -> httpx.Client:
    """A client that waits as long as a probe may take."""
    return httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=130, verify=False)


class Asking:
    """The service, asked from out here."""

    def __init__(self, service: Running, address: str) -> None:
        self.service = service
        self.client = asking_at(address)

    def probe(self, target: str, **more: str) -> httpx.Response:
        return self.client.get("/probe", params={"target": target, "vantage": "cantv"} | more)

    def anew(self, target: str, **more: str) -> str:
        """A measurement of now: what others have just measured is waited out."""
        while True:
            begun = time.monotonic()
            text = self.probe(target, **more).text
            if values(text).get("probe_duration_seconds", 0) <= time.monotonic() - begun:
                return text
            time.sleep(1)

    def stored(self, site: str, vantage: str = "cantv") -> list[Status]:
        with Store.open(f"sqlite:{self.service.database}", create=False) as store:
            found = store.measurements(Wanted(site=site, vantage=vantage))
            return [one.verdict.status for one in found if one.verdict]


@pytest.fixture
def asking(lab: Lab, tmp_path: Path) -> Iterator[Asking]:
    yield from served(lab, tmp_path)


@pytest.fixture(scope="module")
def watching(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """A service for all comparisons, whose own rounds are far between."""
    yield from served(lab, tmp_path_factory.mktemp("service"), PORT + 1)


def served(lab: Lab, folder: Path, port: int = PORT, **changes: str) -> Iterator[Asking]:
    service = Running(lab, folder, [PLAIN, MODERN, PACKED, EXPIRED])
    service.configure(every="6h")
    text = service.file.read_text().replace(f":{PORT}", f":{port}")
    text = re.sub(r'"https://(packed.org/)"', r'"https://\1", "http://\1"', text)
    for key, value in changes.items():
        text = re.sub(rf"^{key}: .*$", f"{key}: {value}", text, flags=re.MULTILINE)
    service.file.write_text(text)
    service.start()
    try:
        service.until(lambda: service.said("started"))
        with window(lab, lab.control_netns, port) as address:
            asking = Asking(service, address)
            with asking.client:
                yield asking
        assert service.said("bug") == []
    finally:
        assert service.process is not None
        service.process.kill()
        service.process.wait()


@pytest.fixture(scope="module")
def blackbox(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Debian's blackbox_exporter on the line of cantv, with its resolvers."""
    program = shutil.which("prometheus-blackbox-exporter")
    if program is None:
        pytest.skip("prometheus-blackbox-exporter is not installed (Debian: prometheus-blackbox-exporter)")
    folder, line = tmp_path_factory.mktemp("blackbox"), lab.isps["cantv"]
    (folder / "resolv.conf").write_text("".join(f"nameserver {address}\n" for address in line.resolvers))
    (folder / "blackbox.yml").write_text("modules: {http_2xx: {prober: http}}\n")
    inside = f'mount --bind {folder}/resolv.conf /etc/resolv.conf && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", inside, "sh", program, f"--config.file={folder}/blackbox.yml"]
    with (folder / "log").open("wb") as log:
        process = lab.run_in(line.netns, [*command, "--web.listen-address=127.0.0.1:9115"], stdout=log, stderr=log)
    try:
        with window(lab, line.netns, 9115) as address, asking_at(address) as client:
            _await(client, process, folder / "log")
            yield client
    finally:
        process.kill()
        process.wait()


def _await(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client.get("/-/healthy")
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return


def values(text: str) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines if not name.startswith("almenara_")}


def families(text: str) -> dict[str, tuple[str, str]]:
    """Name -> help text and type."""
    found = {kind: dict(re.findall(rf"^# {kind} (\S+) (.*)$", text, re.MULTILINE)) for kind in ("HELP", "TYPE")}
    return {name: (help_text, found["TYPE"][name]) for name, help_text in found["HELP"].items()}


def seen(text: str) -> dict[str, float]:
    """The values that two visits a second apart agree on; of a time, whether it passed at all."""
    found = {name: value for name, value in values(text).items() if name.partition("{")[0] not in THEIRS | OURS}
    return {name: float(value > 0) if name.startswith(TIMES) else value for name, value in found.items()}


@pytest.mark.root
@pytest.mark.parametrize(
    ("url", "technique"),
    [
        (f"https://{PLAIN}/", None), (f"https://{MODERN}/", None), (f"https://{PACKED}/", None), (f"http://{PACKED}/", None),
        (f"https://{EXPIRED}/", None), (f"https://{PLAIN}/", "dns-nxdomain"), (f"https://{MODERN}/", "tcp-reset"),
        (f"https://{PACKED}/", "tls-reset"), (f"http://{PACKED}/", "http-reset"),
    ],
)  # fmt: skip
def test_it_agrees_with_blackbox_exporter(lab, watching, blackbox, url, technique):
    number = lab.censor("cantv", technique, url) if technique else None
    try:
        parameters = {"target": url, "module": "http_2xx"}
        theirs = blackbox.get("/probe", params=parameters, headers={"X-Prometheus-Scrape-Timeout-Seconds": "20"}).text
        ours = watching.anew(url, module="http_2xx")
    finally:
        if number is not None:
            lab.lift(number)
    found, expected = seen(ours), seen(theirs)
    hashes = {found.pop("probe_ip_addr_hash"), expected.pop("probe_ip_addr_hash")}
    assert len(hashes) == 1 or hashes <= set(map(address_hash, lab.world.site_of(url).addresses))  # its turn changes
    assert found == expected
    told, same = families(theirs), families(ours)
    assert told.keys() - same.keys() <= THEIRS
    assert {name for name in same.keys() - told.keys() if not name.startswith("almenara_")} <= OURS
    assert {name: same[name] for name in told.keys() & same.keys()} == {
        name: told[name] for name in told.keys() & same.keys()
    }
    checked = promtool("check", "metrics", text=ours)
    assert checked.returncode in (0, 3), checked.stderr  # 3: lint, which blackbox_exporter's own names do not pass
    assert "almenara" not in checked.stderr


@pytest.mark.slow
def test_what_was_asked_for_is_stored_and_a_block_is_measured_again(lab, asking):
    service = asking.service
    assert values(asking.anew(PLAIN))["probe_success"] == 1
    service.until(lambda: asking.stored(PLAIN)[-1:] == [Status.OK])
    number = lab.censor("cantv", "tls-reset", PLAIN)
    try:
        text = asking.anew(PLAIN)
        assert values(text)["probe_success"] == 0
        assert 'almenara_probe_status{status="blocked"} 1.0' in text
        assert 'almenara_probe_method{method="tls.reset"} 1.0' in text
        assert 'almenara_probe_failure{failure="connection_reset",step="tls"} 1.0' in text
        service.until(lambda: asking.stored(PLAIN).count(Status.BLOCKED) >= 2, 60)  # by a burst of the schedule's own
    finally:
        lab.lift(number)
    debug = asking.probe(MODERN, debug="true").text
    assert 'msg="Probe succeeded"' in debug
    assert 'msg="Asked the control"' in debug


def test_however_many_ask_a_site_is_not_measured_more_often_than_a_configuration_may_ask(asking):
    asking.anew(MODERN)
    before, begun = len(asking.stored(MODERN)), time.monotonic()
    ids = set()
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < begun + 25:
            for answer in pool.map(lambda _: asking.probe(MODERN, debug="true"), range(8)):
                assert answer.status_code == 200
                ids |= set(re.findall(r" id=([0-9a-f-]{36})", answer.text))
            time.sleep(0.3)
    asking.service.until(lambda: len(asking.stored(MODERN)) > before)
    assert 1 <= len(asking.stored(MODERN)) - before <= 3
    assert 1 <= len(ids) <= 4


@pytest.mark.slow
def test_what_takes_longer_than_the_scrape_goes_on_and_is_stored(lab, asking):
    asking.anew(PACKED)
    before = len(asking.stored(PACKED))
    number = lab.censor("cantv", "tls-silence", PACKED)
    try:
        time.sleep(11)
        answer = asking.client.get(
            "/probe", params={"target": f"https://{PACKED}/", "vantage": "cantv"},
            headers={"X-Prometheus-Scrape-Timeout-Seconds": "3"},
        )  # fmt: skip
        assert values(answer.text)["probe_success"] == 0
        assert "almenara_probe_finished 0.0" in answer.text
        text = asking.probe(f"https://{PACKED}/").text  # who asks again shares what goes on
        assert 'almenara_probe_method{method="tls.timeout"} 1.0' in text
    finally:
        lab.lift(number)
    asking.service.until(lambda: Status.BLOCKED in asking.stored(PACKED)[before:])


def test_other_sites_only_where_that_is_allowed_and_they_leave_no_trace(lab, tmp_path):
    for asking in served(lab, tmp_path, web=f'{{"listen": "127.0.0.1:{PORT}", "probe_any": true}}'):
        text = asking.probe(f"https://{STRAY}/").text
        assert (values(text)["probe_success"], values(text)["probe_http_status_code"]) == (1, 200)
        assert asking.probe(f"https://{STRAY}/").status_code == 200
        assert asking.probe("http://192.168.1.1/").status_code == 400
        asking.anew(PLAIN)
        asking.service.until(lambda asking=asking: asking.stored(PLAIN))
        assert asking.stored(STRAY) == []
        assert STRAY not in asking.service.log.read_text()


def test_a_spent_budget_is_for_nobody_else_to_spend(lab, tmp_path):
    schedule = '{"every": "6h", "jitter": "1s", "budget": "1MB"}'
    for asking in served(lab, tmp_path, schedule=schedule):
        for site in (PLAIN, MODERN, PACKED, EXPIRED) * 3:
            answer = asking.probe(f"https://{site}/")
            if answer.status_code == 503:
                break
        assert answer.status_code == 503
        assert "the budget of bytes a day is spent" in answer.text.lower()
        assert 0 < int(answer.headers["retry-after"]) <= 86400


def test_when_the_service_ends_who_waits_is_told(lab, asking):
    number = lab.censor("cantv", "drop", PLAIN)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(asking.probe, PLAIN)
            time.sleep(3)
            begun = time.monotonic()
            assert asking.service.stop() == 0
            assert time.monotonic() - begun < 8
            assert waiting.result().status_code == 503
    finally:
        lab.lift(number)


def test_prometheus_scrapes_it_by_the_documented_configuration(lab, watching, tmp_path):
    documented = (Path(__file__).parent.parent / "docs" / "probe.md").read_text()
    [scrape] = re.findall(r"```yaml\n(scrape_configs:.*?)```", documented, re.DOTALL)
    address = watching.client.base_url.netloc.decode()
    text = scrape.replace("https://www.lapatilla.com/", f"https://{MODERN}/").replace(
        "https://elpitazo.net/", f"https://{PLAIN}/"
    )
    text = text.replace("127.0.0.1:9105", address).replace("scrape_interval: 15m", "scrape_interval: 15s")
    text = text.replace("scrape_timeout: 1m", "scrape_timeout: 14s")
    with prometheus(tmp_path, YAML(typ="safe").load(text)) as server:
        deadline = time.monotonic() + 60
        while len(found := server.now("probe_success == 1")) < 2:
            assert time.monotonic() < deadline, server.now("up")
            time.sleep(1)
    assert {one["metric"]["instance"] for one in found} == {f"https://{MODERN}/", f"https://{PLAIN}/"}
    assert {one["metric"]["vantage"] for one in found} == {"cantv"}
