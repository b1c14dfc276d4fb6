"""A promoted version is taken back: the version before it serves again, by a release like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from adapters.kubernetes.templates import REVISION_ANNOTATION
from engine.errors import RollbackRefused
from engine.events import Command, CommandKind
from engine.model import ReleasePlan, ReleaseStatus, State
from engine.traffic import RoutePlan
from strategies.rollback import StoredRelease, check_not_overtaken, compile_rollback
from tests.builders import percent, pod_ratio_route, release_plan, service, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

MESH_AND_RATIO = pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])


async def stored(told: Stage, release: str) -> StoredRelease:
    found = await told.store.release(release)
    assert found is not None
    return StoredRelease(found, await told.store.rollouts(release))


async def back(told: Stage, release: str = "r1", *, force: bool = False) -> ReleasePlan:
    return compile_rollback(await stored(told, release), force=force)


async def promote(told: Stage, route: RoutePlan, *, image: str = "web:2", **options: object) -> None:
    plan = target_plan([percent(50)], image=image, route=route, settle=0.05, **options)  # type: ignore[arg-type]
    assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED


def template(told: Stage) -> JsonObject:
    found: JsonObject = told.deployment()["spec"]["template"]
    return found


def revisions(told: Stage) -> dict[str, int]:
    """The image of every ReplicaSet of the Deployment, and the number of its revision."""
    sets = told.storage.list(REPLICA_SETS, "shop")
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: int(one["metadata"]["annotations"][REVISION_ANNOTATION])
        for one in sets
    }


def available(told: Stage) -> int:
    pods = (pod for pod in told.storage.iterate(PODS, "shop") if not pod["metadata"].get("deletionTimestamp"))
    return sum(is_ready(pod) for pod in pods)


@MESH_AND_RATIO
async def test_the_version_before_serves_again_and_nothing_else_is_different(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before, old = told.picture(), template(told)
        await promote(told, route)
        least: list[int] = []
        told.storage.subscribe(lambda event: least.append(available(told)))
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert template(told) == old
        assert told.picture() == before
        assert (len(told.pods(image="web:1")), told.pods(image="web:2")) == (3, [])
        assert min(least) >= 3
        assert revisions(told) == {"web:2": 2, "web:1": 3}
        assert told.deployment()["metadata"]["annotations"][REVISION_ANNOTATION] == "3"


@MESH_AND_RATIO
async def test_a_rollback_is_taken_back_as_any_release(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await promote(told, route)
        new = template(told)
        assert await told.roll_out(await back(told, "r1")) is ReleaseStatus.SUCCEEDED
        again = await back(told, "r2")
        assert again.rollback_of == "r2"
        assert await told.roll_out(again) is ReleaseStatus.SUCCEEDED
        assert template(told) == new
        assert len(told.pods(image="web:2")) == 3
        with pytest.raises(RollbackRefused, match=r"release r3 of shop \(rollback of r2\) has changed Deployment web"):
            check_not_overtaken(await stored(told, "r1"), await stored(told, "r3"))


async def test_its_journal_says_who_ordered_it_and_what_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await promote(told, smi_route())
        plan = compile_rollback(await stored(told, "r1"), reason="too slow")
        assert await told.roll_out(plan) is ReleaseStatus.SUCCEEDED
        first = (await told.store.journal("r2"))[0]
        assert first.text.startswith("rollback of r1 by a test: too slow; the rollout begins")
        release = await told.store.release("r2")
        assert release is not None
        assert release.rollback_of == "r1"


@MESH_AND_RATIO
@pytest.mark.parametrize("count", [1, 5])
async def test_the_live_number_of_replicas_stays(tmp_path: Path, route: RoutePlan, count: int) -> None:
    """The release declared 3 of them, so it owns that field; what is left out of an apply is removed, and that means 1."""
    async with stage(tmp_path) as told:
        await told.live()
        await promote(told, route)
        scale(told, count)
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == count and len(told.pods()) == count)
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert told.deployment()["spec"]["replicas"] == count
        assert len(told.pods(image="web:1")) == count


@MESH_AND_RATIO
async def test_the_number_that_the_release_declared_stays_too(tmp_path: Path, route: RoutePlan) -> None:
    """It was 3 before the release, which made it 4."""
    async with stage(tmp_path) as told:
        await told.live(replicas=3)
        await promote(told, route, replicas=4)
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        await told.until(lambda: len(told.pods(image="web:1")) == 4)
        assert told.deployment()["spec"]["replicas"] == 4


@MESH_AND_RATIO
async def test_the_autoscaler_is_as_it_is_now(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live(replicas=2)
        await promote(told, route, replicas=3)
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        body = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 9}
        told.storage.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(body), manager="kubectl")
        before = told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")["spec"]
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")["spec"] == before
        assert told.deployment()["spec"]["replicas"] == 3
        assert len(told.pods(image="web:1")) == 3


def autoscaler(spec: JsonObject) -> JsonObject:
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def scale(told: Stage, count: int) -> None:
    found = told.deployment()
    told.storage.update(DEPLOYMENTS, {**found, "spec": {**found["spec"], "replicas": count}}, manager="kubectl")


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data}


async def test_what_the_release_changed_goes_back_and_what_it_made_stays_and_is_named(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        for name in ("changed", "same"):
            told.storage.create(CONFIG_MAPS, config_map(name, colour="red"), manager="kubectl")
        changed, made = config_map("changed", colour="blue", shape="round"), config_map("made", size="big")
        await promote(told, smi_route(), manifests=[changed, config_map("same", colour="red"), made])
        edited = told.storage.get(CONFIG_MAPS, "shop", "same")
        told.storage.update(CONFIG_MAPS, {**edited, "data": {"colour": "green"}}, manager="kubectl")
        plan = await back(told)
        (said,) = plan.warnings
        assert said.startswith("target production: ConfigMap/made stays; release r1 of shop made it")
        assert await told.roll_out(plan) is ReleaseStatus.SUCCEEDED
        data = {name: told.storage.get(CONFIG_MAPS, "shop", name).get("data") for name in ("changed", "same", "made")}
        assert data == {"changed": {"colour": "red"}, "same": {"colour": "green"}, "made": {"size": "big"}}


async def test_a_service_that_the_release_changed_goes_back_with_its_address(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.storage.get(SERVICES, "shop", "web")["spec"]
        ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "more", "port": 81, "targetPort": 8081}]
        body: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": ports},
        }
        await promote(told, smi_route(), manifests=[body])
        assert len(told.storage.get(SERVICES, "shop", "web")["spec"]["ports"]) == 2
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert told.storage.get(SERVICES, "shop", "web")["spec"] == before


@MESH_AND_RATIO
async def test_a_live_version_that_somebody_changed_since_is_left_alone_unless_it_is_forced(
    tmp_path: Path, route: RoutePlan
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        old = template(told)
        await promote(told, route)
        edit(told, "web:3")
        await told.until(lambda: told.status("shop", "web", "updatedReplicas") == 3 and len(told.pods(image="web:3")) == 3)
        await told.until(lambda: len(told.pods()) == 3)
        before = told.picture()
        assert await told.roll_out(await back(told)) is ReleaseStatus.REJECTED
        reason = told.journal.snapshots["r2.production"].reason
        assert reason.startswith("Deployment web no longer has the template that release r1 left")
        assert reason.endswith("headgate rollback r1 --force")
        assert told.picture() == before
        assert await told.roll_out(await back(told, force=True)) is ReleaseStatus.SUCCEEDED
        assert template(told) == old
        assert len(told.pods(image="web:1")) == 3


async def test_a_deployment_that_was_removed_since_comes_back_whole_only_when_it_is_forced(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live(replicas=2)
        await promote(told, smi_route())
        told.storage.delete(DEPLOYMENTS, "shop", "web")
        await told.until(lambda: not told.pods())
        assert await told.roll_out(await back(told)) is ReleaseStatus.REJECTED
        assert "Deployment web is gone" in told.journal.snapshots["r2.production"].reason
        assert await told.roll_out(await back(told, force=True)) is ReleaseStatus.SUCCEEDED
        assert len(told.pods(image="web:1")) == 2


def edit(told: Stage, image: str) -> None:
    found = told.deployment()
    containers = [{**one, "image": image} for one in found["spec"]["template"]["spec"]["containers"]]
    body = {**found["spec"]["template"], "spec": {**found["spec"]["template"]["spec"], "containers": containers}}
    told.storage.update(DEPLOYMENTS, {**found, "spec": {**found["spec"], "template": body}}, manager="kubectl")


@MESH_AND_RATIO
async def test_a_rollback_is_aborted_as_any_release_and_then_the_promoted_version_serves_on(
    tmp_path: Path, route: RoutePlan
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await promote(told, route)
        before = told.picture()
        release = await told.submit(await back(told))
        await told.until_state(State.PROMOTING, "r2.production")
        await told.engine.command(release.id, Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert len(told.pods(image="web:2")) == 3
        # What a rollback that was undone leaves is what the release left, so it can be taken back again.
        check_not_overtaken(await stored(told, "r1"), await stored(told, "r2"))
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert len(told.pods(image="web:1")) == 3


async def test_a_release_that_was_undone_has_nothing_to_take_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = release_plan(target_plan([percent(50)], image="web:crash", ready_timeout=0.3))
        assert await told.roll_out(plan) is ReleaseStatus.FAILED
        with pytest.raises(RollbackRefused, match="release r1 of shop did not succeed, it is FAILED"):
            await back(told)


async def test_a_first_deployment_has_no_version_before_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        assert await told.roll_out(release_plan(target_plan([], manifests=[service()]))) is ReleaseStatus.SUCCEEDED
        with pytest.raises(RollbackRefused, match="Deployment web of target production was created by release r1 of shop"):
            await back(told)


@MESH_AND_RATIO
async def test_an_application_at_0_gets_its_version_back_and_stays_at_0(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        old = template(told)
        await promote(told, route)
        scale(told, 0)
        await told.until(lambda: not told.pods())
        assert await told.roll_out(await back(told)) is ReleaseStatus.SUCCEEDED
        assert (template(told), told.deployment()["spec"]["replicas"], told.pods()) == (old, 0, [])
