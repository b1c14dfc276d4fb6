"""The native hand-over, as an operator sees it with kubectl."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.controlplane.running import RealControlPlane
from tests.e2e.site import Site, open_site
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


async def live_with_history(site: Site) -> int:
    """web:1 is live again by `rollout undo`, so that its ReplicaSet is older than the one of web:0, which nobody wants back.

    The resourceVersion from which on web:0 must not be seen again.
    """
    await site.go_live(image="web:1")
    await site.go_live(image="web:0")
    site.kubectl("rollout", "undo", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return int((await site.deployment())["metadata"]["resourceVersion"])


def images_that_ran(site: Site, since: int) -> set[str]:
    """Of every pod that was made after a revision."""
    pods = [one for one in site.recording.in_order() if one.kind == "pods"]
    before = {one.name for one in pods if one.revision <= since}
    return {one.object["spec"]["containers"][0]["image"] for one in pods if one.name not in before}


def check_no_history_came_back(site: Site, since: int, revisions: list[str]) -> None:
    assert images_that_ran(site, since) <= {"web:1", "web:2"}
    site.recording.check()
    assert site.kubectl("rollout", "history", "deployment/web").split()[3::2] == revisions


async def come_to_approval(site: Site, mesh: bool) -> str:
    """The id of a release of web:2 that waits for approval with half of the traffic."""
    release = await site.deploy("web:2", IN_HALVES, mesh=mesh)
    await site.until_state(release.id, State.APPROVING)
    return release.id


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "pod ratio"])
async def test_no_version_of_the_history_comes_back_with_a_promotion(site: Site, mesh: bool) -> None:
    since = await live_with_history(site)
    release = await come_to_approval(site, mesh)
    await site.order(release, CommandKind.APPROVE)
    assert (await site.until_ended(release)).status is ReleaseStatus.SUCCEEDED, await site.tell(release)
    assert len(await site.pods_of("web:2")) == 4
    check_no_history_came_back(site, since, ["2", "3", "4"])


IN_TIME_AT_LAST = 5
"""How often a story is told until its abort was in time: what is left of the release is some writes, a fraction of a second."""


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "pod ratio"])
@pytest.mark.parametrize("moment", ["next: adopt-canary", "is given to its Deployment", "has adopted its new version"])
async def test_no_version_of_the_history_comes_back_with_an_abort(
    mesh_plane: RealControlPlane, tmp_path: Path, mesh: bool, moment: str
) -> None:
    """At any moment of the hand-over: the controller may be at work in it."""
    for attempt in range(IN_TIME_AT_LAST):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        async with open_site(mesh_plane, folder) as site:
            await site.start_daemon()
            since = await live_with_history(site)
            release = await come_to_approval(site, mesh)
            if not await site.approve_and_abort_at(release, moment):
                continue
            assert (await site.until_ended(release)).status is ReleaseStatus.FAILED, await site.tell(release)
            assert len(await site.pods_of("web:1")) == 4
            assert await traces(site) == []
            check_no_history_came_back(site, since, ["2", "3"])
            return
    pytest.fail(f"the release had ended before its abort {IN_TIME_AT_LAST} times")


async def test_a_way_back_without_any_history(site: Site) -> None:
    """With revisionHistoryLimit 0 the old ReplicaSet is cleaned away in the middle of the hand-over."""
    await site.go_live()
    await site.merge(site.path("deployments", "web"), {"spec": {"revisionHistoryLimit": 0}})
    release = await come_to_approval(site, mesh=True)
    assert await site.approve_and_abort_at(release, "the new version serves everything")
    assert (await site.until_ended(release)).status is ReleaseStatus.FAILED, await site.tell(release)
    assert len(await site.pods_of("web:1")) == 4
    assert await traces(site) == []
    site.recording.check()
