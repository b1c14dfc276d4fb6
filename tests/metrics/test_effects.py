"""What clients got, against what was asked for: when a weight counts as obeyed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from adapters.metrics.effects import EffectChecker, judge_effect
from adapters.metrics.measuring import Measurer
from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.outcome import Query as RenderedQuery
from engine.errors import Retryable, Undecided
from engine.events import Measured, MeasureOutcome
from engine.model import Action, ActionKind, Effect, Query, Snapshot, State, TimerName
from tests.builders import percent, rollout_spec, smi_route, target_plan
from tests.clocks import START

EFFECT = Effect("web", Query("canary", "counts", "canary"), Query("all", "counts", "all"), tolerance=200)


def counted(query: str, value: float) -> Measured:
    return Measured(query, MeasureOutcome.VALUE, value)


@pytest.mark.parametrize(
    ("asked", "canary", "everybody"),
    [(2_500, 250, 1_000), (2_500, 190, 1_000), (10, 0, 1_000), (10_000, 985, 1_000), (5_000, 440, 1_000), (0, 15, 1_000)],
)
def test_a_share_within_the_tolerance_and_chance_is_obeyed(asked: int, canary: float, everybody: float) -> None:
    told = judge_effect(EFFECT, asked, counted("canary", canary), counted("all", everybody))
    assert f"{canary:.0f} of {everybody:.0f} requests" in told


@pytest.mark.parametrize(
    ("asked", "canary", "everybody"), [(2_500, 180, 1_000), (10_000, 970, 1_000), (5_000, 250, 500 * 4), (0, 30, 1_000)]
)
def test_a_share_beyond_it_is_not(asked: int, canary: float, everybody: float) -> None:
    with pytest.raises(Retryable, match="the weight is not obeyed") as refused:
        judge_effect(EFFECT, asked, counted("canary", canary), counted("all", everybody))
    assert not isinstance(refused.value, Undecided)


def test_no_request_at_all_for_the_new_version_is_a_weight_without_an_effect() -> None:
    nothing = Measured("canary", MeasureOutcome.NO_DATA, None, "no series")
    with pytest.raises(Retryable, match=r"no effect: clients get 0 % .*25 % was asked for; are the callers in the mesh"):
        judge_effect(EFFECT, 2_500, nothing, counted("all", 1_000))


@pytest.mark.parametrize(
    ("canary", "everybody", "why"),
    [
        (counted("canary", 20), counted("all", 99), "only 99 requests"),
        (counted("canary", 200), counted("all", 150), "correct the queries"),
        (Measured("canary", MeasureOutcome.ERROR, None, "no"), counted("all", 1_000), "canary could not be measured: no"),
        (counted("canary", 2), Measured("all", MeasureOutcome.SEVERAL_SERIES, None, "two"), "all could not be measured"),
        (counted("canary", 0), Measured("all", MeasureOutcome.NO_DATA), "only 0 requests"),
    ],
)
def test_what_cannot_be_told_is_undecided(canary: Measured, everybody: Measured, why: str) -> None:
    with pytest.raises(Undecided, match=why):
        judge_effect(EFFECT, 2_500, canary, everybody)


class FixedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


class Counts:
    """A provider that has counted 1,000 requests, a quarter of them for the new version, and remembers the windows."""

    def __init__(self) -> None:
        self.windows: list[tuple[datetime, datetime]] = []
        self.prepared: list[str] = []

    async def measure(self, query: RenderedQuery) -> Outcome:
        self.windows.append((query.start, query.end))
        return Outcome(OutcomeKind.VALUE, 250.0 if query.text == "canary" else 1_000.0, "")

    def prepare(self, texts: list[str], window: timedelta) -> None:
        self.prepared.extend(texts)


async def test_the_window_begins_after_the_weight_was_read_back_and_is_the_last_interval() -> None:
    plan = replace(target_plan([percent(25)], route=smi_route()), effects=(EFFECT,))
    action = Action(7, "check", ActionKind.CHECK_EFFECT, {"route": "web", "weight": 2_500})
    counts = Counts()
    measurer = Measurer({"counts": counts}, lambda template, *others: template)
    snapshot = Snapshot(State.SHIFTING, START, timers={TimerName.WAIT: START + timedelta(seconds=EFFECT.timeout_seconds)})

    async def look(after: float) -> str:
        checker = EffectChecker(measurer, FixedClock(START + timedelta(seconds=after)))
        return (await checker.perform(rollout_spec(plan), snapshot, action)).note

    with pytest.raises(Undecided, match="the window of 10 s is not over") as early:
        await look(4.0)
    assert early.value.retry_after_seconds == 6.0
    assert set(counts.prepared) == {"canary", "all"}
    assert not counts.windows
    assert "25 % from the new version (250 of 1000 requests)" in await look(17.0)
    assert set(counts.windows) == {(START + timedelta(seconds=7), START + timedelta(seconds=17))}
