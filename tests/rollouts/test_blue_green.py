"""Blue/green on the embedded cluster: everything moves at once, and only to pods that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import REPLICA_SETS, SERVICES
from engine.events import Command, CommandKind
from engine.model import Approval, OnFailure, Parallel, Pause, ReleaseStatus, State, Step, WorkloadPlan
from strategies.blue_green import compile_switch
from tests.builders import deployment, error_rate, release_plan, service, service_route, target_plan
from tests.rollouts.stage import Stage, stage

HASH = "pod-template-hash"
PREVIEW = service_route("web", "next")
GOOD = compile_switch([Approval()], [Approval()])


async def live(told: Stage, *, preview: bool = True) -> None:
    await told.live()
    if preview:
        told.storage.create(SERVICES, service("next", app="web"), manager="kubectl")


async def order(told: Stage, kind: CommandKind) -> None:
    await told.engine.command("r1", Command(kind, by="ada"))


def selected(told: Stage, name: str) -> set[str]:
    """The images of the pods that a Service selects."""
    selector = told.storage.get(SERVICES, "shop", name)["spec"]["selector"]
    chosen = [pod for pod in told.pods() if selector.items() <= pod["metadata"]["labels"].items()]
    return {pod["spec"]["containers"][0]["image"] for pod in chosen}


async def test_a_switch_goes_to_tested_pods_and_the_old_version_waits_until_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        plan = target_plan(GOOD, route=PREVIEW, settle=0.05)
        await told.submit(release_plan(plan))
        await told.until(lambda: at_step(told, 0))
        tested = {pod["metadata"]["uid"] for pod in told.pods(image="web:2")}
        assert len(tested) == 3
        assert (selected(told, "web"), selected(told, "next")) == ({"web:1"}, {"web:2"})
        await order(told, CommandKind.APPROVE)
        await told.until(lambda: at_step(told, 2))
        assert (selected(told, "web"), selected(told, "next")) == ({"web:2"}, {"web:2"})
        assert len(told.pods(image="web:1")) == 3
        await order(told, CommandKind.APPROVE)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert {pod["metadata"]["uid"] for pod in told.pods()} == tested
        assert told.storage.get(SERVICES, "shop", "web")["spec"]["selector"] == {"app": "web"}
        assert told.storage.get(SERVICES, "shop", "next")["spec"]["selector"] == {"app": "web"}
        assert [name for name in told.ours() if name.startswith("Service/")] == []
        assert told.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


def at_step(told: Stage, step: int) -> bool:
    snapshot = told.journal.snapshots.get("r1.production")
    return snapshot is not None and snapshot.step == step and snapshot.state in (State.APPROVING, State.GATING)


@pytest.mark.parametrize("step", [0, 2])
async def test_an_abort_on_either_side_of_the_switch_puts_everything_back(tmp_path: Path, step: int) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        before = told.picture()
        stable = {pod["metadata"]["uid"] for pod in told.pods()}
        await told.submit(release_plan(target_plan(GOOD, route=PREVIEW, settle=0.05)))
        await told.until(lambda: at_step(told, 0))
        if step:
            await order(told, CommandKind.APPROVE)
            await told.until(lambda: at_step(told, step))
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []
        assert {pod["metadata"]["uid"] for pod in told.pods()} == stable


async def test_a_condition_that_fails_after_the_switch_switches_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told, preview=False)
        before = told.picture()
        told.error_rate["shop"] = 0.5
        steps = compile_switch([Pause(0.05)], [Pause(0.1), error_rate(runs=1, interval=0.1)])
        assert isinstance(steps[-1], Parallel)
        assert await told.roll_out(release_plan(target_plan(steps, route=service_route(), settle=0.05))) is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []


async def test_nothing_is_redirected_while_no_new_pod_is_ready(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        before = told.picture()
        broken: JsonObject = deployment("web", image="web:2")
        broken["spec"]["template"]["metadata"]["annotations"] = {"embedded.headgate.dev/crash-loop": "true"}
        plan = replace(
            target_plan(GOOD, route=PREVIEW, ready_timeout=0.5), workloads=(WorkloadPlan("web", json.dumps(broken)),)
        )
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []


async def test_an_edit_of_the_active_service_holds_the_rollout_and_says_what_to_put_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        await told.submit(release_plan(target_plan(GOOD, route=PREVIEW, settle=0.05)))
        await told.until(lambda: at_step(told, 0))
        change(told, "web", {"app": "web"})
        await told.until(lambda: bool(told.journal.snapshots["r1.production"].held))
        held = told.journal.snapshots["r1.production"].held
        found = told.journal.snapshots["r1.production"].facts["web.stable_hash"]
        assert f"the selector of Service web was edited by somebody else; put {HASH}={found} back" in held
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert selected(told, "web") == {"web:1"}


async def test_a_preview_that_somebody_edits_is_noticed_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        await told.submit(release_plan(target_plan(GOOD, route=PREVIEW, settle=0.05)))
        await told.until(lambda: at_step(told, 0))
        change(told, "next", {"app": "web"})
        await told.until(lambda: "Service next was edited" in told.journal.snapshots["r1.production"].held)
        await order(told, CommandKind.ABORT)
        await told.until_ended()


def change(told: Stage, name: str, selector: dict[str, str]) -> None:
    found = told.storage.get(SERVICES, "shop", name)
    told.storage.update(SERVICES, {**found, "spec": {**found["spec"], "selector": selector}}, manager="somebody")


async def test_a_service_that_is_pinned_by_somebody_else_is_left_alone(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told, preview=False)
        (stable,) = told.storage.list(REPLICA_SETS, "shop")
        pinned = {"app": "web", HASH: stable["metadata"]["labels"][HASH]}
        change(told, "web", pinned)
        before = told.picture()
        release = await told.submit(release_plan(target_plan(GOOD, route=service_route())))
        ended = await told.until_ended(release.id)
        assert ended.status is ReleaseStatus.REJECTED
        assert "somebody else tells versions apart with it" in ended.reason
        assert told.picture() == before
        change(told, "web", {"app": "web"})


async def test_a_preview_that_is_not_there_is_said_before_anything_is_changed(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told, preview=False)
        before = told.picture()
        release = await told.submit(release_plan(target_plan(GOOD, route=PREVIEW)))
        ended = await told.until_ended(release.id)
        assert (ended.status, "there is no Service next in namespace shop" in ended.reason) == (ReleaseStatus.REJECTED, True)
        assert told.picture() == before


async def test_services_may_come_with_the_release(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told, preview=False)
        shipped: list[dict[str, object]] = [service("web"), service("next", app="web")]
        steps: tuple[Step, ...] = compile_switch([Pause(0.05)], [])
        plan = target_plan(steps, route=PREVIEW, manifests=shipped, settle=0.05)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert (selected(told, "web"), selected(told, "next")) == ({"web:2"}, {"web:2"})
        for name in ("web", "next"):
            found: JsonObject = told.storage.get(SERVICES, "shop", name)
            assert found["spec"]["selector"] == {"app": "web"}
            managers = [(one["manager"], one["operation"]) for one in found["metadata"]["managedFields"]]
            assert ("headgate", "Update") not in managers


async def test_a_failed_check_after_the_release_brings_the_old_version_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await live(told)
        before = told.picture()
        told.error_rate["shop"] = 0.5
        plan = target_plan(
            compile_switch([Pause(0.05)], [Pause(0.05)]),
            route=PREVIEW,
            settle=0.05,
            after=[error_rate(runs=1, interval=0.1)],
            on_failure=OnFailure.ROLL_BACK,
        )
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert State.VERIFYING in [entry.destination for entry in told.journal.entries["r1.production"]]
        assert told.picture() == before
        assert len(told.pods(image="web:1")) == 3
