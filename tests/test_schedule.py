"""When each site is measured: simulated days of a schedule, with a clock and chance of the test's own."""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.budget import BURST_SHARE, Budget, Pace, Spent, amount, pace_text
from monitor.config import ScheduleConfig, SiteConfig
from monitor.models import Status
from monitor.schedule import CATCH_UP_S, CLOSER_FOR_S, Round, Schedule, every_s
from monitor.standing import BURST_AFTER_S, BURSTS, ECHO_S, Seen, Why

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
PLAIN = ScheduleConfig()
OK, BLOCKED, UNSURE = Seen(status=Status.OK), Seen(status=Status.BLOCKED), Seen(status=Status.INCONCLUSIVE)

Outcome = Callable[[str, str, datetime], Seen]


def sites(count: int, **more) -> list[SiteConfig]:
    return [SiteConfig(url=f"https://s{i}.example/", **more) for i in range(count)]


def always_ok(_url: str, _vantage: str, _at: datetime) -> Seen:
    return OK


class Simulation:
    """Runs a schedule as the service does. took_s: how long a measurement takes. begun: (when, round)."""

    def __init__(self, schedule: Schedule, outcome: Outcome = always_ok, took_s: float = 3.0, now: datetime = NOON):
        self.schedule, self.outcome, self.took, self.now = schedule, outcome, timedelta(seconds=took_s), now
        self.begun: list[tuple[datetime, Round]] = []
        self._ends: list[tuple[datetime, str, str]] = []

    def run(self, seconds: float) -> "Simulation":
        until = self.now + timedelta(seconds=seconds)
        while True:
            moments = [self.schedule.next() or until, self._ends[0][0] if self._ends else until, until]
            self.now = max(self.now, min(moments))
            if self.now >= until:
                return self
            while self._ends and self._ends[0][0] <= self.now:
                at, url, vantage = heapq.heappop(self._ends)
                self.schedule.note(url, vantage, self.outcome(url, vantage, at), self.now)
                self.schedule.ended(url, vantage, self.now)
            for one in self.schedule.due(self.now):
                self.begun.append((self.now, one))
                for vantage in one.vantages:
                    heapq.heappush(self._ends, (self.now + self.took, one.url, vantage))

    def asleep(self, seconds: float) -> "Simulation":
        self.now += timedelta(seconds=seconds)
        return self

    def times(self, url: str = "https://s0.example/", vantage: str = "cantv", why: Why | None = None) -> list[float]:
        """Seconds after noon at which a site was begun on a vantage."""
        return [
            (at - NOON).total_seconds()
            for at, one in self.begun
            if one.url == url and vantage in one.vantages and why in (None, one.why)
        ]


def arranged(watched: list[SiteConfig], settings: ScheduleConfig = PLAIN, last=None, seed: int = 1) -> Schedule:
    schedule = Schedule(Random(seed))
    schedule.arrange(watched, ["cantv", "movilnet"], settings, NOON, last)
    return schedule


def gaps(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


def test_how_often_a_site_is_measured():
    tags = ScheduleConfig(every_s=1800.0, tags={"news": 600.0, "top": 300.0})
    assert every_s(SiteConfig(url="https://a/"), tags) == 1800.0
    assert every_s(SiteConfig(url="https://a/", tags=("top", "news", "x")), tags) == 300.0
    assert every_s(SiteConfig(url="https://a/", tags=("top",), every_s=60.0), tags) == 60.0


@pytest.mark.parametrize("every", [10.0, 60.0, 1800.0, 86_400.0])
def test_each_site_is_measured_every_period_with_jitter(every):
    settings = ScheduleConfig(every_s=every, jitter_s=300.0)
    simulation = Simulation(arranged(sites(7), settings)).run(60 * every)
    for i in range(7):
        times = simulation.times(f"https://s{i}.example/")[3:]  # back at its phase after the first look
        assert 55 <= len(times) <= 60
        jitter = min(300.0, every / 4)
        assert all(every - 2 * jitter - 1 <= gap <= every + 2 * jitter + 1 for gap in gaps(times))
        assert len({round(gap, 3) for gap in gaps(times)}) > 30


def test_sites_are_spread_evenly_over_the_period():
    settings = ScheduleConfig(every_s=1800.0, jitter_s=0.0)
    simulation = Simulation(arranged(sites(60), settings)).run(3 * 3600)
    late = [(at - NOON).total_seconds() for at, _ in simulation.begun if at > NOON + timedelta(hours=2)]
    assert 119 <= len(late) <= 121
    assert all(29 <= gap <= 31 for gap in gaps(late))


def test_a_site_that_joins_hardly_moves_the_others():
    settings = ScheduleConfig(every_s=1800.0, jitter_s=0.0)
    schedule = arranged(sites(20), settings)
    simulation = Simulation(schedule).run(4000)
    before = {f"https://s{i}.example/": schedule.due_at(f"https://s{i}.example/") for i in range(20)}
    schedule.arrange(sites(21), ["cantv"], settings, simulation.now)
    assert {url: schedule.due_at(url) for url in before} == before
    assert (schedule.due_at("https://s20.example/") - simulation.now).total_seconds() <= CATCH_UP_S


def test_a_site_is_measured_on_all_vantages_at_the_same_moment():
    simulation = Simulation(arranged(sites(5))).run(7200)
    assert all(one.vantages == ("cantv", "movilnet") for _, one in simulation.begun)


def test_the_first_look_at_everything_takes_minutes_and_is_spread():
    simulation = Simulation(arranged(sites(100))).run(CATCH_UP_S + 1)
    assert len(simulation.begun) == 100
    assert max(gaps([(at - NOON).total_seconds() for at, _ in simulation.begun])) < 2 * CATCH_UP_S / 100


def test_a_removed_site_leaves_the_schedule():
    schedule = arranged(sites(3))
    simulation = Simulation(schedule).run(60)
    schedule.arrange(sites(2), ["cantv"], PLAIN, simulation.now)
    simulation.begun.clear()
    simulation.run(7200)
    assert {one.url for _, one in simulation.begun} == {"https://s0.example/", "https://s1.example/"}
    assert {vantage for _, one in simulation.begun for vantage in one.vantages} == {"cantv"}


def test_after_a_restart_it_goes_on_by_the_stored_times():
    watched = sites(60)
    first = Simulation(arranged(watched)).run(2 * 3600)
    last = {one.url: at for at, one in first.begun}
    schedule = Schedule(Random(2))
    schedule.arrange(watched, ["cantv", "movilnet"], PLAIN, first.now, last)
    again = Simulation(schedule, now=first.now).run(2700)
    for url, at in last.items():
        times = [when for when, one in again.begun if one.url == url]
        assert times, url
        assert 0.75 * 1800 - 600 <= (times[0] - at).total_seconds() <= 1.25 * 1800 + 600
    per_minute = defaultdict(int)
    for at, _ in again.begun:
        per_minute[(at - first.now).total_seconds() // 60] += 1
    assert max(per_minute.values()) <= 12


def test_what_was_missed_is_measured_once_and_spread():
    simulation = Simulation(arranged(sites(50))).run(7200)
    simulation.begun.clear()
    woke = simulation.asleep(8 * 3600).now
    simulation.run(CATCH_UP_S + 1)
    urls = [one.url for _, one in simulation.begun]
    assert len(urls) == len(set(urls)) == 50
    assert sum(at - woke < timedelta(seconds=10) for at, _ in simulation.begun) < 10


def test_never_two_of_one_site_on_one_vantage_at_a_time():
    simulation = Simulation(arranged(sites(3), ScheduleConfig(every_s=10.0)), took_s=47.0).run(3600)
    for i in range(3):
        assert all(gap >= 47 for gap in gaps(simulation.times(f"https://s{i}.example/")))


@pytest.mark.parametrize("took_s", [1.0, 12.0, 40.0])
def test_a_block_is_measured_again_within_two_minutes(took_s):
    def outcome(_url, vantage, at):
        return BLOCKED if vantage == "cantv" and at > NOON + timedelta(hours=2) else OK

    simulation = Simulation(arranged(sites(1)), outcome, took_s).run(4 * 3600)
    first = min(at for at in simulation.times(why=Why.BURST))
    bursts = [at for at in simulation.times(why=Why.BURST) if at < first + 600]
    assert len(bursts) == len(BURST_AFTER_S)
    assert simulation.times(vantage="movilnet", why=Why.BURST) == []
    seen = first - BURST_AFTER_S[0]
    assert bursts[1] + took_s - seen <= 120
    assert all(gap >= took_s + 4 for gap in gaps(bursts))


def test_after_a_confirmed_change_it_is_watched_more_closely_for_an_hour():
    def outcome(_url, _vantage, at):
        return BLOCKED if at > NOON + timedelta(hours=2) else OK

    simulation = Simulation(arranged(sites(1), ScheduleConfig(jitter_s=0.0)), outcome).run(6 * 3600)
    burst = simulation.times(why=Why.BURST)[0]
    regular = simulation.times(why=Why.REGULAR)
    closer = [at for at in regular if burst < at < burst + CLOSER_FOR_S]
    assert 5 <= len(closer) <= 6
    assert all(gap <= 900 for gap in gaps(closer))
    later = [at for at in regular if at > burst + CLOSER_FOR_S + 1800]
    assert all(gap >= 1300 for gap in gaps(later))


def test_a_blip_is_looked_at_twice_and_forgotten():
    shown = iter([OK, BLOCKED])
    simulation = Simulation(arranged(sites(1)), lambda *_: next(shown, OK))
    simulation.schedule.arrange(sites(1), ["cantv"], PLAIN, NOON)
    simulation.run(4 * 3600)
    assert len(simulation.times(why=Why.BURST)) == 2
    assert len(simulation.times(why=Why.REGULAR)) <= 9


def test_a_partial_block_is_watched_closely():
    shown = iter([OK, BLOCKED, OK, BLOCKED, OK])
    schedule = arranged(sites(1))
    schedule.arrange(sites(1), ["cantv"], PLAIN, NOON)
    simulation = Simulation(schedule, lambda *_: next(shown, OK)).run(2 * 3600)
    assert len(simulation.times(why=Why.BURST)) == len(BURST_AFTER_S)
    assert len(simulation.times(why=Why.REGULAR)) >= 6


def test_a_flapping_site_cannot_burn_the_budget():
    chance = Random(4)
    simulation = Simulation(arranged(sites(1)), lambda *_: chance.choice([OK, BLOCKED])).run(86_400)
    assert len(simulation.times(why=Why.BURST)) <= (BURSTS + 12) * len(BURST_AFTER_S)
    assert len(simulation.times()) < 48 * 4


def test_a_site_that_is_blocked_from_the_first_is_confirmed_too():
    simulation = Simulation(arranged(sites(1)), lambda *_: BLOCKED).run(300)
    assert len(simulation.times(why=Why.BURST)) == len(BURST_AFTER_S)


def test_what_was_known_before_a_restart_is_no_surprise():
    schedule = arranged(sites(1))
    for vantage in ("cantv", "movilnet"):
        schedule.remember("https://s0.example/", vantage, BLOCKED)
    assert Simulation(schedule, lambda *_: BLOCKED).run(3600).times(why=Why.BURST) == []


def test_another_network_has_a_standing_of_its_own():
    def outcome(_url, _vantage, at):
        return Seen(status=Status.OK, asn=8048) if at < NOON + timedelta(hours=2) else Seen(status=Status.OK, asn=6306)

    assert Simulation(arranged(sites(1)), outcome).run(4 * 3600).times(why=Why.BURST) == []


def test_inconclusive_is_retried_once_and_changes_nothing():
    simulation = Simulation(arranged(sites(1)), lambda *_: UNSURE).run(4 * 3600)
    assert simulation.times(why=Why.BURST) == []
    assert len(simulation.times(why=Why.RETRY)) == len(simulation.times(why=Why.REGULAR))


def test_inconclusive_within_a_burst_does_not_end_it():
    shown = iter([OK, BLOCKED, UNSURE, BLOCKED, BLOCKED])
    schedule = arranged(sites(1))
    schedule.arrange(sites(1), ["cantv"], PLAIN, NOON)
    simulation = Simulation(schedule, lambda *_: next(shown, BLOCKED)).run(4 * 3600)
    assert len(simulation.times(why=Why.BURST)) == len(BURST_AFTER_S)
    assert simulation.times(why=Why.RETRY) == []


def test_what_a_neighbours_echo_spoiled_is_measured_once_more_when_it_is_over():
    shown = iter([Seen(status=Status.INCONCLUSIVE, echo_s=20.0), Seen(status=Status.INCONCLUSIVE, echo_s=60.0)])
    schedule = arranged(sites(1))
    schedule.arrange(sites(1), ["cantv"], PLAIN, NOON)
    simulation = Simulation(schedule, lambda *_: next(shown, OK)).run(1200)
    [echo] = simulation.times(why=Why.ECHO)
    assert echo == pytest.approx(simulation.times()[0] + 3 + ECHO_S - 20)


@pytest.mark.parametrize("jump_s", [-366 * 86_400, -7200, 366 * 86_400])
def test_a_clock_that_is_set_does_not_stop_the_watch(jump_s):
    simulation = Simulation(arranged(sites(5)), lambda *_: BLOCKED).run(3600)
    simulation.begun.clear()
    simulation.asleep(jump_s)
    now = simulation.now
    # As the service does every minute.
    for _ in range(120):
        for one in simulation.schedule.due(simulation.now):
            simulation.begun.append((simulation.now, one))
            for vantage in one.vantages:
                simulation.schedule.ended(one.url, vantage, simulation.now)
        simulation.asleep(60)
    assert now < simulation.now
    for i in range(5):
        assert 2 <= len([one for _, one in simulation.begun if one.url == f"https://s{i}.example/"]) <= 15


def day(budget: Budget, count: int, each: int, hours: float = 24, outcome: Outcome = always_ok) -> Simulation:
    """A day within a budget, from midnight on."""
    midnight = NOON.replace(hour=0)
    schedule = Schedule(Random(3))
    schedule.arrange(sites(count), ["cantv", "movilnet"], PLAIN, midnight)
    simulation = Simulation(schedule, outcome, now=midnight)
    for _ in range(int(hours * 60)):
        done = sum(len(one.vantages) for _, one in simulation.begun)
        simulation.run(60)
        new = sum(len(one.vantages) for _, one in simulation.begun) - done
        budget.spend(new * each, simulation.now, measurements=new)
        schedule.stretch = budget.stretch(schedule.measurements_within(budget.left_s(simulation.now)))
        schedule.bursts = not budget.exhausted()
        for one in schedule.due(simulation.now):
            simulation.begun.append((simulation.now, one))
            for vantage in one.vantages:
                schedule.ended(one.url, vantage, simulation.now)
    return simulation


def fresh(limit: int | None) -> Budget:
    return Budget(limit, Spent(day=NOON.date(), used=0))


def test_within_its_budget_the_pace_is_as_asked():
    assert len(day(fresh(1_000_000_000), 10, 100_000).begun) == pytest.approx(480, abs=20)


def test_the_pace_is_stretched_evenly_over_the_day():
    budget = fresh(50_000_000)
    simulation = day(budget, 10, 100_000, hours=23.9)  # 96 MB would be wanted
    by_quarter = [0] * 4
    for at, _ in simulation.begun:
        by_quarter[min(3, at.hour // 6)] += 1
    assert 0.6 * 50_000_000 <= budget.used <= 50_000_000
    assert min(by_quarter) > 0.5 * max(by_quarter)


def test_bursts_have_a_share_of_their_own_and_then_it_pauses_till_midnight():
    budget = fresh(10_000_000)
    budget.spend(int(10_000_000 * (1 - BURST_SHARE)) + 1, NOON, measurements=40)
    assert math.isinf(budget.stretch(100.0))
    assert not budget.exhausted()
    budget.spend(2_000_000, NOON, measurements=10)
    assert budget.exhausted()
    budget.spend(0, NOON + timedelta(hours=12), measurements=0)
    assert (budget.used, budget.exhausted()) == (0, False)


def test_after_midnight_a_spent_budget_is_fresh():
    budget = fresh(10_000_000)
    simulation = day(budget, 30, 300_000, hours=30)
    fresh_day = [at for at, _ in simulation.begun if at.day == 16]
    assert fresh_day
    assert min(fresh_day) < NOON.replace(day=16, hour=1)


def test_a_pace_is_told_once_per_factor_of_two_and_when_it_is_as_asked_again():
    pace = Pace()
    stretches = [1.0, 1.9, 2.0, 3.9, 2.1, 4.5, 4.0, 2.3, 2.25, 1.2, 1.0, 1.0, 1.5, math.inf, math.inf, 3.0, 1.0]
    told = [stretch for stretch in stretches if pace.changed(stretch)]
    assert told == [2.0, 4.5, 2.25, 1.0, math.inf, 3.0, 1.0]


def test_a_pace_is_told_with_its_reason_and_with_units():
    budget = fresh(40_000_000)
    budget.spend(3_140_000, NOON, measurements=10)
    assert pace_text(budget, 11.83, 120.0) == (
        "sites are measured every 23 min instead of every 2 min, for a budget of 40 MB a day; 3.1 MB are used"
    )
    assert pace_text(budget, 1.0, 120.0) == "sites are measured as often as configured"
    assert pace_text(budget, math.inf, 120.0).startswith("the budget of 40 MB a day has nothing left for regular")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (250_000, "250 KB"),
        (1_240_000, "1.2 MB"),
        (40_000_000, "40 MB"),
        (2 * 10**9, "2 GB"),
    ],
)
def test_an_amount_has_its_unit(count, text):
    assert amount(count) == text


def test_the_budget_is_remembered():
    budget = fresh(10_000_000)
    budget.spend(4_000_000, NOON, measurements=20)
    again = Budget(10_000_000, budget.spent())
    assert (again.used, again.spent()) == (4_000_000, budget.spent())


def test_metrics_know_how_far_rounds_are_apart_and_what_is_under_way():
    slow = SiteConfig(url="https://slow.example/", every_s=7200.0)
    schedule = arranged([*sites(1), slow], ScheduleConfig(every_s=600.0))
    fast = "https://s0.example/"
    assert schedule.periods() == {fast: 600, slow.url: 7200}
    schedule.stretch = 2.0
    assert (schedule.period_s(fast), schedule.period_s("https://other.example/")) == (1200, 0)
    schedule.stretch = math.inf
    assert schedule.period_s(fast) == 600
    schedule.stretch = 1.0
    assert schedule.under_way() == set()
    [one] = [one for one in schedule.due(NOON) if one.url == fast]
    assert {pair for pair in schedule.under_way() if pair[0] == fast} == {(fast, vantage) for vantage in one.vantages}
    schedule.ended(fast, one.vantages[0], NOON)
    assert (fast, one.vantages[0]) not in schedule.under_way()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 20), every=st.sampled_from([10.0, 45.0, 300.0, 1800.0]),
    jitter=st.floats(0, 3600), took_s=st.floats(0.1, 200), statuses=st.lists(st.sampled_from(list(Status)), min_size=1),
)  # fmt: skip
def test_whatever_is_found_no_site_is_measured_twice_at_once_or_forgotten(seed, count, every, jitter, took_s, statuses):
    chance = Random(seed)
    simulation = Simulation(
        arranged(sites(count), ScheduleConfig(every_s=every, jitter_s=jitter), seed=seed),
        lambda *_: Seen(status=chance.choice(statuses), echo_s=chance.choice([None, None, 10.0])),
        took_s,
    ).run(20 * every)
    for i in range(count):
        times = simulation.times(f"https://s{i}.example/")
        assert all(gap >= took_s - 0.001 for gap in gaps(times))
        assert max(gaps([0.0, *times])) <= 3 * every + 2 * took_s + CATCH_UP_S
