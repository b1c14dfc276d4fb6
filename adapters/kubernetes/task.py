"""What an action on a cluster is performed with: the rollout's plan and facts in the words of Kubernetes, and one cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.templates import ROLLOUT_ANNOTATION, JsonObject
from engine.model import UNDOING_STATES, Action, Facts, ManifestPlan, RolloutSpec, Snapshot, WorkloadPlan
from engine.traffic import RoutePlan


@dataclass(frozen=True, slots=True)
class Done:
    """What an action came to: facts for the rollout to keep, and a sentence for its journal."""

    note: str
    facts: Facts = field(default_factory=dict)
    output: str = ""
    """What a test has said."""


@dataclass(frozen=True, slots=True)
class Task:
    spec: RolloutSpec
    snapshot: Snapshot
    action: Action
    cluster: Cluster

    @property
    def rollout(self) -> str:
        return self.spec.id

    @property
    def namespace(self) -> str:
        return self.spec.plan.namespace

    @property
    def is_undoing(self) -> bool:
        return self.snapshot.state in UNDOING_STATES

    @property
    def workload(self) -> WorkloadPlan:
        wanted = self.action.args["workload"]
        return next(one for one in self.spec.plan.workloads if one.name == wanted)

    @property
    def route(self) -> RoutePlan:
        wanted = self.action.args["route"]
        return next(one for one in self.spec.plan.routes if one.name == wanted)

    @property
    def manifest(self) -> ManifestPlan:
        return self.spec.plan.manifests[self.number("index")]

    @property
    def gate(self) -> str:
        return str(self.action.args["gate"])

    def number(self, name: str) -> int:
        value = self.action.args[name]
        assert isinstance(value, int)
        return value

    def fact(self, subject: str, name: str) -> str:
        return str(self.snapshot.facts.get(f"{subject}.{name}") or "")

    def json_fact(self, subject: str, name: str) -> JsonObject:
        loaded = json.loads(self.fact(subject, name) or "{}")
        assert isinstance(loaded, dict)
        return loaded

    def is_ours(self, found: JsonObject) -> bool:
        """Whether this rollout made the object. What somebody else made is never deleted."""
        annotations = found["metadata"].get("annotations") or {}
        return bool(annotations.get(ROLLOUT_ANNOTATION) == self.rollout)
