"""A cluster of which nothing is heard: a rollout goes no step further on what may not be so any more, says why, and goes on by
itself. The way back does not wait for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from engine.daemon import Engine
from engine.errors import CommandRefused, Rejected, Retryable
from engine.events import CommandKind
from engine.model import Approval, Pause, ReleaseStatus, State, Step
from tests.builders import error_rate, percent, release_plan, smi_route, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

PLACE = "r1.production"
WEIGHT = f"set-weight:{smi_route().name}"
PODS = "pods in shop of account prod since 2026-01-05T03:00:00Z: WATCH pods in shop: pods is forbidden"
SAID = f"nothing is heard of {PODS}. It goes on by itself when that is mended: see to it (headgate doctor), or abort"


def lose(told: Stage, why: str = PODS) -> None:
    told.world.unheard = why
    told.world.wake(PLACE)


def find(told: Stage) -> None:
    lose(told, "")


def sentences(told: Stage) -> list[str]:
    return [entry.text for entry in told.journal.entries[PLACE]]


@asynccontextmanager
async def stepping(told: Stage, *steps: Step, **plan: float) -> AsyncIterator[Engine]:
    """A daemon with a release that has got to its first pause, approval or analysis."""
    async with told.daemon() as engine:
        await engine.submit(release_plan(target_plan(steps, **plan)), by="ada", source="test")  # type: ignore[arg-type]
        await told.until(lambda: PLACE in told.journal.snapshots and bool(told.snapshot().gates))
        yield engine


@pytest.mark.parametrize(
    "condition", [Pause(60.0), error_rate(runs=2, interval=30.0)], ids=["a pause", "an analysis"]
)
def test_a_condition_that_ends_well_raises_no_weight_until_it_is_heard_again(condition: Step) -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), condition, percent(50)):
            lose(told)
            await told.until(lambda: told.snapshot().held == SAID)
            await told.clock.sleep(3_600.0)
            assert all(gate.passed for gate in told.snapshot().gates), "what has come to its end is known"
            assert (told.world.places[PLACE].weight, told.snapshot().step) == (2_500, 1)
            release = await told.store.release("r1")
            assert release is not None
            assert release.status is ReleaseStatus.PAUSED
            find(told)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert sum("held" in text for text in sentences(told)) == 1
        assert sum("the cluster is heard of again" in text for text in sentences(told)) == 1

    run_in_virtual_time(story)


def test_an_analysis_that_fails_undoes_the_rollout_all_the_same() -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), error_rate(runs=2, interval=30.0), percent(50)):
            lose(told)
            told.world.error_rate["error-rate"] = [0.5]
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.world.places[PLACE].is_as_found()

    run_in_virtual_time(story)


@pytest.mark.parametrize("heard_first", [True, False])
def test_an_abort_waits_for_no_news(heard_first: bool) -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), Approval()) as engine:
            lose(told)
            if heard_first:
                await told.until(lambda: told.snapshot().held == SAID)
            began = told.clock.monotonic()
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await told.until_ended()).status is ReleaseStatus.FAILED
            assert told.clock.monotonic() - began < 60.0
        assert told.world.places[PLACE].is_as_found()

    run_in_virtual_time(story)


def test_a_weight_that_could_not_be_written_yet_is_not_tried_again() -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), Approval(), percent(50)) as engine:
            told.world.faults[f"{WEIGHT}:5000"] = [Retryable("no route to host")] * 3
            await engine.command("r1", order(CommandKind.APPROVE))
            await told.until(lambda: told.snapshot().failures == 2)
            lose(told)
            await told.until(lambda: told.snapshot().held == SAID and told.snapshot().action is None)
            await told.clock.sleep(3_600.0)
            assert told.world.places[PLACE].weight == 2_500
            find(told)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_pods_that_are_waited_for_have_their_time_anew() -> None:
    """They could not be seen to come, and who makes them was perhaps away too."""

    async def story() -> None:
        told = Stage()
        told.world.canary_starts = False
        async with told.daemon() as engine:
            plan = target_plan([percent(25)], ready_timeout=60.0)
            await engine.submit(release_plan(plan), by="ada", source="test")
            await told.until_state(State.SCALING)
            await told.until(lambda: "waiting at most 60 s" in sentences(told)[-1])
            lose(told)
            await told.clock.sleep(600.0)
            assert told.snapshot().state is State.SCALING
            find(told)
            await told.clock.sleep(30.0)
            told.world.canary_starts, told.world.places[PLACE].canary_available = True, 3
            told.world.wake(PLACE)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_what_is_not_heard_of_is_told_anew_when_it_is_something_else() -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), Approval()):
            for kind in ("pods", "services"):
                lose(told, f"{kind} in shop")
                await told.until(lambda kind=kind: told.snapshot().held.startswith(f"nothing is heard of {kind}"))  # type: ignore[misc]
            before = len(sentences(told))
            for _ in range(10):
                told.world.wake(PLACE)
                await told.clock.sleep(60.0)
            assert len(sentences(told)) == before

    run_in_virtual_time(story)


def test_a_person_may_pause_what_would_go_on_by_itself_and_resumes_nothing_that_cannot_be_seen() -> None:
    async def story() -> None:
        told = Stage()
        async with stepping(told, percent(25), Pause(60.0), percent(50)) as engine:
            lose(told)
            await told.until(lambda: told.snapshot().held == SAID)
            with pytest.raises(CommandRefused, match="still held: nothing is heard of pods"):
                await engine.command("r1", order(CommandKind.RESUME))
            await engine.command("r1", order(CommandKind.PAUSE))
            find(told)
            await told.clock.sleep(600.0)
            assert (told.snapshot().held, told.world.places[PLACE].weight) == ("paused by ada", 2_500)
            lose(told)
            await engine.command("r1", order(CommandKind.RESUME))
            assert told.snapshot().held == SAID
            find(told)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_who_lacks_a_right_hears_of_it_at_the_first_look() -> None:
    async def story() -> None:
        told = Stage()
        told.world.unheard = PODS
        told.world.faults["record:web"] = [Rejected("account prod may not watch pods in namespace shop")]
        plan: Sequence[Step] = [percent(25)]
        assert await told.roll_out(release_plan(target_plan(plan))) is ReleaseStatus.REJECTED

    run_in_virtual_time(story)


def test_nothing_is_changed_after_the_first_look_while_nothing_is_heard() -> None:
    async def story() -> None:
        told = Stage()
        told.world.unheard = PODS
        async with told.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25)])), by="ada", source="test")
            await told.until(lambda: PLACE in told.journal.snapshots and told.snapshot().held == SAID)
            assert told.world.performed == ["record:web"]
            find(told)
            assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)
