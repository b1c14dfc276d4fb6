"""Which Deployment stands behind an `istio` block: the only one, or else the one that its Service selects, which the block names
itself, or its DestinationRule or VirtualService when they are among the manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from strategies.kubernetes_kinds import ObjectKind
from strategies.manifest_objects import ManifestObject
from strategies.suggestions import listed, quote
from strategies.traffic_matching import DeploymentFacts, NoMatch, ServiceFacts, find_workload

VIRTUAL_SERVICE = ObjectKind("networking.istio.io", "VirtualService")
DESTINATION_RULE = ObjectKind("networking.istio.io", "DestinationRule")
_LISTS = ("http", "tls", "tcp")


def shipped(kind: ObjectKind, name: str | None, objects: Iterable[ManifestObject]) -> ManifestObject | None:
    return next((one for one in objects if (one.kind, one.name) == (kind, name)), None)


def find_istio_workload(
    virtual_service: str,
    rule: str | None,
    stable_service: str | None,
    objects: Sequence[ManifestObject],
    deployments: Sequence[DeploymentFacts],
    services: Mapping[str, ServiceFacts],
) -> str | NoMatch:
    if len(deployments) == 1:
        return deployments[0].name
    service = stable_service or _host_of_rule(rule, objects) or _host_of_service(virtual_service, objects)
    if service is not None:
        return find_workload(service, deployments, services)
    names = listed([item.name for item in deployments])
    return NoMatch(
        f"which of the Deployments {names} stands behind the VirtualService {quote(virtual_service)} cannot be told; add its "
        "DestinationRule and its Service to the manifests"
    )


def _host_of_rule(name: str | None, objects: Iterable[ManifestObject]) -> str | None:
    found = shipped(DESTINATION_RULE, name, objects)
    host = found.place.at("spec", "host") if found is not None else None
    return _short(host.text) if host is not None else None


def _host_of_service(name: str, objects: Iterable[ManifestObject]) -> str | None:
    """The Service of all its destinations, where that is one."""
    found = shipped(VIRTUAL_SERVICE, name, objects)
    if found is None:
        return None
    routes = [route for field in _LISTS for route in found.place.items("spec", field)]
    hosts = [one.at("destination", "host") for route in routes for one in route.items("route")]
    names = {_short(host.text) for host in hosts if host is not None}
    return names.pop() if len(names) == 1 else None


def _short(host: str | None) -> str | None:
    return host.partition(".")[0] if host else None
