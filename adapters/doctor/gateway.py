"""Whether a weight in an HTTPRoute or GRPCRoute will have an effect: is the kind served, is the route there, is it taken up by
its parents as it is now, does it name what it may name, and does anything else take its effect?

Sources of the rules: the reference of the Gateway API (route status, ReferenceGrant), and Linkerd's documentation of
ServiceProfiles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, Forbidden, NotServed
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.templates import JsonObject
from adapters.routers.gateway_backends import names
from adapters.routers.gateway_objects import (
    find_profile,
    find_rival,
    find_tls_gap,
    gateway_of,
    routes_of,
    rules_of,
    served_version,
    services_among,
    words_for,
    written_parent,
)
from adapters.routers.gateway_obstacles import find_division, find_obstacle
from adapters.routers.gateway_status import (
    GATEWAY_GROUP,
    find_refusal,
    is_told,
    key_of,
    parents_of,
    refusing_parents,
    why_not_accepted,
)
from engine.model import TargetPlan
from engine.traffic import RoutePlan

_GRANT_VERSIONS = ("v1", "v1beta1")


async def examine_gateway(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    gateway, what = gateway_of(route), words_for(route)
    version = await served_version(cluster, gateway.kind)
    if version is None:
        text = f"the cluster serves no {gateway.kind} ({GATEWAY_GROUP})"
        return [problem(f"{text}: install the definitions of the Gateway API")]
    resource = routes_of(gateway.kind, version)
    if gateway.is_made:
        findings = await _of_one_to_make(cluster, plan, route, resource)
        parents = [written_parent(one, plan.namespace) for one in gateway.parents]
    else:
        found = await _find(cluster, plan, resource, gateway.name)
        if found is None:
            return [problem(f"there is no {what}; make it, or add it to the manifests")]
        findings = [*_of_rules(plan, route, found), *_of_status(found, what), *await _of_grants(cluster, plan, found)]
        parents = parents_of(found)
    findings += await _of_parents(cluster, plan, parents)
    if trap := await find_profile(cluster, plan.namespace, services_among(parents, plan.namespace)):
        findings.append(problem(trap))
    if gap := await find_tls_gap(cluster, route, plan.namespace):
        findings.append(problem(gap))
    return findings


async def _find(cluster: Cluster, plan: TargetPlan, resource: ResourceRef, name: str) -> JsonObject | None:
    """As it will be once the manifests are applied, with what is said of it now."""
    live = await cluster.find(resource, plan.namespace, name)
    for manifest in plan.manifests:
        if manifest.key == f"{resource.kind}/{name}":
            body: JsonObject = json.loads(manifest.content)
            metadata = {**body["metadata"], "namespace": plan.namespace}
            return {**body, "metadata": metadata} if live is None else {**live, "spec": body["spec"]}
    return live


async def _of_one_to_make(cluster: Cluster, plan: TargetPlan, route: RoutePlan, resource: ResourceRef) -> list[Finding]:
    gateway, what = gateway_of(route), words_for(route)
    if await cluster.find(resource, plan.namespace, gateway.name) is not None:
        return [problem(f"there is a {what} already, and one of that name is to be made; name another")]
    if rival := await find_rival(cluster, resource, plan.namespace, gateway):
        return [problem(rival)]
    return [ok(f"{what} can be made")]


def _of_rules(plan: TargetPlan, route: RoutePlan, found: JsonObject) -> Iterator[Finding]:
    gateway, what, rules = gateway_of(route), words_for(route), rules_of(found)
    division = find_division(
        gateway.kind, rules, route.root_service, route.stable_service, route.canary_service, plan.namespace, gateway.rule
    )
    if isinstance(division, str):
        yield problem(f"{what} {division}")
        return
    if obstacle := find_obstacle(division, rules, plan, route.sticky):
        yield problem(f"{what} {obstacle}")
        return
    count = len(division.parts)
    yield ok(f"{what} leads to Service {route.root_service} in {count} rule{'s' if count > 1 else ''}")
    others = sum(any(names(one, route.root_service, plan.namespace) for one in rule.get("backendRefs") or ()) for rule in rules)
    if others > count:
        text = f"{others - count} other rules of {what} lead to Service {route.root_service} too, so they reach the new version's"
        yield warning(f"{text} pods at once; leave ruleName out to have all of them divided")


def _of_status(found: JsonObject, what: str) -> Iterator[Finding]:
    if "resourceVersion" not in found["metadata"]:
        yield note(f"{what} is not live yet, so nobody says anything of it")
        return
    if not is_told(found):
        text = f"no controller says anything of {what}, so a weight would never be taken up"
        yield problem(f"{text}; see that one runs for its parents")
        return
    refused = refusing_parents(found)
    if refusal := find_refusal(found):
        yield problem(f"{what} leads nowhere: {refusal}")
        return
    for key in refused:
        yield note(f"{what} is not accepted at {key}, so no traffic comes by it, and a weight does not wait for it")
    if waits := why_not_accepted(found, refused):
        yield warning(f"not everybody has taken up {what} as it is now: {waits}")
        return
    taken = [key for one in parents_of(found) if (key := key_of(one, found["metadata"]["namespace"])) not in refused]
    yield ok(f"{what} is accepted at {', '.join(taken)}")


async def _of_parents(cluster: Cluster, plan: TargetPlan, parents: list[JsonObject]) -> list[Finding]:
    findings = []
    for parent in parents:
        kind, name, where = parent.get("kind", "Gateway"), str(parent["name"]), parent.get("namespace") or plan.namespace
        if kind != "Gateway" or parent.get("group", GATEWAY_GROUP) != GATEWAY_GROUP:
            continue
        try:
            found = await cluster.find(await cluster.resource_of(f"{GATEWAY_GROUP}/v1", kind), where, name)
        except (Forbidden, NotServed):
            findings.append(note(f"whether there is a Gateway {where}/{name} is not known: the account may not look"))
            continue
        if found is None:
            findings.append(problem(f"there is no Gateway {where}/{name}, which the route is attached to"))
    return findings


async def _of_grants(cluster: Cluster, plan: TargetPlan, found: JsonObject) -> list[Finding]:
    """Backends in other namespaces, which somebody there has to allow."""
    findings = []
    for namespace, name in dict.fromkeys(_strangers(found, plan.namespace)):
        try:
            grants = await _grants(cluster, namespace)
        except ApiError as error:
            findings.append(note(f"whether Service {namespace}/{name} may be named from here is not known: {error}"))
            continue
        if any(_allows(grant, str(found["kind"]), plan.namespace, name) for grant in grants):
            findings.append(ok(f"a ReferenceGrant lets {found['kind']}s of {plan.namespace} name Service {namespace}/{name}"))
        else:
            text = f"no ReferenceGrant of namespace {namespace} lets {found['kind']}s of {plan.namespace} name its Service {name}"
            findings.append(problem(f"{text}, so the route's references are not resolved and no weight counts; make one"))
    return findings


def _strangers(found: JsonObject, namespace: str) -> Iterator[tuple[str, str]]:
    for rule in rules_of(found):
        for one in rule.get("backendRefs") or ():
            if one.get("namespace", namespace) != namespace and one.get("kind", "Service") == "Service":
                yield str(one["namespace"]), str(one["name"])


async def _grants(cluster: Cluster, namespace: str) -> list[JsonObject]:
    for version in _GRANT_VERSIONS:
        try:
            kind = await cluster.resource_of(f"{GATEWAY_GROUP}/{version}", "ReferenceGrant")
        except NotServed:
            continue
        return await cluster.list_objects(kind, namespace)
    return []


def _allows(grant: JsonObject, kind: str, namespace: str, service: str) -> bool:
    origin = {"group": GATEWAY_GROUP, "kind": kind, "namespace": namespace}
    goals = [one for one in grant["spec"]["to"] if (one.get("group", ""), one.get("kind")) == ("", "Service")]
    return origin in grant["spec"]["from"] and any(one.get("name", service) == service for one in goals)
