"""What is kept up while a rollout goes on, whatever its procedure is at: sizes, Services, and the weight that pods can carry.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.guarding import REASSERT
from engine.model import (
    STEP_STATES,
    Act,
    ActionKind,
    Await,
    Condition,
    Facts,
    State,
    WorkloadPlan,
)
from engine.observation import Observation, RouteObservation, WorkloadObservation, capacity
from engine.traffic import (
    RoutePlan,
    RouterKind,
)
from strategies.stand import Stand, split_before_step

_MAKING = {
    ActionKind.ENSURE_STABLE_SERVICE: "ensure-stable-service",
    ActionKind.ENSURE_CANARY_SERVICE: "ensure-canary-service",
}


def follow(stand: Stand, observation: Observation) -> Act | None:
    """Keep a mesh canary as large as the live workload, which people and autoscalers go on scaling; and one by pods from the
    moment on in which it is to be the workload."""
    if stand.snapshot.state in (State.WAITING, State.PREPARING, State.FINALISING, State.ABORTING, State.RESTORING):
        return None
    for workload in stand.canaried():
        seen = observation.workloads.get(workload.name)
        by_pods = stand.route_of(workload).kind is RouterKind.POD_RATIO
        if by_pods and not stand.is_over(f"replace-template:{workload.name}"):
            continue
        handed_over = stand.is_over(f"adopt-canary:{workload.name}")
        if seen is None or not seen.canary_exists or seen.canary_owned or handed_over or seen.desired == 0:
            continue
        if seen.canary_desired != seen.desired:
            args: Facts = {"workload": workload.name, "replicas": seen.desired}
            return Act(f"follow:{workload.name}:{seen.desired}", ActionKind.SCALE_CANARY, args)
    return None


def mend(stand: Stand, observation: Observation) -> Act | None:
    """Services of ours that somebody removed are made again. The stable one follows the Deployment when the pods that it
    was pinned on are gone and others have come (a restart, an edit, by somebody who unpaused it)."""
    preparing = stand.snapshot.state is State.PREPARING
    if not preparing and stand.snapshot.state not in STEP_STATES | {State.SCALING, State.PROMOTING}:
        return None
    for route in stand.routes():
        seen = observation.routes.get(route.name)
        for kind in seen.missing if seen is not None else ():
            if stand.is_over(f"{_MAKING[kind]}:{route.name}"):
                return Act(f"mend:{kind}:{route.name}", kind, {"route": route.name})
        workload = observation.workloads.get(route.workload)
        if workload is not None and not preparing and _is_left_behind(stand, route, workload):
            args: Facts = {"route": route.name}
            return Act(f"follow-stable:{route.name}", ActionKind.FOLLOW_STABLE, args)
    return None if preparing else _carry(stand, observation)


def _carry(stand: Stand, observation: Observation) -> Act | None:
    """No weight above what the canary's available pods can carry: it falls in the moment in which pods go, and rises when they
    come again. From the hand-over on the controller moves the pods, and the weight is all."""
    snapshot = stand.snapshot
    routes = [route for route in stand.routes() if route.kind is not RouterKind.SERVICE]
    handing_over = any(stand.has_begun(f"replace-template:{route.workload}") for route in routes)
    if not routes or handing_over or snapshot.state is State.SCALING:
        return None
    workloads = (observation.workloads.get(route.workload, WorkloadObservation()) for route in routes)
    target = min(snapshot.weight, *map(capacity, workloads))
    if snapshot.carrying is None and target == snapshot.weight:
        return None
    for route in routes:
        read = observation.routes.get(route.name, RouteObservation()).weight
        if snapshot.carrying == target:
            is_due = read is not None and read != target
        else:
            is_due = snapshot.carrying is not None or read is None or read > target
        if is_due:
            args: Facts = {"route": route.name, "weight": target, "shape": snapshot.shape, "carry": True}
            return Act(f"carry:{route.name}:{target}", ActionKind.SET_WEIGHT, args)
    return None


def reassert(stand: Stand, observation: Observation) -> Act | None:
    """The first traffic object that somebody else has edited, as it was ordered."""
    snapshot = stand.snapshot
    count = sum(name.startswith(REASSERT) for name in snapshot.begun)
    for route in stand.routes():
        if observation.routes.get(route.name, RouteObservation()).drift:
            args: Facts = {"route": route.name, "weight": snapshot.expected, "shape": snapshot.shape}
            return Act(f"{REASSERT}{route.name}:{count + 1}", ActionKind.REASSERT_ROUTE, args)
    return None


def drift(stand: Stand, observation: Observation) -> str:
    """Where pods are the weight, their number is ours: while the rollout stands still, and while it waits for the old version's
    to go, which they never do where somebody wants them again."""
    if stand.snapshot.state not in STEP_STATES or stand.snapshot.action is not None:
        return ""
    for workload in stand.canaried():
        seen = observation.workloads.get(workload.name)
        if seen is None or stand.route_of(workload).kind is not RouterKind.POD_RATIO:
            continue
        for version, count, ours in _sizes(stand, workload, seen):
            if count != ours:
                return (
                    f"{version}Deployment {workload.name} was scaled to {count} by somebody else, and its share of the pods "
                    f"is its share of the traffic; scale it back to {ours} and resume, or abort"
                )
    return ""


def _sizes(stand: Stand, workload: WorkloadPlan, seen: WorkloadObservation) -> Iterator[tuple[str, int, int]]:
    """Of which version, as it is, and as it was ordered."""
    snapshot = stand.snapshot
    if snapshot.state is not State.SHIFTING:
        wanted = split_before_step(stand, workload)
        yield "", seen.desired, wanted.stable
        yield "the new version of ", seen.canary_desired, wanted.canary
        return
    for current in snapshot.procedure[snapshot.cursor : snapshot.cursor + 1]:
        if isinstance(current, Await) and current.condition is Condition.STABLE_AT and current.subject == workload.name:
            yield "", seen.desired, current.value


def _is_left_behind(stand: Stand, route: RoutePlan, seen: WorkloadObservation) -> bool:
    """Whether the pods that the stable Service is pinned on are gone while the Deployment runs others."""
    stands = stand.has_begun(f"ensure-route:{route.name}") and not stand.has_begun(f"replace-template:{route.workload}")
    return stands and seen.stable_available == 0 and seen.owned_available > 0
