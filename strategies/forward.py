"""The way forward: what each state of a rollout does, as a list of operations. Pure; it orders, it does not act.

The order of the operations is the safety of the strategy, and each list says why. A list is told as far as the facts allow and
asked for again at its end, because what there is to do depends on what the first look at the world found (`engine.decide`).
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import (
    Act,
    ActionKind,
    Await,
    Condition,
    Effect,
    Facts,
    ManifestPlan,
    OnTimeout,
    Operation,
    Settle,
    WorkloadPlan,
)
from engine.traffic import (
    FULL_WEIGHT,
    RoutePlan,
    RouterKind,
    SetWeight,
    TrafficStep,
    write_shape,
)
from strategies.istio_operations import free_istio, prepare_istio
from strategies.pieces import (
    freeze,
    freeze_autoscaler,
    reads,
    reads_at_first,
    remove_jobs,
    remove_routes,
    return_stable_fields,
    scale_canary,
    within,
)
from strategies.replicas import Move, Side, moves, split
from strategies.route_operations import await_known, free_routes
from strategies.stand import BACKENDS_FIRST, Stand, split_before_step, weight_before_step

HAND_OVER_SECONDS = 20.0
"""How long the controller of a paused Deployment has to scale the old version down after it has adopted the new one."""


def prepare(stand: Stand) -> Iterator[Operation]:
    """Look first, at everything, before anything is changed. Then what the new version needs, then what keeps traffic off it.

    The split stands at 100/0 before any pod of the canary exists, because the root Service's own selector matches those pods
    too (SMI's order), and both Services before the split, because a split may only name Services that are there.
    """
    for workload in stand.plan.workloads:
        yield Act(f"record:{workload.name}", ActionKind.RECORD, {"workload": workload.name})
    if stand.plan.manifests:
        yield Act("record:manifests", ActionKind.RECORD, {"manifests": True})
    if not stand.is_known():
        return
    for index, manifest in enumerate(stand.plan.manifests):
        yield Act(f"apply:{manifest.key}", ActionKind.APPLY_MANIFEST, {"index": index})
    for workload in stand.canaried():
        if stand.is_frozen_early(workload):
            yield from freeze(stand, workload)
        if stand.route_of(workload).kind is RouterKind.POD_RATIO:
            yield from freeze_autoscaler(stand, workload, stand.replicas(workload))
    yield from _ensure_routes(stand)


def _ensure_routes(stand: Stand) -> Iterator[Operation]:
    """What edits the user's own objects looks at all of them first, as two routes may share one."""
    yield from prepare_istio(stand.routes_by_istio())
    recorded = stand.routes_with_recorded_backends()
    for route in recorded:
        yield Act(f"record:route:{route.name}", ActionKind.RECORD_ROUTE, {"route": route.name})
    for route in recorded:
        yield from _ensure_backends(stand, route)
    if recorded:
        yield Settle("settle before the Services of both versions are named", stand.plan.settle_seconds)
    for route in stand.routes_by_services():
        name: Facts = {"route": route.name}
        splits = route.kind is not RouterKind.SERVICE and route.kind not in BACKENDS_FIRST
        if splits:
            yield from _ensure_backends(stand, route)
        yield Act(f"ensure-route:{route.name}", ActionKind.ENSURE_ROUTE, {**name, "initial": 0})
        yield reads_at_first(stand, route)


def _ensure_backends(stand: Stand, route: RoutePlan) -> Iterator[Operation]:
    """Proxies hear of a new Service and of a route that names it in no order, and answer its share with errors until they have
    heard of both."""
    name: Facts = {"route": route.name}
    yield Act(f"ensure-stable-service:{route.name}", ActionKind.ENSURE_STABLE_SERVICE, name)
    if not stand.is_shown(route):
        yield Act(f"ensure-canary-service:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, name)


def scale(stand: Stand) -> Iterator[Operation]:
    """A mesh canary gets its full size before it gets traffic; a pod-ratio canary gets pods as its weight grows. What else
    has pods comes up meanwhile, as both may need each other, and is up before anything moves."""
    for workload in stand.applied():
        yield Act(f"apply-workload:{workload.name}", ActionKind.APPLY_WORKLOAD, {"workload": workload.name})
    for workload in stand.applied():
        yield within(stand, f"{workload.name} is available", Condition.WORKLOAD_AVAILABLE, workload)
        if stand.plan.after:
            yield Act(f"name-version:{workload.name}", ActionKind.NAME_VERSION, {"workload": workload.name})
    for workload in stand.canaried():
        if stand.route_of(workload).kind is not RouterKind.POD_RATIO:
            yield scale_canary(workload, stand.replicas(workload))
    for workload in stand.canaried():
        if stand.route_of(workload).kind is not RouterKind.POD_RATIO:
            text = f"the new version of {workload.name} is available"
            yield within(stand, text, Condition.CANARY_AVAILABLE, workload)
    for index, manifest in enumerate(stand.plan.manifests):
        if manifest.awaited:
            yield from _await_object(stand, index, manifest)
    for route in stand.routes_by_services():
        if stand.is_shown(route):
            yield Act(f"ensure-canary-service:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, {"route": route.name})
    yield from await_known(stand.routes_by_services(), stand.plan.settle_seconds)


def _await_object(stand: Stand, index: int, manifest: ManifestPlan) -> Iterator[Operation]:
    """One that has failed for good is not waited for any longer; what is missing is said by whoever looks."""
    text, limit = f"{manifest.key} is up or done", stand.timeout
    yield Await(text, Condition.OBJECT_SETTLED, manifest.key, 0, limit, OnTimeout.PROCEED)
    yield Act(f"check:{manifest.key}", ActionKind.CHECK_MANIFEST, {"index": index})


def shift(stand: Stand) -> Iterator[Operation]:
    step = stand.plan.steps[stand.snapshot.step]
    assert isinstance(step, TrafficStep)
    if isinstance(step, SetWeight):
        yield from _set_weight(stand, step.weight, write_shape(stand.shape()))
    else:
        yield from _set_shape(stand, weight_before_step(stand), write_shape(stand.shape()))


def _set_shape(stand: Stand, weight: int, shape: str) -> Iterator[Operation]:
    for route in stand.routes():
        args: Facts = {"route": route.name, "weight": weight, "shape": shape}
        yield Act(f"set-shape:{route.name}:{stand.snapshot.step}", ActionKind.SET_WEIGHT, args)
    for route in stand.routes():
        yield reads(stand, route, weight, shape)


def _set_weight(stand: Stand, weight: int, shape: str = "") -> Iterator[Operation]:
    """Pods first, because they may fail to come: then no traffic object has been touched. And of the pods, those that come before
    those that go, so that no version of any workload is short of pods while another one's are moved."""
    by_pods = [one for one in stand.canaried() if stand.route_of(one).kind is RouterKind.POD_RATIO]
    for grows in (True, False):
        for workload in by_pods:
            yield from _move_pods(stand, workload, weight, grows)
    for route in stand.routes():
        if weight:
            text = f"the pods of the new version of {route.workload} can carry {weight / 100:g} %"
            yield Await(text, Condition.CAN_CARRY, route.workload, weight, stand.timeout)
        args: Facts = {"route": route.name, "weight": weight}
        if shape:
            args["shape"] = shape
        yield Act(f"set-weight:{route.name}:{weight}", ActionKind.SET_WEIGHT, args)
    for route in stand.routes():
        yield reads(stand, route, weight, shape)
    for effect in stand.plan.effects if weight else ():
        if any(route.name == effect.route for route in stand.routes()):
            yield _check_effect(effect, weight)


def _check_effect(effect: Effect, weight: int) -> Act:
    """A weight that is read back says what the object says; this, what clients get."""
    args: Facts = {"route": effect.route, "weight": weight}
    return Act(
        f"check-effect:{effect.route}:{weight}",
        ActionKind.CHECK_EFFECT,
        args,
        patience_seconds=effect.timeout_seconds,
        on_undecided=effect.without_traffic,
    )


def _move_pods(stand: Stand, workload: WorkloadPlan, weight: int, grows: bool) -> Iterator[Operation]:
    before, after = split_before_step(stand, workload), split(stand.replicas(workload), weight)
    for move in moves(before, after):
        was = before.canary if move.side is Side.CANARY else before.stable
        if (move.replicas > was) is grows:
            # Beside a traffic object, the weight is ordered when that is written: until then it has its former one.
            yield from _move(stand, workload, move, None if any(True for _ in stand.routes()) else weight, grows=grows)


def _move(stand: Stand, workload: WorkloadPlan, move: Move, weight: int | None, *, grows: bool) -> Iterator[Operation]:
    count = move.replicas
    if move.side is Side.CANARY:
        yield scale_canary(workload, count, weight)
        text = f"{count} pods of the new version of {workload.name} are available"
        yield within(stand, text, Condition.CANARY_AVAILABLE, workload, count)
        return
    yield from freeze_autoscaler(stand, workload, count)
    args: Facts = {"workload": workload.name, "replicas": count}
    if weight is not None:
        args["weight"] = weight
    yield Act(f"scale-stable:{workload.name}:{count}", ActionKind.SCALE_STABLE, args)
    if grows:  # The other side shrinks next, and must not before these serve.
        text = f"{count} pods of the old version of {workload.name} are available"
        yield within(stand, text, Condition.STABLE_AVAILABLE, workload, count)
    else:
        yield Await(f"{count} pods of the old version of {workload.name} are left", Condition.STABLE_AT, workload.name, count)


def promote(stand: Stand) -> Iterator[Operation]:
    """All traffic to the new version, read back and settled; then the tested pods become the workload's own."""
    yield from _set_weight(stand, FULL_WEIGHT)
    if any(True for _ in stand.routes()):
        yield Settle("settle before the old version goes", stand.plan.settle_seconds)
    yield from free_istio(stand.routes_by_istio())
    yield from free_routes(stand.routes_by_services(), stand.plan.settle_seconds)
    for workload in stand.canaried():
        yield from _hand_over(stand, workload)


def _hand_over(stand: Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    """Seen on a real kube-controller-manager: a bare ReplicaSet whose template is the Deployment's own is adopted, without a
    restart, as its new revision; and an old one is scaled to 0 once the adopted one is complete.

    With a pod ratio the Deployment's count is 0 by now, and raising it would bring the old pods back, or those of an even older
    version: a paused Deployment without an active ReplicaSet scales the youngest that it owns. So all of them are let go first,
    and taken back, empty, as history after the new one was adopted.

    The end is not waited for in vain: a Deployment that somebody scaled in the moment of the adoption divides the pods between
    both versions while it is paused, and brings the new one to its size when it is not.
    """
    name, subject = {"workload": workload.name}, workload.name
    ratio = stand.route_of(workload).kind is RouterKind.POD_RATIO
    if ratio:
        yield Act(f"release-history:{subject}", ActionKind.RELEASE_HISTORY, dict(name))
        yield Act(f"release-stable:{subject}", ActionKind.RELEASE_STABLE, dict(name))
        yield within(stand, f"the old versions of {subject} are let go", Condition.STABLE_RELEASED, workload)
        yield from freeze_autoscaler(stand, workload, stand.replicas(workload), "hand-over-")
    if not stand.is_frozen_early(workload):
        yield from freeze(stand, workload)
    if stand.facts.get(f"{subject}.twin"):
        yield Act(f"remove-twin:{subject}", ActionKind.REMOVE_TWIN, dict(name))
    args: Facts = {**name, "replicas": stand.replicas(workload)} if ratio else {**name}
    yield Act(f"replace-template:{subject}", ActionKind.REPLACE_TEMPLATE, args)
    text = f"{subject} and its new version agree on template and size"
    yield within(stand, text, Condition.ADOPTABLE, workload)
    yield Act(f"adopt-canary:{subject}", ActionKind.ADOPT_CANARY, dict(name))
    yield within(stand, f"{subject} has adopted its new version", Condition.ADOPTED, workload)
    if ratio:
        yield Act(f"adopt-stable:{subject}", ActionKind.ADOPT_STABLE, dict(name))
        yield return_stable_fields(workload)
        yield Act(f"return-history:{subject}", ActionKind.RETURN_HISTORY, dict(name))
    text = f"no pod of the old version of {subject} is left"
    yield Await(text, Condition.STABLE_AT, subject, 0, HAND_OVER_SECONDS, OnTimeout.PROCEED)
    yield Act(f"unfreeze:{subject}", ActionKind.UNFREEZE_WORKLOAD, dict(name))
    yield within(stand, f"{subject} is complete", Condition.WORKLOAD_AVAILABLE, workload)


def finalise(stand: Stand) -> Iterator[Operation]:
    """The split goes before the Services that it names; only then the rest of what the user declared is applied."""
    for workload in stand.canaried():
        if stand.is_autoscaled(workload) and stand.route_of(workload).kind is RouterKind.POD_RATIO:
            yield Act(f"restore-autoscaler:{workload.name}", ActionKind.RESTORE_AUTOSCALER, {"workload": workload.name})
    yield from remove_jobs(stand, "remove-jobs")
    yield from remove_routes(stand)
    for workload in stand.canaried():
        yield Act(f"apply-workload:{workload.name}", ActionKind.APPLY_WORKLOAD, {"workload": workload.name})
        yield within(stand, f"{workload.name} is as declared", Condition.WORKLOAD_AVAILABLE, workload)
    if any(manifest.copy_of for manifest in stand.plan.manifests):
        yield Act("remove-copies", ActionKind.REMOVE_COPIES)
