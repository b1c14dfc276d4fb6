"""One cluster of a story: the embedded one without its HTTP server, with an application that is live behind some router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

import anyio

from adapters.embedded.autoscaler_controller import DESIRED
from adapters.embedded.control_plane import ControlPlane, run_control_plane
from adapters.embedded.gateway_controller import GatewayController
from adapters.embedded.gateway_definitions import gateway_definitions
from adapters.embedded.istio_definitions import istio_definitions
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.known_crds import traffic_split_definition
from adapters.embedded.linkerd_definitions import service_profile_definition
from adapters.embedded.linkerd_smi import LinkerdSmi
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from adapters.embedded.storage import Storage
from adapters.embedded.traefik_definitions import TRAEFIK_GROUP, traefik_definition
from engine.traffic import RoutePlan
from tests.builders import (
    custom_route,
    definition,
    deployment,
    gateway_route,
    ingress_route,
    istio_route,
    pod_ratio_route,
    service,
    service_route,
    smi_route,
    traefik_route,
)
from tests.clocks import LoopClock
from tests.rollouts import istio_objects as istio
from tests.rollouts.routed import gateway, http_route, ingress, traefik_service, weighted_route
from tests.rollouts.stage import without_versions
from tests.simulation.dice import Dice
from tests.simulation.network import Network, SimulatedApi
from tests.simulation.pods import SimulatedPods

NAMESPACE = "shop"


class Routing(StrEnum):
    SMI = "smi"
    LINKERD = "linkerd"
    ISTIO = "istio"
    INGRESS = "ingress"
    TRAEFIK = "traefik"
    CUSTOM = "custom"
    GATEWAY = "gateway"
    POD_RATIO = "pod ratio"
    SWITCH = "switch"
    PREVIEW = "preview"
    """A switch whose new version can be looked at before, through a Service of the user's."""


ROUTES: Mapping[Routing, tuple[RoutePlan, ...]] = {
    Routing.SMI: (smi_route(),),
    Routing.LINKERD: (smi_route(),),
    Routing.ISTIO: (istio_route(), istio_route("web-gateway")),  # They share a DestinationRule, and so the versions' sides.
    Routing.INGRESS: (ingress_route(),),
    Routing.TRAEFIK: (traefik_route(),),
    Routing.CUSTOM: (custom_route(),),
    Routing.GATEWAY: (gateway_route(),),
    Routing.POD_RATIO: (pod_ratio_route(),),
    Routing.SWITCH: (service_route(),),
    Routing.PREVIEW: (service_route(preview="web-preview"),),
}
_OWN_KINDS = ("TrafficSplit", "VirtualService", "DestinationRule", "Ingress", "TraefikService", "WeightedRoute", "HTTPRoute",
              "ServiceProfile")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where the application is live, and how."""

    account: str
    target: str
    routing: Routing
    replicas: int
    autoscaled: bool = False


SWITCHES = frozenset({Routing.SWITCH, Routing.PREVIEW})
SINGLED_OUT = frozenset({Routing.ISTIO, Routing.GATEWAY, Routing.INGRESS})
"""Where requests may be sent to the new version by what is in their headers."""
MIRRORED = frozenset({Routing.ISTIO, Routing.GATEWAY})


@dataclass
class SimulatedCluster:
    plane: ControlPlane
    api: SimulatedApi
    network: Network
    pods: SimulatedPods
    routing: Routing
    replicas: int

    @property
    def storage(self) -> Storage:
        return self.plane.storage

    def kind(self, name: str) -> Resource:
        return next(one for one in self.storage.registry.kinds() if one.kind == name)

    @property
    def kinds(self) -> list[Resource]:
        """What people and we write here, but for ReplicaSets and pods."""
        own = [one for one in self.storage.registry.kinds() if one.kind in _OWN_KINDS]
        return [DEPLOYMENTS, SERVICES, HORIZONTAL_POD_AUTOSCALERS, *own]

    def picture(self) -> dict[str, JsonObject]:
        """All that people have written, without what only counts versions."""
        bodies = [body for kind in self.kinds for body in self.storage.list(kind, NAMESPACE)]
        found = {f"{one['kind']}/{one['metadata']['name']}": one for one in bodies}
        return {name: without_versions(body) for name, body in found.items()}

    def ours(self) -> list[str]:
        """What is there with our label, annotation or field manager."""
        bodies = [body for kind in (*self.kinds, REPLICA_SETS) for body in self.storage.iterate(kind, NAMESPACE)]
        found = [one for one in bodies if "headgate" in str(one["metadata"]).replace(DESIRED, "")]
        return [f"{one['kind']}/{one['metadata']['name']}" for one in found]

    def ready_pods(self, selector: Mapping[str, str]) -> list[JsonObject]:
        pods = self.storage.iterate(PODS, NAMESPACE)
        return [
            pod
            for pod in pods
            if selector.items() <= pod["metadata"]["labels"].items()
            and not pod["metadata"].get("deletionTimestamp")
            and is_ready(pod)
        ]

    def lose_node(self) -> None:
        """Its pods are gone for whoever calls them, and are evicted when nobody has heard of it for a minute."""
        lost = set(self.pods.lose_node())
        if lost:
            asyncio.get_running_loop().call_later(60.0, self._evict, lost)

    def _evict(self, uids: set[str]) -> None:
        for pod in self.storage.list(PODS, NAMESPACE):
            if pod["metadata"]["uid"] in uids:
                self.storage.delete(PODS, NAMESPACE, pod["metadata"]["name"])

    def image(self) -> str:
        """The Deployment's."""
        body = self.storage.peek(DEPLOYMENTS, NAMESPACE, "web")
        return image_of(body["spec"]["template"]) if body is not None else ""


def image_of(template: JsonObject) -> str:
    return str(template["spec"]["containers"][0]["image"])


@asynccontextmanager
async def live_cluster(dice: Dice, clock: LoopClock, place: Place) -> AsyncIterator[SimulatedCluster]:
    """The application is complete in its first version, `web:1`."""
    routing, replicas = place.routing, place.replicas
    numbers, pods = count(1), SimulatedPods(dice)
    pods.calm = True

    def install(storage: Storage) -> list[GatewayController | LinkerdSmi]:
        """What takes the routes up, as quickly or slowly as it does."""
        controller: GatewayController | LinkerdSmi
        if routing is Routing.GATEWAY:
            controller = GatewayController(storage, clock)
        elif routing is Routing.LINKERD:
            controller = LinkerdSmi(storage, clock)
        else:
            return []
        controller.lag_seconds = dice.of("the controller's lag").choice([0.0, 0.05, 2.0])
        return [controller]

    async with (
        run_control_plane(clock, lambda: f"uid-{next(numbers)}", pods=pods, extend=install) as plane,
        anyio.create_task_group() as late,
    ):
        storage = plane.storage
        for body in _definitions_of(routing):
            storage.create(CUSTOM_RESOURCE_DEFINITIONS, body)
        cluster = SimulatedCluster(plane, SimulatedApi(storage), Network(dice, place.account, late), pods, routing, replicas)
        storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        storage.create(SERVICES, service(), manager="kubectl")
        storage.create(DEPLOYMENTS, deployment(image="web:1", replicas=replicas), manager="kubectl")
        if place.autoscaled:
            storage.create(HORIZONTAL_POD_AUTOSCALERS, _autoscaler(), manager="kubectl")
        for body in _objects_of(routing):
            storage.create(cluster.kind(body["kind"]), body, manager="kubectl")
        while len(cluster.ready_pods({"app": "web"})) < replicas:
            await anyio.sleep(1.0)
        await anyio.sleep(1.0)
        pods.calm = False
        yield cluster


def _autoscaler() -> JsonObject:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 6}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": spec,
    }


def _definitions_of(routing: Routing) -> list[JsonObject]:
    match routing:
        case Routing.SMI:
            return [traffic_split_definition(("v1alpha2", "v1alpha4"))]
        case Routing.LINKERD:
            return [traffic_split_definition(("v1alpha1", "v1alpha2")), service_profile_definition()]
        case Routing.ISTIO:
            return list(istio_definitions(("v1",)))
        case Routing.TRAEFIK:
            return [traefik_definition(TRAEFIK_GROUP)]
        case Routing.GATEWAY:
            return gateway_definitions()
        case Routing.CUSTOM:
            defined: JsonObject = definition("WeightedRoute")
            defined["spec"]["versions"][0]["subresources"] = {"status": {}}
            return [defined]
    return []


def _objects_of(routing: Routing) -> list[JsonObject]:
    match routing:
        case Routing.ISTIO:
            active = istio.http_route(istio.destination(subset="active"))
            outside = istio.virtual_service(active, name="web-gateway", gateways=["public"])
            return [istio.destination_rule(), istio.virtual_service(active), outside]
        case Routing.INGRESS:
            return [ingress()]
        case Routing.TRAEFIK:
            return [traefik_service()]
        case Routing.CUSTOM:
            return [weighted_route()]
        case Routing.GATEWAY:
            return [gateway(), http_route()]
        case Routing.PREVIEW:
            return [service("web-preview", app="web")]
    return []
