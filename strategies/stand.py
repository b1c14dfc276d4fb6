"""Readings of where a rollout stands, in the words of canaries and blue/green. Pure.

Facts that the look at a workload (`record:<workload>`) leaves behind, and that are read here:
    <workload>.mode        "create" (nothing is live), "apply" (nothing to compare with) or "canary"
    <workload>.replicas    the live count of replicas
    <workload>.autoscaled  whether an autoscaler is aimed at it
    <workload>.twin        an old, empty version with the very template that is rolled out
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from engine.model import (
    Freeze,
    RolloutSpec,
    Snapshot,
    Step,
    WorkloadPlan,
)
from engine.traffic import (
    FULL_WEIGHT,
    RoutePlan,
    RouterKind,
    SetHeaderRoute,
    SetMirror,
    SetWeight,
    Shape,
)
from strategies.replicas import Split, split

BACKENDS_FIRST = frozenset({RouterKind.GATEWAY_API, RouterKind.INGRESS_NGINX, RouterKind.TRAEFIK, RouterKind.CUSTOM})
"""A route that names a Service that is not there answers its share with errors."""
ACKNOWLEDGING = frozenset({RouterKind.SMI, RouterKind.GATEWAY_API, RouterKind.CUSTOM})
"""Somebody may say whether a write was taken up, or go on saying nothing: not waited for without an end."""
AGAIN_SECONDS = 10.0
"""How long a weight is waited for to be read back before its object is looked at again, and written where it is not there."""
SEEN_ON_THE_WAY_BACK = frozenset({RouterKind.GATEWAY_API, RouterKind.CUSTOM})
"""Whose controller may say which write it has come to: until then the new version's pods get requests, and may not go."""


class Stand:
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

    def routes_with_recorded_backends(self) -> list[RoutePlan]:
        """Those that stand in objects whose backends have to be there before they are named."""
        return [route for route in self.routes() if route.kind in BACKENDS_FIRST]

    def is_shown(self, route: RoutePlan) -> bool:
        """Whether the canary Service is the user's own: a preview, or one that the file names and that was there. Its clients
        are theirs too, so it is pinned on the new version only while that has pods."""
        if route.kind is RouterKind.SERVICE:
            return bool(route.canary_service)
        return route.adopts_canary_service and bool(self.facts.get(f"{route.name}.canary_service"))

    def shape(self) -> Shape:
        """What the steps up to this one have made the canary's beside its weight. All traffic needs no exceptions."""
        shape = Shape()
        for step in self._steps_so_far():
            match step:
                case SetHeaderRoute(name, matches):
                    others = tuple(one for one in shape.header_routes if one.name != name)
                    shape = replace(shape, header_routes=(*others, step) if matches else others)
                case SetMirror(share):
                    shape = replace(shape, mirror=share)
                case SetWeight(weight) if weight == FULL_WEIGHT:
                    shape = Shape()
                case _:
                    pass
        return Shape() if self.snapshot.promoting else shape

    def _steps_so_far(self) -> tuple[Step, ...]:
        return self.plan.steps[: self.snapshot.step + 1]

    def has_begun(self, name: str) -> bool:
        return name in self.snapshot.begun

    def is_over(self, name: str) -> bool:
        """Whether an action was done: ordered, and neither what the procedure is at nor what it has yet to come to."""
        left = self.snapshot.procedure[self.snapshot.cursor :]
        return self.has_begun(name) and all(operation.name != name for operation in left)

    def is_frozen_early(self, workload: WorkloadPlan) -> bool:
        return self.plan.freeze is Freeze.FROM_START or self.route_of(workload).kind is RouterKind.POD_RATIO

    def may_have_canary(self, workload: WorkloadPlan) -> bool:
        return any(name.startswith(f"scale-canary:{workload.name}:") for name in self.snapshot.begun)

    def is_known(self) -> bool:
        return all(self.mode(workload) for workload in self.plan.workloads)


def weight_before_step(stand: Stand) -> int:
    """What the steps before this one have led to, but for those that a promotion has left out. Compiled from the plan, so the
    same after a restart."""
    promoted_at = stand.snapshot.promoted_at
    weights = [
        step.weight
        for index, step in enumerate(stand.plan.steps[: max(stand.snapshot.step, 0)])
        if isinstance(step, SetWeight) and (promoted_at is None or index <= promoted_at or step.weight == FULL_WEIGHT)
    ]
    return weights[-1] if weights else 0


def split_before_step(stand: Stand, workload: WorkloadPlan) -> Split:
    """The pods that the steps before this one have led to."""
    return split(stand.replicas(workload), weight_before_step(stand))
