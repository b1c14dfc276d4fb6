"""Which series a selector means, and which regular expressions are let in."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.selector import (
    MAX_MATCHED_LENGTH,
    Match,
    Matcher,
    PatternError,
    Selector,
    Series,
    ValueTooLong,
    check_pattern,
)

CANARY_500 = {"service": "checkout-canary", "code": "500"}


def test_without_conditions_every_series_is_meant() -> None:
    assert Selector("requests_total").accepts(CANARY_500)


@pytest.mark.parametrize(
    ("label", "match", "value", "accepted"),
    [
        ("code", Match.EQUAL, "500", True),
        ("code", Match.EQUAL, "50", False),
        ("code", Match.UNEQUAL, "200", True),
        ("code", Match.MATCHES, "5..", True),
        ("code", Match.MATCHES, "5", False),  # a pattern has to match the whole value
        ("code", Match.MATCHES, "200|5.*", True),
        ("code", Match.MATCHES_NOT, "5..", False),
        ("service", Match.MATCHES, ".*-canary", True),
        ("zone", Match.EQUAL, "", True),  # a label that is not there equals the empty text
        ("zone", Match.UNEQUAL, "", False),
        ("zone", Match.MATCHES, ".+", False),
        ("zone", Match.MATCHES, ".*", True),
    ],
)
def test_conditions_mean_what_they_mean_in_promql(label: str, match: Match, value: str, accepted: bool) -> None:
    assert Matcher(label, match, value).accepts(CANARY_500) is accepted


def test_all_conditions_have_to_hold() -> None:
    of_canary = Matcher("service", Match.EQUAL, "checkout-canary")
    good = Matcher("code", Match.EQUAL, "200")
    assert not Selector("requests_total", (of_canary, good)).accepts(CANARY_500)


def test_series_are_shown_as_they_are_written_in_pages() -> None:
    assert str(Series("up", ())) == "up"
    assert str(Series("up", (("path", 'C:\\x "y"\n'),))) == 'up{path="C:\\\\x \\"y\\"\\n"}'


@pytest.mark.parametrize(
    "pattern", ["5..", "4.*|5.*", "(4|5)..", "(?:a|b)?c", r"\d{3}", "[^a]+", "[]a]", "[[a]", "a{1,3}?", ""]
)
def test_usual_patterns_are_let_in(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a+)+", "a group cannot be repeated with '+'"),
        ("(a|aa){2,}", "a group cannot be repeated with '{2,}'"),
        ("(?:a*){9}", "a group cannot be repeated with '{9}'"),
        (".*.*.*.*", "could take too long"),
        ("a?" * 30 + "a" * 30, "could take too long"),
        ("(a|a)" * 30, "could take too long"),
        (r"(a)\1", "back references"),
        ("(?=a)b", "only (?:...) is supported"),
        ("(?i)ok", "only (?:...) is supported"),
        ("(?P<n>a)", "only (?:...) is supported"),
        ("(", "not valid"),
        ("*", "not valid"),
        ("a{99999999999}", "not valid"),
        ("a" * 201, "at most 200"),
    ],
)
def test_patterns_that_could_stop_the_daemon_are_refused(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=re.escape(reason)):
        check_pattern(pattern)


@given(st.text("ab.*+?|()[]{}\\1,^$-", max_size=30))
def test_whatever_is_let_in_is_quick(pattern: str) -> None:
    try:
        check_pattern(pattern)
    except PatternError:
        return
    began = time.perf_counter()
    Matcher("label", Match.MATCHES, pattern).accepts({"label": "a" * (MAX_MATCHED_LENGTH - 1) + "!"})
    assert time.perf_counter() - began < 2.0


def test_no_pattern_is_tried_on_an_endless_value() -> None:
    with pytest.raises(ValueTooLong, match="compare it with = or !="):
        Matcher("query", Match.MATCHES, ".*x").accepts({"query": "y" * (MAX_MATCHED_LENGTH + 1)})
