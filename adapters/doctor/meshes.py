"""Whether a split will have an effect: is there a mesh at all, does something else claim the root Service, and Linkerd's traps.

A TrafficSplit has no status. Without a proxy beside the callers, or without the extension that reads splits, every write to it
succeeds and nothing happens. Sources of the rules: the SMI specification, and linkerd-smi's adaptor (what it watches, what it
skips, what it leaves behind).
"""

from __future__ import annotations

from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import Forbidden
from adapters.kubernetes.paths import DEPLOYMENTS, PODS, SERVICES
from adapters.kubernetes.templates import JsonObject, selects
from adapters.routers.linkerd import ADAPTOR_VERSION, routes_to
from adapters.routers.linkerd_profiles import SERVICE_PROFILES, SKIP, is_empty_without_overrides, is_for, is_ours
from adapters.routers.smi import GROUP, VERSIONS, ports_of, split_resource, splits
from adapters.routers.smi_matches import MATCHING_VERSIONS, declared_groups, missing_groups
from engine.model import TargetPlan
from engine.traffic import RoutePlan

PROXIES = {
    "linkerd-proxy": "Linkerd",
    "istio-proxy": "Istio",
    "kuma-sidecar": "Kuma",
    "consul-dataplane": "Consul",
    "envoy": "an Envoy",
}
"""The names of the containers that meshes add to pods."""

ADAPTOR_NAMESPACE, ADAPTOR = "linkerd-smi", "smi-adaptor"


def proxy_of(pod: JsonObject) -> str | None:
    """The mesh whose proxy the pod carries. Native sidecars are init containers."""
    spec = pod["spec"]
    names = [one["name"] for part in ("containers", "initContainers") for one in spec.get(part) or ()]
    return next((PROXIES[name] for name in names if name in PROXIES), None)


async def examine_proxies(cluster: Cluster, plan: TargetPlan, route: RoutePlan, live: JsonObject | None) -> list[Finding]:
    pods = await cluster.list_objects(PODS, plan.namespace)
    if not pods:
        return [note(f"namespace {plan.namespace} has no pods yet, so whether they will carry a mesh proxy is not known")]
    meshed = [one for one in pods if proxy_of(one)]
    if not meshed:
        return [
            problem(
                f"no pod in namespace {plan.namespace} carries a mesh proxy: without one beside its callers a split has no "
                "effect. Inject the mesh (Headgate never does), or leave trafficManagement out to shift by the ratio of pods"
            )
        ]
    selector = live["spec"]["selector"] if live is not None else None
    own = [one for one in pods if selector and selects(selector, one["metadata"].get("labels") or {})]
    bare = [one["metadata"]["name"] for one in own if not proxy_of(one)]
    if bare:
        few = ", ".join(sorted(bare)[:3])
        return [warning(f"{len(bare)} of {len(own)} pods of Deployment {route.workload} carry no mesh proxy: {few}")]
    kinds = sorted({kind for one in meshed if (kind := proxy_of(one))})
    return [
        ok(f"{len(meshed)} of {len(pods)} pods in namespace {plan.namespace} carry a proxy of {' and '.join(kinds)}"),
        note(f"only callers with a proxy of their own are split; whoever else calls {_called(route)} reaches all its pods"),
    ]


def _called(route: RoutePlan) -> str:
    return route.root_service or route.stable_service or "the Service"


async def examine_claims(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    """Who else directs the root Service's traffic."""
    findings = []
    for split in await _splits(cluster, plan.namespace):
        if splits(split, route.root_service, plan.namespace):
            name, root = split["metadata"]["name"], route.root_service
            findings.append(problem(f"TrafficSplit {name} splits {root} already: of two splits on one root the last writer wins"))
    findings += [
        warning(f"{route_name} routes Service {route.root_service} too; beside a split only one of the two counts")
        for route_name in await routes_to(cluster, plan.namespace, route.root_service)
    ]
    return findings


async def _splits(cluster: Cluster, namespace: str) -> list[JsonObject]:
    served = await cluster.served_versions(GROUP)
    version = next((one for one in VERSIONS if one in served), None)
    return await cluster.list_objects(split_resource(version), namespace) if version is not None else []


async def examine_matches(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    """Whether the requests that a split is limited to are described somewhere, and whether it can be limited at all."""
    if not route.match_groups:
        return []
    served, names = await cluster.served_versions(GROUP), ", ".join(route.match_groups)
    if not set(MATCHING_VERSIONS) & set(served):
        there = ", ".join(served) or "none"
        return [problem(f"matches ({names}) need TrafficSplit v1alpha3 or later, and the cluster serves {there}; leave them out")]
    declared = declared_groups([manifest.content for manifest in plan.manifests])
    if missing := await missing_groups(cluster, plan.namespace, route, declared):
        return [problem(missing)]
    return [
        note(
            f"requests that match none of {names} go to Service {route.root_service}, which selects the pods of both versions "
            "while there are both"
        )
    ]


async def examine_ports(cluster: Cluster, plan: TargetPlan, route: RoutePlan, root: JsonObject) -> list[Finding]:
    """The port is the caller's, so a backend has to have the root's numbers. Those that Headgate makes have them."""
    if not route.adopts_canary_service:
        return []
    canary = await cluster.find(SERVICES, plan.namespace, route.canary_service)
    if canary is None:
        return []
    lacking = sorted(ports_of(root) - ports_of(canary))
    if not lacking:
        return []
    ports = ", ".join(map(str, lacking))
    return [problem(f"Service {route.canary_service} lacks port {ports} of {route.root_service}; a split does not change ports")]


# --- Linkerd -----------------------------------------------------------------------------------------------------------


async def examine_linkerd(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    if not await cluster.served_versions(SERVICE_PROFILES.group):
        return []
    return [
        *await _of_version(cluster, route),
        *await _of_adaptor(cluster),
        *await _of_profiles(cluster, plan.namespace, route),
    ]


async def _of_version(cluster: Cluster, route: RoutePlan) -> list[Finding]:
    served = await cluster.served_versions(GROUP)
    if route.match_groups:
        return [problem(f"Linkerd's SMI extension knows no matches, and the split of {route.root_service} has some")]
    if not served or ADAPTOR_VERSION in served:
        return []
    text = f"Linkerd's SMI extension watches TrafficSplit {ADAPTOR_VERSION}, and the cluster serves only {', '.join(served)}"
    return [problem(f"{text}: splits have no effect; install the definition that comes with the extension")]


async def _of_adaptor(cluster: Cluster) -> list[Finding]:
    advice = "from Linkerd 2.12 on, splits have no effect without it (linkerd smi install)"
    where = f"{ADAPTOR_NAMESPACE}/{ADAPTOR}"
    try:
        found = await cluster.find(DEPLOYMENTS, ADAPTOR_NAMESPACE, ADAPTOR)
    except Forbidden:
        return [note(f"whether Linkerd's SMI extension runs is not known: the account may not look at {where}; {advice}")]
    if found is None:
        return [warning(f"Linkerd's SMI extension was not found at {where}; {advice}")]
    if not found.get("status", {}).get("availableReplicas"):
        return [problem(f"Linkerd's SMI extension ({where}) has no available pod; {advice}")]
    return [ok(f"Linkerd's SMI extension runs ({where})")]


async def _of_profiles(cluster: Cluster, namespace: str, route: RoutePlan) -> list[Finding]:
    root = route.root_service
    try:
        profiles = await cluster.list_objects(SERVICE_PROFILES, namespace)
    except Forbidden:
        return [note(f"the ServiceProfile of {root} could not be looked at: the account may not list serviceprofiles.linkerd.io")]
    own, rivals = [one for one in profiles if is_for(one, root, namespace)], await routes_to(cluster, namespace, root)
    if not own:
        return [
            problem(f"a split of {root} makes a ServiceProfile appear, which outranks {one}: use trafficManagement of gatewayApi")
            for one in rivals
        ]
    return [finding for one in own for finding in _of_profile(namespace, route, one, rivals)]


def _of_profile(namespace: str, route: RoutePlan, profile: JsonObject, rivals: list[str]) -> list[Finding]:
    name, root, findings = profile["metadata"]["name"], route.root_service, list[Finding]()
    overrides = (profile.get("spec") or {}).get("dstOverrides")
    if SKIP in (profile["metadata"].get("annotations") or {}):
        findings.append(problem(f"ServiceProfile {name} has the annotation {SKIP}: a split of {root} has no effect; remove it"))
    if overrides and not is_ours(route, profile, namespace):
        text = f"ServiceProfile {name} has dstOverrides, which a split of {root} replaces and does not put back; take them out"
        findings.append(problem(text))
    for rival in rivals:
        findings.append(warning(f"ServiceProfile {name} outranks {rival}, which has no effect as long as the profile exists"))
    if not overrides and is_empty_without_overrides(profile):
        text = f"ServiceProfile {name} says nothing, maybe left by a split; as long as it exists it outranks routes of {root}"
        findings.append(note(text))
    return findings
