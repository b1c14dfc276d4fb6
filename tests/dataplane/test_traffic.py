"""Counting what became of requests."""

import pytest

from adapters.dataplane.traffic import MESH_ITSELF, Traffic, TrafficCounter


def test_shares_and_error_ratios_of_the_versions() -> None:
    counter = TrafficCounter()
    for _ in range(75):
        counter.record_answer("v1", 200, 0.01)
    for number in range(25):
        counter.record_answer("v2", 500 if number % 5 == 0 else 200, 0.01)
    counter.sent = 101
    counter.connection_errors = 1

    traffic = counter.read(seconds=2.0)

    assert traffic.share("v1") == 0.75
    assert traffic.share("v2") == 0.25
    assert traffic.of("v1").error_ratio == 0.0
    assert traffic.of("v2").by_class == {2: 20, 5: 5}
    assert traffic.of("v2").error_ratio == 0.2
    assert traffic.failures == 6
    assert traffic.requests_per_second == 50.5


def test_nothing_counted_is_zero_and_not_an_error() -> None:
    traffic = Traffic()
    assert traffic.answers == traffic.failures == 0
    assert traffic.requests_per_second == traffic.share("v1") == traffic.of("v1").error_ratio == 0.0
    assert traffic.latency(0.99) == 0.0


def test_two_moments_subtract_to_what_happened_between_them() -> None:
    counter = TrafficCounter()
    counter.sent = 2
    counter.record_answer("v1", 200, 1.0)
    counter.record_answer("v1", 200, 1.0)
    earlier = counter.read(seconds=1.0)
    counter.sent = 4
    counter.record_answer("v2", 200, 0.001)
    counter.record_answer(MESH_ITSELF, 503, 0.001)

    between = counter.read(seconds=3.0).since(earlier)

    assert between.seconds == 2.0
    assert between.sent == 2
    assert set(between.versions) == {"v2", MESH_ITSELF}
    assert between.share("v2") == 0.5
    assert between.failures == 1
    assert between.latency(1.0) == pytest.approx(0.001, rel=0.05)
    assert earlier.of("v1").answers == 2, "an earlier reading does not change"


@pytest.mark.parametrize("seconds", [0.00004, 0.0002, 0.003, 0.7, 5.0])
def test_a_latency_is_kept_to_five_per_cent(seconds: float) -> None:
    counter = TrafficCounter()
    counter.record_answer("v1", 200, seconds)
    assert max(seconds, 0.00005) <= counter.read(1.0).latency(0.5) * 1.0001
    assert counter.read(1.0).latency(0.5) <= max(seconds, 0.00005) * 1.0501


def test_quantiles_of_fast_and_slow_answers() -> None:
    counter = TrafficCounter()
    for _ in range(90):
        counter.record_answer("v1", 200, 0.002)
    for _ in range(10):
        counter.record_answer("v1", 200, 0.5)
    traffic = counter.read(1.0)
    assert traffic.latency(0.5) == pytest.approx(0.002, rel=0.05)
    assert traffic.latency(0.9) == pytest.approx(0.002, rel=0.05)
    assert traffic.latency(0.95) == pytest.approx(0.5, rel=0.05)
