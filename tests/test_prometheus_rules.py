"""The examples for Prometheus and Alertmanager, the rules and their tests: read by their own checkers."""

import re

import pytest
from prometheus_rules import ALERTS, FOLDER, RECORDS
from prometheus_servers import amtool, promtool
from ruamel.yaml import YAML

from monitor.metrics.catalogue import METRICS, PREFIX

TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def test_the_configurations_are_right():
    done = promtool("check", "config", FOLDER / "prometheus.yml")
    assert (done.returncode, done.stderr) == (0, "")
    assert amtool("check-config", FOLDER / "alertmanager.yml").returncode == 0


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_tell_what_they_should(file):
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not():
    tests = [test for file in TESTS for test in YAML(typ="safe").load(file)["tests"]]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    for expected in (True, False):
        assert {case["alertname"] for case in cases if bool(case["exp_alerts"]) is expected} == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_bad_it_is_and_what_it_means(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "description"}
    assert f"`{name}`" in (FOLDER / "README.md").read_text()


def test_rules_ask_for_metrics_and_labels_that_there_are():
    for name, rule in (ALERTS | RECORDS).items():
        for metric, labels in re.findall(r"(?<![\w:])(almenara_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            used = set(re.findall(r"(\w+)(?:=|!)", labels))
            assert used <= set(METRICS[metric.removeprefix(PREFIX)].labels), name
        assert set(re.findall(r"\w+:almenara_\w+:\w+", rule["expr"])) <= RECORDS.keys(), name
