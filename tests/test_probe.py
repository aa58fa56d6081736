"""/probe: what may be asked, by whom, and what is answered, of a service of the test's own."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from verdict_cases import FALSE, HTTP, SITE, SITE6, measured

from monitor.asked import APART_S, Asked, Busy
from monitor.config import MeasureConfig, ScheduleConfig, SiteConfig, WebConfig
from monitor.config_values import MIN_INTERVAL_S
from monitor.models import Measurement, Status
from monitor.schedule import Schedule
from monitor.standing import Seen, Why
from monitor.verdict import judge
from monitor.web.app import app
from monitor.web.probe import DEFAULT_TIMEOUT_S
from monitor.web.probe_metrics import Probed, address_hash, exposition, samples
from monitor.web.server import opened, serving

WATCHED = (
    "https://www.lapatilla.com/", "https://elpitazo.net/noticias", "http://both.example/", "https://both.example/",
    "https://q.example/?q=a%2Bb", "https://xn--and-6ma2c.example/",
)  # fmt: skip


def opens() -> Measurement:
    case = measured().dns(isp=SITE, doh=SITE).opens().control().dns(helper=SITE).opens().measurement()
    return judged(case)


def judged(measurement: Measurement) -> Measurement:
    return msgspec.structs.replace(measurement, verdict=judge(measurement), started=datetime.now(UTC))


class Watching:
    """A service. asked_for: what it was made to measure. gate: how long it takes."""

    def __init__(self, **web: Any) -> None:
        self.web = WebConfig(**web)
        self.measuring = MeasureConfig()
        self.names: tuple[str, ...] = ("cantv", "movilnet")
        self.asked_for: list[tuple[str, str]] = []
        self.clients: list[str] = []
        self.gate: asyncio.Event | None = None
        self.problem: Exception | None = None
        self.left = asyncio.Event()

    def vantages(self) -> tuple[str, ...]:
        return self.names

    def watches(self, url: str) -> bool:
        return url in WATCHED

    async def measured(self, url: str, vantage: str, client: str) -> Measurement:
        self.asked_for.append((url, vantage))
        self.clients.append(client)
        if self.problem:
            raise self.problem
        if self.gate:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.left.set()
                raise
        return opens()


def get(
    query: str = "target=https://www.lapatilla.com/", service: Watching | None = None, **headers: str
) -> httpx.Response:  # fmt: skip
    """The application's answer to one request."""
    named = {"user-agent": "Prometheus/2.42.0"} | {name.replace("_", "-"): value for name, value in headers.items()}

    async def work() -> httpx.Response:
        async with inside(service or Watching()) as client:
            return await client.get(f"/probe?{query}", headers=named)

    return asyncio.run(work())


def inside(service: Watching) -> httpx.AsyncClient:
    """A client without a socket between, for the many that only differ in what they say."""
    transport = httpx.ASGITransport(app(service))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9105", verify=False)


def asking(
    work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]], service: Watching | None = None
) -> Any:  # fmt: skip
    """What work gets from the served application."""

    async def all_of_it() -> Any:
        listening = opened("127.0.0.1:0")
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with (
            serving(app(service or Watching()), listening),
            httpx.AsyncClient(base_url=base, trust_env=False, verify=False) as client,
        ):
            return await work(client)

    return asyncio.run(all_of_it())


def values(text: str) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def told(measurement: Measurement | None, **more: Any) -> dict[str, float]:
    probed = Probed(**({"vantage": "cantv", "timeout_s": 9.5, "waited_s": 3.0, "measurement": measurement} | more))
    return values(exposition(samples(probed))[0].decode())


# --- what may be asked ---------------------------------------------------------------------------------------------


def test_a_site_that_opens():
    service = Watching()
    response = get("target=https://www.lapatilla.com/&vantage=movilnet", service)
    assert (response.status_code, service.asked_for) == (200, [("https://www.lapatilla.com/", "movilnet")])
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    found = values(response.text)
    assert (found["probe_success"], found["probe_http_status_code"]) == (1, 200)
    assert found['almenara_probe_status{status="ok"}'] == 1
    assert found['almenara_probe_info{asn="8048",vantage="movilnet"}'] == 1


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("https://www.lapatilla.com/", WATCHED[0]),
        ("https://www.lapatilla.com", WATCHED[0]),
        ("www.lapatilla.com", WATCHED[0]),
        ("WWW.LaPatilla.COM/", WATCHED[0]),
        ("HTTPS://www.lapatilla.com:443", WATCHED[0]),
        ("https%3A%2F%2Fwww.lapatilla.com%2F", WATCHED[0]),
        ("https%253A%252F%252Fwww.lapatilla.com%252F", WATCHED[0]),  # blackbox_exporter decodes once more
        ("elpitazo.net/noticias/", WATCHED[1]),
        ("https://elpitazo.net/noticias", WATCHED[1]),
        ("both.example", "http://both.example/"),  # as blackbox_exporter would take it
        ("https://both.example", "https://both.example/"),
        ("https://q.example/?q=a%252Bb", WATCHED[4]),
        ("ñandú.example", WATCHED[5]),
    ],
)
def test_a_target_is_a_configured_site_its_scheme_and_last_slash_may_be_missing(target, url):
    service = Watching()
    assert get(f"target={target}", service).status_code == 200
    assert service.asked_for == [(url, "cantv")]


@pytest.mark.parametrize(
    "target",
    [
        "https://example.org/", "http://www.lapatilla.com/", "https://www.lapatilla.com/x", "https://www.lapatilla.com:8443/",
        "https://lapatilla.com/", "https://user@www.lapatilla.com/", "https://www.lapatilla.com/?x", "elpitazo.net",
        "ftp://www.lapatilla.com/", "https://", "http://[::1", "a b", "%00", "https://127.0.0.1/", "x" * 5000, "%", "\\",
        "https://www.lapatilla.com.evil.example/", "https://evil.example/https://www.lapatilla.com/", "//www.lapatilla.com/",
    ],
)  # fmt: skip
def test_another_target_is_refused_and_nothing_is_measured(target):
    service = Watching()
    response = get(str(httpx.QueryParams(target=target)), service)
    assert (response.status_code, service.asked_for) == (400, [])
    assert response.text.startswith("Unknown target")
    assert (response.text.count("\n"), len(response.text) < 200) == (1, True)
    assert response.text.strip().isprintable()


@pytest.mark.parametrize("query", ["", "target=", "target=&debug=true", "module=http_2xx"])
def test_a_missing_target_is_said_as_blackbox_exporter_says_it(query):
    response = get(query)
    assert (response.status_code, response.text) == (400, "Target parameter is missing\n")


@pytest.mark.parametrize(
    ("query", "vantage"),
    [
        ("", "cantv"),
        ("&vantage=movilnet", "movilnet"),
        ("&vantage=", "cantv"),
        ("&module=http_2xx", "cantv"),  # every existing scrape configuration has one
        ("&module=movilnet", "movilnet"),
        ("&module=movilnet&vantage=cantv", "cantv"),
        ("&hostname=evil.example", "cantv"),
        ("&vantage=movilnet&vantage=nonsense", "movilnet"),  # the first counts
    ],
)
def test_the_vantage_is_the_one_named_by_module_too_or_the_first(query, vantage):
    service = Watching()
    assert get(f"target={WATCHED[0]}{query}", service).status_code == 200
    assert service.asked_for == [(WATCHED[0], vantage)]


def test_an_unknown_vantage_is_refused_and_so_is_measuring_without_any():
    response = get(f"target={WATCHED[0]}&vantage=nowhere")
    assert (response.status_code, response.text) == (400, "Unknown vantage 'nowhere'\n")
    service = Watching()
    service.names = ()
    assert get(service=service).status_code == 503


@pytest.mark.parametrize(
    ("header", "timeout_s"),
    [
        (None, DEFAULT_TIMEOUT_S - 0.5), ("", DEFAULT_TIMEOUT_S - 0.5), ("0", DEFAULT_TIMEOUT_S - 0.5), ("10", 9.5), ("1e1", 9.5),
        ("9999", DEFAULT_TIMEOUT_S - 0.5), ("inf", DEFAULT_TIMEOUT_S - 0.5),
    ],
)  # fmt: skip
def test_the_timeout_is_the_scrapes_less_half_a_second(header, timeout_s):
    headers = {} if header is None else {"x_prometheus_scrape_timeout_seconds": header}
    assert values(get(**headers).text)["probe_timeout_seconds"] == timeout_s


@pytest.mark.parametrize("header", ["abc", "nan", "10s", "1,5", "0x"])
def test_a_timeout_that_is_none_is_an_error_as_with_blackbox_exporter(header):
    response = get(x_prometheus_scrape_timeout_seconds=header)
    assert response.status_code == 500
    assert response.text.startswith("Failed to parse timeout from Prometheus header")


@pytest.mark.parametrize("header", ["0.7", "0.1", "-5"])
def test_what_takes_longer_than_the_scrape_is_no_success_and_says_that_it_goes_on(header):
    service = Watching()
    service.gate = asyncio.Event()
    response = get(service=service, x_prometheus_scrape_timeout_seconds=header)
    found = values(response.text)
    assert (response.status_code, service.left.is_set()) == (200, True)
    assert (found["probe_success"], found["almenara_probe_finished"], found["probe_http_status_code"]) == (0, 0, 0)
    assert found["probe_duration_seconds"] < 2
    assert not [name for name in found if name.startswith("almenara_probe_status")]


def test_who_leaves_is_not_waited_for():
    service = Watching()
    service.gate = asyncio.Event()

    async def work(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"/probe?target={WATCHED[0]}", timeout=0.3)
        await service.left.wait()

    asking(lambda client: asyncio.wait_for(work(client), 10), service)


def test_when_nothing_can_be_measured_prometheus_is_told_when_to_come_back():
    service = Watching()
    service.problem = Busy("the budget of bytes a day is spent", 3599.2)
    response = get(service=service)
    assert (response.status_code, response.headers["retry-after"]) == (503, "3600")
    assert response.text == "The budget of bytes a day is spent\n"


def test_one_client_may_not_ask_for_ever():
    async def work() -> list[int]:
        codes: list[int] = []
        async with inside(Watching()) as client:
            while 429 not in codes[-1:] and len(codes) < 5000:  # a request is quicker than its share of the minute
                answer = await client.get("/probe", headers={"user-agent": "x"})
                codes.append(answer.status_code)
        assert 0 < int(answer.headers["retry-after"]) <= 60
        return codes

    codes = asyncio.run(work())
    assert (set(codes[:-1]), len(codes) > 600) == ({400}, True)


def test_reading_only():
    async def work(client: httpx.AsyncClient) -> int:
        return (await client.post(f"/probe?target={WATCHED[0]}")).status_code

    service = Watching()
    assert (asking(work, service), service.asked_for) == (405, [])


# --- by whom -------------------------------------------------------------------------------------------------------

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize("listen", ["127.0.0.1:9105", "0.0.0.0:9105"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "https://evil.example"}, {"origin": "null"},
        {"sec_fetch_site": "cross-site", "user_agent": BROWSER}, {"user_agent": BROWSER},
        {"host": "evil.example", "user_agent": BROWSER, "sec_fetch_site": "same-origin"},
        {"host": "evil.example:9105", "user_agent": BROWSER},
        {"x_forwarded_for": "203.0.113.7"}, {"forwarded": "for=203.0.113.7"}, {"via": "1.1 proxy"},
    ],
)  # fmt: skip
def test_no_page_and_no_proxy_makes_this_machine_measure(headers, listen):
    service = Watching(listen=listen)
    response = get(service=service, **headers)
    assert (response.status_code, service.asked_for) == (403, [])


@pytest.mark.parametrize("host", ["prometheus.evil.example", "127.0.0.1.evil.example", "", "[::1", "192.0.2.7"])
def test_on_loopback_only_by_its_own_names(host):
    service = Watching()
    response = asking(
        lambda c: c.get(f"/probe?target={WATCHED[0]}", headers={"host": host, "user-agent": "x"}), service
    )
    assert (response.status_code in (400, 403), service.asked_for) == (True, [])


@pytest.mark.parametrize(
    "host", ["192.0.2.7:9105", "[2001:db8::7]:9105", "almenara:9105", "probe.lan", "probe1.example.org:9105"]
)
def test_prometheus_from_another_machine_may_where_others_can_listen(host):
    service = Watching(listen="0.0.0.0:9105")
    headers = {"host": host, "user-agent": "Prometheus/2.42.0"}
    response = asking(lambda c: c.get(f"/probe?target={WATCHED[0]}", headers=headers), service)
    assert (response.status_code, len(service.asked_for)) == (200, 1)


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_a_person_may_look_at_it_in_a_browser(site):
    assert get("target=www.lapatilla.com&debug=true", sec_fetch_site=site, user_agent=BROWSER).status_code == 200


# --- sites that are not configured ---------------------------------------------------------------------------------


def test_with_probe_any_other_sites_too():
    service = Watching(probe_any=True)
    assert get("target=example.org", service).status_code == 200
    assert get("target=https://93.184.216.34/x", service).status_code == 200
    assert service.asked_for == [("http://example.org/", "cantv"), ("https://93.184.216.34/x", "cantv")]


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1", "http://10.1.2.3/", "192.168.1.1", "169.254.169.254/latest/meta-data", "100.64.0.1", "[::1]", "[fe80::1]",
        "[fd00::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "localhost", "router",
        "router.lan", "printer.local", "a.internal", "box.home.arpa", "example.org:22", "https://example.org:8443/",
        "user:pass@example.org", "ftp://example.org/", "https://", "https://exa mple.org", "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_never_what_is_not_on_the_public_internet(target):
    service = Watching(probe_any=True)
    response = get(str(httpx.QueryParams(target=target)), service)
    assert (response.status_code, service.asked_for) == (400, [])
    assert response.text.startswith("Unusable target: ")


def test_for_other_sites_nobody_is_believed_to_be_no_browser():
    """A page that rebinds its name to us can call itself anything, but it says its name."""
    service = Watching(probe_any=True, listen="0.0.0.0:9105")
    headers = {"host": "evil.example:9105", "user-agent": "Prometheus/2.42.0"}
    for target, code in (("example.org", 403), ("www.lapatilla.com", 200)):
        url = f"/probe?target={target}"
        assert asking(lambda c, url=url: c.get(url, headers=headers), service).status_code == code
    assert len(service.asked_for) == 1
    named = Watching(probe_any=True, listen="0.0.0.0:9105", hosts=("probe1.example.org",))
    headers["host"] = "probe1.example.org:9105"
    assert asking(lambda c: c.get("/probe?target=example.org", headers=headers), named).status_code == 200


# --- what is answered ----------------------------------------------------------------------------------------------


def test_openmetrics_for_who_reads_it():
    response = get(accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in open_families(response.text)} >= {"probe_success", "almenara_probe_status"}


@pytest.mark.parametrize(
    "accept", ["text/plain;version=abc", "application/openmetrics-text;version=" + "9" * 3000, "*/*", "\x7f", ";;,"]
)
def test_whatever_the_client_says_it_reads(accept):
    response = get(accept=accept)
    assert response.status_code == 200
    assert "probe_success 1" in response.text


def test_debug_has_blackbox_exporters_three_parts_and_each_step():
    response = get("target=www.lapatilla.com&debug=true")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    log, metrics, settings = re.fullmatch(
        r"Logs for the probe:\n(.*)\n\n\n\nMetrics that would have been returned:\n(.*)\n\n\nVantage configuration:\n(.*)",
        response.text, re.DOTALL,
    ).groups()  # fmt: skip
    assert "vantage: cantv\ntimeout: 10s\n" in settings
    assert values(metrics)["probe_success"] == 1
    lines = log.splitlines()
    assert all(re.match(r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=(info|error) msg=", line) for line in lines)
    messages = [re.search(r' msg=("[^"]*"|\S+)', line)[1].strip('"') for line in lines]
    assert messages[0] == "Beginning probe"
    assert messages[-1] == "Probe succeeded"
    assert {"Resolved target address", "Connected", "Shook hands", "Received HTTP response", "Asked the control"} < set(
        messages
    )


def test_debug_shows_what_peers_chose_on_one_line_each_and_cut():
    service = Watching()
    hostile = 'x"\\\n\x1b[31m\u202e' + "y" * 9000

    async def bad(url: str, vantage: str, client: str) -> Measurement:
        case = measured().dns(isp=SITE).opens(location=hostile, status=302).measurement()
        return judged(case)

    service.measured = bad  # type: ignore[method-assign]
    text = get("target=www.lapatilla.com&debug=true", service).text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 1500
    assert r'location="x\"\\ ' in text


def zeros() -> dict[str, float]:
    """What blackbox_exporter answers when the name is not found, but for the lookup."""
    names = (
        "probe_failed_due_to_regex", "probe_http_content_length", "probe_http_redirects", "probe_http_ssl",
        "probe_http_status_code", "probe_http_uncompressed_body_length", "probe_http_version", "probe_ip_addr_hash",
        "probe_ip_protocol", "probe_success",
    )  # fmt: skip
    return dict.fromkeys(names, 0.0)


def visited(found: dict[str, float]) -> dict[str, float]:
    """What is not a time."""
    return {name: value for name, value in found.items() if name.startswith("probe_") and "seconds" not in name}


def test_a_name_that_is_not_found():
    case = measured().dns(isp="NXDOMAIN", isp2="NXDOMAIN", doh=SITE).opens(SITE).control().dns(helper=SITE).opens()
    measurement = judged(msgspec.structs.replace(case.measurement(), http=(), tls=(), tcp=()))
    found = told(measurement)
    assert visited(found) == zeros()
    assert [name for name in found if "phase" in name] == ['probe_http_duration_seconds{phase="resolve"}']
    assert found['almenara_probe_failure{failure="dns_nxdomain_error",step="dns"}'] == 1


@pytest.mark.parametrize("how", ["tcp.refused", "tcp.timeout", "tls.reset", "tls.certificate", "http.reset"])
def test_a_connection_that_is_cut_leaves_zeros_as_with_blackbox_exporter(how):
    case = measured().dns(isp=SITE, doh=SITE).cut(how).control().dns(helper=SITE).opens()
    found = told(judged(case.measurement()))
    address = {"probe_ip_protocol": 4.0, "probe_ip_addr_hash": float(address_hash(SITE))}
    assert visited(found) == zeros() | address
    phases = {name.split('"')[1]: value for name, value in found.items() if "phase" in name}
    assert phases.keys() == {"resolve", "connect", "tls", "processing", "transfer"}
    assert (phases["tls"] > 0) == (phases["connect"] > 0) == how.startswith("http.")
    [(name, value)] = [(name, value) for name, value in found.items() if name.startswith("almenara_probe_failure")]
    assert (f'step="{how.split(".")[0]}"' in name, value) == (True, 1)


def test_redirects_are_followed_and_the_phases_summed():
    case = (
        measured(HTTP).dns(isp=SITE).redirects("https://elpitazo.example/").opens().control().dns(helper=SITE).opens()
    )
    found = told(judged(case.measurement()))
    assert (found["probe_http_redirects"], found["probe_http_ssl"], found["probe_http_version"]) == (1, 1, 1.1)
    assert found['probe_http_duration_seconds{phase="connect"}'] == pytest.approx(0.2)
    assert found['probe_http_duration_seconds{phase="processing"}'] == pytest.approx(0.2)
    assert found['probe_http_duration_seconds{phase="transfer"}'] == pytest.approx(0.1)  # of the last


def test_a_redirect_that_leads_nowhere_is_counted_and_its_page_forgotten():
    case = measured(HTTP).dns(isp=SITE).redirects("https://elpitazo.example/").cut("tls.reset").control()
    found = told(judged(case.measurement()))
    assert (found["probe_http_redirects"], found["probe_http_status_code"], found["probe_http_ssl"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("page", "length"),
    [
        ({}, -1), ({"declared_length": 7}, 7), ({"declared_length": 7, "headers": (("Content-Encoding", "gzip"),)}, -1),
        ({"declared_length": 7, "headers": (("content-encoding", "identity"),)}, 7), ({"status": 204}, 0),
    ],
)  # fmt: skip
def test_the_length_of_the_content_is_as_go_tells_it(page, length):
    found = told(judged(measured().dns(isp=SITE).opens(**page).measurement()))
    assert found["probe_http_content_length"] == length


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Mon, 15 Jan 2018 13:05:00 GMT", 1516021500), ("yesterday", None), ("", None), ("Mon, 15 Jan 99999 13:05:00 GMT", None)],
)  # fmt: skip
def test_when_the_page_was_modified_where_it_says(text, seconds):
    found = told(judged(measured().dns(isp=SITE).opens(headers=(("last-modified", text),)).measurement()))
    assert found.get("probe_http_last_modified_timestamp_seconds") == seconds


def test_the_best_attempt_of_the_own_path_is_told_and_no_other():
    """A reset that a retry survived, on two addresses; what resolvers elsewhere say is not this vantage's."""
    case = measured().dns(isp=SITE, doh=FALSE).dns(kind="AAAA", isp=SITE6)
    case = case.cut("tls.reset", at=SITE6, times=2).cut("tls.reset", times=1).opens().control().dns(helper=SITE).opens()
    found = told(judged(case.measurement()))
    assert (found["probe_success"], found["probe_ip_protocol"], found["probe_http_status_code"]) == (1, 4, 200)
    assert found["probe_ip_addr_hash"] == address_hash(SITE)


def test_a_block_page_is_no_success_whatever_its_status():
    case = measured(HTTP).dns(isp=SITE, doh=SITE).opens(text="Sitio bloqueado por orden de CONATEL", times=3)
    case = case.control().dns(helper=SITE).opens()
    found = told(judged(case.measurement()))
    assert (found["probe_success"], found["probe_http_status_code"]) == (0, 200)


def test_nothing_of_a_peers_is_a_label():
    case = measured().dns(isp=SITE, doh=SITE).cut("tls.certificate", verify="evil\nprobe_success 1")
    text = exposition(
        samples(Probed(vantage="cantv", timeout_s=1, waited_s=1, measurement=judged(case.measurement())))
    )[0].decode()
    assert "evil" not in text
    assert values(text)["probe_success"] == 0


def test_every_metric_has_a_help_text_and_one_value_for_one_set_of_labels():
    text = get().text
    found = list(families(text))
    assert [family.name for family in found] == sorted(family.name for family in found)
    assert all(family.documentation and family.type == "gauge" for family in found)
    seen = [(sample.name, tuple(sorted(sample.labels.items()))) for family in found for sample in family.samples]
    assert len(seen) == len(set(seen))


def test_a_hash_as_blackbox_exporters_own_test_has_it():
    assert address_hash("127.0.0.1") == 3668918509  # Debian's 0.23.0 says so
    assert address_hash("::1") != address_hash("0.0.0.1")


# --- sharing, distance, bounds -------------------------------------------------------------------------------------

PAIR = ("https://a.example/", "cantv")


def test_who_asks_while_it_is_measured_shares_the_result_and_who_leaves_spoils_nothing():
    async def work() -> None:
        asked = Asked()
        asked.begin(PAIR, "one", 4)
        first, second, impatient = (asyncio.ensure_future(asked.result(PAIR)) for _ in range(3))
        await asyncio.sleep(0)
        impatient.cancel()
        measurement = opens()
        asked.note(PAIR, measurement)
        asked.ended(PAIR)
        assert (await first, await second) == (measurement, measurement)
        assert asked.fresh(PAIR) is measurement
        assert asked.fresh(("https://a.example/", "movilnet")) is None
        assert not asked.under_way(PAIR)

    asyncio.run(work())


def test_a_measurement_that_comes_to_nothing_is_told():
    async def work() -> None:
        asked = Asked()
        waiting = asyncio.ensure_future(asked.result(PAIR))
        await asyncio.sleep(0)
        asked.ended(PAIR)
        with pytest.raises(Busy, match="broken off"):
            await waiting

    asyncio.run(work())


def test_places_are_bounded_and_one_client_does_not_get_all():
    asked = Asked()
    for i in range(3):
        asked.begin((f"https://{i}.example/", "cantv"), "greedy", 4)
    with pytest.raises(Busy, match="that you asked for"):
        asked.begin(("https://3.example/", "cantv"), "greedy", 4)
    asked.begin(("https://3.example/", "cantv"), "modest", 4)
    with pytest.raises(Busy, match="too many measurements that were asked for"):
        asked.begin(("https://4.example/", "cantv"), "third", 4)
    asked.ended(("https://0.example/", "cantv"))
    asked.begin(("https://4.example/", "cantv"), "third", 4)
    Asked().begin(PAIR, "alone", 1)


def test_the_distance_is_what_a_configuration_may_ask_for():
    assert APART_S == MIN_INTERVAL_S


NOON = datetime(2018, 1, 15, 12, tzinfo=UTC)
OPEN, BLOCKED = Seen(status=Status.OK, asn=8048), Seen(status=Status.BLOCKED, asn=8048)


class Sure:
    """Chance without surprises."""

    def uniform(self, _low: float, _high: float) -> float:
        return 0.0


def planned(now: datetime = NOON) -> Schedule:
    schedule = Schedule(Sure())  # type: ignore[arg-type]
    schedule.arrange(
        [SiteConfig(url=PAIR[0])], ["cantv", "movilnet"], ScheduleConfig(every_s=60, jitter_s=0), now, {PAIR[0]: now}
    )
    return schedule


def test_what_is_asked_for_never_runs_twice_and_stands_for_the_regular_one_that_is_due():
    schedule = planned()
    due = schedule.due_at(PAIR[0])
    before = due - timedelta(seconds=5)
    assert schedule.begin_asked(*PAIR, before)
    assert schedule.is_running(*PAIR)
    schedule.note(*PAIR, OPEN, due - timedelta(seconds=2))
    schedule.ended(*PAIR, due - timedelta(seconds=2))
    [one] = schedule.due(due)
    assert (one.why, one.vantages) == (Why.REGULAR, ("movilnet",))  # cantv has just been measured
    assert schedule.due_at(PAIR[0]) == due + timedelta(seconds=60)


def test_asking_does_not_move_the_schedule():
    asked, left_alone = planned(), planned()
    for schedule in (asked, left_alone):
        for minute in range(30):
            now = NOON + timedelta(minutes=minute, seconds=7)
            if schedule is asked:
                schedule.begin_asked(*PAIR, now)
                schedule.note(*PAIR, OPEN, now)
                schedule.ended(*PAIR, now)
            for one in schedule.due(now):
                for vantage in one.vantages:
                    schedule.note(one.url, vantage, OPEN, now)
                    schedule.ended(one.url, vantage, now)
    assert asked.due_at(PAIR[0]) == left_alone.due_at(PAIR[0])


def test_a_surprise_that_was_asked_for_is_measured_again_like_any_other():
    schedule = planned()
    schedule.begin_asked(*PAIR, NOON)
    schedule.note(*PAIR, BLOCKED, NOON)
    schedule.ended(*PAIR, NOON)
    [burst] = schedule.due(NOON + timedelta(seconds=16))
    assert (burst.why, burst.vantages) == (Why.BURST, ("cantv",))


def test_asking_cannot_make_it_retry_what_stays_unclear_for_ever():
    schedule, now, unclear = planned(), NOON, Seen(status=Status.INCONCLUSIVE)
    retries = 0
    for _ in range(10):
        schedule.begin_asked(*PAIR, now)
        schedule.note(*PAIR, unclear, now)
        schedule.ended(*PAIR, now)
        now += timedelta(seconds=2)
        for one in [one for one in schedule.due(now) if one.why is Why.RETRY]:
            retries += 1
            schedule.note(one.url, "cantv", unclear, now)
            schedule.ended(one.url, "cantv", now)
    assert retries <= 1


def test_a_site_that_is_not_watched_is_not_on_the_schedule():
    schedule = planned()
    assert not schedule.watches("https://b.example/")
    assert not schedule.begin_asked("https://b.example/", "cantv", NOON)
    assert not schedule.is_running("https://b.example/", "cantv")
