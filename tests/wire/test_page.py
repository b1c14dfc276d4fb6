"""The figures, and the page that they are written on."""

from __future__ import annotations

import math
from collections import Counter

from tests.wire.enduring import Endured
from tests.wire.figures import Measured, Split, quantile
from tests.wire.page import Machine, write_page
from tests.wire.trouble import Halted
from tests.wire.trouble_page import troubles_of, with_troubles, write_troubles

MACHINE = Machine({"Envoy": "1.40.0"}, "2 cores", "2026-01-05")


def test_a_share_is_judged_against_chance() -> None:
    assert Split(0.001, 20, 20_000).deviations == 0
    assert Split(0.001, 29, 20_000).holds
    assert not Split(0.001, 35, 20_000).holds
    assert not Split(0.5, 2_650, 5_000).holds


def test_what_is_certain_knows_no_chance() -> None:
    assert Split(1.0, 5_000, 5_000).holds
    assert Split(1.0, 4_999, 5_000).deviations == -math.inf


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 201)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([3.0], 0.99)) == (100.0, 198.0, 3.0)


def test_the_page_has_every_figure_and_every_failure() -> None:
    measured = Measured("SMI TrafficSplit", "Envoy", [Split(0.25, 1_250, 5_000), Split(0.5, 2_650, 5_000)])
    measured.stories = {"start": (5_000, 0), "abort": (1_200, 1)}
    measured.findings = ["abort: status 503 (web-stable=1,web-canary=1)"]
    measured.changes = [0.02, 0.04, 0.03]
    page = write_page([measured], MACHINE)
    assert "**6,200 requests in all, 1 of them failed.** 2 weights" in page
    assert "| abort | 1,200 / 1 |" in page
    assert "- SMI TrafficSplit: abort: status 503 (web-stable=1,web-canary=1)" in page
    assert "| SMI TrafficSplit | 25 % | 5,000 | 1,250 | 25.000 % | +0.00 |" in page
    assert "| SMI TrafficSplit | 3 | 30 | 40 | 40 | 0 | | | |" in page
    assert "| Envoy | 1.40.0 |" in page
    assert not measured.is_well


def test_the_part_about_troubles_is_exchanged_by_itself() -> None:
    page = write_page([Measured("SMI TrafficSplit", "Envoy")], MACHINE)
    measured = Measured("SMI TrafficSplit", "Envoy", stories={"etcd stands still": (1_300, 0)})
    endured = Endured([measured], {"etcd stands still": Halted(Counter({"shifting": 2, "aborting": 1}))}, restarts=7)
    first = with_troubles(page, write_troubles(endured, MACHINE))
    assert "**1,300 requests, 0 of\nthem failed.**" in first
    assert "| etcd stands still | 1,300 / 0 |" in first
    assert "| etcd stands still | 2 | 1 |" in first
    measured.stories["etcd stands still"] = (1_400, 3)
    measured.findings = ["etcd stands still: 3 times from 11:13:03.120 to 11:13:03.310: status 503: no available server ()"]
    second = with_troubles(first, write_troubles(endured, MACHINE))
    assert "1,300" not in second
    assert "| etcd stands still | 1,400 / 3 |" in second
    assert f"- SMI TrafficSplit: {measured.findings[0]}\n" in second
    assert second.replace(troubles_of(second), "") == first.replace(troubles_of(first), "")
    assert second.count("## What took part") == 1
    assert with_troubles(page, troubles_of(second)) == second
