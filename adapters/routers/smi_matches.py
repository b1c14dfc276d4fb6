"""Which requests a TrafficSplit is about: the HTTPRouteGroups that it names, and which versions of it can name any.

Sources: SMI's specifications of traffic splits (matches, from v1alpha3 on) and of traffic specs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected
from engine.traffic import RoutePlan

SPECS_GROUP = "specs.smi-spec.io"
GROUP_KIND = "HTTPRouteGroup"
MATCHING_VERSIONS = ("v1alpha4", "v1alpha3")
"""Of TrafficSplit. Earlier ones have no field for matches, and drop it."""
_GROUP_VERSIONS = ("v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")


def groups_resource(version: str) -> ResourceRef:
    return ResourceRef(SPECS_GROUP, version, "httproutegroups", GROUP_KIND, True)


def permissions(route: RoutePlan, needs: Needs) -> set[Permission]:
    resource = groups_resource(_GROUP_VERSIONS[0])
    return {one for name in route.match_groups for one in needs.named(resource, name, Verb.GET)}


def matches_of(route: RoutePlan) -> list[JsonObject]:
    """As a split says it."""
    return [{"kind": GROUP_KIND, "name": name} for name in route.match_groups]


def names_in(spec: JsonObject) -> list[str]:
    return [str(one.get("name", "")) for one in spec.get("matches") or []]


async def check_matches(task: Task, route: RoutePlan, version: str, served: Sequence[str]) -> None:
    """Raises `Rejected`."""
    if not route.match_groups:
        return
    if version not in MATCHING_VERSIONS:
        raise Rejected(
            f"route {route.name}: matches need TrafficSplit v1alpha3 or later, and the cluster serves "
            f"{', '.join(sorted(served))}; leave matches out to split all requests, or set header "
            "routes by a trafficManagement of istio or gatewayApi"
        )
    if missing := await missing_groups(task.cluster, task.namespace, route, _declared(task)):
        raise Rejected(f"route {route.name}: {missing}")


async def missing_groups(cluster: Cluster, namespace: str, route: RoutePlan, declared: Sequence[str]) -> str:
    """Which groups neither are live nor among the manifests, in a sentence; empty where there are all."""
    wanted = [name for name in route.match_groups if name not in declared]
    served = await cluster.served_versions(SPECS_GROUP) if wanted else []
    version = next((one for one in _GROUP_VERSIONS if one in served), None)
    if wanted and version is None:
        return f"the cluster serves no {GROUP_KIND} ({SPECS_GROUP}); install the mesh's SMI definitions, or leave matches out"
    for name in wanted:
        if await cluster.find(groups_resource(version or ""), namespace, name) is None:
            return (
                f"there is no {GROUP_KIND} {name} in namespace {namespace}, so the split would be of no requests; make it, or "
                "add it to the manifests"
            )
    return ""


def _declared(task: Task) -> list[str]:
    return declared_groups([manifest.content for manifest in task.spec.plan.manifests])


def declared_groups(contents: Sequence[str]) -> list[str]:
    """The names of the groups among manifests, which are JSON."""
    bodies: list[JsonObject] = [json.loads(one) for one in contents if GROUP_KIND in one]
    return [str(body["metadata"]["name"]) for body in bodies if body.get("kind") == GROUP_KIND]
