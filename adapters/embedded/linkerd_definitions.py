"""Definitions of Linkerd's ServiceProfile and of SMI's HTTPRouteGroup, open in everything that traffic is not divided by."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.embedded.json_objects import JsonObject

LINKERD_GROUP = "linkerd.io"
SMI_SPECS_GROUP = "specs.smi-spec.io"
ROUTE_GROUP_VERSIONS = ("v1alpha3", "v1alpha4")
_ANYTHING: JsonObject = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def service_profile_definition() -> JsonObject:
    """Linkerd's ServiceProfile. A weight may be a quantity, as in the first version of TrafficSplit."""
    override = {
        "type": "object",
        "required": ["authority", "weight"],
        "properties": {"authority": {"type": "string"}, "weight": {"x-kubernetes-int-or-string": True}},
    }
    spec = {**_ANYTHING, "properties": {"dstOverrides": {"type": "array", "items": override}}}
    return _definition(LINKERD_GROUP, "ServiceProfile", "sp", ("v1alpha2",), spec)


def http_route_group_definition(versions: Sequence[str] = ROUTE_GROUP_VERSIONS) -> JsonObject:
    """SMI's HTTPRouteGroup; the last of the versions is stored."""
    match = {**_ANYTHING, "required": ["name"], "properties": {"name": {"type": "string"}}}
    spec = {"type": "object", "properties": {"matches": {"type": "array", "items": match}}}
    return _definition(SMI_SPECS_GROUP, "HTTPRouteGroup", "htr", versions, spec)


def _definition(group: str, kind: str, short: str, versions: Sequence[str], spec: JsonObject) -> JsonObject:
    singular = kind.lower()
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{singular}s",
                "singular": singular,
                "shortNames": [short],
            },
            "versions": [
                {"name": name, "served": True, "storage": name == versions[-1], "schema": schema} for name in versions
            ],
        },
    }
