"""The kinds of the Gateway API: where routes live, how one is made for a rollout, and what else in a cluster would take from a
route its effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, NotServed
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject
from adapters.routers import linkerd
from adapters.routers.gateway_status import GATEWAY_GROUP, key_of, parents_of
from adapters.routers.linkerd_profiles import LINKERD_GROUP, SERVICE_PROFILES, is_for
from engine.traffic import GatewayParent, GatewayRoute, RoutePlan

VERSIONS = {"HTTPRoute": ("v1", "v1beta1"), "GRPCRoute": ("v1", "v1alpha2")}
"""Newest first. What is read and written here is the same in each."""
TLS_POLICIES = "BackendTLSPolicy"
_TLS_VERSIONS = ("v1", "v1alpha3", "v1alpha2")


def gateway_of(route: RoutePlan) -> GatewayRoute:
    assert route.gateway is not None, f"route {route.name} is none of the Gateway API"
    return route.gateway


def words_for(route: RoutePlan) -> str:
    return f"{gateway_of(route).kind} {gateway_of(route).name}"


def rules_of(found: JsonObject) -> list[JsonObject]:
    rules: list[JsonObject] = (found.get("spec") or {}).get("rules") or []
    return rules


def routes_of(kind: str, version: str) -> ResourceRef:
    return ResourceRef(GATEWAY_GROUP, version, f"{kind.lower()}s", kind, True)


def _tls_policies(version: str = _TLS_VERSIONS[0]) -> ResourceRef:
    return ResourceRef(GATEWAY_GROUP, version, "backendtlspolicies", TLS_POLICIES, True)


async def served_version(cluster: Cluster, kind: str) -> str | None:
    return await _first_served(cluster, kind, VERSIONS[kind])


async def _first_served(cluster: Cluster, kind: str, versions: Iterable[str]) -> str | None:
    for version in versions:
        try:
            await cluster.resource_of(f"{GATEWAY_GROUP}/{version}", kind)
        except NotServed:
            continue
        return version
    return None


# --- a route that is made for the rollout ------------------------------------------------------------------------------


def made_spec(gateway: GatewayRoute, namespace: str) -> JsonObject:
    """All but its rules. With what the cluster would fill in, so that it is read back as it was written."""
    names = {"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}
    return {"parentRefs": [written_parent(one, namespace) for one in gateway.parents], **names}


def written_parent(parent: GatewayParent, namespace: str) -> JsonObject:
    group = "" if parent.kind == "Service" else GATEWAY_GROUP
    more: JsonObject = {"namespace": parent.namespace} if parent.namespace and parent.namespace != namespace else {}
    more |= {"sectionName": parent.section} if parent.section else {}
    more |= {"port": parent.port} if parent.port else {}
    return {"group": group, "kind": parent.kind, "name": parent.name, **more}


def root_backend(route: RoutePlan, port: int) -> JsonObject:
    return {"group": "", "kind": "Service", "name": route.root_service, "port": port, "weight": 1}


def made_route(task: Task, route: RoutePlan, version: str, rules: list[JsonObject]) -> JsonObject:
    gateway = gateway_of(route)
    return {
        "apiVersion": f"{GATEWAY_GROUP}/{version}",
        "kind": gateway.kind,
        "metadata": {
            "name": gateway.name,
            "namespace": task.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGER},
            "annotations": {ROLLOUT_ANNOTATION: task.rollout},
        },
        "spec": {**made_spec(gateway, task.namespace), "rules": rules},
    }


# --- what would take its effect ----------------------------------------------------------------------------------------


def permissions_to_look(route: RoutePlan, needs: Needs) -> set[Permission]:
    found = needs.look_through(_tls_policies())
    if gateway_of(route).is_made:
        found |= needs.look_through(routes_of(gateway_of(route).kind, ""))
    return found | (needs.look_through(SERVICE_PROFILES) if LINKERD_GROUP in needs.serves else set())


def services_among(parents: Iterable[JsonObject], namespace: str) -> list[str]:
    """The Services of the route's own namespace that are parents of it."""
    services = (one for one in parents if one.get("kind") == "Service" and (one.get("namespace") or namespace) == namespace)
    return [str(one["name"]) for one in services]


async def find_profile(cluster: Cluster, namespace: str, services: Iterable[str]) -> str:
    """A ServiceProfile of Linkerd that outranks every route of its Service, in words with what to do; empty where there is
    none."""
    wanted = list(services)
    if not wanted or not await linkerd.are_served(cluster):
        return ""
    for profile in await cluster.list_objects(SERVICE_PROFILES, namespace):
        for service in wanted:
            if is_for(profile, service, namespace):
                name = profile["metadata"]["name"]
                return (
                    f"ServiceProfile {name} outranks all routes of Service {service} as long as it exists, whatever it says, so "
                    f"a weight would have no effect; remove it (kubectl delete serviceprofile {name} -n {namespace})"
                )
    return ""


async def find_rival(cluster: Cluster, resource: ResourceRef, namespace: str, gateway: GatewayRoute) -> str:
    """A route of somebody else's with the parents and hostnames of one that is to be made, in words with what to do; empty where
    there is none. Of two such routes the older one counts, so ours would have no effect."""
    wanted = {key_of(written_parent(one, namespace), namespace) for one in gateway.parents}
    for other in await cluster.list_objects(resource, namespace):
        name = other["metadata"]["name"]
        shared = wanted & {key_of(one, namespace) for one in parents_of(other)}
        if name != gateway.name and shared and _meet(gateway, other):
            return (
                f"{gateway.kind} {name} is for {', '.join(sorted(shared))} already, and of two routes for the same requests the "
                f"older one counts; name that route, without parents, in the place of {gateway.name}"
            )
    return ""


def _meet(gateway: GatewayRoute, other: JsonObject) -> bool:
    """A mesh looks at no hostnames, and a more exact one goes first."""
    theirs = set((other.get("spec") or {}).get("hostnames") or ())
    is_mesh = any(parent.kind == "Service" for parent in gateway.parents)
    return is_mesh or theirs == set(gateway.hostnames) or bool(theirs & set(gateway.hostnames))


async def find_tls_gap(cluster: Cluster, route: RoutePlan, namespace: str) -> str:
    """A BackendTLSPolicy that is for the root Service and not for both versions', which a gateway would call without TLS; in
    words with what to do, empty where there is none."""
    version = await _first_served(cluster, TLS_POLICIES, _TLS_VERSIONS)
    try:
        policies = await cluster.list_objects(_tls_policies(version), namespace) if version is not None else []
    except ApiError:
        return ""
    for policy in policies:
        targets = set(_targets(policy))
        missing = [name for name in (route.stable_service, route.canary_service) if name not in targets]
        if route.root_service in targets and missing:
            name, told = policy["metadata"]["name"], " and ".join(missing)
            return (
                f"{TLS_POLICIES} {name} is for Service {route.root_service} and not for {told}, which would be called without "
                "TLS; add them to its targetRefs, they need not exist"
            )
    return ""


def _targets(policy: JsonObject) -> Iterator[str]:
    spec = policy.get("spec") or {}
    for target in (*(spec.get("targetRefs") or ()), *([spec["targetRef"]] if spec.get("targetRef") else ())):
        if target.get("kind") == "Service":
            yield str(target["name"])
