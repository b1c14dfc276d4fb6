"""An application behind Istio, as its users have it: the words for their objects, and a stage on which they are live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.embedded.istio_definitions import ISTIO_VERSIONS
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import Resource
from tests.rollouts.istio_watch import IstioWatch
from tests.rollouts.stage import Stage, stage

API = "networking.istio.io/v1"
FULL_NAME = "web.shop.svc.cluster.local"


def destination(host: str = "web", subset: str = "", weight: int | None = None, **more: object) -> JsonObject:
    target = {"host": host} | ({"subset": subset} if subset else {})
    return {"destination": target, **({"weight": weight} if weight is not None else {}), **more}


def http_route(*destinations: JsonObject, name: str = "") -> JsonObject:
    """With settings of the user's, which are theirs whatever we do to the destinations."""
    named = {"name": name} if name else {}
    return {**named, "timeout": "5s", "route": list(destinations) or [destination(subset="active")]}


def virtual_service(*http: JsonObject, name: str = "web", **lists: object) -> JsonObject:
    spec = {"hosts": ["web"], **({"http": list(http) or [http_route()]} if http or not lists else {}), **lists}
    return {"apiVersion": API, "kind": "VirtualService", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def destination_rule(*subsets: JsonObject, name: str = "web", host: str = "web") -> JsonObject:
    policy = {"connectionPool": {"http": {"http1MaxPendingRequests": 7}}}
    own = list(subsets) or [{"name": "active", "labels": {"app": "web"}, "trafficPolicy": policy}]
    spec = {"host": host, "subsets": own, "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}}}
    return {"apiVersion": API, "kind": "DestinationRule", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


class Meshed:
    """A stage with the user's Istio objects on it."""

    def __init__(self, told: Stage) -> None:
        self.told = told
        self.watch = IstioWatch(told.storage, told.journal, [one.plural for one in told.istio])

    def kind(self, name: str) -> Resource:
        return next(one for one in self.told.istio if one.kind == name)

    def add(self, body: JsonObject) -> None:
        resource = self.kind(body["kind"])
        self.told.storage.create(resource, {**body, "apiVersion": resource.api_version}, manager="kubectl")

    def get(self, kind: str, name: str = "web") -> JsonObject:
        return self.told.storage.get(self.kind(kind), "shop", name)

    def update(self, body: JsonObject, manager: str = "somebody") -> None:
        self.told.storage.update(self.kind(body["kind"]), body, manager=manager)

    def destinations(self, index: int = 0, *, name: str = "web", protocol: str = "http") -> list[JsonObject]:
        found: list[JsonObject] = self.get("VirtualService", name)["spec"][protocol][index]["route"]
        return found

    def weights(self, index: int = 0, *, name: str = "web", protocol: str = "http") -> list[tuple[str, int | None]]:
        """Subset, or host where there is none, and weight of each destination."""
        found = self.destinations(index, name=name, protocol=protocol)
        return [(one["destination"].get("subset") or one["destination"]["host"], one.get("weight")) for one in found]

    def labels(self, name: str = "web") -> dict[str, JsonObject]:
        """By subset."""
        return {one["name"]: one.get("labels") for one in self.get("DestinationRule", name)["spec"]["subsets"]}

    def belongings(self) -> dict[str, JsonObject]:
        """Every Istio object to the letter: only what every write counts is left out, and when a manager last wrote."""
        found = {}
        for resource in self.told.istio:
            for body in self.told.storage.list(resource, "shop"):
                kept = {key: value for key, value in body["metadata"].items() if key not in ("resourceVersion", "generation")}
                kept["managedFields"] = [{k: v for k, v in one.items() if k != "time"} for one in kept["managedFields"]]
                found[f"{resource.kind}/{kept['name']}"] = {**body, "metadata": kept}
        return found


@asynccontextmanager
async def meshed(
    path: Path, *bodies: JsonObject, versions: Sequence[str] = ISTIO_VERSIONS, replicas: int = 3
) -> AsyncIterator[Meshed]:
    """The application is live, with these objects: one VirtualService and its DestinationRule, if none are named."""
    async with stage(path, istio_versions=versions) as told:
        found = Meshed(told)
        await told.live(replicas=replicas)
        for body in bodies or (virtual_service(), destination_rule()):
            found.add(body)
        found.watch.violations.clear()  # The objects came one after another.
        yield found
        found.watch.raise_violations(unless=told.traffic.pods_may_fail)
