"""What a rollout would do, told beforehand: the strategy's own operations, on an assumed world, object by object.
Pure.

The operations are those that the engine will order, expanded by the same code; only the facts that a first look at
the cluster would give are assumed, and said to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from adapters.cli.changes import Change, Verb
from adapters.cli.output import counted
from adapters.cli.planned_istio import describe_istio
from adapters.cli.planned_routers import (
    describe_custom,
    describe_gateway,
    describe_ingress,
    describe_services,
    describe_shares,
    describe_traefik,
)
from adapters.http.views import describe_step
from engine.model import (
    Act,
    ActionKind,
    Await,
    Facts,
    GateStep,
    Operation,
    ReleasePlan,
    RolloutSpec,
    Settle,
    Snapshot,
    State,
    TargetPlan,
)
from engine.traffic import RoutePlan, RouterKind, SetWeight, TrafficStep
from strategies.canary import CanaryStrategy
from strategies.durations import in_words
from strategies.replicas import split

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stage:
    """One state of the rollout, or one step."""

    title: str
    weight: int
    """The canary's share at its end, in basis points."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class TargetForecast:
    plan: TargetPlan
    assumptions: tuple[str, ...]
    stages: tuple[Stage, ...]


def foresee(plan: ReleasePlan) -> tuple[TargetForecast, ...]:
    return tuple(_Forecast(plan.application, target).tell() for target in plan.targets)


class _Forecast:
    """One target, walked through from its first look to its end."""

    def __init__(self, application: str, plan: TargetPlan) -> None:
        self._plan = plan
        self._spec = RolloutSpec("plan", "plan", application, plan, _EPOCH, "")
        self._strategy = CanaryStrategy()
        self._created: set[str] = set()
        self._replicas = {workload.name: _replicas(workload.manifest) for workload in plan.workloads}
        self._at = Snapshot(State.PREPARING, _EPOCH, facts=self._assume())

    def tell(self) -> TargetForecast:
        return TargetForecast(self._plan, tuple(self._assumptions()), tuple(self._stages()))

    # --- what is assumed -----------------------------------------------------------------------------------------------

    def _assume(self) -> Facts:
        facts: Facts = {}
        for name, replicas in self._replicas.items():
            facts |= {
                f"{name}.mode": "canary",
                f"{name}.replicas": replicas,
                f"{name}.autoscaled": self._is_autoscaled(name),
            }
        return facts

    def _is_autoscaled(self, workload: str) -> bool:
        """As far as the file tells: one that is only in the cluster is found by the first look."""
        for manifest in self._plan.manifests:
            content = json.loads(manifest.content)
            aimed = (content.get("spec") or {}).get("scaleTargetRef") or {}
            if content.get("kind") == "HorizontalPodAutoscaler" and aimed.get("name") == workload:
                return True
        return False

    def _assumptions(self) -> Iterator[str]:
        for name, replicas in self._replicas.items():
            autoscaler = "an autoscaler" if self._at.facts[f"{name}.autoscaled"] else "no autoscaler"
            yield f"Deployment {name} is live with {counted(replicas, 'pod')} of another version, and has {autoscaler}"

    # --- the walk ------------------------------------------------------------------------------------------------------

    def _stages(self) -> Iterator[Stage]:
        yield from self._conditions("before the deployment", self._plan.before)
        yield from self._stage_if_any("prepare", State.PREPARING)
        yield from self._stage_if_any("scale up", State.SCALING)
        for index, step in enumerate(self._plan.steps):
            kind, text = describe_step(step)
            reached = f", which {self._reached(step)}" if isinstance(step, SetWeight) and self._reached(step) else ""
            title = f"step {index + 1} of {len(self._plan.steps)}: {kind} {text}{reached}"
            self._at = replace(self._at, step=index)
            if isinstance(step, TrafficStep):
                yield self._stage(title, State.SHIFTING)
            else:
                yield Stage(title, self._at.weight, ())
        self._at = replace(self._at, step=len(self._plan.steps))
        yield from self._stage_if_any("promote", State.PROMOTING)
        yield from self._stage_if_any("finish", State.FINALISING)
        yield from self._conditions("after the deployment", self._plan.after)

    def _conditions(self, moment: str, conditions: Sequence[GateStep]) -> Iterator[Stage]:
        for one in conditions:
            kind, text = describe_step(one)
            yield Stage(f"{moment}: {kind} {text}", self._at.weight, ())

    def _reached(self, step: SetWeight) -> str:
        """What a ratio of few pods makes of the weight; empty where it is what was asked for."""
        by_pods = [route.workload for route in self._plan.routes if route.kind is RouterKind.POD_RATIO]
        shares = {split(self._replicas[name], step.weight).reached for name in by_pods} - {step.weight}
        return " and ".join(f"comes to {share / 100:g} % of the pods" for share in sorted(shares))

    def _stage_if_any(self, title: str, state: State) -> Iterator[Stage]:
        """A state in which there is nothing to do is passed through."""
        stage = self._stage(title, state)
        if stage.changes:
            yield stage

    def _stage(self, title: str, state: State) -> Stage:
        changes: list[Change] = []
        self._at = replace(self._at, state=state)
        for operation in self._strategy.expand(self._spec, self._at, state):
            changes.append(self._describe(operation))
            if isinstance(operation, Act):
                self._note(operation)
        return Stage(title, self._at.weight, tuple(changes))

    def _note(self, act: Act) -> None:
        weight = act.args.get("weight")
        self._at = replace(
            self._at,
            begun=(*self._at.begun, act.name),
            weight=weight if isinstance(weight, int) else self._at.weight,
        )

    # --- operations in words -------------------------------------------------------------------------------------------

    def _describe(self, operation: Operation) -> Change:
        match operation:
            case Await():
                limit = operation.timeout_seconds
                return Change(Verb.WAIT, operation.name, f"at most {in_words(limit)}" if limit is not None else "")
            case Settle():
                return Change(Verb.WAIT, operation.name, in_words(operation.seconds))
            case Act():
                return self._describe_act(operation)

    def _describe_act(self, act: Act) -> Change:
        if "route" in act.args:
            route = next(one for one in self._plan.routes if one.name == act.args["route"])
            describe = _DESCRIBED.get(route.kind, _describe_route)
            return describe(act, route)
        if "index" in act.args:
            key = self._plan.manifests[int(act.args["index"] or 0)].key
            if act.kind is ActionKind.CHECK_MANIFEST:
                return Change(Verb.LOOK, key.replace("/", " ", 1), "whether it is as it should be")
            return Change(Verb.APPLY, key.replace("/", " ", 1), "as declared")
        if "workload" in act.args:
            return self._describe_workload(act, str(act.args["workload"]))
        if act.kind is ActionKind.REMOVE_JOBS:
            return Change(Verb.REMOVE, "Jobs of this rollout", "of tests that were cut short")
        if act.kind is ActionKind.REMOVE_COPIES:
            return Change(Verb.REMOVE, "copies of configuration", "those that no version refers to any more")
        return Change(Verb.LOOK, "what is there of the manifests")

    def _describe_workload(self, act: Act, name: str) -> Change:
        deployment, canary = f"Deployment {name}", f"ReplicaSet {name}-<hash>"
        old = f"ReplicaSet of the old version of {name}"
        pods = counted(int(act.args.get("replicas") or 0), "pod")
        match act.kind:
            case ActionKind.RECORD:
                return Change(Verb.LOOK, deployment)
            case ActionKind.FREEZE_WORKLOAD:
                return Change(Verb.CHANGE, deployment, "paused until the end")
            case ActionKind.NAME_VERSION:
                return Change(Verb.LOOK, f"what the version of {deployment} is called")
            case ActionKind.APPLY_WORKLOAD:
                return Change(Verb.APPLY, deployment, "as declared")
            case ActionKind.SCALE_CANARY:
                verb = Verb.CHANGE if canary in self._created else Verb.CREATE
                self._created.add(canary)
                return Change(verb, canary, f"{pods} of the new version")
            case ActionKind.SCALE_STABLE:
                return Change(Verb.CHANGE, deployment, f"{pods} of the old version")
            case ActionKind.FREEZE_AUTOSCALER:
                return Change(Verb.CHANGE, f"HorizontalPodAutoscaler of {name}", f"exactly {pods}")
            case ActionKind.RESTORE_AUTOSCALER:
                return Change(Verb.CHANGE, f"HorizontalPodAutoscaler of {name}", "as it was")
            case ActionKind.RELEASE_HISTORY:
                return Change(Verb.CHANGE, f"ReplicaSets of the history of {name}", "let go by the Deployment")
            case ActionKind.RETURN_HISTORY:
                return Change(Verb.CHANGE, f"ReplicaSets of the history of {name}", "taken back by the Deployment")
            case ActionKind.RELEASE_STABLE:
                return Change(Verb.CHANGE, old, "let go by the Deployment")
            case ActionKind.ADOPT_STABLE:
                return Change(Verb.CHANGE, old, "taken back by the Deployment, empty, as its history")
            case ActionKind.REPLACE_TEMPLATE:
                return Change(Verb.CHANGE, deployment, "the new template")
            case ActionKind.ADOPT_CANARY:
                return Change(Verb.CHANGE, canary, "becomes the Deployment's own; no pod is restarted")
            case ActionKind.RETURN_FIELDS:
                return Change(Verb.CHANGE, old if act.args.get("stable") else deployment, "its fields go back to their managers")
            case ActionKind.UNFREEZE_WORKLOAD:
                return Change(Verb.CHANGE, deployment, "no longer paused")
            case _:
                return Change(Verb.CHANGE, deployment, act.name)


def _describe_route(act: Act, route: RoutePlan) -> Change:
    if route.kind is RouterKind.SERVICE:
        return _describe_switch(act, route)
    split = f"TrafficSplit {route.split}"
    match act.kind:
        case ActionKind.ENSURE_ROUTE:
            weight = int(act.args.get("initial") or 0)
            limited = f", of requests that fit {' or '.join(route.match_groups)}" if route.match_groups else ""
            return Change(Verb.CREATE, split, describe_shares(route, weight) + limited)
        case ActionKind.SET_WEIGHT:
            return Change(Verb.CHANGE, split, describe_shares(route, int(act.args.get("weight") or 0)))
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.REMOVE, split)
        case _:
            return describe_services(act, route) or Change(Verb.CHANGE, split, act.name)


_DESCRIBED = {
    RouterKind.ISTIO: describe_istio,
    RouterKind.GATEWAY_API: describe_gateway,
    RouterKind.INGRESS_NGINX: describe_ingress,
    RouterKind.TRAEFIK: describe_traefik,
    RouterKind.CUSTOM: describe_custom,
}


def _describe_switch(act: Act, route: RoutePlan) -> Change:
    active, preview = f"Service {route.root_service}", f"Service {route.canary_service}"
    match act.kind:
        case ActionKind.ENSURE_ROUTE:
            return Change(Verb.CHANGE, active, "selects the old version only")
        case ActionKind.SET_WEIGHT:
            version = "new" if act.args.get("weight") else "old"
            return Change(Verb.CHANGE, active, f"selects the {version} version only")
        case ActionKind.ENSURE_CANARY_SERVICE:
            return Change(Verb.CHANGE, preview, "selects the new version only")
        case ActionKind.REMOVE_CANARY_SERVICE:
            return Change(Verb.CHANGE, preview, "as it was")
        case _:
            return Change(Verb.CHANGE, active, "as it was")


def _replicas(manifest: str) -> int:
    """What the file declares; Kubernetes takes 1 where nothing is said."""
    declared = json.loads(manifest).get("spec", {}).get("replicas")
    return declared if isinstance(declared, int) else 1
