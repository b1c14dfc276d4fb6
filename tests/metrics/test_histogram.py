"""Quantiles, by the rules and the values of Prometheus' histogram_quantile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.histogram import interpolate_quantile

LATENCIES = {0.1: 50.0, 0.5: 90.0, 1.0: 99.0, math.inf: 100.0}


@pytest.mark.parametrize(
    ("quantile", "value"),
    [
        (0.0, 0.0),
        (0.25, 0.05),  # half-way into the lowest bucket, which begins at 0
        (0.5, 0.1),
        (0.7, 0.3),
        (0.99, 1.0),
        (0.995, 1.0),  # beyond the highest finite bound nothing is known
        (1.0, 1.0),
    ],
)
def test_observations_are_spread_evenly_in_their_bucket(quantile: float, value: float) -> None:
    assert interpolate_quantile(quantile, LATENCIES) == pytest.approx(value)


def test_a_lowest_bucket_at_or_below_zero_has_no_beginning() -> None:
    assert interpolate_quantile(0.5, {-1.0: 10.0, math.inf: 10.0}) == -1.0


def test_empty_buckets_do_not_hold_a_quantile() -> None:
    assert interpolate_quantile(0.0, {1.0: 0.0, 2.0: 0.0, 4.0: 8.0, math.inf: 8.0}) == 2.0


def test_counts_that_fall_are_taken_to_stay_level() -> None:
    assert interpolate_quantile(0.9, {1.0: 10.0, 2.0: 8.0, math.inf: 9.0}) == pytest.approx(0.9)


def test_a_count_that_is_no_number_gives_none() -> None:
    assert math.isnan(interpolate_quantile(0.5, {1.0: math.nan, math.inf: 3.0}))


@given(
    st.dictionaries(st.floats(-100, 100), st.integers(0, 1000), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_higher_quantile_is_never_lower_and_stays_in_the_bounds(
    counts: dict[float, int], one: float, other: float
) -> None:
    whole = {**{bound: float(count) for bound, count in counts.items()}, math.inf: 1001.0}
    low, high = sorted((one, other))
    values = [interpolate_quantile(low, whole), interpolate_quantile(high, whole)]
    assert values[0] <= values[1] + 1e-9
    assert all(min(0.0, *counts) <= value <= max(counts) + 1e-9 for value in values)
