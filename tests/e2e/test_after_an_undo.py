"""A release was undone, and the next one leaves out what the one before it had declared: on a real API server it is gone."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import ReleaseBody, SourceBody
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.site import Site
from tests.e2e.test_objects import allow_everything

pytestmark = pytest.mark.real

APPROVAL: JsonObject = {"pause": {"untilApproved": True}}
HALF: JsonObject = {"setWeight": {"weight": 50}}


async def deploy(site: Site, image: str, settings: dict[str, str], *, approved: bool = False, **spec: object) -> ReleaseBody:
    """With these settings in a ConfigMap and in annotations of the Deployment. `approved`: it has to be, in the end."""
    body = site.submission(image, [HALF], mesh=False)
    file = json.loads(body.text)
    if approved:
        file["targets"]["production"]["constraints"] = {"afterDeployment": [APPROVAL], "onFailure": "rollback"}
    deployment = json.loads(body.manifests["web.yaml"][0].text)
    deployment["metadata"]["annotations"] = settings
    deployment["spec"] |= spec
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": settings}
    text = "\n---\n".join(map(json.dumps, (config, deployment)))
    body = replace(body, text=json.dumps(file), manifests={"web.yaml": [SourceBody("web.yaml", text)]})
    async with site.client() as client:
        return (await client.submit(body)).release


async def owners(site: Site) -> list[JsonObject]:
    """Who has which fields, but for what controllers report."""
    found = [await site.get(site.path("configmaps", "settings")), await site.deployment()]
    entries = [one for body in found for one in body["metadata"]["managedFields"] if not one.get("subresource")]
    return sorted(({k: v for k, v in one.items() if k != "time"} for one in entries), key=str)


@pytest.mark.parametrize("first", ["kubectl", "headgate"])
async def test_what_the_next_release_leaves_out_is_gone(site: Site, first: str) -> None:
    await allow_everything(site)
    if first == "kubectl":
        await site.go_live(image="web:0")
    good = await deploy(site, "web:1", {"a": "1", "b": "1"}, minReadySeconds=1)
    assert (await site.until_ended(good.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(good.id)
    before = await owners(site)
    bad = await deploy(site, "web:2", {"a": "2", "b": "2"}, approved=True, minReadySeconds=2)
    await site.until_state(bad.id, State.VERIFYING)
    assert (await site.deployment())["spec"]["minReadySeconds"] == 2
    await site.order(bad.id, CommandKind.ABORT)
    assert (await site.until_ended(bad.id)).status is ReleaseStatus.FAILED
    assert await owners(site) == before
    next_one = await deploy(site, "web:3", {"a": "3"})
    assert (await site.until_ended(next_one.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(next_one.id)
    assert (await site.get(site.path("configmaps", "settings")))["data"] == {"a": "3"}
    live = await site.deployment()
    assert {key: value for key, value in live["metadata"]["annotations"].items() if key in ("a", "b")} == {"a": "3"}
    assert "minReadySeconds" not in live["spec"]
