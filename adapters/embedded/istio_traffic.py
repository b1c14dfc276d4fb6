"""How requests to a Service are divided by Istio's objects, as the proxies of its callers do it: the first http route counts.
Reads the storage only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.embedded.istio_definitions import ISTIO_GROUP
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.storage import Storage


@dataclass(frozen=True, slots=True)
class Share:
    service: str
    weight: float
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the pods, beside what the Service selects: those of a subset."""


def shares_of(storage: Storage, namespace: str, service: str) -> list[Share]:
    """Empty where no VirtualService is about the Service."""
    for found in _all(storage, "VirtualService", namespace):
        if service not in (_short(str(host), namespace) for host in found["spec"].get("hosts") or ()):
            continue
        routes = found["spec"].get("http") or [{}]
        destinations = routes[0].get("route") or []
        return [_share(storage, namespace, one, len(destinations)) for one in destinations]
    return []


def _share(storage: Storage, namespace: str, one: JsonObject, count: int) -> Share:
    target = one["destination"]
    name = _short(target["host"], namespace)
    labels = _labels(storage, namespace, name, target.get("subset", ""))
    return Share(name, float(one.get("weight", 100 if count == 1 else 0)), labels)


def _labels(storage: Storage, namespace: str, service: str, subset: str) -> Mapping[str, str]:
    for rule in _all(storage, "DestinationRule", namespace) if subset else ():
        if _short(rule["spec"]["host"], namespace) == service:
            found = next((one for one in rule["spec"].get("subsets") or () if one["name"] == subset), None)
            if found is not None:
                labels: Mapping[str, str] = found.get("labels") or {}
                return labels
    return {}


def _all(storage: Storage, kind: str, namespace: str) -> list[JsonObject]:
    resource = next((one for one in storage.registry if (one.group, one.kind) == (ISTIO_GROUP, kind)), None)
    return list(storage.iterate(resource, namespace)) if resource is not None else []


def _short(host: str, namespace: str) -> str:
    name, _, rest = host.partition(".")
    return name if not rest or rest.startswith(f"{namespace}.svc") else host
