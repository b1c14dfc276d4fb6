"""A rehearsal: embedded clusters on which a deploy file's application is already live, in an earlier version, under traffic.

For each account that the plan names there is one cluster. In it, the plan's own Deployments run as their predecessors: the same
templates, marked as the previous version and without simulated failures; and the plan's supporting objects are there, as are the
Istio objects that it relies on. So any deploy file can be rehearsed as it is. What the new version will do wrong is written in
its template (`adapters.embedded.pods`, `adapters.embedded.simulated_traffic`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from aiohttp import web

from adapters.embedded.cluster import SPLIT_VERSIONS, EmbeddedCluster, run_embedded_cluster
from adapters.embedded.deployment_status import is_complete
from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.linkerd_definitions import ROUTE_GROUP_VERSIONS, SMI_SPECS_GROUP
from adapters.embedded.pods import PREFIX
from adapters.embedded.rehearsed_istio import istio_objects_of
from adapters.embedded.rehearsed_routers import accepted_status, definition_of, router_objects_of
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NAMESPACES
from adapters.embedded.simulated_traffic import SimulatedTraffic
from engine.clock import Clock
from engine.model import ReleasePlan, TargetPlan
from engine.traffic import CustomRoute

PREVIOUS_MANAGER = "rehearsal"
LINKERD_SPLIT_VERSIONS = ("v1alpha1", "v1alpha2")
START_SECONDS = 30.0
_POLL_SECONDS = 0.02


class RehearsalImpossible(Exception):
    """The previous version cannot be set up; the message says why."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    clusters: dict[str, EmbeddedCluster]
    """By account."""
    metrics_urls: list[str] = field(default_factory=list)
    """Where the statistics of the simulated traffic are read."""


@asynccontextmanager
async def rehearse(
    plan: ReleasePlan, clock: Clock, new_uid: Callable[[], str], *, linkerd: bool = False
) -> AsyncIterator[Rehearsal]:
    """`linkerd`: with its ServiceProfiles, its SMI extension, and TrafficSplit in the versions that it brings."""
    splits = LINKERD_SPLIT_VERSIONS if linkerd else SPLIT_VERSIONS
    async with AsyncExitStack() as stack:
        rehearsal = Rehearsal({})
        controllers = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(controllers.cancel_scope.cancel)
        for account in dict.fromkeys(target.account for target in plan.targets):
            running = run_embedded_cluster(
                clock,
                new_uid,
                split_versions=splits,
                gateway_channel=GatewayChannel.EXPERIMENTAL,
                takes_up_routes=True,
                linkerd=linkerd,
            )
            cluster = await stack.enter_async_context(running)
            rehearsal.clusters[account] = cluster
            for target in plan.targets:
                if target.account == account:
                    install_previous(cluster, target)
            await wait_until_live(cluster, clock)
            custom = [(one.namespace, route.custom) for one in plan.targets for route in one.routes if route.custom is not None]
            if any(route.accepted or route.observed_generation for _, route in custom):
                controllers.start_soon(_accept, cluster, custom, clock, name="what accepts custom routes")
            rehearsal.metrics_urls.append(await stack.enter_async_context(_serve(SimulatedTraffic(cluster.storage))))
        yield rehearsal


async def _accept(cluster: EmbeddedCluster, routes: Sequence[tuple[str, CustomRoute]], clock: Clock) -> None:
    """In the place of the controller of a kind that nobody here knows."""
    while True:
        for namespace, custom in routes:
            resource = cluster.storage.registry.find_kind(custom.api_version, custom.kind)
            found = cluster.storage.find(resource, namespace, custom.name) if resource is not None else None
            if resource is not None and found is not None and (accepted := accepted_status(custom, found)) is not None:
                cluster.storage.update(resource, accepted, manager=PREVIOUS_MANAGER, subresource="status")
        await clock.sleep(_POLL_SECONDS)


async def wait_until_live(cluster: EmbeddedCluster, clock: Clock) -> None:
    """Until every Deployment is complete. Raises `RehearsalImpossible` when that takes too long."""
    try:
        with anyio.fail_after(START_SECONDS):
            while not _is_live(cluster):
                await clock.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise RehearsalImpossible(f"the previous version did not come up within {START_SECONDS:g} s") from error


def install_previous(cluster: EmbeddedCluster, target: TargetPlan, *, tag: str = "") -> None:
    """The target's application as it was before the release; with `tag`, its images had that tag."""
    storage = cluster.storage
    if storage.find(NAMESPACES, None, target.namespace) is None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target.namespace}}
        storage.create(NAMESPACES, body, manager=PREVIOUS_MANAGER)
    for manifest in target.manifests:
        _create(cluster, json.loads(manifest.content))
    for custom in (route.custom for route in target.routes if route.custom is not None):
        is_known = storage.registry.find_kind(custom.api_version, custom.kind) is not None
        if "/" in custom.api_version and not is_known:
            storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition_of(custom), manager=PREVIOUS_MANAGER)
    for body in (*istio_objects_of(target), *_route_groups_of(cluster, target), *router_objects_of(target)):
        _create(cluster, body)
    for workload in target.workloads:
        _create(cluster, _previous(json.loads(workload.manifest), tag))


def _route_groups_of(cluster: EmbeddedCluster, target: TargetPlan) -> list[JsonObject]:
    """The HTTPRouteGroups that splits name, where the cluster has such a thing; those of the manifests were made before."""
    kind = cluster.storage.registry.find_kind(f"{SMI_SPECS_GROUP}/{ROUTE_GROUP_VERSIONS[-1]}", "HTTPRouteGroup")
    names = dict.fromkeys(name for route in target.routes for name in route.match_groups)
    if kind is None:
        return []
    return [
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": target.namespace},
            "spec": {"matches": [{"name": "some", "headers": [{"x-rehearsal": ".+"}]}]},
        }
        for name in names
    ]


def _create(cluster: EmbeddedCluster, body: JsonObject) -> None:
    resource = cluster.storage.registry.find_kind(body["apiVersion"], body["kind"])
    if resource is None:
        raise RehearsalImpossible(
            f"{body['kind']} {body['metadata']['name']}: the embedded cluster has no kind {body['kind']} ({body['apiVersion']})"
        )
    if cluster.storage.find(resource, body["metadata"].get("namespace"), body["metadata"]["name"]) is None:
        cluster.storage.create(resource, body, manager=PREVIOUS_MANAGER)


def _previous(deployment: JsonObject, tag: str) -> JsonObject:
    metadata = deployment["spec"]["template"].setdefault("metadata", {})
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if not key.startswith(PREFIX)}
    metadata["annotations"] = {**annotations, f"{PREFIX}version": "previous"}
    for container in deployment["spec"]["template"]["spec"]["containers"] if tag else ():
        container["image"] = f"{container['image'].rpartition(':')[0]}:{tag}"
    return deployment


def _is_live(cluster: EmbeddedCluster) -> bool:
    return all(is_complete(found, found.get("status") or {}) for found in cluster.storage.iterate(DEPLOYMENTS))


@asynccontextmanager
async def _serve(traffic: SimulatedTraffic) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/metrics", traffic.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()
