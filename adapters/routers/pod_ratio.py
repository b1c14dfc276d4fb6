"""Shifting by the ratio of pods, where there is no mesh: the user's own Service spreads requests over all ready pods.

There is no traffic object, so there is nothing to make or to remove: the weight is the number of pods of each version, which the
strategy orders (`strategies.replicas`) and the workload's actions carry out. What is read back is the share of the pods that are
really available; it is reported beside the share that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import HORIZONTAL_POD_AUTOSCALERS
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject
from engine.model import ActionKind, Facts, RolloutSpec, Snapshot
from engine.observation import RouteObservation
from engine.traffic import FULL_WEIGHT, RoutePlan


class PodRatioRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        return needs.all(HORIZONTAL_POD_AUTOSCALERS, Verb.GET, Verb.PATCH)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        return {}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {}

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        return []

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        available = [_available(cluster, spec, snapshot, f"{route.workload}.{side}_name") for side in ("stable", "canary")]
        total = sum(available)
        return RouteObservation(True, round(FULL_WEIGHT * available[1] / total) if total else None)


def _available(cluster: Cluster, spec: RolloutSpec, snapshot: Snapshot, fact: str) -> int:
    name = snapshot.facts.get(fact)
    found = cluster.cached_replica_set(spec.plan.namespace, str(name)) if name else None
    return found.available if found is not None else 0
