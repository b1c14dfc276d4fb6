"""The Services of both versions carry all traffic from the first write of a route to the last, so they tell those who carry it
what the root Service tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import SERVICES
from engine.events import CommandKind
from engine.model import ReleaseStatus
from tests.builders import gateway_route, service, smi_route
from tests.rollouts.routed import Routed, http_route, routed
from tests.rollouts.test_user_routes import BOTH_ENDS, ENDS

ANNOTATION = "headgate.dev/rollout"
READ_BY_PROXIES = {
    "konghq.com/plugins": "login",
    "projectcontour.io/upstream-protocol.h2c": "http",
    "config.linkerd.io/opaque-ports": "80",
}
READ_BY_OTHERS = {
    "external-dns.alpha.kubernetes.io/hostname": "shop.example.com",
    "argocd.argoproj.io/tracking-id": "shop:/Service:shop/web",
    "meta.helm.sh/release-name": "shop",
}


def root_of(story: Routed) -> JsonObject:
    return story.told.storage.get(SERVICES, "shop", "web")


def tell(story: Routed, annotations: dict[str, str], **spec: object) -> None:
    """The root Service with these annotations and fields."""
    found = root_of(story)
    body = {**found, "metadata": {**found["metadata"], "annotations": annotations}, "spec": {**found["spec"], **spec}}
    story.told.storage.update(SERVICES, body, manager="kubectl")


def told_by(story: Routed, name: str) -> dict[str, str]:
    found = story.told.storage.get(SERVICES, "shop", name)["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key != ANNOTATION}


@BOTH_ENDS
@pytest.mark.parametrize("by", ["gatewayApi", "smi"])
async def test_both_versions_services_tell_proxies_what_the_root_service_does(
    tmp_path: Path, by: str, answer: CommandKind
) -> None:
    bodies, route = ([http_route()], gateway_route()) if by == "gatewayApi" else ([], smi_route())
    async with routed(tmp_path, *bodies) as story:
        affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
        tell(story, {**READ_BY_PROXIES, **READ_BY_OTHERS}, type="LoadBalancer", externalTrafficPolicy="Local", **affinity)
        root, picture = root_of(story), story.told.picture()
        assert root["spec"]["ports"][0]["nodePort"]
        await story.begin(route)
        for name in ("web-stable", "web-canary"):
            made = story.told.storage.get(SERVICES, "shop", name)
            assert told_by(story, name) == READ_BY_PROXIES
            assert made["spec"]["type"] == "ClusterIP"
            assert {field: made["spec"][field] for field in affinity} == affinity
            assert made["spec"]["ipFamilies"] == root["spec"]["ipFamilies"]
            assert made["spec"]["clusterIP"] != root["spec"]["clusterIP"]
        assert await story.end(answer) is ENDS[answer]
        assert story.told.picture()["Service/web"] == picture["Service/web"]
        assert [one for one in story.told.picture() if one.startswith("Service/")] == ["Service/web"]


async def test_what_the_root_service_is_told_meanwhile_is_for_the_next_rollout(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        await story.begin(gateway_route())
        tell(story, READ_BY_PROXIES)
        edited = story.told.storage.get(SERVICES, "shop", "web-stable")
        edited["metadata"]["annotations"]["konghq.com/plugins"] = "login"
        story.told.storage.update(SERVICES, edited, manager="somebody")
        assert told_by(story, "web-canary") == {}
        assert await story.end() is ReleaseStatus.SUCCEEDED, "what somebody tells a version's Service is no drift"
        assert root_of(story)["metadata"]["annotations"] == READ_BY_PROXIES


@BOTH_ENDS
async def test_a_service_of_the_users_says_what_they_let_it_say(tmp_path: Path, answer: CommandKind) -> None:
    async with routed(tmp_path) as story:
        theirs: JsonObject = service("web-next", app="web")
        theirs["metadata"]["annotations"] = {"konghq.com/plugins": "another"}
        story.told.storage.create(SERVICES, theirs, manager="kubectl")
        tell(story, READ_BY_PROXIES)
        await story.begin(smi_route(canary="web-next"))
        assert told_by(story, "web-stable") == READ_BY_PROXIES
        assert told_by(story, "web-next") == {"konghq.com/plugins": "another"}
        assert await story.end(answer) is ENDS[answer]
        assert told_by(story, "web-next") == {"konghq.com/plugins": "another"}
