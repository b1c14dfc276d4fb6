"""A restart with many rollouts in flight: every deadline is where it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import anyio
import pytest

from engine.errors import Deposed
from engine.model import Action, ActionKind, Approval, Pause, ReleaseStatus, State
from engine.observation import Observation
from engine.ports import Commit
from tests.builders import percent, release_plan, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage

MANY = 200


async def begin(stage: Stage, pauses: dict[str, float]) -> None:
    """All rollouts at their pause; then the daemon dies."""
    async with stage.daemon() as engine:
        for application, seconds in pauses.items():
            plan = target_plan([percent(25), Pause(seconds)], settle=0.0, namespace=application)
            await engine.submit(release_plan(plan, application=application), by="a test", source="test")
        rollouts = [f"r{number + 1}.production" for number in range(len(pauses))]
        for rollout in rollouts:
            await stage.until_state(State.PAUSING, rollout)


def test_a_pause_of_60_s_that_had_run_40_s_has_20_s_left_in_each_of_200_rollouts() -> None:
    async def story() -> None:
        stage = Stage()
        await begin(stage, {f"app{number}": 60.0 for number in range(MANY)})
        deadlines = {rollout: at.deadlines["step:1"] for rollout, at in stage.journal.snapshots.items()}
        latest = max(deadlines.values())
        await anyio.sleep((latest - timedelta(seconds=20) - stage.clock.now()).total_seconds())
        async with stage.daemon():
            for rollout, deadline in deadlines.items():
                await stage.until_state(State.SUCCEEDED, rollout)
                ended = next(e for e in stage.journal.entries[rollout] if e.destination is State.PROMOTING)
                assert timedelta(0) <= ended.at - deadline < timedelta(seconds=0.5)

    run_in_virtual_time(story)


def test_a_pause_that_ended_while_the_daemon_was_down_goes_on_at_once() -> None:
    async def story() -> None:
        stage = Stage()
        await begin(stage, {f"app{number}": 60.0 for number in range(MANY)})
        await anyio.sleep(3_600)
        back = stage.clock.now()
        async with stage.daemon():
            for rollout in stage.journal.snapshots:
                await stage.until_state(State.SUCCEEDED, rollout)
                went_on = next(e for e in stage.journal.entries[rollout] if e.destination is State.PROMOTING)
                assert went_on.at - back < timedelta(seconds=1)

    run_in_virtual_time(story)


@pytest.mark.parametrize("jump", [-3_600.0, 3_600.0])
def test_a_clock_that_is_set_neither_loses_nor_doubles_a_step(jump: float) -> None:
    """Deadlines are instants: a clock set forward ends a pause, one set back lengthens it; and each step is done once."""

    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Pause(60.0), percent(50)])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.PAUSING)
            stage.clock.jump(jump)
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert stage.world.performed.count("set-weight:web:5000") == 1

    run_in_virtual_time(story, limit_seconds=86_400)


def test_an_expired_approval_is_noticed_after_the_restart() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            plan = target_plan([percent(25), Approval(expires_seconds=100.0)])
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.APPROVING)
        await anyio.sleep(1_000)
        async with stage.daemon():
            assert (await stage.until_ended()).reason == "the approval expired"

    run_in_virtual_time(story)


@pytest.mark.parametrize("turns", range(8))
def test_news_that_come_while_a_daemon_ends_are_left_to_the_next_one(turns: int) -> None:
    """Whichever turn of the loop they come in: nobody is woken who could not answer any more, or would never end."""

    async def story() -> None:
        stage = Stage()
        loop, failures = asyncio.get_running_loop(), list[str]()
        loop.set_exception_handler(lambda _, context: failures.append(str(context.get("exception"))))

        def change(later: int) -> None:
            if later > 0:
                loop.call_soon(change, later - 1)
            else:
                stage.world.wake("r1.production")

        acting = anyio.Event()
        stage.world.hooks.append(lambda moment, action: acting.set())
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25)], settle=0.0)), by="a test", source="test")
            await acting.wait()
            change(turns)
        assert (failures, stage.world.attached) == ([], set())
        change(0)
        async with stage.daemon():
            await stage.until_state(State.SUCCEEDED)

    run_in_virtual_time(story)


@pytest.mark.parametrize("where", ["world", "store"])
def test_who_is_deposed_ends_at_once_and_leaves_everything_to_the_next_one(where: str) -> None:
    """It is no failure of the action or of the commit: nothing of it is written down, and nobody tries again."""

    async def story() -> None:
        stage = Stage()
        is_deposed = False

        def depose() -> None:
            nonlocal is_deposed
            is_deposed = True
            raise Deposed("another daemon has taken over")

        def refuse(moment: str, action: Action) -> None:
            if action.kind is ActionKind.SET_WEIGHT and moment == "before" and not is_deposed:
                depose()

        async def refuse_commit(commit: Commit) -> None:
            if commit.snapshot.state is State.PAUSING and not is_deposed:
                depose()
            await keep(commit)

        keep = stage.store.commit
        if where == "world":
            stage.world.hooks.append(refuse)
        else:
            stage.store.commit = refuse_commit  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup) as caught:
            async with stage.daemon() as engine:
                plan = release_plan(target_plan([percent(25), Pause(10.0)], settle=0.0))
                await engine.submit(plan, by="a test", source="test")
                await anyio.sleep_forever()
        assert caught.group_contains(Deposed)
        told = list(stage.journal.entries["r1.production"])
        await anyio.sleep(100)
        assert list(stage.journal.entries["r1.production"]) == told
        assert not any("another daemon" in entry.text for entry in told)
        async with stage.daemon():
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


@pytest.mark.parametrize("came_up", [True, False])
def test_a_wait_that_ran_out_while_the_daemon_was_down_is_judged_by_the_first_good_look(came_up: bool) -> None:
    """The first look of all is at empty caches."""

    async def story() -> None:
        stage, place = Stage(), "r1.production"
        stage.world.canary_starts = False
        async with stage.daemon() as engine:
            plan = target_plan([percent(25)], settle=0.0, ready_timeout=60.0)
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.SCALING)
            await stage.until(lambda: "waiting at most 60 s" in stage.journal.entries[place][-1].text)
        if came_up:
            stage.world.canary_starts, stage.world.places[place].canary_available = True, 3
        await anyio.sleep(100)
        observe = stage.world.observe
        stage.world.observe = lambda spec, snapshot: Observation(current=False)  # type: ignore[method-assign]
        async with stage.daemon():
            await anyio.sleep(5)
            assert stage.snapshot().state is State.SCALING
            stage.world.observe = observe  # type: ignore[method-assign]
            stage.world.wake(place)
            assert (await stage.until_ended()).status is (ReleaseStatus.SUCCEEDED if came_up else ReleaseStatus.FAILED)

    run_in_virtual_time(story)
