"""Whether edits of a VirtualService will have an effect: do its hosts name the Service that callers call, do all requests take
the route that is edited, and is there a proxy that reads it?

A VirtualService is carried out by the proxy of the caller, or by a gateway. Source of the rules: the reference of
`networking.istio.io`, and Istio's documentation of injection and of ambient mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from adapters.doctor import meshes
from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import Forbidden
from adapters.kubernetes.paths import DEPLOYMENTS, ResourceRef
from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_objects import GROUP, destination_rules, place_of, served_version, virtual_services
from adapters.routers.istio_places import destinations_at, find_index, service_of, side_of, words_for
from adapters.routers.istio_subsets import subset_called, subsets_of
from engine.model import TargetPlan
from engine.traffic import RoutePlan

NAMESPACES = ResourceRef("", "v1", "namespaces", "Namespace", False)
INJECTION, REVISION, MODE = "istio-injection", "istio.io/rev", "istio.io/dataplane-mode"
MESH = "mesh"
"""The gateway that stands for all sidecars; without any, it is meant."""


async def examine_istio(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    version = await served_version(cluster)
    if version is None:
        return [problem(f"the cluster serves no VirtualService ({GROUP}): install Istio, or leave trafficManagement out")]
    place = place_of(route)
    found = await _find(cluster, plan, virtual_services(version), place.virtual_service)
    if found is None:
        return [problem(f"there is no VirtualService {place.virtual_service}; make it, or add it to the manifests")]
    findings = list(_of_route(plan, route, found))
    if place.destination_rule:
        rule = await _find(cluster, plan, destination_rules(version), place.destination_rule)
        findings.append(_of_rule(route, rule))
    live = await cluster.find(DEPLOYMENTS, plan.namespace, route.workload)
    mode, injection = await _of_injection(cluster, plan.namespace)
    return [*findings, *injection, *(await meshes.examine_proxies(cluster, plan, route, live) if mode != "ambient" else ())]


async def _find(cluster: Cluster, plan: TargetPlan, resource: ResourceRef, name: str) -> JsonObject | None:
    """As it will be once the manifests are applied."""
    for manifest in plan.manifests:
        if manifest.key == f"{resource.kind}/{name}":
            body: JsonObject = json.loads(manifest.content)
            return body
    return await cluster.find(resource, plan.namespace, name)


def _of_route(plan: TargetPlan, route: RoutePlan, found: JsonObject) -> Iterator[Finding]:
    place = place_of(route)
    index = find_index(found, place)
    if isinstance(index, str):
        yield problem(f"the {words_for(place)} {index}")
        return
    destinations = destinations_at(found, place)
    if not destinations:
        yield problem(f"the {words_for(place)} has no destinations, it redirects or delegates; name another")
        return
    services = {service_of(side_of(one).host, plan.namespace) for one in destinations} - {None}
    yield from _of_hosts(plan, place.virtual_service, found, {one[0] for one in services if one is not None})
    yield from _of_leaks(plan, route, found, {one for one in services if one is not None})


def _of_hosts(plan: TargetPlan, name: str, found: JsonObject, services: set[str]) -> Iterator[Finding]:
    hosts = [str(host) for host in found["spec"].get("hosts") or ()]
    gateways = [str(one) for one in found["spec"].get("gateways") or () if one != MESH]
    called = {one[0] for host in hosts if (one := service_of(host, plan.namespace)) and one[1] == plan.namespace}
    inside = not gateways or MESH in found["spec"].get("gateways", ())
    if inside and ("*" in hosts or called & services):
        yield ok(f"VirtualService {name} directs calls to {', '.join(sorted(called & services) or hosts)}")
    elif gateways:
        text = f"VirtualService {name} directs what comes through {', '.join(gateways)}"
        yield note(f"{text}; whoever calls {', '.join(sorted(services))} from inside reaches the pods of both versions")
    elif not called:
        yield note(f"VirtualService {name} is for {', '.join(hosts)}; only calls to these names are divided")
    else:
        text = f"VirtualService {name} is for {', '.join(hosts)}, and not for {', '.join(sorted(services))}, which it leads to"
        yield warning(f"{text}: callers of that Service are not divided, and reach the pods of both versions")


def _of_leaks(plan: TargetPlan, route: RoutePlan, found: JsonObject, services: set[tuple[str, str]]) -> Iterator[Finding]:
    """Other routes to the same Service, without a subset: to them the new version's pods are pods as all others."""
    place = place_of(route)
    if not place.destination_rule:
        return
    ours = [one.istio for one in plan.routes if one.istio is not None and one.istio.virtual_service == place.virtual_service]
    edited = [id(destinations_at(found, one)) for one in ours]
    for protocol in ("http", "tls", "tcp"):
        for index, other in enumerate(found["spec"].get(protocol) or ()):
            sides = [side_of(one) for one in other.get("route") or () if id(other["route"]) not in edited]
            if any(not side.subset and service_of(side.host, plan.namespace) in services for side in sides):
                name = other.get("name") or f"number {index + 1}"
                text = f"{protocol} route {name} of VirtualService {place.virtual_service} names the Service without a subset"
                yield warning(f"{text}, so it reaches the new version's pods as soon as they are there; name the active one")


def _of_rule(route: RoutePlan, rule: JsonObject | None) -> Finding:
    place = place_of(route)
    name = place.destination_rule
    if rule is None:
        return problem(f"there is no DestinationRule {name}; make it, or add it to the manifests")
    others = [one for one in subsets_of(rule) if one.get("name") != place.canary_subset]
    names = ", ".join(str(one.get("name")) for one in others) or "none"
    if place.active_subset and subset_called(others, place.active_subset) is None:
        return problem(f"DestinationRule {name} has no subset {place.active_subset}; its subsets are: {names}")
    if not place.active_subset and len(others) != 1:
        return problem(f"which subset of DestinationRule {name} serves now cannot be told, there are {names}; name it")
    return ok(f"DestinationRule {name} tells the versions apart by its subset {place.active_subset or names}")


async def _of_injection(cluster: Cluster, namespace: str) -> tuple[str, list[Finding]]:
    """Istio's mode in the namespace: `ambient`, `sidecar`, or nothing."""
    try:
        found = await cluster.find(NAMESPACES, None, namespace)
    except Forbidden:
        text = f"whether Istio injects its proxy in namespace {namespace} is not known"
        return "", [note(f"{text}: the account may not look at it")]
    labels = (found or {"metadata": {}})["metadata"].get("labels") or {}
    if labels.get(MODE) == "ambient":
        text = f"namespace {namespace} is in ambient mode, where only a waypoint carries out a VirtualService"
        return "ambient", [warning(f"{text}; see that its Service uses one (istioctl waypoint list -n {namespace})")]
    if labels.get(INJECTION) == "enabled" or labels.get(REVISION):
        return "sidecar", [ok(f"Istio injects its proxy into the pods of namespace {namespace}")]
    advice = f"kubectl label namespace {namespace} {INJECTION}=enabled"
    return "", [note(f"namespace {namespace} does not ask for Istio's proxy; unless its pods do so themselves: {advice}")]
