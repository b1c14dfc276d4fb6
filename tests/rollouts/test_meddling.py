"""Somebody else takes away what traffic stands on: Services, the old version's pods, the namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.embedded.errors import ServiceUnavailable
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, NAMESPACES, REPLICA_SETS, SERVICES
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, Snapshot, State, Step
from engine.traffic import RoutePlan
from tests.builders import percent, pod_ratio_route, release_plan, target_plan
from tests.rollouts.stage import Stage, stage


@asynccontextmanager
async def waiting(path: Path, route: RoutePlan | None = None) -> AsyncIterator[Stage]:
    """A rollout that waits for an approval at 34 %, and a meddler who may harm traffic."""
    async with stage(path) as told:
        await told.live()
        steps: list[Step] = [percent(34), Approval(), percent(67), Approval()]
        await told.submit(release_plan(target_plan(steps, route=route, settle=0.05)))
        await told.until_state(State.APPROVING)
        told.traffic.pods_may_fail = True
        yield told
        told.traffic.violations.clear()


def at(told: Stage) -> Snapshot:
    return told.journal.snapshots["r1.production"]


async def order(told: Stage, kind: CommandKind) -> None:
    await told.engine.command("r1", Command(kind, by="ada"))


async def approve_to_the_end(told: Stage) -> ReleaseStatus:
    await order(told, CommandKind.APPROVE)
    await told.until(lambda: at(told).step == 3 and at(told).state is State.APPROVING)
    await order(told, CommandKind.APPROVE)
    return (await told.until_ended()).status


def change(told: Stage, changed: JsonObject) -> None:
    told.storage.update(DEPLOYMENTS, changed, manager="somebody")


def scale(told: Stage, replicas: int) -> None:
    live = told.deployment()
    live["spec"]["replicas"] = replicas
    change(told, live)


@pytest.mark.parametrize("name", ["web-stable", "web-canary"])
async def test_a_service_of_ours_that_is_removed_is_made_again_at_once(tmp_path: Path, name: str) -> None:
    async with waiting(tmp_path) as told:
        before = told.storage.get(SERVICES, "shop", name)
        told.storage.delete(SERVICES, "shop", name)
        await told.until(lambda: told.storage.peek(SERVICES, "shop", name) is not None)
        again = told.storage.get(SERVICES, "shop", name)
        assert again["metadata"]["uid"] != before["metadata"]["uid"]
        assert again["spec"]["selector"] == before["spec"]["selector"]
        assert at(told).held == ""
        assert await approve_to_the_end(told) is ReleaseStatus.SUCCEEDED


async def test_a_removed_root_service_holds_the_rollout_and_an_abort_still_ends(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        told.storage.delete(SERVICES, "shop", "web")
        await told.until(lambda: "the root Service web was removed by somebody else" in at(told).held)
        told.storage.delete(SERVICES, "shop", "web-stable")
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED


async def test_an_edited_selector_holds_the_rollout(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        found = told.storage.get(SERVICES, "shop", "web-canary")
        told.storage.update(SERVICES, {**found, "spec": {**found["spec"], "selector": {"app": "web"}}}, manager="somebody")
        await told.until(lambda: "the selector of Service web-canary was edited" in at(told).held)
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED


async def test_the_stable_service_follows_pods_that_somebody_replaced(tmp_path: Path) -> None:
    """Unpaused and restarted: the pods that it was pinned on are gone, and others of the old version are there."""
    async with waiting(tmp_path) as told:
        pinned = str(at(told).facts["web.stable_hash"])
        live = told.deployment()
        del live["spec"]["paused"]
        live["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        change(told, live)
        await told.until(lambda: at(told).facts["web.stable_hash"] != pinned)
        selector = told.storage.get(SERVICES, "shop", "web-stable")["spec"]["selector"]
        assert selector["pod-template-hash"] == at(told).facts["web.stable_hash"]
        assert told.storage.get(REPLICA_SETS, "shop", str(at(told).facts["web.stable_name"]))["status"]["availableReplicas"] > 0
        assert "drift" in at(told).held
        told.traffic.violations.clear()
        told.traffic.pods_may_fail = False
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.traffic.violations == [], "an abort sends traffic to pods that are there"


async def test_without_a_pod_of_the_old_version_nothing_goes_on_until_there_is_one(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        live = told.deployment()
        live["spec"]["replicas"] = 0
        change(told, live)
        await told.until(lambda: "no pod of the old version of web is available, which has 66 % of the traffic" in at(told).held)
        await order(told, CommandKind.APPROVE)
        assert at(told).step == 1
        scale(told, 3)
        await told.until(lambda: at(told).step == 3 and at(told).state is State.APPROVING)
        assert at(told).held == ""
        await order(told, CommandKind.APPROVE)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


async def test_a_pod_ratio_that_somebody_scales_is_held_and_an_abort_takes_no_pods_away(tmp_path: Path) -> None:
    async with waiting(tmp_path, pod_ratio_route()) as told:
        scale(told, 6)
        await told.until(lambda: "Deployment web was scaled to 6 by somebody else" in at(told).held)
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.deployment()["spec"]["replicas"] == 6
        assert (at(told).weight, at(told).served) == (0, 0)


@pytest.mark.parametrize("route", [None, pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_where_the_namespace_is_gone_there_is_nothing_to_put_back(tmp_path: Path, route: RoutePlan | None) -> None:
    async with waiting(tmp_path, route) as told:
        told.storage.delete(NAMESPACES, None, "shop")
        await told.until(lambda: told.storage.peek(NAMESPACES, None, "shop") is None)
        if at(told).state is State.APPROVING:
            await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED


async def test_while_a_watch_is_behind_the_old_versions_pods_are_not_looked_for_over_and_over(tmp_path: Path) -> None:
    """They come back while the watch of their ReplicaSet is cut off: the caches show none, the API server shows them."""
    async with waiting(tmp_path) as told:
        hash_value = told.storage.get(SERVICES, "shop", "web-stable")["spec"]["selector"]["pod-template-hash"]
        pods = [pod["metadata"]["name"] for pod in told.pods(image="web:1")]
        for name in pods:
            told.embedded.plane.kubelet.set_ready("shop", name, ready=False)
        await told.until(lambda: "no pod of the old version of web is available" in at(told).held)
        faults, watches = told.embedded.server.faults, Match(verb="watch", resource="replicasets")
        faults.answer(watches, ServiceUnavailable("the server is starting"), times=1_000)
        faults.cut_watches(Match(resource="replicasets"), inside_line=False)
        for name in pods:
            told.embedded.plane.kubelet.set_ready("shop", name, ready=True)
        await told.until(lambda: at(told).held == "")
        entries = [one.text for one in await told.store.journal("r1") if "follow-stable" in one.text]
        assert len(entries) <= 4, entries
        assert told.storage.get(SERVICES, "shop", "web-stable")["spec"]["selector"]["pod-template-hash"] == hash_value
