"""The port behind which the two versions of a route are told apart: by subsets of a DestinationRule, or by two Services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.permissions import Needs, Permission
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_places import Side
from adapters.routers.user_objects import Read
from engine.model import Facts, RolloutSpec, Snapshot
from engine.traffic import RoutePlan


@dataclass(frozen=True, slots=True)
class Look:
    """How the versions' destinations are named, what their pods are selected by without us, and what has to be kept of it."""

    stable: Side
    canary: Side
    selects: JsonObject
    """The user's own labels for the old version's side. In the end they have to match the new version's pods."""
    facts: Facts


class Sides(Protocol):
    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]: ...

    async def look(self, task: Task, route: RoutePlan, version: str, read: Read) -> Look:
        """Raises `Rejected` where the versions cannot be told apart by these objects."""

    async def pin(self, task: Task, hash_value: str) -> Done:
        """The old version's side selects the pods of this version only."""

    async def show(self, task: Task) -> Done:
        """The new version gets its side."""

    async def free(self, task: Task) -> Done:
        """The old version's side selects by the user's own labels again."""

    async def hide(self, task: Task) -> Done:
        """The new version's side is as it was found."""

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, version: str) -> list[ObjectKey]: ...

    def drift(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> str:
        """What somebody else made of both sides while they stood as we ordered it, in one sentence."""
