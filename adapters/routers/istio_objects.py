"""The user's Istio objects: their kinds, and which versions of them a cluster serves. They are edited as `user_objects` says,
list by list, and never created or deleted."""

from __future__ import annotations

from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.paths import ResourceRef
from engine.traffic import IstioRoute, RoutePlan

GROUP = "networking.istio.io"
VERSIONS = ("v1", "v1beta1", "v1alpha3")
"""Newest first. What is read and written here is the same in each."""


def virtual_services(version: str) -> ResourceRef:
    return ResourceRef(GROUP, version, "virtualservices", "VirtualService", True)


def destination_rules(version: str) -> ResourceRef:
    return ResourceRef(GROUP, version, "destinationrules", "DestinationRule", True)


async def served_version(cluster: Cluster) -> str | None:
    served = await cluster.served_versions(GROUP)
    return next((one for one in VERSIONS if one in served), None)


def place_of(route: RoutePlan) -> IstioRoute:
    assert route.istio is not None, f"route {route.name} is not one of Istio"
    return route.istio
