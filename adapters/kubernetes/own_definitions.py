"""The kinds that a plan's own CustomResourceDefinitions define, which a cluster may not serve before they are applied. Pure."""

from __future__ import annotations

import json

from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.templates import JsonObject
from engine.model import TargetPlan

DEFINITION = "CustomResourceDefinition"


def defined_kind(plan: TargetPlan, api_version: str, kind: str) -> ResourceRef | None:
    """Where objects of this kind will live by what the plan's definitions say; None where none of them is of it."""
    for manifest in plan.manifests:
        if not manifest.key.startswith(DEFINITION):  # Most manifests are of other kinds, and some are large.
            continue
        for defined in kinds_of(json.loads(manifest.content)):
            if (defined.api_version, defined.kind) == (api_version, kind):
                return defined
    return None


def defined_by(kind: ResourceRef, body: JsonObject) -> list[ResourceRef]:
    return kinds_of(body) if kind.kind == DEFINITION else []


def kinds_of(definition: JsonObject) -> list[ResourceRef]:
    """The kind in each of its versions that is served. One that is not a whole definition defines nothing."""
    spec = definition.get("spec") or {}
    names, group = spec.get("names") or {}, spec.get("group")
    if not group or not names.get("kind") or not names.get("plural"):
        return []
    namespaced = spec.get("scope") == "Namespaced"
    versions = [one["name"] for one in spec.get("versions") or [] if one.get("name") and one.get("served", True)]
    return [ResourceRef(group, str(version), names["plural"], names["kind"], namespaced) for version in versions]
