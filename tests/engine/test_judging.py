"""What an analysis makes of its runs, who has the last word on it, and how long a webhook's verdict is waited for."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from engine.events import CommandKind
from engine.judgement import window, within_limits
from engine.model import Analysis, Lookback, Mode, Query, ReleaseStatus, State, Webhook
from tests.builders import error_rate, percent, release_plan, target_plan
from tests.clocks import START, run_in_virtual_time
from tests.engine.stage import Stage, order

GOOD, BAD = 0.0, 0.9


def ends(step: Analysis | Webhook, *values: float) -> tuple[ReleaseStatus, str]:
    """How a rollout with this step ends, and why it was undone."""

    async def story() -> tuple[ReleaseStatus, str]:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [*values]
        status = await stage.roll_out(release_plan(target_plan([percent(25), step])))
        return status, stage.snapshot().reason

    return run_in_virtual_time(story)


@pytest.mark.parametrize(
    ("value", "status"), [(0.1, ReleaseStatus.FAILED), (0.5, ReleaseStatus.SUCCEEDED), (0.9, ReleaseStatus.SUCCEEDED)]
)
def test_a_lower_limit_is_the_least_that_passes(value: float, status: ReleaseStatus) -> None:
    query = Query("error-rate", "metrics", "sales", lower=0.5)
    assert ends(Analysis(queries=(query,), interval_seconds=10.0, runs=2), value)[0] is status


@pytest.mark.parametrize(
    ("lower", "upper", "value", "within"),
    [
        (None, 1.0, 1.0, True),
        (None, 1.0, 1.001, False),
        (0.5, None, 0.5, True),
        (0.5, None, 0.499, False),
        (0.5, 1.0, 0.75, True),
        (0.5, 1.0, 0.0, False),
        (0.5, 1.0, 2.0, False),
    ],
)
def test_a_value_equal_to_a_limit_is_within_it(lower: float | None, upper: float | None, value: float, within: bool) -> None:
    assert within_limits(Query("q", "metrics", "q", upper=upper, lower=lower), value) is within


def test_a_growing_window_begins_with_the_step_and_a_sliding_one_is_an_interval_long() -> None:
    now = START + timedelta(seconds=25)
    growing, sliding = error_rate(runs=5), error_rate(runs=5, lookback=Lookback.SLIDING)
    assert window(growing, START, now) == (START, now)
    assert window(sliding, START, now) == (now - timedelta(seconds=10), now)
    early = START + timedelta(seconds=4)
    assert window(sliding, START, early) == (START, early), "nothing from before the step counts"


def test_the_mean_of_all_runs_is_judged_unless_the_first_bad_run_is_to_be_the_end() -> None:
    runs = [BAD, GOOD, GOOD]
    assert ends(error_rate(0.5, runs=3), *runs)[0] is ReleaseStatus.SUCCEEDED
    status, reason = ends(error_rate(0.5, runs=3, abort_on_failed=True), *runs)
    assert (status, reason) == (ReleaseStatus.FAILED, "analysis failed: error-rate = 0.9, outside of at most 0.5")


@pytest.mark.parametrize(("runs", "status"), [(1, ReleaseStatus.FAILED), (4, ReleaseStatus.SUCCEEDED)])
def test_each_query_is_measured_as_often_as_the_step_says_one_interval_apart(runs: int, status: ReleaseStatus) -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [BAD, GOOD]
        async with stage.daemon() as engine:
            step = error_rate(0.5, runs=runs, interval=30.0)
            await engine.submit(release_plan(target_plan([percent(25), step])), by="a test", source="test")
            await stage.until_state(State.ANALYSING)
            began = stage.clock.now()
            await stage.until(lambda: stage.snapshot().state is not State.ANALYSING)
            assert (stage.clock.now() - began).total_seconds() == pytest.approx(30.0 * runs, abs=1.0)
            assert (await stage.until_ended()).status is status

    run_in_virtual_time(story)


@pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.REJECT])
@pytest.mark.parametrize("value", [GOOD, BAD])
def test_where_a_mode_is_manual_a_person_has_the_last_word(value: float, answer: CommandKind) -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [value]
        step = error_rate(runs=1, roll_back=Mode.MANUAL, roll_forward=Mode.MANUAL)
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), step, percent(50)])), by="a test", source="test")
            await until_waiting(stage)
            await anyio.sleep(600.0)
            assert (stage.snapshot().state, stage.snapshot().weight) == (State.ANALYSING, 2_500)
            await engine.command("r1", order(answer, step=1))
            ended = (await stage.until_ended()).status
            assert ended is (ReleaseStatus.SUCCEEDED if answer is CommandKind.APPROVE else ReleaseStatus.FAILED)

    run_in_virtual_time(story)


@pytest.mark.parametrize(
    ("value", "step", "status"),
    [
        (GOOD, error_rate(runs=1, roll_back=Mode.MANUAL), ReleaseStatus.SUCCEEDED),
        (BAD, error_rate(runs=1, roll_forward=Mode.MANUAL), ReleaseStatus.FAILED),
    ],
    ids=["rollBackMode", "rollForwardMode"],
)
def test_a_mode_asks_only_about_its_own_direction(value: float, step: Analysis, status: ReleaseStatus) -> None:
    assert ends(step, value)[0] is status


async def until_waiting(stage: Stage) -> None:
    with anyio.fail_after(600.0):
        while (found := await stage.store.release("r1")) is None or found.status is not ReleaseStatus.AWAITING_APPROVAL:
            await stage.journal.changed.wait()


def test_a_verdict_that_does_not_come_in_time_is_a_bad_one() -> None:
    hook = Webhook("smoke", "POST", "https://ci.example.com", timeout_seconds=1_200.0)
    assert ends(hook) == (ReleaseStatus.FAILED, "webhook smoke did not call back within 1200 s")


def test_without_a_verdict_to_wait_for_an_answered_call_is_enough() -> None:
    assert ends(Webhook("smoke", "POST", "https://ci.example.com", callback=False))[0] is ReleaseStatus.SUCCEEDED
