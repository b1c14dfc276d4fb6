"""A whole embedded cluster: storage, controllers, one node, and the API server over real HTTP on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.control_plane import ControlPlane, run_control_plane
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
    linkerd: bool = False,
    history: int = 10_000,
) -> AsyncIterator[EmbeddedCluster]:
    """A cluster that serves until the block ends. `split_versions`, `istio_versions`, `traefik_groups`: those of TrafficSplit, of
    Istio's kinds and of TraefikService that are served, maybe none; `linkerd`: with ServiceProfiles, and what makes them of
    splits."""
    installed: list[LinkerdSmi] = []

    def install_linkerd(storage: Storage) -> list[LinkerdSmi]:
        installed.extend([LinkerdSmi(storage, clock)] if linkerd else [])
        return installed

    async with run_control_plane(clock, new_uid, pods=pods, history=history, extend=install_linkerd) as plane:
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
        async with ApiServer(plane.storage) as server:
            yield EmbeddedCluster(plane, server, installed[0] if installed else None)
