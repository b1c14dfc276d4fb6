"""EndpointSlices and Endpoints: which pods a Service's selector finds, and which of them are ready to be sent requests."""

from __future__ import annotations

import json
from collections import defaultdict

from adapters.embedded.controllers import Key
from adapters.embedded.errors import AlreadyExists
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, labels_of, metadata_of, name_of, namespace_of
from adapters.embedded.kubelet import NODE, PORTS_ANNOTATION
from adapters.embedded.ownership import owner_reference
from adapters.embedded.replicaset_controller import is_ready
from adapters.embedded.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Resource
from adapters.embedded.storage import Storage

SERVICE_LABEL = "kubernetes.io/service-name"

Ports = tuple[tuple[str, int, str], ...]
"""(name, port, protocol) of each port of a Service, as these pods serve them."""


class EndpointController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "endpoints"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._services: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace, name = namespace_of(event.object), name_of(event.object)
        if event.resource.storage_key == SERVICES.storage_key:
            self._services[namespace][name] = event.object["spec"].get("selector") or {}
            return [(namespace, name)]
        if event.resource.storage_key != PODS.storage_key:
            return []
        versions = [event.object] if event.previous is None else [event.object, event.previous]
        labels = [labels_of(version) for version in versions]
        return [
            (namespace, service)
            for service, selector in self._services[namespace].items()
            if selector and any(selector.items() <= one.items() for one in labels)
        ]

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        service = self._storage.peek(SERVICES, namespace, name)
        if service is None:
            self._services[namespace].pop(name, None)
            for resource in (ENDPOINTS, ENDPOINT_SLICES):
                for found in self._belonging(resource, key):
                    self._storage.discard(resource, namespace, name_of(found))
            return None
        selector = service["spec"].get("selector")
        if not selector:
            return None
        pods = [one for one in self._storage.iterate(PODS, namespace) if selector.items() <= labels_of(one).items()]
        addressed = [one for one in pods if one.get("status", {}).get("podIP")]
        self._write_slices(service, _by_ports(service, addressed))
        self._put(ENDPOINTS, _endpoints(service, _by_ports(service, addressed)))
        return None

    def _belonging(self, resource: Resource, key: Key) -> list[JsonObject]:
        namespace, name = key
        if resource is ENDPOINTS:
            found = self._storage.peek(ENDPOINTS, namespace, name)
            return [found] if found is not None else []
        slices = self._storage.iterate(ENDPOINT_SLICES, namespace)
        return [one for one in slices if labels_of(one).get(SERVICE_LABEL) == name]

    def _write_slices(self, service: JsonObject, groups: dict[Ports, list[JsonObject]]) -> None:
        wanted = [_slice(service, ports, pods, index) for index, (ports, pods) in enumerate(sorted(groups.items()))]
        wanted = wanted or [_slice(service, (), [], 0)]
        names = {name_of(one) for one in wanted}
        for found in self._belonging(ENDPOINT_SLICES, (namespace_of(service), name_of(service))):
            if name_of(found) not in names:
                self._storage.discard(ENDPOINT_SLICES, namespace_of(found), name_of(found))
        for one in wanted:
            self._put(ENDPOINT_SLICES, one)

    def _put(self, resource: Resource, body: JsonObject) -> None:
        there = self._storage.peek(resource, namespace_of(body), name_of(body))
        if there is None:
            try:
                self._storage.create(resource, body)
            except AlreadyExists:
                return
        else:
            same = {key: value for key, value in body.items() if key != "metadata"}
            if any(there.get(key) != value for key, value in same.items()):
                self._storage.update(resource, {**there, **same})


def _by_ports(service: JsonObject, pods: list[JsonObject]) -> dict[Ports, list[JsonObject]]:
    """Pods that serve the Service's ports under the same numbers: one slice has one set of ports."""
    groups: dict[Ports, list[JsonObject]] = defaultdict(list)
    for pod in pods:
        groups[_ports(service, pod)].append(pod)
    return groups


def _ports(service: JsonObject, pod: JsonObject) -> Ports:
    actual = json.loads((metadata_of(pod).get("annotations") or {}).get(PORTS_ANNOTATION, "{}"))
    found = []
    for port in service["spec"].get("ports") or ():
        number = _container_port(port, pod)
        if number is not None:
            found.append((port.get("name", ""), int(actual.get(str(number), number)), port.get("protocol", "TCP")))
    return tuple(found)


def _container_port(port: JsonObject, pod: JsonObject) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for one in container.get("ports") or ():
            if one.get("name") == target:
                number: int = one["containerPort"]
                return number
    return None


def _slice(service: JsonObject, ports: Ports, pods: list[JsonObject], index: int) -> JsonObject:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name_of(service)}-{index}",
            "namespace": namespace_of(service),
            "labels": {SERVICE_LABEL: name_of(service)},
            "ownerReferences": [owner_reference(SERVICES, service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports],
    }


def _endpoint(pod: JsonObject) -> JsonObject:
    terminating = bool(metadata_of(pod).get("deletionTimestamp"))
    ready = is_ready(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready and not terminating, "serving": ready, "terminating": terminating},
        "nodeName": NODE,
        "targetRef": _reference(pod),
    }


def _reference(pod: JsonObject) -> JsonObject:
    return {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": metadata_of(pod)["uid"]}


def _endpoints(service: JsonObject, groups: dict[Ports, list[JsonObject]]) -> JsonObject:
    subsets = []
    for ports, pods in sorted(groups.items()):
        subset: JsonObject = {}
        for name, wanted in (("addresses", True), ("notReadyAddresses", False)):
            found = [pod for pod in pods if (is_ready(pod) and not metadata_of(pod).get("deletionTimestamp")) is wanted]
            if found:
                subset[name] = [
                    {"ip": pod["status"]["podIP"], "nodeName": NODE, "targetRef": _reference(pod)} for pod in found
                ]
        subset["ports"] = [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports]
        subsets.append(subset)
    metadata = {"name": name_of(service), "namespace": namespace_of(service)}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
