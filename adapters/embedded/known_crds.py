"""Definitions of the custom kinds that this cluster can offer without anything being installed in it.

SMI TrafficSplit in the versions that occur in the field, which differ in what weights and matches may say. They ask for what the
definitions ask for that people install: that of smi-sdk-go for v1alpha4, whose schema is given to v1alpha3 too, and that of
linkerd-smi for v1alpha1 and v1alpha2. None of them limits a weight: it may be negative, or a fraction.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.embedded.json_objects import JsonObject

SMI_SPLIT_GROUP = "split.smi-spec.io"
TRAFFIC_SPLIT_VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")


def traffic_split_definition(versions: Sequence[str] = ("v1alpha2", "v1alpha4"), stored: str = "") -> JsonObject:
    """The CustomResourceDefinition of TrafficSplit.

    Args:
        versions: the served versions, out of TRAFFIC_SPLIT_VERSIONS; one object is served in all of them.
        stored: the one that is stored, the last one by default.

    Raises:
        ValueError: an unknown version, or a stored one that is not served.
    """
    unknown = [version for version in versions if version not in TRAFFIC_SPLIT_VERSIONS]
    stored = stored or (versions[-1] if versions else "")
    if unknown or stored not in versions:
        raise ValueError(f"TrafficSplit has the versions {', '.join(TRAFFIC_SPLIT_VERSIONS)}; got {list(versions)}")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"trafficsplits.{SMI_SPLIT_GROUP}"},
        "spec": {
            "group": SMI_SPLIT_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "TrafficSplit",
                "listKind": "TrafficSplitList",
                "plural": "trafficsplits",
                "singular": "trafficsplit",
                "shortNames": ["ts"],
            },
            "versions": [_split_version(version, stored=version == stored) for version in versions],
        },
    }


def _split_version(version: str, *, stored: bool) -> JsonObject:
    return {
        "name": version,
        "served": True,
        "storage": stored,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _split_spec(version)}}},
        "additionalPrinterColumns": [
            {"name": "Service", "type": "string", "description": "The apex service of this split.", "jsonPath": ".spec.service"}
        ],
    }


def _split_spec(version: str) -> JsonObject:
    weight: JsonObject = {"type": "number"}
    if version == "v1alpha1":
        weight = {"x-kubernetes-int-or-string": True}  # quantities then: 1, "500m"
    backend = {"service": {"type": "string"}, "weight": weight}
    properties: JsonObject = {
        "service": {"type": "string"},
        "backends": {
            "type": "array",
            "items": {"type": "object", "required": ["service", "weight"], "properties": backend},
        },
    }
    if version in {"v1alpha3", "v1alpha4"}:
        group = {"kind": {"type": "string", "enum": ["HTTPRouteGroup"]}, "name": {"type": "string"}}
        properties["matches"] = {
            "type": "array",
            "items": {"type": "object", "required": ["kind", "name"], "properties": group},
        }
    return {"type": "object", "required": ["service", "backends"], "properties": properties}
