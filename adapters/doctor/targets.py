"""One target of a deploy file: its namespace, the rights of its account there, its Deployments and its root Services."""

from __future__ import annotations

import json

from adapters.doctor import meshes
from adapters.doctor.findings import Finding, note, ok, problem
from adapters.doctor.gateway import examine_gateway
from adapters.doctor.istio import examine_istio
from adapters.doctor.routers import examine_custom, examine_ingress, examine_traefik
from adapters.kubernetes.access import AccessReviews, AccessUnknown, required_permissions
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, Forbidden, NotServed
from adapters.kubernetes.paths import DEPLOYMENTS, SERVICES, ResourceRef
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.templates import JsonObject, selects
from engine.model import TargetPlan, WorkloadPlan
from engine.traffic import RoutePlan, RouterKind

NAMESPACES = ResourceRef("", "v1", "namespaces", "Namespace", False)


async def examine_target(cluster: Cluster, plan: TargetPlan, routers: Routers, access: AccessReviews) -> list[Finding]:
    findings: list[Finding] = []
    for look in (_of_namespace(cluster, plan), _of_rights(cluster, plan, routers, access), _of_workloads(cluster, plan)):
        try:
            findings += await look
        except Forbidden as error:
            findings.append(note(f"could not be looked at: {error}"))
        except ApiError as error:
            findings.append(problem(str(error)))
    for route in plan.routes:
        look_at = _OF_ROUTES.get(route.kind)
        if look_at is not None:
            try:
                findings += await look_at(cluster, plan, route)
            except ApiError as error:
                findings.append(note(f"route {route.name} could not be looked at: {error}"))
    return findings


async def _of_namespace(cluster: Cluster, plan: TargetPlan) -> list[Finding]:
    name = plan.namespace
    if await cluster.find(NAMESPACES, None, name) is not None:
        return [ok(f"namespace {name} is there")]
    if any(manifest.key == f"Namespace/{name}" for manifest in plan.manifests):
        return [ok(f"namespace {name} will be made by the manifests")]
    return [problem(f"there is no namespace {name}; make it: kubectl create namespace {name}")]


async def _of_rights(cluster: Cluster, plan: TargetPlan, routers: Routers, access: AccessReviews) -> list[Finding]:
    try:
        wanted = await required_permissions(cluster, plan, routers)
        missing = await access.missing(cluster, wanted)
    except AccessUnknown as error:
        return [note(f"the account may not ask what it may do, so its rights are not known: {error}")]
    except NotServed as error:
        return [problem(str(error))]
    if not missing:
        return [ok(f"all {len(wanted)} rights that the file needs are there")]
    return [problem(f"the account may not {one}") for one in missing]


async def _of_workloads(cluster: Cluster, plan: TargetPlan) -> list[Finding]:
    return [await _of_workload(cluster, plan, workload) for workload in plan.workloads]


async def _of_workload(cluster: Cluster, plan: TargetPlan, workload: WorkloadPlan) -> Finding:
    name = workload.name
    live = await cluster.find(DEPLOYMENTS, plan.namespace, name)
    if live is None:
        return ok(f"Deployment {name} is new: it will be applied at once, as there is nothing to compare it with")
    if json.loads(workload.manifest)["spec"]["selector"] != live["spec"]["selector"]:
        return problem(f"Deployment {name}: the file's selector is not the live one, and a selector cannot be changed")
    wanted, available = live["spec"].get("replicas", 1), live.get("status", {}).get("availableReplicas", 0)
    if live["spec"].get("paused"):
        return note(f"Deployment {name} is paused; it will be paused again after the rollout")
    if available < wanted:
        return note(f"Deployment {name} has {available} of {wanted} pods available: its live version is not healthy by itself")
    return ok(f"Deployment {name} has {available} of {wanted} pods available")


# --- routes ------------------------------------------------------------------------------------------------------------


async def _of_split(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> list[Finding]:
    root = await cluster.find(SERVICES, plan.namespace, route.root_service) or _declared(plan, route)
    if root is None:
        return [problem(f"there is no Service {route.root_service}, the root of the split; make it, or add it to the manifests")]
    live = await cluster.find(DEPLOYMENTS, plan.namespace, route.workload)
    return [
        *_of_root(root, route, live),
        *await meshes.examine_proxies(cluster, plan, route, live),
        *await meshes.examine_claims(cluster, plan, route),
        *await meshes.examine_ports(cluster, plan, route, root),
        *await meshes.examine_matches(cluster, plan, route),
        *await meshes.examine_linkerd(cluster, plan, route),
    ]


def _declared(plan: TargetPlan, route: RoutePlan) -> JsonObject | None:
    for manifest in plan.manifests:
        if manifest.key == f"Service/{route.root_service}":
            body: JsonObject = json.loads(manifest.content)
            return body
    return None


def _of_root(root: JsonObject, route: RoutePlan, live: JsonObject | None) -> list[Finding]:
    name, spec = route.root_service, root["spec"]
    if spec.get("clusterIP") == "None":
        return [problem(f"Service {name} is headless: clients dial its pods, so a split has no effect; give it an IP")]
    selector = spec.get("selector") or {}
    labels = live["spec"]["template"]["metadata"].get("labels") or {} if live is not None else None
    if not selector or (labels is not None and not selects({"matchLabels": selector}, labels)):
        return [problem(f"Service {name} does not select the pods of Deployment {route.workload}; mend its selector")]
    return [ok(f"Service {name} can be split")]


_OF_ROUTES = {
    RouterKind.SMI: _of_split,
    RouterKind.ISTIO: examine_istio,
    RouterKind.GATEWAY_API: examine_gateway,
    RouterKind.INGRESS_NGINX: examine_ingress,
    RouterKind.TRAEFIK: examine_traefik,
    RouterKind.CUSTOM: examine_custom,
}
