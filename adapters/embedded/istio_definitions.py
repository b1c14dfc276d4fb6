"""Definitions of Istio's VirtualService and DestinationRule, as far as traffic is divided by them.

What decides where requests go has its types, so that a wrong edit is refused here as Istio's own definitions refuse it;
everything else is taken as it comes. As in Istio's, one object is served in all versions, and every list is atomic. Source: the
reference of `networking.istio.io`.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.embedded.json_objects import JsonObject

ISTIO_GROUP = "networking.istio.io"
ISTIO_VERSIONS = ("v1", "v1beta1", "v1alpha3")
_ANYTHING: JsonObject = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def istio_definitions(versions: Sequence[str] = ISTIO_VERSIONS) -> list[JsonObject]:
    """The CustomResourceDefinitions, the first of the versions stored. Raises `ValueError` for a version that Istio never had."""
    unknown = [version for version in versions if version not in ISTIO_VERSIONS]
    if unknown:
        raise ValueError(f"Istio has the versions {', '.join(ISTIO_VERSIONS)}; got {list(versions)}")
    return [
        _definition("VirtualService", "vs", _virtual_service(), versions),
        _definition("DestinationRule", "dr", _destination_rule(), versions),
    ]


def _definition(kind: str, short: str, spec: JsonObject, versions: Sequence[str]) -> JsonObject:
    singular = kind.lower()
    names = {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s", "singular": singular, "shortNames": [short]}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": _ANYTHING}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{ISTIO_GROUP}"},
        "spec": {
            "group": ISTIO_GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "subresources": {"status": {}},
                    "schema": schema,
                }
                for version in versions
            ],
        },
    }


def _virtual_service() -> JsonObject:
    texts = {"type": "array", "items": {"type": "string"}}
    route = {"name": {"type": "string"}, "match": {"type": "array", "items": _ANYTHING}, "route": _destinations()}
    http = {"type": "array", "items": {**_ANYTHING, "properties": route}}
    other = {"type": "array", "items": {**_ANYTHING, "properties": {name: route[name] for name in ("match", "route")}}}
    properties = {"hosts": texts, "gateways": texts, "exportTo": texts, "http": http, "tls": other, "tcp": other}
    return {"type": "object", "properties": properties}


def _destinations() -> JsonObject:
    port = {"type": "object", "properties": {"number": {"type": "integer", "minimum": 0}}}
    properties = {"host": {"type": "string"}, "subset": {"type": "string"}, "port": port}
    destination = {"type": "object", "required": ["host"], "properties": properties}
    weighted = {"destination": destination, "weight": {"type": "integer", "format": "int32"}, "headers": _ANYTHING}
    return {"type": "array", "items": {"type": "object", "required": ["destination"], "properties": weighted}}


def _destination_rule() -> JsonObject:
    labels = {"type": "object", "additionalProperties": {"type": "string"}}
    subset = {"name": {"type": "string"}, "labels": labels, "trafficPolicy": _ANYTHING}
    subsets = {"type": "array", "items": {"type": "object", "required": ["name"], "properties": subset}}
    properties = {"host": {"type": "string"}, "subsets": subsets}
    return {**_ANYTHING, "required": ["host"], "properties": properties}
