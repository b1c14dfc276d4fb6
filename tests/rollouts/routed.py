"""An application behind an Ingress, a TraefikService, a route of the Gateway API or an object of a kind that nobody knows, as its
users have it: the words for their objects, and a stage on which they are live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.gateway_definitions import GATEWAY_GROUP, ROUTE_KINDS, GatewayChannel
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from adapters.embedded.traefik_definitions import TRAEFIK_GROUP
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, Snapshot, State, Step
from engine.traffic import RoutePlan
from tests.builders import (
    custom_route,
    definition,
    gateway_route,
    ingress_route,
    percent,
    release_plan,
    target_plan,
    traefik_route,
)
from tests.rollouts.routes_watch import NGINX, RoutesWatch
from tests.rollouts.stage import Stage, stage

WAITING: list[Step] = [percent(25), Approval()]


def backend(service: str = "web") -> JsonObject:
    return {"service": {"name": service, "port": {"number": 80}}}


def path(text: str = "/", service: str = "web") -> JsonObject:
    return {"path": text, "pathType": "Prefix", "backend": backend(service)}


def ingress(*paths: JsonObject, name: str = "web", annotations: dict[str, str] | None = None, **spec: object) -> JsonObject:
    rules = [{"host": "shop.example.com", "http": {"paths": list(paths) or [path()]}}]
    metadata = {"name": name, "namespace": "shop"} | ({"annotations": annotations} if annotations else {})
    full = {"ingressClassName": "nginx", "rules": rules, **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": full}


def entry(name: str = "web", weight: int | None = None, **more: object) -> JsonObject:
    return {"name": name, "port": 80, **({"weight": weight} if weight is not None else {}), **more}


def traefik_service(*entries: JsonObject, name: str = "web", group: str = TRAEFIK_GROUP, **weighted: object) -> JsonObject:
    spec = {"weighted": {"services": list(entries) or [entry()], **weighted}}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": f"{group}/v1alpha1", "kind": "TraefikService", "metadata": metadata, "spec": spec}


def weighted_route(*backends: JsonObject, name: str = "web", **spec: object) -> JsonObject:
    given = list(backends) or [{"service": "web", "weight": 100}, {"service": "nobody", "weight": 0}]
    metadata = {"name": name, "namespace": "shop"}
    body = {"host": "web", "backends": given, **spec}
    return {"apiVersion": "sea.example.com/v1", "kind": "WeightedRoute", "metadata": metadata, "spec": body}


def gateway(name: str = "shop") -> JsonObject:
    spec = {"gatewayClassName": "any", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}


def parent(kind: str = "Gateway", name: str = "shop", **more: object) -> JsonObject:
    return {"group": "" if kind == "Service" else GATEWAY_GROUP, "kind": kind, "name": name, **more}


def backend_ref(name: str = "web", weight: int = 1, **more: object) -> JsonObject:
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight, **more}


def path_match(value: str = "/", kind: str = "PathPrefix") -> JsonObject:
    return {"path": {"type": kind, "value": value}}


def rule(*backends: JsonObject, matches: Sequence[JsonObject] = (), **more: object) -> JsonObject:
    return {"matches": list(matches) or [path_match()], "backendRefs": list(backends) or [backend_ref()], **more}


def http_route(*rules: JsonObject, name: str = "web", parents: Sequence[JsonObject] = (), **spec: object) -> JsonObject:
    """With all that a cluster fills in, so that it is read back as it was written."""
    return gateway_object("HTTPRoute", name, list(rules) or [rule()], parents, **spec)


def grpc_route(*rules: JsonObject, name: str = "web", parents: Sequence[JsonObject] = (), **spec: object) -> JsonObject:
    return gateway_object("GRPCRoute", name, list(rules) or [{"backendRefs": [backend_ref()]}], parents, **spec)


def gateway_object(
    kind: str, name: str, rules: list[JsonObject], parents: Sequence[JsonObject] = (), **spec: object
) -> JsonObject:
    body = {"parentRefs": list(parents) or [parent()], "rules": rules, **spec}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": kind, "metadata": metadata, "spec": body}


@dataclass(frozen=True)
class Kind:
    """What is common to the stories of all three routers."""

    body: JsonObject
    route: RoutePlan
    plural: str
    """Of the object in which the weight stands, and of the user's own."""
    weighs_in: str = "web"
    """The name of the object in which the weight stands."""

    @property
    def kind(self) -> str:
        return str(self.body["kind"])


KINDS = {
    "ingress": Kind(ingress(), ingress_route(), "ingresses", "web-canary"),
    "traefik": Kind(traefik_service(), traefik_route(), "traefikservices"),
    "gateway": Kind(http_route(), gateway_route(), "httproutes"),
    "custom": Kind(weighted_route(), custom_route(), "weightedroutes"),
}


class Routed:
    """A stage with the user's objects on it."""

    def __init__(self, told: Stage) -> None:
        self.told = told
        self.watch = RoutesWatch(told.storage, told.journal)

    def kind(self, name: str) -> Resource:
        return next(one for one in self.told.routed if one.kind == name)

    def add(self, body: JsonObject, manager: str = "kubectl") -> None:
        self.told.storage.create(self.kind(body["kind"]), body, manager=manager)

    def get(self, kind: str, name: str = "web") -> JsonObject:
        return self.told.storage.get(self.kind(kind), "shop", name)

    def find(self, kind: str, name: str) -> JsonObject | None:
        return self.told.storage.find(self.kind(kind), "shop", name)

    def update(self, body: JsonObject, manager: str = "somebody") -> None:
        self.told.storage.update(self.kind(body["kind"]), body, manager=manager)

    def remove(self, kind: str, name: str = "web") -> None:
        self.told.storage.delete(self.kind(kind), "shop", name)

    @property
    def named(self) -> list[str]:
        """The Services that the user's Ingress names, in order."""
        spec = self.get("Ingress")["spec"]
        rules = [path["backend"]["service"]["name"] for rule in spec.get("rules") or () for path in rule["http"]["paths"]]
        return ([spec["defaultBackend"]["service"]["name"]] if "defaultBackend" in spec else []) + rules

    @property
    def said(self) -> dict[str, str]:
        """What the canary Ingress says in its annotations, by their short names."""
        found = self.get("Ingress", "web-canary")["metadata"]["annotations"]
        return {name.removeprefix(NGINX): value for name, value in found.items() if name.startswith(NGINX)}

    @property
    def weights(self) -> list[tuple[str, int | None]]:
        """What stands in the TraefikService, or in the WeightedRoute or the first rule of the HTTPRoute if there is one."""
        if (found := self.find("HTTPRoute", "web")) is not None:
            return [(one["name"], one["weight"]) for one in found["spec"]["rules"][0]["backendRefs"]]
        if (found := self.find("WeightedRoute", "web")) is not None:
            return [(one["service"], one["weight"]) for one in found["spec"]["backends"]]
        found = self.get("TraefikService")
        return [(one["name"], one.get("weight")) for one in found["spec"]["weighted"]["services"]]

    def belongings(self) -> dict[str, JsonObject]:
        """Every such object to the letter: only what every write counts is left out, when a manager last wrote, and what
        controllers say of it."""
        found = {}
        for resource in self.told.routed:
            for body in self.told.storage.list(resource, "shop"):
                kept = {key: value for key, value in body["metadata"].items() if key not in ("resourceVersion", "generation")}
                managers = (one for one in kept["managedFields"] if one.get("subresource") != "status")
                kept["managedFields"] = [{k: v for k, v in one.items() if k != "time"} for one in managers]
                said = {key: value for key, value in body.items() if key != "status"}
                found[f"{resource.kind}/{kept['name']}"] = {**said, "metadata": kept}
        return found

    @property
    def at(self) -> Snapshot:
        return self.told.journal.snapshots["r1.production"]

    async def order(self, kind: CommandKind) -> None:
        await self.told.engine.command("r1", Command(kind, by="ada"))

    async def begin(self, *routes: RoutePlan, steps: Sequence[Step] = (), **more: object) -> None:
        plan = target_plan(steps or WAITING, routes=routes, settle=0.05, **more)  # type: ignore[arg-type]
        await self.told.submit(release_plan(plan))
        await self.told.until_state(State.APPROVING)

    async def end(self, kind: CommandKind = CommandKind.APPROVE) -> ReleaseStatus:
        await self.order(kind)
        return (await self.told.until_ended()).status


def is_taken_up(body: JsonObject) -> bool:
    """Whether it is a route of the Gateway API of which its controller has spoken, or no such route."""
    return body["kind"] not in ROUTE_KINDS or bool((body.get("status") or {}).get("parents"))


@asynccontextmanager
async def routed(
    where: Path,
    *bodies: JsonObject,
    replicas: int = 3,
    traefik_groups: Sequence[str] = (TRAEFIK_GROUP,),
    gateway_channel: GatewayChannel = GatewayChannel.EXPERIMENTAL,
    linkerd: bool = False,
) -> AsyncIterator[Routed]:
    """The application is live, with these objects and a Gateway; and the cluster serves a kind of its own, WeightedRoute."""
    async with stage(where, traefik_groups=traefik_groups, gateway_channel=gateway_channel, linkerd=linkerd) as told:
        defined: JsonObject = definition("WeightedRoute")
        defined["spec"]["versions"][0]["subresources"] = {"status": {}}
        told.storage.create(CUSTOM_RESOURCE_DEFINITIONS, defined)
        found = Routed(told)
        await told.live(replicas=replicas)
        gateways = next(one for one in told.storage.registry.kinds() if one.kind == "Gateway")
        told.storage.create(gateways, gateway(), manager="kubectl")
        for body in bodies:
            found.add(body)
        names = [(body["kind"], body["metadata"]["name"]) for body in bodies]
        await told.until(lambda: all(is_taken_up(found.get(*one)) for one in names))
        found.watch.violations.clear()  # The objects came one after another.
        yield found
        found.watch.raise_violations(unless=told.traffic.pods_may_fail)
