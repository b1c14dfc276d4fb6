"""The API server was away, and the proxies that watch it may not know yet of what was written: a rollout rests, unless it has to
bring traffic back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace

from engine.daemon import Engine
from engine.errors import Retryable
from engine.events import CommandKind
from engine.model import Action, ActionKind, Approval, ReleaseStatus, State, Step
from strategies.back import LATE_SECONDS
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


@asynccontextmanager
async def asked(told: Stage, steps: Sequence[Step] = (Approval(), percent(50)), **plan: float) -> AsyncIterator[Engine]:
    """A daemon with a release that waits for an answer."""
    async with told.daemon() as engine:
        await engine.submit(release_plan(target_plan(steps, **plan)), by="ada", source="test")  # type: ignore[arg-type]
        await told.until_state(State.APPROVING)
        yield engine


async def begin_rest(told: Stage, engine: Engine, answer: CommandKind, seconds: float) -> None:
    """The proxies are behind when somebody answers."""
    told.world.behind_seconds = behind_for(seconds)
    await engine.command("r1", order(answer))
    await told.until(lambda: bool(rests_of(told)))


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
        async with asked(told) as engine:
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
        async with asked(told) as engine:
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
        async with asked(told, [percent(50), Approval()], settle=5.0) as engine:
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


def test_a_rest_goes_on_after_a_restart_though_the_new_process_has_seen_no_outage() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with asked(told) as engine:
            began = now()
            await begin_rest(told, engine, CommandKind.APPROVE, 60.0)
        told.world.behind_seconds = lambda: 0.0
        async with told.daemon():
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert at[f"{WEIGHT}:5000"] == pytest.approx(began + 60.0, abs=1.0)
        assert len(rests_of(told)) == 1

    run_in_virtual_time(story)


def test_an_abort_ends_a_rest() -> None:
    async def story() -> None:
        told = Stage()
        async with asked(told) as engine:
            await begin_rest(told, engine, CommandKind.APPROVE, 60.0)
            await engine.command("r1", order(CommandKind.ABORT))
            assert "rest" not in told.snapshot().timers
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert not any(WEIGHT in one for one in told.world.performed)

    run_in_virtual_time(story)


def test_a_rest_that_is_over_leaves_no_deadline_behind_while_somebody_has_paused_the_rollout() -> None:
    async def story() -> None:
        told = Stage()
        async with asked(told) as engine:
            await begin_rest(told, engine, CommandKind.APPROVE, 30.0)
            await engine.command("r1", order(CommandKind.PAUSE))
            await anyio.sleep(60.0)
            assert "rest" not in told.snapshot().deadlines
            await engine.command("r1", order(CommandKind.RESUME))
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_pods_that_go_during_a_rest_get_no_traffic_by_what_was_to_follow_it() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with asked(told) as engine:
            await begin_rest(told, engine, CommandKind.APPROVE, 60.0)
            told.world.broken.add(PLACE)
            told.world.places[PLACE].canary_available = 0
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert f"{WEIGHT}:5000" not in at

    run_in_virtual_time(story)


def test_a_weight_that_arrives_late_after_an_abort_is_put_back_at_once() -> None:
    """The write was on its way when the API server went; outages are when such writes exist."""

    async def story() -> None:
        told = Stage()
        place = told.world.places
        async with asked(told, [percent(50), Approval()]) as engine:
            told.world.behind_seconds = behind_for(60.0)
            await engine.command("r1", order(CommandKind.ABORT))
            await told.until_state(State.RESTORING)
            place[PLACE].weight = 5_000
            told.world.wake(PLACE)
            with anyio.fail_after(LATE_SECONDS + 5.0):
                while place[PLACE].weight:
                    await anyio.sleep(0.1)
            assert (await told.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_a_weight_that_arrives_late_during_the_rest_of_an_abort_is_put_back_before_the_pods_go() -> None:
    async def story() -> None:
        told = Stage()
        place, weights = told.world.places, list[int | None]()

        def look(when: str, action: Action) -> None:
            if (when, action.kind) == ("before", ActionKind.REMOVE_CANARY):
                weights.append(place[PLACE].weight)

        told.world.hooks.append(look)
        async with asked(told, [percent(50), Approval()]) as engine:
            await begin_rest(told, engine, CommandKind.ABORT, 60.0)
            place[PLACE].weight = 5_000
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert set(weights) == {0}

    run_in_virtual_time(story)


def test_a_weight_falls_at_once_with_the_pods_that_are_left_and_rises_when_the_proxies_know_of_others() -> None:
    async def story() -> None:
        told = Stage()
        place, at = told.world.places, performed_at(told)
        async with asked(told, [percent(50), Approval()], ready_timeout=600.0):
            told.world.behind_seconds = behind_for(60.0)
            began = now()
            told.world.canary_starts = False
            place[PLACE].canary_available = 1
            told.world.wake(PLACE)
            await told.until(lambda: any(one.startswith("carry:") for one in at))
            [fallen] = [one for one in at if one.startswith("carry:")]
            assert at[fallen] == pytest.approx(began, abs=1.0)
            await anyio.sleep(5.0)
            told.world.canary_starts = True
            place[PLACE].canary_available = place[PLACE].canary
            told.world.wake(PLACE)
            await told.until(lambda: told.snapshot().carrying is None)
            assert at["carry:web:5000"] == pytest.approx(began + 60.0, abs=2.0)

    run_in_virtual_time(story)


def test_what_is_tried_again_makes_room_in_so_many_words_for_what_rests_too() -> None:
    """The answers to a weight are lost, the API server was away, and the weight is there, with fewer pods than can carry it."""

    async def story() -> None:
        told = Stage()
        place = told.world.places
        told.world.faults[f"{WEIGHT}:10000"] = [Retryable("no route to host")] * 2

        def goes_away(when: str, action: Action) -> None:
            if (when, action.name) == ("before", f"{WEIGHT}:10000"):
                told.world.behind_seconds = behind_for(60.0)

        told.world.hooks.append(goes_away)
        async with asked(told, [percent(50), Approval()], ready_timeout=600.0) as engine:
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: bool(rests_of(told)))
            told.world.canary_starts = False
            place[PLACE].weight, place[PLACE].canary_available = 10_000, 2
            told.world.wake(PLACE)
            await told.until(lambda: any("makes room" in one.text for one in told.journal.entries[PLACE]))
            told.world.canary_starts = True
            place[PLACE].canary_available = place[PLACE].canary
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_what_only_looks_waits_for_nobody() -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        told.world.behind_seconds = behind_for(60.0)
        async with told.daemon() as engine:
            began = now()
            await engine.submit(release_plan(target_plan([percent(50)])), by="ada", source="test")
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert at["record:web"] == pytest.approx(began, abs=1.0)
        assert at["freeze:web"] == pytest.approx(began + 60.0, abs=1.0)

    run_in_virtual_time(story)


def test_who_has_no_route_waits_for_no_proxies() -> None:
    async def story() -> None:
        told = Stage()
        told.world.behind_seconds = lambda: 60.0
        plan = replace(target_plan([]), workloads=(), routes=())
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert not rests_of(told)

    run_in_virtual_time(story)


@pytest.mark.parametrize("back", [100.0, 230.0, 3_600.0])
def test_a_clock_that_is_set_back_makes_no_rest_longer(back: float) -> None:
    async def story() -> None:
        told = Stage()
        at = performed_at(told)
        async with asked(told) as engine:
            began = now()
            await begin_rest(told, engine, CommandKind.APPROVE, 60.0)
            told.clock.jump(-back)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert began + 59.0 < at[f"{WEIGHT}:5000"] < began + 130.0

    run_in_virtual_time(story)
