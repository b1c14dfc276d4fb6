"""How requests to a Service are divided by routes of the Gateway API: by a mesh, where the Service is the parent, and by a
gateway, where a route names Services of single versions of it. Of several rules the first that does counts. Reads the storage
only."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.embedded.gateway_definitions import GATEWAY_GROUP, ROUTE_KINDS
from adapters.embedded.istio_traffic import Share
from adapters.embedded.json_objects import JsonObject, items_of, name_of, namespace_of
from adapters.embedded.resources import SERVICES
from adapters.embedded.storage import Storage

_VERSION = "pod-template-hash"


def gateway_shares_of(storage: Storage, namespace: str, service: str) -> list[Share]:
    """Empty where no route is about the Service."""
    for route in _routes(storage, namespace):
        for rule in items_of(route["spec"].get("rules")):
            backends = [one for one in items_of(rule.get("backendRefs")) if one.get("namespace", namespace) == namespace]
            is_parent = any(_is_service(one) and one["name"] == service for one in items_of(route["spec"].get("parentRefs")))
            if is_parent or any(_is_version_of(storage, namespace, one["name"], service) for one in backends):
                return [Share(one["name"], float(one.get("weight", 1))) for one in backends]
    return []


def versions_in_routes(storage: Storage) -> set[tuple[str, str]]:
    """The Services of single versions that routes name, by namespace and name: nobody calls these by themselves."""
    return {
        (namespace_of(route), one["name"])
        for route in _routes(storage, None)
        for rule in items_of(route["spec"].get("rules"))
        for one in items_of(rule.get("backendRefs"))
        if _VERSION in _selector(storage, namespace_of(route), one["name"])
    }


def _is_version_of(storage: Storage, namespace: str, name: str, service: str) -> bool:
    selector, all_of_it = _selector(storage, namespace, name), _selector(storage, namespace, service)
    return _VERSION in selector and {key: value for key, value in selector.items() if key != _VERSION} == all_of_it


def _selector(storage: Storage, namespace: str, name: str) -> dict[str, str]:
    found = storage.peek(SERVICES, namespace, name)
    return (found["spec"].get("selector") or {}) if found is not None else {}


def _routes(storage: Storage, namespace: str | None) -> Iterator[JsonObject]:
    for resource in storage.registry.kinds():
        if resource.group == GATEWAY_GROUP and resource.kind in ROUTE_KINDS:
            yield from sorted(storage.iterate(resource, namespace), key=name_of)


def _is_service(parent: JsonObject) -> bool:
    return parent.get("kind") == "Service"
