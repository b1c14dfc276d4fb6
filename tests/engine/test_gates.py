"""Conditions around and beside a deployment: several at once, before it, after it, and in the background."""

from __future__ import annotations

import anyio
import pytest

from engine.errors import CommandRefused, Doubtful, Rejected, Retryable
from engine.events import ActionSucceeded, CommandKind, Measured, Measurements, MeasureOutcome
from engine.gates import sign_callback
from engine.model import (
    Action,
    ActionKind,
    Analysis,
    Approval,
    Gate,
    GateStep,
    NoDataPolicy,
    OnFailure,
    Parallel,
    Pause,
    Query,
    ReleaseStatus,
    RolloutSpec,
    RunCommand,
    Snapshot,
    State,
    Step,
    Verdict,
    Webhook,
)
from tests.builders import error_rate, percent, pod_ratio_route, release_plan, target_plan, watched
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

NO_DATA = Measured("error-rate", MeasureOutcome.NO_DATA, detail="nobody asked for anything")
HOOK = Webhook("smoke", "POST", "https://ci.example.com")


def texts(stage: Stage, rollout: str = "r1.production") -> str:
    return "\n".join(entry.text for entry in stage.journal.entries[rollout])


async def until_status(stage: Stage, status: ReleaseStatus) -> None:
    with anyio.fail_after(10.0):
        while (found := await stage.store.release("r1")) is None or found.status is not status:
            await stage.journal.changed.wait()


# --- several at the same time ------------------------------------------------------------------------------------------


def test_conditions_of_one_step_run_at_the_same_time_and_all_must_hold() -> None:
    async def story() -> None:
        stage = Stage()
        step = Parallel((Pause(60.0), error_rate(runs=3, interval=20.0), Approval()))
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), step])), by="a test", source="test")
            await stage.until_state(State.GATING)
            begun = stage.clock.now()
            await stage.until(lambda: sum(gate.passed for gate in stage.snapshot().gates) == 2)
            assert (stage.clock.now() - begun).total_seconds() == pytest.approx(60.0, abs=1.0)
            assert stage.snapshot().state is State.GATING
            await engine.command("r1", order(CommandKind.APPROVE, step=1))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_condition_that_fails_does_not_wait_for_a_person() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.5]
        step = Parallel((Approval(), error_rate(runs=1)))
        assert await stage.roll_out(release_plan(target_plan([percent(25), step]))) is ReleaseStatus.FAILED
        assert "outside of" in stage.snapshot().reason
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_a_contact_that_hangs_in_its_retries_holds_up_none_of_the_others() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["call:2.1:smoke"] = [Retryable("busy")] * 8
        hook = Webhook("smoke", "POST", "https://ci.example.com", retries=9, callback=False)
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Parallel((hook, error_rate(runs=2, interval=1.0)))])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.GATING)
            begun = stage.clock.now()
            await stage.until(lambda: any(gate.passed for gate in stage.snapshot().gates))
            assert (stage.clock.now() - begun).total_seconds() < 3.0
            assert not next(gate for gate in stage.snapshot().gates if gate.id == "step:1.0").passed
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_two_approvals_by_different_roles_are_answered_one_by_one() -> None:
    async def story() -> None:
        stage = Stage()
        step = Parallel((Approval(roles=("Captain",)), Approval(roles=("Pilot",))))
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), step])), by="a test", source="test")
            await stage.until_state(State.GATING)
            with pytest.raises(CommandRefused, match="asks for an approval by one of these roles: Captain, Pilot"):
                await engine.command("r1", order(CommandKind.APPROVE, roles=("Cook",)))
            await engine.command("r1", order(CommandKind.APPROVE, roles=("pilot",)))
            assert [gate.answer for gate in stage.snapshot().gates] == [None, Verdict.PASSED]
            with pytest.raises(CommandRefused, match="by one of these roles: Captain"):
                await engine.command("r1", order(CommandKind.APPROVE, roles=("Pilot",)))
            await engine.command("r1", order(CommandKind.APPROVE, gate="step:1.0"))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_an_approval_is_reminded_of_before_it_expires() -> None:
    async def story() -> None:
        stage = Stage()
        approval = Approval(expires_seconds=600.0, remind_seconds=300.0)
        status = await stage.roll_out(release_plan(target_plan([percent(25), approval])))
        assert status is ReleaseStatus.FAILED
        told = texts(stage)
        assert told.index("reminder: an approval is still awaited, which expires in 300 s") < told.index("the approval expired")

    run_in_virtual_time(story)


# --- before ------------------------------------------------------------------------------------------------------------


def test_nothing_is_done_before_the_conditions_before_it_hold() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25)], before=[Approval(), Pause(30.0)])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until(lambda: any(gate.passed for gate in snapshot_gates(stage)))
            assert (stage.snapshot().state, stage.world.performed) == (State.WAITING, [])
            await until_status(stage, ReleaseStatus.AWAITING_APPROVAL)
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_condition_that_fails_before_a_deployment_stops_it_and_what_depends_on_it() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.5]
        first = target_plan([percent(25)], target="first", namespace="one", before=[error_rate(runs=1)])
        second = target_plan([percent(25)], target="second", namespace="two", depends_on=["first"])
        assert await stage.roll_out(release_plan(first, second)) is ReleaseStatus.FAILED
        assert stage.snapshot("r1.first").state is State.FAILED
        assert stage.snapshot("r1.second").state is State.CANCELLED
        assert "target first, which it depends on, did not succeed" in stage.snapshot("r1.second").reason
        assert not any(name.startswith(("record", "freeze")) for name in stage.world.performed)

    run_in_virtual_time(story)


def test_the_conditions_before_a_target_wait_for_the_targets_before_it() -> None:
    async def story() -> None:
        stage = Stage()
        first = target_plan([percent(25)], target="first", namespace="one")
        second = target_plan([percent(25)], target="second", namespace="two", depends_on=["first"], before=[Pause(10.0)])
        async with stage.daemon() as engine:
            await engine.submit(release_plan(first, second), by="a test", source="test")
            await stage.until_state(State.SUCCEEDED, "r1.first")
            ended = stage.clock.now()
            assert "r1.second" not in stage.journal.snapshots
            await stage.until_state(State.PREPARING, "r1.second")
            assert (stage.clock.now() - ended).total_seconds() == pytest.approx(10.0, abs=1.0)

    run_in_virtual_time(story)


@pytest.mark.parametrize("kind", [CommandKind.REJECT, CommandKind.ABORT])
def test_a_person_says_no_before_anything_was_deployed(kind: CommandKind) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25)], before=[Approval()])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until(lambda: "r1.production" in stage.journal.snapshots)
            await engine.command("r1", order(kind))
            ended = await stage.until_ended()
        expected = ReleaseStatus.FAILED if kind is CommandKind.REJECT else ReleaseStatus.CANCELLED
        assert (ended.status, stage.world.performed) == (expected, [])

    run_in_virtual_time(story)


# --- after -------------------------------------------------------------------------------------------------------------


def test_what_fails_after_a_deployment_leaves_it_and_cancels_what_depends_on_it() -> None:
    """As CD-as-a-Service did."""

    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.5]
        first = target_plan([percent(25)], target="first", namespace="one", after=[error_rate(runs=1)])
        second = target_plan([percent(25)], target="second", namespace="two", depends_on=["first"])
        assert await stage.roll_out(release_plan(first, second)) is ReleaseStatus.FAILED
        assert stage.snapshot("r1.first").state is State.FAILED
        assert stage.snapshot("r1.first").served == 10_000
        assert stage.world.places["r1.first"].is_promoted()
        assert stage.snapshot("r1.second").state is State.CANCELLED

    run_in_virtual_time(story)


def test_what_fails_after_a_deployment_brings_the_old_version_back_where_the_file_says_so() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.0, 0.5]
        bake = error_rate(runs=10, interval=60.0, abort_on_failed=True)
        plan = target_plan([percent(25)], after=[bake], on_failure=OnFailure.ROLL_BACK)
        assert await stage.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert stage.story()[-4:] == [State.VERIFYING, State.ABORTING, State.RESTORING, State.ROLLED_BACK]
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_an_abort_after_a_deployment_brings_the_old_version_back() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25)], after=[Approval()])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.VERIFYING)
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_a_target_counts_as_done_when_the_conditions_after_it_hold() -> None:
    async def story() -> None:
        stage = Stage()
        first = target_plan([percent(25)], target="first", namespace="one", after=[Pause(120.0), error_rate(runs=2)])
        second = target_plan([percent(25)], target="second", namespace="two", depends_on=["first"])
        async with stage.daemon() as engine:
            await engine.submit(release_plan(first, second), by="a test", source="test")
            await stage.until_state(State.VERIFYING, "r1.first")
            begun = stage.clock.now()
            await stage.until_state(State.PREPARING, "r1.second")
            assert (stage.clock.now() - begun).total_seconds() == pytest.approx(120.0, abs=2.0)
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


# --- in the background -------------------------------------------------------------------------------------------------


def test_the_background_ends_a_rollout_in_the_middle_of_a_pause() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.0, 0.5]
        plan = target_plan([percent(25), Pause(3_600.0)], background=[watched()])
        assert await stage.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "analysis failed: 1 of 3 runs outside of the limits, 0 allowed" in stage.snapshot().reason
        assert stage.story()[-3] is State.ABORTING
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_a_budget_forgives_as_many_runs_as_it_says() -> None:
    async def story(budget: int) -> ReleaseStatus:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.5, 0.0, 0.5, 0.0]
        plan = target_plan([percent(25), Pause(100.0)], background=[watched(budget=budget)])
        return await stage.roll_out(release_plan(plan))

    assert run_in_virtual_time(lambda: story(2)) is ReleaseStatus.SUCCEEDED
    assert run_in_virtual_time(lambda: story(1)) is ReleaseStatus.FAILED


def test_a_step_with_a_budget_sees_the_spike_that_a_mean_hides() -> None:
    async def story(budget: int | None) -> ReleaseStatus:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.02, 0.0, 0.0]
        plan = target_plan([percent(25), error_rate(0.01, runs=4, failure_budget=budget)])
        return await stage.roll_out(release_plan(plan))

    assert run_in_virtual_time(lambda: story(None)) is ReleaseStatus.SUCCEEDED
    assert run_in_virtual_time(lambda: story(0)) is ReleaseStatus.FAILED
    assert run_in_virtual_time(lambda: story(1)) is ReleaseStatus.SUCCEEDED


def test_the_background_goes_on_while_the_rollout_is_held() -> None:
    """A bad version serves while somebody thinks."""

    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Pause(30.0)], background=[watched()])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            await engine.command("r1", order(CommandKind.PAUSE))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_a_router_that_hangs_does_not_keep_the_background_from_ending_the_rollout() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["set-weight:web:5000"] = [Retryable("the API server is away")] * 40
        stage.world.error_rate["error-rate"] = [0.0, 0.0, 0.5]
        plan = target_plan([percent(25), percent(50)], background=[watched()])
        assert await stage.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "outside of the limits" in stage.snapshot().reason

    run_in_virtual_time(story)


def test_without_data_the_policy_hold_asks_a_person_instead_of_failing() -> None:
    async def story(answer: CommandKind) -> ReleaseStatus:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [NO_DATA]
        query = Query("error-rate", "metrics", "errors", upper=0.01, no_data=NoDataPolicy.HOLD)
        step = Analysis(queries=(query,), interval_seconds=10.0, runs=2, patience_seconds=60.0)
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), step])), by="a test", source="test")
            await stage.until(lambda: "waiting for a person" in texts_if_any(stage))
            await until_status(stage, ReleaseStatus.AWAITING_APPROVAL)
            await engine.command("r1", order(answer))
            return (await stage.until_ended()).status

    assert run_in_virtual_time(lambda: story(CommandKind.APPROVE)) is ReleaseStatus.SUCCEEDED
    assert run_in_virtual_time(lambda: story(CommandKind.REJECT)) is ReleaseStatus.FAILED


def texts_if_any(stage: Stage) -> str:
    return texts(stage) if "r1.production" in stage.journal.entries else ""


def test_a_background_without_data_holds_the_rollout_until_there_is_data_again() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.0, *[NO_DATA] * 9, 0.0]
        plan = target_plan([percent(25), Pause(85.0), percent(50)], background=[watched(no_data=NoDataPolicy.HOLD)])
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until(lambda: "r1.production" in stage.journal.snapshots and bool(stage.snapshot().held))
            assert stage.snapshot().held == "no data to judge by: no usable data for 60 s"
            assert stage.snapshot().weight == 2_500
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert "there is data again" in texts(stage)

    run_in_virtual_time(story)


def test_the_background_is_measured_on_its_grid_whatever_else_goes_on_and_not_made_up_for() -> None:
    async def story() -> None:
        stage = Stage()
        plan = target_plan([percent(25), Pause(100.0)], background=[watched(interval=10.0)])
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            await anyio.sleep(35.0)
        await anyio.sleep(300.0)
        async with stage.daemon():
            await stage.until_ended()
        measured = [entry.at for entry in stage.journal.entries["r1.production"] if "next: measure" in entry.text]
        started = next(e.at for e in stage.journal.entries["r1.production"] if e.destination is State.SHIFTING)
        offsets = [(at - started).total_seconds() % 10.0 for at in measured[:3]]
        assert offsets == pytest.approx([0.0] * 3, abs=0.1)
        assert len(measured) <= 6, "runs that fell into the daemon's absence were made up for"

    run_in_virtual_time(story)


# --- callbacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "after", "step"])
def test_a_callback_is_taken_once_and_for_its_own_condition_only(place: str) -> None:
    async def story() -> None:
        stage = Stage()
        gates: dict[str, list[GateStep]] = {"before": [], "after": [], "step": []}
        gates[place] = [HOOK, Approval()]
        steps = [Parallel(tuple(gates["step"]))] if gates["step"] else []
        plan = target_plan([percent(25), *steps], before=gates["before"], after=gates["after"])
        gate_id = {"before": "before:0", "after": "after:0", "step": "step:1.0"}[place]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until(lambda: any(gate.called for gate in snapshot_gates(stage)))
            (stored,) = engine.rollouts("r1")
            wrong, right = sign_callback(stored.spec, "step:7"), sign_callback(stored.spec, gate_id)
            assert not engine.callback("r1.production", wrong, Verdict.PASSED, "")
            assert engine.callback("r1.production", right, Verdict.PASSED, "all green")
            await stage.until(lambda: any(gate.passed for gate in stage.snapshot().gates))
            assert not engine.callback("r1.production", right, Verdict.FAILED, "a second thought")
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
            assert not engine.callback("r1.production", right, Verdict.FAILED, "much too late")

    run_in_virtual_time(story)


def snapshot_gates(stage: Stage) -> tuple[Gate, ...]:
    return stage.snapshot().gates if "r1.production" in stage.journal.snapshots else ()


def test_an_answer_that_comes_before_the_call_returns_is_enough() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["call:2:smoke"] = [Retryable("no answer in time")] * 5
        hook = Webhook("smoke", "POST", "https://ci.example.com", retries=9)
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), hook])), by="a test", source="test")
            await stage.until(lambda: "call:2:smoke failed" in texts_if_any(stage))
            (stored,) = engine.rollouts("r1")
            assert engine.callback("r1.production", sign_callback(stored.spec, "step:1"), Verdict.PASSED, "")
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


@pytest.mark.parametrize("error", [Rejected("410 Gone"), Doubtful("403")])
def test_a_call_that_is_refused_fails_the_condition(error: Exception) -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["call:after-1:smoke"] = [error] * 10
        plan = target_plan([percent(25)], after=[HOOK])
        assert await stage.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert stage.snapshot().state is State.FAILED
        assert str(error) in stage.snapshot().reason

    run_in_virtual_time(story)


# --- skip and promote --------------------------------------------------------------------------------------------------


def test_a_wait_can_be_skipped_and_a_move_cannot() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Pause(3_600.0), error_rate(runs=100), HOOK])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.SHIFTING)
            with pytest.raises(CommandRefused, match="which cannot be skipped"):
                await engine.command("r1", order(CommandKind.SKIP))
            for step, state in ((1, State.PAUSING), (2, State.ANALYSING), (3, State.CALLING)):
                await stage.until_state(state)
                with pytest.raises(CommandRefused, match="was meant for another step"):
                    await engine.command("r1", order(CommandKind.SKIP, step=step - 1))
                await engine.command("r1", order(CommandKind.SKIP, step=step))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert texts(stage).count("skipped by ada") >= 3

    run_in_virtual_time(story)


def test_an_approval_is_skipped_by_whoever_may_give_it() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Approval(roles=("Captain",))])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            with pytest.raises(CommandRefused, match="roles: Captain"):
                await engine.command("r1", order(CommandKind.SKIP, roles=("Cook",)))
            await engine.command("r1", order(CommandKind.SKIP, roles=("CAPTAIN",)))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_promotion_leaves_out_waits_and_weights_but_no_condition() -> None:
    async def story() -> None:
        stage = Stage()
        waits: list[Step] = [percent(10), Pause(3_600.0), percent(20), error_rate(runs=1)]
        steps: list[Step] = [*waits, Pause(3_600.0), percent(30), Approval(), percent(40)]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan(steps)), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            begun = stage.clock.now()
            await engine.command("r1", order(CommandKind.PROMOTE))
            with pytest.raises(CommandRefused, match="on its way to the end already"):
                await engine.command("r1", order(CommandKind.PROMOTE))
            await stage.until_state(State.APPROVING)
            assert stage.snapshot().weight == 1_000
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
            assert (stage.clock.now() - begun).total_seconds() < 60
        assert [name for name in stage.world.performed if name.startswith("set-weight")] == [
            "set-weight:web:1000",
            "set-weight:web:10000",
        ]
        assert "measure:4:1" not in stage.world.performed  # Measuring writes nothing; it is in the journal.
        assert "next: measure:4:1" in texts(stage)

    run_in_virtual_time(story)


def test_a_promotion_never_goes_past_an_abort_or_a_hold() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Pause(3_600.0)])), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            await engine.command("r1", order(CommandKind.PAUSE))
            with pytest.raises(CommandRefused, match="is held; resume it first"):
                await engine.command("r1", order(CommandKind.PROMOTE))
            await engine.command("r1", order(CommandKind.ABORT))
            with pytest.raises(CommandRefused, match="a promotion never goes past an abort"):
                await engine.command("r1", order(CommandKind.PROMOTE))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_an_approval_and_an_abort_at_the_same_instant_end_in_the_abort() -> None:
    async def story(first: CommandKind, second: CommandKind) -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()])), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            async with anyio.create_task_group() as tasks:
                for kind in (first, second):
                    tasks.start_soon(attempt, engine, kind)
            ended = await stage.until_ended()
        assert ended.status is ReleaseStatus.FAILED
        assert "aborted by ada" in ended.reason
        assert stage.world.places["r1.production"].is_as_found()

    async def attempt(engine: object, kind: CommandKind) -> None:
        try:
            await engine.command("r1", order(kind))  # type: ignore[attr-defined]
        except CommandRefused:
            assert kind is CommandKind.APPROVE

    run_in_virtual_time(lambda: story(CommandKind.APPROVE, CommandKind.ABORT))
    run_in_virtual_time(lambda: story(CommandKind.ABORT, CommandKind.APPROVE))


def test_a_test_that_takes_its_time_to_end_does_not_hold_up_the_way_back() -> None:
    async def story() -> None:
        stage = Stage()
        told_to_end: list[float] = []

        async with stage.daemon() as engine:
            perform = stage.world.perform

            async def slowly(spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
                if action.kind is not ActionKind.RUN_COMMAND:
                    return await perform(spec, snapshot, action)
                try:
                    await anyio.sleep(3_600)
                finally:
                    told_to_end.append(stage.clock.monotonic())
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(30)
                raise AssertionError("it was cancelled")

            stage.world.perform = slowly  # type: ignore[method-assign]
            await engine.submit(release_plan(target_plan([percent(25), RunCommand("smoke")])), by="a test", source="test")
            await stage.until_state(State.CALLING)
            await anyio.sleep(5)
            await engine.command("r1", order(CommandKind.ABORT))
            await stage.until(lambda: "abort-weight:web" in stage.world.performed)
            assert stage.clock.monotonic() - told_to_end[0] < 2
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


@pytest.mark.parametrize("place", ["step", "background"])
def test_a_measurement_that_parks_the_rollout_is_made_again_when_it_goes_on(place: str) -> None:
    async def story() -> int:
        stage = Stage()
        analysis = error_rate(runs=3)
        is_step = place == "step"
        stage.world.faults["measure:2:2" if is_step else "measure:background-1:2"] = [RuntimeError("a defect of ours")]
        steps: list[Step] = [percent(25), analysis if is_step else Pause(100.0)]
        async with stage.daemon() as engine:
            plan = target_plan(steps, background=[] if is_step else [watched()])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.PARKED)
            await anyio.sleep(7.0)
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
        return texts(stage).count("error-rate = 0")

    assert run_in_virtual_time(story) >= (3 if place == "step" else 9)


def test_a_promotion_leaves_out_a_pause_before_the_deployment_whenever_it_is_ordered() -> None:
    async def story() -> float:
        stage = Stage()
        async with stage.daemon() as engine:
            first = target_plan([percent(25), Pause(60.0)], target="staging")
            second = target_plan([percent(25)], depends_on=["staging"], before=[Pause(3_600.0)])
            await engine.submit(release_plan(first, second), by="a test", source="test")
            await engine.command("r1", order(CommandKind.PROMOTE), "production")
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
            return stage.clock.monotonic()

    assert run_in_virtual_time(story) < 600.0


def test_a_promotion_by_pods_alone_goes_on_from_the_pods_that_there_are() -> None:
    """The weights that it leaves out have moved no pods."""

    async def story() -> str:
        stage = Stage()
        steps: list[Step] = [percent(34), Pause(3_600.0), percent(67), error_rate(runs=1)]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan(steps, route=pod_ratio_route())), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            await engine.command("r1", order(CommandKind.PROMOTE))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert stage.world.places["r1.production"].is_promoted()
        return texts(stage)

    assert "held" not in run_in_virtual_time(story)


def test_a_preparation_is_tried_again_also_when_its_first_run_is_due_by_then() -> None:
    async def story() -> ReleaseStatus:
        stage = Stage()
        stage.world.faults["prepare-metrics:2"] = [Retryable("too many requests", 300.0)]
        return await stage.roll_out(release_plan(target_plan([percent(25), error_rate(runs=2)])))

    assert run_in_virtual_time(story) is ReleaseStatus.SUCCEEDED
