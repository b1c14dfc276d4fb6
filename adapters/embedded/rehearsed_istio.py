"""The Istio objects that a deploy file relies on and does not ship, as their users would have them before a rehearsal. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from adapters.embedded.istio_definitions import ISTIO_GROUP, ISTIO_VERSIONS
from adapters.embedded.json_objects import JsonObject
from engine.model import TargetPlan
from engine.traffic import IstioProtocol, IstioRoute, RoutePlan

ACTIVE = "active"
"""The name of a subset that the file leaves to be found."""


def istio_objects_of(target: TargetPlan) -> list[JsonObject]:
    """One object for each name; those that the manifests hold are among them too."""
    routes = [route for route in target.routes if route.istio is not None]
    objects: dict[tuple[str, str], JsonObject] = {}
    for route in routes:
        for body in (*_services(target, route), *_rule(target, route)):
            objects.setdefault((body["kind"], body["metadata"]["name"]), body)
    for name in dict.fromkeys(route.istio.virtual_service for route in routes if route.istio is not None):
        body = _virtual_service(target, name, [route for route in routes if route.istio and route.istio.virtual_service == name])
        objects[body["kind"], name] = body
    return list(objects.values())


def _services(target: TargetPlan, route: RoutePlan) -> Iterator[JsonObject]:
    names = [route.stable_service, route.canary_service] if route.stable_service else [route.workload]
    template = next(json.loads(one.manifest)["spec"]["template"] for one in target.workloads if one.name == route.workload)
    ports = [port for one in template["spec"]["containers"] for port in one.get("ports") or ()]
    numbers = [int(port["containerPort"]) for port in ports] or [80]
    for name in names:
        spec = {
            "selector": template["metadata"]["labels"],
            "ports": [{"name": f"port-{number}", "port": number, "targetPort": number} for number in numbers],
        }
        yield {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(target, name), "spec": spec}


def _rule(target: TargetPlan, route: RoutePlan) -> Iterator[JsonObject]:
    if route.istio is not None and route.istio.destination_rule:
        spec = {"host": route.workload, "subsets": [{"name": route.istio.active_subset or ACTIVE}]}
        yield _object(target, "DestinationRule", route.istio.destination_rule, spec)


def _virtual_service(target: TargetPlan, name: str, routes: Iterable[RoutePlan]) -> JsonObject:
    spec: JsonObject = {"hosts": []}
    for route in routes:
        assert route.istio is not None
        host = route.stable_service or route.workload
        spec["hosts"] = sorted({*spec["hosts"], host})
        spec.setdefault(route.istio.protocol.value, []).append(_list(route.istio, host))
    return _object(target, "VirtualService", name, spec)


def _list(place: IstioRoute, host: str) -> JsonObject:
    subset = {"subset": place.active_subset or ACTIVE} if place.destination_rule else {}
    listed: JsonObject = {"route": [{"destination": {"host": host, **subset}}]}
    if place.protocol is IstioProtocol.HTTP:
        return {**({"name": place.http_route} if place.http_route else {}), **listed}
    match: JsonObject = {"port": place.port} if place.port else {}
    if place.protocol is IstioProtocol.TLS:
        match["sniHosts"] = list(place.sni_hosts) or [host]
    return {"match": [match], **listed}


def _object(target: TargetPlan, kind: str, name: str, spec: JsonObject) -> JsonObject:
    api_version = f"{ISTIO_GROUP}/{ISTIO_VERSIONS[0]}"
    return {"apiVersion": api_version, "kind": kind, "metadata": _metadata(target, name), "spec": spec}


def _metadata(target: TargetPlan, name: str) -> JsonObject:
    return {"name": name, "namespace": target.namespace}
