"""A line that is slow, full or lossy makes every timeout there is: none may accuse. A censor on a good line is still named."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from verdict_cases import HTTP, SITE, STARTED, TWIN, Case, measured

from monitor import failures as f
from monitor.models import Purpose

PAGE = 40_000  # bytes, as the control had it
OPENS: tuple[str | None, str | None] = (None, None)
FIVE_OPEN = (OPENS,) * 5
LATE = {"status": 200, "last_byte_s": 9.9}


def over(line: Callable[[Case], Case], how: str, **cut: object) -> Case:
    """A site is cut so on a line in that state; the control has the page at once, every time."""
    case = measured(HTTP if how.endswith("on http") else "https://elpitazo.example/").neutrals(*FIVE_OPEN)
    case = line(case.dns(isp=SITE, doh=SITE)).cut(how.split()[0], times=5, **cut)
    return case.control().dns(helper=SITE).opens(times=3, bytes_received=PAGE)


# What a censor does -> the method that is named on a good line.
CENSORS: dict[str, tuple[str, dict[str, object]]] = {
    "tcp.timeout": ("tcp.timeout", {}),
    "tls.timeout": ("tls.timeout", {}),
    "http.timeout": ("http.timeout", {}),
    "http.timeout on http": ("http.timeout", {}),
    "throttling.rate": ("http.timeout", LATE | {"bytes_received": 9_000}),
    "throttling.rate in the handshake": ("tls.timeout", {"bytes_received": 3_000}),
    "throttling.stall": ("http.timeout", {"status": 200, "bytes_received": 16_000, "last_byte_s": 0.5}),
}

GOOD: dict[str, Callable[[Case], Case]] = {
    "every neutral site opens": lambda case: case,
    "one neutral site of five is gone": lambda case: case.neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "tcp")),
    "IPv6 does not work, here or anywhere on this line": lambda case: case.conditions(online6=False),
    "a neutral site opens beside the site": lambda case: case.beside(),
    "a neutral site is silent beside it on a port that is not the web's":
        lambda case: case.cut("http.timeout", TWIN, 1, Purpose.NEUTRAL, port=8443),
    "one neutral site is cut off for a while by the name that was tried there":
        lambda case: case.neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "tcp")).beside("tcp.timeout").beside("tcp.timeout"),
    "checked half a minute later": lambda case: case.conditions(checked=STARTED + timedelta(seconds=30)),
}  # fmt: skip

BAD: dict[str, Callable[[Case], Case]] = {
    "one neutral site's page did not come in time": lambda case: case.neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "http")),
    "one neutral site's handshake did not": lambda case: case.neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "tls")),
    "one neutral site's name was not told": lambda case: case.neutrals(*FIVE_OPEN[1:], ("dns_no_answer", "dns")),
    "two neutral sites never connect": lambda case: case.neutrals(*FIVE_OPEN[2:], *[(f.TIMEOUT, "tcp")] * 2),
    "one neutral site of two never connects": lambda case: case.neutrals(OPENS, (f.TIMEOUT, "tcp")),
    "a neutral site is silent beside the site": lambda case: case.beside("http.timeout"),
    "two neutral sites cannot be connected to beside the site":
        lambda case: case.beside("tcp.timeout").cut("tcp.timeout", TWIN, 1, Purpose.NEUTRAL),
    "a neutral site cannot be connected to beside the site, and only one could be when the vantage was checked":
        lambda case: case.neutrals(OPENS).beside("tcp.timeout"),
    "a connection to somebody takes six seconds":
        lambda case: case.cut("tcp.timeout", TWIN, 1, Purpose.INNOCENT_NAME, failure=None, duration=6.0),
    "checked two minutes ago": lambda case: case.conditions(checked=STARTED - timedelta(minutes=2)),
}  # fmt: skip


@pytest.mark.parametrize("line", GOOD)
@pytest.mark.parametrize("what", CENSORS)
def test_a_censor_is_named_where_everything_else_is_well(what: str, line: str) -> None:
    how, cut = CENSORS[what]
    verdict = over(GOOD[line], f"{how} on http" if "on http" in what else how, **cut).verdict
    assert (verdict.status, verdict.methods) == ("blocked", (what.split()[0],))


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("what", CENSORS)
def test_a_timeout_accuses_nobody_on_a_line_not_proven_healthy(what: str, line: str) -> None:
    how, cut = CENSORS[what]
    verdict = over(BAD[line], f"{how} on http" if "on http" in what else how, **cut).verdict
    assert (verdict.status, verdict.rule, verdict.methods) == ("inconclusive", "line_overloaded", ())


def late(case: Case, *came: int) -> Case:
    """Attempts that got so far, and the page as long as it is."""
    for count in came:
        case.cut("http.timeout", times=1, bytes_received=count, **(LATE if count > 2_000 else {}))
    return case.control().dns(helper=SITE).opens(times=3, bytes_received=118_682)


def honest() -> Case:
    return measured().neutrals(*FIVE_OPEN).dns(isp=SITE, doh=SITE)


UNLIKE: dict[str, Case] = {
    # As it was seen on a line of 100 kbit/s that four sites shared: blocked (http.timeout), 99 % sure.
    "two attempts too short to be a response, two that had half of the page":
        late(honest().neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "http")).conditions(speed=12_344.0), 2_031, 583, 45_471, 52_711),
    "the same, and every neutral site opened":
        late(honest(), 2_031, 583, 45_471, 52_711),
    "three attempts that came further and further, at a tenth of the line's speed":
        late(honest(), 3_438, 13_574, 542, 10_678, 10_678),
    "silent each time, once before the request":
        late(honest().cut("tls.timeout", times=1), 542, 542, 542, 542),
    "silent each time, and so is a neutral site's address to this name, before the request":
        late(honest().cut("tls.timeout", TWIN, 1, Purpose.NAME_ELSEWHERE), 542, 542, 542, 542),
    "a handshake that is met by silence, where one attempt did not even connect":
        late(honest().cut("tcp.timeout", times=1).cut("tls.timeout", times=4)),
    "silent each time, on a line too narrow for most pages":
        late(honest().conditions(speed=6_000.0), 0, 0, 0, 0, 0),
    "slow, on a line too narrow for the page":
        late(honest().conditions(speed=11_000.0), 9_000, 9_100, 6_000),
    "slow, and no control tells how long the page is, on a line too narrow for most":
        honest().conditions(speed=6_000.0).cut("http.timeout", bytes_received=2_500, **LATE).control(http=()).dns(helper=SITE)
        .opens(),
}  # fmt: skip


@pytest.mark.parametrize("what", UNLIKE)
def test_attempts_that_did_not_go_alike_or_a_page_too_long_accuse_nobody(what: str) -> None:
    verdict = UNLIKE[what].verdict
    assert verdict.status == "inconclusive"
    assert verdict.rule in ("line_overloaded", "undecided")


def test_a_neutral_site_that_takes_six_seconds_to_shake_hands_is_news_of_the_line() -> None:
    for duration, rule in ((6.0, "line_overloaded"), (2.0, "blocked_tls")):
        case = honest().beside("tls.wrong_name", duration=duration).cut("tls.timeout", times=5)
        assert case.control().dns(helper=SITE).opens(times=3).verdict.rule == rule


def test_a_silence_that_nobody_tried_to_break_is_weak() -> None:
    for how in ("tls.timeout", "http.timeout"):
        case = honest().cut(how, times=2).control().dns(helper=SITE).opens(times=3)
        assert (case.verdict.status, case.verdict.rule) == ("inconclusive", "weak_evidence")


def test_a_stop_at_the_same_byte_each_time_needs_no_wide_line() -> None:
    verdict = late(honest().conditions(speed=21_000.0), 16_133, 15_063, 16_133).verdict
    assert verdict.rule != "line_overloaded"
    stopped = {"status": 200, "bytes_received": 8_192, "last_byte_s": 0.5}
    case = honest().conditions(speed=9_000.0).cut("http.timeout", **stopped)
    verdict = case.control().dns(helper=SITE).opens(times=3, bytes_received=118_682).verdict
    assert (verdict.status, verdict.methods) == ("blocked", ("throttling.stall",))


def test_silence_accuses_where_no_neutral_page_was_long_enough_to_tell_the_speed() -> None:
    case = honest().conditions(speed=None).cut("http.timeout", times=5)
    assert case.control().dns(helper=SITE).opens(times=3).verdict.methods == ("http.timeout",)


def test_what_the_line_may_have_done_is_not_named_beside_what_the_network_did() -> None:
    """The resolver lies; the silence of the genuine address, on a line like this, says nothing."""
    case = measured().dns(isp="127.0.0.1", doh=SITE).neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "http"))
    case = case.cut("tcp.timeout", times=5).control().dns(helper=SITE).opens(times=3)
    assert (case.verdict.status, case.verdict.methods) == ("blocked", ("dns.bogon",))


def test_a_reset_is_nobodys_line() -> None:
    case = honest().neutrals(*FIVE_OPEN[1:], (f.TIMEOUT, "http")).cut("tls.reset", times=5)
    assert case.control().dns(helper=SITE).opens(times=3).verdict.methods == ("tls.reset",)
