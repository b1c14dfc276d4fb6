"""The routes of the Gateway API that a deploy file relies on, and what they are attached to and name, as their users would have
them before a rehearsal. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from adapters.embedded.gateway_definitions import GATEWAY_GROUP, ROUTE_KINDS
from adapters.embedded.json_objects import JsonObject
from engine.model import ManifestPlan, TargetPlan
from engine.traffic import GatewayParent, GatewayRoute, RoutePlan

_GATEWAY = "rehearsal"


def gateway_objects_of(target: TargetPlan, ports: dict[str, int]) -> Iterator[JsonObject]:
    """In the order in which they need each other. `ports`: those of the root Services, by their names."""
    shipped = [one for one in map(_read, target.manifests) if one.get("kind") in ROUTE_KINDS]
    names = {(one["kind"], one["metadata"]["name"]) for one in shipped}
    routes = [route for route in target.routes if route.gateway is not None]
    own = [
        _route(target, route, route.gateway, ports.get(route.root_service, 80))
        for route in routes
        if route.gateway is not None and not route.gateway.is_made and (route.gateway.kind, route.gateway.name) not in names
    ]
    parents = [one for route in (*shipped, *own) for one in route["spec"].get("parentRefs") or ()]
    parents += [_written(one) for route in routes if route.gateway is not None for one in route.gateway.parents]
    yield from _gateways(target, parents)
    yield from _strangers(target, (*shipped, *own))
    yield from own


def _read(manifest: ManifestPlan) -> JsonObject:
    body: JsonObject = json.loads(manifest.content)
    return body


def _object(kind: str, name: str, namespace: str, spec: JsonObject, version: str = f"{GATEWAY_GROUP}/v1") -> JsonObject:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _namespace(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _route(target: TargetPlan, route: RoutePlan, gateway: GatewayRoute, port: int) -> JsonObject:
    rule = {"backendRefs": [{"name": route.root_service, "port": port}], **({"name": gateway.rule} if gateway.rule else {})}
    spec = {"parentRefs": [{"name": _GATEWAY}], "rules": [rule]}
    return _object(gateway.kind, gateway.name, target.namespace, spec)


def _written(parent: GatewayParent) -> JsonObject:
    section = {"sectionName": parent.section} if parent.section else {}
    return {"kind": parent.kind, "name": parent.name, **({"namespace": parent.namespace} if parent.namespace else {}), **section}


def _gateways(target: TargetPlan, parents: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Each with all listeners that routes ask for."""
    listeners: dict[tuple[str, str], list[str]] = {}
    for parent in parents:
        if parent.get("kind", "Gateway") == "Gateway":
            place = (parent.get("namespace") or target.namespace, str(parent["name"]))
            listeners.setdefault(place, []).append(str(parent.get("sectionName") or "http"))
    for (namespace, name), sections in listeners.items():
        given = [{"name": one, "port": 80, "protocol": "HTTP"} for one in dict.fromkeys(sections)]
        yield _namespace(namespace)
        yield _object("Gateway", name, namespace, {"gatewayClassName": _GATEWAY, "listeners": given})


def _strangers(target: TargetPlan, routes: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Services that routes name and that no version of the application is behind; in other namespaces with their permission."""
    for route in routes:
        backends = [one for rule in route["spec"].get("rules") or () for one in rule.get("backendRefs") or ()]
        for one in backends:
            namespace = one.get("namespace") or target.namespace
            yield _namespace(namespace)
            yield _object("Service", one["name"], namespace, {"ports": [{"port": one.get("port", 80)}]}, "v1")
            if namespace != target.namespace:
                origin = {"group": GATEWAY_GROUP, "kind": route["kind"], "namespace": target.namespace}
                grant = {"from": [origin], "to": [{"group": "", "kind": "Service"}]}
                yield _object("ReferenceGrant", _GATEWAY, namespace, grant, f"{GATEWAY_GROUP}/v1beta1")
