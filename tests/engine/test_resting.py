"""The API server was away, and the proxies that watch it may not know yet of what was written: a rollout rests, unless it has to
bring traffic back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from engine.errors import Retryable
from engine.events import CommandKind
from engine.model import Action, Approval, ReleaseStatus, State
from tests.builders import percent, release_plan, smi_route, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

PLACE = "r1.production"
WEIGHT = f"set-weight:{smi_route().name}"


def now() -> float:
    return asyncio.get_running_loop().time()


def behind_for(seconds: float) -> Callable[[], float]:
    """From now on."""
    until = now() + seconds
    return lambda: max(until - now(), 0.0)


def rests_of(told: Stage) -> list[str]:
    return [one.text for one in told.journal.entries[PLACE] if "rests for" in one.text]


def performed_at(told: Stage) -> dict[str, float]:
    """When each action was first performed."""
    at: dict[str, float] = {}

    def note(when: str, action: Action) -> None:
        if when == "before":
            at.setdefault(action.name, now())

    told.world.hooks.append(note)
    return at


def test_no_weight_is_written_before_the_proxies_can_have_heard_of_what_was_written_before() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([Approval(), percent(50)])), by="ada", source="test")
            await told.until_state(State.APPROVING)
            began = now()
            told.world.behind_seconds = behind_for(40.0)
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert at[f"{WEIGHT}:5000"] == pytest.approx(began + 40.0, abs=1.0)
        assert len(rests_of(told)) == 1

    run_in_virtual_time(story)


def test_an_outage_that_lasts_prolongs_the_rest_without_filling_the_journal() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([Approval(), percent(50)])), by="ada", source="test")
            await told.until_state(State.APPROVING)
            began, told.world.behind_seconds = now(), lambda: 60.0
            await engine.command("r1", order(CommandKind.APPROVE))
            for _ in range(300):  # Whatever else changes in the world looks at the rollout again.
                await anyio.sleep(1.0)
                told.world.wake(PLACE)
            told.world.behind_seconds = lambda: 0.0
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert at[f"{WEIGHT}:5000"] >= began + 300.0
        assert len(rests_of(told)) <= 6

    run_in_virtual_time(story)


def test_traffic_goes_back_at_once_and_only_what_it_left_waits() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(50), Approval()], settle=5.0)), by="ada", source="test")
            await told.until_state(State.APPROVING)
            began = now()
            told.world.behind_seconds = behind_for(60.0)
            await engine.command("r1", order(CommandKind.ABORT))
            await told.until_state(State.RESTORING)
            assert told.world.places[PLACE].weight == 0
            assert now() < began + 10.0
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert at["remove-canary:web"] >= began + 60.0

    run_in_virtual_time(story)


def test_what_failed_while_the_api_server_was_away_is_tried_again_when_the_proxies_are_back() -> None:
    async def story() -> None:
        told = Stage()
        told.world.faults[f"{WEIGHT}:5000"] = [Retryable("no route to host")]
        tried: list[float] = []

        def goes_away(when: str, action: Action) -> None:
            if (when, action.name) == ("before", f"{WEIGHT}:5000"):
                tried.append(now())
                if len(tried) == 1:
                    told.world.behind_seconds = behind_for(45.0)

        told.world.hooks.append(goes_away)
        assert await told.roll_out(release_plan(target_plan([percent(50)]))) is ReleaseStatus.SUCCEEDED
        assert tried[1] == pytest.approx(tried[0] + 45.0, abs=1.0)

    run_in_virtual_time(story)


def test_a_rest_goes_on_after_a_restart_and_an_abort_ends_it() -> None:
    async def story() -> None:
        told = Stage()
        plan = release_plan(target_plan([Approval(), percent(50)]))
        async with told.daemon() as engine:
            await engine.submit(plan, by="ada", source="test")
            await told.until_state(State.APPROVING)
            told.world.behind_seconds = behind_for(60.0)
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: bool(rests_of(told)))
        async with told.daemon() as engine:
            await anyio.sleep(30.0)
            assert not any(WEIGHT in one for one in told.world.performed)
            assert "rest" in told.snapshot().deadlines
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert len(rests_of(told)) <= 2

    run_in_virtual_time(story)


def test_a_clock_that_is_set_back_makes_no_rest_longer() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([Approval(), percent(50)])), by="ada", source="test")
            await told.until_state(State.APPROVING)
            began = now()
            told.world.behind_seconds = behind_for(60.0)
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: bool(rests_of(told)))
            told.clock.jump(-3_600.0)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert began + 59.0 < at[f"{WEIGHT}:5000"] < began + 130.0

    run_in_virtual_time(story)
