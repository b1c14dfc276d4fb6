"""The native hand-over of docs/architecture.md by plain API calls, in Headgate's order, and the way back."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes import templates
from tests.conformance import stand as k8s
from tests.conformance.stand import DEPLOYMENTS, PODS, REPLICA_SETS, Stand

ROLLOUT = "r1.production"


class HandOver:
    """The actions of adapters/kubernetes/workloads.py, and what is awaited between them."""

    def __init__(self, stand: Stand, live: JsonObject, stable: JsonObject) -> None:
        self.stand = stand
        self.count: int = live["spec"]["replicas"]
        self.old_template: JsonObject = live["spec"]["template"]
        self.template = copy.deepcopy(self.old_template)
        self.template["spec"]["containers"][0]["image"] = "web:2"
        self.hash = templates.canary_hash(self.template, ROLLOUT)
        self.canary = templates.canary_name("web", self.hash)
        self.stable: str = stable["metadata"]["name"]
        self.stable_labels: dict[str, str] = stable["metadata"]["labels"]
        self.tested: set[str] = set()

    async def change(self, resource: str, name: str, *operations: JsonObject) -> JsonObject:
        """Only if the object is as it was looked at: the precondition of every write of ours."""
        found = await self.stand.get(resource, name)
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
        return await self.stand.patch(resource, name, same, *operations)

    async def change_until_taken(self, resource: str, name: str, *operations: JsonObject) -> JsonObject:
        """A controller may be faster: then the object is looked at again."""

        async def attempt() -> JsonObject | None:
            try:
                return await self.change(resource, name, *operations)
            except k8s.Refused as refused:
                if refused.status not in (409, 422):
                    raise
                return None

        return await self.stand.until(attempt, f"the write to {name} is taken")

    async def freeze(self) -> None:
        await self.change_until_taken(DEPLOYMENTS, "web", add("/spec/paused", True))
        await self.stand.observed()

    async def unfreeze(self) -> None:
        await self.change_until_taken(DEPLOYMENTS, "web", {"op": "remove", "path": "/spec/paused"})

    async def start_canary(self, replicas: int) -> None:
        live = await self.stand.get(DEPLOYMENTS, "web")
        body = templates.canary_replica_set(live, self.template, self.hash, rollout=ROLLOUT, replicas=replicas)
        await self.stand.create(REPLICA_SETS, body)
        await self.stand.available(self.canary, replicas)

    async def scale_canary(self, replicas: int) -> None:
        if await self.stand.find(REPLICA_SETS, self.canary) is None:
            return await self.start_canary(replicas)
        await self.change_until_taken(REPLICA_SETS, self.canary, add("/spec/replicas", replicas))
        await self.stand.available(self.canary, replicas)
        return None

    async def scale_stable(self, replicas: int) -> None:
        await self.change_until_taken(DEPLOYMENTS, "web", add("/spec/replicas", replicas))
        await self.stand.available(self.stable, replicas)

    async def replace_template(self, replicas: int | None = None, template: JsonObject | None = None) -> None:
        changes = [k8s.replace("/spec/template", template or self.template)]
        if replicas is not None:
            changes.append(add("/spec/replicas", replicas))
        await self.change_until_taken(DEPLOYMENTS, "web", *changes)
        await self.stand.observed()

    async def adopt_canary(self) -> None:
        deployment = await self.stand.get(DEPLOYMENTS, "web")
        canary = await self.stand.get(REPLICA_SETS, self.canary)
        assert deployment["spec"]["paused"] and deployment["spec"]["replicas"] == canary["spec"]["replicas"]
        assert templates.digest(deployment["spec"]["template"]) == templates.digest(canary["spec"]["template"])
        notes = k8s.notes_of(canary) | templates.adopted_annotations(deployment)
        notes.pop(templates.ROLLOUT_ANNOTATION, None)
        labels = templates.adopted_labels(self.template, self.hash)
        await self.relabel(self.canary, labels, notes)
        await self.until_owned(self.canary, True)

        async def is_recognised() -> bool:
            live, adopted = await self.stand.get(DEPLOYMENTS, "web"), await self.stand.get(REPLICA_SETS, self.canary)
            updated = live["status"].get("updatedReplicas", 0) == adopted["status"]["replicas"]
            return updated and 0 < k8s.revision(live) == k8s.revision(adopted)

        await self.stand.until(is_recognised, "the canary is the Deployment's current version")

    async def relabel(self, name: str, labels: dict[str, str], notes: dict[str, str] | None = None) -> None:
        changes = [add("/metadata/labels", labels)]
        if notes is not None:
            changes.append(add("/metadata/annotations", notes))
        await self.change_until_taken(REPLICA_SETS, name, *changes)

    async def release(self, name: str) -> None:
        await self.relabel(name, templates.own_labels())
        await self.until_owned(name, False)

    async def adopt_stable(self) -> None:
        await self.relabel(self.stable, self.stable_labels)

    async def until_owned(self, name: str, owned: bool) -> None:
        async def is_so() -> bool:
            return bool(k8s.owners(await self.stand.get(REPLICA_SETS, name))) is owned

        await self.stand.until(is_so, f"{name} is {'owned' if owned else 'let go'}")

    async def until_no_pods(self, replica_set: str) -> None:
        async def has_none() -> bool:
            found = await self.stand.find(REPLICA_SETS, replica_set)
            return found is None or not (found["status"]["replicas"] or found["spec"]["replicas"])

        await self.stand.until(has_none, f"no pod of {replica_set} is left")

    async def remember_tested(self) -> None:
        pods = await self.stand.pods_of(self.canary)
        assert len(pods) == self.count
        self.tested = k8s.uids(pods)

    async def tested_serve(self) -> None:
        pods = await self.stand.pods_of(self.canary)
        assert k8s.uids(k8s.serving(pods)) == self.tested
        assert k8s.restarts(pods) == {0}

    # --- the whole ways ------------------------------------------------------------------------------------------------

    async def shift_pods(self) -> None:
        """A pod ratio from 0 to 100 %, pod by pod, surge first."""
        for step in range(1, self.count + 1):
            await self.scale_canary(step)
            await self.scale_stable(self.count - step)
        await self.remember_tested()

    async def adopt_for_mesh(self) -> None:
        await self.replace_template()
        await self.adopt_canary()

    async def adopt_for_ratio(self) -> None:
        await self.release(self.stable)
        await self.replace_template(self.count)
        await self.adopt_canary()
        await self.adopt_stable()

    async def finish(self) -> None:
        await self.until_no_pods(self.stable)
        await self.unfreeze()
        await self.stand.complete("web", self.count)

    async def take_back(self, replicas: int | None = None) -> None:
        """After the adoption: the tested pods are let go and serve on, and the old version grows."""
        await self.release(self.canary)
        await self.replace_template(replicas, self.old_template)

    async def finish_undone(self) -> None:
        await self.stand.available(self.stable, self.count)
        await self.tested_serve()
        await self.stand.delete(REPLICA_SETS, self.canary)
        await self.stand.gone(REPLICA_SETS, self.canary)
        await self.unfreeze()
        live = await self.stand.complete("web", self.count)
        assert templates.digest(live["spec"]["template"]) == templates.digest(self.old_template)


def add(path: str, value: object) -> JsonObject:
    return {"op": "add", "path": path, "value": value}


@asynccontextmanager
async def hand_over(stand: Stand, count: int = 3, **spec: Any) -> AsyncIterator[HandOver]:
    """A live Deployment, of whose pods (and the canary's) enough serve at any time."""
    live = await stand.live(count, **spec)
    (stable,) = await stand.replica_sets()
    async with stand.recording(PODS) as recording:

        def enough(pods: list[JsonObject]) -> None:
            there = k8s.serving(pods)
            assert len(there) >= count, f"only {len(there)} of {count} pods serve"

        recording.always(enough)
        yield HandOver(stand, live, stable)
        await recording.verify()


# --- before --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [True, False])
async def test_a_bare_replica_set_beside_a_deployment_is_left_alone(stand: Stand, paused: bool) -> None:
    async with hand_over(stand) as story:
        if paused:
            await story.freeze()
        await story.start_canary(3)
        live = await stand.observed()
        canary = await stand.get(REPLICA_SETS, story.canary)
        assert not k8s.owners(canary)
        assert canary["spec"]["replicas"] == 3
        assert live["status"]["replicas"] == 3
        assert len(await stand.pods()) == 6


async def test_scaling_a_frozen_deployment_moves_only_the_stable_side(stand: Stand) -> None:
    async with hand_over(stand) as story:
        await story.freeze()
        await story.start_canary(3)
        await stand.scale(5)
        await stand.available(story.stable, 5)
        assert len(await stand.pods_of(story.canary)) == 3


async def test_removing_the_canary_before_the_hand_over_leaves_no_trace(stand: Stand) -> None:
    async with hand_over(stand) as story:
        before = await stand.get(DEPLOYMENTS, "web")
        await story.start_canary(3)
        await stand.delete(REPLICA_SETS, story.canary)

        async def only_stable() -> bool:
            return len(await stand.pods()) == 3

        await stand.until(only_stable, "the canary's pods are gone")
        after = await stand.get(DEPLOYMENTS, "web")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


# --- forwards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", ["fromStart", "atHandOver"])
async def test_with_a_mesh_the_tested_pods_become_the_deployments_own(stand: Stand, freeze: str) -> None:
    async with hand_over(stand) as story:
        if freeze == "fromStart":
            await story.freeze()
        await story.start_canary(3)
        await story.remember_tested()
        if freeze == "atHandOver":
            await story.freeze()
        await story.adopt_for_mesh()
        await story.finish()
        await story.tested_serve()
        live, old = await stand.get(DEPLOYMENTS, "web"), await stand.get(REPLICA_SETS, story.stable)
        assert (k8s.revision(live), k8s.revision(old), old["spec"]["replicas"]) == (2, 1, 0)
        assert len(await stand.replica_sets()) == 2
        assert (await stand.condition("web", "Progressing"))["reason"] == "NewReplicaSetAvailable"


async def test_with_a_pod_ratio_the_tested_pods_become_the_deployments_own(stand: Stand) -> None:
    async with hand_over(stand) as story:
        await story.freeze()
        await story.shift_pods()
        await story.adopt_for_ratio()
        await story.finish()
        await story.tested_serve()
        live, old = await stand.get(DEPLOYMENTS, "web"), await stand.get(REPLICA_SETS, story.stable)
        assert (k8s.revision(live), k8s.revision(old), old["spec"]["replicas"]) == (2, 1, 0)
        assert k8s.owners(old)[0]["name"] == "web"


async def test_after_the_hand_over_an_undo_rolls_back_to_the_old_version(stand: Stand) -> None:
    async with hand_over(stand) as story:
        await story.freeze()
        await story.start_canary(3)
        await story.adopt_for_mesh()
        await story.finish()
        await stand.patch(DEPLOYMENTS, "web", k8s.replace("/spec/template", story.old_template))
        await stand.complete()
        old, new = await stand.get(REPLICA_SETS, story.stable), await stand.get(REPLICA_SETS, story.canary)
        assert (k8s.revision(old), k8s.revision(new)) == (3, 2)
        assert len(await stand.pods_of(story.stable)) == 3


@pytest.mark.parametrize("count", [1, 2, 10])
async def test_a_hand_over_of_any_size_never_lacks_a_pod(stand: Stand, count: int) -> None:
    async with hand_over(stand, count) as story:
        await story.freeze()
        await story.start_canary(count)
        await story.remember_tested()
        await story.adopt_for_mesh()
        await story.finish()
        await story.tested_serve()


@pytest.mark.parametrize("strategy", [{"type": "Recreate"}, k8s.rolling(0, 1), k8s.rolling("100%", "50%")], ids=str)
async def test_a_hand_over_never_lacks_a_pod_whatever_the_strategy(stand: Stand, strategy: JsonObject) -> None:
    async with hand_over(stand, strategy=strategy) as story:
        await story.freeze()
        await story.start_canary(3)
        await story.remember_tested()
        await story.adopt_for_mesh()
        await story.finish()
        await story.tested_serve()


async def test_a_hand_over_with_min_ready_seconds_never_lacks_an_available_pod(stand: Stand) -> None:
    async with hand_over(stand, minReadySeconds=1) as story:
        await story.freeze()
        await story.start_canary(3)
        await story.remember_tested()
        await story.adopt_for_mesh()
        await story.finish()
        await story.tested_serve()


async def test_a_template_that_differs_by_a_foreign_annotation_is_not_recognised(stand: Stand) -> None:
    """So templates are replaced whole, never merged: here the tested pods are all replaced."""
    live = await stand.live()
    (stable,) = await stand.replica_sets()
    story = HandOver(stand, live, stable)
    await story.freeze()
    await story.start_canary(3)
    await story.remember_tested()
    foreign = copy.deepcopy(story.template)
    foreign["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    await story.replace_template(template=foreign)
    await story.relabel(story.canary, templates.adopted_labels(story.template, story.hash))
    await story.until_owned(story.canary, True)
    await story.unfreeze()
    await stand.complete()
    assert not k8s.uids(await stand.pods()) & story.tested
    assert len(await stand.replica_sets()) == 3


# --- back ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unfrozen", [False, True], ids=["frozen", "unfrozen"])
async def test_with_a_mesh_the_way_back_never_lacks_a_pod(stand: Stand, unfrozen: bool) -> None:
    async with hand_over(stand) as story:
        await story.freeze()
        await story.start_canary(3)
        await story.remember_tested()
        await story.adopt_for_mesh()
        if unfrozen:
            await story.finish()
            await story.freeze()
        else:
            await story.until_no_pods(story.stable)
        await story.take_back()
        await story.finish_undone()
        live, old = await stand.get(DEPLOYMENTS, "web"), await stand.get(REPLICA_SETS, story.stable)
        assert (k8s.revision(live), k8s.revision(old)) == (1, 1), "the version that was let go is not in the history"


@pytest.mark.parametrize("stage", ["shifted", "let go", "template", "adopted", "unfrozen"])
async def test_with_a_pod_ratio_the_way_back_never_lacks_a_pod_wherever_it_begins(stand: Stand, stage: str) -> None:
    async with hand_over(stand) as story:
        await story.freeze()
        await story.shift_pods()
        if stage == "let go":
            await story.release(story.stable)
        if stage == "template":
            await story.release(story.stable)
            await story.replace_template(story.count)
        if stage in ("adopted", "unfrozen"):
            await story.adopt_for_ratio()
        if stage == "unfrozen":
            await story.finish()
            await story.freeze()
        if stage in ("adopted", "unfrozen"):
            await story.release(story.canary)
        if stage in ("template", "adopted", "unfrozen"):
            await story.replace_template(story.count, story.old_template)
        await story.adopt_stable()
        if stage in ("shifted", "let go"):
            await story.scale_stable(story.count)
        await story.finish_undone()
