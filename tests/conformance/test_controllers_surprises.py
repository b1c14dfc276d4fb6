"""What a paused Deployment does to its history behind a hand-over's back, and the orders of writing that it cannot upset.

A paused Deployment that is looked at sizes one ReplicaSet: the active one; where none is active, the one of its own template;
where there is none of that, the youngest that it owns, however old its version is. And it never makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes import templates
from tests.conformance import stand as k8s
from tests.conformance.stand import DEPLOYMENTS, PODS, REPLICA_SETS, Stand
from tests.conformance.test_controllers_handover import HandOver, add


async def live_with_history(stand: Stand, count: int = 3, **spec: Any) -> HandOver:
    """web:0 was live before web:1."""
    await stand.create(DEPLOYMENTS, k8s.deployment(image="web:0", replicas=count, **spec))
    await stand.complete()
    await stand.set_image("web:1")
    return await _story(stand, count)


async def live_after_undo(stand: Stand, count: int = 3) -> HandOver:
    """web:1 was live, then web:0, then web:1 again: what is live is older than what is not."""
    first = await stand.live(count)
    (oldest,) = await stand.replica_sets()
    await stand.older_than(1, oldest["metadata"]["creationTimestamp"])  # Of one second, the name decides.
    await stand.set_image("web:0")
    await stand.complete()
    await stand.patch(DEPLOYMENTS, "web", k8s.replace("/spec/template", first["spec"]["template"]))
    return await _story(stand, count)


async def _story(stand: Stand, count: int) -> HandOver:
    live = await stand.complete()

    async def only_these() -> bool:
        return len(await stand.list_all(PODS)) == count

    await stand.until(only_these, "the pods of web:0 are gone")
    stable = next(one for one in await stand.replica_sets() if one["spec"]["replicas"])
    return HandOver(stand, live, stable)


def image_of(obj: JsonObject) -> str:
    spec: JsonObject = obj["spec"]["template"]["spec"] if "template" in obj["spec"] else obj["spec"]
    return str(spec["containers"][0]["image"])


def never(image: str) -> Callable[[list[JsonObject]], None]:
    def check(pods: list[JsonObject]) -> None:
        assert image not in {image_of(pod) for pod in pods}, f"a pod of {image} was started"

    return check


def always(count: int) -> Callable[[list[JsonObject]], None]:
    def check(pods: list[JsonObject]) -> None:
        assert len(k8s.serving(pods)) >= count, f"only {len(k8s.serving(pods))} of {count} pods serve"

    return check


async def history_of(stand: Stand) -> JsonObject:
    return next(one for one in await stand.replica_sets() if image_of(one) == "web:0")


# --- forwards ------------------------------------------------------------------------------------------------------------


async def test_when_only_the_stable_version_is_let_go_the_youngest_of_the_history_comes_back(stand: Stand) -> None:
    story = await live_with_history(stand)
    await story.freeze()
    await story.shift_pods()
    await story.release(story.stable)
    await story.replace_template(story.count)
    old = await history_of(stand)
    await stand.available(old["metadata"]["name"], 3)
    assert k8s.uids(k8s.serving(await stand.pods(app="web"))) > story.tested, "web:0 serves beside the tested pods"
    await story.adopt_canary()
    await story.until_no_pods(old["metadata"]["name"])
    await story.tested_serve()


async def test_when_the_whole_history_is_let_go_nothing_of_it_comes_back(stand: Stand) -> None:
    story = await live_with_history(stand)
    old = await history_of(stand)
    async with stand.recording(PODS) as recording:
        recording.always(never("web:0"))
        recording.always(always(3))
        await story.freeze()
        await story.shift_pods()
        for name in (old["metadata"]["name"], story.stable):
            await story.release(name)
        await story.replace_template(story.count)
        await story.adopt_canary()
        await story.relabel(old["metadata"]["name"], old["metadata"]["labels"])
        await story.adopt_stable()
        await story.finish()
        await story.tested_serve()
        await recording.verify()
    found = await stand.replica_sets()
    assert {(image_of(one), k8s.revision(one), one["spec"]["replicas"]) for one in found} == {
        ("web:0", 1, 0), ("web:1", 2, 0), ("web:2", 3, 3),
    }  # fmt: skip


@pytest.mark.parametrize("strategy", [k8s.rolling("25%", "25%"), k8s.rolling(0, 1), {"type": "Recreate"}], ids=str)
async def test_with_room_for_both_versions_the_canary_is_adopted_without_letting_anything_go(
    stand: Stand, strategy: JsonObject
) -> None:
    """The surge is set to what is there, so that proportional scaling has nothing to add and nothing to take."""
    story = await live_with_history(stand, 4, strategy=strategy)
    async with stand.recording(PODS) as recording:
        recording.always(never("web:0"))
        recording.always(always(4))
        await story.freeze()
        for step in range(1, 5):
            await story.scale_canary(step)
            await story.scale_stable(max(4 - step, 1))
        await story.remember_tested()
        rolls = strategy["type"] == "RollingUpdate"

        def surge(pods: int) -> list[JsonObject]:
            return [add("/spec/strategy/rollingUpdate/maxSurge", pods)] if rolls else []

        await story.change_until_taken(DEPLOYMENTS, "web", k8s.replace("/spec/template", story.template), *surge(4))
        await stand.observed()
        labels = templates.adopted_labels(story.template, story.hash)
        await story.relabel(story.canary, labels, {k8s.DESIRED: "4", k8s.MOST: "5"})
        await story.until_owned(story.canary, True)
        await stand.observed()
        assert len(await stand.pods_of(story.stable)) == 1
        await story.change_until_taken(DEPLOYMENTS, "web", add("/spec/replicas", 4), *surge(1))
        await story.until_no_pods(story.stable)
        await stand.merge(DEPLOYMENTS, "web", {"spec": {"strategy": strategy}})
        await story.unfreeze()
        await stand.complete()
        await story.tested_serve()
        await recording.verify()


async def test_a_deployment_that_is_made_smaller_just_before_the_adoption_kills_tested_pods_and_stays_so(stand: Stand) -> None:
    live = await stand.live(4)
    (stable,) = await stand.replica_sets()
    story = HandOver(stand, live, stable)
    await story.freeze()
    await story.start_canary(4)
    await story.replace_template()
    looked_at = await stand.get(DEPLOYMENTS, "web")
    await stand.scale(2)
    labels = templates.adopted_labels(story.template, story.hash)
    await story.relabel(story.canary, labels, templates.adopted_annotations(looked_at))
    await story.until_owned(story.canary, True)
    await stand.available(story.stable, 2)
    await stand.available(story.canary, 1)
    await stand.observed()
    sizes = [(await stand.get(REPLICA_SETS, name))["spec"]["replicas"] for name in (story.stable, story.canary)]
    assert sizes == [2, 1], "as long as it is paused"
    await story.unfreeze()
    await stand.complete("web", 2)


async def test_of_two_with_the_new_template_the_oldest_is_the_current_version(stand: Stand) -> None:
    """So every twin has to go before the adoption, not the first that is found."""
    live = await stand.live(3)
    (stable,) = await stand.replica_sets()
    story = HandOver(stand, live, stable)
    await story.freeze()
    twins = []
    for name in ("web-aa", "web-bb"):
        twin = k8s.replica_set(name, replicas=0, image="web:2", labels={"app": "web", k8s.HASH: name})
        twins.append(await stand.create(REPLICA_SETS, twin))
    await story.start_canary(3)
    await story.replace_template()
    revisions = {one["metadata"]["name"]: k8s.revision(one) for one in await stand.replica_sets()}
    oldest = min(twins, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
    assert revisions == {**dict.fromkeys(revisions, 0), story.stable: 1, oldest["metadata"]["name"]: 2}
    for twin in twins:
        await stand.delete(REPLICA_SETS, twin["metadata"]["name"])
        await stand.gone(REPLICA_SETS, twin["metadata"]["name"])
    await story.remember_tested()
    await story.adopt_canary()
    await story.finish()
    await story.tested_serve()


# --- back ----------------------------------------------------------------------------------------------------------------


async def test_when_the_canary_is_let_go_first_the_youngest_of_the_history_grows_instead_of_the_stable_version(
    stand: Stand,
) -> None:
    story = await live_after_undo(stand)
    await story.freeze()
    await story.start_canary(3)
    await story.remember_tested()
    await story.adopt_for_mesh()
    await story.until_no_pods(story.stable)
    await story.release(story.canary)
    undone = await history_of(stand)
    await stand.available(undone["metadata"]["name"], 3)
    await story.replace_template(None, story.old_template)
    assert (await stand.get(REPLICA_SETS, story.stable))["spec"]["replicas"] == 0, "as long as the Deployment is paused"
    await story.unfreeze()
    await stand.complete()
    assert len(await stand.pods_of(story.stable)) == 3


@pytest.mark.parametrize("way", ["mesh", "ratio"])
async def test_when_the_template_is_restored_first_the_stable_version_grows_and_nothing_else(stand: Stand, way: str) -> None:
    story = await live_after_undo(stand)
    await story.freeze()
    if way == "mesh":
        await story.start_canary(3)
        await story.remember_tested()
        await story.adopt_for_mesh()
    else:
        await story.shift_pods()
        await story.adopt_for_ratio()
    await story.until_no_pods(story.stable)
    async with stand.recording(PODS) as recording:
        if way == "mesh":
            recording.always(never("web:0"))
        recording.always(always(3))
        await story.replace_template(story.count, story.old_template)
        await story.tested_serve()
        await story.release(story.canary)
        await story.finish_undone()
        await recording.verify()


async def test_without_a_history_there_is_no_way_back_as_long_as_the_deployment_is_frozen(stand: Stand) -> None:
    """The old version is cleaned up in the middle of the pause; only an unpaused Deployment makes it again, at once and whole."""
    await stand.live(3, revisionHistoryLimit=0)
    story = await _story(stand, 3)
    await story.freeze()
    await story.start_canary(3)
    await story.remember_tested()
    await story.adopt_for_mesh()
    await stand.gone(REPLICA_SETS, story.stable)
    await story.take_back()
    await stand.observed()
    assert k8s.names(await stand.replica_sets()) == {story.canary}
    await story.tested_serve()
    await story.unfreeze()
    live = await stand.complete()
    assert image_of(live) == "web:1"
    await story.tested_serve()
    assert len(await stand.replica_sets()) == 2


async def test_two_deployments_may_hand_over_at_the_same_time(stand: Stand) -> None:
    """Nothing of one is the other's business, though they live in one namespace and are looked at by one controller."""
    await stand.live(2)
    (stable,) = await stand.replica_sets()
    story = HandOver(stand, await stand.get(DEPLOYMENTS, "web"), stable)
    await stand.live(2, name="shop")
    await asyncio.gather(story.freeze(), stand.pause(name="shop"))
    await asyncio.gather(story.start_canary(2), stand.scale(3, "shop"))
    await story.remember_tested()
    await asyncio.gather(story.adopt_for_mesh(), stand.set_image("shop:2", "shop"))
    await asyncio.gather(story.finish(), stand.pause(paused=False, name="shop"))
    await stand.complete("shop", 3)
    await story.tested_serve()
