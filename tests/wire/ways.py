"""The ways to move traffic: what their users have in the cluster, what a deploy file says of it, and where clients knock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.permissions import Needs, Permission
from adapters.routers.active_service import ActiveServiceRouter
from adapters.routers.gateway import GatewayRouter
from adapters.routers.istio import IstioRouter
from adapters.routers.traefik import TraefikRouter
from tests.builders import gateway_route, istio_route, service_route, traefik_route
from tests.e2e.site import Site
from tests.wire.clients import Answer, Load
from tests.wire.ground import GATEWAY_NAMESPACE, LOOPBACK, Ground
from tests.wire.translation import share_of

Place = tuple[tuple[str, int], str]
"""An address, and the Host header to ask it for."""
CLOSE = 1e-6
POLL_SECONDS = 0.005


class Shown(Protocol):
    """What a way looks at."""

    ground: Ground
    site: Site
    load: Load
    version: int


class Way(Protocol):
    name: str
    plane: str
    traffic: list[JsonObject]
    """The deploy file's `trafficManagement`."""
    per_connection: bool
    """Whether it is a connection, not a request, that is sent to a version."""
    tests_by_header: bool
    """Whether `setHeaderRoute` works here; `mirrors`: whether `setMirror` does, and is counted by Envoy."""
    mirrors: bool

    async def prepare(self, ground: Ground, site: Site) -> None:
        """Make the user's objects and grant what the router needs."""

    async def place(self, ground: Ground, site: Site) -> Place: ...

    async def until_on_wire(self, shown: Shown, share: float) -> float:
        """Wait until the data plane works by this share for the new version, 0 to 1. The loop's time at which it was seen."""
        ...


def _nothing(_: str) -> list[tuple[str, JsonObject]]:
    return []


def _no_more(_: Needs) -> set[Permission]:
    return set()


@dataclass(slots=True)
class EnvoyWay:
    """Requests go through Envoy, which says in each answer which split it was drawn from."""

    name: str
    traffic: list[JsonObject]
    canary: str
    objects: Callable[[str], list[tuple[str, JsonObject]]] = _nothing
    permissions: Callable[[Needs], set[Permission]] = _no_more
    plane: str = "Envoy"
    per_connection: bool = False
    tests_by_header: bool = False
    mirrors: bool = False

    async def prepare(self, ground: Ground, site: Site) -> None:
        await make(site, self.objects(site.namespace), self.permissions)

    async def place(self, ground: Ground, site: Site) -> Place:
        return ground.envoy, f"web.{site.namespace}"

    async def until_on_wire(self, shown: Shown, share: float) -> float:
        """By the first answer that was drawn from this split."""
        return (await shown.load.expect(lambda one: self._tells(one, share))).ended

    def _tells(self, answer: Answer, share: float) -> bool:
        return not answer.failure and abs((share_of(answer.route, self.canary) or 0.0) - share) < CLOSE


@dataclass(slots=True)
class ServiceWay:
    """Connections go to the Service's own address and are spread over its endpoints, as kube-proxy does it."""

    name: str
    traffic: list[JsonObject] = field(default_factory=list)
    objects: Callable[[str], list[tuple[str, JsonObject]]] = _nothing
    permissions: Callable[[Needs], set[Permission]] = _no_more
    plane: str = "Service"
    per_connection: bool = True
    tests_by_header: bool = False
    mirrors: bool = False

    async def prepare(self, ground: Ground, site: Site) -> None:
        await make(site, self.objects(site.namespace), self.permissions)

    async def place(self, ground: Ground, site: Site) -> Place:
        service = await site.get(site.path("services", "web"))
        return (service["spec"]["clusterIP"], 80), "web"

    async def until_on_wire(self, shown: Shown, share: float) -> float:
        """There is no split: the endpoints of the Service are what there is, and the proxy says which it works by."""
        site = shown.site
        while True:
            fresh = {one["status"].get("podIP") for one in (await site.pods_of(f"web:{shown.version}")).values()}
            known = shown.ground.applied(f"web.{site.namespace}")
            if known and abs(len(known & fresh) / len(known) - share) < CLOSE:
                return asyncio.get_running_loop().time()
            await asyncio.sleep(POLL_SECONDS)


@dataclass(slots=True)
class TraefikWay:
    """Requests go through Traefik, which says in its own API by which weights it works."""

    name: str
    traffic: list[JsonObject]
    objects: Callable[[str], list[tuple[str, JsonObject]]]
    permissions: Callable[[Needs], set[Permission]]
    weighted: Callable[[str, JsonObject], bool]
    """Whether a service of this name, with this content, is the one with the weights."""
    plane: str = "Traefik"
    per_connection: bool = False
    tests_by_header: bool = False
    mirrors: bool = False

    async def prepare(self, ground: Ground, site: Site) -> None:
        await make(site, self.objects(site.namespace), self.permissions)

    async def place(self, ground: Ground, site: Site) -> Place:
        return (LOOPBACK, ground.traefik.port), f"web.{site.namespace}"

    async def until_on_wire(self, shown: Shown, share: float) -> float:
        async with aiohttp.ClientSession(shown.ground.traefik.admin) as session:
            while True:
                async with session.get("/api/http/services") as answer:
                    found = [one for one in await answer.json() if shown.site.namespace in one["name"]]
                if any(abs(one - share) < CLOSE for one in self._shares(found)):
                    return asyncio.get_running_loop().time()
                await asyncio.sleep(POLL_SECONDS)

    def _shares(self, services: list[JsonObject]) -> Iterator[float]:
        """What the new version gets of each list of weights, 0 to 1; that of a header route is one of its own."""
        for one in services:
            if self.weighted(one["name"], one):
                weights = {part["name"]: part.get("weight", 1) for part in one["weighted"]["services"]}
                if whole := sum(weights.values()):
                    yield sum(part for name, part in weights.items() if re.search(r"\bweb-canary\b", name)) / whole


async def make(
    site: Site, objects: list[tuple[str, JsonObject]], permissions: Callable[[Needs], set[Permission]]
) -> None:
    for path, body in objects:
        await site.create(path, body)
    if needed := permissions(Needs(site.namespace, watches_all=False)):
        await site.grant("wire", needed)


def _named(version: str, kind: str, spec: JsonObject, name: str = "web") -> JsonObject:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _istio_objects(namespace: str) -> list[tuple[str, JsonObject]]:
    root = f"/apis/networking.istio.io/v1/namespaces/{namespace}"
    rule = {"host": f"web.{namespace}.svc.cluster.local", "subsets": [{"name": "active", "labels": {"app": "web"}}]}
    route = {"name": "main", "route": [{"destination": {"host": "web", "subset": "active"}}]}
    service = {"hosts": ["web"], "http": [route]}
    return [
        (f"{root}/destinationrules", _named("networking.istio.io/v1", "DestinationRule", rule)),
        (f"{root}/virtualservices", _named("networking.istio.io/v1", "VirtualService", service)),
    ]


def _traefik_objects(namespace: str) -> list[tuple[str, JsonObject]]:
    root = f"/apis/traefik.io/v1alpha1/namespaces/{namespace}"
    weighted = {"weighted": {"services": [{"name": "web", "port": 80}]}}
    rule = f"Host(`web.{namespace}`)"
    route = {"kind": "Rule", "match": rule, "services": [{"kind": "TraefikService", "name": "web"}]}
    return [
        (f"{root}/traefikservices", _named("traefik.io/v1alpha1", "TraefikService", weighted)),
        (f"{root}/ingressroutes", _named("traefik.io/v1alpha1", "IngressRoute", {"entryPoints": ["web"], "routes": [route]})),
    ]


def _gateway_objects(namespace: str) -> list[tuple[str, JsonObject]]:
    """The Gateway is the ground's: somebody else's, as mostly."""
    rule = {"name": "main", "backendRefs": [{"name": "web", "port": 80}]}
    parent = {"name": "web", "namespace": GATEWAY_NAMESPACE}
    spec = {"parentRefs": [parent], "hostnames": [f"web.{namespace}"], "rules": [rule]}
    root = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    return [(root, _named("gateway.networking.k8s.io/v1", "HTTPRoute", spec))]


def _preview(namespace: str) -> list[tuple[str, JsonObject]]:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return [(f"/api/v1/namespaces/{namespace}/services", _named("v1", "Service", spec, "next"))]


_ISTIO_BLOCK = {
    "virtualService": {"name": "web", "httpRouteName": "main"},
    "destinationRule": {"name": "web", "activeSubsetName": "active", "canarySubsetName": "canary"},
}

SMI = EnvoyWay("SMI TrafficSplit", [{"smi": [{"rootServiceName": "web"}]}], "web-canary")
ISTIO = EnvoyWay(
    "Istio VirtualService",
    [{"istio": [_ISTIO_BLOCK]}],
    "canary",
    _istio_objects,
    lambda needs: IstioRouter().permissions(istio_route(), needs),
    tests_by_header=True,
    mirrors=True,
)
TRAEFIK = TraefikWay(
    "TraefikService",
    [{"traefik": [{"traefikServiceName": "web", "rootServiceName": "web"}]}],
    _traefik_objects,
    lambda needs: TraefikRouter().permissions(traefik_route(), needs),
    lambda name, one: "weighted" in one and name.endswith("-web@kubernetescrd"),
)
GATEWAY = TraefikWay(
    "HTTPRoute",
    [{"gatewayApi": [{"httpRoute": {"name": "web"}, "rootServiceName": "web"}]}],
    _gateway_objects,
    lambda needs: GatewayRouter().permissions(gateway_route(), needs),
    lambda name, one: name.endswith("-wrr@kubernetesgateway"),
    tests_by_header=True,
)
POD_RATIO = ServiceWay("pod ratio")
BLUE_GREEN = ServiceWay(
    "blue/green Service",
    [{"kubernetes": [{"activeService": "web", "previewService": "next"}]}],
    _preview,
    lambda needs: ActiveServiceRouter().permissions(service_route("web", "next"), needs),
)
WAYS: tuple[Way, ...] = (SMI, ISTIO, TRAEFIK, GATEWAY, POD_RATIO, BLUE_GREEN)
