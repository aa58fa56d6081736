"""/metrics: what it tells, what it never tells, and that it is the same after a restart. Stores on disk, real sockets."""

import asyncio
import gzip
import math
import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_cases import (
    CANTV,
    CONFIG,
    HELPER,
    OPENMETRICS,
    PERIOD_S,
    Series,
    Watching,
    as_of_now,
    blocked,
    counters,
    labels,
    named,
    of,
    opens,
    series,
    text_of,
)
from starlette.requests import Request
from starlette.responses import Response
from store_cases import event
from test_verdict_properties import any_measurement, measurements
from verdict_cases import HTTPS, SITE, measured

from monitor.config import parse
from monitor.metrics import words
from monitor.metrics.catalogue import METRICS, PREFIX
from monitor.metrics.collector import exposition, is_openmetrics
from monitor.metrics.concluded import MOST_EVENTS
from monitor.metrics.counting import BUCKETS, Counting
from monitor.metrics.scrape import Scrape
from monitor.models import Conditions, Event, Kind, Measurement, Network, Status
from monitor.outcome import STEPS
from monitor.store import Figures, Latest, Store, StoreError, Tallied, Tally
from monitor.web.app import app
from monitor.web.metrics import SHARED_S, metrics
from monitor.web.server import opened, serving

DOCUMENT = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
LAPATILLA = {"url": "https://lapatilla.example/", "site": "lapatilla.example"}
ON = {"site": "elpitazo.example", "vantage": "cantv", "asn": "8048"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:{tmp_path}/almenara.db") as store:
        yield store


@pytest.fixture
def watching(store: Store) -> Watching:
    return Watching(store)


def scraped(watching: Watching, accept: str = "") -> Series:
    return series(text_of(asyncio.run(watching.scrape()), accept))


# --- the document ----------------------------------------------------------------------------------------------------


def documented() -> dict[str, tuple[str, tuple[str, ...], str]]:
    rows = re.findall(r"^\| `almenara_(\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|", DOCUMENT, re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), unit.strip()) for name, kind, labels, unit in rows}


def test_the_document_names_every_metric_with_its_type_labels_and_unit():
    assert documented() == {name: (one.kind, one.labels, one.unit) for name, one in METRICS.items()}


def everything(watching: Watching) -> None:
    """Each metric has a value."""
    watching.measure(opens(1), blocked(2, **LAPATILLA))
    watching.store.tally(watching.meter.reload(None))
    watching.told |= {"active": [going_on()], "incidents": {going_on().id: "i"}}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_scrape_tells_every_metric_with_the_labels_it_is_said_to_have(watching, accept):
    everything(watching)
    found = scraped(watching, accept)
    told: dict[str, set[str]] = {}
    for name, its in found:
        family = re.sub(r"_(bucket|sum|count)$", "", name) if "duration" in name else name
        told.setdefault(family.removeprefix(PREFIX), set()).update(key for key, _ in its if key != "le")
    assert told == {name: set(one.labels) for name, one in METRICS.items()}


def promised() -> dict[str, int]:
    rows = re.findall(r"^\| ([a-z].*?) \| (\d+) \|$", DOCUMENT.partition("## How many series")[2], re.MULTILINE)
    return {what: int(number) for what, number in rows}


def test_there_are_as_many_series_as_the_document_says(watching):
    everything(watching)
    watching.measure(opens(3, vantage="movilnet"))
    found = scraped(watching)
    site = {key: value for key, value in found.items() if key[0].startswith("almenara_site_")}
    of_each = Counter((dict(its)["site"], dict(its)["vantage"]) for _, its in site)
    say = promised()
    assert of_each["elpitazo.example", "cantv"] == say["each site on each vantage, when it opens over https"]
    assert (
        of_each["lapatilla.example", "cantv"] <= say["each site on each vantage, at most, and one for each method"] + 1
    )
    failures = len(named(found, "step_failures_total"))
    resolvers = sum(len(one.names) for one in watching.meter.counting.resolvers.values())
    expected = 2 * say["each vantage"] + resolvers * say["each resolver of a vantage"] + failures
    expected += (
        1 * say["each watched network"] + 1 * say["each control"] + 1 * say["each event that goes on, up to 500"]
    )
    expected += 1 * say["each channel of alerts"]
    assert len(found) - len(site) == expected + say["the service, with a budget"]


def test_most_that_a_site_can_have_is_the_documents_most(watching):
    whole = msgspec.structs.replace(blocked(1), verdict=blocked(1, *words.METHODS, "of.nobody", "of.others").verdict)
    page = measured().dns(isp=SITE).opens(status=403).measurement()
    watching.measure(msgspec.structs.replace(whole, http=page.http, tls=page.tls, tcp=page.tcp))
    site = [key for key in scraped(watching) if key[0].startswith("almenara_site_")]
    most = promised()["each site on each vantage, at most, and one for each method"]
    assert len(site) == most + len(words.METHODS) + 1


# --- sites -----------------------------------------------------------------------------------------------------------


def test_a_site_that_opens(watching):
    watching.measure(opens(1))
    found = scraped(watching)
    assert of(found, "site_status", status="ok", **ON) == 1
    assert [of(found, "site_status", status=status.value, **ON) for status in Status].count(0) == 4
    assert of(found, "site_confidence", **ON) == 0.98
    assert [of(found, "site_step_duration_seconds", step=step, **ON) for step in STEPS] == [0.1] * 4
    assert of(found, "site_last_measurement_timestamp_seconds", **ON) == pytest.approx(
        datetime.now(UTC).timestamp(), abs=60
    )
    assert named(found, "site_failure") == named(found, "site_blocked_methods") == {}


def test_a_site_that_is_blocked_says_how_and_why(watching):
    watching.measure(blocked(1, "tls.reset", "dns.nxdomain"))
    found = scraped(watching)
    assert of(found, "site_status", status="blocked", **ON) == 1
    assert [one["method"] for one in labels(named(found, "site_blocked_methods"))] == ["tls.reset", "dns.nxdomain"]
    assert named(found, "site_failure") == {
        ("almenara_site_failure", frozenset({**ON, "step": "tls", "failure": "connection_reset"}.items())): 1
    }
    assert of(found, "site_step_duration_seconds", step="http", **ON) is None


def test_the_newest_measurement_is_told_whatever_it_found(watching):
    now = datetime.now(UTC)
    unsure = as_of_now(opens(2), 2, Status.INCONCLUSIVE, (), network=Network())
    watching.measure(
        opens(1, started=now - timedelta(seconds=60)), unsure, opens(3, started=now - timedelta(seconds=30))
    )
    found = scraped(watching)
    assert of(found, "site_status", status="inconclusive", **(ON | {"asn": ""})) == 1
    assert len(named(found, "site_status")) == 5
    assert named(found, "site_confidence") == {}


def test_of_two_urls_of_a_host_the_worse_is_told_once(store):
    watching = Watching(store, CONFIG.replace("https://lapatilla.example/", "https://elpitazo.example/b"))
    watching.measure(blocked(1), opens(2, url="https://elpitazo.example/b"))
    found = scraped(watching)
    assert of(found, "site_status", status="blocked", **ON) == 1
    assert len(named(found, "site_status")) == 5


def test_absent_after_three_periods_without_data(watching):
    watching.measure(opens(1))
    watching.later = timedelta(seconds=3 * PERIOD_S - 5)
    assert len(named(scraped(watching), "site_status")) == 5
    watching.later = timedelta(seconds=3 * PERIOD_S + 5)
    assert [name for name, _ in scraped(watching) if "_site_" in name] == []
    stretched = dict.fromkeys((site.url for site in watching.config.sites), 2 * PERIOD_S)
    watching.told["watched"] = stretched
    assert len(named(scraped(watching), "site_status")) == 5
    watching.later = timedelta(seconds=6 * PERIOD_S + 5)
    assert named(scraped(watching), "site_status") == {}


def test_a_site_that_was_measured_at_a_slower_pace_is_not_absent_when_the_pace_quickens(watching):
    watching.measure(opens(1), period_s=8 * PERIOD_S)
    watching.later = timedelta(seconds=20 * PERIOD_S)
    assert len(named(scraped(watching), "site_status")) == 5


def test_what_is_being_measured_has_the_time_that_measuring_may_take(watching):
    watching.measure(opens(1))
    watching.later = timedelta(seconds=3 * PERIOD_S + 60)
    watching.told["running"] = {(HTTPS, "cantv")}
    assert len(named(scraped(watching), "site_status")) == 5
    watching.later = timedelta(seconds=3 * PERIOD_S + 180)
    assert named(scraped(watching), "site_status") == {}


def test_what_is_not_watched_any_more_is_not_told(watching):
    watching.measure(opens(1), opens(2, **LAPATILLA), opens(3, vantage="movilnet"))
    del watching.told.setdefault("watched", dict.fromkeys((site.url for site in watching.config.sites), PERIOD_S))[
        HTTPS
    ]
    assert {one["site"] for one in labels(named(scraped(watching), "site_status"))} == {"lapatilla.example"}
    watching.told = {"networks": {"movilnet": CANTV}}
    assert {one["vantage"] for one in labels(scraped(watching)) if "vantage" in one} == {"movilnet"}
    watching.meter.only({LAPATILLA["url"]})
    assert {url for url, _ in watching.meter.newest} == {LAPATILLA["url"]}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("[tag:news]", {"elpitazo.example"}), ("[lapatilla.example]", {"lapatilla.example"}), ("[tag:none]", set()),
        ("[tag:news, lapatilla.example]", {"elpitazo.example", "lapatilla.example"}),
        ("[]", {"elpitazo.example", "lapatilla.example"}),
    ],
)  # fmt: skip
def test_sites_can_be_chosen_by_tag_and_host_and_the_rest_counts_all(store, wanted, told):
    watching = Watching(store, f"{CONFIG}metrics: {{sites: {wanted}}}\n")
    watching.measure(opens(1), blocked(2, **LAPATILLA))
    found = scraped(watching)
    assert {one["site"] for one in labels(named(found, "site_status"))} == told
    assert of(found, "sites_configured", vantage="cantv") == 2
    assert of(found, "measurements_total", vantage="cantv", status="blocked") == 1


# --- counters --------------------------------------------------------------------------------------------------------


def no_less(before: Series, after: Series) -> bool:
    return all(after.get(key, -1) >= value for key, value in counters(before).items())


def test_a_restart_changes_nothing_but_what_only_a_process_knows(tmp_path):
    url = f"sqlite:{tmp_path}/almenara.db"
    with Store.open(url) as store:
        watching = Watching(store)
        everything(watching)
        before = scraped(watching)
    with Store.open(url) as store:
        again = Watching(store)
        again.told = watching.told
        after = scraped(again)
    of_the_process = {
        "almenara_control_up", "almenara_start_time_seconds", "almenara_config_last_reload_successful",
        "almenara_config_last_reload_success_timestamp_seconds",
    }  # fmt: skip
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= {
        key for key in before if key[0] in of_the_process
    }
    assert len(counters(before)) > 100


def test_retention_and_judging_again_take_nothing_from_a_counter(watching):
    old = datetime.now(UTC) - timedelta(days=30)
    watching.measure(opens(1, started=old), blocked(2, started=old, **LAPATILLA), opens(3))
    before = scraped(watching)
    assert watching.store.retain(age_s=86400, size=None, now=datetime.now(UTC)) == 2
    after = scraped(watching)
    assert counters(before) == counters(after)
    assert (of(before, "store_measurements"), of(after, "store_measurements")) == (3, 1)
    watching.store.rejudge(lambda one: blocked(1).verdict, 2, lambda done, of: None)
    assert counters(before) == counters(scraped(watching))


def test_counters_begin_with_nothing_rather_than_with_silence(watching):
    found = scraped(watching)
    assert set(counters(found).values()) == {0}
    for status in Status:
        assert of(found, "measurements_total", vantage="movilnet", status=status.value) == 0
    for kind in Kind:
        assert of(found, "events_total", kind=kind.value) == 0
    assert of(found, "resolver_queries_total", vantage="cantv", resolver="system", result="failure") == 0
    assert of(found, "events_active", asn="8048") == 0


def test_steps_are_counted_by_how_long_they_took_and_what_they_failed_by(watching):
    watching.measure(opens(1), blocked(2, **LAPATILLA))
    found = scraped(watching)
    tls = {"vantage": "cantv", "step": "tls"}
    assert of(found, "step_duration_seconds_bucket", le="0.05", **tls) == 0
    assert of(found, "step_duration_seconds_bucket", le="0.1", **tls) == 2
    assert of(found, "step_duration_seconds_bucket", le="+Inf", **tls) == 2
    assert of(found, "step_duration_seconds_sum", **tls) == pytest.approx(0.2)
    assert of(found, "step_failures_total", failure="connection_reset", **tls) == 1
    assert of(found, "step_duration_seconds_count", vantage="cantv", step="http") == 1


def test_a_measurement_that_comes_twice_counts_once(watching):
    watching.measure(opens(1))
    before = scraped(watching)
    watching.store.append([opens(1)], watching.meter.count)
    assert counters(scraped(watching)) == counters(before)


def test_resolvers_are_called_as_the_configuration_calls_them(watching):
    case = measured().dns(isp="NXDOMAIN", isp2="timeout", lan=SITE, public=SITE, public2=SITE, doh=SITE, doh2=SITE)
    watching.measure(as_of_now(case.measurement(), 1, Status.INCONCLUSIVE, ()))
    found = scraped(watching)
    queries = {
        (one["resolver"], one["result"]): found["almenara_resolver_queries_total", frozenset(one.items())]
        for one in labels(named(found, "resolver_queries_total")) if one["vantage"] == "cantv"
    }  # fmt: skip
    assert {key: value for key, value in queries.items() if value} == {
        ("200.44.32.12", "failure"): 1, ("system", "failure"): 1, ("system", "ok"): 2, ("8.8.8.8", "ok"): 1,
        ("https://dns.quad9.net/dns-query", "ok"): 1, ("other", "ok"): 1,
    }  # fmt: skip


# --- vantages, controls, events, the service -------------------------------------------------------------------------


def up(watching: Watching, vantage: str = "cantv") -> dict[str, float] | float | None:
    return of(scraped(watching), "vantage_up", vantage=vantage)


def test_a_vantage_is_up_while_it_measures_and_is_online(watching):
    assert up(watching) == 0  # never heard of
    watching.measure(opens(1))
    assert (up(watching), up(watching, "movilnet")) == (1, 0)
    watching.later = timedelta(seconds=3 * PERIOD_S + 5)
    assert up(watching) == 0
    assert of(scraped(watching), "last_measurement_timestamp_seconds", vantage="cantv") is not None
    watching.later = timedelta()
    offline = Conditions(online4=False, online6=False)
    watching.measure(as_of_now(opens(2), 2, Status.INCONCLUSIVE, (), conditions=offline))
    assert up(watching) == 0


def test_a_vantage_that_is_not_there_is_down_at_once(watching):
    watching.measure(opens(1))
    watching.told["absent"] = ("cantv",)
    assert up(watching) == 0


def test_a_budget_that_is_spent_makes_no_vantage_silent_nor_does_the_day_that_begins(watching):
    watching.measure(opens(1))
    watching.later = timedelta(seconds=9 * PERIOD_S)
    watching.told["stretch"] = math.inf
    assert (up(watching), up(watching, "movilnet")) == (1, 0)
    assert of(scraped(watching), "schedule_period_seconds") == math.inf
    watching.told["stretch"] = 1.0
    watching.later += timedelta(seconds=2 * PERIOD_S)
    assert up(watching) == 1
    assert of(scraped(watching), "schedule_period_seconds") == PERIOD_S
    watching.later += timedelta(seconds=2 * PERIOD_S)
    assert up(watching) == 0


def test_sites_that_were_heard_of_lately_are_counted_url_by_url_and_all_of_them(store):
    watching = Watching(
        store,
        CONFIG.replace("https://lapatilla.example/", "https://elpitazo.example/b") + "metrics: {sites: [tag:none]}\n",
    )
    watching.measure(opens(1), opens(2, url="https://elpitazo.example/b"), opens(3, vantage="movilnet"))
    found = scraped(watching)
    assert (of(found, "sites_fresh", vantage="cantv"), of(found, "sites_configured", vantage="cantv")) == (2, 2)
    assert of(found, "sites_fresh", vantage="movilnet") == 1
    watching.later = timedelta(seconds=3 * PERIOD_S + 5)
    assert of(scraped(watching), "sites_fresh", vantage="cantv") == 0


def test_a_control_is_up_when_it_answered_and_unknown_when_nobody_asked(watching):
    assert named(scraped(watching), "control_up") == {}
    watching.measure(opens(1))
    assert of(scraped(watching), "control_up", helper=HELPER) == 1
    dead = msgspec.structs.replace(opens(2).controls[0], failure="generic_timeout_error")
    other = msgspec.structs.replace(dead, id="https://hostile.example/")
    watching.measure(opens(2, controls=(dead, other)))
    assert named(scraped(watching), "control_up") == {("almenara_control_up", frozenset({("helper", HELPER)})): 0}
    watching.later = timedelta(seconds=4 * PERIOD_S)
    assert named(scraped(watching), "control_up") == {}


def going_on(id: str = "e1", **more: Any) -> Event:
    """An event on a site that is watched."""
    return event(id, **({"site": ON["site"]} | more))


TWO = {"networks": {"cantv": CANTV, "movilnet": Network(asn=27889)}}


def test_events_that_go_on_are_told_by_network_and_one_by_one(watching):
    outage = going_on("o", kind=Kind.NETWORK_OUTAGE, site=None)
    elsewhere = going_on("e", network=Network(asn=27889))
    watching.told |= {**TWO, "active": [going_on(), elsewhere, outage], "incidents": {going_on().id: "i1"}}
    found = scraped(watching)
    assert (of(found, "events_active", asn="8048"), of(found, "events_active", asn="27889")) == (1, 1)
    began = of(found, "active_event_started_timestamp_seconds", event="o")
    assert began == outage.started.timestamp()
    assert of(found, "outages_active", kind="network_outage") == 1
    assert of(found, "outages_active", kind="silence") == 0
    of_each = {one["event"]: one for one in labels(named(found, "active_event"))}
    assert of_each[going_on().id] == {
        "event": going_on().id, "incident": "i1", "kind": "blocking", "site": ON["site"], "asn": "8048", "isp": "CANTV",
    }  # fmt: skip
    assert (of_each["o"]["site"], of_each["o"]["incident"], of_each["e"]["isp"]) == ("", "", "")


def told_events(watching: Watching) -> set[str]:
    found = scraped(watching)
    ids = {one["event"] for one in labels(named(found, "active_event"))}
    assert ids == {one["event"] for one in labels(named(found, "active_event_started_timestamp_seconds"))}
    assert sum(named(found, "events_active").values()) + sum(named(found, "outages_active").values()) == len(ids)
    return ids


def test_what_goes_on_where_nobody_looks_any_more_is_not_told(watching):
    """A site that left the list, a network whose vantage did: nobody will ever see it end."""
    active = [
        going_on("here"), going_on("no such site", site="left.example"), going_on("no such network", network=Network(asn=1)),
        going_on("silent here", kind=Kind.SILENCE, site=None), going_on("down", kind=Kind.SITE_OUTAGE, network=None),
        going_on("silent", kind=Kind.SILENCE, site=None, network=Network(asn=1)),
        going_on("gone", kind=Kind.SITE_OUTAGE, network=None, site="left.example"),
    ]  # fmt: skip
    watching.told |= {"active": active}
    assert told_events(watching) == {"here", "silent here", "down"}
    watching.told |= {"networks": {"cantv": Network(asn=1)}}
    assert told_events(watching) == {"no such network", "silent", "down"}


def test_a_vantage_that_is_not_there_is_where_it_was_heard_last(tmp_path):
    """It is declared without its network, and the line is dead: its silence is the news."""
    url = f"sqlite:{tmp_path}/almenara.db"
    with Store.open(url) as store:
        now = datetime.now(UTC)
        nowhere = as_of_now(opens(2), 2, Status.INCONCLUSIVE, (), network=Network(), started=now)
        Watching(store).measure(
            opens(1, started=now - timedelta(hours=3)), msgspec.structs.replace(nowhere, **LAPATILLA)
        )
        Watching(store).measure(opens(3, vantage="left", network=Network(asn=1)))
    silence = [going_on(str(asn), kind=Kind.SILENCE, site=None, network=Network(asn=asn)) for asn in (8048, 1)]
    with Store.open(url) as store:
        watching = Watching(store)
        watching.told |= {"networks": {"cantv": Network()}, "absent": ("cantv",), "active": silence}
        assert told_events(watching) == {"8048"}
        assert of(scraped(watching), "events_active", asn="8048") == 0


@pytest.mark.parametrize(
    "accept", ["text/plain;version=abc", "application/openmetrics-text;version=9.9.9 x", "\x01", "*/*;q"]
)
def test_whatever_a_client_says_it_takes_it_gets_what_we_speak(watching, accept):
    assert exposition(asyncio.run(watching.scrape()), openmetrics=is_openmetrics(accept))[1] in (
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
    )  # fmt: skip


def test_no_more_than_the_newest_events_are_told_one_by_one(watching):
    began = going_on().started
    watching.told["active"] = [going_on(str(n), started=began + timedelta(minutes=n)) for n in range(MOST_EVENTS + 20)]
    found = scraped(watching)
    ids = {one["event"] for one in labels(named(found, "active_event"))}
    assert ids == {str(n) for n in range(20, MOST_EVENTS + 20)}
    assert of(found, "events_active", asn="8048") == MOST_EVENTS + 20


def test_reloads_are_counted_and_the_last_one_is_told(watching):
    watching.store.tally(watching.meter.reload(None))
    found = scraped(watching)
    assert (of(found, "reloads_total", result="failure"), of(found, "config_last_reload_successful")) == (1, 0)
    before = of(found, "config_last_reload_success_timestamp_seconds")
    watching.store.tally(watching.meter.reload(watching.config))
    found = scraped(watching)
    assert (of(found, "reloads_total", result="ok"), of(found, "config_last_reload_successful")) == (1, 1)
    assert of(found, "config_last_reload_success_timestamp_seconds") > before


def test_the_lag_is_of_what_waits_for_its_turn_and_of_what_is_overdue(watching):
    now = datetime.now(UTC)
    assert watching.meter.lag_s(now, None) == watching.meter.lag_s(now, now + timedelta(seconds=9)) == 0
    assert watching.meter.lag_s(now, now - timedelta(seconds=9)) == 9
    with watching.meter.waiting():
        with watching.meter.waiting():
            pass
        first = watching.meter.lag_s(now, None)
        assert 0 < first < watching.meter.lag_s(now, None)
    assert watching.meter.lag_s(now, None) == 0


def test_without_a_budget_there_is_no_limit(watching):
    watching.told["budget"] = None
    found = scraped(watching)
    assert (of(found, "budget_bytes_limit"), of(found, "budget_used_bytes")) == (None, 5)


# --- hostile peers ---------------------------------------------------------------------------------------------------

HOSTILE = 'a"b\\c\nd\x00\x1b[31m\udc80é{}=,#'


def test_hostile_names_are_escaped_and_bounded(watching):
    watching.measure(opens(1))
    watching.told |= {
        "networks": {"cantv": Network(asn=8048, isp=HOSTILE + 2000 * "x", country=HOSTILE)},
        "active": [going_on(network=Network(asn=8048, isp=HOSTILE), site=None)],
    }  # fmt: skip
    for accept in ("", OPENMETRICS):
        found = scraped(watching, accept)
        [vantage] = labels(named(found, "vantage_info"))
        assert vantage["isp"].startswith('a"b\\c\N{REPLACEMENT CHARACTER}d')
        assert len(vantage["isp"]) == words.LONGEST
        [active] = labels(named(found, "active_event"))
        assert active["isp"].endswith("é{}=,#")
        assert len(found) == text_of(asyncio.run(watching.scrape()), accept).count("\nalmenara_")


@any_measurement
@given(measurements, st.text(max_size=20))
def test_no_word_of_a_peer_becomes_a_label(measurement: Measurement, said: str):
    """Every value is of our vocabulary, whatever a measurement holds."""

    def hostile(seen: tuple[Any, ...], **more: str) -> tuple[Any, ...]:
        return tuple(msgspec.structs.replace(one, failure=one.failure and said, **more) for one in seen)

    config = parse(CONFIG, "p")
    spoilt = msgspec.structs.replace(
        measurement, vantage="cantv", dns=hostile(measurement.dns, resolver=said), tcp=hostile(measurement.tcp),
        tls=hostile(measurement.tls), http=hostile(measurement.http),
    )  # fmt: skip
    resolvers = {*words.Resolvers(config, config.vantages[0]).names, words.OTHER}
    known = {
        Tallied.RESOLVER_QUERIES: (resolvers, {words.OK, words.FAILURE}),
        Tallied.STEP_FAILURES: (set(STEPS), {*words.FAILURES, words.OTHER}),
        Tallied.STEP_BUCKETS: (set(STEPS), set(BUCKETS)),
        Tallied.STEP_MICROSECONDS: (set(STEPS), {""}),
    }
    for tally, number in Counting(config).of(spoilt).items():
        first, second = known[tally.counter]
        assert tally.first in first
        assert tally.second in second
        assert (tally.vantage, number >= 0) == ("cantv", True)
    assert words.method(said) in {*words.METHODS, words.OTHER}


def test_whatever_sites_answer_there_are_no_more_series(watching):
    chance = Random(1)
    watching.measure(opens(0), blocked(1, **LAPATILLA))
    before = len(scraped(watching))
    seen = set()
    for number in range(2, 400):
        failure = chance.choice([f"unknown_failure: {number}", f"made_up_{number}", "eof_error"])
        base = blocked(number, f"tls.{number}", "of.nobody", started=datetime.now(UTC))
        tls = tuple(msgspec.structs.replace(one, failure=failure) for one in base.tls)
        dns = tuple(msgspec.structs.replace(one, resolver=f"10.0.{number}.1") for one in base.dns)
        watching.measure(msgspec.structs.replace(base, tls=tls, dns=dns))
        seen.add(len(scraped(watching)) if number % 50 == 0 else before)
    found = scraped(watching)
    # Two failures that never were before, and the other resolvers' two.
    assert max(seen | {len(found)}) <= before + 4 + 2
    assert of(found, "site_blocked_methods", method="other", **ON) == 1
    assert of(found, "step_failures_total", vantage="cantv", step="tls", failure="other") > 100


# --- over HTTP -------------------------------------------------------------------------------------------------------


def asked(watching: Watching, ask: Callable[[httpx.AsyncClient], Any]) -> Any:
    async def work() -> Any:
        listening = opened("127.0.0.1:0")
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with (
            serving(app(watching), listening),  # type: ignore[arg-type]
            httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client,
        ):
            return await ask(client)

    return asyncio.run(work())


def test_prometheus_gets_what_it_asks_for(watching):
    everything(watching)
    newer = {"Accept": f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "Accept-Encoding": "gzip"}

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.get("/metrics", headers=newer),
            await client.get("/metrics", headers={"Accept-Encoding": ""}),
        ]

    first, second = asked(watching, ask)
    assert first.status_code == second.status_code == 200
    assert first.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert second.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (first.headers["content-encoding"], second.headers["content-encoding"]) == ("gzip", "identity")
    assert first.headers["vary"] == "Accept, Accept-Encoding"
    assert series(first.text).keys() == series(second.text).keys()


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("br", False),
        ("", False),
    ],
)
def test_it_is_compressed_for_who_can_read_that(watching, accepted, compressed):
    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, bytes]:
        async with client.stream("GET", "/metrics", headers={"Accept-Encoding": accepted}) as response:
            return response, b"".join([part async for part in response.aiter_raw()])

    response, raw = asked(watching, ask)
    assert response.headers["content-encoding"] == ("gzip" if compressed else "identity")
    assert b"# HELP almenara_site_status" in (gzip.decompress(raw) if compressed else raw)


class Broken:
    """A store in trouble; with a gate: one that does not answer until it opens."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.asked = gate, 0

    def latest(self) -> list[Latest]:
        return []

    def append(self, measurements: Sequence[Measurement], count: object) -> None:
        """They are not there."""

    def figures(self) -> Figures:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(20)
        raise StoreError("locked", "the store is held by another process")


def test_a_store_in_trouble_costs_what_only_it_knows(watching):
    watching.measure(opens(1))
    before = scraped(watching)
    troubled = Watching(Broken())
    troubled.measure(opens(1))
    response = asked(troubled, lambda client: client.get("/metrics"))
    found = series(response.text)
    assert (response.status_code, of(found, "store_up")) == (200, 0)
    assert {name.removeprefix(PREFIX) for name, _ in before.keys() - found.keys() if "_step_" not in name} == {
        "measurements_total", "resolver_queries_total", "events_total", "store_measurements", "store_size_bytes", "reloads_total",
        "alerts_total", "alerts_undelivered",
    }  # fmt: skip
    assert of(found, "site_status", status="ok", **ON) == 1
    assert counters(found) == {}


def test_a_store_that_refuses_measurements_is_down_and_still_counts(watching):
    watching.measure(opens(1))
    watching.told |= {"troubled": True, "unsaved": 7}
    found = scraped(watching)
    assert (of(found, "store_up"), of(found, "measurements_unsaved"), of(found, "store_measurements")) == (0, 7, 1)


def test_a_store_that_does_not_answer_is_not_waited_for_nor_asked_again():
    gate = threading.Event()
    broken = Broken(gate)

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers = [await client.get("/metrics") for _ in range(3)]
        gate.set()
        return answers

    for response in asked(Watching(broken, patience_s=0.05), ask):
        assert (response.status_code, of(series(response.text), "store_up")) == (200, 0)
    assert broken.asked == 1


class Counted(Watching):
    """A service that counts how often it is asked, and answers when the gate opens. fails: it does not, at first."""

    def __init__(self, store: Any, *, fails: bool = False) -> None:
        super().__init__(store)
        self.asked, self.at_once, self.fails = 0, [0], fails
        self.began, self.gate = asyncio.Event(), asyncio.Event()

    async def scrape(self) -> Scrape:
        self.asked += 1
        self.began.set()
        self.at_once.append(self.at_once[-1] + 1)
        await self.gate.wait()
        self.at_once.append(self.at_once[-1] - 1)
        if self.fails:
            self.fails = False
            raise StoreError("locked", "a mistake")
        return await super().scrape()


def test_all_who_ask_while_an_answer_is_made_or_a_second_later_are_given_the_same(store):
    watching = Counted(store)

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        asking = [asyncio.create_task(client.get("/metrics")) for _ in range(12)]
        await watching.began.wait()
        watching.gate.set()
        answers = [await one for one in asking]
        answers.append(await client.get("/metrics"))
        assert watching.asked == 1
        await asyncio.sleep(SHARED_S + 0.1)
        answers.append(await client.get("/metrics"))
        assert watching.asked == 2
        return answers

    assert {answer.status_code for answer in asked(watching, ask)} == {200}


def request(**headers: str) -> Request:
    """As Starlette has it."""
    named = {"host": "localhost"} | headers
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "GET", "path": "/metrics", "scheme": "http", "headers": raw})


def test_one_answer_is_made_at_a_time_in_each_form(store):
    watching = Counted(store)
    forms = [request(accept=accept, accept_encoding=coding) for accept in ("", OPENMETRICS) for coding in ("", "gzip")]

    async def ask() -> list[Response]:
        answer = metrics(watching)
        asking = [asyncio.create_task(answer(form)) for form in 3 * forms]
        await watching.began.wait()
        watching.gate.set()
        return [await one for one in asking]

    answers = asyncio.run(ask())
    assert (watching.asked, max(watching.at_once)) == (4, 1)
    told = {(one.headers["content-type"][:11], one.headers["content-encoding"]) for one in answers}
    assert told == {(kind, coding) for kind in ("text/plain;", "application") for coding in ("identity", "gzip")}


def test_who_asked_first_and_is_broken_off_takes_it_from_nobody(store):
    watching = Counted(store)

    async def ask() -> Response:
        answer = metrics(watching)
        first, second = (asyncio.create_task(answer(request())) for _ in range(2))
        await watching.began.wait()
        first.cancel()
        await asyncio.wait({first})
        watching.gate.set()
        return await second

    assert (asyncio.run(ask()).status_code, watching.asked) == (200, 1)


def test_a_mistake_is_not_shared_with_who_comes_later(store):
    watching = Counted(store, fails=True)
    watching.gate.set()

    async def ask(client: httpx.AsyncClient) -> list[int]:
        return [(await client.get("/metrics")).status_code for _ in range(2)]

    assert asked(watching, ask) == [500, 200]


NAMES = "web: {listen: 'probe1.example.org:9105', hosts: [Metrics.Example.org]}\n"


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "127.0.0.1:9105"}, 200), ({"Host": "localhost"}, 200), ({"Host": "[::1]:9105"}, 200),
        ({"Host": "192.0.2.7:9105"}, 200), ({"Host": "[2001:db8::7]"}, 200), ({"Host": "almenara:9105"}, 200),
        ({"Host": "probe.lan"}, 200), ({"Host": socket.gethostname()}, 200), ({"Host": "probe1.example.org:9105"}, 200),
        ({"Host": "METRICS.example.org"}, 200), ({"Host": "evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "metrics.example.org.evil.example:9105"}, 403), ({"Host": ""}, 403), ({"Host": "[::1"}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403), ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, 200),  # a link in Prometheus
    ],
)  # fmt: skip
def test_only_by_names_that_no_page_on_the_internet_can_have(store, path, headers, code):
    answer = asked(Watching(store, CONFIG + NAMES), lambda client: client.get(path, headers=headers))
    assert answer.status_code == code
    assert ("almenara" in answer.text or "sites" in answer.text) is (code == 200)


def test_it_is_not_taken_for_anything_else(watching):
    answer = asked(watching, lambda client: client.get("/metrics"))
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_names_that_differ_late_stay_two():
    first, second = (words.plain("https://helper.example/" + "x" * 200 + last) for last in "ab")
    assert first != second
    assert len(first) == len(second) == words.LONGEST
    assert words.site("a" * 60 + ".example") == "a" * 60 + ".example"
    assert len(words.site("a." * 126 + "example:65535")) <= words.LONGEST_HOST


def test_promtool_finds_nothing_to_say_against_it(watching):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    everything(watching)
    text = text_of(asyncio.run(watching.scrape()))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_a_vantage_met_that_is_gone_is_not_told(watching):
    watching.store.tally({Tally(Tallied.STEP_FAILURES, "gone", "tls", "eof_error"): 1})
    assert named(scraped(watching), "step_failures_total") == {}
