"""What else happens in a cluster while a rollout is under way, and what a rollout makes of what it finds."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.pods import PREFIX
from adapters.embedded.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from adapters.kubernetes.cluster import WatchScope
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import Approval, Freeze, Pause, ReleaseStatus, State, Step, WorkloadPlan
from engine.traffic import RoutePlan
from tests.builders import (
    deployment,
    error_rate,
    manifest_plan,
    percent,
    pod_ratio_route,
    release_plan,
    service,
    smi_route,
    target_plan,
)
from tests.rollouts.stage import Stage, stage

MESH_AND_RATIO = pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])


async def approve(told: Stage) -> None:
    await told.engine.command("r1", Command(CommandKind.APPROVE, by="ada"))


async def test_a_first_deployment_is_applied_and_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        plan = target_plan([percent(25)], manifests=[service()])
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert len(told.pods(image="web:2")) == 3
        assert sorted(told.picture()) == ["Deployment/web", "Service/web"]


async def test_a_first_deployment_may_bring_its_namespace(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        namespace: dict[str, object] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        plan = target_plan([percent(25)], manifests=[namespace, service()])
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert len(told.pods(image="web:2")) == 3


async def test_a_first_deployment_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        plan = target_plan([percent(25)], image="web:crash", manifests=[service()], ready_timeout=0.5)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        await told.until(lambda: not told.storage.list(PODS, "shop") and not told.storage.list(REPLICA_SETS, "shop"))
        assert told.picture() == {}


async def test_pods_that_crash_end_the_rollout_and_its_reason_names_the_trouble(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        status = await told.roll_out(release_plan(target_plan([percent(25)], image="web:crash", ready_timeout=0.5)))
        assert status is ReleaseStatus.FAILED
        assert "CrashLoopBackOff" in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before
        assert told.ours() == []


@MESH_AND_RATIO
@pytest.mark.parametrize("error", [0.0, 0.5], ids=["good", "bad"])
async def test_one_pod_is_enough(tmp_path: Path, route: RoutePlan, error: float) -> None:
    """And there is never a window without an available pod that serves."""
    async with stage(tmp_path) as told:
        await told.live(replicas=1)
        told.error_rate["shop"] = error
        least: list[int] = []
        told.storage.subscribe(lambda event: least.append(available_pods(told)))
        plan = target_plan([percent(50), error_rate(runs=1, interval=0.1)], route=route, replicas=1, settle=0.05)
        status = await told.roll_out(release_plan(plan))
        assert status is (ReleaseStatus.FAILED if error else ReleaseStatus.SUCCEEDED)
        assert len(told.pods(image="web:1" if error else "web:2")) == 1
        assert min(least) >= 1


def available_pods(told: Stage) -> int:
    pods = (pod for pod in told.storage.iterate(PODS, "shop") if not pod["metadata"].get("deletionTimestamp"))
    return sum(is_ready(pod) for pod in pods)


@MESH_AND_RATIO
async def test_an_application_that_is_scaled_to_0_gets_its_new_version_without_steps(
    tmp_path: Path, route: RoutePlan
) -> None:
    async with stage(tmp_path) as told:
        await told.live(replicas=0)
        plan = target_plan([percent(50), Pause(600.0)], route=route, replicas=0)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert told.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
        assert not told.pods()


async def test_the_same_template_again_applies_only_the_rest_of_the_declaration(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        uids = {pod["metadata"]["uid"] for pod in told.pods()}
        plan = target_plan([percent(25)], image="web:1", replicas=4)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert uids < {pod["metadata"]["uid"] for pod in told.pods()}
        assert told.deployment()["spec"]["replicas"] == 4


async def test_supporting_objects_are_applied_and_put_back_as_they_were(tmp_path: Path) -> None:
    def settings(value: str) -> dict[str, object]:
        metadata = {"name": "settings", "namespace": "shop"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}

    new = {**settings("x"), "metadata": {"name": "new", "namespace": "shop"}}
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(CONFIG_MAPS, settings("old"), manager="kubectl")
        before = told.picture()
        told.error_rate["shop"] = 1.0
        plan = target_plan([percent(25), error_rate(runs=1, interval=0.05)], manifests=[settings("new"), new])
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []
        told.error_rate["shop"] = 0.0
        again = await told.submit(release_plan(plan))
        assert (await told.until_ended(again.id)).status is ReleaseStatus.SUCCEEDED
        assert told.storage.get(CONFIG_MAPS, "shop", "settings")["data"] == {"key": "new"}


async def test_a_mesh_canary_follows_the_live_count_of_replicas(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        live = told.deployment()
        live["spec"]["replicas"] = 5
        told.storage.update(DEPLOYMENTS, live, manager="somebody")
        await told.until(lambda: len(told.pods(image="web:2")) == 5 and len(told.pods(image="web:1")) == 5)
        await approve(told)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


def autoscaler(desired: int) -> JsonObject:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {f"{PREFIX}desired-replicas": str(desired)}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
        },
    }


@MESH_AND_RATIO
@pytest.mark.parametrize("error", [0.0, 0.5], ids=["good", "bad"])
async def test_an_autoscaler_is_as_it_was_in_the_end_and_its_count_is_kept(
    tmp_path: Path, route: RoutePlan, error: float
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(6), manager="kubectl")
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == 6)
        before = told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")
        told.error_rate["shop"] = error
        plan = target_plan([percent(50), error_rate(runs=1, interval=0.1)], route=route, settle=0.05)
        status = await told.roll_out(release_plan(plan))
        assert status is (ReleaseStatus.FAILED if error else ReleaseStatus.SUCCEEDED)
        after = told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")
        assert after["spec"] == before["spec"]
        assert owners_of(after) == owners_of(before)
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == 6)
        assert len(told.pods(image="web:1" if error else "web:2")) == 6


def owners_of(body: JsonObject) -> dict[str, JsonObject]:
    """Who manages what, but for the status."""
    return {one["manager"]: one["fieldsV1"] for one in body["metadata"]["managedFields"] if one.get("subresource") != "status"}


async def test_a_bound_that_somebody_writes_while_an_autoscaler_is_held_stays_theirs(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(3), manager="kubectl")
        plan = target_plan([percent(50), Approval()], route=pod_ratio_route(), settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        held = told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")
        assert held["spec"]["maxReplicas"] < 10
        held["spec"]["maxReplicas"] = 20
        told.storage.update(HORIZONTAL_POD_AUTOSCALERS, held, manager="somebody")
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await told.until_ended()
        after = told.storage.get(HORIZONTAL_POD_AUTOSCALERS, "shop", "web")
        assert (after["spec"]["minReplicas"], after["spec"]["maxReplicas"]) == (2, 20)
        assert "headgate" not in owners_of(after)


@pytest.mark.parametrize(("freeze", "more"), [(Freeze.AT_HAND_OVER, 0), (Freeze.FROM_START, 2)])
async def test_a_late_freeze_leaves_the_deployment_untouched_until_the_hand_over(
    tmp_path: Path, freeze: Freeze, more: int
) -> None:
    """Paused and unpaused again: an early freeze costs two generations, and nothing else of the Deployment changes."""
    async with stage(tmp_path) as told:
        await told.live()
        before = told.storage.get(DEPLOYMENTS, "shop", "web")
        told.error_rate["shop"] = 0.5
        steps: list[Step] = [percent(25), error_rate(runs=1, interval=0.05), percent(50)]
        plan = target_plan(steps, settle=0.05, freeze=freeze)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        after = told.storage.get(DEPLOYMENTS, "shop", "web")
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + more
        assert after["spec"] == before["spec"]
        theirs = [[one for one in found["metadata"]["managedFields"] if one["manager"] == "kubectl"] for found in (before, after)]
        assert theirs[0] == theirs[1] != []


async def test_an_edit_of_the_template_by_somebody_else_holds_the_rollout(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()])))
        await told.until_state(State.APPROVING)
        edited = told.deployment()
        original = copy.deepcopy(edited["spec"]["template"])
        edited["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        told.storage.update(DEPLOYMENTS, edited, manager="somebody")
        await told.until(lambda: "edited by somebody else" in told.journal.snapshots["r1.production"].held)
        assert len(told.pods(image="web:1")) == 3, "frozen, so the edit started nothing"
        with pytest.raises(CommandRefused, match="still held: drift"):
            await told.engine.command("r1", Command(CommandKind.RESUME, by="ada"))
        live = told.deployment()
        live["spec"]["template"] = original
        told.storage.update(DEPLOYMENTS, live, manager="somebody")
        while told.journal.snapshots["r1.production"].held:
            with suppress(CommandRefused):
                await told.engine.command("r1", Command(CommandKind.RESUME, by="ada"))
        await approve(told)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("what", "sentence"),
    [("removed", "was removed by somebody else"), ("weights", "somebody else set TrafficSplit web to 90 %")],
)
async def test_a_split_that_somebody_else_touches_holds_the_rollout_and_an_abort_clears_up(
    tmp_path: Path, what: str, sentence: str
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        await told.submit(release_plan(target_plan([percent(25), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        told.traffic.pods_may_fail = True
        split = told.storage.get(told.splits, "shop", "web")
        if what == "removed":
            told.storage.delete(told.splits, "shop", "web")
        else:
            split["spec"]["backends"][0]["weight"], split["spec"]["backends"][1]["weight"] = 10, 90
            told.storage.update(told.splits, split, manager="somebody")
        await told.until(lambda: sentence in told.journal.snapshots["r1.production"].held)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before
        told.traffic.violations.clear()


@MESH_AND_RATIO
async def test_a_canary_that_somebody_else_removes_is_undone_at_once(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        told.traffic.pods_may_fail = True
        await told.submit(release_plan(target_plan([percent(34), Pause(600.0)], route=route, settle=0.05)))
        at = await told.until_state(State.PAUSING)
        told.storage.delete(REPLICA_SETS, "shop", str(at.facts["web.canary_name"]), propagation="Background")
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before


async def test_the_ratio_that_was_really_reached_stands_beside_the_one_that_was_asked_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(10), Approval()], route=pod_ratio_route())
        await told.submit(release_plan(plan))
        at = await told.until_state(State.APPROVING)
        assert (at.weight, at.served) == (1_000, 3_333)
        assert any("asked for 10 %, reached 33.33 %" in entry.text for entry in told.journal.entries["r1.production"])


async def test_a_canary_whose_pods_all_die_is_undone_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        told.traffic.pods_may_fail = True
        await told.submit(release_plan(target_plan([percent(25), Pause(600.0)], settle=0.05)))
        await told.until_state(State.PAUSING)
        for pod in told.pods(image="web:2"):
            told.embedded.plane.kubelet.set_ready("shop", pod["metadata"]["name"], False)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before


async def test_going_back_to_a_version_that_kubernetes_remembers_keeps_the_tested_pods(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live(image="web:2")
        live = told.deployment()
        live["spec"]["template"]["spec"]["containers"][0]["image"] = "web:1"
        told.storage.update(DEPLOYMENTS, live, manager="kubectl")
        await told.until(lambda: len(told.pods(image="web:1")) == 3 and not told.pods(image="web:2"))
        await told.submit(release_plan(target_plan([percent(25), Approval()], image="web:2", settle=0.05)))
        await told.until_state(State.APPROVING)
        tested = {pod["metadata"]["uid"] for pod in told.pods(image="web:2")}
        await approve(told)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert {pod["metadata"]["uid"] for pod in told.pods(image="web:2")} == tested


@pytest.mark.parametrize("versions", [["v1alpha1"], ["v1alpha2"], ["v1alpha4"], ["v1alpha1", "v1alpha2", "v1alpha4"]], ids=str)
async def test_a_split_is_made_in_whichever_version_the_cluster_serves(tmp_path: Path, versions: list[str]) -> None:
    async with stage(tmp_path, split_versions=versions) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        created = [one for one in told.embedded.server.audit.writes() if "trafficsplits" in one.path and one.verb == "create"]
        assert [one.path.split("/")[3] for one in created] == [max(versions)]
        await approve(told)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


async def test_a_cluster_without_traffic_splits_is_told_what_to_install(tmp_path: Path) -> None:
    async with stage(tmp_path, split_versions=()) as told:
        await told.live()
        assert await told.roll_out(release_plan(target_plan([percent(25)]))) is ReleaseStatus.REJECTED
        assert "install the mesh's SMI extension" in told.journal.snapshots["r1.production"].reason


@pytest.mark.parametrize("error", [0.0, 0.5], ids=["good", "bad"])
async def test_a_canary_service_that_the_user_named_is_borrowed_and_given_back(tmp_path: Path, error: float) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(SERVICES, service("theirs", app="web"), manager="kubectl")
        before = told.storage.get(SERVICES, "shop", "theirs")["spec"]
        told.error_rate["shop"] = error
        route = replace(smi_route(), canary_service="theirs", adopts_canary_service=True)
        await told.submit(release_plan(target_plan([percent(25), error_rate(runs=1, interval=0.3)], route=route, settle=0.05)))
        await told.until_state(State.ANALYSING)
        assert "pod-template-hash" in told.storage.get(SERVICES, "shop", "theirs")["spec"]["selector"]
        await told.until_ended()
        assert told.storage.get(SERVICES, "shop", "theirs")["spec"] == before


async def test_watches_in_one_namespace_only_suffice(tmp_path: Path) -> None:
    async with stage(tmp_path, scope=WatchScope.NAMESPACE) as told:
        await told.live()
        assert await told.roll_out(release_plan(target_plan([percent(25)], settle=0.05))) is ReleaseStatus.SUCCEEDED
        assert {scope.namespace for scope in told.embedded.server.audit.watches_ever} == {"shop"}


async def test_an_idle_rollout_makes_no_request_at_all(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()])))
        await told.until_state(State.APPROVING)
        counted = sum(told.embedded.server.audit.counts.values())
        with pytest.raises(TimeoutError):
            await told.until(lambda: sum(told.embedded.server.audit.counts.values()) != counted, within=0.5)


async def test_a_weight_step_is_one_write_to_the_router_and_none_else(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(10), Approval(), percent(20), percent(30), percent(40), Approval()])
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        before = len(told.embedded.server.audit.writes())
        await approve(told)
        await told.until(lambda: told.journal.snapshots["r1.production"].step == 5)
        writes = told.embedded.server.audit.writes()[before:]
        assert [(one.verb, one.resource) for one in writes] == [("patch", "trafficsplits.split.smi-spec.io")] * 3


@pytest.mark.parametrize(
    ("obstacle", "sentence"),
    [
        ("foreign split", "a TrafficSplit web exists and was not made by Headgate"),
        ("split on the root", "splits the root Service web already"),
        ("foreign service", "a Service web-stable exists and was not made by Headgate"),
        ("headless root", "is headless"),
        ("no root", "there is no Service web"),
        ("root selects others", "does not select the pods"),
        ("rolling", "in the middle of a roll-out of its own"),
        ("other selector", "a selector cannot be changed"),
    ],
)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(
    tmp_path: Path, obstacle: str, sentence: str
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await put_in_the_way(told, obstacle)
        before = told.picture()
        plan = target_plan([percent(25)])
        if obstacle == "other selector":
            body = deployment()
            body["spec"]["selector"] = {"matchLabels": {"app": "web", "tier": "front"}}  # type: ignore[index]
            body["spec"]["template"]["metadata"]["labels"]["tier"] = "front"  # type: ignore[index]
            plan = replace(plan, workloads=(WorkloadPlan("web", manifest_plan(body).content),))
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        assert sentence in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before
        assert told.ours() == []


async def put_in_the_way(told: Stage, obstacle: str) -> None:
    def split(name: str) -> JsonObject:
        backends = [{"service": "a", "weight": 1}]
        metadata = {"name": name, "namespace": "shop"}
        spec = {"service": "web", "backends": backends}
        return {"apiVersion": told.splits.api_version, "kind": "TrafficSplit", "metadata": metadata, "spec": spec}

    match obstacle:
        case "foreign split":
            told.storage.create(told.splits, split("web"))
        case "split on the root":
            told.storage.create(told.splits, split("theirs"))
        case "foreign service":
            told.storage.create(SERVICES, service("web-stable", app="web"))
        case "no root":
            told.storage.delete(SERVICES, "shop", "web")
        case "headless root":
            told.storage.delete(SERVICES, "shop", "web")
            body = service()
            body["spec"]["clusterIP"] = "None"  # type: ignore[index]
            told.storage.create(SERVICES, body)
        case "root selects others":
            told.storage.delete(SERVICES, "shop", "web")
            told.storage.create(SERVICES, service(app="other"))
        case "rolling":
            live = told.deployment()
            live["spec"]["template"]["spec"]["containers"][0]["image"] = "web:crash"
            told.storage.update(DEPLOYMENTS, live)
            await told.until(lambda: len(told.storage.list(REPLICA_SETS, "shop")) == 2)
            await told.until(lambda: told.status("shop", "web", "updatedReplicas") == 1)
        case _:
            pass


async def test_a_full_history_loses_its_oldest_version_and_the_rollout_nothing(tmp_path: Path) -> None:
    """Its controller cleans it away in the moment in which it gets it back, between our look and our write."""
    async with stage(tmp_path) as told:
        await told.live()
        live = told.deployment()
        told.storage.update(DEPLOYMENTS, {**live, "spec": {**live["spec"], "revisionHistoryLimit": 1}}, manager="kubectl")
        for image in ("web:2", "web:3"):
            plan = target_plan([percent(50)], image=image, route=pod_ratio_route())
            assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        images = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in told.storage.list(REPLICA_SETS, "shop")}
        assert images == {"web:2", "web:3"}
