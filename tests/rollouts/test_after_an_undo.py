"""What a release leaves out is gone, as it is where no release before it was undone: an undo leaves what was declared before it
to be left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SERVICES
from engine.events import Command, CommandKind
from engine.model import Approval, GateStep, OnFailure, ReleaseStatus, State, Step, TargetPlan, WorkloadPlan
from engine.traffic import RoutePlan
from tests.builders import deployment, percent, pod_ratio_route, release_plan, service, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

BOTH = {"a": "1", "b": "1"}
MESH_AND_RATIO = pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
FOUND = pytest.mark.parametrize("found", [True, False], ids=["kubectl was first", "all of it is Headgate's"])


def shop(
    image: str,
    data: dict[str, str],
    *,
    notes: dict[str, str] | None = None,
    history: int | None = None,
    steps: Sequence[Step] = (percent(50),),
    after: Sequence[GateStep] = (),
    **options: object,
) -> TargetPlan:
    """A Deployment with annotations and a limit of its own for its history, and a ConfigMap."""
    body: JsonObject = deployment(image=image)
    body["metadata"] |= {"annotations": notes} if notes else {}
    body["spec"] |= {"revisionHistoryLimit": history} if history is not None else {}
    plan = target_plan(
        steps, manifests=[settings(data)], after=after, on_failure=OnFailure.ROLL_BACK, settle=0.05, **options  # type: ignore[arg-type]
    )
    return replace(plan, workloads=(WorkloadPlan("web", json.dumps(body)),))


def settings(data: dict[str, str], **content: object) -> dict[str, object]:
    metadata = {"name": "settings", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, **content}


def owners(body: JsonObject) -> list[JsonObject]:
    """Who has which fields, but for what controllers report."""
    entries = (one for one in body["metadata"]["managedFields"] if not one.get("subresource"))
    return sorted(({k: v for k, v in one.items() if k != "time"} for one in entries), key=str)


async def begin(told: Stage, found: bool) -> None:
    """The first release, on what kubectl has made before, or on nothing but a Service."""
    if found:
        await told.live()
        told.storage.create(CONFIG_MAPS, settings({"a": "0"}), manager="kubectl")
    else:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        told.storage.create(SERVICES, service(), manager="kubectl")
    plan = shop("web:1", BOTH, notes={"a": "1", "b": "1"}, history=5)
    assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED


async def undo(told: Stage, plan: TargetPlan, at: State) -> None:
    release = await told.submit(release_plan(plan))
    await told.until_state(at, f"{release.id}.production")
    await told.engine.command(release.id, Command(CommandKind.ABORT, by="ada"))
    assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED


@FOUND
@MESH_AND_RATIO
@pytest.mark.parametrize("at", [State.APPROVING, State.VERIFYING])
async def test_what_the_next_release_leaves_out_is_gone(tmp_path: Path, at: State, route: RoutePlan, found: bool) -> None:
    async with stage(tmp_path) as told:
        await begin(told, found)
        before = [told.deployment(), told.storage.get(CONFIG_MAPS, "shop", "settings")]
        steps: list[Step] = [percent(50), *([Approval()] if at is State.APPROVING else [])]
        two = {"a": "2", "b": "2"}
        bad = shop("web:2", two, notes=two, history=7, steps=steps, after=[Approval()], route=route)
        await undo(told, bad, at)
        after = [told.deployment(), told.storage.get(CONFIG_MAPS, "shop", "settings")]
        assert [owners(one) for one in after] == [owners(one) for one in before]
        one = {"a": "3"}
        assert await told.roll_out(release_plan(shop("web:3", one, notes=one, route=route))) is ReleaseStatus.SUCCEEDED
        assert told.storage.get(CONFIG_MAPS, "shop", "settings")["data"] == one
        live = told.deployment()
        assert {key: value for key, value in live["metadata"]["annotations"].items() if key in two} == one
        assert live["spec"]["revisionHistoryLimit"] == 10, "the default"


@pytest.mark.parametrize("immutable", [False, True])
async def test_it_is_so_too_where_an_undo_had_to_make_it_anew(tmp_path: Path, immutable: bool) -> None:
    async with stage(tmp_path) as told:
        await begin(told, found=False)
        bad = shop("web:2", {"a": "2", "b": "2"}, steps=[percent(50), Approval()])
        release = await told.submit(release_plan(bad))
        await told.until_state(State.APPROVING, f"{release.id}.production")
        told.storage.delete(CONFIG_MAPS, "shop", "settings")
        if immutable:
            told.storage.create(CONFIG_MAPS, settings({"c": "3"}, immutable=True), manager="kubectl")
        await told.engine.command(release.id, Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED
        assert told.storage.get(CONFIG_MAPS, "shop", "settings")["data"] == BOTH
        assert await told.roll_out(release_plan(shop("web:3", {"a": "3"}))) is ReleaseStatus.SUCCEEDED
        assert told.storage.get(CONFIG_MAPS, "shop", "settings")["data"] == {"a": "3"}


@pytest.mark.parametrize("meanwhile", ["nothing", "deleted"])
async def test_a_configuration_without_managers_has_none_of_ours_after_an_undo(tmp_path: Path, meanwhile: str) -> None:
    """As it comes out of a backup that leaves them out."""
    async with stage(tmp_path) as told:
        await told.live()
        made = told.storage.create(CONFIG_MAPS, settings(BOTH), manager="kubectl")
        told.storage.update(CONFIG_MAPS, {**made, "metadata": {**made["metadata"], "managedFields": [{}]}}, manager="kubectl")
        assert "managedFields" not in told.storage.get(CONFIG_MAPS, "shop", "settings")["metadata"]
        await told.submit(release_plan(shop("web:2", {"a": "2"}, steps=[percent(50), Approval()])))
        await told.until_state(State.APPROVING)
        if meanwhile == "deleted":
            told.storage.delete(CONFIG_MAPS, "shop", "settings")
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        found = told.storage.get(CONFIG_MAPS, "shop", "settings")
        assert found["data"] == BOTH
        assert "headgate" not in {one["manager"] for one in found["metadata"].get("managedFields") or []}


async def test_whoever_has_scaled_in_the_meantime_keeps_the_number_of_pods(tmp_path: Path) -> None:
    """A release before has declared one, and the next one leaves it to them."""
    async with stage(tmp_path) as told:
        await begin(told, found=False)
        bad = shop("web:2", BOTH, after=[Approval()])
        release = await told.submit(release_plan(bad))
        await told.until_state(State.VERIFYING, f"{release.id}.production")
        scale(told, 4)
        await told.engine.command(release.id, Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED
        plan = shop("web:3", BOTH)
        body = json.loads(plan.workloads[0].manifest)
        del body["spec"]["replicas"]
        plan = replace(plan, workloads=(WorkloadPlan("web", json.dumps(body)),))
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert told.deployment()["spec"]["replicas"] == 4


def scale(told: Stage, replicas: int) -> None:
    """As `kubectl scale` does it: by the subresource."""
    live = told.deployment()
    live["spec"]["replicas"] = replicas
    told.storage.update(DEPLOYMENTS, live, manager="kubectl", subresource="scale")
