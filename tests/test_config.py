"""probes.yaml: what loads, and for everything wrong the exact line that says so."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import Config, ConfigError, SiteConfig, find, load, parse
from monitor.config_values import duration, web_url
from monitor.config_yaml import MAX_BYTES

ROOT = Path(__file__).parent.parent

EVERY_KEY = """\
consent: true
sites:
  - https://www.lapatilla.com/                  # a URL, or:
  - {url: https://elpitazo.net/, name: El Pitazo, tags: [news]}
lists:
  - {path: lists/ve.csv, categories: [NEWS, HUMR]}
vantages:
  - name: cantv
    isp: CANTV
    asn: 8048
    country: VE
    via: {interface: eth1}
    resolvers: [system, 200.44.32.12]
control:
  helpers: [https://helper.example/]
  resolvers: [https://dns.quad9.net/dns-query]
measure: {timeout: 10s, concurrency: 16, attempts: 3}
schedule: {every: 30m, jitter: 5m}
store: sqlite:almenara.db
web: {listen: 127.0.0.1:9105}
alerts:
  - {to: "webhook:https://desk.example/in"}
  - {to: "mailto://desk@example.org", language: es, sites: [tag:news], minimum: {confidence: 0.9, probes: 2}}
detect: {measurements: 3, probes: 1}
hub: {url: https://hub.example/, key: ~/.config/almenara/key}
"""


def test_every_key_that_is_promised_is_read():
    config = parse(EVERY_KEY, "probes.yaml")
    assert config.consent is True
    assert config.sites == (
        SiteConfig(url="https://www.lapatilla.com/"),
        SiteConfig(url="https://elpitazo.net/", name="El Pitazo", tags=("news",)),
    )
    assert config.lists[0].categories == ("NEWS", "HUMR")
    [vantage] = config.vantages
    assert (vantage.asn, vantage.country, vantage.via.interface) == (8048, "VE", "eth1")
    assert vantage.resolvers == ("system", "200.44.32.12")
    assert config.control.helpers == ("https://helper.example/",)
    assert (config.measure.timeout_s, config.measure.concurrency, config.measure.attempts) == (10.0, 16, 3)
    assert (config.schedule.every_s, config.schedule.jitter_s) == (1800.0, 300.0)
    assert config.alerts[1].minimum.confidence == 0.9
    assert (config.store, config.web.listen, config.detect.measurements) == ("sqlite:almenara.db", "127.0.0.1:9105", 3)
    assert config.hub.key == "~/.config/almenara/key"


def test_an_empty_file_is_the_defaults():
    config = parse("", "probes.yaml")
    assert config == Config()
    assert config.consent is None
    assert [vantage.name for vantage in config.vantages] == ["default"]
    assert config.vantages[0].resolvers == ("system",)
    assert len(config.control.resolvers) == 3


def test_a_key_whose_values_are_commented_out_is_its_default():
    assert parse("sites:\n#  - https://a.example/\ncontrol:\nconsent:\n", "p") == Config()


def test_yaml_is_1_2_so_no_means_norway():
    assert parse("vantages: [{name: NO, country: NO}]", "p").vantages[0].country == "NO"


def test_the_file_this_project_ships_loads():
    config = load(ROOT / "probes.yaml")
    assert [site.name for site in config.sites][:2] == ["La Patilla", "El Pitazo"]
    assert config.consent is None


def test_intervals_by_site_and_tag_a_budget_and_what_is_kept():
    config = parse(
        "sites: [{url: https://a.example/, every: 5m}]\n"
        "schedule: {tags: {news: 10m}, budget: 1.5GB}\nkeep: {age: 365d, size: 2 GB}",
        "p",
    )
    assert config.sites[0].every_s == 300
    assert (config.schedule.tags, config.schedule.budget) == ({"news": 600.0}, 1_500_000_000)
    assert (config.keep.age_s, config.keep.size) == (365 * 86400, 2_000_000_000)


def test_other_sites_are_probed_only_where_that_is_said():
    assert parse("", "p").web.probe_any is False
    assert parse("web: {probe_any: true}", "p").web.probe_any is True


def test_other_names_of_the_machine():
    assert parse("web: {hosts: [Probe.Example.org, '2001:db8::7']}", "p").web.hosts == (
        "probe.example.org",
        "2001:db8::7",
    )


def test_metrics_of_some_sites():
    config = parse("metrics: {sites: ['tag:news', WWW.LaPatilla.com, 'ñandú.example:8443', '[2001:DB8::1]']}", "p")
    assert config.metrics.sites == (
        "tag:news", "www.lapatilla.com", "xn--and-6ma2c.example:8443", "[2001:db8::1]",
    )  # fmt: skip
    assert parse("", "p").metrics.sites == ()


def test_paths_are_relative_to_the_file_that_names_them(tmp_path):
    file = tmp_path / "probes.yaml"
    file.write_text("store: sqlite:a.db\nnetwork: {database: asn.mmdb}\nlists: [{path: ve.csv}]")
    config = load(file)
    assert (config.store, config.network.database) == (f"sqlite:{tmp_path}/a.db", f"{tmp_path}/asn.mmdb")
    assert config.lists[0].path == f"{tmp_path}/ve.csv"


BAD = [
    # the file as YAML
    ("a: [1\n", "p.yaml:2: yaml: expected YAML 1.2 (expected ',' or ']', but got '<stream end>')"),
    ("\tconsent: true", "p.yaml:1: yaml: expected YAML 1.2 (found character '\\t' that cannot start any token)"),
    ("- a", "p.yaml:1: yaml: expected a mapping, got a list"),
    ("5", "p.yaml:1: yaml: expected a mapping, got a whole number"),
    ("store: x\n--- \nstore: y\n", "p.yaml:2: yaml: expected YAML 1.2 (but found another document)"),
    ("consent: true\nconsent: false\n", "p.yaml:2: consent: expected once, first given in line 1"),
    ("measure:\n  attempts: 1\n  attempts: 2\n", "p.yaml:3: measure.attempts: expected once, first given in line 2"),
    ("sites: &s [x]\nlists: *s\n", "p.yaml:1: yaml: expected no anchors and aliases (&, *)"),
    ("sites: !!python/object x", "p.yaml:1: yaml: expected no tags (!)"),
    ("%YAML 1.1\n---\nconsent: yes", "p.yaml:2: yaml: expected YAML 1.2"),
    ("store: a\x00", "p.yaml:1: yaml: expected text, got a control character"),
    ("1: 2", "p.yaml:1: yaml: expected a key that is a word"),
    ("? [a]\n: b", "p.yaml:1: yaml: expected a key that is a word"),
    ("<<: {consent: true}", "p.yaml:1: yaml: expected a key that is a word"),
    ('store: "\\U99999999"', "p.yaml: yaml: expected YAML 1.2 (OverflowError)"),
    ("[" * 5000, "p.yaml:1: yaml: expected at most 12 levels"),
    ("#" * (MAX_BYTES + 1), "p.yaml: expected a file of at most 256 KiB"),
    # keys
    ("site: []", "p.yaml:1: site: unknown key, expected sites"),
    ("\n\nmeasure:\n  timeouts: 10s", "p.yaml:4: measure.timeouts: unknown key, expected timeout"),
    ("vantages:\n- {name: a, zzz: 1}",
     "p.yaml:2: vantages[0].zzz: unknown key, expected one of name, isp, asn, country, via, resolvers"),
    ('"x\\x1b[31m\\n": 1',
     "p.yaml:1: x [31m : unknown key, expected one of consent, sites, lists, vantages, control, measure, schedule, "
     "store, keep, network, web, metrics, alerts, detect, hub"),
    # types
    ("consent: yes", "p.yaml:1: consent: expected true or false, got text"),
    ("sites: https://a.example/", "p.yaml:1: sites: expected a list, got text"),
    ("sites: {a: b}", "p.yaml:1: sites: expected a list, got a mapping"),
    ("measure: fast", "p.yaml:1: measure: expected a mapping, got text"),
    ("measure:\n  attempts: many", "p.yaml:2: measure.attempts: expected a whole number, got text"),
    ("measure: {attempts: 1.5}", "p.yaml:1: measure.attempts: expected a whole number, got a number"),
    ("measure: {attempts: 0}", "p.yaml:1: measure.attempts: expected a whole number >= 1"),
    ("measure: {attempts: 11}", "p.yaml:1: measure.attempts: expected a whole number <= 10"),
    ("measure: {attempts: " + "9" * 5000 + "}", "p.yaml:1: measure.attempts: expected a number"),
    ("measure: {concurrency: true}", "p.yaml:1: measure.concurrency: expected a whole number, got true or false"),
    # sites
    ("sites:\n  - www.lapatilla.com",
     "p.yaml:2: sites[0].url: expected a URL; for a host alone write https://www.lapatilla.com/"),
    ("sites: [{name: x}]", "p.yaml:1: sites[0].url: expected, but missing"),
    ("sites: [5]", "p.yaml:1: sites[0]: expected a mapping, got a whole number"),
    ("sites: [{url: 5}]", "p.yaml:1: sites[0].url: expected a URL such as https://www.example.org/, got 5"),
    ("sites: ['ftp://a.example/']", "p.yaml:1: sites[0].url: expected an http or https URL, got 'ftp://a.example/'"),
    ("sites: ['https://u:p@a.example/']", "p.yaml:1: sites[0].url: expected a URL without user name and password"),
    ("sites: ['http://0x7f.1/']",
     "p.yaml:1: sites[0].url: expected a URL with a valid host name, got 'http://0x7f.1/'"),
    ('sites: ["https://a.example/x\\ny"]',
     "p.yaml:1: sites[0].url: expected an http or https URL, got 'https://a.example/x\\ny'"),
    ("sites: ['https://a.example:99999/']",
     "p.yaml:1: sites[0].url: expected a URL with a port from 1 to 65535, got 'https://a.example:99999/'"),
    ("sites: ['https://a.example/" + "x" * 3000 + "']",
     "p.yaml:1: sites[0].url: expected a URL of at most 2048 characters"),
    # lists
    ("lists: [{}]", "p.yaml:1: lists[0]: expected exactly one of path, url, got none"),
    ("lists: [{path: a, url: https://a.example/}]",
     "p.yaml:1: lists[0]: expected exactly one of path, url, got path, url"),
    ("lists: [{url: http://a.example/}]", "p.yaml:1: lists[0].url: expected an https URL, got 'http://a.example/'"),
    ("lists: [{path: a, categories: [News]}]",
     "p.yaml:1: lists[0].categories[0]: expected a Citizen Lab category code such as NEWS, got 'News'"),
    # vantages
    ("vantages: []", "p.yaml:1: vantages: expected a list of length >= 1"),
    ("vantages: [{}]", "p.yaml:1: vantages[0].name: expected, but missing"),
    ("vantages:\n- name: a\n- name: a", "p.yaml:3: vantages[1].name: expected a name of its own, a is taken"),
    ("vantages:\n- name: a\n  via: {interface: e, source: 192.0.2.1}",
     "p.yaml:3: vantages[0].via: expected exactly one of interface, source, proxy, netns, got interface, source"),
    ("vantages: [{name: a, via: {}}]",
     "p.yaml:1: vantages[0].via: expected exactly one of interface, source, proxy, netns, got none"),
    ("vantages: [{name: a, via: {source: here}}]",
     "p.yaml:1: vantages[0].via.source: expected an IP address, got 'here'"),
    ("vantages: [{name: a, via: {interface: ../eth}}]",
     "p.yaml:1: vantages[0].via.interface: expected an interface name such as eth1, got '../eth'"),
    ("vantages: [{name: a, via: {netns: ../x}}]",
     "p.yaml:1: vantages[0].via.netns: expected a network namespace: a name or /proc/PID/ns/net, got '../x'"),
    ("vantages: [{name: a, via: {proxy: 'user:secret@host'}}]",
     "p.yaml:1: vantages[0].via.proxy: expected a proxy such as socks5://127.0.0.1:9050"),
    ("vantages: [{name: a, asn: AS8048}]", "p.yaml:1: vantages[0].asn: expected a whole number, got text"),
    ("vantages: [{name: a, country: ve}]",
     "p.yaml:1: vantages[0].country: expected a country as two capital letters such as VE, got 've'"),
    ("vantages: [{name: a, resolvers: [dns.google]}]",
     "p.yaml:1: vantages[0].resolvers[0]: expected system or a resolver's IP address (192.0.2.1, 192.0.2.1:53 or "
     "[2001:db8::1]:53), got 'dns.google'"),
    # control and measure
    ("control: {helpers: [helper.example]}",
     "p.yaml:1: control.helpers[0]: expected a URL; for a host alone write https://helper.example/"),
    ("control: {resolvers: ['http://a.example/']}",
     "p.yaml:1: control.resolvers[0]: expected an https URL, got 'http://a.example/'"),
    ("control: {agree: 2, helpers: ['https://a.example/']}",
     "p.yaml:1: control.agree: expected at most the number of helpers, 1"),
    ("control: {vantage: vps}", "p.yaml:1: control.vantage: expected one of the vantages: default"),
    ("vantages: [{name: a}]\ncontrol: {vantage: a}", "p.yaml:1: vantages: expected a vantage besides the control, a"),
    ("measure: {timeout: 10}",
     "p.yaml:1: measure.timeout: expected a duration such as 10s, 30m, 2h or 1d, got 10"),
    ("measure: {timeout: 0s}", "p.yaml:1: measure.timeout: expected a duration longer than nothing, got 0s"),
    ("measure: {timeout: 300s}", "p.yaml:1: measure.timeout: expected at most the budget of a site"),
    ("measure: {public_resolvers: [system]}",
     "p.yaml:1: measure.public_resolvers[0]: expected a resolver's IP address (192.0.2.1, 192.0.2.1:53 or "
     "[2001:db8::1]:53), got 'system'"),
    # sections for later versions
    ("schedule: {every: 1s}", "p.yaml:1: schedule.every: expected a duration of at least 10s, got '1s'"),
    ("schedule: {tags: {news: 0s}}", "p.yaml:1: schedule.tags.news: expected a duration of at least 10s, got '0s'"),
    ("keep: {age: 1h}", "p.yaml:1: keep.age: expected a duration of at least 1d, got '1h'"),
    ("schedule: {tags: {news: 3}}",
     "p.yaml:1: schedule.tags.news: expected a duration such as 10s, 30m, 2h or 1d, got 3"),
    ("schedule: {tags: [news]}", "p.yaml:1: schedule.tags: expected a mapping, got a list"),
    ("schedule: {budget: 5}", "p.yaml:1: schedule.budget: expected a size such as 500KB, 200MB or 2GB, got 5"),
    ("keep: {size: 0MB}", "p.yaml:1: keep.size: expected a size such as 500KB, 200MB or 2GB, got '0MB'"),
    ("network: {database: http://x.example/a.mmdb}",
     "p.yaml:1: network.database: expected a file in MaxMind's format, or the https URL of one, "
     "got 'http://x.example/a.mmdb'"),
    ("schedule: {every: 1w}", "p.yaml:1: schedule.every: expected a duration such as 10s, 30m, 2h or 1d, got '1w'"),
    ("schedule: {every: 999d}", "p.yaml:1: schedule.every: expected a duration of at most a year, got 999d"),
    ("store: mysql", "p.yaml:1: store: expected sqlite:FILE or postgresql://USER:PASSWORD@HOST/DATABASE"),
    ("web: {listen: 9105}",
     "p.yaml:1: web.listen: expected HOST:PORT such as 127.0.0.1:9105 or [::1]:9105, got 9105"),
    ("web: {hosts: ['a.example:9105']}",
     "p.yaml:1: web.hosts[0]: expected a host such as probe.example.org, without a port, got 'a.example:9105'"),
    ("web: {hosts: [1.2.3.4.5]}",
     "p.yaml:1: web.hosts[0]: expected a host such as probe.example.org, without a port, got '1.2.3.4.5'"),
    ("web: {probe_any: 'yes'}", "p.yaml:1: web.probe_any: expected true or false, got text"),
    ("metrics: {sites: ['https://a.example/']}",
     "p.yaml:1: metrics.sites[0]: expected tag:TAG or a site's host such as www.lapatilla.com, got 'https://a.example/'"),
    ("metrics: {sites: ['tag:']}",
     "p.yaml:1: metrics.sites[0]: expected a name of at most 64 letters, digits, spaces and _-.:@, got ''"),
    ("metrics: {sites: news}", "p.yaml:1: metrics.sites: expected a list, got text"),
    ("alerts: [{to: desk}]",
     "p.yaml:1: alerts[0].to: expected webhook:https://... or an Apprise URL such as mailto://desk@example.org"),
    ("alerts: [{to: 'json://x', language: Spanish}]",
     "p.yaml:1: alerts[0].language: expected a language as two small letters such as es, got 'Spanish'"),
    ("alerts: [{to: 'json://x', minimum: {confidence: .nan}}]",
     "p.yaml:1: alerts[0].minimum.confidence: expected a number >= 0.0"),
    ("detect: {probes: 0}", "p.yaml:1: detect.probes: expected a whole number >= 1"),
    ("hub: {url: https://hub.example/}", "p.yaml:1: hub.key: expected, but missing"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message[:60] for _, message in BAD])
def test_a_bad_configuration_is_one_line_with_file_line_key_and_what_is_expected(text, message):
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "store: postgres://u:geheim@db.example/x", "store: 'postgres:u:geheim@db'", "store: [geheim]",
        "network: {database: 'http://x.example/a.mmdb?license_key=geheim'}",
        "network: {database: 'https://u:geheim@x.example/a.mmdb'}", "network: {database: 'ftp://u:x/geheim@h.example/a'}",
        "hub: {url: 'ftp://u:geheim@hub.example/', key: k}", "hub: {url: 'https://hub.example:99999/?key=geheim', key: k}",
        "control: {helpers: ['ws://geheim@h.example/?t=geheim']}", "lists: [{url: 'http://x.example/?t=geheim'}]",
        "alerts: [{to: 'tgram:geheim'}]", "alerts: [{to: 'webhook:ftp://x.example/?geheim'}]",
        "vantages: [{name: v, via: {proxy: 'socks4://u:geheim@h:1'}}]",
    ],
)  # fmt: skip
def test_no_password_or_key_is_shown(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    assert "geheim" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from(list("abc: -\n\t[]{},&*!|>'\"%@`#?\\xuU019.\ue000é~<")), max_size=40))
def test_no_text_raises_anything_but_a_configuration_error_of_one_line(text):
    message = "p.yaml: none"
    try:
        parse(text, "p.yaml")
    except ConfigError as exc:
        message = str(exc)
    assert re.fullmatch(r"p\.yaml(:\d+)?: [^\n\r]+", message)


@pytest.mark.parametrize(
    "url",
    ["socks5://127.0.0.1:9050", "socks5h://tor.example:9050/", "http://u:p@[::1]:8080", "https://u:p%40@proxy:443"],
)
def test_a_proxy_is_valid(url):
    [found] = parse(f"vantages:\n- name: tor\n  via:\n    proxy: {url}", "p").vantages
    assert found.via is not None
    assert found.via.proxy == url


@pytest.mark.parametrize(
    "url", [
        "socks4://u:geheim@h:1", "socks5://u:geheim@h", "socks5://geheim@h:1", "socks5://u:geheim%0d%0a@h:1",
        "http://:geheim@h:1", "http://u:gehéim@h:1", "http://u:geheim/@h:1", f"http://u:{'geheim' * 50}@h:1",
    ]
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_showing_its_password(url):
    with pytest.raises(ConfigError, match=r"^p:4: vantages\[0\].via.proxy: expected") as caught:
        parse(f"vantages:\n- name: tor\n  via:\n    proxy: {url}", "p")
    assert "geh" not in str(caught.value)


def test_a_list_is_looked_for_beside_the_file_that_names_it(tmp_path):
    file = tmp_path / "probes.yaml"
    file.write_text("lists: [{path: lists/ve.csv}]")
    assert load(file).lists[0].path == str(tmp_path / "lists" / "ve.csv")


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file or directory$"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"is a directory$"):
        load(tmp_path)
    (tmp_path / "latin").write_bytes(b"consent: true\nstore: sqlite:a\xf1o\n")
    with pytest.raises(ConfigError, match=r"latin:2: yaml: expected text in UTF-8$"):
        load(tmp_path / "latin")
    (tmp_path / "endless").write_bytes(b"#" * 10_000_000)
    with pytest.raises(ConfigError, match=r"expected a file of at most 256 KiB$"):
        load(tmp_path / "endless")


def test_the_file_here_goes_before_the_users_own(home, monkeypatch):
    assert find() is None
    own = home / ".config" / "almenara" / "probes.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert find() == own
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert find() is None
    Path("probes.yaml").write_text("")
    assert find() == Path("probes.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1.5s", 1.5)]
)
def test_durations_have_units(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "10 s", "1e3s", "١٠s", "10S", "1h30m", "9" * 20 + "s", 10, None]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("given_url", "read"),
    [
        ("https://www.lapatilla.com", "https://www.lapatilla.com/"),
        ("HTTPS://WWW.LaPatilla.com:443/Política?q=1#top", "https://www.lapatilla.com/Pol%C3%ADtica?q=1"),
        ("http://ñandú.example:8080/", "http://xn--and-6ma2c.example:8080/"),
        ("https://www.lapatilla.com./", "https://www.lapatilla.com/"),
        ("http://[2001:DB8::1]/", "http://[2001:db8::1]/"),
        ("https://a_b.example/", "https://a_b.example/"),
    ],
)
def test_a_url_is_read_as_a_browser_reads_it(given_url, read):
    assert web_url(given_url) == read
    assert web_url(read) == read


@pytest.mark.parametrize(
    "text",
    ["", "https://", "https:///x", "//a.example/", "javascript:1", "http://a b/", "http://a..b/", "http://-a.example/",
     "http://a.example:99999/", "http://1.2.3.4.5/", "http://[::1%eth0]/", "http://" + "a" * 64 + ".example/",
     "http://" + ".".join(["a" * 60] * 5) + "/", "http://a.example:0/"],
)  # fmt: skip
def test_what_no_browser_could_open_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        web_url(text)
