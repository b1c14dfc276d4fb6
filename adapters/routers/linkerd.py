"""Linkerd behind a TrafficSplit: what stands in the way of one, and how what its proxies follow is put right where
linkerd-smi does not.

The extension `linkerd-smi` is the one who writes ServiceProfiles. Three things are done here beside it, each where nothing else
would do them: an abort takes the new version's share away whether or not the extension still runs; what somebody else made of the
overrides is put back where that is the rollout's policy; and in the end a profile is as it was found. linkerd-smi has not the
right to delete one, and one that is left over outranks every later HTTPRoute of its Service, so what came with the rollout and
says nothing goes with it.
"""

from __future__ import annotations

import json

from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, NotServed
from adapters.kubernetes.field_owners import is_our_edit
from adapters.kubernetes.paths import PODS, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import put_back
from adapters.kubernetes.recording import WARNING
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject
from adapters.routers.linkerd_profiles import (
    LINKERD_GROUP,
    OVERRIDES_PATH,
    SERVICE_PROFILES,
    SKIP,
    backend_of,
    backends_of,
    beginning,
    canary_share,
    is_empty_without_overrides,
    is_for,
    is_ours,
    is_skipped,
    overrides_at,
    overrides_of,
)
from engine.errors import Rejected
from engine.model import Facts
from engine.traffic import RoutePlan

PROXY = "linkerd-proxy"
ADAPTOR_VERSION = "v1alpha1"
"""The only version of TrafficSplit that linkerd-smi watches."""
GATEWAY_GROUP = "gateway.networking.k8s.io"
POLICY_GROUP = "policy.linkerd.io"
_ROUTES = {GATEWAY_GROUP: ("HTTPRoute", "GRPCRoute"), POLICY_GROUP: ("HTTPRoute",)}
_MOST_NAMED = 3


def permissions(needs: Needs) -> set[Permission]:
    """What a split needs more where the cluster serves ServiceProfiles. Their names end with a domain that is not known."""
    if LINKERD_GROUP not in needs.serves:
        return set()
    found = needs.watch(SERVICE_PROFILES) | needs.all(SERVICE_PROFILES, Verb.LIST, Verb.PATCH, Verb.DELETE)
    for group, kinds in _ROUTES.items():
        for kind in kinds if group in needs.serves else ():
            found |= needs.look_through(ResourceRef(group, "", f"{kind.lower()}s", kind, True))
    return found


# --- the first look ----------------------------------------------------------------------------------------------------


async def are_served(cluster: Cluster) -> bool:
    try:
        await cluster.resource_of(SERVICE_PROFILES.api_version, SERVICE_PROFILES.kind)
    except NotServed:
        return False
    return True


async def record(task: Task, route: RoutePlan, live: JsonObject, served: list[str]) -> Facts:
    """What is kept of the profiles; nothing where the cluster has none. `served`: the versions of TrafficSplit. Raises
    `Rejected` where a split would have no effect, or would silence or destroy something of the user's."""
    if not await are_served(task.cluster):
        return {}
    where = f"route {route.name}"
    if ADAPTOR_VERSION not in served:
        raise Rejected(
            f"{where}: linkerd-smi watches TrafficSplit {ADAPTOR_VERSION}, and the cluster serves only "
            f"{', '.join(sorted(served))}, so a split would have no effect; "
            "install the definition that comes with the extension (linkerd smi install)"
        )
    if route.match_groups:
        raise Rejected(
            f"{where}: linkerd-smi knows no matches, so the split would be of all requests; leave matches out, or set header "
            "routes by a trafficManagement of gatewayApi"
        )
    found = await find_profiles(task, route)
    declared = {one["metadata"]["name"]: one for one in _declared(task, route)}
    for profile in {**{one["metadata"]["name"]: one for one in found}, **declared}.values():
        _check_profile(task, route, profile)
    if not found and not declared:
        await _check_no_route_is_silenced(task, route)
    before = {one["metadata"]["name"]: one["metadata"].get("managedFields") or [] for one in found}
    facts: Facts = {f"{route.name}.profiles": json.dumps({**{name: [] for name in declared}, **before})}
    if warning := await _warn_of_bare_pods(task, route, live):
        facts[WARNING.format(route.name)] = warning
    return facts


def _check_profile(task: Task, route: RoutePlan, profile: JsonObject) -> None:
    name, root, namespace = profile["metadata"]["name"], route.root_service, task.namespace
    where = f"route {route.name}: ServiceProfile {name}"
    if is_skipped(profile):
        raise Rejected(
            f"{where} has the annotation {SKIP}, so a split of {root} would have no effect and no error; take it off "
            f"(kubectl annotate serviceprofile {name} -n {namespace} {SKIP}-) and deploy again"
        )
    if not overrides_of(profile) or is_ours(route, profile, namespace):
        return
    others = " and ".join(dict.fromkeys(backends_of(profile, namespace)))
    raise Rejected(
        f"{where} has dstOverrides to {others}, and no TrafficSplit that they come from: they were written by hand, or are left "
        "from a split that is gone. linkerd-smi would replace them and not put them back; take them out (kubectl patch "
        f"serviceprofile {name} -n {namespace} --type json -p "
        f"'[{{\"op\":\"remove\",\"path\":\"{OVERRIDES_PATH}\"}}]') and deploy again"
    )


async def _check_no_route_is_silenced(task: Task, route: RoutePlan) -> None:
    """A split makes a profile appear, and a profile outranks all routes of its Service."""
    rivals = await routes_to(task.cluster, task.namespace, route.root_service)
    if rivals:
        raise Rejected(
            f"route {route.name}: {' and '.join(rivals)} routes Service {route.root_service}, and would be without effect as "
            "soon as the split makes a ServiceProfile appear; name it in a trafficManagement of gatewayApi instead, or remove it"
        )


async def _warn_of_bare_pods(task: Task, route: RoutePlan, live: JsonObject) -> str:
    labels = (live["spec"]["selector"].get("matchLabels") or {}).items()
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels))
    pods = await task.cluster.list_objects(PODS, task.namespace, labels=selector)
    bare = sorted(pod["metadata"]["name"] for pod in pods if not is_injected(pod))
    if not bare:
        return ""
    return (
        f"{len(bare)} of {len(pods)} pods of Deployment {route.workload} carry no {PROXY} ({', '.join(bare[:_MOST_NAMED])}): "
        "the split is made by the proxies of the callers, but Linkerd measures and encrypts nothing at these pods"
    )


def is_injected(pod: JsonObject) -> bool:
    """Native sidecars are init containers."""
    containers = [one for part in ("containers", "initContainers") for one in pod["spec"].get(part) or ()]
    return any(one["name"] == PROXY for one in containers)


def _declared(task: Task, route: RoutePlan) -> list[JsonObject]:
    """The profiles of the root Service among the manifests."""
    bodies: list[JsonObject] = [json.loads(manifest.content) for manifest in task.spec.plan.manifests]
    kinds = [one for one in bodies if one.get("kind") == SERVICE_PROFILES.kind]
    return [one for one in kinds if is_for(one, route.root_service, task.namespace)]


async def routes_to(cluster: Cluster, namespace: str, service: str) -> list[str]:
    """Routes of the Gateway API, and of Linkerd's own kind, whose parent is the Service. What may not be read, or is not
    served, is left out."""
    found = []
    for group, kinds in _ROUTES.items():
        versions = await cluster.served_versions(group)
        for kind in kinds if versions else ():
            for one in await _objects_of(cluster, namespace, group, versions, kind):
                parents = (one.get("spec") or {}).get("parentRefs") or ()
                if any(parent.get("kind") == "Service" and parent.get("name") == service for parent in parents):
                    suffix = f" ({group})" if group != GATEWAY_GROUP else ""
                    found.append(f"{kind} {one['metadata']['name']}{suffix}")
    return found


async def _objects_of(cluster: Cluster, namespace: str, group: str, versions: list[str], kind: str) -> list[JsonObject]:
    for version in versions:
        try:
            return await cluster.list_objects(await cluster.resource_of(f"{group}/{version}", kind), namespace)
        except ApiError:
            continue
    return []


# --- what is done ------------------------------------------------------------------------------------------------------


def is_followed(task: Task) -> bool:
    """Whether there were ServiceProfiles to be looked at when the route was recorded."""
    return bool(task.fact(task.route.name, "profiles"))


async def find_profiles(task: Task, route: RoutePlan) -> list[JsonObject]:
    found = await task.cluster.list_objects(SERVICE_PROFILES, task.namespace)
    return [one for one in found if is_for(one, route.root_service, task.namespace)]


async def take_down(task: Task) -> str:
    """No share for the canary, whether or not linkerd-smi still runs. What was written, in words."""
    route, namespace, written = task.route, task.namespace, list[str]()
    for profile in await find_profiles(task, route) if is_followed(task) else ():
        if not canary_share(route, profile, namespace):
            continue
        wanted = overrides_at(route, profile, namespace, 0)
        if not is_ours(route, profile, namespace):
            others = [one for one in overrides_of(profile) if backend_of(one, namespace) != route.canary_service]
            wanted = others or wanted
        written.append(await _write(task, profile, wanted))
    return _words(written, "sends nothing to the new version")


async def write_again(task: Task, weight: int) -> bool:
    """Put the overrides back as they were ordered. False where there is no profile to write them to: then whoever makes it has
    to be woken."""
    if not is_followed(task):
        return True
    profiles = await find_profiles(task, task.route)
    for profile in profiles:
        if overrides_of(profile) != (wanted := overrides_at(task.route, profile, task.namespace, weight)):
            await _write(task, profile, wanted)
    return bool(profiles)


async def _write(task: Task, profile: JsonObject, overrides: list[JsonObject]) -> str:
    """Tied to what was read: where linkerd-smi was quicker, it is looked at again."""
    path, value = (OVERRIDES_PATH, overrides) if profile.get("spec") else ("/spec", {"dstOverrides": overrides})
    await task.cluster.patch(SERVICE_PROFILES, profile, [{"op": "add", "path": path, "value": value}])
    return str(profile["metadata"]["name"])


async def put_profiles_back(task: Task) -> str:
    """Once the split is gone: no override to Services that are about to go, and no profile that was not there before and says
    nothing. What else somebody has written into one is kept. What was done, in words."""
    if not is_followed(task):
        return ""
    before, cleared, removed = task.json_fact(task.route.name, "profiles"), list[str](), list[str]()
    for profile in await find_profiles(task, task.route):
        name = profile["metadata"]["name"]
        ours = is_ours(task.route, profile, task.namespace)
        if name not in before and is_empty_without_overrides(profile) and (ours or not overrides_of(profile)):
            await task.cluster.delete(SERVICE_PROFILES, profile)
            removed.append(name)
        elif ours or any(is_our_edit(one) for one in profile["metadata"].get("managedFields") or []):
            change = [{"op": "remove", "path": OVERRIDES_PATH}] if ours else []
            await put_back(task, SERVICE_PROFILES, profile, change, before.get(name, []))
            cleared.append(name)
    words = (_words(cleared, "overrides nothing any more"), _words(removed, "came with the split and is removed"))
    return "; ".join(one for one in words if one)


def _words(names: list[str], what: str) -> str:
    return f"ServiceProfile {' and '.join(names)} {what}" if names else ""


def key_name(route: RoutePlan, namespace: str) -> str:
    """By which the profiles of a route are watched."""
    return beginning(route.root_service, namespace)
