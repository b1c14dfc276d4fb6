"""A weight without an effect stops the rollout: how long it is looked for, and what follows where nothing can be told."""

from __future__ import annotations

from msgspec.structs import replace

from engine.errors import Retryable, Undecided
from engine.model import Effect, OnTimeout, Query, ReleasePlan, ReleaseStatus, State
from tests.builders import percent, release_plan, smi_route, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage

EFFECT = Effect("web", Query("canary", "p", "c"), Query("all", "p", "a"), interval_seconds=10.0, timeout_seconds=60.0)
CHECK = "check-effect:web:2500"


def plan_with(effect: Effect) -> ReleasePlan:
    return release_plan(replace(target_plan([percent(25)], route=smi_route()), effects=(effect,)))


def test_a_step_ends_when_its_effect_was_seen_and_so_does_the_promotion() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults[CHECK] = [Undecided("the window is not over", 10.0), Retryable("not obeyed", 10.0)]
        assert await told.roll_out(plan_with(EFFECT)) is ReleaseStatus.SUCCEEDED
        performed = told.world.performed
        assert performed.index("set-weight:web:2500") < performed.index(CHECK) < performed.index("set-weight:web:10000")
        assert performed.index("check-effect:web:10000") < performed.index("replace-template:web")

    run_in_virtual_time(story)


def test_a_weight_without_an_effect_is_undone_with_that_reason_when_its_time_is_over() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults[CHECK] = [Retryable("the weight has no effect: clients get 0 %", 10.0)] * 50
        started = told.clock.now()
        assert await told.roll_out(plan_with(EFFECT)) is ReleaseStatus.FAILED
        assert "the weight has no effect: clients get 0 %" in told.snapshot().reason
        assert "not after 60 s" in told.snapshot().reason
        assert 60 <= (told.clock.now() - started).total_seconds() < 130
        assert "set-weight:web:10000" not in told.world.performed
        assert told.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_without_traffic_the_file_says_whether_to_go_on() -> None:
    async def story() -> None:
        for policy, end in ((OnTimeout.FAIL, ReleaseStatus.FAILED), (OnTimeout.PROCEED, ReleaseStatus.SUCCEEDED)):
            told = Stage()
            told.world.faults[CHECK] = [Undecided("only 3 requests", 10.0)] * 50
            assert await told.roll_out(plan_with(replace(EFFECT, without_traffic=policy))) is end

    run_in_virtual_time(story)


def test_a_share_that_is_wrong_fails_also_where_too_little_traffic_would_pass() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults[CHECK] = [Retryable("not obeyed", 10.0)] * 50
        assert await told.roll_out(plan_with(replace(EFFECT, without_traffic=OnTimeout.PROCEED))) is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_an_effect_is_looked_for_again_after_a_crash_within_the_same_time() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults[CHECK] = [Retryable("not obeyed", 10.0)] * 50
        async with told.daemon() as engine:
            await engine.submit(plan_with(EFFECT), by="ada", source="test")
            await told.until_state(State.SHIFTING)
            await told.until(lambda: told.snapshot().failures >= 2)
        async with told.daemon():
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
            assert "not after 60 s" in told.snapshot().reason

    run_in_virtual_time(story)
