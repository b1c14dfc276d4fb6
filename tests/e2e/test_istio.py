"""A canary by Istio's own kinds on a real API server. No proxy reads them here: it is about what becomes of the objects."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import ReleaseBody
from adapters.kubernetes.permissions import Needs
from adapters.routers.istio import IstioRouter
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.builders import istio_route
from tests.e2e.site import APPLY, Site
from tests.e2e.test_rolled_back import traces
from tests.rollouts.istio_objects import FULL_NAME, destination, destination_rule, http_route, virtual_service

pytestmark = pytest.mark.real

HASH = "pod-template-hash"
STEPS: list[JsonObject] = [{"setWeight": {"weight": 12.5}}, {"pause": {"untilApproved": True}}]
SHARED = http_route(destination("elsewhere", weight=40), destination(subset="active", weight=60), name="api")
ROUTES = http_route(name="main"), SHARED, http_route(name="untouched")
BODIES = {"destinationrules": destination_rule(host=FULL_NAME), "virtualservices": virtual_service(*ROUTES)}


def path(site: Site, plural: str, version: str = "v1") -> str:
    return f"/apis/networking.istio.io/{version}/namespaces/{site.namespace}/{plural}/web"


async def join_mesh(site: Site) -> None:
    """The user's objects, applied with kubectl's own manager, and the right to edit them for Headgate's account."""
    await site.go_live()
    for plural, body in BODIES.items():
        found = json.loads(json.dumps(body).replace("web.shop.svc", f"web.{site.namespace}.svc"))
        found["metadata"] = {"name": "web"}
        async with site.http.patch(path(site, plural), json=found, params={"fieldManager": "kubectl"}, headers=APPLY) as answer:
            assert answer.status == 201, await answer.text()
    await site.grant("istio", IstioRouter().permissions(istio_route(), Needs(site.namespace, watches_all=False)))


async def deploy(site: Site) -> ReleaseBody:
    body = site.submission("web:2", STEPS)
    rule = {"name": "web", "activeSubsetName": "active", "canarySubsetName": "canary"}
    blocks = [{"virtualService": {"name": "web", "httpRouteName": name}, "destinationRule": rule} for name in ("main", "api")]
    text = json.dumps({**json.loads(body.text), "trafficManagement": [{"istio": blocks}]})
    async with site.client() as client:
        return (await client.submit(replace(body, text=text))).release


async def belongings(site: Site) -> dict[str, JsonObject]:
    """Both objects to the letter, but for what every write counts."""
    found = {}
    for plural in BODIES:
        body = await site.get(path(site, plural))
        kept = {key: value for key, value in body["metadata"].items() if key not in ("resourceVersion", "generation")}
        found[plural] = {**body, "metadata": kept}
    return found


async def weights(site: Site, index: int, version: str = "v1") -> list[tuple[str, int | None]]:
    route = (await site.get(path(site, "virtualservices", version)))["spec"]["http"][index]["route"]
    return [(one["destination"].get("subset") or one["destination"]["host"], one.get("weight")) for one in route]


@pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.ABORT], ids=["promoted", "undone"])
async def test_the_users_objects_are_edited_and_are_as_they_were_in_the_end(site: Site, answer: CommandKind) -> None:
    await join_mesh(site)
    before = await belongings(site)
    release = await deploy(site)
    await site.until_state(release.id, State.APPROVING)
    for version in ("v1", "v1beta1", "v1alpha3"):
        assert await weights(site, 0, version) == [("active", 175), ("canary", 25)]
        assert await weights(site, 1, version) == [("elsewhere", 80), ("active", 105), ("canary", 15)]
    active, canary = (await site.get(path(site, "destinationrules")))["spec"]["subsets"]
    assert active["labels"].keys() == {"app", HASH}
    (pod, *_) = (await site.pods_of("web:2")).values()
    assert canary["labels"] == {HASH: pod["metadata"]["labels"][HASH]}
    tested = await site.pods_of("web:2")
    await site.order(release.id, answer)
    ended = await site.until_ended(release.id)
    promoted = answer is CommandKind.APPROVE
    assert ended.status is (ReleaseStatus.SUCCEEDED if promoted else ReleaseStatus.FAILED), await site.tell(release.id)
    assert await belongings(site) == before
    assert (await site.pods_of("web:2")).keys() == (tested.keys() if promoted else set())
    assert promoted or await traces(site) == []
    assert site.recording.check() > 50


async def test_an_edit_by_somebody_else_holds_the_rollout_and_an_abort_keeps_what_is_theirs(site: Site) -> None:
    await join_mesh(site)
    release = await deploy(site)
    await site.until_state(release.id, State.APPROVING)
    found = await site.get(path(site, "virtualservices"))
    found["spec"]["http"][0]["route"][0]["weight"] = 1
    found["spec"]["http"][1]["timeout"] = "2s"
    async with site.http.put(path(site, "virtualservices"), json=found, params={"fieldManager": "somebody"}) as answer:
        assert answer.status == 200, await answer.text()
    sentence = "somebody else set the http route main of VirtualService web to 96.15 % instead of 12.5 %"
    await site.until_rollout(release.id, lambda rollout: sentence in rollout.held)
    await site.order(release.id, CommandKind.ABORT)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.FAILED
    body = await site.get(path(site, "virtualservices"))
    main, api, untouched = virtual_service(*ROUTES)["spec"]["http"]
    assert body["spec"]["http"] == [main, {**api, "timeout": "2s"}, untouched]
    assert "headgate" not in {one["manager"] for one in body["metadata"]["managedFields"]}
