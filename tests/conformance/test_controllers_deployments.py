"""Deployments: revisions and their notes, roll-outs within their limits, pauses, deadlines, history, adoption and release."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance import stand as k8s
from tests.conformance.stand import DEPLOYMENTS, DESIRED, HASH, MOST, PODS, REPLICA_SETS, REVISION, Stand

SAFE_LETTERS = set("bcdfghjklmnpqrstvwxz2456789")

# --- what is made ------------------------------------------------------------------------------------------------------


async def test_a_deployment_makes_a_replica_set_that_is_named_labelled_and_noted(stand: Stand) -> None:
    live = await stand.live(3)
    (made,) = await stand.replica_sets()
    hash_value = made["metadata"]["labels"][HASH]
    assert set(hash_value) <= SAFE_LETTERS
    assert made["metadata"]["name"] == f"web-{hash_value}"
    assert made["metadata"]["labels"] == {"app": "web", HASH: hash_value}
    assert made["spec"]["selector"] == {"matchLabels": {"app": "web", HASH: hash_value}}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "web", HASH: hash_value}
    assert made["spec"]["template"]["spec"] == live["spec"]["template"]["spec"]
    assert k8s.notes_of(made) == {REVISION: "1", DESIRED: "3", MOST: "4"}
    assert k8s.owners(made) == [{
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": live["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }]  # fmt: skip
    for pod in await stand.pods():
        assert pod["metadata"]["labels"] == {"app": "web", HASH: hash_value}
        assert pod["metadata"]["generateName"] == f"web-{hash_value}-"
        assert k8s.owners(pod)[0]["uid"] == made["metadata"]["uid"]


async def test_a_new_deployment_has_seen_itself_and_its_controller_costs_no_generation(stand: Stand) -> None:
    live = await stand.live(2)
    assert live["metadata"]["generation"] == 1
    assert k8s.notes_of(live) == {REVISION: "1"}
    (made,) = await stand.replica_sets()
    status = dict(live["status"])
    conditions = {one["type"]: one for one in status.pop("conditions")}
    assert status == {
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "terminatingReplicas": 0,
    }  # fmt: skip
    assert {kind: (one["status"], one["reason"], one["message"]) for kind, one in conditions.items()} == {
        "Available": ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": (
            "True", "NewReplicaSetAvailable", f'ReplicaSet "{made["metadata"]["name"]}" has successfully progressed.'
        ),
    }  # fmt: skip


async def test_annotations_of_the_deployment_are_copied_to_its_newest_replica_set(stand: Stand) -> None:
    body = k8s.deployment()
    body["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "first", "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }  # fmt: skip
    await stand.create(DEPLOYMENTS, body)
    await stand.complete()
    await stand.merge(DEPLOYMENTS, "web", {"metadata": {"annotations": {"kubernetes.io/change-cause": "second"}}})
    await stand.set_image("web:2")
    await stand.complete()
    old, new = await stand.replica_sets()
    # Between the two writes the first version is still the newest, so it may have been told the second cause.
    assert k8s.notes_of(old)["kubernetes.io/change-cause"] in ("first", "second")
    assert k8s.notes_of(new) == {"kubernetes.io/change-cause": "second", REVISION: "2", DESIRED: "3", MOST: "4"}


async def test_an_annotation_that_is_taken_off_the_deployment_stays_on_its_replica_set(stand: Stand) -> None:
    await stand.live(1)
    await stand.merge(DEPLOYMENTS, "web", {"metadata": {"annotations": {"team": "blue"}}})
    await stand.observed()
    await stand.merge(DEPLOYMENTS, "web", {"metadata": {"annotations": {"team": None}}})
    await stand.observed()
    (made,) = await stand.replica_sets()
    assert k8s.notes_of(made)["team"] == "blue"


async def test_min_ready_seconds_are_passed_on_to_the_newest_replica_set(stand: Stand) -> None:
    await stand.live(1)
    await stand.merge(DEPLOYMENTS, "web", {"spec": {"minReadySeconds": 1}})
    await stand.observed()
    (made,) = await stand.replica_sets()
    assert made["spec"]["minReadySeconds"] == 1


async def test_a_name_that_somebody_elses_replica_set_has_is_counted_as_a_collision_and_avoided(stand: Stand) -> None:
    await stand.live(1)
    (made,) = await stand.replica_sets()
    name = made["metadata"]["name"]
    await stand.delete(DEPLOYMENTS, "web")
    await stand.gone(REPLICA_SETS, name)
    await stand.create(REPLICA_SETS, k8s.replica_set(name, app="other", replicas=0, labels={"app": "other"}))
    live = await stand.live(1)
    assert live["status"]["collisionCount"] == 1
    (other,) = [one for one in await stand.replica_sets() if one["metadata"]["name"] != name]
    assert set(other["metadata"]["labels"][HASH]) <= SAFE_LETTERS
    assert not k8s.owners(await stand.get(REPLICA_SETS, name))


# --- roll-outs -----------------------------------------------------------------------------------------------------------


def within(count: int, most: int, least: int) -> Any:
    """On ReplicaSets: never more asked for than the surge allows."""

    def check(replica_sets: list[JsonObject]) -> None:
        asked = sum(one["spec"]["replicas"] for one in replica_sets)
        assert asked <= most, f"{asked} pods asked for, more than {most}"
        available = sum((one.get("status") or {}).get("availableReplicas", 0) for one in replica_sets)
        assert asked >= least, f"only {asked} pods asked for and {available} available, fewer than {least}"

    return check


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [
        (4, 1, 0, 5, 4),
        (4, 0, 1, 4, 3),
        (4, "25%", "25%", 5, 3),
        (3, "34%", "34%", 5, 2),
        (10, "30%", "30%", 13, 7),
        (2, 0, "25%", 2, 1),  # Both come to 0 pods: one may be missing then.
        (5, "100%", 0, 10, 5),
        (5, 0, "100%", 5, 0),
        (1, 1, 0, 2, 1),
        (3, 5, 3, 8, 0),
    ],
)
async def test_a_roll_out_stays_within_its_surge_and_its_minimum(
    stand: Stand, replicas: int, surge: int | str, unavailable: int | str, most: int, least: int
) -> None:
    await stand.live(replicas, strategy=k8s.rolling(surge, unavailable))
    async with stand.recording(REPLICA_SETS) as sizes, stand.recording(PODS) as pods:

        def enough(found: list[JsonObject]) -> None:
            assert len(k8s.serving(found)) >= least, f"only {len(k8s.serving(found))} of {least} pods serve"

        sizes.always(within(replicas, most, least))
        pods.always(enough)
        await stand.set_image("web:2")
        await stand.complete()
        await sizes.verify()
        await pods.verify()
    old, new = await stand.replica_sets()
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, replicas)
    assert k8s.notes_of(new)[MOST] == str(most)
    assert (k8s.revision(old), k8s.revision(new)) == (1, 2)


async def test_a_version_that_never_gets_ready_takes_none_of_the_old_pods_down_but_the_allowed_ones(stand: Stand) -> None:
    await stand.live(4, strategy=k8s.rolling(1, 1))
    await stand.set_image("web:crash")

    async def is_stuck() -> bool:
        sizes = [one["spec"]["replicas"] for one in await stand.replica_sets()]
        return sizes == [3, 2]

    await stand.until(is_stuck, "surge and unavailability are used up")

    async def is_told() -> bool:
        status = await stand.status_of(DEPLOYMENTS, "web")
        return [status.get(f"{name}Replicas") for name in ("updated", "available", "unavailable")] == [2, 3, 2]

    await stand.until(is_told, "two new pods are missing, and one old one is gone")
    assert (await stand.condition("web", "Available"))["status"] == "True"


async def test_pods_that_do_not_serve_are_taken_down_first(stand: Stand) -> None:
    """Rolling over a broken version, its pods go before any good one."""
    await stand.live(4, strategy=k8s.rolling(1, 0))
    await stand.set_image("web:crash")

    async def surge_is_used() -> bool:
        return [one["spec"]["replicas"] for one in await stand.replica_sets()] == [4, 1]

    await stand.until(surge_is_used, "the broken version has its one pod")
    async with stand.recording(REPLICA_SETS) as recording:
        seen: list[tuple[int, int]] = []

        def note(found: list[JsonObject]) -> None:
            by_revision = sorted(found, key=k8s.revision)
            seen.append((by_revision[0]["spec"]["replicas"], by_revision[1]["spec"]["replicas"]))

        recording.always(note)
        await stand.set_image("web:3")
        await stand.complete()
    assert next(broken for good, broken in seen if good < 4) == 0


async def test_old_versions_shrink_in_the_order_of_their_age(stand: Stand) -> None:
    await stand.live(4, strategy=k8s.rolling(2, 0))
    slow = {"metadata": {"annotations": {k8s.PRETENCE + "boot-seconds": "3600"}}}
    await stand.set_image("web:2")
    await stand.merge(DEPLOYMENTS, "web", {"spec": {"template": slow}})

    async def two_versions_at_least() -> bool:
        return len(await stand.replica_sets()) >= 2

    await stand.until(two_versions_at_least, "the second version is begun")
    undone = {"spec": {"template": {"metadata": {"annotations": {k8s.PRETENCE + "boot-seconds": None}}}}}
    await stand.merge(DEPLOYMENTS, "web", undone)
    await stand.set_image("web:3")
    await stand.complete()
    assert [one["spec"]["replicas"] for one in await stand.replica_sets()][-1] == 4


async def test_recreate_has_no_pod_of_the_old_version_when_the_new_one_starts(stand: Stand) -> None:
    await stand.live(3, strategy={"type": "Recreate"}, pretend={"terminate-seconds": "0.5"})
    async with stand.recording(PODS) as recording:

        def one_version(found: list[JsonObject]) -> None:
            images = {one["spec"]["containers"][0]["image"] for one in found if one["status"]["phase"] != "Succeeded"}
            assert len(images) <= 1, f"{images} at the same time"

        recording.always(one_version)
        await stand.set_image("web:2")
        await stand.complete()
        await recording.verify()
    new = (await stand.replica_sets())[-1]
    assert k8s.notes_of(new)[MOST] == "3"


async def test_min_ready_seconds_hold_a_roll_out_back(stand: Stand) -> None:
    await stand.live(2, strategy=k8s.rolling(1, 0))
    await stand.merge(DEPLOYMENTS, "web", {"spec": {"minReadySeconds": 1}})
    await stand.set_image("web:2")

    async def ready_but_not_available() -> bool:
        status = await stand.status_of(DEPLOYMENTS, "web")
        return bool(status.get("readyReplicas", 0) > status.get("availableReplicas", 0) > 0)

    await stand.until(ready_but_not_available, "a pod is ready and has to stay so")
    await stand.complete()


async def test_a_roll_out_that_is_changed_in_the_middle_goes_on_to_the_last_version(stand: Stand) -> None:
    await stand.live(4)
    await stand.set_image("web:2")
    await stand.set_image("web:3")
    await stand.complete()
    assert {pod["spec"]["containers"][0]["image"] for pod in await stand.pods()} == {"web:3"}


# --- going back ------------------------------------------------------------------------------------------------------------


async def test_going_back_uses_the_old_replica_set_again_under_a_new_revision(stand: Stand) -> None:
    first = await stand.live(2)
    (oldest,) = await stand.replica_sets()
    for image in ("web:2", "web:1", "web:2", "web:1"):
        await stand.set_image(image)
        await stand.complete()
    again = await stand.get(REPLICA_SETS, oldest["metadata"]["name"])
    assert (k8s.notes_of(again)[REVISION], k8s.notes_of(again)["deployment.kubernetes.io/revision-history"]) == ("5", "1,3")
    assert k8s.revision(await stand.get(DEPLOYMENTS, "web")) == 5
    assert len(await stand.replica_sets()) == 2
    assert k8s.uids(await stand.pods()) != k8s.uids([first])


async def test_history_beyond_the_limit_is_forgotten_the_oldest_first(stand: Stand) -> None:
    await stand.live(1, revisionHistoryLimit=2)
    for number in range(2, 6):
        await stand.set_image(f"web:{number}")
        await stand.complete()

    async def forgotten() -> bool:
        return {k8s.revision(one) for one in await stand.replica_sets()} == {3, 4, 5}

    await stand.until(forgotten, "the two oldest revisions are gone")


async def test_without_a_history_only_the_current_version_is_kept(stand: Stand) -> None:
    await stand.live(1, revisionHistoryLimit=0)
    await stand.set_image("web:2")
    await stand.complete()

    async def alone() -> bool:
        return len(await stand.replica_sets()) == 1

    await stand.until(alone, "the old version is forgotten")


async def test_a_paused_deployment_forgets_history_too(stand: Stand) -> None:
    await stand.live(1)
    await stand.set_image("web:2")
    await stand.complete()
    await stand.pause()
    await stand.merge(DEPLOYMENTS, "web", {"spec": {"revisionHistoryLimit": 0}})

    async def alone() -> bool:
        return len(await stand.replica_sets()) == 1

    await stand.until(alone, "the old version is forgotten in the middle of the pause")


# --- pauses and sizes --------------------------------------------------------------------------------------------------------


async def test_a_paused_deployment_scales_but_does_not_roll(stand: Stand) -> None:
    await stand.live(3)
    await stand.pause()
    await stand.set_image("web:2")
    await stand.scale(5)
    (only,) = await stand.replica_sets()
    await stand.available(only["metadata"]["name"], 5)
    live = await stand.observed()
    assert len(await stand.replica_sets()) == 1
    assert live["status"].get("updatedReplicas", 0) == 0
    assert await stand.reason("web", "Progressing", "DeploymentPaused")
    await stand.pause(paused=False)
    await stand.complete("web", 5)
    assert len(await stand.replica_sets()) == 2


async def test_pausing_and_resuming_are_told_in_the_progressing_condition(stand: Stand) -> None:
    await stand.live(1)
    await stand.pause()
    paused = await stand.reason("web", "Progressing", "DeploymentPaused")
    assert (paused["status"], paused["message"]) == ("Unknown", "Deployment is paused")
    await stand.set_image("web:crash")
    await stand.pause(paused=False)

    async def resumed() -> bool:
        found = await stand.condition("web", "Progressing")
        return found["reason"] in ("DeploymentResumed", "NewReplicaSetCreated", "ReplicaSetUpdated")

    await stand.until(resumed, "the Deployment goes on")


@pytest.mark.parametrize("paused", [True, False])
@pytest.mark.parametrize("replicas", [8, 2, 0])
async def test_scaling_in_the_middle_of_a_roll_out_keeps_the_proportions(stand: Stand, paused: bool, replicas: int) -> None:
    """4 pods with a surge of 2, stuck at 4 + 2."""
    await stand.live(4, strategy=k8s.rolling(2, 0))
    await stand.set_image("web:crash")

    async def is_stuck() -> bool:
        return [one["spec"]["replicas"] for one in await stand.replica_sets()] == [4, 2]

    await stand.until(is_stuck, "the surge is used up")
    if paused:
        await stand.pause()
    await stand.scale(replicas)
    await stand.observed()

    async def scaled() -> bool:
        found = await stand.replica_sets()
        return all(k8s.notes_of(one)[DESIRED] == str(replicas) for one in found)

    await stand.until(scaled, "both versions are sized")
    await stand.observed()
    sizes = [one["spec"]["replicas"] for one in await stand.replica_sets()]
    # (8 + 2) pods for 4 : 2 are 7 : 3; (2 + 2) are 3 : 1, of which a roll-out that is not paused goes on to 2 : 2 or less.
    expected = {8: ([7, 3],), 2: ([3, 1], [2, 2]), 0: ([0, 0],)}[replicas]
    assert sizes in (expected[:1] if paused else expected)


async def test_scaling_a_deployment_that_is_complete_only_resizes_it(stand: Stand) -> None:
    await stand.live(2)
    await stand.scale(4)
    live = await stand.complete("web", 4)
    (only,) = await stand.replica_sets()
    assert (k8s.notes_of(only)[DESIRED], k8s.notes_of(only)[MOST]) == ("4", "5")
    assert k8s.revision(live) == 1
    await stand.scale(0)
    live = await stand.complete("web", 0)
    assert (await stand.condition("web", "Available"))["status"] == "True"
    await stand.scale(1)
    await stand.complete("web", 1)


# --- deadlines ---------------------------------------------------------------------------------------------------------------


async def test_a_roll_out_that_is_stuck_is_told_after_its_deadline_and_recovers(stand: Stand) -> None:
    await stand.live(2, progressDeadlineSeconds=1)
    await stand.set_image("web:crash")

    async def has_a_new_pod() -> bool:
        return bool((await stand.status_of(DEPLOYMENTS, "web")).get("updatedReplicas"))

    await stand.until(has_a_new_pod, "a pod of the new version")  # One that comes after the deadline is progress once more.
    late = await stand.reason("web", "Progressing", "ProgressDeadlineExceeded")
    name = (await stand.replica_sets())[-1]["metadata"]["name"]
    assert (late["status"], late["message"]) == ("False", f'ReplicaSet "{name}" has timed out progressing.')
    await stand.pause()
    await stand.observed()
    assert (await stand.condition("web", "Progressing"))["reason"] == "ProgressDeadlineExceeded", "a pause does not hide it"
    await stand.pause(paused=False)
    await stand.set_image("web:1")
    await stand.complete()
    await stand.reason("web", "Progressing", "NewReplicaSetAvailable")


async def test_without_minimum_availability_the_deployment_is_not_available(stand: Stand) -> None:
    await stand.live(2, strategy=k8s.rolling(0, 1))
    for pod in await stand.pods():
        await stand.set_pod(pod["metadata"]["name"], ready=False)
    missing = await stand.reason("web", "Available", "MinimumReplicasUnavailable")
    assert (missing["status"], missing["message"]) == ("False", "Deployment does not have minimum availability.")
    status = await stand.status_of(DEPLOYMENTS, "web")
    assert (status["unavailableReplicas"], status["replicas"], "readyReplicas" in status) == (2, 2, False)
    for pod in await stand.pods():
        await stand.set_pod(pod["metadata"]["name"], ready=True)
    await stand.reason("web", "Available", "MinimumReplicasAvailable")


async def test_a_replica_set_that_cannot_be_made_is_told(stand: Stand) -> None:
    """A selector that excludes the label which every version gets."""
    body = k8s.deployment()
    body["spec"]["selector"]["matchExpressions"] = [{"key": HASH, "operator": "DoesNotExist"}]
    await stand.create(DEPLOYMENTS, body)
    told = await stand.reason("web", "Progressing", "ReplicaSetCreateError")
    assert told["status"] == "False"
    assert told["message"].startswith('Failed to create new replica set "web-')
    assert not await stand.replica_sets()


# --- adoption and release ------------------------------------------------------------------------------------------------------


async def test_a_replica_set_is_adopted_by_its_labels_and_let_go_by_them(stand: Stand) -> None:
    live = await stand.live(1)
    await stand.pause()
    bare = k8s.replica_set("web-old", replicas=0, image="web:0", labels={"app": "web", HASH: "web-old"})
    await stand.create(REPLICA_SETS, bare)

    async def adopted() -> JsonObject | None:
        found = await stand.get(REPLICA_SETS, "web-old")
        return found if k8s.owners(found) else None

    found = await stand.until(adopted, "it is adopted")
    assert found is not None
    assert k8s.owners(found) == [{
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": live["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }]  # fmt: skip
    await stand.merge(REPLICA_SETS, "web-old", {"metadata": {"labels": {"app": "other"}}})

    async def released() -> bool:
        return not k8s.owners(await stand.get(REPLICA_SETS, "web-old"))

    await stand.until(released, "it is let go")


async def test_a_replica_set_with_the_same_template_but_for_defaults_and_hash_is_recognised(stand: Stand) -> None:
    """Its fields are defaulted as the Deployment's are, so leaving them out makes no difference; neither do empty lists."""
    await stand.live(2)
    await stand.pause()
    bare = k8s.replica_set("web-next", replicas=2, image="web:2", labels={"app": "web", HASH: "web-next"})
    bare["spec"]["template"]["spec"]["volumes"] = []
    bare["spec"]["template"]["metadata"]["annotations"] = {}
    await stand.set_image("web:2")
    await stand.create(REPLICA_SETS, bare)

    async def recognised() -> bool:
        return k8s.revision(await stand.get(REPLICA_SETS, "web-next")) == 2

    await stand.until(recognised, "it is the current version")
    await stand.pause(paused=False)
    await stand.complete()
    assert len(await stand.replica_sets()) == 2
    assert len(await stand.pods_of("web-next")) == 2


@pytest.mark.parametrize(
    "difference",
    [
        {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}},
        {"metadata": {"labels": {"tier": "front"}}},
        {"spec": {"terminationGracePeriodSeconds": 31}},
        {"spec": {"containers": [{"name": "app", "image": "web:2", "env": [{"name": "A", "value": ""}]}]}},
        {"spec": {"containers": [{"name": "app", "image": "web:2", "securityContext": {}}]}},
    ],
    ids=["annotation", "label", "grace", "env", "empty security context"],
)
async def test_a_replica_set_whose_template_differs_is_an_old_version(stand: Stand, difference: JsonObject) -> None:
    await stand.live(1)
    await stand.pause()
    await stand.set_image("web:2")
    bare = k8s.replica_set("web-next", replicas=0, image="web:2", labels={"app": "web", HASH: "web-next"})
    await stand.create(REPLICA_SETS, bare)

    async def recognised() -> bool:
        return k8s.revision(await stand.get(REPLICA_SETS, "web-next")) == 2

    await stand.until(recognised, "without the difference it is the current version")
    await stand.merge(DEPLOYMENTS, "web", {"spec": {"template": difference}})
    await stand.pause(paused=False)
    await stand.complete()
    newest = max(await stand.replica_sets(), key=k8s.revision)
    assert (newest["metadata"]["name"] != "web-next", k8s.revision(newest)) == (True, 3)


async def test_an_empty_replica_set_with_the_same_template_is_used_instead_of_a_new_one(stand: Stand) -> None:
    await stand.live(2)
    await stand.pause()
    empty = k8s.replica_set("web-empty", replicas=0, image="web:2", labels={"app": "web", HASH: "web-empty"})
    await stand.create(REPLICA_SETS, empty)
    await stand.set_image("web:2")
    await stand.pause(paused=False)
    await stand.complete()
    assert len(await stand.pods_of("web-empty")) == 2
    assert len(await stand.replica_sets()) == 2


async def test_a_replica_set_of_another_owner_is_left_alone_though_its_labels_match(stand: Stand) -> None:
    live = await stand.live(1)
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": stand.namespace, "controller": True}
    namespace = await stand.request("GET", f"/api/v1/namespaces/{stand.namespace}")
    body = k8s.replica_set(
        "theirs", replicas=1, labels={"app": "web"}, ownerReferences=[{**owner, "uid": namespace["metadata"]["uid"]}]
    )
    await stand.create(REPLICA_SETS, body)
    await stand.available("theirs", 1)
    after = await stand.observed()
    assert k8s.owners(await stand.get(REPLICA_SETS, "theirs"))[0]["kind"] == "Namespace"
    assert after["status"]["replicas"] == live["status"]["replicas"] == 1


async def test_a_deployment_of_the_same_name_does_not_inherit_the_pods_of_its_deleted_namesake(stand: Stand) -> None:
    await stand.live(2)
    before = k8s.uids(await stand.pods())
    await stand.delete(DEPLOYMENTS, "web", "Orphan")
    await stand.gone(DEPLOYMENTS, "web")
    (orphan,) = await stand.replica_sets()
    assert not k8s.owners(orphan)
    live = await stand.live(2)
    (adopted,) = await stand.replica_sets()
    assert k8s.owners(adopted)[0]["uid"] == live["metadata"]["uid"], "equal templates: it is adopted, with its pods"
    assert k8s.uids(await stand.pods()) == before


async def test_two_deployments_with_one_selector_share_nothing(stand: Stand) -> None:
    other = k8s.deployment("other", replicas=1, image="other:1")
    other["spec"]["selector"]["matchLabels"] = other["spec"]["template"]["metadata"]["labels"] = {"app": "web"}
    await asyncio.gather(stand.create(DEPLOYMENTS, other), stand.create(DEPLOYMENTS, k8s.deployment(replicas=1)))
    await asyncio.gather(stand.complete("web"), stand.complete("other"))
    assert {k8s.owners(one)[0]["name"] for one in await stand.replica_sets()} == {"web", "other"}
    assert len(await stand.pods()) == 2
