"""Whose turn it is: releases of one application one after the other, and no more rollouts at a time than there is room for."""

from __future__ import annotations

from datetime import UTC, datetime, time

import anyio
import pytest

from engine.admission import Limits, Weekday, Window, Windows
from engine.daemon import AdmissionRules, Engine
from engine.errors import Conflict, StoreError
from engine.events import CommandKind
from engine.model import Approval, ConcurrencyPolicy, Pause, Release, ReleaseStatus, State, Step, TargetPlan
from tests.builders import percent, release_plan, target_plan
from tests.clocks import START, run_in_virtual_time
from tests.engine.stage import Stage, order

WAITING: list[Step] = [percent(25), Approval()]


async def submit(
    engine: Engine,
    *targets: TargetPlan,
    application: str = "shop",
    policy: ConcurrencyPolicy = ConcurrencyPolicy.REJECT,
) -> Release:
    plans = targets or (target_plan(WAITING),)
    return await engine.submit(release_plan(*plans, application=application, concurrency=policy), by="ada", source="test")


# --- one application ---------------------------------------------------------------------------------------------------


def test_a_second_start_is_refused_unless_the_file_says_otherwise() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            with pytest.raises(Conflict, match="release r1 of shop is"):
                await submit(engine)

    run_in_virtual_time(story)


def test_a_release_waits_for_the_one_that_runs() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            second = await submit(engine, target_plan([percent(25)]), policy=ConcurrencyPolicy.ENQUEUE_ONE)
            assert (second.status, second.queued) == (ReleaseStatus.QUEUED, True)
            await anyio.sleep(100)
            assert "r2.production" not in stage.journal.snapshots
            assert engine.why_waiting("r2.production") == "waits for release r1, which is AWAITING_APPROVAL"
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended("r1")).status is ReleaseStatus.SUCCEEDED
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED
        begun = stage.journal.entries["r2.production"][0].at
        assert begun >= stage.journal.entries["r1.production"][-1].at

    run_in_virtual_time(story)


def test_one_release_waits_and_a_newer_one_takes_its_place() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            await submit(engine, policy=ConcurrencyPolicy.ENQUEUE_ONE)
            await submit(engine, target_plan([percent(25)]), policy=ConcurrencyPolicy.ENQUEUE_ONE)
            replaced = await stage.until_ended("r2")
            assert (replaced.status, replaced.reason) == (
                ReleaseStatus.CANCELLED,
                "aborted by headgate: release r3 takes its place",
            )
            assert stage.snapshot("r1.production").state is State.APPROVING
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended("r3")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_replacing_puts_the_running_one_back_before_the_new_one_begins() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            await submit(engine, target_plan([percent(25)]), policy=ConcurrencyPolicy.REPLACE)
            assert (await stage.until_ended("r1")).status is ReleaseStatus.FAILED
            assert stage.snapshot("r1.production").reason == "aborted by headgate: release r2 takes its place"
            assert stage.world.places["r1.production"].is_as_found()
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED
        assert stage.journal.entries["r2.production"][0].at >= stage.journal.entries["r1.production"][-1].at

    run_in_virtual_time(story)


@pytest.mark.parametrize("policy", [ConcurrencyPolicy.ENQUEUE_ONE, ConcurrencyPolicy.REPLACE])
def test_the_queue_is_there_after_a_restart(policy: ConcurrencyPolicy) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            await submit(engine, policy=ConcurrencyPolicy.ENQUEUE_ONE)
            # The daemon dies in the middle of it: the newest is on disk, and nobody was told to make room for it.
            plan = release_plan(target_plan([percent(25)]), concurrency=policy)
            release, stored = engine._new_release(plan, "ada", "test", stage.clock.now())
            await stage.store.add_release(release, stored, stage.clock.now())
        async with stage.daemon() as engine:
            assert (await stage.until_ended("r2")).status is ReleaseStatus.CANCELLED
            if policy is ConcurrencyPolicy.ENQUEUE_ONE:
                await engine.command("r1", order(CommandKind.APPROVE))
            expected = ReleaseStatus.FAILED if policy is ConcurrencyPolicy.REPLACE else ReleaseStatus.SUCCEEDED
            assert (await stage.until_ended("r1")).status is expected
            assert (await stage.until_ended("r3")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_release_that_waits_can_be_cancelled() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            await submit(engine, policy=ConcurrencyPolicy.ENQUEUE_ONE)
            await engine.command("r2", order(CommandKind.ABORT))
            assert (await stage.until_ended("r2")).status is ReleaseStatus.CANCELLED
            assert stage.snapshot("r1.production").state is State.APPROVING

    run_in_virtual_time(story)


# --- room --------------------------------------------------------------------------------------------------------------


def test_no_more_rollouts_go_on_at_a_time_than_the_limits_allow() -> None:
    async def story(rules: AdmissionRules, most: int, most_east: int) -> None:
        stage = Stage(rules=rules)
        under_way: list[tuple[int, int]] = []

        def count() -> None:
            active = [at for at in stage.journal.snapshots.items() if at[1].state not in (State.WAITING, State.SUCCEEDED)]
            east = [rollout for rollout, _ in active if int(rollout[1:].partition(".")[0]) % 2]
            under_way.append((len(active), len(east)))

        stage.world.hooks.append(lambda moment, action: count())
        async with stage.daemon() as engine:
            for number in range(8):
                account = "east" if number % 2 == 0 else "west"
                plan = target_plan([percent(25), Pause(20.0)], account=account, namespace=f"n{number}")
                await submit(engine, plan, application=f"app{number}")
            for number in range(8):
                assert (await stage.until_ended(f"r{number + 1}")).status is ReleaseStatus.SUCCEEDED
        assert max(total for total, _ in under_way) == most
        assert max(east for _, east in under_way) == most_east

    run_in_virtual_time(lambda: story(AdmissionRules(), 8, 4))
    run_in_virtual_time(lambda: story(AdmissionRules(Limits(rollouts=3)), 3, 2))
    run_in_virtual_time(lambda: story(AdmissionRules(Limits(accounts={"east": 1})), 5, 1))


def test_what_waits_for_room_says_so_and_keeps_its_place_over_a_restart() -> None:
    async def story() -> None:
        stage = Stage(rules=AdmissionRules(Limits(rollouts=1)))
        async with stage.daemon() as engine:
            for number in range(3):
                await submit(engine, target_plan(WAITING, namespace=f"n{number}"), application=f"app{number}")
            await stage.until_state(State.APPROVING)
            reason = "1 rollout is under way, and the limit is 1: it begins when there are fewer"
            assert engine.why_waiting("r2.production") == reason
        async with stage.daemon() as engine:
            for number in (1, 2, 3):
                await stage.until_state(State.APPROVING, f"r{number}.production")
                assert f"r{number + 1}.production" not in stage.journal.snapshots
                await engine.command(f"r{number}", order(CommandKind.APPROVE))
                assert (await stage.until_ended(f"r{number}")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_conditions_before_a_deployment_take_no_room() -> None:
    """Somebody may answer after days."""

    async def story() -> None:
        stage = Stage(rules=AdmissionRules(Limits(rollouts=1)))
        async with stage.daemon() as engine:
            await submit(engine, target_plan([percent(25)], namespace="n1", before=[Approval()]), application="slow")
            await submit(engine, target_plan([percent(25)], namespace="n2"), application="quick")
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended("r1")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_rollout_begins_when_its_window_opens_and_goes_on_when_it_closes() -> None:
    window = Window(time(22, 0), time(22, 1), UTC, frozenset(Weekday))

    async def story() -> None:
        stage = Stage(rules=AdmissionRules(otherwise=Windows((window,))))
        async with stage.daemon() as engine:
            await submit(engine, target_plan([percent(25), Pause(600.0)]))
            await anyio.sleep(60)
            reason = "rollouts begin in their windows only (daily 22:00-22:01 UTC): the next one may begin at "
            assert engine.why_waiting("r1.production").startswith(reason)
            with anyio.fail_after(90_000):
                while "r1.production" not in stage.journal.snapshots:
                    await stage.journal.changed.wait()
            opens = datetime(START.year, START.month, START.day, 22, tzinfo=UTC)
            assert 0 <= (stage.journal.entries["r1.production"][0].at - opens).total_seconds() < 31
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story, limit_seconds=200_000)


def test_an_undo_asks_for_no_room_and_no_window() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await submit(engine)
            await stage.until_state(State.APPROVING)
            closed = Windows((Window(time(22, 0), time(22, 1), UTC, frozenset({Weekday.SUN})),))
            engine.set_rules(AdmissionRules(Limits(rollouts=0), otherwise=closed))
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_a_rollout_that_is_held_before_it_begins_begins_when_it_is_resumed() -> None:
    async def story() -> None:
        stage = Stage(rules=AdmissionRules(Limits(rollouts=1)))
        async with stage.daemon() as engine:
            await submit(engine, target_plan(WAITING, namespace="n1"), application="first")
            await submit(engine, target_plan([percent(25)], namespace="n2"), application="second")
            await stage.until_state(State.APPROVING)
            await engine.command("r2", order(CommandKind.PAUSE))
            await engine.command("r1", order(CommandKind.APPROVE))
            await stage.until_ended("r1")
            await anyio.sleep(60)
            assert stage.snapshot("r2.production").state is State.WAITING
            await engine.command("r2", order(CommandKind.RESUME))
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_a_release_that_could_not_be_written_down_holds_up_nobody_behind_it() -> None:
    async def story() -> None:
        stage = Stage()
        real, is_written = stage.store.add_release, anyio.Event()

        async def add_release(release: Release, *rest: object) -> None:
            if release.id == "r1":
                await is_written.wait()
                raise StoreError("the disk is full")
            await real(release, *rest)  # type: ignore[arg-type]
            is_written.set()

        stage.store.add_release = add_release  # type: ignore[assignment, method-assign]
        outcomes: list[str] = []

        async def try_to_submit(engine: Engine) -> None:
            try:
                await submit(engine)
            except StoreError as error:
                outcomes.append(str(error))

        async with stage.daemon() as engine:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(try_to_submit, engine)
                await anyio.sleep(1.0)
                await submit(engine, target_plan([percent(25)]), policy=ConcurrencyPolicy.ENQUEUE_ONE)
            assert outcomes == ["the disk is full"]
            assert (await stage.until_ended("r2")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)
