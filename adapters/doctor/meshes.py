"""Whether a split will have an effect: is there a mesh at all, does something else claim the root Service, and Linkerd's traps.

A TrafficSplit has no status. Without a proxy beside the callers, or without the extension that reads splits, every write to it
succeeds and nothing happens. Sources of the rules: the SMI specification, and linkerd-smi's adaptor (what it watches, what it
skips, what it leaves behind).
"""

from __future__ import annotations

from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, Forbidden
from adapters.kubernetes.paths import DEPLOYMENTS, PODS, SERVICES, ResourceRef
from adapters.kubernetes.templates import JsonObject, selects
from adapters.routers.smi import GROUP, VERSIONS, split_resource
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

SERVICE_PROFILES = ResourceRef("linkerd.io", "v1alpha2", "serviceprofiles", "ServiceProfile", True)
SKIP = "smi.linkerd.io/skip"
ADAPTOR_NAMESPACE, ADAPTOR = "linkerd-smi", "smi-adaptor"
ADAPTOR_VERSION = "v1alpha1"
GATEWAY_GROUP = "gateway.networking.k8s.io"
_ROUTES = ("HTTPRoute", "GRPCRoute")


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
        name, root = split["metadata"]["name"], str(split["spec"].get("service", "")).split(".")[0]
        if root == route.root_service:
            findings.append(problem(f"TrafficSplit {name} splits {root} already: of two splits on one root the last writer wins"))
    findings += [
        warning(f"{route_name} routes Service {route.root_service} too; beside a split only one of the two counts")
        for route_name in await _routes_to(cluster, plan.namespace, route.root_service)
    ]
    return findings


async def _splits(cluster: Cluster, namespace: str) -> list[JsonObject]:
    served = await cluster.served_versions(GROUP)
    version = next((one for one in VERSIONS if one in served), None)
    return await cluster.list_objects(split_resource(version), namespace) if version is not None else []


async def _routes_to(cluster: Cluster, namespace: str, service: str) -> list[str]:
    """Gateway API routes whose parent is the Service."""
    if "v1" not in await cluster.served_versions(GATEWAY_GROUP):
        return []
    found = []
    for kind in _ROUTES:
        resource = ResourceRef(GATEWAY_GROUP, "v1", f"{kind.lower()}s", kind, True)
        try:
            routes = await cluster.list_objects(resource, namespace)
        except ApiError:
            continue  # Not every right is there, and none of these is needed for a rollout.
        for one in routes:
            parents = one["spec"].get("parentRefs") or ()
            if any(parent.get("kind") == "Service" and parent.get("name") == service for parent in parents):
                found.append(f"{kind} {one['metadata']['name']}")
    return found


async def examine_ports(cluster: Cluster, plan: TargetPlan, route: RoutePlan, root: JsonObject) -> list[Finding]:
    """The port is the caller's, so a backend has to have the root's numbers. Those that Headgate makes have them."""
    if not route.adopts_canary_service:
        return []
    canary = await cluster.find(SERVICES, plan.namespace, route.canary_service)
    if canary is None:
        return []
    there = {port["port"] for port in canary["spec"].get("ports") or ()}
    lacking = sorted({port["port"] for port in root["spec"].get("ports") or ()} - there)
    if not lacking:
        return []
    ports = ", ".join(map(str, lacking))
    return [problem(f"Service {route.canary_service} lacks port {ports} of {route.root_service}; a split does not change ports")]


# --- Linkerd -----------------------------------------------------------------------------------------------------------


async def examine_linkerd(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    if not await cluster.served_versions(SERVICE_PROFILES.group):
        return []
    return [
        *await _of_version(cluster),
        *await _of_adaptor(cluster),
        *await _of_profiles(cluster, plan.namespace, route.root_service),
    ]


async def _of_version(cluster: Cluster) -> list[Finding]:
    served = await cluster.served_versions(GROUP)
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


async def _of_profiles(cluster: Cluster, namespace: str, root: str) -> list[Finding]:
    try:
        profiles = await cluster.list_objects(SERVICE_PROFILES, namespace)
    except Forbidden:
        return [note(f"the ServiceProfile of {root} could not be looked at: the account may not list serviceprofiles.linkerd.io")]
    own = [one for one in profiles if str(one["metadata"]["name"]).startswith(f"{root}.{namespace}.svc.")]
    return [finding for one in own for finding in await _of_profile(cluster, namespace, root, one)]


async def _of_profile(cluster: Cluster, namespace: str, root: str, profile: JsonObject) -> list[Finding]:
    name, findings = profile["metadata"]["name"], list[Finding]()
    if SKIP in (profile["metadata"].get("annotations") or {}):
        findings.append(problem(f"ServiceProfile {name} has the annotation {SKIP}: a split of {root} has no effect; remove it"))
    if profile["spec"].get("dstOverrides"):
        text = f"ServiceProfile {name} has dstOverrides, which a split of {root} replaces and does not put back"
        findings.append(warning(text))
    for route in await _routes_to(cluster, namespace, root):
        findings.append(warning(f"ServiceProfile {name} outranks {route}, which has no effect as long as the profile exists"))
    return findings
