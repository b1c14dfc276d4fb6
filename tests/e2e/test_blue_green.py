"""Blue/green on a real control plane: the selectors of the user's Services, the tested pods, and what is left in the end."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import ReleaseBody
from adapters.kubernetes.permissions import Needs
from adapters.routers.active_service import ActiveServiceRouter
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.builders import service_route
from tests.e2e.site import APPLY, Site
from tests.e2e.test_rolled_back import picture, traces

pytestmark = pytest.mark.real

HASH = "pod-template-hash"
APPROVAL: JsonObject = {"pause": {"untilApproved": True}}
SWITCH: JsonObject = {"redirectTrafficAfter": [APPROVAL], "shutDownOldVersionAfter": [APPROVAL]}


async def go_live(site: Site) -> None:
    """The application, its preview Service, and the right to point both Services at a version."""
    await site.go_live()
    preview = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "next"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    path = site.path("services", "next")
    async with site.http.patch(path, json=preview, params={"fieldManager": "kubectl"}, headers=APPLY) as answer:
        assert answer.status == 201, await answer.text()
    needs = Needs(site.namespace, watches_all=False)
    await site.grant("blue-green", ActiveServiceRouter().permissions(service_route("web", "next"), needs))


async def deploy(site: Site, **constraints: object) -> ReleaseBody:
    body = site.submission("web:2", [], mesh=False)
    file = json.loads(body.text)
    file["strategies"] = {"gentle": {"blueGreen": SWITCH}}
    file["trafficManagement"] = [{"kubernetes": [{"activeService": "web", "previewService": "next"}]}]
    file["targets"]["production"]["constraints"] = constraints or None
    if not constraints:
        del file["targets"]["production"]["constraints"]
    async with site.client() as client:
        return (await client.submit(replace(body, text=json.dumps(file)))).release


async def selected(site: Site, name: str) -> set[str]:
    """The images of the pods behind a Service, as its own endpoints have them."""
    slices = await site.get(f"/apis/discovery.k8s.io/v1/namespaces/{site.namespace}/endpointslices")
    names = {
        endpoint["targetRef"]["name"]
        for one in slices["items"]
        if one["metadata"]["labels"]["kubernetes.io/service-name"] == name
        for endpoint in one.get("endpoints") or []
    }
    return {pod["spec"]["containers"][0]["image"] for pod in await site.items("pods") if pod["metadata"]["name"] in names}


async def at_step(site: Site, release: str, step: int) -> None:
    await site.until_rollout(release, lambda rollout: rollout.step == step and rollout.awaits_answer)


async def test_tested_pods_are_switched_to_and_become_the_deployments_own(site: Site) -> None:
    await go_live(site)
    release = (await deploy(site)).id
    await at_step(site, release, 1)
    tested = await site.pods_of("web:2")
    assert len(tested) == 4

    async def shows(active: str, preview: str) -> bool:
        return await selected(site, "web") == {active} and await selected(site, "next") == {preview}

    await site.until(lambda: shows("web:1", "web:2"))
    await site.order(release, CommandKind.APPROVE)
    await at_step(site, release, 3)
    await site.until(lambda: shows("web:2", "web:2"))
    assert len(await site.pods_of("web:1")) == 4
    await site.kill_daemon()
    await site.start_daemon()
    await site.order(release, CommandKind.APPROVE)
    assert (await site.until_ended(release)).status is ReleaseStatus.SUCCEEDED
    serving = await site.pods_of("web:2")
    assert serving.keys() == tested.keys()
    assert all(one["restartCount"] == 0 for pod in serving.values() for one in pod["status"]["containerStatuses"])
    for name in ("web", "next"):
        found = await site.get(site.path("services", name))
        assert found["spec"]["selector"] == {"app": "web"}
        assert {one["manager"] for one in found["metadata"]["managedFields"]} == {"kubectl"}
    assert "deployment.apps/web successfully rolled out" in site.kubectl("rollout", "status", "deployment/web").replace(
        'deployment "web"', "deployment.apps/web"
    )


@pytest.mark.parametrize("step", [1, 3])
async def test_an_abort_on_either_side_of_the_switch_leaves_nothing(site: Site, step: int) -> None:
    await go_live(site)
    before, pods = await picture(site), await site.pods_of("web:1")
    release = (await deploy(site)).id
    await at_step(site, release, 1)
    if step > 1:
        await site.order(release, CommandKind.APPROVE)
        await at_step(site, release, step)
    await site.order(release, CommandKind.ABORT)
    assert (await site.until_ended(release)).status is ReleaseStatus.FAILED
    assert await picture(site) == before
    assert await traces(site) == []
    assert (await site.pods_of("web:1")).keys() == pods.keys()


async def test_a_no_after_the_deployment_brings_the_old_version_back(site: Site) -> None:
    await go_live(site)
    before = await picture(site)
    release = (await deploy(site, afterDeployment=[APPROVAL], onFailure="rollback")).id
    for step in (1, 3):
        await at_step(site, release, step)
        await site.order(release, CommandKind.APPROVE)
    await site.until_state(release, State.VERIFYING)
    assert not await site.pods_of("web:1")
    await site.order(release, CommandKind.REJECT)
    assert (await site.until_ended(release)).status is ReleaseStatus.FAILED

    async def is_back() -> bool:
        return len(await site.pods_of("web:1")) == 4 and not await site.pods_of("web:2")

    await site.until(is_back)
    after = await picture(site)
    for one in (before, after):
        one["deployments/web"]["metadata"]["annotations"].pop("deployment.kubernetes.io/revision")
    assert {name: body for name, body in after.items() if not name.startswith("replicasets")} == {
        name: body for name, body in before.items() if not name.startswith("replicasets")
    }
