"""What must hold for any measurement, also one that no probe would write.

Invariant tested: whatever the observations say, there is one verdict; and without a control nobody is accused.

What counts as a control: a helper or a named vantage, for every layer; DoH, for names; the vantage itself, by a valid
certificate, but only of what DoH or a control said of the name; a vetted fingerprint of a block page.
"""

import base64
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from test_verdict_rules import CASES
from verdict_cases import HTTP, HTTPS, NEUTRAL, RESOLVERS, SITE, SITE6, TWIN, measured

from monitor import explain
from monitor import failures as f
from monitor.models import (
    Conditions,
    Control,
    Dns,
    Http,
    LateAnswer,
    Measurement,
    Neighbour,
    Network,
    NeutralCheck,
    Purpose,
    ResolverCheck,
    Role,
    Status,
    Tcp,
    Tls,
    to_json,
)
from monitor.verdict import RULES, judge
from monitor.verdict.facts import Facts
from monitor.verdict.likelihood import FLOOR

any_measurement = settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])

BY_ID = {rule.id: rule for rule in RULES}
HOSTS = ("elpitazo.example", "www.elpitazo.example", SITE)
URLS = (
    HTTPS,
    HTTP,
    "https://www.elpitazo.example/",
    f"https://{SITE}/",
    "",
    "ftp://elpitazo.example:99999/",
)
ADDRESSES = (SITE, TWIN, "186.167.3.3", SITE6, "127.0.0.1", "10.1.2.3", NEUTRAL[0], "not an address")
FAILURES = (
    None, None, None, f.TIMEOUT, f.RESET, f.REFUSED, f.EOF, f.UNKNOWN_AUTHORITY, f.INVALID_HOSTNAME, f.INVALID_CERTIFICATE,
    f.FAILED_HANDSHAKE, f.HTTP_PROTOCOL, "connection_aborted", "host_unreachable", "unknown_failure: x", "",
)  # fmt: skip
DNS_FAILURES = (
    None,
    None,
    f.TIMEOUT,
    f.NXDOMAIN,
    f.NO_ANSWER,
    f.SERVFAIL,
    f.DNS_REFUSED,
    f.DNS_MISBEHAVING,
    f.REFUSED,
    "",
)
LOCATIONS = (
    None,
    "",
    "/",
    "/portada",
    "https://www.elpitazo.example/",
    "http://186.167.3.3/aviso",
    "http://warning.rt.ru",
)

short = st.integers(0, 3)
seconds = st.floats(0, 20, allow_nan=False)
addresses = st.lists(st.sampled_from(ADDRESSES), max_size=3).map(tuple)
purposes = st.sampled_from([Purpose.SITE] * 6 + list(Purpose))
observation: dict[str, Any] = {
    "hop": st.integers(0, 2),
    "attempt": st.integers(1, 3),
    "started": seconds,
    "duration": seconds,
}
flow = observation | {
    "failure": st.sampled_from(FAILURES),
    "purpose": purposes,
    "address": st.sampled_from(ADDRESSES),
    "port": st.sampled_from([80, 443]),
    "sources": st.lists(st.sampled_from(["isp", "lan", "public", "doh", "control", "literal"]), max_size=2).map(tuple),
}
late = st.builds(LateAnswer, delay=seconds, rcode=st.none(), answers=addresses)
dns = st.builds(
    Dns, **observation, failure=st.sampled_from(DNS_FAILURES), purpose=purposes, name=st.sampled_from(HOSTS),
    type=st.sampled_from(["A", "AAAA"]), resolver=st.sampled_from([address for address, _ in RESOLVERS.values()]),
    role=st.sampled_from(list(Role)), transport=st.just("udp"), rcode=st.sampled_from([None, "NOERROR", "NXDOMAIN"]),
    answers=addresses, errors=st.lists(st.sampled_from([6, 16, 22]), max_size=1).map(tuple),
    late=st.lists(late, max_size=1).map(tuple),
)  # fmt: skip
tcp = st.builds(Tcp, **flow)
tls = st.builds(Tls, **flow, server_name=st.sampled_from(HOSTS), bytes_received=st.sampled_from([0, 1400]))
http = st.builds(
    Http, **flow, url=st.sampled_from(URLS), verified=st.booleans(), location=st.sampled_from(LOCATIONS),
    status=st.sampled_from([None, 200, 200, 204, 301, 302, 403, 451, 503]), body_length=st.sampled_from([0, 900, 1000, 9000]),
    headers=st.sampled_from([(), (("Server", "x"),), (("X-Pitazo", "1"), ("Server", "x"))]), truncated=st.booleans(),
    title=st.sampled_from([None, "El Pitazo", "Just a moment", "Acceso restringido"]), complete=st.booleans(),
    sha256=st.sampled_from([None, "aa", "bb"]), simhash=st.sampled_from([None, "", "0" * 16, "f" * 16, "00ff" * 4]),
    bytes_received=st.sampled_from([0, 900, 9000]), last_byte_s=st.none() | seconds,
    body=st.sampled_from([None, "", "eJwDAAAAAAE=", "é"]),
)  # fmt: skip


def several(kind: st.SearchStrategy[Any], most: int = 5) -> st.SearchStrategy[tuple[Any, ...]]:
    """A few of a kind."""
    return st.lists(kind, max_size=most).map(tuple)


hops = st.lists(st.sampled_from(URLS), max_size=3).map(tuple)
seen: dict[str, Any] = {
    "hops": hops,
    "dns": several(dns, 8),
    "tcp": several(tcp),
    "tls": several(tls),
    "http": several(http),
}
controls = several(
    st.builds(
        Control, **seen, kind=st.just("helper"), id=st.sampled_from("ab"), failure=st.sampled_from([None, None, f.TIMEOUT])
    ), 2,
)  # fmt: skip
maybe = st.sampled_from([None, True, False])
conditions = st.builds(
    Conditions, checked=st.sampled_from([None, datetime(2018, 1, 15, tzinfo=UTC)]), online4=maybe, online6=maybe,
    captive_portal=maybe, intercepted=maybe, clock_offset=st.sampled_from([None, 0.0, -6e7]),
    speed=st.sampled_from([None, 100.0, 1e6]),
    neutral=several(st.builds(
        NeutralCheck, url=st.just("https://www.google.com/"), family=st.sampled_from([4, 6]),
        failure=st.sampled_from(FAILURES), layer=st.none(),
    ), 2),
    resolvers=several(st.builds(
        ResolverCheck, resolver=st.sampled_from([address for address, _ in RESOLVERS.values()]), role=st.just(Role.ISP),
        control_names=short, control_names_answered=short, nonexistent=st.sampled_from([None, f.NXDOMAIN, f.TIMEOUT, "NOERROR"]),
    ), 2),
    neighbours=several(st.builds(Neighbour, site=st.just("x.example"), address=st.just(SITE), seconds_ago=seconds), 1),
)  # fmt: skip
invented = st.builds(
    Measurement, **seen, id=st.just("1"), url=st.sampled_from(URLS), site=st.just("elpitazo.example"), vantage=st.just("cantv"),
    probe=st.just("7f3a"), network=st.just(Network()), started=st.just(datetime(2018, 1, 15, tzinfo=UTC)), runtime=seconds,
    verdict=st.none(), conditions=conditions, controls=controls,
)  # fmt: skip
change = msgspec.structs.replace
TOLD = [case.measurement() for case, *_ in CASES.values()]


@st.composite
def mixed(draw: st.DrawFn) -> Measurement:
    """Two told cases thrown together, some of their observations lost: nearer to what probes write."""
    one, other = draw(st.sampled_from(TOLD)), draw(st.sampled_from(TOLD))
    layers = {
        layer: tuple(o for o in (*getattr(one, layer), *getattr(other, layer)) if draw(st.integers(0, 3)))
        for layer in ("dns", "tcp", "tls", "http")
    }
    return change(
        one, **layers, controls=draw(st.sampled_from([one.controls, other.controls, one.controls + other.controls]))
    )


measurements = mixed() | invented


@any_measurement
@given(measurements)
def test_any_measurement_gets_one_well_formed_verdict(measurement: Measurement) -> None:
    verdict = judge(measurement)
    assert BY_ID[verdict.rule].status is verdict.status
    assert set(verdict.methods) <= explain.METHOD_WORDS.keys()
    assert len(set(verdict.methods)) == len(verdict.methods)
    assert verdict.reasons[0] == {"id": verdict.rule}
    assert all(explain.explain(reason) != explain.UNKNOWN_REASON for reason in verdict.reasons)


@any_measurement
@given(measurements)
def test_only_who_knows_nothing_has_no_confidence(measurement: Measurement) -> None:
    verdict = judge(measurement)
    if verdict.status is Status.INCONCLUSIVE:
        assert verdict.confidence is None
        assert not verdict.methods
    else:
        assert verdict.confidence is not None
        assert 0 < verdict.confidence < 1


@any_measurement
@given(measurements)
def test_blocked_names_first_what_decided_and_is_sure_enough(measurement: Measurement) -> None:
    verdict = judge(measurement)
    if verdict.status is Status.BLOCKED:
        assert verdict.rule == f"blocked_{verdict.methods[0].split('.')[0]}"
        assert verdict.confidence is not None
        assert verdict.confidence >= FLOOR
    assert verdict.status is Status.BLOCKED or not verdict.confirmed


@any_measurement
@given(measurements)
def test_without_a_control_nobody_is_accused(measurement: Measurement) -> None:
    alone = change(
        measurement,
        controls=(),
        dns=tuple(a for a in measurement.dns if a.role is not Role.DOH),
        **{layer: only_site(getattr(measurement, layer)) for layer in ("tcp", "tls", "http")},
    )
    assert judge(alone, fingerprints=()).status in (Status.OK, Status.INCONCLUSIVE)


@any_measurement
@given(measurements, st.sampled_from([f.TIMEOUT, "service_unavailable", "unknown_failure: x"]))
def test_a_control_that_failed_is_no_control(measurement: Measurement, failure: str) -> None:
    failed = change(measurement, controls=tuple(change(c, failure=failure) for c in measurement.controls))
    assert same(judge(failed), judge(change(measurement, controls=())))


def only_site(observed: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(o for o in observed if o.purpose is Purpose.SITE)


@any_measurement
@given(measurements)
def test_a_page_over_a_valid_certificate_on_the_own_path_is_neither_blocked_nor_down(measurement: Measurement) -> None:
    told = answer("200.44.32.12", Role.ISP, SITE)
    rest = (p for p in measurement.http if not (p.hop == 0 and p.verified))
    stayed = change(measurement.conditions, network_changed=None)  # or it is of neither network
    opened = change(measurement, url=HTTPS, hops=(), dns=(told, *measurement.dns), http=(page(verified=True), *rest))
    assert judge(change(opened, conditions=stayed)).status is Status.OK


@any_measurement
@given(measurements)
def test_judging_is_repeatable_and_survives_storing(measurement: Measurement) -> None:
    verdict = judge(measurement)
    assert judge(measurement) == verdict
    assert judge(msgspec.json.decode(to_json(measurement), type=Measurement)) == verdict


@any_measurement
@given(measurements, st.data())
def test_the_order_of_observations_does_not_matter(measurement: Measurement, data: st.DataObject) -> None:
    """Beyond the order of the resolvers, which is the order the system would ask them in."""
    assume(not tied(measurement))
    shuffled = {
        layer: tuple(data.draw(st.permutations(getattr(measurement, layer)))) for layer in ("tcp", "tls", "http")
    }
    order = list(dict.fromkeys(a.resolver for a in measurement.dns))
    answers = sorted(data.draw(st.permutations(measurement.dns)), key=lambda a: order.index(a.resolver))
    assert same(judge(change(measurement, **shuffled, dns=tuple(answers))), judge(measurement))


def tied(measurement: Measurement) -> bool:
    """Do pages or failures of one kind differ, so that the first of equals decides?"""
    kinds: dict[object, set[object]] = {}
    for page_ in measurement.http:
        kinds.setdefault(("page", page_.hop, page_.verified), set()).add((page_.failure, page_.status))
    for answer_ in measurement.dns:
        kinds.setdefault((answer_.resolver, answer_.name, answer_.type), set()).add(answer_.failure)
    for seen_ in (*measurement.tcp, *measurement.tls):
        if seen_.failure is not None:
            kinds.setdefault((type(seen_), seen_.hop, seen_.purpose), set()).add(seen_.failure)
    return any(len(different) > 1 for different in kinds.values())


def same(a: Any, b: Any) -> bool:
    """The same but for the examples that the reasons give."""
    return bool(change(a, reasons=()) == change(b, reasons=()))


UNFIT = [
    {"online4": False, "online6": False},
    {"online4": False, "online6": None},
    {"captive_portal": True},
    {"intercepted": True},
    {"clock_offset": 6e7},
]


@pytest.mark.parametrize("state", UNFIT, ids=lambda state: " ".join(state))
@any_measurement
@given(measurement=measurements)
def test_an_unfit_vantage_accuses_nobody(state: dict[str, Any], measurement: Measurement) -> None:
    unfit = change(measurement, conditions=change(measurement.conditions, **state))
    assert judge(unfit).status in (Status.OK, Status.INCONCLUSIVE)


@any_measurement
@given(measurements)
def test_the_homes_own_resolver_incriminates_nobody(measurement: Measurement) -> None:
    """Where no public resolver is asked beside it, and nothing forged is seen on the path."""
    home = tuple(
        change(a, role=Role.LAN, late=()) if a.role is not Role.DOH else a
        for a in measurement.dns
        if a.purpose is not Purpose.NAME_ELSEWHERE
    )
    assert not [m for m in judge(change(measurement, dns=home)).methods if m.startswith("dns.")]


@any_measurement
@given(measurements)
def test_a_public_resolver_of_the_machine_incriminates_nobody(measurement: Measurement) -> None:
    chosen = tuple(
        change(a, role=Role.PUBLIC, late=()) if a.role is not Role.DOH else a
        for a in measurement.dns
        if a.purpose is not Purpose.NAME_ELSEWHERE
    )
    assert not [m for m in judge(change(measurement, dns=chosen)).methods if m.startswith("dns.")]


def answer(resolver: str, role: Role, address: str) -> Dns:
    return Dns(
        hop=0, attempt=1, started=0, duration=0, failure=None, name="elpitazo.example", type="A", resolver=resolver,
        role=role, transport="udp", rcode="NOERROR", answers=(address,),
    )  # fmt: skip


def page(**more: Any) -> Http:
    return Http(
        hop=0, attempt=1, started=0, duration=0, failure=None, address=SITE, port=443, sources=("isp",), url=HTTPS,
        status=200, body_length=9000, complete=True, **more,
    )  # fmt: skip


# --- hostile values that random draws seldom meet ------------------------------------------------------------------


def hostile(**seen: Any) -> Measurement:
    """A measurement with what a peer, a control, or somebody's file put in."""
    return Measurement(
        id="1", url=HTTP, site="elpitazo.example", vantage="v", probe="p", network=Network(), runtime=0.0, verdict=None,
        started=datetime(2018, 1, 15, tzinfo=UTC), conditions=Conditions(),
        **({"dns": (answer("200.44.32.12", Role.ISP, SITE),)} | seen),
    )  # fmt: skip


def plain(**more: Any) -> Http:
    return change(page(), **({"url": HTTP, "port": 80} | more))


def control(**seen: Any) -> tuple[Control, ...]:
    return (Control(kind="helper", id="h", failure=None, **seen),)


NO_HEX = {"simhash": "zz", "title": None}
HOSTILE: dict[str, Callable[[], Measurement]] = {
    "a fingerprint that is not hexadecimal": lambda: hostile(
        http=(plain(sha256="a", **NO_HEX),), controls=control(http=(plain(sha256="b", **(NO_HEX | {"body_length": 10})),))
    ),
    "a redirect to what is no URL": lambda: hostile(http=(plain(location="http://[", status=302), plain(hop=1))),
    "a hop that is no URL": lambda: hostile(hops=("http://[", "http://a:b/", "", "http://\0/", "http://\u2100/")),
    "a control's page without a URL": lambda: hostile(
        http=(plain(failure=f.HTTP_PROTOCOL),), tcp=(connected(),), controls=control(http=(plain(url="http://["),))
    ),
    "a negative hop": lambda: hostile(http=(plain(hop=-1),)),
    "a hop that never was": lambda: hostile(http=(plain(hop=10**5),)),
    "an address that is none": lambda: hostile(dns=(answer("200.44.32.12", Role.ISP, "fe80::1%\0"),)),
    "a page that unpacks to a gigabyte": lambda: hostile(
        http=(plain(body=base64.b64encode(zlib.compress(b"\0" * 10**8)).decode()),)
    ),
    "a page that does not unpack": lambda: hostile(http=(plain(body="AAAA"), plain(body="=", attempt=0))),
    "a clock without a time": lambda: change(hostile(), conditions=Conditions(clock_offset=float("nan"))),
    "thousands of observations": lambda: hostile(
        dns=(answer("200.44.32.12", Role.ISP, SITE),) * 2000, tcp=(connected(),) * 2000, http=(plain(failure=f.RESET),) * 2000,
        controls=control(tcp=(connected(),) * 2000, http=(plain(), plain(failure=f.RESET)) * 1000),
    ),
}  # fmt: skip


def connected(**more: Any) -> Tcp:
    return Tcp(
        **({"hop": 0, "attempt": 1, "started": 0, "duration": 0, "failure": None} | more), address=SITE, port=80, sources=()
    )  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_values_are_judged_too(what: str) -> None:
    measurement = HOSTILE[what]()
    if what == "a hop that never was":
        assert len(Facts(measurement).places) < 100
    assert judge(measurement).rule in BY_ID


def test_of_two_addresses_the_one_that_answers_with_a_page_counts() -> None:
    """A valid page in at least one attempt is ok, whichever address was faster."""
    both = measured().dns(isp=f"{SITE} {TWIN}", doh=SITE).opens(status=302, location=HTTPS, text="").opens(TWIN)
    assert judge(both.measurement()).status is Status.OK
