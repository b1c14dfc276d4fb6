"""EndpointSlices and Endpoints: which pods a Service's selector finds, and which of them are ready to be sent requests."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_address

from adapters.embedded import endpoint_slices as slices
from adapters.embedded.controllers import Key
from adapters.embedded.endpoint_slices import PortKey
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, labels_of, metadata_of, name_of, namespace_of
from adapters.embedded.kubelet import PORTS_ANNOTATION
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from adapters.embedded.storage import Storage

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"


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
            self._storage.discard(ENDPOINTS, namespace, name)  # Slices have an owner, and are collected with it.
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None  # Whoever made it so looks after its endpoints.
        pods = [one for one in self._storage.iterate(PODS, namespace) if selector.items() <= labels_of(one).items()]
        if not metadata_of(service).get("deletionTimestamp"):
            self._write_slices(service, pods)
        self._write_endpoints(service, pods)
        return None

    # --- slices --------------------------------------------------------------------------------------------------------

    def _write_slices(self, service: JsonObject, pods: list[JsonObject]) -> None:
        desired = _by_ports(service, [pod for pod in pods if slices.is_published(pod, terminating=True)])
        existing, unwanted = self._slices_of(service)
        created: list[JsonObject] = []
        for ports, found in desired.items():
            there = existing.pop(ports, {})
            endpoints = [slices.endpoint_of(service, pod) for pod in found]
            packing = slices.pack({name: one.get("endpoints") or () for name, one in there.items()}, endpoints)
            for name, kept in packing.kept.items():
                self._put_slice(service, there[name], {**there[name], "endpoints": kept})
            unwanted += [there[name] for name in packing.emptied]
            created += [slices.new_slice(service, ports, one) for one in packing.new]
        unwanted += [one for group in existing.values() for one in group.values()]
        if not desired:
            created.append(slices.new_slice(service, (), []))
        self._make_of(service, created, unwanted)

    def _slices_of(self, service: JsonObject) -> tuple[dict[PortKey, dict[str, JsonObject]], list[JsonObject]]:
        """This Service's slices by their ports and names, and those of a Service that had its name before."""
        mine: dict[PortKey, dict[str, JsonObject]] = defaultdict(dict)
        foreign = []
        for one in self._storage.iterate(ENDPOINT_SLICES, namespace_of(service)):
            labels = labels_of(one)
            if labels.get(slices.SERVICE_LABEL) != name_of(service) or labels.get(slices.MANAGED_BY_LABEL) != slices.MANAGER:
                continue
            owners = metadata_of(one).get("ownerReferences") or ()
            if any(owner["uid"] == metadata_of(service)["uid"] for owner in owners):
                mine[_key_of(one)][name_of(one)] = one
            else:
                foreign.append(one)
        return mine, foreign

    def _make_of(self, service: JsonObject, created: list[JsonObject], unwanted: list[JsonObject]) -> None:
        """A slice that is no longer wanted becomes one that is: the real controller saves the deletion."""
        uid = metadata_of(service)["uid"]
        reusable = [one for one in unwanted if any(o["uid"] == uid for o in metadata_of(one).get("ownerReferences") or ())]
        for body in reversed(created):
            if not reusable:
                self._storage.create(ENDPOINT_SLICES, body)
                continue
            there = reusable.pop(0)
            unwanted.remove(there)
            self._put_slice(service, there, {**there, "endpoints": body["endpoints"], "ports": body["ports"]})
        for one in unwanted:
            self._storage.discard(ENDPOINT_SLICES, namespace_of(one), name_of(one))

    def _put_slice(self, service: JsonObject, there: JsonObject, wanted: JsonObject) -> None:
        changed = {**wanted, "metadata": {**metadata_of(there), "labels": slices.slice_labels(service)}}
        if changed != there:
            self._storage.update(ENDPOINT_SLICES, changed)

    # --- Endpoints -----------------------------------------------------------------------------------------------------

    def _write_endpoints(self, service: JsonObject, pods: list[JsonObject]) -> None:
        wanted = _endpoints(service, pods)
        there = self._storage.peek(ENDPOINTS, namespace_of(service), name_of(service))
        if there is None:
            self._storage.create(ENDPOINTS, wanted)
            return
        labels = labels_of(wanted)
        if (there.get("subsets") or []) != wanted["subsets"] or labels_of(there) != labels:
            metadata = {**metadata_of(there), "labels": labels}
            self._storage.update(ENDPOINTS, {**there, "metadata": metadata, "subsets": wanted["subsets"]})


def _by_ports(service: JsonObject, pods: list[JsonObject]) -> dict[PortKey, list[JsonObject]]:
    """Pods that serve the Service's ports under the same numbers: one slice has one set of ports."""
    groups: dict[PortKey, list[JsonObject]] = defaultdict(list)
    for pod in pods:
        annotation = (metadata_of(pod).get("annotations") or {}).get(PORTS_ANNOTATION, "")
        groups[slices.ports_of(service, pod, slices.actual_ports(annotation))].append(pod)
    return groups


def _key_of(found: JsonObject) -> PortKey:
    ports = found.get("ports") or ()
    return tuple((p.get("name", ""), p.get("port", 0), p.get("protocol", "TCP"), p.get("appProtocol", "")) for p in ports)


def _endpoints(service: JsonObject, pods: list[JsonObject]) -> JsonObject:
    unready = bool(service["spec"].get("publishNotReadyAddresses"))
    groups = _by_ports(service, [pod for pod in pods if slices.is_published(pod, terminating=unready)])
    subsets = []
    for ports, found in sorted(groups.items()):
        if not ports and (service["spec"].get("ports") or not slices.is_headless(service)):
            continue
        subset: JsonObject = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            chosen = [_address(service, pod) for pod in found if (unready or is_ready(pod)) is wanted]
            if chosen:
                subset[field] = sorted(chosen, key=lambda one: ip_address(one["ip"]))
        if ports:
            subset["ports"] = slices.port_objects(ports, unnamed=False)
        subsets.append(subset)
    labels = {**labels_of(service), MANAGED_BY_LABEL: MANAGER}
    labels.pop(slices.HEADLESS_LABEL, None)
    if slices.is_headless(service):
        labels[slices.HEADLESS_LABEL] = ""
    metadata = {"name": name_of(service), "namespace": namespace_of(service), "labels": labels}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def _address(service: JsonObject, pod: JsonObject) -> JsonObject:
    address: JsonObject = {"ip": pod["status"]["podIP"], "targetRef": slices.reference_to(pod)}
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    if hostname := slices.hostname_of(service, pod):
        address["hostname"] = hostname
    return address
