"""The port behind which a weight is expressed in one kind of traffic object. Implementations are in `adapters.routers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected
from engine.model import ActionKind, Facts, RolloutSpec, Snapshot, TargetPlan
from engine.observation import RouteObservation
from engine.traffic import RoutePlan, RouterKind

Handler: TypeAlias = Callable[[Task], Awaitable[Done]]


class Router(Protocol):
    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        """What the route needs beside what its workload needs."""

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        """Look whether the route can be made, before anything is changed. Raises `Rejected` with what stands in the way."""

    def handlers(self) -> Mapping[ActionKind, Handler]:
        """How each action on the traffic objects is performed. Empty where the pods themselves are the weight."""

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        """Start the watches that `observe` reads, as far as it is known by now what to watch; the objects it looks at."""

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        """What the caches say of the route."""


@runtime_checkable
class NamesKinds(Protocol):
    """A router that learns from the cluster where the objects of its routes live."""

    async def kinds_of(
        self, cluster: Cluster, plan: TargetPlan, route: RoutePlan
    ) -> Mapping[tuple[str, str], ResourceRef]:
        """By apiVersion and kind, as `Needs.resource_of` is asked for them. Raises `NotServed`."""


class Routers:
    def __init__(self, by_kind: Mapping[RouterKind, Router]) -> None:
        self._by_kind = by_kind

    def of(self, route: RoutePlan) -> Router:
        router = self._by_kind.get(route.kind)
        if router is None:
            raise Rejected(f"route {route.name}: this Headgate has no router for {route.kind}")
        return router
