"""A completed release is taken back, as an operator does it and sees it with kubectl."""

from __future__ import annotations

import json

import pytest

from adapters.embedded.json_objects import JsonObject
from engine.model import ReleaseStatus
from tests.e2e.site import Site
from tests.e2e.test_rolled_back import PLURALS

pytestmark = pytest.mark.real

HALF: list[JsonObject] = [{"setWeight": {"weight": 50}}]


async def promote(site: Site, image: str, *, mesh: bool = True) -> str:
    release = await site.deploy(image, HALF, mesh=mesh)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    return release.id


async def template(site: Site) -> JsonObject:
    found: JsonObject = (await site.deployment())["spec"]["template"]
    return found


async def marked(site: Site) -> list[str]:
    """What carries a mark of ours. Being named as a manager of what was applied is no mark."""
    found = []
    for plural in PLURALS:
        for one in await site.items(plural):
            metadata = one["metadata"]
            if "headgate" in json.dumps([metadata.get("labels"), metadata.get("annotations")]):
                found.append(f"{plural}/{metadata['name']}")
    return found


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "pod ratio"])
async def test_the_old_version_is_back_and_is_the_newest_revision(site: Site, mesh: bool) -> None:
    await site.go_live()
    old = await template(site)
    release = await promote(site, "web:2", mesh=mesh)
    said = site.headgate("rollback", release, "--wait")
    assert "production runs the version before" in said.stdout
    assert await template(site) == old
    assert (len(await site.pods_of("web:1")), await site.pods_of("web:2")) == (4, {})
    assert (await site.deployment())["status"]["availableReplicas"] == 4
    assert site.kubectl("rollout", "history", "deployment/web").split()[-4:] == ["2", "<none>", "3", "<none>"]
    assert "web:1" in site.kubectl("rollout", "history", "deployment/web", "--revision=3")
    assert [one["metadata"]["name"] for one in await site.items("services")] == ["web"]
    assert await site.items("trafficsplits") == []
    assert await marked(site) == []
    site.recording.check()
    site.kubectl("rollout", "undo", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(await site.pods_of("web:2")) == 4


async def test_it_outlives_the_daemon_and_can_be_taken_back_itself(site: Site) -> None:
    await site.go_live()
    release = await promote(site, "web:2")
    new = await template(site)
    await site.kill_daemon()
    await site.start_daemon()
    site.headgate("rollback", release)
    await site.kill_daemon()
    await site.start_daemon()
    back = json.loads(site.headgate("status", release, "-o", "json").stdout)["release"]["application"]
    site.headgate("status", back, "--watch")
    assert len(await site.pods_of("web:1")) == 4
    refused = site.headgate("rollback", release, check=False)
    assert (refused.returncode, "has changed Deployment web" in refused.stderr) == (3, True)
    site.headgate("rollback", back, "--wait")
    assert await template(site) == new
    assert len(await site.pods_of("web:2")) == 4
    site.recording.check()


async def test_the_size_and_the_edits_of_somebody_else_are_respected(site: Site) -> None:
    await site.go_live()
    old = await template(site)
    release = await promote(site, "web:2")
    site.kubectl("scale", "deployment/web", "--replicas=6")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    site.kubectl("rollout", "restart", "deployment/web")
    site.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    restarted = await template(site)
    refused = site.headgate("rollback", release, "--wait", check=False)
    assert refused.returncode == 1
    assert "somebody else has changed it since" in refused.stdout
    assert await template(site) == restarted
    site.headgate("rollback", release, "--wait", "--force")
    assert await template(site) == old
    assert (len(await site.pods_of("web:1")), (await site.deployment())["spec"]["replicas"]) == (6, 6)
    site.recording.check()


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "pod ratio"])
async def test_an_autoscaler_that_came_since_keeps_its_bounds_and_its_count(site: Site, mesh: bool) -> None:
    """The release has declared the number of pods. An apply that leaves it out would make it 1."""
    await site.go_live(replicas=2)
    release = await promote(site, "web:2", mesh=mesh)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"minReplicas": 4, "maxReplicas": 9, "scaleTargetRef": target}
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
    await site.create(site.path("horizontalpodautoscalers"), body)
    before = (await site.get(site.path("horizontalpodautoscalers", "web")))["spec"]
    since = len(counts(site))
    site.headgate("rollback", release, "--wait")
    assert (await site.get(site.path("horizontalpodautoscalers", "web")))["spec"] == before
    assert (len(await site.pods_of("web:1")), counts(site)[-1]) == (4, 4)
    assert 1 not in counts(site)[since:]
    site.recording.check()


def counts(site: Site) -> list[int]:
    """The number of pods that the Deployment asked for, one change of it after the other."""
    return [one.object["spec"]["replicas"] for one in site.recording.in_order() if one.kind == "deployments"]
