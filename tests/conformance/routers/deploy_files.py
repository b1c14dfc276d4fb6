"""The deploy files of the cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.model import ReleasePlan
from engine.traffic import RoutePlan
from strategies.deployfile import LoadedFile, SourceText, compile_release, parse_deploy_text, read_from_bundle
from tests.conformance.routers.cases import RouterCase
from tests.conformance.routers.view import JsonObject

ACCOUNT = "conformance"
REPLICAS = 3
APPROVAL: JsonObject = {"pause": {"untilApproved": True}}


def weight(value: float) -> JsonObject:
    return {"setWeight": {"weight": value}}


def deployment(image: str = "web:1") -> JsonObject:
    container = {"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def read_file(
    case: RouterCase,
    steps: Sequence[JsonObject],
    *,
    namespace: str = "shop",
    image: str = "web:2",
    config: Mapping[str, Any] | None = None,
) -> LoadedFile:
    """With these steps; in blue/green, with the conditions of both sides."""
    strategy: JsonObject = {"canary": {"steps": list(steps)}}
    if case.blue_green:
        half = (len(steps) + 1) // 2
        strategy = {"blueGreen": {"redirectTrafficAfter": list(steps[:half]), "shutDownOldVersionAfter": list(steps[half:])}}
    file: JsonObject = {
        "version": "v1",
        "kind": "kubernetes",
        "application": "shop",
        "targets": {"production": {"account": ACCOUNT, "namespace": namespace, "strategy": "gentle"}},
        "manifests": [{"path": "web.yaml"}],
        "strategies": {"gentle": strategy},
        "deploymentConfig": {"settle": {"duration": 0, "unit": "seconds"}, **(config or {})},
        "analysis": {
            "defaultMetricProviderName": "metrics",
            "queries": [{"name": "errors", "upperLimit": 0.01, "queryTemplate": "errors"}],
        },
    }
    text = json.dumps(file, indent=1)
    if case.traffic:
        text = f"{text[:-2]},\n trafficManagement: [{{{case.traffic}}}]\n}}"
    sources = {"web.yaml": [SourceText("web.yaml", json.dumps(deployment(image)))]}
    return parse_deploy_text(text, "deploy.yaml", read_from_bundle(sources))


def compiled(loaded: LoadedFile) -> ReleasePlan:
    assert not loaded.problems.errors, list(map(str, loaded.problems.errors))
    plan = compile_release(loaded, application=None, context={}, target_filters=())
    assert isinstance(plan, ReleasePlan), plan
    return plan


def routes_of(case: RouterCase) -> tuple[RoutePlan, ...]:
    return compiled(read_file(case, [])).targets[0].routes
