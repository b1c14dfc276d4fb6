"""An action that fails is tried again; what it waits for may be what somebody else has changed. Stories in which something else
comes first, on the way forward, and in which an abort's weight is overwritten."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.errors import Retryable, StoreError
from engine.events import CommandKind
from engine.model import Action, Approval, Pause, ReleaseStatus, State
from engine.ports import Commit
from tests.builders import ingress_route, percent, release_plan, smi_route, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.memory_store import MemoryStore
from tests.engine.stage import Stage, order

PLACE = "r1.production"
ROUTE = smi_route().name


def unreachable(times: int) -> list[Exception | str]:
    return [Retryable("no route to host")] * times


def has_failed(told: Stage, times: int) -> bool:
    return PLACE in told.journal.snapshots and told.snapshot().failures == times


def test_a_size_that_somebody_changes_is_followed_while_the_adoption_fails() -> None:
    async def story() -> None:
        told = Stage()
        place = told.world.places

        def refuse_unequal_sizes(when: str, action: Action) -> None:
            if (when, action.name) != ("before", "adopt-canary:web"):
                return
            if not told.world.faults.get(action.name) and place[PLACE].desired == 3 and place[PLACE].canary == 3:
                place[PLACE].desired = 5  # In the moment in which the hand-over was about to be made.
                told.world.wake(PLACE)
            if place[PLACE].canary != place[PLACE].desired:
                told.world.faults[action.name] = [Retryable("the Deployment asks for 5 pods and its new version for 3")]

        told.world.hooks.append(refuse_unequal_sizes)
        plan = release_plan(target_plan([percent(50)], route=smi_route()))
        assert await told.roll_out(plan) is ReleaseStatus.SUCCEEDED
        assert place[PLACE].canary == 5
        story_told = [entry.text for entry in told.journal.entries[PLACE]]
        assert any("follow:web:5" in text for text in story_told)
        assert sum("waiting at most" in text and "agree on template and size" in text for text in story_told) == 1

    run_in_virtual_time(story)


def test_the_weight_falls_with_the_pods_while_a_greater_one_cannot_be_written() -> None:
    async def story() -> None:
        told = Stage()
        plan = release_plan(target_plan([percent(75), Approval(), percent(90)], route=smi_route(), ready_timeout=3_000.0))
        async with told.daemon() as engine:
            await engine.submit(plan, by="ada", source="test")
            await told.until_state(State.APPROVING)
            told.world.faults[f"set-weight:{ROUTE}:9000"] = unreachable(8)
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: has_failed(told, 5))
            told.world.canary_starts = False
            told.world.places[PLACE].canary_available = 1
            told.world.wake(PLACE)
            await told.until(lambda: told.world.places[PLACE].weight == 3_333, within=5.0)
            assert told.snapshot().held == "", "a weight that fell with its pods is nobody's edit"
            await told.until(lambda: "can carry 90 %" in told.journal.entries[PLACE][-1].text)
            told.world.canary_starts, told.world.places[PLACE].canary_available = True, 3
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_what_a_person_pauses_is_not_tried_again_until_it_goes_on() -> None:
    async def story() -> None:
        told = Stage()
        name = f"set-weight:{ROUTE}:5000"
        told.world.faults[name] = unreachable(3)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(50), Pause(60.0)], route=smi_route())), by="ada", source="test")
            await told.until(lambda: has_failed(told, 2))
            await engine.command("r1", order(CommandKind.PAUSE))
            await told.until(lambda: told.snapshot().action is None)
            await told.clock.sleep(3_600.0)
            assert told.world.places[PLACE].weight == 0
            assert told.snapshot().held == "paused by ada", "and what stands there meanwhile is no drift"
            await engine.command("r1", order(CommandKind.RESUME))
            await told.until_state(State.PAUSING)
            assert told.world.places[PLACE].weight == 5_000
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


@pytest.mark.parametrize("times", [1, 4])
def test_an_abort_writes_its_weight_again_when_somebody_has_written_another_one(times: int) -> None:
    async def story() -> None:
        told = Stage()
        left = times

        def overwrite(when: str, action: Action) -> None:
            nonlocal left
            if (when, action.name) == ("after", f"abort-weight:{ROUTE}") and left:
                left -= 1
                told.world.places[PLACE].weight = 5_000

        told.world.hooks.append(overwrite)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(50), Approval()], route=smi_route())), by="ada", source="test")
            await told.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            began = told.clock.monotonic()
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
            assert told.clock.monotonic() - began < 15.0 * times + 60.0
        assert told.world.places[PLACE].is_as_found()
        assert told.world.performed.count(f"abort-weight:{ROUTE}") == times + 1

    run_in_virtual_time(story)


def test_the_first_weight_is_written_again_when_somebody_has_written_another_one() -> None:
    async def story() -> None:
        told = Stage()
        left = 1

        def overwrite(when: str, action: Action) -> None:
            nonlocal left
            if when == "after" and action.name.startswith("ensure-route:") and left:
                left -= 1
                told.world.places[PLACE].weight = 5_000

        told.world.hooks.append(overwrite)
        assert await told.roll_out(release_plan(target_plan([percent(50)], route=ingress_route()))) is ReleaseStatus.SUCCEEDED
        assert [name for name in told.world.performed if name.startswith("ensure-route:")] == ["ensure-route:ingress/web"] * 2

    run_in_virtual_time(story)


def test_a_retry_does_not_wait_for_an_hour_that_the_clock_was_set_back_by() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults["record:web"] = unreachable(4)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([], route=smi_route())), by="ada", source="test")
            await told.until(lambda: has_failed(told, 3))
            told.clock.jump(-3_600.0)
            began = told.clock.monotonic()
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
            assert told.clock.monotonic() - began < 120.0

    run_in_virtual_time(story)


class _FullDisk(MemoryStore):
    """Its disk is full for the commit of one retry, and the clock is set back meanwhile."""

    told: Stage
    failed = 0

    async def commit(self, commit: Commit) -> None:
        if "again: record:web" in commit.entry.text and not self.failed:
            self.failed += 1
            self.told.clock.jump(-40.0)
            raise StoreError("database or disk is full")
        await super().commit(commit)


def test_a_deadline_is_kept_where_the_clock_goes_back_while_the_store_cannot_be_written() -> None:
    async def story() -> None:
        told = Stage()
        store = _FullDisk(told.journal)
        store.told = told
        told.store = store
        told.world.faults["record:web"] = unreachable(1)
        began = told.clock.now()
        assert await told.roll_out(release_plan(target_plan([], route=smi_route()))) is ReleaseStatus.SUCCEEDED
        assert store.failed == 1
        assert told.clock.now() - began < timedelta(minutes=5)

    run_in_virtual_time(story)
