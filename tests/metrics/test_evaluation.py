"""Stories of counters and gauges: what was scraped, and what an expression makes of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.evaluation import evaluate
from adapters.metrics.expression import selectors_of
from adapters.metrics.expression_parser import parse_expression
from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.selector import Labels, Selector, Series
from adapters.metrics.window import Scrape, Window, rise_of_counter
from tests.metrics.scripted import START

INTERVAL_S = 10.0
FAILED = "refused"
"""In a story: a visit that failed."""
Page = dict[str, float]

COMPLETE = "requests_total"
PART = 'requests_total{code="500"}'


def series(text: str) -> Series:
    selector = next(selectors_of(parse_expression(text)))
    labels: Labels = tuple(sorted((matcher.label, matcher.value) for matcher in selector.matchers))
    return Series(selector.name, labels)


def scrape(second: float, page: Page | str, selectors: frozenset[Selector]) -> Scrape:
    at = START + timedelta(seconds=second)
    if isinstance(page, str):
        return Scrape(at, second, failure=f"http://pod:8080/metrics {page}")
    values = {series(text): value for text, value in page.items()}
    return Scrape(at, second, selectors, values, frozenset(one.name for one in values))


def measured(expression: str, *pods: Sequence[Page | str], seconds: float = 60.0, first: float = 0.0) -> Outcome:
    """The outcome when each pod gave one page every ten seconds, in a window that begins with the story."""
    tree = parse_expression(expression)
    wanted = frozenset(selectors_of(tree))
    histories = [[scrape(first + INTERVAL_S * turn, page, wanted) for turn, page in enumerate(pod)] for pod in pods]
    return evaluate(tree, Window(histories, wanted, START, START + timedelta(seconds=seconds), INTERVAL_S))


def value(expression: str, *pods: Sequence[Page | str], seconds: float = 60.0) -> float:
    outcome = measured(expression, *pods, seconds=seconds)
    assert outcome.value is not None, outcome
    return outcome.value


def counting(*values: float | str, name: str = COMPLETE) -> list[Page | str]:
    return [number if isinstance(number, str) else {name: number} for number in values]


def test_a_rate_is_what_the_counter_rose_in_a_second() -> None:
    assert value("rate(requests_total)", counting(100, 130, 160)) == 3.0


def test_an_increase_is_counted_and_not_extrapolated() -> None:
    # Two scrapes in a window of a minute: Prometheus would report about 90.
    assert value("increase(requests_total)", counting(100, 115)) == 15.0


def test_all_series_and_endpoints_are_added_up() -> None:
    north = [{'requests_total{code="200"}': 10.0, PART: 1.0}, {'requests_total{code="200"}': 30.0, PART: 2.0}]
    south = counting(0, 9)
    assert value("increase(requests_total)", north, south) == 30.0
    assert value("rate(requests_total)", north, south) == pytest.approx(3.0)


def test_a_reset_counts_from_zero() -> None:
    assert value("increase(requests_total)", counting(90, 100, 7, 9)) == 19.0


def test_a_counter_that_appears_counts_from_zero() -> None:
    # Envoy makes the series of a class of answers with the first answer of that class.
    pages: list[Page | str] = [{COMPLETE: 10.0}, {COMPLETE: 20.0, PART: 3.0}, {COMPLETE: 30.0, PART: 4.0}]
    assert value('increase(requests_total{code="500"})', pages) == 4.0


def test_a_counter_that_is_there_from_the_beginning_counts_from_where_it_is() -> None:
    assert value('increase(requests_total{code="500"})', counting(300, 301, name=PART)) == 1.0


def test_a_counter_that_vanishes_with_its_process_counts_from_zero_when_it_is_back() -> None:
    pages: list[Page | str] = [{COMPLETE: 10.0, PART: 5.0}, {COMPLETE: 1.0}, {COMPLETE: 2.0, PART: 2.0}]
    assert value('increase(requests_total{code="500"})', pages) == 2.0


def test_a_failed_visit_is_a_gap_and_not_a_zero() -> None:
    outcome = measured("rate(requests_total)", counting(100, FAILED, 160))
    assert outcome.value == 3.0
    assert "1 of 3 scrapes failed, the last one because http://pod:8080/metrics refused" in outcome.detail


def test_an_endpoint_that_fails_for_a_while_keeps_its_rate() -> None:
    outcome = measured("rate(requests_total)", counting(0, 30, 60, 90), counting(0, 30, FAILED, FAILED))
    assert outcome.value == pytest.approx(6.0)


def test_pods_that_follow_each_other_are_not_counted_twice() -> None:
    tree = parse_expression("rate(requests_total)")
    wanted = frozenset(selectors_of(tree))
    old = [scrape(second, {COMPLETE: second * 4.0}, wanted) for second in (0, 10, 20, 30)]
    new = [scrape(second, {COMPLETE: (second - 30) * 4.0}, wanted) for second in (30, 40, 50, 60)]
    outcome = evaluate(tree, Window([old, new], wanted, START, START + timedelta(seconds=60), INTERVAL_S))
    assert outcome.value == pytest.approx(4.0)


def test_only_scrapes_of_the_window_count() -> None:
    tree = parse_expression("increase(requests_total)")
    wanted = frozenset(selectors_of(tree))
    before_and_after = [scrape(second, {COMPLETE: 1000.0 + second}, wanted) for second in (-20, -1, 5, 15, 25, 31, 38)]
    window = Window([before_and_after], wanted, START, START + timedelta(seconds=30), INTERVAL_S)
    # From 5 s to 31 s: a measurement makes its closing scrape a little late, and -1 s belongs to the step before.
    assert evaluate(tree, window).value == 26.0
    later = [scrape(second, {COMPLETE: 1000.0 + second}, wanted) for second in (5, 15, 25, 45)]
    assert evaluate(tree, replace(window, histories=[later])).value == 20.0


def test_a_range_narrows_the_window() -> None:
    pages = counting(0, 0, 0, 0, 10, 20, 30)
    assert value("rate(requests_total)", pages) == 0.5
    assert value("rate(requests_total[20s])", pages) == 1.0
    assert value("rate(requests_total[2h])", pages) == 0.5


def test_scrapes_that_did_not_look_for_both_sides_of_a_ratio_do_not_count() -> None:
    tree = parse_expression("ratio(failures_total, requests_total)")
    failures, requests = selectors_of(tree)
    only_requests = [scrape(second, {COMPLETE: second * 10.0}, frozenset({requests})) for second in (0, 10, 20)]
    both = [
        scrape(second, {COMPLETE: second * 10.0, "failures_total": 500.0 + second}, frozenset({requests, failures}))
        for second in (30, 40)
    ]
    window = Window([only_requests + both], frozenset({requests, failures}), START, START + timedelta(seconds=60), 10.0)
    assert evaluate(tree, window).value == pytest.approx(0.1)


def test_a_ratio_without_failures_is_zero_although_the_series_is_missing() -> None:
    outcome = measured('ratio(requests_total{code="500"}, requests_total)', counting(10, 20))
    assert outcome.value == 0.0
    assert 'the part counts as 0, because no series matches requests_total{code="500"}' in outcome.detail


def test_a_ratio_counts_failures_that_begin_in_the_window() -> None:
    pages: list[Page | str] = [{'requests_total{code="200"}': 10.0}, {'requests_total{code="200"}': 18.0, PART: 2.0}]
    assert value('ratio(requests_total{code=~"5.."}, requests_total)', pages) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("ratio(failures_total, requests_total)", "no requests in the window: requests_total did not rise"),
        ("ratio(requests_total, absent_total)", "no series matches absent_total: no page has a metric of this name"),
        ('rate(requests_total{code="200"})', "the metric is there, but not with these labels"),
        ("absent", "no page has a metric of this name"),
        ("quantile(0.9, seconds_bucket)", "nothing was observed in the window: seconds_bucket did not rise"),
    ],
)
def test_nothing_to_measure_is_no_data_with_the_reason(expression: str, reason: str) -> None:
    page = {COMPLETE: 50.0, 'seconds_bucket{le="1"}': 5.0, 'seconds_bucket{le="+Inf"}': 5.0}
    outcome = measured(expression, [page, page])
    assert outcome.kind is OutcomeKind.NO_DATA
    assert outcome.value is None
    assert reason in outcome.detail


def test_a_default_stands_in_where_there_is_nothing() -> None:
    outcome = measured("default(increase(failures_total), 0) / increase(requests_total)", counting(10, 20))
    assert outcome.value == 0.0
    assert "the default, because no series matches failures_total" in outcome.detail


def test_a_default_does_not_stand_in_for_what_nobody_looked_at_long_enough() -> None:
    outcome = measured("default(increase(failures_total), 0)", counting(10))
    assert outcome.kind is OutcomeKind.NO_DATA
    assert "an increase needs two" in outcome.detail


def test_two_scrapes_right_after_each_other_are_one_look() -> None:
    tree = parse_expression("rate(requests_total)")
    wanted = frozenset(selectors_of(tree))
    history = [scrape(0.0, {COMPLETE: 10.0}, wanted), scrape(0.01, {COMPLETE: 11.0}, wanted)]
    outcome = evaluate(tree, Window([history], wanted, START, START + timedelta(seconds=30), INTERVAL_S))
    assert outcome.kind is OutcomeKind.NO_DATA


def test_gauges_are_read_at_the_end_of_the_window() -> None:
    north, south = counting(5, 1, 2, name="queue"), counting(9, 9, 4, name="queue")
    assert value("sum(queue)", north, south) == 6.0
    assert value("avg(queue)", north, south) == 3.0
    assert value("max(queue)", north, south) == 4.0
    assert value("min(queue)", north, south) == 2.0
    assert value("queue", north) == 2.0


def test_one_scrape_is_enough_for_a_gauge() -> None:
    assert value("max(queue)", counting(7, name="queue")) == 7.0


def test_a_pod_that_went_silent_has_no_say_in_gauges() -> None:
    alive = counting(1, 1, 1, 1, 1, 1, name="queue")
    dead = counting(99, 99, FAILED, FAILED, FAILED, FAILED, name="queue")
    assert value("max(queue)", alive, dead) == 1.0


def test_a_bare_selector_means_one_series() -> None:
    page = {f'queue{{shard="{shard}"}}': 1.0 for shard in range(5)}
    outcome = measured("queue", [page])
    assert outcome.kind is OutcomeKind.SEVERAL_SERIES
    assert 'queue matches 5 series: queue{shard="0"}, queue{shard="1"}, queue{shard="2"} and 2 more' in outcome.detail


def test_quantiles_are_of_what_all_pods_observed_in_the_window() -> None:
    # Libraries write the same bound in different ways.
    north = ['seconds_bucket{le="0.1"}', 'seconds_bucket{le="1"}', 'seconds_bucket{le="+Inf"}']
    south = ['seconds_bucket{le="0.1"}', 'seconds_bucket{le="1.0"}', 'seconds_bucket{le="+Inf"}']
    pods: list[list[Page | str]] = [
        [dict.fromkeys(names, 1000.0), dict(zip(names, (1020.0, 1045.0, 1050.0), strict=True))]
        for names in (north, south)
    ]
    assert value("quantile(0.4, seconds_bucket)", *pods) == pytest.approx(0.1)
    assert value("quantile(0.9, seconds_bucket)", *pods) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({'seconds_bucket{le="1"}': 2.0, 'seconds_bucket{le="2"}': 3.0}, 'one with le="+Inf"'),
        ({'seconds_bucket{le="+Inf"}': 2.0}, "buckets with a bound"),
        ({'seconds_bucket{le="fast"}': 2.0}, "needs a label `le` with a number, but has 'fast'"),
        ({"seconds_bucket": 2.0}, "needs a label `le` with a number, but has ''"),
    ],
)
def test_what_is_no_histogram_is_an_error(page: Page, reason: str) -> None:
    outcome = measured("quantile(0.9, seconds_bucket)", [dict.fromkeys(page, 0.0), page])
    assert outcome.kind is OutcomeKind.ERROR
    assert reason in outcome.detail


@pytest.mark.parametrize(
    ("expression", "number"),
    [("1 + 2 * 3 - 4 / 8", 6.5), ("-(2 - 5)", 3.0), ("60 * rate(requests_total)", 60.0), ("2 - -sum(queue)", 6.0)],
)
def test_numbers_are_calculated(expression: str, number: float) -> None:
    assert value(expression, [{COMPLETE: 0.0, "queue": 4.0}, {COMPLETE: 10.0, "queue": 4.0}]) == pytest.approx(number)


@pytest.mark.parametrize(
    ("expression", "detail"),
    [
        ("increase(requests_total) / 0", "the result is inf; 10 was divided by 0"),
        ("-1 / 0", "the result is -inf"),
        ("0 / 0", "the result is nan; 0 was divided by 0"),
        ("max(broken)", "the result is nan"),
        ("max(half_broken)", "the result is nan"),
        ("sum(broken)", "the result is nan"),
        ("increase(broken)", "the result is nan"),
        ("sum(endless)", "the result is inf"),
        ("increase(endless)", "the result is nan"),
        ("1e308 * 10", "the result is inf"),
    ],
)
def test_what_is_no_finite_number_is_said_to_be_none(expression: str, detail: str) -> None:
    page = {'broken{x="1"}': math.nan, 'half_broken{x="1"}': 1.0, 'half_broken{x="2"}': math.nan, "endless": math.inf}
    outcome = measured(expression, [{COMPLETE: 0.0, **page}, {COMPLETE: 10.0, **page}])
    assert outcome.kind is OutcomeKind.NOT_A_NUMBER
    assert outcome.value is None
    assert outcome.detail.startswith(detail)


def test_endpoints_that_all_fail_are_an_error_with_the_last_reason() -> None:
    outcome = measured("rate(requests_total)", [FAILED, FAILED], ["refused", "timed out"])
    assert outcome.kind is OutcomeKind.ERROR
    assert re.search(r"all 2 endpoints could not be read: http://pod:8080/metrics (refused|timed out)$", outcome.detail)


def test_an_endpoint_that_died_is_not_judged_by_its_good_days() -> None:
    outcome = measured("rate(requests_total)", counting(0, 10, 20, FAILED, FAILED, FAILED, FAILED))
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail == "the endpoint could not be read for 40.0 s: http://pod:8080/metrics refused"


def test_one_good_visit_and_then_only_failures_is_an_error_and_not_patience() -> None:
    outcome = measured("rate(requests_total)", counting(10, FAILED, FAILED))
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail.endswith("the last one failed: http://pod:8080/metrics refused")


def test_without_any_endpoint_there_is_no_data() -> None:
    outcome = measured("rate(requests_total)")
    assert outcome.kind is OutcomeKind.NO_DATA
    assert outcome.detail == "no endpoint was scraped for this expression in the window"


def test_the_detail_says_how_much_was_seen() -> None:
    outcome = measured("rate(requests_total)", counting(0, 10, 20), counting(0, 10, 20))
    assert outcome == Outcome(OutcomeKind.VALUE, 2.0, "2; 6 scrapes of 2 endpoints over 20.0 of 60.0 s")


EXPRESSIONS = (
    "rate(a)", "increase(a)", "sum(a)", "avg(a)", "max(a)", "min(a)", "a", "quantile(0, a_bucket)",
    "quantile(0.9, a_bucket)", "ratio(a, b)", "default(a / b, 1)", "-a * rate(b) - 2", "rate(a[10s])",
    "rate(a[999999999d23h])",
)  # fmt: skip
NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 2.0])
PAGES = st.dictionaries(
    st.sampled_from(["a", 'a{x="1"}', "b", 'a_bucket{le="1"}', 'a_bucket{le="2"}', 'a_bucket{le="+Inf"}']), NUMBERS
)


@given(st.sampled_from(EXPRESSIONS), st.lists(st.lists(PAGES | st.just(FAILED), max_size=6), max_size=3))
def test_whatever_pages_say_there_is_an_outcome(expression: str, pods: list[list[Page | str]]) -> None:
    outcome = measured(expression, *pods)
    assert (outcome.value is not None) == (outcome.kind is OutcomeKind.VALUE)
    assert outcome.value is None or math.isfinite(outcome.value)
    assert outcome.detail


COUNTS = st.lists(st.none() | st.floats(0, 1e12), min_size=2, max_size=12)


@given(COUNTS, COUNTS)
def test_no_reset_and_no_gap_makes_a_rate_negative(north: list[float | None], south: list[float | None]) -> None:
    pods = [counting(*(FAILED if count is None else count for count in pod)) for pod in (north, south)]
    outcome = measured("rate(requests_total)", *pods, seconds=200.0)
    assert outcome.kind in (OutcomeKind.VALUE, OutcomeKind.NO_DATA, OutcomeKind.ERROR)
    assert outcome.value is None or outcome.value >= 0.0


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=20))
def test_a_counter_without_resets_rose_by_its_ends_however_often_one_looked(counts: list[int]) -> None:
    rising = sorted(counts)
    assert rise_of_counter([float(count) for count in rising]) == rising[-1] - rising[0]


@given(st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=5), min_size=1, max_size=5))
def test_after_resets_what_was_seen_of_each_life_is_added_up(lives: list[list[int]]) -> None:
    # Each life is seen at 0, or a reset to a higher value than before could not be seen.
    values, expected = [0.0], 0.0
    for steps in lives:
        values.append(0.0)
        for step in steps:
            values.append(values[-1] + step)
        expected += values[-1]
    assert rise_of_counter(values) == expected
