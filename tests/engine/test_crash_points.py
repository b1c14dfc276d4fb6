"""A daemon that dies before or after any action, or before or after any commit, and its successor on the same store.

Every point of a rollout is tried, each in a run of its own: the end, and the writes but for repeats, are those of the run that
was never killed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.events import CommandKind
from engine.model import Action, Approval, Freeze, OnFailure, Pause, ReleaseStatus, RolloutSpec, State, Step, TargetPlan
from engine.orders import awaits_answer
from engine.ports import Commit
from engine.traffic import SetHeaderRoute, SetMirror
from strategies.blue_green import compile_switch
from tests.builders import (
    error_rate,
    header_route,
    istio_route,
    percent,
    pod_ratio_route,
    release_plan,
    service_route,
    smi_route,
    target_plan,
    together,
    watched,
)
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order


class SimulatedCrash(BaseException):
    """The process is gone, at this very instruction."""


def plan_of(kind: str) -> TargetPlan:
    if "switch" in kind:
        switch = compile_switch([Approval(), Pause(5.0)], [Pause(20.0), error_rate()])
        return target_plan(switch, route=service_route("web", "next"))
    if "singling out" in kind:
        steps: list[Step] = [header_route(), Pause(20.0), percent(25), SetMirror(1_000), header_route("gamma"), error_rate()]
        return target_plan([*steps, SetHeaderRoute("beta"), percent(50), SetMirror(0), Approval()], route=istio_route())
    if "conditions" in kind:
        return target_plan(
            [percent(25), Pause(20.0), percent(50)],
            before=[Approval(), Pause(5.0)],
            after=[error_rate(), Pause(5.0)],
            on_failure=OnFailure.ROLL_BACK,
            background=[watched(1.0)],
        )
    route = pod_ratio_route() if kind.startswith("pod ratio") else istio_route() if "istio" in kind else None
    freeze = Freeze.AT_HAND_OVER if "late freeze" in kind else Freeze.FROM_START
    steps = [percent(25), Pause(20.0), error_rate(), percent(50), Approval()]
    plan = target_plan(steps, route=route, freeze=freeze)
    if "and" not in kind:
        return plan
    other = pod_ratio_route("api") if kind.startswith("mesh and pod ratio") else smi_route("api")
    return together(plan, target_plan(steps, workload="api", route=other))


async def drive(stage: Stage, kind: str) -> None:
    """Let one daemon run until the release has ended, answering the approval as an operator would."""
    async with stage.daemon() as engine:
        if await stage.store.release("r1") is None:
            await engine.submit(release_plan(plan_of(kind)), by="a test", source="test")
        await stage.until(lambda: is_asked(stage) or has_ended(stage))
        if is_asked(stage):
            abort = "late abort" in kind
            await engine.command("r1", order(CommandKind.ABORT if abort else CommandKind.APPROVE))
        await stage.until_ended()


def is_asked(stage: Stage) -> bool:
    return "r1.production" in stage.journal.snapshots and awaits_answer(spec_of(stage), stage.snapshot())


def spec_of(stage: Stage) -> RolloutSpec:
    return stage.store.spec("r1.production")


def has_ended(stage: Stage) -> bool:
    return "r1.production" in stage.journal.snapshots and stage.snapshot().state in (State.SUCCEEDED, State.ROLLED_BACK)


def new_stage(kind: str) -> Stage:
    stage = Stage()
    if "bad" in kind:
        stage.world.error_rate["error-rate"] = [0.5]
    return stage


def writes(stage: Stage) -> list[str]:
    """What was done to the world in order, a repeat of the same write directly after itself counted once."""
    done: list[str] = []
    for name in stage.world.performed:
        if not name.startswith(("record", "measure", "prepare-metrics")) and (not done or done[-1] != name):
            done.append(name)
    return done


def is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(is_crash(one) for one in error.exceptions)
    return isinstance(error, SimulatedCrash)


def run_with_crash(kind: str, plant: Callable[[Stage], None]) -> tuple[Stage, bool]:
    """Run until the planted crash, then once more on what is left. Whether it crashed at all."""

    async def story() -> tuple[Stage, bool]:
        stage = new_stage(kind)
        plant(stage)
        crashed = False
        try:
            await drive(stage, kind)
        except BaseException as error:
            if not is_crash(error):
                raise
            crashed = True
            stage.journal.snapshots.clear()
            for rollout in [*await stage.store.rollouts("r1")]:
                stage.journal.snapshots[rollout.spec.id] = rollout.snapshot
            await drive(stage, kind)
        return stage, crashed

    return run_in_virtual_time(story)


def at_action(point: int) -> Callable[[Stage], None]:
    def plant(stage: Stage) -> None:
        count = 0

        def hook(when: str, action: Action) -> None:
            nonlocal count
            count += 1
            if count == point:
                raise SimulatedCrash

        stage.world.hooks.append(hook)

    return plant


def at_commit(point: int) -> Callable[[Stage], None]:
    """Odd points are before a commit, even ones directly after it."""

    def plant(stage: Stage) -> None:
        commit_for_real, count = stage.store.commit, 0

        async def commit(commit: Commit) -> None:
            nonlocal count
            count += 1
            if count == point:
                raise SimulatedCrash
            await commit_for_real(commit)
            count += 1
            if count == point:
                raise SimulatedCrash

        stage.store.commit = commit  # type: ignore[method-assign]

    return plant


KINDS = (
    "mesh, good",
    "mesh, bad",
    "mesh, late abort",
    "mesh, late freeze, good",
    "mesh, late freeze, bad",
    "mesh, late freeze, late abort",
    "istio, good",
    "istio, bad",
    "istio, late abort",
    "singling out, good",
    "singling out, bad",
    "singling out, late abort",
    "pod ratio, good",
    "pod ratio, bad",
    "pod ratio, late abort",
    "switch, good",
    "switch, bad",
    "switch, late abort",
    "conditions, good",
    "conditions, bad",
    "mesh and mesh, good",
    "mesh and mesh, bad",
    "mesh and pod ratio, good",
    "mesh and pod ratio, bad",
    "mesh and pod ratio, late abort",
)


@pytest.mark.parametrize("plant", [at_action, at_commit], ids=["action", "commit"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_point_changes_neither_the_end_nor_the_writes(
    kind: str, plant: Callable[[int], Callable[[Stage], None]]
) -> None:
    unkilled, _ = run_with_crash(kind, lambda stage: None)
    expected = ReleaseStatus.SUCCEEDED if "good" in kind else ReleaseStatus.FAILED
    point = 0
    while True:
        point += 1
        killed, crashed = run_with_crash(kind, plant(point))
        if not crashed:
            break
        assert killed.world.places == unkilled.world.places, f"point {point}"
        assert killed.snapshot().state is unkilled.snapshot().state, f"point {point}"
        assert writes(killed) == writes(unkilled), f"point {point}"
    assert point > 15
    assert (expected is ReleaseStatus.SUCCEEDED) == (unkilled.snapshot().state is State.SUCCEEDED)
