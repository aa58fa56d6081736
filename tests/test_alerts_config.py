"""The section `alerts`: what is read, what is looked up elsewhere, and one line for everything wrong, without its secret."""

from pathlib import Path

import pytest

from monitor.alerts.subscriptions import subscribed
from monitor.alerts.terms import Terms
from monitor.config import ConfigError, parse
from monitor.models import Kind

WHOLE = """
sites: [{url: "https://www.lapatilla.com/", tags: [news]}, {url: "https://elpitazo.net:8443/", tags: [news, tv]}]
alerts:
  - to: "webhook:https://desk.example/in?key=geheim"
    name: desk
    language: es
    sites: ["tag:tv", runrun.es]
    isps: [CANTV, AS27889]
    countries: [VE]
    kinds: [blocking, silence]
    minimum: {confidence: 0.9, probes: 2, duration: 10m}
    digest: weekly
    quiet: 22:00-07:00
    zone: America/Caracas
    hold: 1h
    gather: 5m
    secret: environment:DESK_SECRET
    proxy: socks5://127.0.0.1:9050
"""


def test_every_key_is_read(monkeypatch):
    monkeypatch.setenv("DESK_SECRET", "correct-horse-battery\n")
    config = parse(WHOLE, "probes.yaml")
    [one] = subscribed(config, None)
    assert (one.key, one.channel, one.url, one.secret) == (
        "desk", "webhook", "https://desk.example/in?key=geheim", "correct-horse-battery",
    )  # fmt: skip
    assert (one.settings.digest, one.settings.quiet, str(one.zone)) == (
        ("monday 08:00",),
        "22:00-07:00",
        "America/Caracas",
    )
    assert one.terms(config.sites) == Terms(
        kinds=frozenset({Kind.BLOCKING, Kind.SILENCE}), sites=frozenset({"elpitazo.net:8443", "runrun.es"}),
        networks=frozenset({"cantv", "AS27889"}), countries=frozenset({"VE"}), confidence=0.9, probes=2, duration_s=600.0,
        hold_s=3600.0, gather_s=300.0,
    )  # fmt: skip
    assert "geheim" not in repr(one)


def test_a_recipient_may_be_kept_in_a_file_beside_the_configuration(tmp_path: Path):
    (tmp_path / "telegram.url").write_text("tgram://123:token/chat\nnot this\n")
    config = parse("alerts: [{to: 'file:telegram.url'}, {to: 'file:telegram.url'}]", "probes.yaml")
    first, second = subscribed(config, tmp_path / "probes.yaml")
    assert (first.channel, first.url) == ("tgram", "tgram://123:token/chat")
    assert first.key.startswith("tgram-")
    assert second.key == f"{first.key}-2"


def test_a_name_without_a_secret_in_it_stays_the_same_and_differs():
    def key(to: str) -> str:
        return subscribed(parse(f"alerts: [{{to: '{to}'}}]", "p"), None)[0].key

    assert key("mailto://u:geheim@mail.example") == key("mailto://u:geheim@mail.example")
    assert key("mailto://u:geheim@mail.example") != key("mailto://u:geheim2@mail.example")
    assert "geheim" not in key("mailto://u:geheim@mail.example")


BAD = [
    ("{to: 'alertmanager:ftp://x'}", "alerts[0].to: expected an http or https URL"),
    ("{to: 'webhook:https://u:geheim@x.example/'}", "alerts[0].to: expected an http or https URL after webhook: or alertmanager:"),
    ("{to: 'alertmanager:https://u:geheim@x@y.example/'}", "alerts[0].to: expected an http or https URL after webhook:"),
    ("{to: 'alertmanager:https://u:geheim@'}", "alerts[0].to: expected an http or https URL after webhook: or alertmanager:"),
    ("{to: 'file:'}", "alerts[0].to: expected webhook:https://... or an Apprise URL"),
    ("{to: 'environment:A B'}", "alerts[0].to: expected webhook:https://... or an Apprise URL"),
    ("{to: 'webhook:ftp://desk.example/geheim'}", "alerts[0].to: expected an http or https URL"),
    ("{to: 'json://x', secret: geheim}", "alerts[0].secret: expected 16 to 200 letters and digits, file:PATH or environment:NAME"),
    ("{to: 'json://x', zone: Caracas}", "alerts[0].zone: expected a time zone such as America/Caracas, got 'Caracas'"),
    ("{to: 'json://x', zone: ../../etc/passwd}", "alerts[0].zone: expected a time zone"),
    ("{to: 'json://x', zone: America}", "alerts[0].zone: expected a time zone"),
    ("{to: 'json://x', quiet: at night}", "alerts[0].quiet: expected hours such as 22:00-07:00, got 'at night'"),
    ("{to: 'json://x', quiet: 22:00-22:00}", "alerts[0].quiet: expected hours"),
    ("{to: 'json://x', quiet: 22:00-24:00}", "alerts[0].quiet: expected hours"),
    ("{to: 'json://x', digest: hourly}", "alerts[0].digest: expected daily, weekly, or hours"),
    ("{to: 'json://x', digest: [lunes 08:00]}", "alerts[0].digest[0]: expected daily, weekly, or hours such as [08:00"),
    ("{to: 'json://x', kinds: [outage]}", "alerts[0].kinds[0]: expected blocking, site_outage"),
    ("{to: 'json://x', kinds: []}", "alerts[0].kinds: expected a list of length >= 1"),
    ("{to: 'json://x', isps: [AS99999999999]}", "alerts[0].isps[0]: expected an ISP's name or number such as CANTV or AS8048"),
    ("{to: 'json://x', sites: ['https://a.example/']}", "alerts[0].sites[0]: expected tag:TAG or a site's host"),
    ("{to: 'json://x', minimum: {duration: 10}}", "alerts[0].minimum.duration: expected a duration such as 10s"),
    ("{to: 'json://x', proxy: 'socks4://u:geheim@h:1'}", "alerts[0].proxy: expected a proxy such as socks5://127.0.0.1:9050"),
    # what is only found out when it is looked up
    ("{to: 'file:none.url'}", "alerts[0].to: none.url: no such file or directory"),
    ("{to: 'environment:NOT_THERE'}", "alerts[0].to: expected something in the variable NOT_THERE"),
    ("{to: 'environment:GEHEIM'}", "alerts[0].to: in GEHEIM: expected webhook:https://... or an Apprise URL"),
    ("{to: 'json://x', secret: environment:SHORT}", "alerts[0].secret: in SHORT: expected 16 to 200 letters and digits"),
    ("{to: 'json://x', language: xx}", "alerts[0].language: expected a language there is"),
    ("{to: 'json://x', name: a}, {to: 'json://y', name: a}", "alerts[0].name: expected a name of its own, a is taken"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "problem"), BAD, ids=[entry for entry, _ in BAD])
def test_what_is_wrong_is_one_line_with_file_line_and_key(entry, problem, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GEHEIM", "geheim")
    monkeypatch.setenv("SHORT", "geheim")
    file = tmp_path / "probes.yaml"
    file.write_text(f"consent: true\nalerts: [{entry}]\n")
    with pytest.raises(ConfigError) as caught:
        subscribed(parse(file.read_text(), str(file)), file)
    assert str(caught.value).startswith(f"{file}:2: {problem}")
    assert "geheim" not in str(caught.value)
