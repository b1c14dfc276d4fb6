"""The JSON Schema and the reference page, which are made from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strategies.deployfile import dump_schema
from strategies.document_page import render_page

PAGE = Path(__file__).parent.parent.parent / "docs" / "deploy-file.md"


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "the deploy file", schema
    yield from schema["$defs"].items()


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in objects(schema):
        for field, part in definition["properties"].items():
            yield f"{name}.{field}", part


def test_the_page_is_current() -> None:
    """When this fails: python -m strategies.document_schema"""
    assert PAGE.read_text(encoding="utf-8") == render_page(dump_schema())


def test_the_schema_is_plain_json_of_a_known_dialect() -> None:
    schema = dump_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


def test_every_object_and_every_field_is_described() -> None:
    schema = dump_schema()

    assert [name for name, definition in objects(schema) if not definition.get("description")] == []
    assert [name for name, part in fields(schema) if not part.get("description", "").endswith(".")] == []


def test_fields_are_called_as_they_are_written() -> None:
    for name, part in fields(dump_schema()):
        assert part["title"] == name.rpartition(".")[2]
        assert part["title"][0].islower()
        assert "_" not in part["title"]


def test_no_object_takes_fields_that_it_does_not_know() -> None:
    assert [
        name for name, definition in objects(dump_schema()) if definition.get("additionalProperties") is not False
    ] == []


def test_an_absent_field_is_left_out_and_not_null() -> None:
    text = json.dumps(dump_schema())

    assert '"null"' not in text
    assert '"default": null' not in text


def test_every_reference_leads_somewhere() -> None:
    schema = dump_schema()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} == set(schema["$defs"])


def test_our_additions_are_marked() -> None:
    marked = {
        name: part["x-headgate-addition"] for name, part in fields(dump_schema()) if "x-headgate-addition" in part
    }

    assert marked.pop("SetWeightStep.weight") == "fractions and percent signs"
    assert marked.keys() == {
        "Accepted.pointer",
        "Accepted.value",
        "Custom.accepted",
        "Custom.apiVersion",
        "Custom.canaryService",
        "Custom.canaryServiceName",
        "Custom.canaryWeight",
        "Custom.kind",
        "Custom.name",
        "Custom.observedGeneration",
        "Custom.rootServiceName",
        "Custom.stableService",
        "Custom.stableServiceName",
        "Custom.stableWeight",
        "Custom.template",
        "Custom.total",
        "DeploymentConfig.onDrift",
        "DeploymentConfig.reassertLimit",
        "GatewayApi.canaryServiceName",
        "GatewayApi.grpcRoute",
        "GatewayApi.httpRoute",
        "GatewayApi.rootServiceName",
        "GatewayApi.stableServiceName",
        "GatewayApi.stickySession",
        "GatewayRoute.hostnames",
        "GatewayRoute.name",
        "GatewayRoute.parents",
        "GatewayRoute.port",
        "GatewayRoute.ruleName",
        "IngressNginx.canaryIngressName",
        "IngressNginx.canaryServiceName",
        "IngressNginx.ingressName",
        "IngressNginx.rootServiceName",
        "IngressNginx.stableServiceName",
        "Traefik.canaryServiceName",
        "Traefik.rootServiceName",
        "Traefik.stableServiceName",
        "Traefik.stickySession",
        "Traefik.traefikServiceName",
        "TrafficManagement.custom",
        "TrafficManagement.effect",
        "TrafficManagement.gatewayApi",
        "TrafficManagement.ingressNginx",
        "TrafficManagement.traefik",
        "AnalysisStep.failureBudget",
        "AnalysisStep.noDataBudget",
        "BackgroundAnalysis.noDataBudget",
        "BlueGreen.backgroundAnalysis",
        "Canary.backgroundAnalysis",
        "Constraints.onFailure",
        "DeploymentConfig.freeze",
        "DeploymentConfig.settle",
        "DeploymentConfig.snapshotConfig",
        "Istio.canaryServiceName",
        "Istio.stableServiceName",
        "Istio.stickySession",
        "PauseStep.approvalReminder",
        "QueryDefinition.noDataPolicy",
        "Smi.matches",
        "Smi.stableServiceName",
        "BlueGreenCondition.runCommand",
        "BlueGreenCondition.runJob",
        "CanaryStep.runCommand",
        "CanaryStep.runJob",
        "CanaryStep.setHeaderRoute",
        "CanaryStep.setMirror",
        "Condition.runCommand",
        "Condition.runJob",
        "WebhookDefinition.signingSecret",
        "VirtualService.tcpRoutes",
        "VirtualService.tlsRoutes",
        "WebhookDefinition.timeout",
    }


def test_completion_has_choices_and_examples() -> None:
    schema = dump_schema()
    pause = schema["$defs"]["PauseStep"]["properties"]

    assert pause["unit"]["enum"][:3] == ["seconds", "minutes", "hours"]
    assert schema["$defs"]["CanaryStep"]["maxProperties"] == 1
    assert schema["$defs"]["SetWeightStep"]["properties"]["weight"]["examples"] == [25, 0.1, "12.5%"]
    assert schema["required"] == ["application", "targets", "manifests"]
