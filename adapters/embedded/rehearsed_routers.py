"""The Ingresses, TraefikServices, routes of the Gateway API and objects of other kinds that a deploy file relies on and does
not ship, as their users would have them before a rehearsal; and, for kinds that nobody here knows, their definitions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.rehearsed_gateways import gateway_objects_of
from adapters.embedded.traefik_definitions import TRAEFIK_GROUP
from engine.model import TargetPlan
from engine.traffic import CustomRoute, RoutePlan, RouterKind
from strategies.json_pointers import Json, with_places

_KINDS = (RouterKind.GATEWAY_API, RouterKind.INGRESS_NGINX, RouterKind.TRAEFIK, RouterKind.CUSTOM)


def router_objects_of(target: TargetPlan) -> list[JsonObject]:
    """One object for each name, in the order in which they need each other."""
    routes = [route for route in target.routes if route.kind in _KINDS]
    ports = {route.root_service: _port(target, route) for route in routes}
    of_gateways = gateway_objects_of(target, ports)
    objects: dict[tuple[str, str, str], JsonObject] = {}
    for body in (*(_service(target, route) for route in routes), *_objects(target, routes), *of_gateways):
        objects.setdefault((body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]), body)
    return list(objects.values())


def _objects(target: TargetPlan, routes: Iterable[RoutePlan]) -> Iterator[JsonObject]:
    custom: dict[tuple[str, str, str], JsonObject] = {}
    for route in routes:
        match route.kind:
            case RouterKind.INGRESS_NGINX:
                yield _ingress(target, route)
            case RouterKind.TRAEFIK:
                yield _traefik_service(target, route)
            case RouterKind.CUSTOM:
                if route.custom is not None and not route.custom.template:
                    key = (route.custom.api_version, route.custom.kind, route.custom.name)
                    custom[key] = _with_route(custom.get(key) or _empty(target, route.custom), route, route.custom)
    yield from custom.values()


def _port(target: TargetPlan, route: RoutePlan) -> int:
    template = next(json.loads(one.manifest)["spec"]["template"] for one in target.workloads if one.name == route.workload)
    ports = [port["containerPort"] for one in template["spec"]["containers"] for port in one.get("ports") or ()]
    return int(ports[0]) if ports else 80


def _service(target: TargetPlan, route: RoutePlan) -> JsonObject:
    template = next(json.loads(one.manifest)["spec"]["template"] for one in target.workloads if one.name == route.workload)
    number = _port(target, route)
    spec = {"selector": template["metadata"]["labels"], "ports": [{"port": number, "targetPort": number}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(target, route.root_service), "spec": spec}


def _ingress(target: TargetPlan, route: RoutePlan) -> JsonObject:
    backend = {"service": {"name": route.root_service, "port": {"number": _port(target, route)}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {"ingressClassName": "nginx", "rules": [{"host": f"{route.ingress}.example.com", "http": {"paths": paths}}]}
    return _object(target, "networking.k8s.io/v1", "Ingress", route.ingress, spec)


def _traefik_service(target: TargetPlan, route: RoutePlan) -> JsonObject:
    entry = {"name": route.root_service, "port": _port(target, route), "weight": 1}
    return _object(target, f"{TRAEFIK_GROUP}/v1alpha1", "TraefikService", route.split, {"weighted": {"services": [entry]}})


def _empty(target: TargetPlan, custom: CustomRoute) -> JsonObject:
    return {"apiVersion": custom.api_version, "kind": custom.kind, "metadata": _metadata(target, custom.name)}


def _with_route(body: JsonObject, route: RoutePlan, custom: CustomRoute) -> JsonObject:
    """As its pointers say: all for the root Service, and nothing for the new version's."""
    values: dict[str, Json] = {custom.stable_weight: custom.total, custom.canary_weight: 0}
    services = {custom.stable_service: route.root_service, custom.canary_service: route.canary_service}
    made: JsonObject = with_places(body, values | {pointer: name for pointer, name in services.items() if pointer})
    return made


def _object(target: TargetPlan, api_version: str, kind: str, name: str, spec: JsonObject) -> JsonObject:
    return {"apiVersion": api_version, "kind": kind, "metadata": _metadata(target, name), "spec": spec}


def _metadata(target: TargetPlan, name: str) -> JsonObject:
    return {"name": name, "namespace": target.namespace}


def definition_of(custom: CustomRoute) -> JsonObject:
    """A kind that takes any content."""
    group, _, version = custom.api_version.rpartition("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    singular = custom.kind.lower()
    names = {"kind": custom.kind, "listKind": f"{custom.kind}List", "plural": f"{singular}s", "singular": singular}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [{**served, "subresources": {"status": {}}}],
        },
    }


def accepted_status(custom: CustomRoute, body: JsonObject) -> JsonObject | None:
    """The object as its controller would leave it, where the route waits for one; None where it is so, or waits for nothing."""
    values: dict[str, Json] = {}
    if custom.observed_generation:
        values[custom.observed_generation] = body["metadata"].get("generation", 1)
    if custom.accepted:
        values[custom.accepted] = json.loads(custom.accepted_value)
    made: JsonObject = with_places(body, values)
    return made if made != body else None
