"""A whole embedded cluster: storage, controllers, one node, and the API server over real HTTP on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.control_plane import ControlPlane, run_control_plane
from adapters.embedded.controllers import Reconciler
from adapters.embedded.gateway_controller import GatewayController
from adapters.embedded.gateway_definitions import GatewayChannel, gateway_definitions
from adapters.embedded.istio_definitions import ISTIO_VERSIONS, istio_definitions
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.known_crds import traffic_split_definition
from adapters.embedded.linkerd_definitions import (
    ROUTE_GROUP_VERSIONS,
    http_route_group_definition,
    service_profile_definition,
)
from adapters.embedded.linkerd_smi import LinkerdSmi
from adapters.embedded.pods import PodRuntime
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS
from adapters.embedded.server import ApiServer
from adapters.embedded.storage import Storage
from adapters.embedded.traefik_definitions import TRAEFIK_GROUP, traefik_definition
from engine.clock import Clock

SPLIT_VERSIONS = ("v1alpha2", "v1alpha4")


@dataclass(frozen=True, slots=True)
class EmbeddedCluster:
    plane: ControlPlane
    server: ApiServer
    linkerd: LinkerdSmi | None = None
    """Linkerd's SMI extension, where it was asked for."""
    gateway: GatewayController | None = None
    """What takes up routes of the Gateway API, where it was asked for."""

    @property
    def storage(self) -> Storage:
        return self.plane.storage

    def kubeconfig(self) -> JsonObject:
        return self.server.kubeconfig()

    def write_kubeconfig(self, path: Path) -> None:
        """For kubectl and for daemons in other processes. JSON is YAML too."""
        path.write_text(json.dumps(self.kubeconfig(), indent=2), "utf-8")
        path.chmod(0o600)


@asynccontextmanager
async def run_embedded_cluster(
    clock: Clock,
    new_uid: Callable[[], str],
    *,
    pods: PodRuntime | None = None,
    split_versions: Sequence[str] = SPLIT_VERSIONS,
    istio_versions: Sequence[str] = ISTIO_VERSIONS,
    traefik_groups: Sequence[str] = (TRAEFIK_GROUP,),
    gateway_channel: GatewayChannel | None = None,
    takes_up_routes: bool = False,
    linkerd: bool = False,
    history: int = 10_000,
) -> AsyncIterator[EmbeddedCluster]:
    """A cluster that serves until the block ends. `split_versions`, `istio_versions`, `traefik_groups`: those of TrafficSplit, of
    Istio's kinds and of TraefikService that are served, maybe none; `gateway_channel`: with the kinds of the Gateway API, and
    `takes_up_routes`: with a controller that writes their status; `linkerd`: with ServiceProfiles, and what makes them of
    splits."""
    extensions: list[LinkerdSmi] = []
    gateways: list[GatewayController] = []

    def install(storage: Storage) -> list[Reconciler]:
        extensions.extend([LinkerdSmi(storage, clock)] if linkerd else [])
        gateways.extend([GatewayController(storage, clock)] if takes_up_routes else [])
        return [*extensions, *gateways]

    async with run_control_plane(clock, new_uid, pods=pods, history=history, extend=install) as plane:
        if split_versions:
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, traffic_split_definition(split_versions))
        if set(split_versions) & set(ROUTE_GROUP_VERSIONS):
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, http_route_group_definition())
        if linkerd:
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, service_profile_definition())
        for definition in istio_definitions(istio_versions) if istio_versions else ():
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        for group in traefik_groups:
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, traefik_definition(group))
        for definition in gateway_definitions(gateway_channel) if gateway_channel is not None else ():
            plane.storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        async with ApiServer(plane.storage) as server:
            yield EmbeddedCluster(
                plane, server, extensions[0] if extensions else None, gateways[0] if gateways else None
            )
