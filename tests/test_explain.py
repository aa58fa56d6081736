"""Every status, method and reason has words; hostile parameters cannot do more than look odd."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.explain import (
    MAX_TEXT,
    METHOD_WORDS,
    REASONS,
    STATUS_WORDS,
    UNKNOWN_REASON,
    explain,
    parameters,
    worded,
)
from monitor.language import words
from monitor.models import Status, Verdict

METHODS = """
    dns. nxdomain no_answer servfail refused timeout bogon hijack injection
    tcp. timeout refused unreachable
    tls. reset timeout eof alert certificate
    http. reset timeout eof blockpage redirect modified
    throttling. rate stall
    quic. timeout refused
"""


def promised() -> set[str]:
    return {f"{layer}{name}" for layer, *names in map(str.split, METHODS.strip().splitlines()) for name in names}


def test_every_status_and_method_has_words():
    assert set(STATUS_WORDS) == set(Status)
    assert set(METHOD_WORDS) == promised()
    assert all(sentence.endswith(".") for sentence in METHOD_WORDS.values())


def test_every_method_that_the_rules_name_has_words():
    sources = "".join(path.read_text() for path in (Path(__file__).parent.parent / "monitor" / "verdict").glob("*.py"))
    layers = "dns|tcp|tls|http|throttling|quic"
    named = set(re.findall(rf'"((?:{layers})\.[a-z_]+)"', sources))
    assert named <= promised()


def test_templates_name_values_and_do_not_reach_into_them():
    for template in REASONS.values():
        assert all(name.isidentifier() for name in parameters(template)), template
        assert template[-1] not in ".!", template


def test_a_reason_is_its_template_with_the_values():
    said = explain({"id": "resolver_lies", "resolver": "200.44.32.12", "addresses": ["192.0.2.1", "192.0.2.2"]})
    assert "200.44.32.12" in said
    assert "192.0.2.1, 192.0.2.2" in said


@pytest.mark.parametrize(
    ("code", "failure", "told"),
    [
        ("en", "connection_reset", "failed: the connection was reset;"),
        ("es", "connection_reset", "la conexión se cortó de golpe;"),
        ("en", "unknown_failure: Odd", "failed: unknown_failure: Odd;"),
    ],
)  # fmt: skip
def test_a_reason_tells_a_failure_in_words(code, failure, told):
    reason = {
        "id": "tcp_cut",
        "attempts": 3,
        "address": "192.0.2.1",
        "port": 443,
        "name": "a.example",
        "failure": failure,
    }
    said = words(code).reason(reason)
    assert told in said
    assert "connection_reset" not in said


def test_a_reason_nobody_knows_is_a_neutral_sentence():
    for reason in ({}, {"id": None}, {"id": ["resolver_lies"]}, {"id": "from_the_future", "x": 1}):
        assert explain(reason) == UNKNOWN_REASON


def test_a_worded_verdict_keeps_its_reasons():
    verdict = Verdict(
        status=Status.INCONCLUSIVE, methods=(), confidence=None, confirmed=False, rule="no_control", rules_version=1,
        reasons=({"id": "resolver_lies", "resolver": "192.0.2.53"},),
    )  # fmt: skip
    [reason] = worded(verdict).reasons
    assert reason["resolver"] == "192.0.2.53"
    assert "192.0.2.53" in reason["text"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(REASONS)), st.data())
def test_whatever_the_parameters_are_a_reason_is_one_bounded_printable_line(key, data):
    reason: dict[str, Any] = {name: data.draw(anything) for name in parameters(REASONS[key])}
    said = explain({"id": key, **reason})
    assert said.isprintable()
    assert 0 < len(said) <= MAX_TEXT


def test_a_value_is_never_a_template():
    said = explain({"id": "resolver_lies", "resolver": "{addresses.__class__}", "addresses": "\x1b[31m\u202ered"})
    assert "{addresses.__class__}" in said
    assert "\x1b" not in said
    assert "\u202e" not in said
