"""What became of a measurement on the vantage's own path: how long each step took, and where and why it ended.

The own path is what a browser on that line would take: the assigned resolvers, and the addresses that they give.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct

from monitor.addresses import is_public
from monitor.failures import BOGON, NO_ANSWER
from monitor.models import Conditions, Dns, Flow, Http, Measurement, Observation, Purpose, Status, Verdict

STEPS = ("dns", "tcp", "tls", "http")
# Whose answers count, the first of which there are any: the assigned resolvers; else public ones, where those are what
# the machine is configured with; else encrypted ones, which are all that there is behind a proxy.
_RESOLVERS = (frozenset({"isp", "lan"}), frozenset({"public"}), frozenset({"doh"}))
_LITERAL = "literal"


class Outcome(Struct, frozen=True, kw_only=True):
    """durations: step -> seconds, of the attempt that got furthest. step, failure: where and why it ended; None: a page
    came. online: what the vantage's own checks say; None: not checked.
    """

    durations: dict[str, float] = {}
    step: str | None = None
    failure: str | None = None
    online: bool | None = None


def outcome(measurement: Measurement) -> Outcome:
    """Of the last hop that the vantage went to."""
    online = _online(measurement.conditions)
    taken = _at_last_hop(measurement, list(operations(measurement)))
    if not taken:
        return Outcome(online=online)
    durations = {step: max(0.0, round(seen.duration, 6)) for step, seen, _ in taken}
    step, last, failure = taken[-1]
    failure = failure or _refusal(last)
    return Outcome(durations=durations, step=step if failure else None, failure=failure, online=online)


def operations(measurement: Measurement) -> Iterator[tuple[str, Observation, str | None]]:
    """Every operation of the own path, on all hops and in all attempts: its step, and what failed in it.

    A name without an IPv6 address is no failure, as long as it has another one.
    """
    own = _own_roles(measurement)
    questions = [seen for seen in measurement.dns if seen.purpose is Purpose.SITE and seen.role.value in own]
    answered = {(seen.resolver, seen.name) for seen in questions if seen.answers}
    for question in questions:
        yield "dns", question, dns_failure(question, answered)
    for step, flows in (("tcp", measurement.tcp), ("tls", measurement.tls), ("http", measurement.http)):
        for seen in flows:
            if seen.purpose is Purpose.SITE and not own.isdisjoint(seen.sources):
                yield step, seen, seen.failure


def dns_failure(question: Dns, answered: set[tuple[str, str]]) -> str | None:
    """What failed in a question. answered: the resolvers that gave an address, and for which name."""
    if question.failure == NO_ANSWER and (question.type != "A" or (question.resolver, question.name) in answered):
        return None
    return question.failure


def _own_roles(measurement: Measurement) -> frozenset[str]:
    asked = {seen.role.value for seen in measurement.dns if seen.purpose is Purpose.SITE}
    own = next((roles for roles in _RESOLVERS if roles & asked), _RESOLVERS[0])
    return own | {_LITERAL}


_Taken = tuple[str, Observation, str | None]


def _at_last_hop(measurement: Measurement, done: list[_Taken]) -> list[_Taken]:
    """The steps of the attempt that got furthest, in their order."""
    hop = max((seen.hop for _, seen, _ in done), default=0)
    resolved = _resolved(measurement, hop, [one for one in done if one[0] == "dns"])
    flows = [one for one in done if one[0] != "dns" and one[1].hop == hop]
    if not flows or any(failure for _, _, failure in resolved):
        return resolved
    best = max(flows, key=_how_far)[1]
    assert isinstance(best, Flow)
    return resolved + [one for one in flows if isinstance(one[1], Flow) and _attempt(one[1]) == _attempt(best)]


def _resolved(measurement: Measurement, hop: int, questions: list[_Taken]) -> list[_Taken]:
    """The answer that the hop's host was found by; where there is none, the first question and what it failed by."""
    host = _host(measurement, hop)
    named = [one for one in questions if isinstance(one[1], Dns) and one[1].name == host]
    good = [one for one in named if isinstance(one[1], Dns) and any(map(is_public, one[1].answers))]
    if good:
        return [good[0]]
    failed = [one for one in named if one[2]]
    if failed:
        return [failed[0]]
    return [(step, seen, BOGON if isinstance(seen, Dns) and seen.answers else None) for step, seen, _ in named[:1]]


def _host(measurement: Measurement, hop: int) -> str | None:
    url = measurement.hops[hop] if hop < len(measurement.hops) else measurement.url
    try:
        return (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return None


def _refusal(last: Observation) -> str | None:
    """A page that says that it is none, by the hundred: status codes are the peer's to choose."""
    status = last.status if isinstance(last, Http) else None
    return f"http_status_{status // 100}xx" if status in range(400, 600) and status else None


def _how_far(one: _Taken) -> tuple[int, bool, bool]:
    """The step; whether it went well, and with a page."""
    step, seen, failure = one
    return STEPS.index(step), failure is None, isinstance(seen, Http) and (seen.status or 999) < 400


def _attempt(flow: Flow) -> tuple[int, str, int]:
    return flow.attempt, flow.address, flow.port


def _online(conditions: Conditions) -> bool | None:
    """Not behind a captive portal either."""
    if conditions.captive_portal:
        return False
    told = {conditions.online4, conditions.online6} - {None}
    return any(told) if told else None


def reason(ended: Outcome, verdict: Verdict) -> tuple[str, str] | None:
    """Step and failure for which a site does not open; None: it opens, or nothing failed.

    A page that is not the site's comes without a failure: the method of the verdict says what is wrong with it.
    """
    if verdict.status is Status.OK:
        return None
    if ended.step is not None and ended.failure is not None:
        return ended.step, ended.failure
    if not verdict.methods:
        return None
    layer, _, technique = verdict.methods[0].partition(".")
    return (layer if layer in STEPS else STEPS[-1]), technique
