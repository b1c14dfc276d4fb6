"""The way back: traffic to the version that was found, and then everything as it was. Pure; it orders, it does not act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.model import (
    Act,
    ActionKind,
    Await,
    Condition,
    Facts,
    OnTimeout,
    Operation,
    Settle,
    WorkloadPlan,
)
from engine.traffic import (
    FULL_WEIGHT,
    RoutePlan,
    RouterKind,
)
from strategies.istio_operations import prepare_istio_again
from strategies.pieces import (
    ACKNOWLEDGE_SECONDS,
    freeze_autoscaler,
    remove_canary_service,
    remove_jobs,
    remove_routes,
    return_stable_fields,
)
from strategies.stand import AGAIN_SECONDS, SEEN_ON_THE_WAY_BACK, Stand

RESCUE_SECONDS = 120.0
"""How long an abort waits for the stable side to grow back before it moves the traffic all the same."""

LATE_SECONDS = 1.0
"""How long a request whose sender has given it up may still be on its way to its effect."""


def abort(stand: Stand) -> Iterator[Operation]:
    """Traffic back to the stable version. What was begun may have been done, so it is undone; the weight falls first, unless
    the stable side has to grow before it can carry anything: up to the adoption it has all of its pods.

    After the hand-over the stable side has no pods. Then, in mirror image: the tested pods are let go (they serve on), the old
    template is put back, the old ReplicaSet grows, and only then the traffic moves.
    """
    routes = [route for route in stand.routes() if stand.has_begun(f"ensure-route:{route.name}")]
    adopted = [route for route in routes if stand.has_begun(f"adopt-canary:{route.workload}")]
    yield from _move_back(stand, [route for route in routes if route not in adopted])
    for workload in stand.canaried():
        if stand.has_begun(f"replace-template:{workload.name}"):
            yield from _take_back(stand, workload)
        elif stand.route_of(workload).kind is RouterKind.POD_RATIO and stand.has_begun(f"freeze:{workload.name}"):
            yield from _grow_stable(stand, workload)
    yield from _move_back(stand, adopted)


def _move_back(stand: Stand, routes: Sequence[RoutePlan]) -> Iterator[Operation]:
    """All weights before any of them is read back: what one of several workloads waits for is no matter of the others
    (`engine.giving_way`)."""
    for route in routes:
        name: Facts = {"route": route.name}
        yield Act(f"abort-follow-stable:{route.name}", ActionKind.FOLLOW_STABLE, name, only_helps=True)
    for workload in dict.fromkeys(route.workload for route in routes):
        yield _await_stable_carrier(workload)
    for route in routes:
        yield Act(f"abort-weight:{route.name}", ActionKind.SET_WEIGHT, {"route": route.name, "weight": 0})
    for route in routes:
        yield _await_no_weight(route)
    for route in routes if _has_moved(stand) else ():
        if _is_seen(stand, route):
            text = f"{route.name} is taken up as it is now"
            yield Await(text, Condition.ACKNOWLEDGED, route.name, 0, ACKNOWLEDGE_SECONDS, OnTimeout.PROCEED)


def _has_moved(stand: Stand) -> bool:
    """Whether the new version may ever have got requests."""
    return any(name.startswith(("set-weight:", "set-shape:")) for name in stand.snapshot.begun)


def _is_seen(stand: Stand, route: RoutePlan) -> bool:
    """A split that was made once more is nothing yet to a mesh that comes to it later: until then it is the root Service that
    reaches the pods of both versions. One that has stood all the time has said something before, and that was taken away."""
    return route.kind in SEEN_ON_THE_WAY_BACK or (route.kind is RouterKind.SMI and _is_made_again(stand, route.workload))


def _is_made_again(stand: Stand, workload: str) -> bool:
    """Whether the traffic objects may have been removed already at the end of the rollout."""
    return stand.has_begun(f"unfreeze:{workload}")


def _await_stable_carrier(workload: str) -> Await:
    """Traffic goes back to a Service that is there, on pods that are there. One pod is enough to begin with: a bad version must
    not serve until the old one is complete. And after a time not even that is waited for, as nothing may stop an abort."""
    text = f"a pod of the old version of {workload} is available"
    return Await(text, Condition.STABLE_AVAILABLE, workload, 1, RESCUE_SECONDS, OnTimeout.PROCEED)


def _take_back(stand: Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    """Unpaused before it is waited for: with its old template and without the tested pods, whatever its controller does by itself
    ends in the old version. It makes the ReplicaSet again that a short history has cleaned away, which it never does while it is
    paused.

    The history is let go before the tested pods are: the controller may be scaling the old version down in the very moment in
    which they go, and would then bring up the youngest version that it owns. It sees both changes in their order.
    """
    name, subject = {"workload": workload.name}, workload.name
    if _is_made_again(stand, subject):
        yield Act(f"freeze-again:{subject}", ActionKind.FREEZE_WORKLOAD, dict(name))
        yield Await(f"{subject} is frozen again", Condition.FROZEN, subject, 0, RESCUE_SECONDS, OnTimeout.PROCEED)
        yield from _ensure_again(stand, workload)
    count = stand.replicas(workload)
    args: Facts = {**name, "replicas": count} if stand.has_begun(f"release-stable:{subject}") else {**name}
    adopted = stand.has_begun(f"adopt-canary:{subject}")
    if adopted:
        yield Act(f"release-history-again:{subject}", ActionKind.RELEASE_HISTORY, dict(name))
        yield Act(f"release-canary:{subject}", ActionKind.RELEASE_CANARY, dict(name))
        text = f"the new version of {subject} is let go"
        yield Await(text, Condition.CANARY_RELEASED, subject, 0, RESCUE_SECONDS, OnTimeout.PROCEED)
    if stand.route_of(workload).kind is RouterKind.POD_RATIO:
        yield from freeze_autoscaler(stand, workload, count, "again-")
    yield Act(f"restore-template:{subject}", ActionKind.RESTORE_TEMPLATE, args)
    if stand.has_begun(f"release-stable:{subject}"):
        yield Act(f"adopt-stable-again:{subject}", ActionKind.ADOPT_STABLE, dict(name))
    yield Act(f"thaw:{subject}", ActionKind.UNFREEZE_WORKLOAD, dict(name))
    text = f"the old version of {subject} is available again"
    yield Await(text, Condition.STABLE_AVAILABLE, subject, 0, RESCUE_SECONDS, OnTimeout.PROCEED)
    if adopted or stand.has_begun(f"release-history:{subject}"):
        yield Act(f"return-history-again:{subject}", ActionKind.RETURN_HISTORY, dict(name))


def _ensure_again(stand: Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    """Traffic objects that the end of the rollout may have removed already, as they were: all traffic on the new version. Those
    of this workload only, as another one's may have gone back by now.

    This time the split comes last, because from its first moment it sends everything to the canary Service.
    """
    yield from prepare_istio_again([route for route in stand.routes_by_istio() if route.workload == workload.name])
    for route in stand.routes_by_services():
        if route.workload != workload.name:
            continue
        args: Facts = {"route": route.name}
        if route.kind is not RouterKind.SERVICE:
            yield Act(f"again-stable-service:{route.name}", ActionKind.ENSURE_STABLE_SERVICE, args)
            yield Act(f"again-canary-service:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, args)
        yield Act(f"again-route:{route.name}", ActionKind.ENSURE_ROUTE, {**args, "initial": FULL_WEIGHT})


def _grow_stable(stand: Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    count = stand.replicas(workload)
    yield from freeze_autoscaler(stand, workload, count, "again-")
    args: Facts = {"workload": workload.name, "replicas": count, "weight": 0}
    history = stand.has_begun(f"release-history:{workload.name}")
    if stand.has_begun(f"release-stable:{workload.name}"):
        yield Act(f"adopt-stable-again:{workload.name}", ActionKind.ADOPT_STABLE, {"workload": workload.name})
    yield Act(f"regrow-stable:{workload.name}", ActionKind.SCALE_STABLE, args)
    text = f"the old version of {workload.name} is available again"
    yield Await(text, Condition.STABLE_AVAILABLE, workload.name, count, RESCUE_SECONDS, OnTimeout.PROCEED)
    if history:
        yield Act(f"return-history-again:{workload.name}", ActionKind.RETURN_HISTORY, {"workload": workload.name})


def _confirm_weights(stand: Stand) -> Iterator[Operation]:
    """Looked at once more, in the cluster itself, before the pods go: a write that was on its way when the abort came may have
    arrived since, where the abort found nothing to change and so left it its chance."""
    routes = [route for route in stand.routes() if stand.has_begun(f"ensure-route:{route.name}")]
    for route in routes:
        args: Facts = {"route": route.name, "weight": 0}
        yield Act(f"confirm-weight:{route.name}", ActionKind.SET_WEIGHT, args, only_helps=True)
    for route in routes:
        yield _await_no_weight(route)


def _await_no_weight(route: RoutePlan) -> Await:
    text = f"{route.name} sends nothing to the new version"
    return Await(text, Condition.NO_WEIGHT, route.name, 0, AGAIN_SECONDS, OnTimeout.AGAIN)


def restore(stand: Stand) -> Iterator[Operation]:
    """Everything as it was found, in the opposite order of its making: pods before the split, the split before its Services."""
    yield from remove_jobs(stand, "remove-jobs-again")
    if _has_moved(stand):
        yield Settle("settle before the new version goes", max(stand.plan.settle_seconds, LATE_SECONDS))
        yield from _confirm_weights(stand)
    for route in stand.routes_by_services():
        if stand.is_shown(route):  # Nobody is to look at pods that go.
            yield from remove_canary_service(stand, route)
    for workload in stand.canaried():
        if stand.may_have_canary(workload):
            args: Facts = {"workload": workload.name, "weight": 0}
            yield Act(f"remove-canary:{workload.name}", ActionKind.REMOVE_CANARY, args)
            yield Await(f"no pod of the new version of {workload.name} is left", Condition.CANARY_GONE, workload.name)
    yield from remove_routes(stand)
    for workload in stand.plan.workloads:
        if stand.has_begun(f"apply-workload:{workload.name}"):
            yield Act(f"restore-workload:{workload.name}", ActionKind.RESTORE_WORKLOAD, {"workload": workload.name})
    for workload in stand.canaried():
        if stand.has_begun(f"freeze:{workload.name}"):
            yield Act(f"unfreeze-again:{workload.name}", ActionKind.UNFREEZE_WORKLOAD, {"workload": workload.name})
        if stand.is_autoscaled(workload) and stand.route_of(workload).kind is RouterKind.POD_RATIO:
            subject: Facts = {"workload": workload.name}
            yield Act(f"restore-autoscaler-again:{workload.name}", ActionKind.RESTORE_AUTOSCALER, subject)
        if stand.has_begun(f"release-stable:{workload.name}"):
            yield return_stable_fields(workload, "-again")
        if stand.has_begun(f"freeze:{workload.name}"):
            yield Act(f"return-fields:{workload.name}", ActionKind.RETURN_FIELDS, {"workload": workload.name})
    for index, manifest in reversed(tuple(enumerate(stand.plan.manifests))):
        if stand.has_begun(f"apply:{manifest.key}"):
            yield Act(f"restore:{manifest.key}", ActionKind.RESTORE_MANIFEST, {"index": index})
