"""The examples for Prometheus and Alertmanager, the rules and the dashboards, run for real on a story."""

import re
from collections.abc import Iterator

import labs
import pytest
from dashboards import Query, filled, queries
from monitored_lab import BLOCKED, TIMES, Story, told
from prometheus_rules import ALERTS, RECORDS
from prometheus_servers import Series, faster, program, promtool

from monitor.lab.draw import draw

SITES = 6


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    program("prometheus", "prometheus")
    program("prometheus-alertmanager", "prometheus-alertmanager")
    with labs.started(draw(7, healthy=SITES + 2)) as lab:
        services = {url.split("/")[2] for url in (*lab.world.neutral, *lab.world.doh)}
        names = [name for name in lab.world.sites if name not in services][:SITES]
        with told(lab, names, tmp_path_factory.mktemp("story")) as story:
            yield story


live = [pytest.mark.lab, pytest.mark.slow]
# What Grafana knows; for marks a step that spans the time in which the service is away.
OWN = {"__interval": "5s", "__rate_interval": "30s", "__range": "5m"}
OF_MARKS = {"__interval": "30s"}
# What has nothing to say before anything is blocked.
EMPTY_WHEN_OPEN = {
    "overview: Active events",
    "overview: Blocking begins",
    "site: Methods",
    "site: Why it does not open",
    "site: Methods over time",
    "site: Failures over time",
    "site: Active events",
    "site: Blocking begins",
    "isp: What is blocked, and how",
    "isp: Active events",
    "isp: Sites that were blocked",
    "isp: Methods",
    "isp: Blocking begins",
    "operations: Blocking begins",
}

# What depends on luck then: whether any step has failed yet.
MAY_BE_EMPTY = {"isp: Steps: failures", "operations: Failures"}


def place(query: Query) -> str:
    return query.id.rpartition(" ")[0]


def test_the_list_of_what_is_empty_has_nothing_else():
    assert {place(query) for query in queries()} >= EMPTY_WHEN_OPEN | MAY_BE_EMPTY


@pytest.mark.parametrize("query", [pytest.param(query, marks=live, id=query.id) for query in queries()])
def test_every_query_of_the_dashboards_has_an_answer_at_its_moment(story, query):
    before, during, after = (answers(story, query, chapter) for chapter in ("open", "blocked", "lifted"))
    if query.panel == "Blocking ends":
        assert (before, during, bool(after)) == ([], [], True)
    else:
        assert during
        assert place(query) in MAY_BE_EMPTY or bool(before) is (place(query) not in EMPTY_WHEN_OPEN)


def answers(story: Story, query: Query, chapter: str) -> Series:
    """What Prometheus tells Grafana, which looks at that chapter and asks about the first blocked site and its ISP."""
    chosen = {"site": [story.names[0]], "vantage": ["cantv"], "asn": ["8048"], "instance": [story.address]}
    at, asked = story.moments[chapter], story.prometheus
    expression = filled(query, chosen, OWN | (OF_MARKS if query.ref == "mark" else {}))
    if query.values:
        values = asked.ask(
            f"/api/v1/label/{query.values}/values", **{"match[]": expression, "start": at - 60, "end": at}
        )
        return [{"value": value} for value in values["data"]]
    return asked.over(expression, at - 60, at, 1) if query.over else asked.now(expression, at)


@pytest.mark.parametrize("name", [pytest.param(name, marks=live) for name in RECORDS])
def test_every_record_is_written(story, name):
    assert story.prometheus.now(name, story.moments["blocked"])


@pytest.mark.parametrize("name", [pytest.param(name, marks=live) for name in ALERTS])
def test_every_alert_has_something_to_compare(story, name):
    """Its comparisons say 0 or 1 instead of choosing, so that what is missing is what it asks for."""
    # No network is down in the story, and one is silent: which is asked for in the same way.
    expression = ALERTS[name]["expr"].replace('kind="network_outage"', 'kind="silence"')
    expression = re.sub(
        r"unless on \(.*\)\n.* == Inf", "", expression
    )  # what makes an exception is not what is compared
    expression = re.sub(r"(?<=\s)(==|>=|>|<)(?=\s)", r"\1 bool", faster(expression, TIMES))
    chapter = "lifted" if name.startswith("AlmenaraNetwork") else "blocked"
    assert story.prometheus.now(expression, story.moments[chapter])


@pytest.mark.lab
@pytest.mark.slow
class TestStory:
    def test_the_blocked_sites_arrive_as_one_incident(self, story):
        received = [one for one in story.desk.messages if one["commonLabels"]["alertname"] == "AlmenaraSiteBlocked"]
        assert len({one["groupLabels"]["incident"] for one in received}) == 1
        fired = story.desk.alerts("AlmenaraSiteBlocked")
        assert {one["labels"]["site"] for one in fired} == set(story.names[:BLOCKED])
        assert {(one["labels"]["asn"], one["labels"]["isp"]) for one in fired} == {("8048", "CANTV")}
        assert all("is blocked on CANTV (AS8048)" in one["annotations"]["summary"] for one in fired)

    def test_nothing_is_told_before_it_was_so(self, story):
        fired = 'ALERTS{alertstate="firing", alertname=~"Almenara(Site|Isp|Network).*"}[60s]'
        assert story.prometheus.now(f"count_over_time({fired})", story.moments["open"]) == []

    def test_of_the_other_isp_it_is_told_that_nothing_is_heard_and_no_blocking(self, story):
        received = [alert["labels"] for message in story.desk.messages for alert in message["alerts"]]
        assert {one["alertname"] for one in received if one.get("asn", "8048") != "8048"} == {"AlmenaraNetworkSilent"}

    def test_an_isp_that_blocks_many_is_told(self, story):
        [alert, *_] = story.desk.alerts("AlmenaraIspBlocksMany")
        assert alert["annotations"]["summary"] == f"AS8048 has begun to block {BLOCKED} sites within an hour"
        assert "(CANTV)" in alert["annotations"]["description"]

    def test_what_is_over_is_told_as_over(self, story):
        over = story.desk.alerts("AlmenaraSiteBlocked", "resolved")
        assert {one["labels"]["site"] for one in over} == set(story.names[:BLOCKED])

    def test_its_own_troubles_are_told(self, story):
        for name in ("AlmenaraControlDown", "AlmenaraReloadFailed", "AlmenaraDown"):
            assert story.desk.alerts(name), name

    def test_each_dashboard_finds_its_instance_once(self, story):
        found = story.prometheus.now("count by (job) (almenara_build_info)", story.moments["blocked"])
        assert [(one["metric"], one["value"][1]) for one in found] == [({"job": "almenara"}, "1")]

    def test_the_metrics_are_as_prometheus_wants_them(self, story):
        done = promtool("check", "metrics", text=story.metrics)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
