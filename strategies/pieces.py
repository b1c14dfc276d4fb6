"""Operations that the way forward and the way back have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from engine.gates import all_ids, step_of
from engine.model import (
    Act,
    ActionKind,
    Await,
    Condition,
    Facts,
    OnTimeout,
    Operation,
    RunJob,
    Settle,
    State,
    WorkloadPlan,
)
from engine.traffic import (
    RoutePlan,
    RouterKind,
)
from strategies.istio_operations import clear_istio
from strategies.stand import ACKNOWLEDGING, AGAIN_SECONDS, Stand

ACKNOWLEDGE_SECONDS = 60.0
"""How long the Services of both versions are kept for a controller that does not say that it lets go of them."""


def remove_routes(stand: Stand) -> Iterator[Operation]:
    """A route goes before the Services that it names; and these a while after it, as proxies do not hear of both at once."""
    yield from clear_istio(stand.routes_by_istio(), stand.snapshot.begun, stand.plan.settle_seconds)
    made = [route for route in stand.routes_by_services() if stand.has_begun(f"ensure-route:{route.name}")]
    for route in made:
        yield Act(f"remove-route:{route.name}", ActionKind.REMOVE_ROUTE, {"route": route.name})
    for route in made:
        if route.kind in ACKNOWLEDGING:
            text = f"the end of {route.name} is taken up"
            yield Await(text, Condition.ACKNOWLEDGED, route.name, 0, ACKNOWLEDGE_SECONDS, OnTimeout.PROCEED)
    if any(route.kind is not RouterKind.SERVICE for route in made):
        yield Settle("settle before the Services of both versions go", stand.plan.settle_seconds)
    for route in stand.routes_by_services():
        args: Facts = {"route": route.name}
        if not (stand.is_shown(route) and stand.snapshot.state is State.RESTORING):
            yield from remove_canary_service(stand, route)
        if stand.has_begun(f"ensure-stable-service:{route.name}"):
            yield Act(f"remove-stable-service:{route.name}", ActionKind.REMOVE_STABLE_SERVICE, args)


def remove_jobs(stand: Stand, name: str) -> Iterator[Operation]:
    """Tests that have ended are kept until here, so that a repeat after a crash finds them, and one that was skipped goes on in
    the cluster. Conditions beside the lane are not among what has begun, so the plan decides whether there may be any."""
    if any(isinstance(step_of(stand.plan, gate), RunJob) for gate in all_ids(stand.plan)):
        yield Act(name, ActionKind.REMOVE_JOBS)


def remove_canary_service(stand: Stand, route: RoutePlan) -> Iterator[Operation]:
    if stand.has_begun(f"ensure-canary-service:{route.name}"):
        yield Act(f"remove-canary-service:{route.name}", ActionKind.REMOVE_CANARY_SERVICE, {"route": route.name})


def freeze(stand: Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    """Not waited for without an end: whoever unpauses it at once may go on doing so."""
    yield Act(f"freeze:{workload.name}", ActionKind.FREEZE_WORKLOAD, {"workload": workload.name})
    yield within(stand, f"{workload.name} is frozen", Condition.FROZEN, workload)


def scale_canary(workload: WorkloadPlan, replicas: int, weight: int | None = None) -> Act:
    args: Facts = {"workload": workload.name, "replicas": replicas}
    if weight is not None:
        args["weight"] = weight
    return Act(f"scale-canary:{workload.name}:{replicas}", ActionKind.SCALE_CANARY, args)


def return_stable_fields(workload: WorkloadPlan, suffix: str = "") -> Act:
    args: Facts = {"workload": workload.name, "stable": True}
    return Act(f"return-stable-fields{suffix}:{workload.name}", ActionKind.RETURN_FIELDS, args)


def freeze_autoscaler(stand: Stand, workload: WorkloadPlan, replicas: int, prefix: str = "") -> Iterator[Operation]:
    """An autoscaler that would fight over the stable side is told to want exactly what we want. It leaves 0 alone."""
    if stand.is_autoscaled(workload) and replicas > 0:
        args: Facts = {"workload": workload.name, "replicas": replicas}
        yield Act(f"{prefix}freeze-autoscaler:{workload.name}:{replicas}", ActionKind.FREEZE_AUTOSCALER, args)


def within(stand: Stand, name: str, condition: Condition, workload: WorkloadPlan, value: int = 0) -> Await:
    return Await(name, condition, workload.name, value, stand.timeout)


def reads(stand: Stand, route: RoutePlan, weight: int, shape: str = "") -> Await:
    text = f"{route.name} is read back at {weight / 100:g} %" + (" with its exceptions" if shape else "")
    limit = stand.timeout if route.kind in ACKNOWLEDGING else None
    return Await(text, Condition.WEIGHT, route.name, weight, limit, shape=shape)


def reads_at_first(stand: Stand, route: RoutePlan) -> Await:
    """Nobody is told of drift while everything is prepared: what somebody has written over our first write is written again."""
    if route.kind in ACKNOWLEDGING:
        return reads(stand, route, 0)
    text = f"{route.name} is read back at 0 %"
    return Await(text, Condition.WEIGHT, route.name, 0, AGAIN_SECONDS, OnTimeout.AGAIN)
