"""What each state of a rollout does, as a list of operations. Pure; it orders, it does not act.

Canaries and blue/green are the same procedures: what differs is what a weight can be (`engine.model.RouterKind`) and which steps
there are between the first and the last.

The order of the operations is the safety of the strategy, and each list says why. A list is told as far as the facts allow and
asked for again at its end, because what there is to do depends on what the first look at the world found (`engine.decide`).

Facts that the look at a workload (`record:<workload>`) leaves behind, and that are read here:
    <workload>.mode        "create" (nothing is live), "apply" (nothing to compare with) or "canary"
    <workload>.replicas    the live count of replicas
    <workload>.autoscaled  whether an autoscaler is aimed at it
    <workload>.twin        an old, empty version with the very template that is rolled out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.gates import all_ids, step_of
from engine.model import (
    FULL_WEIGHT,
    STEP_STATES,
    Act,
    ActionKind,
    Await,
    Condition,
    Facts,
    Freeze,
    ManifestPlan,
    OnTimeout,
    Operation,
    RolloutSpec,
    RoutePlan,
    RouterKind,
    RunJob,
    Settle,
    SetWeight,
    Snapshot,
    State,
    WorkloadPlan,
)
from engine.observation import Observation, WorkloadObservation
from strategies.istio_operations import clear_istio, free_istio, prepare_istio, prepare_istio_again
from strategies.replicas import Move, Side, Split, moves, split

RESCUE_SECONDS = 120.0
"""How long an abort waits for the stable side to grow back before it moves the traffic all the same."""

HAND_OVER_SECONDS = 20.0
"""How long the controller of a paused Deployment has to scale the old version down after it has adopted the new one."""


class CanaryStrategy:
    """Implements `engine.ports.Strategy`."""

    def expand(self, spec: RolloutSpec, snapshot: Snapshot, state: State) -> tuple[Operation, ...]:
        expansions: dict[State, Callable[[_Stand], Iterator[Operation]]] = {
            State.PREPARING: _prepare,
            State.SCALING: _scale,
            State.SHIFTING: _shift,
            State.PROMOTING: _promote,
            State.FINALISING: _finalise,
            State.ABORTING: _abort,
            State.RESTORING: _restore,
        }
        expansion = expansions.get(state)
        return tuple(expansion(_Stand(spec, snapshot))) if expansion is not None else ()

    def follow(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        """Keep a mesh canary as large as the live workload, which people and autoscalers go on scaling."""
        stand = _Stand(spec, snapshot)
        if snapshot.state in (State.WAITING, State.PREPARING, State.FINALISING, State.ABORTING, State.RESTORING):
            return None
        for workload in stand.canaried():
            seen = observation.workloads.get(workload.name)
            routed = stand.route_of(workload).kind is not RouterKind.POD_RATIO
            handing_over = stand.has_begun(f"adopt-canary:{workload.name}")
            if seen is None or not seen.canary_exists or not routed or handing_over or seen.desired == 0:
                continue
            if seen.canary_desired != seen.desired:
                args: Facts = {"workload": workload.name, "replicas": seen.desired}
                return Act(f"follow:{workload.name}:{seen.desired}", ActionKind.SCALE_CANARY, args)
        return None

    def mend(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        """Services of ours that somebody removed are made again. The stable one follows the Deployment when the pods that it
        was pinned on are gone and others have come (a restart, an edit, by somebody who unpaused it)."""
        stand = _Stand(spec, snapshot)
        if snapshot.state not in STEP_STATES | {State.SCALING, State.PROMOTING}:
            return None
        for route in stand.routes():
            seen = observation.routes.get(route.name)
            for kind in seen.missing if seen is not None else ():
                return Act(f"mend:{kind}:{route.name}", kind, {"route": route.name})
            workload = observation.workloads.get(route.workload)
            if workload is not None and _is_left_behind(stand, route, workload):
                args: Facts = {"route": route.name}
                return Act(f"follow-stable:{route.name}:{snapshot.actions}", ActionKind.FOLLOW_STABLE, args)
        return None

    def drift(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> str:
        """Where pods are the weight, their number is ours while the rollout stands still."""
        stand = _Stand(spec, snapshot)
        if snapshot.state not in STEP_STATES - {State.SHIFTING} or snapshot.action is not None:
            return ""
        for workload in stand.canaried():
            seen = observation.workloads.get(workload.name)
            if seen is None or stand.route_of(workload).kind is not RouterKind.POD_RATIO:
                continue
            wanted = _split_before_step(stand, workload)
            sides = (("", seen.desired, wanted.stable), ("the new version of ", seen.canary_desired, wanted.canary))
            for version, count, ours in sides:
                if count != ours:
                    return (
                        f"{version}Deployment {workload.name} was scaled to {count} by somebody else, and its share of the pods "
                        f"is its share of the traffic; scale it back to {ours} and resume, or abort"
                    )
        return ""

    def skips_steps(self, spec: RolloutSpec, snapshot: Snapshot) -> bool:
        return not any(True for _ in _Stand(spec, snapshot).canaried())


class _Stand:
    """Readings of where a rollout stands, in the words of this strategy."""

    def __init__(self, spec: RolloutSpec, snapshot: Snapshot) -> None:
        self.plan = spec.plan
        self.snapshot = snapshot
        self.facts = snapshot.facts
        self.timeout = spec.plan.ready_timeout_seconds

    def mode(self, workload: WorkloadPlan) -> str:
        return str(self.facts.get(f"{workload.name}.mode", ""))

    def canaried(self) -> Iterator[WorkloadPlan]:
        return (workload for workload in self.plan.workloads if self.mode(workload) == "canary")

    def applied(self) -> Iterator[WorkloadPlan]:
        return (workload for workload in self.plan.workloads if self.mode(workload) in ("create", "apply"))

    def replicas(self, workload: WorkloadPlan) -> int:
        return int(self.facts.get(f"{workload.name}.replicas") or 0)

    def is_autoscaled(self, workload: WorkloadPlan) -> bool:
        return bool(self.facts.get(f"{workload.name}.autoscaled"))

    def route_of(self, workload: WorkloadPlan) -> RoutePlan:
        return next(route for route in self.plan.routes if route.workload == workload.name)

    def routes(self) -> Iterator[RoutePlan]:
        """The traffic objects of workloads that have a canary; a pod ratio has none."""
        names = {workload.name for workload in self.canaried()}
        return (r for r in self.plan.routes if r.workload in names and r.kind is not RouterKind.POD_RATIO)

    def routes_by_istio(self) -> list[RoutePlan]:
        return [route for route in self.routes() if route.kind is RouterKind.ISTIO]

    def routes_by_services(self) -> list[RoutePlan]:
        return [route for route in self.routes() if route.kind is not RouterKind.ISTIO]

    def is_shown(self, route: RoutePlan) -> bool:
        """Whether the canary Service is the user's own: a preview, or one that the file names and that was there. Its clients
        are theirs too, so it is pinned on the new version only while that has pods."""
        if route.kind is RouterKind.SERVICE:
            return bool(route.canary_service)
        return route.adopts_canary_service and bool(self.facts.get(f"{route.name}.canary_service"))

    def has_begun(self, name: str) -> bool:
        return name in self.snapshot.begun

    def is_frozen_early(self, workload: WorkloadPlan) -> bool:
        return self.plan.freeze is Freeze.FROM_START or self.route_of(workload).kind is RouterKind.POD_RATIO

    def may_have_canary(self, workload: WorkloadPlan) -> bool:
        return any(name.startswith(f"scale-canary:{workload.name}:") for name in self.snapshot.begun)

    def is_known(self) -> bool:
        return all(self.mode(workload) for workload in self.plan.workloads)


# --- forward -----------------------------------------------------------------------------------------------------------


def _prepare(stand: _Stand) -> Iterator[Operation]:
    """Look first, at everything, before anything is changed. Then what the new version needs, then what keeps traffic off it.

    The split stands at 100/0 before any pod of the canary exists, because the root Service's own selector matches those pods
    too (SMI's order), and the stable Service before the split, because a split may only name Services that are there.
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
            yield from _freeze(workload)
        if stand.route_of(workload).kind is RouterKind.POD_RATIO:
            yield from _freeze_autoscaler(stand, workload, stand.replicas(workload))
    yield from _ensure_routes(stand)


def _ensure_routes(stand: _Stand) -> Iterator[Operation]:
    yield from prepare_istio(stand.routes_by_istio())
    for route in stand.routes_by_services():
        name: Facts = {"route": route.name}
        splits = route.kind is not RouterKind.SERVICE
        if splits:
            yield Act(f"ensure-stable-service:{route.name}", ActionKind.ENSURE_STABLE_SERVICE, name)
        yield Act(f"ensure-route:{route.name}", ActionKind.ENSURE_ROUTE, {**name, "initial": 0})
        yield Await(_reads(route, 0), Condition.WEIGHT, route.name, 0)
        if splits and not stand.is_shown(route):
            yield Act(f"ensure-canary-service:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, name)


def _scale(stand: _Stand) -> Iterator[Operation]:
    """A mesh canary gets its full size before it gets traffic; a pod-ratio canary gets pods as its weight grows. What else
    has pods comes up meanwhile, as both may need each other, and is up before anything moves."""
    for workload in stand.applied():
        yield Act(f"apply-workload:{workload.name}", ActionKind.APPLY_WORKLOAD, {"workload": workload.name})
    for workload in stand.applied():
        yield _within(stand, f"{workload.name} is available", Condition.WORKLOAD_AVAILABLE, workload)
        if stand.plan.after:
            yield Act(f"name-version:{workload.name}", ActionKind.NAME_VERSION, {"workload": workload.name})
    for workload in stand.canaried():
        if stand.route_of(workload).kind is not RouterKind.POD_RATIO:
            yield _scale_canary(workload, stand.replicas(workload))
    for workload in stand.canaried():
        if stand.route_of(workload).kind is not RouterKind.POD_RATIO:
            text = f"the new version of {workload.name} is available"
            yield _within(stand, text, Condition.CANARY_AVAILABLE, workload)
    for index, manifest in enumerate(stand.plan.manifests):
        if manifest.awaited:
            yield from _await_object(stand, index, manifest)
    for route in stand.routes_by_services():
        if stand.is_shown(route):
            yield Act(f"ensure-canary-service:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, {"route": route.name})


def _await_object(stand: _Stand, index: int, manifest: ManifestPlan) -> Iterator[Operation]:
    """One that has failed for good is not waited for any longer; what is missing is said by whoever looks."""
    text, limit = f"{manifest.key} is up or done", stand.timeout
    yield Await(text, Condition.OBJECT_SETTLED, manifest.key, 0, limit, OnTimeout.PROCEED)
    yield Act(f"check:{manifest.key}", ActionKind.CHECK_MANIFEST, {"index": index})


def _shift(stand: _Stand) -> Iterator[Operation]:
    step = stand.plan.steps[stand.snapshot.step]
    assert isinstance(step, SetWeight)
    yield from _set_weight(stand, step.weight)


def _set_weight(stand: _Stand, weight: int) -> Iterator[Operation]:
    """Pods first, because they may fail to come: then no traffic object has been touched. And of the pods, those that come before
    those that go, so that no version of any workload is short of pods while another one's are moved."""
    by_pods = [one for one in stand.canaried() if stand.route_of(one).kind is RouterKind.POD_RATIO]
    for grows in (True, False):
        for workload in by_pods:
            yield from _move_pods(stand, workload, weight, grows)
    for route in stand.routes():
        args: Facts = {"route": route.name, "weight": weight}
        yield Act(f"set-weight:{route.name}:{weight}", ActionKind.SET_WEIGHT, args)
    for route in stand.routes():
        yield Await(_reads(route, weight), Condition.WEIGHT, route.name, weight)


def _move_pods(stand: _Stand, workload: WorkloadPlan, weight: int, grows: bool) -> Iterator[Operation]:
    before, after = _split_before_step(stand, workload), split(stand.replicas(workload), weight)
    for move in moves(before, after):
        was = before.canary if move.side is Side.CANARY else before.stable
        if (move.replicas > was) is grows:
            # Beside a traffic object, the weight is ordered when that is written: until then it has its former one.
            yield from _move(stand, workload, move, None if any(True for _ in stand.routes()) else weight)


def _split_before_step(stand: _Stand, workload: WorkloadPlan) -> Split:
    """The pods that the steps before this one have led to, but for those that a promotion has left out. Compiled from the plan,
    so the same after a restart."""
    promoted_at = stand.snapshot.promoted_at
    weights = [
        step.weight
        for index, step in enumerate(stand.plan.steps[: max(stand.snapshot.step, 0)])
        if isinstance(step, SetWeight) and (promoted_at is None or index <= promoted_at or step.weight == FULL_WEIGHT)
    ]
    return split(stand.replicas(workload), weights[-1] if weights else 0)


def _move(stand: _Stand, workload: WorkloadPlan, move: Move, weight: int | None) -> Iterator[Operation]:
    count = move.replicas
    if move.side is Side.CANARY:
        yield _scale_canary(workload, count, weight)
        text = f"{count} pods of the new version of {workload.name} are available"
        yield _within(stand, text, Condition.CANARY_AVAILABLE, workload, count)
        return
    yield from _freeze_autoscaler(stand, workload, count)
    args: Facts = {"workload": workload.name, "replicas": count}
    if weight is not None:
        args["weight"] = weight
    yield Act(f"scale-stable:{workload.name}:{count}", ActionKind.SCALE_STABLE, args)
    yield Await(f"{count} pods of the old version of {workload.name} are left", Condition.STABLE_AT, workload.name, count)


def _promote(stand: _Stand) -> Iterator[Operation]:
    """All traffic to the new version, read back and settled; then the tested pods become the workload's own."""
    yield from _set_weight(stand, FULL_WEIGHT)
    if any(True for _ in stand.routes()):
        yield Settle("settle before the old version goes", stand.plan.settle_seconds)
    yield from free_istio(stand.routes_by_istio())
    for workload in stand.canaried():
        yield from _hand_over(stand, workload)


def _hand_over(stand: _Stand, workload: WorkloadPlan) -> Iterator[Operation]:
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
        yield Await(f"the old versions of {subject} are let go", Condition.STABLE_RELEASED, subject)
        yield from _freeze_autoscaler(stand, workload, stand.replicas(workload), "hand-over-")
    if not stand.is_frozen_early(workload):
        yield from _freeze(workload)
    if stand.facts.get(f"{subject}.twin"):
        yield Act(f"remove-twin:{subject}", ActionKind.REMOVE_TWIN, dict(name))
    args: Facts = {**name, "replicas": stand.replicas(workload)} if ratio else {**name}
    yield Act(f"replace-template:{subject}", ActionKind.REPLACE_TEMPLATE, args)
    text = f"{subject} and its new version agree on template and size"
    yield _within(stand, text, Condition.ADOPTABLE, workload)
    yield Act(f"adopt-canary:{subject}", ActionKind.ADOPT_CANARY, dict(name))
    yield _within(stand, f"{subject} has adopted its new version", Condition.ADOPTED, workload)
    if ratio:
        yield Act(f"adopt-stable:{subject}", ActionKind.ADOPT_STABLE, dict(name))
        yield _return_stable_fields(workload)
        yield Act(f"return-history:{subject}", ActionKind.RETURN_HISTORY, dict(name))
    text = f"no pod of the old version of {subject} is left"
    yield Await(text, Condition.STABLE_AT, subject, 0, HAND_OVER_SECONDS, OnTimeout.PROCEED)
    yield Act(f"unfreeze:{subject}", ActionKind.UNFREEZE_WORKLOAD, dict(name))
    yield _within(stand, f"{subject} is complete", Condition.WORKLOAD_AVAILABLE, workload)


def _finalise(stand: _Stand) -> Iterator[Operation]:
    """The split goes before the Services that it names; only then the rest of what the user declared is applied."""
    for workload in stand.canaried():
        if stand.is_autoscaled(workload) and stand.route_of(workload).kind is RouterKind.POD_RATIO:
            yield Act(f"restore-autoscaler:{workload.name}", ActionKind.RESTORE_AUTOSCALER, {"workload": workload.name})
    yield from _remove_jobs(stand, "remove-jobs")
    yield from _remove_routes(stand)
    for workload in stand.canaried():
        yield Act(f"apply-workload:{workload.name}", ActionKind.APPLY_WORKLOAD, {"workload": workload.name})
        yield _within(stand, f"{workload.name} is as declared", Condition.WORKLOAD_AVAILABLE, workload)
    if any(manifest.copy_of for manifest in stand.plan.manifests):
        yield Act("remove-copies", ActionKind.REMOVE_COPIES)


# --- back --------------------------------------------------------------------------------------------------------------


def _abort(stand: _Stand) -> Iterator[Operation]:
    """Traffic back to the stable version. What was begun may have been done, so it is undone; the weight falls first, unless
    the stable side has to grow before it can carry anything: up to the adoption it has all of its pods.

    After the hand-over the stable side has no pods. Then, in mirror image: the tested pods are let go (they serve on), the old
    template is put back, the old ReplicaSet grows, and only then the traffic moves.
    """
    routes = [route for route in stand.routes() if stand.has_begun(f"ensure-route:{route.name}")]
    adopted = [route for route in routes if stand.has_begun(f"adopt-canary:{route.workload}")]
    yield from _move_back([route for route in routes if route not in adopted])
    for workload in stand.canaried():
        if stand.has_begun(f"replace-template:{workload.name}"):
            yield from _take_back(stand, workload)
        elif stand.route_of(workload).kind is RouterKind.POD_RATIO and stand.has_begun(f"freeze:{workload.name}"):
            yield from _grow_stable(stand, workload)
    yield from _move_back(adopted)


def _move_back(routes: Sequence[RoutePlan]) -> Iterator[Operation]:
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
        yield Await(f"{route.name} sends nothing to the new version", Condition.NO_WEIGHT, route.name)


def _await_stable_carrier(workload: str) -> Await:
    """Traffic goes back to a Service that is there, on pods that are there. One pod is enough to begin with: a bad version must
    not serve until the old one is complete. And after a time not even that is waited for, as nothing may stop an abort."""
    text = f"a pod of the old version of {workload} is available"
    return Await(text, Condition.STABLE_AVAILABLE, workload, 1, RESCUE_SECONDS, OnTimeout.PROCEED)


def _take_back(stand: _Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    """Unpaused before it is waited for: with its old template and without the tested pods, whatever its controller does by itself
    ends in the old version. It makes the ReplicaSet again that a short history has cleaned away, which it never does while it is
    paused.

    The history is let go before the tested pods are: the controller may be scaling the old version down in the very moment in
    which they go, and would then bring up the youngest version that it owns. It sees both changes in their order.
    """
    name, subject = {"workload": workload.name}, workload.name
    if stand.has_begun(f"unfreeze:{subject}"):
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
        yield from _freeze_autoscaler(stand, workload, count, "again-")
    yield Act(f"restore-template:{subject}", ActionKind.RESTORE_TEMPLATE, args)
    if stand.has_begun(f"release-stable:{subject}"):
        yield Act(f"adopt-stable-again:{subject}", ActionKind.ADOPT_STABLE, dict(name))
    yield Act(f"thaw:{subject}", ActionKind.UNFREEZE_WORKLOAD, dict(name))
    text = f"the old version of {subject} is available again"
    yield Await(text, Condition.STABLE_AVAILABLE, subject, 0, RESCUE_SECONDS, OnTimeout.PROCEED)
    if adopted or stand.has_begun(f"release-history:{subject}"):
        yield Act(f"return-history-again:{subject}", ActionKind.RETURN_HISTORY, dict(name))


def _ensure_again(stand: _Stand, workload: WorkloadPlan) -> Iterator[Operation]:
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


def _grow_stable(stand: _Stand, workload: WorkloadPlan) -> Iterator[Operation]:
    count = stand.replicas(workload)
    yield from _freeze_autoscaler(stand, workload, count, "again-")
    args: Facts = {"workload": workload.name, "replicas": count, "weight": 0}
    history = stand.has_begun(f"release-history:{workload.name}")
    if stand.has_begun(f"release-stable:{workload.name}"):
        yield Act(f"adopt-stable-again:{workload.name}", ActionKind.ADOPT_STABLE, {"workload": workload.name})
    yield Act(f"regrow-stable:{workload.name}", ActionKind.SCALE_STABLE, args)
    text = f"the old version of {workload.name} is available again"
    yield Await(text, Condition.STABLE_AVAILABLE, workload.name, count, RESCUE_SECONDS, OnTimeout.PROCEED)
    if history:
        yield Act(f"return-history-again:{workload.name}", ActionKind.RETURN_HISTORY, {"workload": workload.name})


def _restore(stand: _Stand) -> Iterator[Operation]:
    """Everything as it was found, in the opposite order of its making: pods before the split, the split before its Services."""
    yield from _remove_jobs(stand, "remove-jobs-again")
    if any(stand.has_begun(f"set-weight:{route.name}:{w}") for route in stand.routes() for w in _weights(stand)):
        yield Settle("settle before the new version goes", stand.plan.settle_seconds)
    for route in stand.routes_by_services():
        if stand.is_shown(route):  # Nobody is to look at pods that go.
            yield from _remove_canary_service(stand, route)
    for workload in stand.canaried():
        if stand.may_have_canary(workload):
            args: Facts = {"workload": workload.name, "weight": 0}
            yield Act(f"remove-canary:{workload.name}", ActionKind.REMOVE_CANARY, args)
            yield Await(f"no pod of the new version of {workload.name} is left", Condition.CANARY_GONE, workload.name)
    yield from _remove_routes(stand)
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
            yield _return_stable_fields(workload, "-again")
        if stand.has_begun(f"freeze:{workload.name}"):
            yield Act(f"return-fields:{workload.name}", ActionKind.RETURN_FIELDS, {"workload": workload.name})
    for index, manifest in reversed(tuple(enumerate(stand.plan.manifests))):
        if stand.has_begun(f"apply:{manifest.key}"):
            yield Act(f"restore:{manifest.key}", ActionKind.RESTORE_MANIFEST, {"index": index})


def _weights(stand: _Stand) -> tuple[int, ...]:
    return (*(step.weight for step in stand.plan.steps if isinstance(step, SetWeight)), FULL_WEIGHT)


def _is_left_behind(stand: _Stand, route: RoutePlan, seen: WorkloadObservation) -> bool:
    """Whether the pods that the stable Service is pinned on are gone while the Deployment runs others."""
    stands = stand.has_begun(f"ensure-route:{route.name}") and not stand.has_begun(f"replace-template:{route.workload}")
    return stands and seen.stable_available == 0 and seen.owned_available > 0


# --- pieces ------------------------------------------------------------------------------------------------------------


def _remove_routes(stand: _Stand) -> Iterator[Operation]:
    yield from clear_istio(stand.routes_by_istio(), stand.snapshot.begun, stand.plan.settle_seconds)
    for route in stand.routes_by_services():
        args: Facts = {"route": route.name}
        if stand.has_begun(f"ensure-route:{route.name}"):
            yield Act(f"remove-route:{route.name}", ActionKind.REMOVE_ROUTE, args)
        if not (stand.is_shown(route) and stand.snapshot.state is State.RESTORING):
            yield from _remove_canary_service(stand, route)
        if stand.has_begun(f"ensure-stable-service:{route.name}"):
            yield Act(f"remove-stable-service:{route.name}", ActionKind.REMOVE_STABLE_SERVICE, args)


def _remove_jobs(stand: _Stand, name: str) -> Iterator[Operation]:
    """Tests that have ended are kept until here, so that a repeat after a crash finds them, and one that was skipped goes on in
    the cluster. Conditions beside the lane are not among what has begun, so the plan decides whether there may be any."""
    if any(isinstance(step_of(stand.plan, gate), RunJob) for gate in all_ids(stand.plan)):
        yield Act(name, ActionKind.REMOVE_JOBS)


def _remove_canary_service(stand: _Stand, route: RoutePlan) -> Iterator[Operation]:
    if stand.has_begun(f"ensure-canary-service:{route.name}"):
        yield Act(f"remove-canary-service:{route.name}", ActionKind.REMOVE_CANARY_SERVICE, {"route": route.name})


def _freeze(workload: WorkloadPlan) -> Iterator[Operation]:
    yield Act(f"freeze:{workload.name}", ActionKind.FREEZE_WORKLOAD, {"workload": workload.name})
    yield Await(f"{workload.name} is frozen", Condition.FROZEN, workload.name)


def _scale_canary(workload: WorkloadPlan, replicas: int, weight: int | None = None) -> Act:
    args: Facts = {"workload": workload.name, "replicas": replicas}
    if weight is not None:
        args["weight"] = weight
    return Act(f"scale-canary:{workload.name}:{replicas}", ActionKind.SCALE_CANARY, args)


def _return_stable_fields(workload: WorkloadPlan, suffix: str = "") -> Act:
    args: Facts = {"workload": workload.name, "stable": True}
    return Act(f"return-stable-fields{suffix}:{workload.name}", ActionKind.RETURN_FIELDS, args)


def _freeze_autoscaler(stand: _Stand, workload: WorkloadPlan, replicas: int, prefix: str = "") -> Iterator[Operation]:
    """An autoscaler that would fight over the stable side is told to want exactly what we want. It leaves 0 alone."""
    if stand.is_autoscaled(workload) and replicas > 0:
        args: Facts = {"workload": workload.name, "replicas": replicas}
        yield Act(f"{prefix}freeze-autoscaler:{workload.name}:{replicas}", ActionKind.FREEZE_AUTOSCALER, args)


def _within(stand: _Stand, name: str, condition: Condition, workload: WorkloadPlan, value: int = 0) -> Await:
    return Await(name, condition, workload.name, value, stand.timeout)


def _reads(route: RoutePlan, weight: int) -> str:
    return f"{route.name} is read back at {weight / 100:g} %"
