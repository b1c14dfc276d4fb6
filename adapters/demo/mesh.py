"""The demo's mesh: Envoy is kept as the cluster's TrafficSplits and EndpointSlices say, as a mesh's control plane does."""

from __future__ import annotations

import anyio

from adapters.dataplane.envoy import Envoy
from adapters.embedded.endpoint_slices import SERVICE_LABEL
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, labels_of, name_of
from adapters.embedded.known_crds import SMI_SPLIT_GROUP
from adapters.embedded.resources import ENDPOINT_SLICES, SERVICES
from adapters.embedded.storage import Storage

Endpoint = tuple[str, int]


class Mesh:
    """`run` is its task. Level-triggered: a change wakes it, and it brings Envoy to what the cluster says now."""

    def __init__(self, storage: Storage, envoy: Envoy, namespace: str) -> None:
        self._storage = storage
        self._envoy = envoy
        self._namespace = namespace
        self._changed = anyio.Event()
        self._applied = anyio.Event()
        self._known: dict[str, tuple[Endpoint, ...]] = {}
        self._splits: set[str] = set()
        storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        if event.resource.plural in ("trafficsplits", "endpointslices", "services"):
            self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed = anyio.Event()
            await self._follow()
            self._applied.set()
            self._applied = anyio.Event()
            await self._changed.wait()

    async def leave(self, endpoint: Endpoint) -> None:
        """Wait until Envoy sends nothing new to this address."""
        while any(endpoint in endpoints for endpoints in self._known.values()):
            await self._applied.wait()

    async def _follow(self) -> None:
        endpoints = {name_of(one): () for one in self._storage.iterate(SERVICES, self._namespace)} | self._endpoints()
        splits = self._wanted_splits()
        for backends in splits.values():
            for service, _ in backends:
                endpoints.setdefault(service, ())
        for service, addresses in endpoints.items():
            await self._envoy.set_endpoints(service, addresses)
        for root in self._splits - splits.keys():
            await self._envoy.remove_routes(root)
        for root, backends in splits.items():
            await self._envoy.set_routes(root, backends)
        for service in self._known.keys() - endpoints.keys():
            await self._envoy.remove_service(service)
        await self._envoy.wait_applied()
        self._known, self._splits = dict(endpoints), set(splits)

    def _endpoints(self) -> dict[str, tuple[Endpoint, ...]]:
        found: dict[str, list[Endpoint]] = {}
        for one in self._storage.iterate(ENDPOINT_SLICES, self._namespace):
            ready = found.setdefault(labels_of(one)[SERVICE_LABEL], [])
            for port in one.get("ports") or ():
                ready.extend((address, port["port"]) for address in _ready_addresses(one))
        return {service: tuple(sorted(addresses)) for service, addresses in found.items()}

    def _wanted_splits(self) -> dict[str, list[tuple[str, int]]]:
        resource = next(one for one in self._storage.registry if one.group == SMI_SPLIT_GROUP)
        splits = self._storage.iterate(resource, self._namespace)
        return {one["spec"]["service"]: _backends(one) for one in splits}


def _ready_addresses(one: JsonObject) -> list[str]:
    ready = (endpoint for endpoint in one.get("endpoints") or () if endpoint["conditions"].get("ready"))
    return [address for endpoint in ready for address in endpoint["addresses"]]


def _backends(split: JsonObject) -> list[tuple[str, int]]:
    return [(backend["service"], int(backend["weight"])) for backend in split["spec"]["backends"]]
