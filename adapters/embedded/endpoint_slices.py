"""What a Service's selector finds, as endpoints: addresses, ports and conditions, and how they are packed into slices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.embedded.json_objects import JsonObject, decode_json, labels_of, metadata_of, name_of, namespace_of
from adapters.embedded.ownership import owner_reference
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import SERVICES

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
MOST_ENDPOINTS = 100

PortKey = tuple[tuple[str, int, str, str], ...]
"""(name, port, protocol, application protocol) of each port of a Service, as some pods serve them."""


def is_published(pod: JsonObject, *, terminating: bool) -> bool:
    """Whether a pod is among the endpoints at all; with `terminating`, as long as it has not ended."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded") or not status.get("podIP"):
        return False
    return terminating or not metadata_of(pod).get("deletionTimestamp")


def is_headless(service: JsonObject) -> bool:
    return service["spec"].get("clusterIP") in (None, "", "None")


def ports_of(service: JsonObject, pod: JsonObject, actual: Mapping[str, int]) -> PortKey:
    """`actual`: where a container port is really listened on, when that is another port."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = _container_port(port, pod)
        if number is not None:
            number = actual.get(str(number), number)
            found.append((port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol", "")))
    return tuple(found)


def _container_port(port: JsonObject, pod: JsonObject) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    sidecars = [one for one in pod["spec"].get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for container in (*pod["spec"]["containers"], *sidecars):
        for one in container.get("ports") or ():
            if one.get("name") == target and one.get("protocol", "TCP") == port.get("protocol", "TCP"):
                number: int = one["containerPort"]
                return number
    return None


def actual_ports(annotation: str) -> dict[str, int]:
    """The annotation of a runtime whose pods share one address; whatever else somebody wrote there says nothing."""
    try:
        found = decode_json(annotation or "{}")
        return {str(key): int(value) for key, value in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def port_objects(ports: PortKey, *, unnamed: bool) -> list[JsonObject]:
    """`unnamed`: whether a port without a name has an empty one."""
    made = []
    for name, number, protocol, application in ports:
        port: JsonObject = {"port": number, "protocol": protocol}
        if name or unnamed:
            port["name"] = name
        if application:
            port["appProtocol"] = application
        made.append(port)
    return made


def endpoint_of(service: JsonObject, pod: JsonObject) -> JsonObject:
    ending, ready = bool(metadata_of(pod).get("deletionTimestamp")), is_ready(pod)
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    conditions = {"ready": published or (ready and not ending), "serving": ready, "terminating": ending}
    endpoint: JsonObject = {"addresses": [pod["status"]["podIP"]], "conditions": conditions, "targetRef": reference_to(pod)}
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if hostname := hostname_of(service, pod):
        endpoint["hostname"] = hostname
    return endpoint


def hostname_of(service: JsonObject, pod: JsonObject) -> str:
    named = pod["spec"].get("subdomain") == name_of(service)
    return str(pod["spec"].get("hostname", "")) if named else ""


def reference_to(pod: JsonObject) -> JsonObject:
    return {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": metadata_of(pod)["uid"]}


def slice_labels(service: JsonObject) -> dict[str, str]:
    labels = {**labels_of(service), SERVICE_LABEL: name_of(service), MANAGED_BY_LABEL: MANAGER}
    labels.pop(HEADLESS_LABEL, None)
    return labels | ({HEADLESS_LABEL: ""} if is_headless(service) else {})


def new_slice(service: JsonObject, ports: PortKey, endpoints: list[JsonObject]) -> JsonObject:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": slice_labels(service),
            "ownerReferences": [owner_reference(SERVICES, service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": port_objects(ports, unnamed=True),
    }


@dataclass(slots=True)
class Packing:
    """What becomes of the slices of one set of ports: endpoints by the name of the slice, and those of new ones."""

    kept: dict[str, list[JsonObject]] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)
    new: list[list[JsonObject]] = field(default_factory=list)


def pack(existing: Mapping[str, Iterable[JsonObject]], endpoints: Iterable[JsonObject]) -> Packing:
    """An endpoint stays in its slice. New ones fill the slices that change anyhow, then one that has room for all, then new."""
    waiting = {_identity(one): one for one in endpoints}
    packing, changed = Packing(), list[str]()
    for name, found in existing.items():
        before = list(found)
        now = [waiting.pop(key) for one in before if (key := _identity(one)) in waiting]
        if now == before and before:
            packing.kept[name] = now
        elif now:
            packing.kept[name] = now
            changed.append(name)
        else:
            packing.emptied.append(name)
    left = list(waiting.values())
    for name in sorted(changed, key=lambda one: -len(packing.kept[one])):
        _fill(packing.kept[name], left)
    roomy = [one for one in packing.kept.values() if len(one) + len(left) <= MOST_ENDPOINTS]
    if left and roomy:
        _fill(max(roomy, key=len), left)
    while left:
        packing.new.append([])
        _fill(packing.new[-1], left)
    return packing


def _fill(into: list[JsonObject], left: list[JsonObject]) -> None:
    room = MOST_ENDPOINTS - len(into)
    into.extend(left[:room])
    del left[:room]


def _identity(endpoint: JsonObject) -> tuple[str, tuple[str, ...]]:
    return (endpoint.get("targetRef") or {}).get("uid", ""), tuple(endpoint["addresses"])
