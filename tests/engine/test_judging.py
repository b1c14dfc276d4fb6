"""What an analysis makes of its runs: its limits and windows, and who has the last word about its verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.events import CommandKind
from engine.judgement import window, within_limits
from engine.model import Analysis, Lookback, Mode, Query, ReleaseStatus, State
from tests.builders import percent, release_plan, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)
ERRORS = Query("error-rate", "metrics", "errors", upper=0.01)


def analysis(runs: int, *, mode: Mode = Mode.AUTOMATIC, abort_on_failed: bool = False) -> Analysis:
    """Every 10 s."""
    return Analysis(
        queries=(ERRORS,), interval_seconds=10.0, runs=runs, abort_on_failed=abort_on_failed, roll_back=mode, roll_forward=mode
    )


def ask_a_person(rates: list[float], answer: CommandKind) -> ReleaseStatus:
    """How the release ends when both modes are manual; the person is asked in either case."""

    async def story() -> ReleaseStatus:
        stage = Stage()
        stage.world.error_rate["error-rate"] = list(rates)
        plan = target_plan([percent(25), analysis(2, mode=Mode.MANUAL)])
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.ANALYSING)
            await stage.until(lambda: any(gate.verdict is not None for gate in stage.snapshot().gates))
            assert stage.snapshot().weight == 2_500
            await engine.command("r1", order(answer, step=1))
            return (await stage.until_ended()).status

    return run_in_virtual_time(story)


@pytest.mark.parametrize("rates", [[0.0, 0.0], [0.5, 0.5]], ids=["rollForwardMode", "rollBackMode"])
@pytest.mark.parametrize(
    ("answer", "end"), [(CommandKind.APPROVE, ReleaseStatus.SUCCEEDED), (CommandKind.REJECT, ReleaseStatus.FAILED)]
)
def test_where_the_mode_is_manual_a_person_has_the_last_word(
    rates: list[float], answer: CommandKind, end: ReleaseStatus
) -> None:
    assert ask_a_person(rates, answer) is end


def test_a_mode_is_about_its_own_verdict_only() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.5]
        step = Analysis(queries=(ERRORS,), interval_seconds=10.0, runs=1, roll_forward=Mode.MANUAL)
        assert await stage.roll_out(release_plan(target_plan([percent(25), step]))) is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_the_first_bad_run_ends_an_analysis_that_says_so() -> None:
    async def story(abort_on_failed: bool) -> tuple[ReleaseStatus, int]:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.02, 0.0, 0.0, 0.0]
        plan = target_plan([percent(25), analysis(5, abort_on_failed=abort_on_failed)])
        ended = await stage.roll_out(release_plan(plan))
        return ended, sum("error-rate = " in entry.text for entry in stage.journal.entries["r1.production"])

    assert run_in_virtual_time(lambda: story(False))[0] is ReleaseStatus.SUCCEEDED
    ended, told = run_in_virtual_time(lambda: story(True))
    assert (ended, told) == (ReleaseStatus.FAILED, 2)


def test_a_growing_window_begins_with_the_step_and_a_sliding_one_is_an_interval_long() -> None:
    now = BEGUN + timedelta(seconds=25)
    growing = Analysis(queries=(ERRORS,), interval_seconds=10.0, runs=5)
    sliding = Analysis(queries=(ERRORS,), interval_seconds=10.0, runs=5, lookback=Lookback.SLIDING)
    assert window(growing, BEGUN, now) == (BEGUN, now)
    assert window(sliding, BEGUN, now) == (now - timedelta(seconds=10), now)
    early = BEGUN + timedelta(seconds=4)
    assert window(sliding, BEGUN, early) == (BEGUN, early), "nothing from before the step counts"


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
