"""What was last read of the world, in the engine's words, and the conditions that are judged on it.

An observation is level, not edge: it says how things are, whoever changed them. It must not know how a workload or a route is
expressed in any cluster's objects.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from engine.model import ActionKind, Await, Condition
from engine.traffic import FULL_WEIGHT

UNHEARD = "nothing is heard of"
"""How it begins why a rollout is held whose cluster says nothing."""


class Template(StrEnum):
    """Which version the workload's own template names."""

    ORIGINAL = "original"
    NEW = "new"
    FOREIGN = "foreign"
    """Neither the one that was found nor the one to be rolled out: somebody else edited it."""


class WorkloadObservation(Struct, frozen=True):
    exists: bool = False
    desired: int = 0
    """Replicas that the workload itself asks for: the live count that people and autoscalers set."""
    paused: bool = False
    frozen: bool = False
    """Paused, and its controller knows."""
    template: Template = Template.ORIGINAL
    rolled_out: bool = False
    """The workload's own controller has finished what its specification asks for."""
    stable_replicas: int = 0
    stable_available: int = 0
    stable_owned: bool = True
    history_owned: int = 0
    """Older versions, without pods, that belong to the workload."""
    owned_available: int = 0
    """Available pods that belong to the workload itself, of whichever version."""
    canary_exists: bool = False
    canary_desired: int = 0
    canary_replicas: int = 0
    canary_available: int = 0
    canary_owned: bool = False
    recognised: bool = False
    """The workload's controller has taken the canary for the workload's own current version."""
    trouble: tuple[str, ...] = ()
    """Why pods of the canary are not available, in one sentence each."""


class RouteObservation(Struct, frozen=True):
    exists: bool = False
    weight: int | None = None
    """The canary's weight as it was read back, in basis points; None while it is unknown."""
    drift: str = ""
    """What somebody else changed, in one sentence; empty when nothing."""
    missing: tuple[ActionKind, ...] = ()
    """What the route stands on, was made, and is not there any more: the actions that make it again."""
    reached: int | None = None
    """What the object can only say in the place of `weight`, where it is too coarse for it."""
    shape: str = ""
    """What was read back beside the weight, as `Snapshot.shape` has it where it is just that; something else otherwise."""
    waits_for: str = ""
    """Why a weight that was written does not count yet, in one sentence: what a controller says, or does not say."""


class ObjectObservation(Struct, frozen=True):
    """A supporting object whose pods are waited for."""

    settled: bool = False
    """It has come to what it asks for, or never will."""


class Observation(Struct, frozen=True):
    current: bool
    """Whether the caches are complete and have caught up with our own writes. Nothing is concluded from a stale one."""
    workloads: dict[str, WorkloadObservation] = {}
    routes: dict[str, RouteObservation] = {}
    drift: str = ""
    """An edit by somebody else that makes it unsafe to go forward, in one sentence."""
    objects: dict[str, ObjectObservation] = {}
    """By the keys of the plan's manifests."""
    behind_seconds: float = 0.0
    """For how long from now the proxies may not have heard of everything, because they could not; 0 when they could. Given for a
    stale observation too."""
    unheard: str = ""
    """What this rests on and has not been heard of for too long, since when, and why; then it is not current. Empty while that
    may pass, and while undoing, which is not held up by it."""


def is_for_silence(held: str) -> bool:
    """Whether this is why a rollout is held: then it goes on by itself."""
    return held.startswith(UNHEARD)


def holds(wait: Await, observation: Observation) -> bool:
    """Whether the awaited condition is true. A stale observation proves nothing."""
    if not observation.current:
        return False
    if wait.condition is Condition.OBJECT_SETTLED:
        return observation.objects.get(wait.subject, ObjectObservation()).settled
    route = observation.routes.get(wait.subject, RouteObservation())
    if wait.condition is Condition.WEIGHT:
        return route.weight == wait.value and route.shape == wait.shape
    if wait.condition is Condition.NO_WEIGHT:
        return not route.exists or (route.weight == 0 and not route.shape)
    if wait.condition is Condition.ACKNOWLEDGED:
        return not route.waits_for
    return _workload_holds(wait, observation.workloads.get(wait.subject, WorkloadObservation()))


def _workload_holds(wait: Await, seen: WorkloadObservation) -> bool:
    match wait.condition:
        case Condition.FROZEN:
            return seen.frozen
        case Condition.CANARY_AVAILABLE:
            wanted = wait.value or seen.canary_desired
            return seen.canary_exists and seen.canary_desired >= wait.value and seen.canary_available >= wanted
        case Condition.CAN_CARRY:
            return seen.canary_exists and capacity(seen) >= wait.value
        case Condition.CANARY_AT:
            return seen.canary_desired == wait.value and seen.canary_replicas == wait.value
        case Condition.CANARY_GONE:
            return not seen.canary_exists and seen.canary_replicas == 0
        case Condition.STABLE_AVAILABLE:
            # What was removed as a whole does not come back by being waited for.
            wanted = wait.value or seen.desired
            return not seen.exists or seen.stable_available >= wanted or _runs_edited(seen, wanted)
        case Condition.STABLE_AT:
            return seen.stable_replicas == wait.value
        case Condition.STABLE_RELEASED:
            return not seen.stable_owned and seen.history_owned == 0
        case Condition.CANARY_RELEASED:
            return not seen.canary_owned
        case Condition.ADOPTABLE:
            return is_adoptable(seen)
        case Condition.ADOPTED:
            return seen.canary_owned and seen.recognised
        case Condition.WORKLOAD_AVAILABLE:
            return seen.exists and seen.rolled_out
        case Condition.WORKLOAD_GONE:
            return not seen.exists
        case Condition.WEIGHT | Condition.NO_WEIGHT | Condition.ACKNOWLEDGED | Condition.OBJECT_SETTLED:
            raise AssertionError(f"{wait.condition} is no condition of a workload")


def _runs_edited(seen: WorkloadObservation, wanted: int) -> bool:
    """Whether the workload has come up whole in a version of somebody else's making, such as the old one restarted: then the pods
    of the one that was found do not come again."""
    return seen.template is Template.FOREIGN and seen.rolled_out and seen.owned_available >= wanted


def capacity(seen: WorkloadObservation) -> int:
    """The share of traffic that the canary's available pods can carry, in basis points.

    Measured against the pods that carry it all today: while an autoscaler brings up more of both versions, neither is short only
    because the other one was quicker.
    """
    if not seen.canary_available:
        return 0
    all_of_it = min(seen.desired, max(seen.stable_available, seen.canary_available))
    return min(FULL_WEIGHT, FULL_WEIGHT * seen.canary_available // all_of_it) if all_of_it > 0 else FULL_WEIGHT


def is_adoptable(seen: WorkloadObservation) -> bool:
    """Whether the hand-over may go on: the controller would scale or replace the tested pods if any of this were not so.

    Measured on a real kube-controller-manager: a template that differs is not recognised, and unequal replicas are scaled
    proportionally.
    """
    return (
        seen.frozen
        and seen.template is Template.NEW
        and seen.desired == seen.canary_desired
        and seen.canary_available >= seen.canary_desired
    )
