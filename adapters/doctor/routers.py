"""Whether edits of Ingresses, TraefikServices and objects by pointers will have an effect: are they there, do they name the root
Service, does anything else lead around them, and does whoever carries them out understand what will be written?

Sources of the rules: ingress-nginx' documentation of its canary annotations and its list of changes (`canary-weight-total` has an
effect in rules since 1.7.0), and Traefik's of weighted TraefikServices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import Forbidden, NotServed
from adapters.kubernetes.paths import DEPLOYMENTS, INGRESSES, ResourceRef
from adapters.kubernetes.templates import JsonObject
from adapters.routers.custom import discover
from adapters.routers.custom_leaves import Leaves
from adapters.routers.ingress_objects import (
    CLASS_ANNOTATION,
    annotations_of,
    find_obstacle,
    is_canary,
    names,
    places_of,
    services_of,
)
from adapters.routers.traefik import GROUPS, KIND, list_of, served_group, traefik_services
from adapters.routers.traefik_lists import find_list
from engine.model import TargetPlan
from engine.traffic import RoutePlan, SetWeight
from strategies.nginx_limits import PREFIX

INGRESS_CLASSES = ResourceRef("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)
NGINX = "k8s.io/ingress-nginx"
CONTROLLER_LABELS = "app.kubernetes.io/name=ingress-nginx,app.kubernetes.io/component=controller"
VERSION_LABEL = "app.kubernetes.io/version"
FINE_SINCE = (1, 7)


async def _find(cluster: Cluster, plan: TargetPlan, resource: ResourceRef, name: str) -> JsonObject | None:
    """As it will be once the manifests are applied."""
    for manifest in plan.manifests:
        if manifest.key == f"{resource.kind}/{name}":
            body: JsonObject = json.loads(manifest.content)
            return body
    return await cluster.find(resource, plan.namespace, name)


def _absent(kind: str, name: str) -> list[Finding]:
    return [problem(f"there is no {kind} {name}; make it, or add it to the manifests")]


# --- ingress-nginx -----------------------------------------------------------------------------------------------------


async def examine_ingress(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    found = await _find(cluster, plan, INGRESSES, route.ingress)
    if found is None:
        return _absent("Ingress", route.ingress)
    if obstacle := find_obstacle(found, route.root_service):
        return [problem(f"Ingress {route.ingress} {obstacle}")]
    return [
        ok(f"Ingress {route.ingress} leads to Service {route.root_service}"),
        *await _of_class(cluster, route, found),
        *_of_affinity(route, found),
        *await _of_others(cluster, plan, route, found),
        *await _of_version(cluster, plan),
    ]


async def _of_class(cluster: Cluster, route: RoutePlan, found: JsonObject) -> list[Finding]:
    name = found["spec"].get("ingressClassName") or annotations_of(found).get(CLASS_ANNOTATION)
    if not name:
        text = f"Ingress {route.ingress} names no class, so the cluster's default one carries it out"
        return [note(f"{text}; see that this is ingress-nginx")]
    try:
        found_class = await cluster.find(INGRESS_CLASSES, None, name)
    except Forbidden:
        text = f"whether the class {name} of Ingress {route.ingress} is that of ingress-nginx is not known"
        return [note(f"{text}: the account may not look at it")]
    controller = (found_class or {}).get("spec", {}).get("controller")
    if controller == NGINX:
        return [ok(f"its class {name} is that of ingress-nginx")]
    told = f"belongs to {controller}" if controller else "is not there"
    text = f"the class {name} of Ingress {route.ingress} {told}"
    return [warning(f"{text}; only who reads the annotations of ingress-nginx divides its traffic")]


def _of_affinity(route: RoutePlan, found: JsonObject) -> Iterator[Finding]:
    annotations = annotations_of(found)
    sticky = annotations.get(f"{PREFIX}affinity") == "cookie"
    if sticky and annotations.get(f"{PREFIX}affinity-canary-behavior", "sticky") == "sticky":
        text = f"Ingress {route.ingress} keeps clients by a cookie, so those of the old version stay there at any weight"
        yield note(f"{text} until its pods go; {PREFIX}affinity-canary-behavior: legacy lets the weight decide")


async def _of_others(cluster: Cluster, plan: TargetPlan, route: RoutePlan, found: JsonObject) -> list[Finding]:
    ours = [one.ingress for one in plan.routes if one.ingress]
    findings: list[Finding] = []
    for other in await cluster.list_objects(INGRESSES, plan.namespace):
        name = other["metadata"]["name"]
        if name in ours or name in (one.split for one in plan.routes):
            continue
        shared = set().union(*(places_of(other, one) for one in services_of(other))) & places_of(found, route.root_service)
        if is_canary(other) and shared:
            text = f"Ingress {name} is a canary beside Ingress {route.ingress} already, and ingress-nginx takes one"
            findings.append(problem(f"{text}; remove it"))
        elif names(other, route.root_service):
            text = f"Ingress {name} leads to Service {route.root_service} too, so it reaches the new version's pods at once"
            findings.append(warning(f"{text}; name it with ingressNginx as well"))
    return findings


async def _of_version(cluster: Cluster, plan: TargetPlan) -> list[Finding]:
    """Only finer weights than a percent need a young controller."""
    if not any(isinstance(step, SetWeight) and step.weight % 100 for step in plan.steps):
        return []
    need = "weights finer than 1 % need ingress-nginx 1.7 or newer: an older one takes them for much more"
    try:
        found = await cluster.list_objects(DEPLOYMENTS, None, labels=CONTROLLER_LABELS)
    except Forbidden:
        return [note(f"{need}; which version runs is not known, as the account may not look")]
    versions = [str(one["metadata"].get("labels", {}).get(VERSION_LABEL, "")) for one in found]
    known = [tuple(map(int, numbers.groups())) for one in versions if (numbers := re.match(r"v?(\d+)\.(\d+)", one))]
    if not known:
        return [note(f"{need}; which version runs is not known")]
    if min(known) < FINE_SINCE:
        return [problem(f"{need}; here is {min(versions)}")]
    return [ok(f"ingress-nginx {min(versions)} takes weights of 0.01 %")]


# --- Traefik, and objects by pointers ----------------------------------------------------------------------------------


async def examine_traefik(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    group = await served_group(cluster)
    if group is None:
        return [problem(f"the cluster serves no {KIND} ({GROUPS[0]}): install Traefik's definitions")]
    found = await _find(cluster, plan, traefik_services(group), route.split)
    if found is None:
        return _absent(KIND, route.split)
    divided = find_list(
        list_of(found) or [], route.root_service, route.stable_service, route.canary_service, plan.namespace
    )
    if isinstance(divided, str):
        return [problem(f"{KIND} {route.split} {divided}")]
    return [ok(f"{KIND} {route.split} leads to Service {route.root_service}")]


async def examine_custom(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    leaves = Leaves(route)
    what = f"{leaves.custom.kind} {leaves.custom.name}"
    try:
        resource = await discover(cluster, plan, route)
    except NotServed as error:
        return [problem(error.message)]
    if leaves.custom.template:
        return [ok(f"{what} can be made: the cluster serves {leaves.custom.kind} ({leaves.custom.api_version})")]
    found = await _find(cluster, plan, resource, leaves.custom.name)
    if found is None:
        return _absent(leaves.custom.kind, leaves.custom.name)
    if obstacle := leaves.find_obstacle(found):
        return [problem(f"{what}{obstacle}")]
    return [ok(f"{what} has both weights")]
