"""Where and why a measurement ended, and how long its steps took, told as what the censor does."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from test_verdict_properties import any_measurement, measurements
from verdict_cases import HTTP, SITE, TWIN, measured

from monitor.models import Conditions, Measurement, Purpose, Role
from monitor.outcome import STEPS, Outcome, operations, outcome, reason
from monitor.verdict import judge

BLOCKED = {
    "nxdomain": (measured().dns(isp="NXDOMAIN", doh=SITE), "dns", "dns_nxdomain_error"),
    "dns-timeout": (measured().dns(isp="timeout", times=3).dns(doh=SITE), "dns", "generic_timeout_error"),
    "bogon": (measured().dns(isp="10.10.34.34", doh=SITE), "dns", "dns_bogon_error"),
    "no-address": (measured().dns(isp="NO_ANSWER", doh=SITE), "dns", "dns_no_answer"),
    "tcp-timeout": (measured().dns(isp=SITE).cut("tcp.timeout"), "tcp", "generic_timeout_error"),
    "tls-reset": (measured().dns(isp=SITE).cut("tls.reset"), "tls", "connection_reset"),
    "tls-of-one": (measured().dns(isp=f"{SITE} {TWIN}").cut("tcp.timeout", TWIN).cut("tls.eof"), "tls", "eof_error"),
    "further-on-one": (measured().dns(isp=f"{SITE} {TWIN}").cut("tls.eof", TWIN).cut("http.eof"), "http", "eof_error"),
    "http-eof": (measured().dns(isp=SITE).cut("http.eof"), "http", "eof_error"),
    "forbidden": (measured().dns(isp=SITE).opens(status=403), "http", "http_status_4xx"),
    "broken": (measured().dns(isp=SITE).opens(status=503), "http", "http_status_5xx"),
    "at-the-second-hop": (
        measured(HTTP).dns(isp=SITE).redirects("https://m.elpitazo.example/").dns(isp=TWIN).cut("tls.reset", TWIN),
        "tls", "connection_reset",
    ),
    "second-name": (
        measured(HTTP).dns(isp=SITE).redirects("https://m.elpitazo.example/").dns(isp="NXDOMAIN"),
        "dns", "dns_nxdomain_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("case", "step", "failure"), BLOCKED.values(), ids=BLOCKED)
def test_what_does_not_open_says_where_and_why(case, step, failure):
    found = outcome(case.measurement())
    assert (found.step, found.failure) == (step, failure)
    assert list(found.durations) == list(STEPS[: STEPS.index(step) + 1])


def test_what_opens_has_no_reason_and_all_durations():
    found = outcome(measured().dns(isp=SITE).opens().measurement())
    assert found == Outcome(durations=dict.fromkeys(STEPS, 0.1), online=True)
    assert list(outcome(measured(HTTP).dns(isp=SITE).opens().measurement()).durations) == ["dns", "tcp", "http"]


def test_an_attempt_that_opens_counts_and_not_those_before_it():
    assert outcome(measured().dns(isp=SITE).cut("tls.reset", times=2).opens().measurement()).failure is None


def test_counterfactuals_say_nothing_of_the_site():
    case = measured().dns(isp=SITE).cut("tls.reset").opens(purpose=Purpose.INNOCENT_NAME)
    assert (outcome(case.measurement()).step, len(list(operations(case.measurement())))) == ("tls", 1 + 2 * 3)


def test_others_and_counterfactuals_say_nothing_of_the_own_path():
    case = measured().dns(isp="NXDOMAIN", doh=SITE, public=SITE).opens(purpose=Purpose.INNOCENT_NAME)
    genuine = measured().opens().measurement()
    by_others = {
        name: tuple(msgspec.structs.replace(seen, sources=("doh",)) for seen in getattr(genuine, name))
        for name in ("tcp", "tls", "http")
    }
    found = outcome(msgspec.structs.replace(case.measurement(), **by_others))
    assert (found.step, list(found.durations)) == ("dns", ["dns"])


@pytest.mark.parametrize(("who", "role"), [("public", Role.PUBLIC), ("doh", Role.DOH)])
def test_where_nobody_else_is_asked_the_others_are_the_own_path(who, role):
    bare = measured().dns(**{who: SITE}).cut("tls.reset").measurement()
    tls = tuple(msgspec.structs.replace(seen, sources=(role.value,)) for seen in bare.tls)
    assert outcome(msgspec.structs.replace(bare, tls=tls)).failure == "connection_reset"


def test_a_name_without_ipv6_has_not_failed():
    case = measured().dns(isp=SITE).dns(isp="NO_ANSWER", kind="AAAA").opens()
    assert [failure for _, _, failure in operations(case.measurement()) if failure] == []
    nowhere = measured().dns(isp="NO_ANSWER").dns(isp="NO_ANSWER", kind="AAAA")
    assert [failure for _, _, failure in operations(nowhere.measurement()) if failure] == ["dns_no_answer"]


@pytest.mark.parametrize(
    ("conditions", "online"),
    [
        (Conditions(), None), (Conditions(online4=True, online6=False), True), (Conditions(online6=True), True),
        (Conditions(online4=False, online6=False), False), (Conditions(online4=True, captive_portal=True), False),
    ],
)  # fmt: skip
def test_a_vantage_behind_a_sign_in_page_is_not_online(conditions, online):
    assert outcome(msgspec.structs.replace(measured().measurement(), conditions=conditions)).online is online


def test_a_page_that_is_not_the_sites_is_told_by_the_method():
    case = measured(HTTP).dns(isp=SITE).opens(text="Acceso restringido").control().dns(helper=SITE).opens()
    measurement = case.measurement()
    verdict = msgspec.structs.replace(judge(measurement), methods=("http.blockpage",), status="blocked")
    assert reason(outcome(measurement), verdict) == ("http", "blockpage")
    assert reason(outcome(measurement), msgspec.structs.replace(verdict, methods=("throttling.rate",))) == (
        "http",
        "rate",
    )
    assert reason(outcome(measurement), msgspec.structs.replace(verdict, methods=())) is None


@any_measurement
@given(measurements)
def test_any_measurement_has_an_outcome_of_known_steps(measurement: Measurement):
    found = outcome(measurement)
    assert list(found.durations) == [step for step in STEPS if step in found.durations]
    assert (found.step is None) == (found.failure is None)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Outcome) == found
    done = Counter(step for step, _, _ in operations(measurement))
    assert sum(done.values()) <= sum(len(getattr(measurement, step)) for step in STEPS)
