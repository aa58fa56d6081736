"""The lab's world: drawn from a seed, and complete."""

import random
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from monitor.lab.censors import TECHNIQUES
from monitor.lab.draw import draw
from monitor.lab.lines import LINES
from monitor.lab.pages import LANGUAGES, front_page
from monitor.lab.policy import LIES
from monitor.lab.scenario import Scenario
from monitor.lab.scenarios import BY_NAME, SCENARIOS, faults
from monitor.lab.world import World
from monitor.models import Status, Verdict

SEED = random.SystemRandom().randrange(10**6)
LABELS = {"dns", "tcp", "tls", "http", "throttling"}


@pytest.fixture(scope="module")
def world() -> World:
    return draw(SEED, SCENARIOS)


def test_a_seed_draws_one_world_and_another_seed_another(world: World) -> None:
    assert msgspec.json.encode(draw(SEED, SCENARIOS)) == msgspec.json.encode(world)
    other = set(draw(SEED + 1, SCENARIOS).sites)
    assert len(other & set(world.sites)) < len(other) / 10  # a few names may be drawn twice


def test_a_world_survives_the_way_to_its_processes(world: World) -> None:
    assert msgspec.json.decode(msgspec.json.encode(world), type=World) == world


def test_addresses_are_public_and_have_one_owner(world: World) -> None:
    hosts = [a for host in (world.control, *world.lines.values()) for a in host.addresses]
    assert len(hosts) == len(set(hosts))
    assert not set(hosts) & set(world.places)
    assert all(ip_address(a).is_global for a in (*hosts, *world.places)), SEED


def test_every_site_is_at_a_place(world: World) -> None:
    for site in world.sites.values():
        assert set(site.addresses) <= set(world.places)
        assert all(world.places[a].kind == "sites" for a in site.addresses)


def test_every_scenario_is_drawn_and_has_a_name_of_its_own(world: World) -> None:
    assert len(BY_NAME) == len(SCENARIOS)
    assert [case.scenario for case in world.cases] == [scenario.name for scenario in SCENARIOS]
    assert len({case.url for case in world.cases}) == len(world.cases)


def test_neighbours_share_an_address_and_a_line(world: World) -> None:
    cases = {case.scenario: case for case in world.cases}
    for scenario in SCENARIOS:
        if scenario.beside:
            here, there = cases[scenario.name], cases[scenario.beside]
            assert here.line == there.line
            assert world.site_of(here.url).addresses == world.site_of(there.url).addresses


def test_every_technique_and_every_line_has_a_scenario() -> None:
    used = {rule.technique for scenario in SCENARIOS for rule in scenario.rules}
    used |= {trouble.technique for line in LINES.values() for trouble in line.troubles}
    assert used == TECHNIQUES.keys() | LIES.keys()
    assert {scenario.line for scenario in SCENARIOS} - {""} == set(LINES) - {"cantv", "movilnet"}


def test_expectations_make_sense() -> None:
    for scenario in SCENARIOS:
        assert scenario.statuses
        assert {method.partition(".")[0] for method in scenario.methods | scenario.may} <= LABELS
        assert not scenario.methods & scenario.may
        assert bool(scenario.methods) == (scenario.statuses == {Status.BLOCKED}), scenario.name


def test_a_lie_alone_is_never_a_tls_method() -> None:
    for scenario in SCENARIOS:
        if all(rule.technique.startswith("dns-") for rule in scenario.rules):
            assert not any(method.startswith("tls.") for method in scenario.methods | scenario.may)


@pytest.mark.parametrize(
    ("status", "methods", "expected"),
    [
        ("blocked", ("dns.hijack",), []),
        ("blocked", ("dns.hijack", "http.blockpage"), []),
        ("blocked", (), ["dns.hijack not named"]),
        ("blocked", ("dns.hijack", "tls.reset"), ["tls.reset named without cause"]),
        ("ok", ("dns.hijack",), ["status ok, expected blocked"]),
    ],
)
def test_faults_are_told(status: str, methods: tuple[str, ...], expected: list[str]) -> None:
    scenario = Scenario(
        name="x",
        does="",
        statuses=frozenset({Status.BLOCKED}),
        methods=frozenset({"dns.hijack"}),
        may=frozenset({"http.blockpage"}),
    )
    verdict = Verdict(
        status=Status(status), methods=methods, confidence=None, confirmed=False, rule="", rules_version=1
    )
    assert faults(scenario, verdict) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_have_the_size_that_was_drawn(language: str) -> None:
    before, stories, after = front_page("seed", language, 50_000)
    assert 50_000 <= len((before + "".join(stories) + after).encode()) < 55_000
    assert f'lang="{language}"' in before


def test_the_guide_knows_every_technique_and_line() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "lab.md").read_text()
    assert [name for name in (*TECHNIQUES, *LIES, *LINES) if f"`{name}`" not in guide] == []
