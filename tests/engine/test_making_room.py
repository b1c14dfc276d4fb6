"""An action that fails is tried again; what it waits for may be what somebody else has changed, or is not so any more. Stories in
which something else comes first, on the way forward, and in which an abort's weight is overwritten."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from engine.errors import Retryable, StoreError, Undecided
from engine.events import CommandKind
from engine.model import Action, ActionKind, Approval, Effect, Pause, Query, ReleasePlan, ReleaseStatus, State
from engine.ports import Commit
from engine.traffic import RoutePlan
from tests.builders import (
    ingress_route,
    istio_route,
    percent,
    pod_ratio_route,
    release_plan,
    smi_route,
    target_plan,
    together,
)
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


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("how", ["tried again", "parked"])
def test_a_weight_is_not_written_for_pods_that_have_gone_meanwhile(how: str, left: int) -> None:
    async def story() -> None:
        told, raised = Stage(), list[tuple[int, int]]()
        fault: Exception = Retryable("no route") if how == "tried again" else KeyError("a defect of ours")
        told.world.faults[f"set-weight:{ROUTE}:5000"] = [fault] * (4 if how == "tried again" else 1)

        def look(when: str, action: Action) -> None:
            place = told.world.places[PLACE]
            if when == "after" and place.weight:
                raised.append((place.weight, place.canary_available))

        told.world.hooks.append(look)
        plan = target_plan([percent(50), Approval()], route=smi_route(), ready_timeout=3_000.0)
        async with told.daemon() as engine:
            await engine.submit(release_plan(plan), by="ada", source="test")
            if how == "parked":
                await told.until_state(State.PARKED)
            else:
                await told.until(lambda: has_failed(told, 2))
            told.world.canary_starts, told.world.places[PLACE].canary_available = False, left
            told.world.wake(PLACE)
            if how == "parked":
                await engine.command("r1", order(CommandKind.RESUME))
            await told.clock.sleep(60.0)
            assert raised == []
            told.world.canary_starts, told.world.places[PLACE].canary_available = True, 3
            told.world.wake(PLACE)
            await told.until_state(State.APPROVING)
            assert raised[0] == (5_000, 3)

    run_in_virtual_time(story)


def test_a_pause_does_not_ask_for_the_old_versions_last_pods_that_have_been_taken() -> None:
    """By the ratio of pods: the answer to the write that took them was lost."""

    async def story() -> None:
        told = Stage()
        told.world.faults["scale-stable:web:0"] = ["the answer was lost", *unreachable(3)]
        async with told.daemon() as engine:
            plan = target_plan([percent(50), percent(100)], route=pod_ratio_route())
            await engine.submit(release_plan(plan), by="ada", source="test")
            await told.until(lambda: has_failed(told, 2))
            await engine.command("r1", order(CommandKind.PAUSE))
            await told.clock.sleep(300.0)
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


EFFECT = Effect("web", Query("canary", "p", "c"), Query("all", "p", "a"), interval_seconds=10.0, timeout_seconds=60.0)
ROUTES = [smi_route(), istio_route(), ingress_route()]


def measured(route: RoutePlan) -> tuple[ReleasePlan, str]:
    """Its effect is checked after each weight; and what the first check is called."""
    plan = target_plan([percent(50), Approval()], route=route, ready_timeout=3_000.0)
    checked = replace(plan, effects=(replace(EFFECT, route=route.name),))
    return release_plan(checked), f"check-effect:{route.name}:5000"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: str(route.kind))
@pytest.mark.parametrize("trouble", ["pods go", "a pause"])
def test_the_patience_of_a_check_is_no_other_conditions(route: RoutePlan, trouble: str) -> None:
    async def story() -> None:
        told, (plan, check) = Stage(), measured(route)
        told.world.faults[check] = [Undecided("too few requests", 10.0)] * 3
        async with told.daemon() as engine:
            await engine.submit(plan, by="ada", source="test")
            await told.until(lambda: has_failed(told, 2) and check in told.snapshot().begun)
            if trouble == "a pause":
                await engine.command("r1", order(CommandKind.PAUSE))
            told.world.canary_starts, told.world.places[PLACE].canary_available = False, 1
            told.world.wake(PLACE)
            await told.clock.sleep(300.0)
            if trouble == "a pause":
                await engine.command("r1", order(CommandKind.RESUME))
                await told.clock.sleep(5.0)
            assert (told.snapshot().state, told.snapshot().parked) == (State.SHIFTING, None)
            told.world.canary_starts, told.world.places[PLACE].canary_available = True, 3
            told.world.wake(PLACE)
            await told.until(lambda: told.snapshot().state in (State.APPROVING, State.ABORTING))
            assert told.snapshot().state is State.APPROVING

    run_in_virtual_time(story)


def test_a_weight_without_effect_is_undone_however_often_something_else_comes_first() -> None:
    async def story() -> None:
        told, (plan, check) = Stage(), measured(smi_route())
        told.world.faults[check] = [Retryable("not obeyed: clients get 0 %", 10.0)] * 5_000
        async with told.daemon() as engine:
            await engine.submit(plan, by="ada", source="test")
            await told.until(lambda: has_failed(told, 2) and check in told.snapshot().begun)
            for number in range(4):
                told.world.places[PLACE].desired = 3 + number % 2
                told.world.wake(PLACE)
                await told.clock.sleep(50.0)
            assert told.snapshot().state in (State.ABORTING, State.RESTORING, State.ROLLED_BACK)

    run_in_virtual_time(story)


def test_what_is_fought_over_keeps_nobody_elses_undo_from_being_done_once() -> None:
    async def story() -> None:
        told = Stage()

        def fight(when: str, action: Action) -> None:
            if when == "after" and action.name == "confirm-weight:web":
                told.world.places[PLACE].weight = 5_000

        told.world.hooks.append(fight)
        plans = [target_plan([percent(50), Approval()], workload=name, route=smi_route(name)) for name in ("web", "api")]
        async with told.daemon() as engine:
            await engine.submit(release_plan(together(*plans)), by="ada", source="test")
            await told.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            await told.clock.sleep(120.0)
            assert told.world.performed.count("confirm-weight:web") > 5
            assert told.world.performed.count("remove-canary:api") == 1
            assert told.world.performed.count("remove-canary:web") == 0

    run_in_virtual_time(story)


def test_a_write_that_arrives_when_its_sender_has_given_it_up_finds_no_pods_gone() -> None:
    async def story() -> None:
        told, left = Stage(), list[int]()

        def arrive() -> None:
            told.world.places[PLACE].weight = 5_000
            told.world.wake(PLACE)

        def look(when: str, action: Action) -> None:
            if (when, action.name) == ("after", f"abort-weight:{ROUTE}"):
                asyncio.get_running_loop().call_later(0.8, arrive)
            elif (when, action.kind) == ("before", ActionKind.REMOVE_CANARY):
                left.append(told.world.places[PLACE].weight)

        told.world.hooks.append(look)
        told.world.faults[f"set-weight:{ROUTE}:5000"] = unreachable(100)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(50)], route=smi_route())), by="ada", source="test")
            await told.until(lambda: has_failed(told, 2))
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert left == [0]

    run_in_virtual_time(story)


def test_what_is_not_needed_any_more_is_not_tried_again() -> None:
    """An autoscaler has changed its mind while the first size could not be followed."""

    async def story() -> None:
        told = Stage()
        told.world.faults["follow:web:5"] = unreachable(1_000)
        plan = target_plan([percent(50), Approval()], route=smi_route(), ready_timeout=3_000.0)
        async with told.daemon() as engine:
            await engine.submit(release_plan(plan), by="ada", source="test")
            await told.until_state(State.APPROVING)
            told.world.places[PLACE].desired = 5
            told.world.wake(PLACE)
            await told.until(lambda: has_failed(told, 3))
            told.world.places[PLACE].desired = 3
            told.world.wake(PLACE)
            await told.until(lambda: told.snapshot().action is None, within=60.0)
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)
