"""The definition of Traefik's TraefikService, as far as traffic is divided by it.

What decides where requests go has its types, so that a wrong edit is refused here as Traefik's own definition refuses it;
everything else is taken as it comes. As in Traefik's, every list is atomic. Source: the reference of `traefik.io/v1alpha1`.
"""

from __future__ import annotations

from adapters.embedded.json_objects import JsonObject

TRAEFIK_GROUP, TRAEFIK_OLD_GROUP = "traefik.io", "traefik.containo.us"
_ANYTHING: JsonObject = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def traefik_definition(group: str = TRAEFIK_GROUP) -> JsonObject:
    """The CustomResourceDefinition in one of the two groups that Traefik has had. Raises `ValueError` for another."""
    if group not in (TRAEFIK_GROUP, TRAEFIK_OLD_GROUP):
        raise ValueError(f"Traefik has the groups {TRAEFIK_GROUP} and {TRAEFIK_OLD_GROUP}; got {group}")
    properties = {"weighted": _weighted(), "mirroring": _ANYTHING, "highestRandomWeight": _ANYTHING}
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": {"type": "object", "properties": properties}},
    }
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    singular = "traefikservice"
    names = {"kind": "TraefikService", "listKind": "TraefikServiceList", "plural": f"{singular}s", "singular": singular}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"traefikservices.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _weighted() -> JsonObject:
    entry = {
        "kind": {"type": "string", "enum": ["Service", "TraefikService"]},
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "port": {"x-kubernetes-int-or-string": True},
        "weight": {"type": "integer", "minimum": 0},
    }
    cookie = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "maxAge": {"type": "integer"},
            "httpOnly": {"type": "boolean"},
            "secure": {"type": "boolean"},
            "sameSite": {"type": "string"},
        },
    }
    services = {"type": "array", "items": {**_ANYTHING, "required": ["name"], "properties": entry}}
    sticky = {"type": "object", "properties": {"cookie": cookie}}
    return {"type": "object", "properties": {"services": services, "sticky": sticky}}
