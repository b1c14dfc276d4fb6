"""No weight above what the available pods of the new version can carry: stories of pods that die and come again."""

from __future__ import annotations

import pytest

from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State
from engine.observation import WorkloadObservation, capacity
from engine.traffic import FULL_WEIGHT
from tests.builders import percent, release_plan, smi_route, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

PLAN = release_plan(target_plan([percent(75), Approval(), percent(90), Approval()], route=smi_route(), ready_timeout=600.0))
PLACE = "r1.production"


@pytest.mark.parametrize(
    ("desired", "stable", "canary", "share"),
    [
        (4, 4, 4, FULL_WEIGHT),
        (4, 4, 3, 7_500),
        (4, 4, 0, 0),
        (3, 3, 1, 3_333),
        (8, 4, 4, FULL_WEIGHT),  # An autoscaler asks for more of both: neither is short beside the other.
        (8, 8, 4, 5_000),
        (4, 0, 2, FULL_WEIGHT),  # Nobody else could carry it.
        (0, 0, 0, 0),
    ],
)
def test_the_share_that_pods_can_carry(desired: int, stable: int, canary: int, share: int) -> None:
    seen = WorkloadObservation(desired=desired, stable_available=stable, canary_available=canary)
    assert capacity(seen) == share


def set_available(told: Stage, count: int) -> None:
    """Some of the three die and do not start again, or all of them do."""
    told.world.canary_starts = count == 3
    told.world.places[PLACE].canary_available = count
    told.world.wake(PLACE)


def test_the_weight_falls_when_pods_die_and_rises_when_they_come_again() -> None:
    async def story() -> None:
        told = Stage()
        async with told.daemon() as engine:
            await engine.submit(PLAN, by="ada", source="test")
            await told.until_state(State.APPROVING)
            place = told.world.places[PLACE]
            assert place.weight == 7_500
            set_available(told, 2)
            await told.until(lambda: told.snapshot().served == 6_666)
            assert (place.weight, told.snapshot().state, told.snapshot().held) == (6_666, State.APPROVING, "")
            set_available(told, 1)
            await told.until(lambda: told.snapshot().served == 3_333)
            assert told.snapshot().weight == 7_500, "what was ordered by the step is kept"
            set_available(told, 3)
            await told.until(lambda: told.snapshot().carrying is None and told.snapshot().served == 7_500)
            assert place.weight == 7_500
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: told.snapshot().step == 3)
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_no_step_raises_the_weight_above_what_the_pods_carry() -> None:
    async def story() -> None:
        told = Stage()
        weights: list[int] = []
        told.world.hooks.append(lambda when, action: weights.append(told.world.places[PLACE].weight))
        async with told.daemon() as engine:
            await engine.submit(PLAN, by="ada", source="test")
            await told.until_state(State.APPROVING)
            set_available(told, 2)
            await told.until(lambda: told.snapshot().served == 6_666)
            weights.clear()
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: told.snapshot().step == 2)
            await told.until(lambda: "can carry 90 %" in told.journal.entries[PLACE][-1].text)
            assert max(weights, default=0) <= 6_666
            set_available(told, 3)
            await told.until_state(State.APPROVING)
            assert told.world.places[PLACE].weight == 9_000

    run_in_virtual_time(story)


def test_a_weight_that_fell_goes_on_after_a_crash() -> None:
    async def story() -> None:
        told = Stage()
        async with told.daemon() as engine:
            await engine.submit(PLAN, by="ada", source="test")
            await told.until_state(State.APPROVING)
            set_available(told, 1)
            await told.until(lambda: told.snapshot().served == 3_333)
        set_available(told, 3)
        async with told.daemon():
            await told.until(lambda: told.snapshot().carrying is None)
            assert told.world.places[PLACE].weight == 7_500

    run_in_virtual_time(story)


def test_without_any_pod_it_is_undone() -> None:
    async def story() -> None:
        told = Stage()
        async with told.daemon() as engine:
            await engine.submit(PLAN, by="ada", source="test")
            await told.until_state(State.APPROVING)
            set_available(told, 0)
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
            assert told.world.places[PLACE].is_as_found()

    run_in_virtual_time(story)
