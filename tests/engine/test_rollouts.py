"""Stories of rollouts, told on the model world in virtual time."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import pytest

from engine.absorbing import DOUBTS, DOUBTS_AT_FIRST
from engine.errors import CommandRefused, Conflict, Doubtful, Rejected, Retryable, StoreError
from engine.events import CommandKind, Measured, MeasureOutcome
from engine.model import Analysis, Approval, NoDataPolicy, Pause, Query, Release, ReleaseStatus, State, Step
from engine.ports import Commit
from tests.builders import error_rate, percent, pod_ratio_route, release_plan, target_plan
from tests.clocks import START, LoopClock, run_in_virtual_time
from tests.engine.stage import Stage, order

FULL = (percent(25), Pause(30.0), error_rate(), percent(50), Approval())


def test_a_canary_goes_through_its_steps_and_is_promoted() -> None:
    async def story() -> None:
        stage = Stage()
        status = await stage.roll_out(release_plan(target_plan([percent(25), Pause(30.0), error_rate()])))
        assert status is ReleaseStatus.SUCCEEDED
        assert stage.world.places["r1.production"].is_promoted()
        assert stage.story() == [
            State.WAITING,
            State.PREPARING,
            State.SCALING,
            State.SHIFTING,
            State.PAUSING,
            State.ANALYSING,
            State.PROMOTING,
            State.FINALISING,
            State.SUCCEEDED,
        ]

    run_in_virtual_time(story)


def test_the_split_stands_before_any_pod_of_the_canary_exists() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.roll_out(release_plan(target_plan([percent(10)])))
        done = stage.world.performed
        assert done.index("ensure-stable-service:web") < done.index("ensure-route:web") < done.index("scale-canary:web:3")

    run_in_virtual_time(story)


def test_a_failing_analysis_puts_everything_back() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.05]
        status = await stage.roll_out(release_plan(target_plan([percent(25), error_rate(0.01)])))
        assert status is ReleaseStatus.FAILED
        assert stage.world.places["r1.production"].is_as_found()
        assert "error-rate = 0.05, outside of at most 0.01" in stage.snapshot().reason

    run_in_virtual_time(story)


def test_an_analysis_value_equal_to_its_limit_passes() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.01]
        status = await stage.roll_out(release_plan(target_plan([percent(25), error_rate(0.01)])))
        assert status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_quiet_hour_is_waited_for_and_does_not_fail_the_canary() -> None:
    async def story() -> None:
        stage = Stage()
        quiet = Measured("error-rate", MeasureOutcome.NO_DATA, detail="no requests in the window")
        stage.world.error_rate["error-rate"] = [quiet, quiet, 0.0]
        status = await stage.roll_out(release_plan(target_plan([percent(25), error_rate(runs=1)])))
        assert status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


@pytest.mark.parametrize("outcome", [o for o in MeasureOutcome if o is not MeasureOutcome.VALUE])
def test_no_value_for_longer_than_the_patience_fails_with_the_reason(outcome: MeasureOutcome) -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [Measured("error-rate", outcome, detail="the detail")]
        status = await stage.roll_out(release_plan(target_plan([percent(25), error_rate(runs=1)])))
        assert status is ReleaseStatus.FAILED
        assert str(outcome) in stage.snapshot().reason
        assert "the detail" in stage.snapshot().reason

    run_in_virtual_time(story)


def test_the_policies_for_no_data_are_pass_and_fail_too() -> None:
    async def story(policy: NoDataPolicy) -> ReleaseStatus:
        stage = Stage()
        query = Query("error-rate", "metrics", "errors", upper=0.01, no_data=policy)
        stage.world.error_rate["error-rate"] = [Measured("error-rate", MeasureOutcome.NO_DATA)]
        steps: list[Step] = [percent(25), Analysis(queries=(query,), interval_seconds=10, runs=1)]
        return await stage.roll_out(release_plan(target_plan(steps)))

    assert run_in_virtual_time(lambda: story(NoDataPolicy.PASS)) is ReleaseStatus.SUCCEEDED
    assert run_in_virtual_time(lambda: story(NoDataPolicy.FAIL)) is ReleaseStatus.FAILED


def test_a_pod_ratio_canary_ends_as_the_deployments_own_version() -> None:
    async def story() -> None:
        stage = Stage()
        plan = target_plan([percent(34), percent(67)], route=pod_ratio_route())
        assert await stage.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        place = stage.world.places["r1.production"]
        assert place.is_promoted() and place.stable_owned and place.desired == 3

    run_in_virtual_time(story)


def test_a_pod_ratio_canary_grows_before_the_old_version_shrinks() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.roll_out(release_plan(target_plan([percent(34)], route=pod_ratio_route())))
        done = stage.world.performed
        assert done.index("scale-canary:web:1") < done.index("scale-stable:web:2")

    run_in_virtual_time(story)


ABORTABLE = (
    State.PREPARING,
    State.SHIFTING,
    State.PAUSING,
    State.ANALYSING,
    State.APPROVING,
    State.PROMOTING,
    State.FINALISING,
)


@pytest.mark.parametrize(
    ("route", "state"),
    [("mesh", State.SCALING), *((route, state) for route in ("mesh", "pod ratio") for state in ABORTABLE)],
)
def test_an_abort_in_any_state_puts_everything_back(route: str, state: State) -> None:
    async def story() -> None:
        stage = Stage()
        plan = target_plan(FULL, route=pod_ratio_route() if route == "pod ratio" else None)
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            if state in (State.PROMOTING, State.FINALISING):
                await stage.until_state(State.APPROVING)
                await engine.command("r1", order(CommandKind.APPROVE))
            await stage.until_state(state)
            await engine.command("r1", order(CommandKind.ABORT))
            ended = await stage.until_ended()
        assert ended.status in (ReleaseStatus.FAILED, ReleaseStatus.REJECTED)
        assert "aborted by ada" in ended.reason
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_an_approval_lets_the_rollout_go_on_and_a_rejection_undoes_it() -> None:
    async def story(answer: CommandKind) -> ReleaseStatus:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()])), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(answer, step=1))
            return (await stage.until_ended()).status

    assert run_in_virtual_time(lambda: story(CommandKind.APPROVE)) is ReleaseStatus.SUCCEEDED
    assert run_in_virtual_time(lambda: story(CommandKind.REJECT)) is ReleaseStatus.FAILED


def test_an_approval_expires() -> None:
    async def story() -> None:
        stage = Stage()
        status = await stage.roll_out(release_plan(target_plan([percent(25), Approval(expires_seconds=60.0)])))
        assert status is ReleaseStatus.FAILED
        assert stage.snapshot().reason == "the approval expired"

    run_in_virtual_time(story)


def test_a_late_approval_never_applies_to_another_step() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Approval(), percent(50), Approval()])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.APPROVE, step=1))
            await stage.until(lambda: stage.snapshot().step == 3)
            with pytest.raises(CommandRefused, match="was meant for another step"):
                await engine.command("r1", order(CommandKind.APPROVE, step=1))
            assert stage.snapshot().state is State.APPROVING

    run_in_virtual_time(story)


def test_a_paused_rollout_stays_where_it_is_until_it_is_resumed() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Pause(10.0)])), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            await engine.command("r1", order(CommandKind.PAUSE))
            await anyio.sleep(1_000)
            assert stage.snapshot().state is State.PAUSING
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_pods_that_never_become_ready_end_the_rollout_with_what_is_wrong() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.canary_starts = False
        status = await stage.roll_out(release_plan(target_plan([percent(25)], ready_timeout=60.0)))
        assert status is ReleaseStatus.FAILED
        assert "not true after 60 s" in stage.snapshot().reason
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_a_canary_that_loses_all_its_pods_is_undone_at_once() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Pause(10_000.0)])), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            began = stage.clock.monotonic()
            stage.world.places["r1.production"].canary_available = 0
            stage.world.wake("r1.production")
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
            assert stage.clock.monotonic() - began < 10

    run_in_virtual_time(story)


def test_a_busy_api_is_tried_again_and_a_refusing_one_undoes_the_rollout() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["set-weight:web:2500"] = [Retryable("503"), "timed out", Retryable("429", 20.0)]
        assert await stage.roll_out(release_plan(target_plan([percent(25)]))) is ReleaseStatus.SUCCEEDED
        stage.world.faults["ensure-canary-service:web"] = [Rejected("services is forbidden")]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25)])), by="a test", source="test")
            assert (await stage.until_ended("r2")).status is ReleaseStatus.FAILED
        assert "services is forbidden" in stage.snapshot("r2.production").reason

    run_in_virtual_time(story)


def test_what_the_first_look_refuses_is_rejected_with_nothing_changed() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["record:web"] = [Rejected("the TrafficSplit web is not ours")]
        assert await stage.roll_out(release_plan(target_plan([percent(25)]))) is ReleaseStatus.REJECTED
        assert stage.world.performed == []
        assert stage.snapshot().state is State.REJECTED

    run_in_virtual_time(story)


def test_an_error_that_nobody_foresaw_parks_and_a_person_lets_it_go_on() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["set-weight:web:2500"] = [ZeroDivisionError("a defect")]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25)])), by="a test", source="test")
            await stage.until_state(State.PARKED)
            await anyio.sleep(5_000)
            assert stage.snapshot().state is State.PARKED
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_an_abort_goes_on_whatever_fails_until_the_traffic_is_back() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [0.5]
        stage.world.faults["abort-weight:web"] = [Rejected("forbidden"), ZeroDivisionError("x"), Retryable("503")] * 20
        assert await stage.roll_out(release_plan(target_plan([percent(25), error_rate()]))) is ReleaseStatus.FAILED
        assert stage.world.places["r1.production"].is_as_found()

    run_in_virtual_time(story)


def test_drift_holds_the_rollout_until_somebody_says_what_to_do() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Pause(10.0), percent(50)])), by="a test", source="t")
            await stage.until_state(State.PAUSING)
            stage.world.drift = "somebody edited the template of web"
            stage.world.wake("r1.production")
            await stage.until(lambda: bool(stage.snapshot().held))
            await anyio.sleep(500)
            assert stage.snapshot().step == 1
            stage.world.drift = ""
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_second_release_of_the_same_application_is_refused_while_one_runs() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([Pause(60.0)])), by="a test", source="test")
            with pytest.raises(Conflict, match="r1"):
                await engine.submit(release_plan(target_plan([Pause(60.0)])), by="a test", source="test")
            await stage.until_ended()
            await engine.submit(release_plan(target_plan([])), by="a test", source="test")
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_targets_wait_for_those_they_depend_on_and_are_cancelled_with_them() -> None:
    async def story(error: float) -> tuple[ReleaseStatus, list[State]]:
        stage = Stage()
        stage.world.error_rate["error-rate"] = [error]
        staging = target_plan([percent(25), error_rate()], target="staging")
        production = target_plan([percent(25)], target="production", depends_on=["staging"])
        status = await stage.roll_out(release_plan(staging, production))
        return status, stage.story("r1.production")

    status, states = run_in_virtual_time(lambda: story(0.0))
    assert (status, states[-1]) == (ReleaseStatus.SUCCEEDED, State.SUCCEEDED)
    status, states = run_in_virtual_time(lambda: story(0.5))
    assert (status, states) == (ReleaseStatus.FAILED, [State.WAITING, State.CANCELLED])


def test_a_full_disk_delays_a_rollout_and_breaks_nothing() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25)])), by="a test", source="test")
            await stage.until_state(State.SCALING)
            stage.store.failing = 10
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


async def refused(refusals: int, *, action: str = "set-weight:web:2500", away: int = 0) -> tuple[ReleaseStatus, str]:
    """By an API server that was not there for so many attempts before."""
    stage = Stage()
    stage.world.faults[action] = [*[Retryable("no answer")] * away, *[Doubtful("forbidden")] * refusals]
    status = await stage.roll_out(release_plan(target_plan([percent(25)])))
    return status, stage.snapshot().reason


@pytest.mark.parametrize("away", [0, 3, 20])
def test_a_refusal_that_may_pass_is_asked_again_before_it_is_believed(away: int) -> None:
    """An API server that has just started forbids everybody everything for a moment, however long it was away before."""
    assert run_in_virtual_time(lambda: refused(DOUBTS, away=away)) == (ReleaseStatus.SUCCEEDED, "")
    told = run_in_virtual_time(lambda: refused(DOUBTS + 1, away=away))
    assert told == (ReleaseStatus.FAILED, "set-weight:web:2500: forbidden")


@pytest.mark.parametrize("away", [0, 20])
def test_so_is_one_of_the_first_look_before_the_release_is_rejected(away: int) -> None:
    assert run_in_virtual_time(lambda: refused(DOUBTS_AT_FIRST, action="record:web", away=away)) == (ReleaseStatus.SUCCEEDED, "")
    told = run_in_virtual_time(lambda: refused(DOUBTS_AT_FIRST + 1, action="record:web", away=away))
    assert told == (ReleaseStatus.REJECTED, "forbidden")


def test_a_workload_is_rolled_out_by_one_release_at_a_time_whatever_the_application_is_called() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([Approval()])), by="a test", source="test")
            with pytest.raises(Conflict, match=r"Deployment web in namespace shop .* is being rolled out by release r1"):
                await engine.submit(release_plan(target_plan([]), application="typo"), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.APPROVE))
            await stage.until_ended()
            await engine.submit(release_plan(target_plan([]), application="typo"), by="a test", source="test")

    run_in_virtual_time(story)


@pytest.mark.parametrize(
    ("step", "state", "ends"),
    [
        (Pause(60.0), State.PAUSING, ReleaseStatus.SUCCEEDED),
        (Approval(expires_seconds=100.0), State.APPROVING, ReleaseStatus.FAILED),
        (error_rate(runs=2, interval=10.0), State.ANALYSING, ReleaseStatus.SUCCEEDED),
    ],
)
def test_a_rollout_that_was_parked_keeps_its_deadlines(step: Step, state: State, ends: ReleaseStatus) -> None:
    async def story() -> ReleaseStatus:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), step])), by="a test", source="test")
            await stage.until_state(state)
            stage.world.defects = 1
            stage.world.wake("r1.production")
            await stage.until_state(State.PARKED)
            await engine.command("r1", order(CommandKind.RESUME))
            return (await stage.until_ended()).status

    assert run_in_virtual_time(story) is ends


def test_what_cannot_be_read_stops_no_abort() -> None:
    async def story() -> tuple[ReleaseStatus, int]:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()])), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            stage.world.defects = 1_000_000
            stage.world.wake("r1.production")
            await stage.until_state(State.PARKED)
            await engine.command("r1", order(CommandKind.ABORT))
            await stage.until(lambda: stage.snapshot().weight == 0)
            stage.world.defects = 0
            return (await stage.until_ended()).status, stage.snapshot().weight

    assert run_in_virtual_time(story) == (ReleaseStatus.FAILED, 0)


def test_nobody_holds_up_an_abort_by_asking_for_an_hour() -> None:
    async def story() -> float:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()])), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            stage.world.faults["abort-weight:web"] = [Retryable("too many requests", 3_600.0)]
            began = stage.clock.monotonic()
            await engine.command("r1", order(CommandKind.ABORT))
            await stage.until_ended()
            return stage.clock.monotonic() - began

    assert run_in_virtual_time(story) < 60.0


def test_an_older_status_never_replaces_a_newer_one() -> None:
    async def story() -> ReleaseStatus:
        stage = Stage()
        real, refused = stage.store.update_release, list[Release]()

        async def update_release(release: Release) -> None:
            if release.status is ReleaseStatus.AWAITING_APPROVAL and not refused:
                refused.append(release)
                raise StoreError("the disk is full for a moment")
            await real(release)

        stage.store.update_release = update_release  # type: ignore[method-assign]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()], settle=0.0)), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            await stage.until_ended()
            await stage.clock.sleep(60.0)
            assert refused
            return (await stage.store.release("r1")).status  # type: ignore[union-attr]

    assert run_in_virtual_time(story) is ReleaseStatus.FAILED


def test_a_text_that_nobody_can_write_down_harms_neither_its_rollout_nor_the_others() -> None:
    async def story() -> tuple[ReleaseStatus, str]:
        stage = Stage()
        stage.world.faults["set-weight:web:2500"] = [Rejected("answered 500 Erreur intern\udce9")]
        status = await stage.roll_out(release_plan(target_plan([percent(25)])))
        return status, stage.snapshot().reason

    assert run_in_virtual_time(story) == (ReleaseStatus.FAILED, "set-weight:web:2500: answered 500 Erreur intern?")


def test_a_commit_that_fails_in_an_unforeseen_way_is_tried_again_and_ends_no_daemon() -> None:
    async def story() -> ReleaseStatus:
        stage = Stage()
        real, failed = stage.store.commit, list[Commit]()

        async def commit(one: Commit) -> None:
            if len(failed) < 3:
                failed.append(one)
                raise OverflowError("a defect of ours")
            await real(one)

        stage.store.commit = commit  # type: ignore[assignment, method-assign]
        status = await stage.roll_out(release_plan(target_plan([percent(25)])))
        assert len(failed) == 3
        return status

    assert run_in_virtual_time(story) is ReleaseStatus.SUCCEEDED


def test_a_step_to_all_pods_does_not_wait_for_the_old_ones_that_it_takes_away() -> None:
    async def story() -> tuple[ReleaseStatus, list[str]]:
        stage = Stage()
        plan = target_plan([percent(34), percent(100), Pause(5.0)], route=pod_ratio_route())
        status = await stage.roll_out(release_plan(plan))
        return status, [entry.text for entry in stage.journal.entries["r1.production"] if "held" in entry.text]

    assert run_in_virtual_time(story) == (ReleaseStatus.SUCCEEDED, [])


def test_what_cannot_be_read_loses_no_news_of_a_rollout_that_waits() -> None:
    """It cannot park, so nobody would ever give it a push."""

    async def story() -> ReleaseStatus:
        stage = Stage()
        plan = target_plan([percent(25)], before=[error_rate(runs=2), Pause(30.0)])
        stage.world.defects = 6
        return await stage.roll_out(release_plan(plan))

    assert run_in_virtual_time(story) is ReleaseStatus.SUCCEEDED


class ClockThatIsSetBack(LoopClock):
    """Once, just after somebody has read that the moment has come."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self._moment: datetime | None = moment

    def now(self) -> datetime:
        now = super().now()
        if self._moment is not None and now >= self._moment:
            self._moment = None
            self.jump(-40.0)
        return now


def test_a_clock_that_is_set_back_in_the_very_moment_of_a_deadline_loses_no_deadline() -> None:
    async def story() -> ReleaseStatus:
        stage = Stage(clock=ClockThatIsSetBack(START + timedelta(seconds=100.0)))
        plan = target_plan([percent(25)], before=[Pause(100.0)])
        return await stage.roll_out(release_plan(plan))

    assert run_in_virtual_time(story) is ReleaseStatus.SUCCEEDED


def test_a_message_without_end_is_kept_in_its_beginning() -> None:
    async def story() -> int:
        stage = Stage()
        stage.world.faults["set-weight:web:2500"] = [Retryable("no " * 1_000_000)]
        await stage.roll_out(release_plan(target_plan([percent(25)])))
        return max(len(entry.text) for entry in stage.journal.entries["r1.production"])

    assert 1_000 < run_in_virtual_time(story) < 10_000
