"""A small model of the world for tests of the engine alone: workloads and their routes, with time lags and faults.

It stands in for the ports `World` and `Actuator`; what a cluster does is tested on the embedded one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from engine.errors import Rejected, Retryable
from engine.events import ActionSucceeded, Measured, Measurements, MeasureOutcome
from engine.gates import step_of
from engine.model import UNDOING_STATES, Action, ActionKind, Analysis, RolloutSpec, Snapshot
from engine.observation import Observation, RouteObservation, Template, WorkloadObservation
from engine.traffic import RouterKind
from tests.invariants import Journal, Violation


@dataclass
class Place:
    """One workload, as a cluster would have it."""

    desired: int = 3
    frozen: bool = False
    template: Template = Template.ORIGINAL
    stable: int = 3
    stable_available: int = 3
    stable_owned: bool = True
    history_owned: int = 2
    canary: int = 0
    canary_available: int = 0
    canary_exists: bool = False
    canary_owned: bool = False
    route_exists: bool = False
    weight: int = 0
    shape: str = ""
    services: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)

    def is_as_found(self) -> bool:
        return self == Place(desired=self.desired, stable=self.desired, stable_available=self.desired)

    def is_promoted(self) -> bool:
        return (
            self.template is Template.NEW
            and self.canary_owned
            and self.canary_available == self.desired
            and self.stable == 0
            and not (self.route_exists or self.services or self.frozen)
        )


def key_of(spec: RolloutSpec, workload: str) -> str:
    """The place of a workload: that of a rollout's first one has the rollout's own name."""
    return spec.id if workload == spec.plan.workloads[0].name else f"{spec.id}/{workload}"


def subject_of(spec: RolloutSpec, action: Action) -> str:
    """The workload that an action is about; the first one where it is about none."""
    if "route" in action.args:
        return next(route.workload for route in spec.plan.routes if route.name == action.args["route"])
    return str(action.args.get("workload") or spec.plan.workloads[0].name)


def _is_split(spec: RolloutSpec, action: Action) -> bool:
    """Whether the route is an object of its own, which is left as it is once it is there. What stands in an object of the user's
    is written as it is asked for."""
    return any(one.name == action.args["route"] and one.kind is RouterKind.SMI for one in spec.plan.routes)


class ModelWorld:
    """`faults` maps an action's name to what the next performances of it do instead of succeeding."""

    def __init__(self, *, lag: float = 0.2, journal: Journal | None = None) -> None:
        self.places: dict[str, Place] = {}
        self.lag = lag
        self.journal = journal or Journal()
        self.error_rate: dict[str, list[Measured | float]] = {}
        self.faults: dict[str, list[Exception | str]] = {}
        self.defects = 0
        """How many looks at the world fail, as by a defect of ours."""
        self.canary_starts = True
        self.broken: set[str] = set()
        """The places whose new version never starts."""
        self.performed: list[str] = []
        self.hooks: list[Callable[[str, Action], None]] = []
        self._wakes: dict[str, Callable[[], None]] = {}
        self.drift = ""
        self.behind_seconds: Callable[[], float] = lambda: 0.0
        """For how long from now the proxies are behind."""
        self.unheard = ""
        """What is not heard of any more, and why."""
        self.attached: set[str] = set()

    # --- the port World ------------------------------------------------------------------------------------------------

    def attach(self, spec: RolloutSpec, wake: Callable[[], None]) -> None:
        for workload in spec.plan.workloads:
            self.places.setdefault(key_of(spec, workload.name), Place())
        self._wakes[spec.id] = wake
        self.attached.add(spec.id)

    def detach(self, spec: RolloutSpec) -> None:
        self.attached.discard(spec.id)
        self._wakes.pop(spec.id, None)

    def observe(self, spec: RolloutSpec, snapshot: Snapshot) -> Observation:
        if self.defects > 0:
            self.defects -= 1
            raise KeyError("a defect of ours")
        if self.unheard and snapshot.state not in UNDOING_STATES:
            return Observation(False, behind_seconds=self.behind_seconds(), unheard=self.unheard)
        workloads = {one.name: self._see(self.places[key_of(spec, one.name)]) for one in spec.plan.workloads}
        routes = {route.name: self._see_route(self.places[key_of(spec, route.workload)]) for route in spec.plan.routes}
        return Observation(True, workloads, routes, self.drift, behind_seconds=self.behind_seconds())

    def _see_route(self, place: Place) -> RouteObservation:
        if not place.route_exists:
            return RouteObservation()
        return RouteObservation(True, place.weight, shape=place.shape)

    def _see(self, place: Place) -> WorkloadObservation:
        return WorkloadObservation(
            exists=True,
            desired=place.desired,
            frozen=place.frozen,
            template=place.template,
            rolled_out=not place.frozen,
            stable_replicas=place.stable,
            stable_available=place.stable_available,
            stable_owned=place.stable_owned,
            history_owned=place.history_owned,
            canary_exists=place.canary_exists,
            canary_desired=place.canary,
            canary_replicas=place.canary,
            canary_available=place.canary_available,
            canary_owned=place.canary_owned,
            recognised=place.canary_owned and place.template is Template.NEW,
        )
    # --- the port Actuator ---------------------------------------------------------------------------------------------

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        self.journal.check_action(spec.id, action.number)
        for hook in self.hooks:
            hook("before", action)
        await anyio.sleep(0.05)
        after = self._fail_before(action)
        if action.kind is ActionKind.MEASURE:
            return self._measure(spec, snapshot, action)
        facts = self._apply(spec, action)
        self.performed.append(action.name)
        self._check(spec, snapshot, action)
        for hook in self.hooks:
            hook("after", action)
        if after is not None:
            raise after
        return ActionSucceeded(action.number, facts)

    def _fail_before(self, action: Action) -> Exception | None:
        queue = self.faults.get(action.name, [])
        if not queue:
            return None
        fault = queue.pop(0)
        if isinstance(fault, str):
            return Retryable(f"{fault} after it took effect")
        raise fault

    def _measure(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> Measurements:
        step = step_of(spec.plan, str(action.args["gate"]))
        assert isinstance(step, Analysis)
        results = []
        for query in step.queries:
            queue = self.error_rate.get(query.name, [])
            answer = (queue.pop(0) if len(queue) > 1 else queue[0]) if queue else 0.0
            if isinstance(answer, float):
                answer = Measured(query.name, MeasureOutcome.VALUE, answer)
            results.append(answer)
        return Measurements(action.number, tuple(results))

    def _apply(self, spec: RolloutSpec, action: Action) -> dict[str, str | int | float | bool | None]:
        name = subject_of(spec, action)
        key = key_of(spec, name)
        place = self.places[key]
        match action.kind:
            case ActionKind.RECORD:
                return self._record(spec, name, place)
            case ActionKind.APPLY_MANIFEST:
                place.manifests.add(action.name)
            case ActionKind.RESTORE_MANIFEST:
                place.manifests.clear()
            case ActionKind.FREEZE_WORKLOAD:
                place.frozen = True
            case ActionKind.UNFREEZE_WORKLOAD:
                place.frozen = False
            case ActionKind.ENSURE_STABLE_SERVICE | ActionKind.ENSURE_CANARY_SERVICE:
                place.services.add(action.kind.value)
            case ActionKind.FOLLOW_STABLE:
                place.services.add(ActionKind.ENSURE_STABLE_SERVICE.value)
            case ActionKind.REMOVE_STABLE_SERVICE:
                place.services.discard(ActionKind.ENSURE_STABLE_SERVICE.value)
            case ActionKind.REMOVE_CANARY_SERVICE:
                place.services.discard(ActionKind.ENSURE_CANARY_SERVICE.value)
            case ActionKind.ENSURE_ROUTE if not (place.route_exists and _is_split(spec, action)):
                place.route_exists, place.weight, place.shape = True, int(action.args["initial"] or 0), ""
            case ActionKind.SET_WEIGHT if place.route_exists:
                place.weight, place.shape = int(action.args["weight"] or 0), str(action.args.get("shape") or "")
            case ActionKind.REMOVE_ROUTE:
                place.route_exists, place.shape = False, ""
            case ActionKind.CHECK_EFFECT:
                pass
            case _:
                self._apply_to_pods(spec.id, place, action)
        self._later(spec.id, key)
        return {}

    def _record(self, spec: RolloutSpec, name: str, place: Place) -> dict[str, str | int | float | bool | None]:
        """The version before is the one that is rolled out, for want of another; supporting objects are new."""
        return {
            f"{name}.mode": "canary",
            f"{name}.replicas": place.desired,
            f"{name}.autoscaled": False,
            f"{name}.original": next(one.manifest for one in spec.plan.workloads if one.name == name),
            f"{name}.new_digest": "new",
            **{f"manifest.{manifest.key}": "" for manifest in spec.plan.manifests},
        }

    def _apply_to_pods(self, rollout: str, place: Place, action: Action) -> None:
        match action.kind:
            case ActionKind.SCALE_CANARY:
                place.canary_exists, place.canary = True, int(action.args["replicas"] or 0)
                place.canary_available = min(place.canary_available, place.canary)
            case ActionKind.SCALE_STABLE:
                place.desired = int(action.args["replicas"] or 0)
            case ActionKind.RELEASE_HISTORY:
                place.history_owned = 0
            case ActionKind.RETURN_HISTORY:
                place.history_owned = 2
            case ActionKind.RELEASE_STABLE:
                place.stable_owned = False
            case ActionKind.ADOPT_STABLE:
                place.stable_owned = True
            case ActionKind.REPLACE_TEMPLATE:
                place.template = Template.NEW
                place.desired = int(action.args.get("replicas") or place.desired)
            case ActionKind.RESTORE_TEMPLATE:
                place.template = Template.ORIGINAL
                place.desired = int(action.args.get("replicas") or place.desired)
            case ActionKind.ADOPT_CANARY:
                place.canary_owned = True
            case ActionKind.RELEASE_CANARY:
                place.canary_owned = False
            case ActionKind.REMOVE_CANARY:
                place.canary_exists, place.canary, place.canary_available = False, 0, 0
            case _:
                pass

    def _later(self, rollout: str, key: str) -> None:
        asyncio.get_running_loop().call_later(self.lag, self._control, rollout, key)

    def _control(self, rollout: str, key: str) -> None:
        """What the cluster's controllers do some time after a write."""
        place = self.places[key]
        if self.canary_starts and key not in self.broken:
            place.canary_available = place.canary
        if place.canary_owned and place.template is Template.NEW:
            place.stable = place.stable_available = 0
        elif place.stable_owned and place.template is Template.ORIGINAL:
            place.stable = place.stable_available = place.desired
        self.wake(rollout)

    def wake(self, rollout: str) -> None:
        if (wake := self._wakes.get(rollout)) is not None:
            wake()

    def _check(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> None:
        """Invariants 2 and 3: what has weight has pods, and pods go only after their weight was read back as 0."""
        place = self.places[key_of(spec, subject_of(spec, action))]
        if place.route_exists and place.weight > 0 and place.canary_available == 0 and self.canary_starts:
            raise Violation(f"{action.name}: {place.weight} bp to a version without pods")
        if place.shape and not place.canary_exists:
            raise Violation(f"{action.name}: {place.shape} to a version that is not there")
        if action.kind is ActionKind.REMOVE_CANARY and snapshot.served > 0 and place.route_exists:
            raise Violation(f"{action.name}: pods removed while {snapshot.served} bp was the last weight read back")


__all__ = ["ModelWorld", "Place", "Rejected", "Retryable"]
