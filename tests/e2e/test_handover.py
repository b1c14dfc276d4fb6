"""The native hand-over, as an operator sees it with kubectl."""

from __future__ import annotations

import pytest

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.site import Site
from tests.e2e.test_rolled_back import traces

pytestmark = pytest.mark.real

IN_HALVES: list[JsonObject] = [{"setWeight": {"weight": 50}}, {"pause": {"untilApproved": True}}]


async def test_a_promoted_canary_keeps_its_pods_and_the_deployment_its_history(site: Site) -> None:
    await site.go_live()
    release = await site.deploy("web:2", IN_HALVES)
    await site.until_state(release.id, State.APPROVING)
    tested = await site.pods_of("web:2")
    assert len(tested) == 4
    site.headgate("approve", release.id)
    ended = await site.until_ended(release.id)
    assert ended.status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    serving = await site.pods_of("web:2")
    assert serving.keys() == tested.keys()
    assert [one["status"]["containerStatuses"][0]["restartCount"] for one in serving.values()] == [0] * 4
    assert site.kubectl("rollout", "history", "deployment/web").split()[-4:] == ["1", "<none>", "2", "<none>"]
    assert site.recording.check() > 50


async def test_the_autoscaler_is_still_aimed_at_the_deployment_and_undo_works(site: Site) -> None:
    await site.go_live()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    autoscaler = {"minReplicas": 4, "maxReplicas": 9, "scaleTargetRef": target}
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": autoscaler}
    await site.create(site.path("horizontalpodautoscalers"), body)
    before = (await site.get(site.path("horizontalpodautoscalers", "web")))["spec"]
    release = await site.deploy("web:2", [{"setWeight": {"weight": 50}}])
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    assert (await site.get(site.path("horizontalpodautoscalers", "web")))["spec"] == before

    async def can_scale() -> bool:
        status = (await site.get(site.path("horizontalpodautoscalers", "web"))).get("status", {})
        return any(one["type"] == "AbleToScale" and one["status"] == "True" for one in status.get("conditions") or [])

    await site.until(can_scale)
    assert "Deployment/web" in site.kubectl("get", "horizontalpodautoscaler", "web")
    site.kubectl("rollout", "undo", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(await site.pods_of("web:1")) == 4
    assert site.kubectl("rollout", "history", "deployment/web").split()[-4:] == ["2", "<none>", "3", "<none>"]


async def test_a_pod_ratio_is_handed_over_without_a_restart(site: Site) -> None:
    await site.go_live()
    release = await site.deploy("web:2", [{"setWeight": {"weight": 50}}, {"pause": {"untilApproved": True}}], mesh=False)
    await site.until_state(release.id, State.APPROVING)
    tested = await site.pods_of("web:2")
    assert (len(await site.pods_of("web:1")), len(tested)) == (2, 2)
    site.headgate("approve", release.id)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    serving = await site.pods_of("web:2")
    assert len(serving) == 4
    assert tested.keys() <= serving.keys()
    assert await site.pods_of("web:1") == {}
    assert (await site.deployment())["status"]["availableReplicas"] == 4
    site.kubectl("rollout", "undo", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(await site.pods_of("web:1")) == 4


async def live_with_history(site: Site) -> None:
    """web:1 is live again by `rollout undo`, so that its ReplicaSet is older than the one of web:0, which nobody wants back."""
    await site.go_live(image="web:1")
    await site.go_live(image="web:0")
    site.kubectl("rollout", "undo", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def images_that_ran(site: Site, since: int) -> set[str]:
    """Of every pod that was made after a revision."""
    pods = [one for one in site.recording.in_order() if one.kind == "pods"]
    before = {one.name for one in pods if one.revision <= since}
    return {one.object["spec"]["containers"][0]["image"] for one in pods if one.name not in before}


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "pod ratio"])
@pytest.mark.parametrize(
    "moment", ["promoted", "next: adopt-canary", "is given to its Deployment", "has adopted its new version"]
)
async def test_no_version_of_the_history_comes_back(site: Site, mesh: bool, moment: str) -> None:
    """Not when it is promoted, and not when it is aborted at any moment of the hand-over: the controller may be at work in it."""
    await live_with_history(site)
    revision = int((await site.deployment())["metadata"]["resourceVersion"])
    release = await site.deploy("web:2", [{"setWeight": {"weight": 50}}, {"pause": {"untilApproved": True}}], mesh=mesh)
    await site.until_state(release.id, State.APPROVING)
    if moment == "promoted":
        await site.order(release.id, CommandKind.APPROVE)
        assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
        assert len(await site.pods_of("web:2")) == 4
    else:
        await site.approve_and_abort_at(release.id, moment)
        assert (await site.until_ended(release.id)).status is ReleaseStatus.FAILED, await site.tell(release.id)
        assert len(await site.pods_of("web:1")) == 4
        assert await traces(site) == []
    assert images_that_ran(site, revision) <= {"web:1", "web:2"}
    site.recording.check()
    history = site.kubectl("rollout", "history", "deployment/web").split()[3::2]
    assert history == (["2", "3", "4"] if moment == "promoted" else ["2", "3"])


async def test_a_way_back_without_any_history(site: Site) -> None:
    """With revisionHistoryLimit 0 the old ReplicaSet is cleaned away in the middle of the hand-over."""
    await site.go_live()
    await site.merge(site.path("deployments", "web"), {"spec": {"revisionHistoryLimit": 0}})
    release = await site.deploy("web:2", [{"setWeight": {"weight": 50}}, {"pause": {"untilApproved": True}}])
    await site.until_state(release.id, State.APPROVING)
    await site.approve_and_abort_at(release.id, "the new version serves everything")
    assert (await site.until_ended(release.id)).status is ReleaseStatus.FAILED, await site.tell(release.id)
    assert len(await site.pods_of("web:1")) == 4
    assert await traces(site) == []
    site.recording.check()
