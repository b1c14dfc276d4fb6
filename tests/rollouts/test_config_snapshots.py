"""`snapshotConfig` in a cluster: every version reads its own copies, an undo leaves none, and old ones go in time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.errors import ServiceUnavailable
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CONFIG_MAPS, DEPLOYMENTS, SECRETS
from engine.events import Command, CommandKind
from engine.model import Approval, ManifestPlan, ReleasePlan, ReleaseStatus, State, Step, TargetPlan, WorkloadPlan
from engine.traffic import RoutePlan
from strategies.config_snapshots import snapshot_config
from strategies.rollback import StoredRelease, compile_rollback
from tests.builders import deployment, manifest_plan, percent, pod_ratio_route, release_plan, smi_route, target_plan
from tests.rollouts.stage import Stage, stage


def plan_of(
    value: str, *, name: str = "web", kind: str = "ConfigMap", route: RoutePlan | None = None, steps: tuple[Step, ...] = ()
) -> TargetPlan:
    """The same image with other settings."""
    plan = target_plan(steps or (percent(50),), workload=name, image="web:1", route=route, settle=0.05)
    body: JsonObject = deployment(name, image="web:1")
    body["spec"]["revisionHistoryLimit"] = 1
    source = {"configMapRef": {"name": "settings"}} if kind == "ConfigMap" else {"secretRef": {"name": "settings"}}
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [source]
    metadata = {"name": "settings", "namespace": "shop"}
    config = manifest_plan({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": value}})
    workloads, manifests = snapshot_config([WorkloadPlan(name, json.dumps(body))], [config])
    return replace(plan, workloads=workloads, manifests=manifests)


def copy_of(plan: TargetPlan) -> str:
    (made,) = plan.manifests
    assert isinstance(made, ManifestPlan)
    return made.key.partition("/")[2]


def there(told: Stage, kind: str = "ConfigMap") -> set[str]:
    resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
    return {one["metadata"]["name"] for one in told.storage.list(resource, "shop")}


def read_by(told: Stage) -> set[str]:
    """What the pods that serve read."""
    sources = [one["spec"]["containers"][0].get("envFrom") or [] for one in told.pods()]
    return {one["configMapRef"]["name"] for found in sources for one in found}


async def promote(told: Stage, plan: TargetPlan) -> None:
    assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED, await told.tell("r1")


@pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_a_change_of_the_configuration_alone_is_a_rollout_in_which_each_version_reads_its_own(
    tmp_path: Path, route: RoutePlan
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        first, second = plan_of("1", route=route), plan_of("2", route=route, steps=(percent(50), Approval()))
        await promote(told, first)
        await told.submit(release_plan(second))
        await told.until_state(State.APPROVING, "r2.production")
        assert read_by(told) == {copy_of(first), copy_of(second)}
        data = {name: told.storage.get(CONFIG_MAPS, "shop", name)["data"] for name in there(told)}
        assert data == {copy_of(first): {"a": "1"}, copy_of(second): {"a": "2"}}
        await told.engine.command("r2", Command(CommandKind.APPROVE, by="ada"))
        assert (await told.until_ended("r2")).status is ReleaseStatus.SUCCEEDED
        assert read_by(told) == {copy_of(second)}


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_copies_go_when_no_kept_version_refers_to_them(tmp_path: Path, kind: str) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plans = [plan_of(value, kind=kind) for value in ("MQ==", "Mg==", "Mw==", "NA==")]
        for plan in plans:
            await promote(told, plan)
        kept = there(told, kind)
        assert {copy_of(plan) for plan in plans[-2:]} <= kept, "the version that serves, and the one to go back to"
        assert copy_of(plans[0]) not in kept


async def test_an_undo_removes_the_copies_that_it_made_and_no_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        first, second = plan_of("1"), plan_of("2", steps=(percent(50), Approval()))
        await promote(told, first)
        await told.submit(release_plan(second))
        await told.until_state(State.APPROVING, "r2.production")
        await told.engine.command("r2", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended("r2")).status is ReleaseStatus.FAILED
        assert there(told) == {copy_of(first)}
        assert read_by(told) == {copy_of(first)}


async def test_a_rollback_finds_the_copies_of_the_version_before(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        first, second = plan_of("1"), plan_of("2")
        await promote(told, first)
        await promote(told, second)
        release = await told.store.release("r2")
        assert release is not None
        back: ReleasePlan = compile_rollback(StoredRelease(release, await told.store.rollouts("r2")))
        assert await told.roll_out(back) is ReleaseStatus.SUCCEEDED
        assert read_by(told) == {copy_of(first)}
        assert copy_of(first) in there(told)


async def test_copies_of_another_applications_deployment_are_left_alone(tmp_path: Path) -> None:
    """Its rollout may have made them a moment ago, and not referred to them yet."""
    async with stage(tmp_path) as told:
        await told.live()
        theirs: JsonObject = json.loads(plan_of("9", name="api").manifests[0].content)
        told.storage.create(CONFIG_MAPS, theirs, manager="headgate")
        for value in ("1", "2", "3"):
            await promote(told, plan_of(value))
        assert theirs["metadata"]["name"] in there(told)


async def test_a_rollout_that_has_succeeded_does_not_fail_for_what_is_left_over(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        for value in ("1", "2"):
            await promote(told, plan_of(value))
        before = there(told)
        busy = ServiceUnavailable("not now")
        told.embedded.server.faults.answer(Match(verb="list", resource="configmaps", namespace="shop"), busy, times=100)
        await promote(told, plan_of("3"))
        assert before < there(told)
        assert "are left for the next rollout" in await told.tell("r3")
        told.embedded.server.faults.clear()
        await promote(told, plan_of("4"))
        assert copy_of(plan_of("1")) not in there(told)
        assert told.storage.get(DEPLOYMENTS, "shop", "web")["spec"]["replicas"] == 3
