"""The controllers of the embedded cluster: roll-outs within their limits, undo, pause, and the native hand-over."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio

from adapters.embedded.control_plane import ControlPlane, run_control_plane
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, ENDPOINT_SLICES, NAMESPACES, PODS, REPLICA_SETS, SERVICES
from adapters.embedded.storage import Storage
from adapters.kubernetes import templates
from tests.builders import deployment, service
from tests.clocks import LoopClock, run_in_virtual_time


class Stand:
    def __init__(self, plane: ControlPlane) -> None:
        self.storage: Storage = plane.storage
        self.kubelet = plane.kubelet
        self.changed = anyio.Event()
        self.storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        with anyio.fail_after(within):
            while not condition():
                await self.changed.wait()

    async def settle(self) -> None:
        """Until nothing has happened for a while."""
        while True:
            changed = self.changed
            with anyio.move_on_after(5) as scope:
                await changed.wait()
            if scope.cancelled_caught:
                return

    def deployment(self) -> JsonObject:
        return self.storage.get(DEPLOYMENTS, "shop", "web")

    def status(self, name: str) -> int:
        return int(self.deployment().get("status", {}).get(name, 0))

    def replica_sets(self) -> list[JsonObject]:
        return self.storage.list(REPLICA_SETS, "shop")

    def pods(self) -> list[JsonObject]:
        return [pod for pod in self.storage.list(PODS, "shop") if not pod["metadata"].get("deletionTimestamp")]

    def pods_of(self, replica_set: str) -> list[JsonObject]:
        return [pod for pod in self.pods() if pod["metadata"]["ownerReferences"][0]["name"] == replica_set]

    def change(self, edit: Callable[[JsonObject], None], resource: Any = DEPLOYMENTS, name: str = "web") -> None:
        body = self.storage.get(resource, "shop", name)
        edit(body)
        self.storage.update(resource, body)

    async def complete(self, replicas: int = 3) -> None:
        def is_complete() -> bool:
            found = self.deployment()
            counts = [found.get("status", {}).get(f"{name}eplicas", 0) for name in ("r", "updatedR", "availableR")]
            observed = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
            return observed and counts == [replicas] * 3

        await self.until(is_complete)


@asynccontextmanager
async def cluster() -> AsyncIterator[Stand]:
    numbers = count(1)
    async with run_control_plane(LoopClock(), lambda: f"uid-{next(numbers)}") as plane:
        plane.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield Stand(plane)


@asynccontextmanager
async def live_deployment(**options: Any) -> AsyncIterator[Stand]:
    async with cluster() as stand:
        stand.storage.create(DEPLOYMENTS, deployment(image="web:1", **options))
        await stand.complete(options.get("replicas", 3))
        yield stand


def set_image(image: str) -> Callable[[JsonObject], None]:
    def edit(body: JsonObject) -> None:
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return edit


def test_a_roll_out_never_leaves_its_surge_and_its_minimum() -> None:
    async def story() -> None:
        async with live_deployment(replicas=10) as stand:
            seen: list[tuple[int, int]] = []

            def watch(event: StorageEvent) -> None:
                if event.resource.plural == "replicasets":
                    sets = list(stand.storage.iterate(REPLICA_SETS, "shop"))
                    wanted = sum(one["spec"]["replicas"] for one in sets)
                    available = sum(one.get("status", {}).get("availableReplicas", 0) for one in sets)
                    seen.append((wanted, available))

            stand.storage.subscribe(watch)
            stand.change(set_image("web:2"))
            await stand.complete(10)
            assert max(wanted for wanted, _ in seen) <= 13
            assert min(available for _, available in seen) >= 8
            assert sorted(one["spec"]["replicas"] for one in stand.replica_sets()) == [0, 10]

    run_in_virtual_time(story)


def test_a_version_that_never_gets_ready_takes_none_of_the_old_pods_down_but_the_allowed_ones() -> None:
    async def story() -> None:
        async with live_deployment(replicas=4) as stand:
            stand.change(set_image("web:crash"))
            await anyio.sleep(700)
            assert stand.status("availableReplicas") >= 3
            conditions = {one["type"]: one for one in stand.deployment()["status"]["conditions"]}
            assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
            stand.change(set_image("web:1"))
            await stand.complete(4)

    run_in_virtual_time(story)


def test_going_back_uses_the_old_replica_set_again_under_a_new_revision() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            (first,) = stand.replica_sets()
            stand.change(set_image("web:2"))
            await stand.complete()
            stand.change(set_image("web:1"))
            await stand.complete()
            again = stand.storage.get(REPLICA_SETS, "shop", first["metadata"]["name"])
            assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
            assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
            assert len(stand.replica_sets()) == 2

    run_in_virtual_time(story)


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            stand.change(lambda body: body["spec"].update(paused=True))
            stand.change(set_image("web:2"))
            stand.change(lambda body: body["spec"].update(replicas=5))
            await stand.until(lambda: stand.status("availableReplicas") == 5)
            assert len(stand.replica_sets()) == 1
            stand.change(lambda body: body["spec"].pop("paused"))
            await stand.complete(5)
            assert len(stand.replica_sets()) == 2

    run_in_virtual_time(story)


def test_a_service_finds_the_ready_pods_and_loses_a_leaving_one_before_it_ends() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            stand.storage.create(SERVICES, service())

            def ready() -> int:
                slices = stand.storage.list(ENDPOINT_SLICES, "shop")
                return sum(one["conditions"]["ready"] for found in slices for one in found["endpoints"] or ())

            await stand.until(lambda: ready() == 3)
            pod = stand.pods()[0]["metadata"]["name"]
            stand.kubelet.set_ready("shop", pod, False)
            await stand.until(lambda: ready() == 2)
            stand.kubelet.set_ready("shop", pod, True)
            stand.storage.delete(PODS, "shop", pod)
            await stand.until(lambda: ready() == 2)
            await stand.until(lambda: ready() == 3)

    run_in_virtual_time(story)


def test_deleting_a_deployment_takes_its_replica_sets_and_pods_with_it() -> None:
    async def story(propagation: str) -> None:
        async with live_deployment() as stand:
            stand.storage.delete(DEPLOYMENTS, "shop", "web", propagation=propagation)
            await stand.until(lambda: not stand.storage.list(PODS, "shop") and not stand.replica_sets())
            assert stand.storage.find(DEPLOYMENTS, "shop", "web") is None

    for propagation in ("Background", "Foreground"):
        run_in_virtual_time(lambda propagation=propagation: story(propagation))  # type: ignore[misc]


def test_orphaned_pods_stay() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            stand.storage.delete(DEPLOYMENTS, "shop", "web", propagation="Orphan")
            await stand.settle()
            assert len(stand.pods()) == 3 and len(stand.replica_sets()) == 1
            assert not stand.replica_sets()[0]["metadata"].get("ownerReferences")

    run_in_virtual_time(story)


# --- the native hand-over ----------------------------------------------------------------------------------------------


class HandOver:
    """The three steps of the design, on a live Deployment."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.template: JsonObject = copy.deepcopy(stand.deployment()["spec"]["template"])
        self.old_template: JsonObject = copy.deepcopy(self.template)
        self.template["spec"]["containers"][0]["image"] = "web:2"
        self.hash = templates.canary_hash(self.template, "r1")
        self.name = templates.canary_name("web", self.hash)
        self.old_name = stand.replica_sets()[0]["metadata"]["name"]

    async def canary(self, replicas: int = 3) -> None:
        body = templates.canary_replica_set(
            self.stand.deployment(), self.template, self.hash, rollout="r1", replicas=replicas
        )
        self.stand.storage.create(REPLICA_SETS, body)
        await self.stand.until(lambda: self.available(self.name) == replicas)

    def available(self, name: str) -> int:
        return int(self.stand.storage.get(REPLICA_SETS, "shop", name).get("status", {}).get("availableReplicas", 0))

    def pause(self) -> None:
        self.stand.change(lambda body: body["spec"].update(paused=True))

    def replace_template(self, template: JsonObject | None = None) -> None:
        self.stand.change(lambda body: body["spec"].update(template=template or self.template))

    def adopt(self) -> None:
        labels = templates.adopted_labels(self.template, self.hash)
        self.stand.change(lambda body: body["metadata"].update(labels=labels), REPLICA_SETS, self.name)

    def release(self) -> None:
        labels = templates.own_labels()
        self.stand.change(lambda body: body["metadata"].update(labels=labels), REPLICA_SETS, self.name)

    def unpause(self) -> None:
        self.stand.change(lambda body: body["spec"].pop("paused"))

    def uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.stand.pods_of(self.name)}


def test_a_bare_replica_set_beside_a_deployment_is_left_alone() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            await HandOver(stand).canary()
            await stand.settle()
            assert len(stand.pods()) == 6
            assert stand.status("replicas") == 3

    run_in_virtual_time(story)


def test_the_tested_pods_become_the_deployments_own_without_a_restart() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            hand_over = HandOver(stand)
            hand_over.pause()
            await hand_over.canary()
            uids = hand_over.uids()
            hand_over.replace_template()
            hand_over.adopt()
            await stand.until(lambda: not stand.pods_of(hand_over.old_name))
            hand_over.unpause()
            await stand.complete()
            assert hand_over.uids() == uids
            assert all(one["restartCount"] == 0 for pod in stand.pods() for one in pod["status"]["containerStatuses"])
            assert stand.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
            old = stand.storage.get(REPLICA_SETS, "shop", hand_over.old_name)
            assert old["spec"]["replicas"] == 0

    run_in_virtual_time(story)


def test_scaling_in_mid_rollout_moves_only_the_stable_side() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            hand_over = HandOver(stand)
            hand_over.pause()
            await hand_over.canary()
            stand.change(lambda body: body["spec"].update(replicas=5))
            await stand.until(lambda: len(stand.pods_of(hand_over.old_name)) == 5)
            assert len(stand.pods_of(hand_over.name)) == 3

    run_in_virtual_time(story)


def test_a_template_that_differs_by_a_foreign_annotation_is_not_recognised_and_the_tested_pods_are_replaced() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            hand_over = HandOver(stand)
            hand_over.pause()
            await hand_over.canary()
            uids = hand_over.uids()
            foreign = copy.deepcopy(hand_over.template)
            foreign["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
            hand_over.replace_template(foreign)
            hand_over.adopt()
            await stand.settle()
            hand_over.unpause()
            await stand.complete()
            assert not hand_over.uids() & uids
            assert not {pod["metadata"]["uid"] for pod in stand.pods()} & uids

    run_in_virtual_time(story)


def test_after_the_adoption_the_way_back_is_to_let_go_and_put_the_old_template_back() -> None:
    async def story() -> None:
        async with live_deployment() as stand:
            hand_over = HandOver(stand)
            hand_over.pause()
            await hand_over.canary()
            uids = hand_over.uids()
            hand_over.replace_template()
            hand_over.adopt()
            await stand.until(lambda: not stand.pods_of(hand_over.old_name))
            hand_over.release()
            hand_over.replace_template(hand_over.old_template)
            await stand.until(lambda: hand_over.available(hand_over.old_name) == 3)
            assert hand_over.uids() == uids, "the tested pods serve on while the old version grows"
            released = stand.storage.get(REPLICA_SETS, "shop", hand_over.name)
            assert not released["metadata"].get("ownerReferences")

    run_in_virtual_time(story)

