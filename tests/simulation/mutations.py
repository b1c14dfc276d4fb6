"""Bugs that are planted on purpose, to see that the simulation finds them: a promise counts only where its breach is noticed.

Each is a small change of the real code, such as a tired person makes. What is not among them: the read-back of a weight alone,
and a weight that is believed from a cache. In this cluster a write that was answered is there, so leaving these out changes
nothing that a client could notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import jsonpatch
from msgspec.structs import replace

from adapters.kubernetes import taking_back, workloads
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import Unreachable
from adapters.kubernetes.informer import Informer
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL
from adapters.routers import services
from engine import absorbing, decide, judgement, observation
from engine.actor import Actor
from engine.daemon import Engine
from engine.errors import StoreError
from engine.events import Cleared, Started
from engine.model import Act, ActionKind, Await, Condition, Operation, RolloutSpec, Settle, Snapshot, State
from engine.ports import Commit
from engine.timers import Timers
from engine.turn import Turn
from store import sqlite
from strategies import back, forward, keeping
from strategies.canary import CanaryStrategy
from tests.simulation.telling import tell

Mutation = AbstractContextManager[object]
Change = Callable[[State, tuple[Operation, ...]], tuple[Operation, ...]]


def procedures(change: Change) -> Mutation:
    """Other operations than those that the strategy says."""
    former = CanaryStrategy.expand

    def expand(self: CanaryStrategy, spec: RolloutSpec, snapshot: Snapshot, state: State) -> tuple[Operation, ...]:
        return change(state, former(self, spec, snapshot, state))

    return patch.object(CanaryStrategy, "expand", expand)


def without(*left_out: ActionKind | Condition, states: tuple[State, ...] = tuple(State)) -> Mutation:
    def is_kept(state: State, operation: Operation) -> bool:
        kind = operation.kind if isinstance(operation, Act) else operation.condition if isinstance(operation, Await) else None
        return kind not in left_out or state not in states

    return procedures(lambda state, operations: tuple(one for one in operations if is_kept(state, one)))


def handled(kind: ActionKind, otherwise: Callable[[Task], Done]) -> Mutation:
    """What an action does in a cluster."""
    former = KubernetesActuator._handle

    async def handle(self: KubernetesActuator, task: Task) -> Done:
        return otherwise(task) if task.action.kind is kind else await former(self, task)

    return patch.object(KubernetesActuator, "_handle", handle)


# --- the engine --------------------------------------------------------------------------------------------------------


def act_before_the_commit() -> Mutation:
    former = sqlite.SqliteStore.commit

    async def commit(self: sqlite.SqliteStore, decision: Any) -> None:
        _kept.append(asyncio.get_running_loop().create_task(former(self, decision)))

    return patch.object(sqlite.SqliteStore, "commit", commit)


_kept: list[asyncio.Task[None]] = []


def forget_timers_at_a_restart() -> Mutation:
    async def resume(self: Actor) -> None:
        await self._switch_effects()

    return patch.object(Actor, "resume", resume)


def forget_actions_at_a_restart() -> Mutation:
    async def resume(self: Actor) -> None:
        self._arm_timers()

    return patch.object(Actor, "resume", resume)


def drop_what_the_disk_refuses() -> Mutation:
    former = Actor._decide

    async def decide_and_commit(self: Actor, event: Any) -> Any:
        made = former(self, event)
        try:
            if made is not None:
                await self._store.commit(Commit(self.spec, made.snapshot, made.entry, self.snapshot.seq))
        except StoreError:
            return None
        return made

    return patch.object(Actor, "_decide_and_commit", decide_and_commit)


def take_silence_for_absence() -> Mutation:
    """Where a cluster does not answer, nothing is there."""
    former = Cluster.find

    async def find(self: Cluster, *place: Any) -> Any:
        try:
            return await former(self, *place)
        except Unreachable:
            return None

    return patch.object(Cluster, "find", find)


def sleep_for_ever_after_a_jump() -> Mutation:
    former = Timers.arm

    def arm(self: Timers, rollout: str, name: str, due_at: Any) -> None:
        if len(self._armed) < 3:
            former(self, rollout, name, due_at)

    return patch.object(Timers, "arm", arm)


def carry_out_two_releases_at_once() -> Mutation:
    former = Engine._begin_what_may

    def begin(self: Engine) -> None:
        former(self)
        for actor in self._actors.values():
            if actor.snapshot.state is State.WAITING and actor.spec.id not in self._admitted:
                self._admitted.add(actor.spec.id)
                actor.post(Cleared("begins"))
                actor.post(Started("begins"))

    return patch.object(Engine, "_begin_what_may", begin)


def order_releases_by_the_clock() -> Mutation:
    former = sqlite.SqliteStore.unfinished_releases

    async def unfinished(self: sqlite.SqliteStore) -> Any:
        return sorted(await former(self), key=lambda one: one.created_at)

    return patch.object(sqlite.SqliteStore, "unfinished_releases", unfinished)


def never_try_again() -> Mutation:
    def retry_later(turn: Turn, action: Any, event: Any) -> None:
        turn.story.append(f"{action.name} failed: {event.message}")

    return patch.object(absorbing, "_retry_later", retry_later)


def do_not_settle() -> Mutation:
    former = decide._is_over
    return patch.object(decide, "_is_over", lambda turn, one: isinstance(one, Settle) or former(turn, one))


def believe_in_any_measurement() -> Mutation:
    return patch.object(judgement, "within_limits", lambda query, value: True)


def give_up_an_abort() -> Mutation:
    """A failed action of the way back counts as done."""
    former = absorbing._absorb_failure

    def absorb(turn: Turn, event: Any) -> None:
        action = turn.at.action
        if turn.at.state in (State.ABORTING, State.RESTORING) and action is not None and action.number == event.number:
            absorbing._finish_action(turn, action)
            turn.story.append("left out")
        else:
            former(turn, event)

    return patch.object(absorbing, "_absorb_failure", absorb)


# --- the strategy ------------------------------------------------------------------------------------------------------


def give_weight_to_no_pods() -> Mutation:
    whatever = patch.object(observation, "capacity", lambda seen: 10_000), patch.object(keeping, "capacity", lambda seen: 10_000)
    return _all(*whatever, without(Condition.CANARY_AVAILABLE))


@contextmanager
def _all(*changes: Mutation) -> Iterator[None]:
    if not changes:
        yield
        return
    with changes[0], _all(*changes[1:]):
        yield


def remove_pods_before_the_weight() -> Mutation:
    return without(ActionKind.SET_WEIGHT, Condition.NO_WEIGHT, states=(State.ABORTING,))


def hand_over_before_the_weight() -> Mutation:
    return without(ActionKind.SET_WEIGHT, Condition.WEIGHT, states=(State.PROMOTING,))


def remove_services_before_the_route() -> Mutation:
    def change(state: State, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        kinds = (ActionKind.REMOVE_STABLE_SERVICE, ActionKind.REMOVE_CANARY_SERVICE)
        first = [one for one in operations if isinstance(one, Act) and one.kind in kinds]
        return (*first, *(one for one in operations if one not in first))

    return procedures(change)


def wait_for_the_instant() -> Mutation:
    return patch.object(Turn, "is_due", lambda self, again_at: self.now >= again_at)


def split_after_the_pods() -> Mutation:
    """The canary's pods come up while the root Service, which selects them too, still gets all requests."""

    def change(state: State, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        late = [one for one in operations if isinstance(one, Act) and one.kind is ActionKind.ENSURE_ROUTE]
        reads = [one for one in operations if isinstance(one, Await) and one.condition is Condition.WEIGHT]
        if state is State.PREPARING:
            return tuple(one for one in operations if one not in (*late, *reads))
        return operations

    return procedures(change)


def shrink_before_growing() -> Mutation:
    former = forward._move_pods
    return patch.object(forward, "_move_pods", lambda stand, workload, weight, grows: former(stand, workload, weight, not grows))


def raise_the_weight_on_the_way_back() -> Mutation:
    def change(state: State, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        is_raised = state is State.ABORTING
        return tuple(
            replace(one, args={**one.args, "weight": 10_000})
            if is_raised and isinstance(one, Act) and one.kind is ActionKind.SET_WEIGHT
            else one
            for one in operations
        )

    return procedures(change)


# --- the cluster -------------------------------------------------------------------------------------------------------


def select_both_versions() -> Mutation:
    former = services._pinned

    def pinned(*given: Any) -> Any:
        body = former(*given)
        del body["spec"]["selector"][HASH_LABEL]
        return body

    return patch.object(services, "_pinned", pinned)


def take_an_effect_for_a_stranger() -> Mutation:
    """After a lost answer, what was made is taken for somebody else's."""
    return patch.object(services, "_is_made_by", lambda task, found: False)


def list_never_again() -> Mutation:
    former = Informer._back_off

    async def back_off(self: Informer[Any], error: Any) -> None:
        listed = self._must_list
        await former(self, error)
        self._must_list = listed

    return patch.object(Informer, "_back_off", back_off)


def hear_no_deletions() -> Mutation:
    former = Informer._take_event

    def take(self: Informer[Any], item: Any, *, deleted: bool) -> None:
        if not deleted:
            former(self, item, deleted=False)

    return patch.object(Informer, "_take_event", take)


def leave_an_edited_template() -> Mutation:
    def take_back(*given: Any) -> Any:
        raise taking_back.Entangled("it was edited")

    return patch.object(workloads, "take_back", take_back)


def write_over_others() -> Mutation:
    """The whole object as it was read, whatever has become of it since."""

    async def write(self: Cluster, resource: Any, found: Any, changes: list[Any]) -> Any:
        body = jsonpatch.apply_patch(deepcopy(found), changes)
        now = await self.get(resource, found["metadata"]["namespace"], found["metadata"]["name"])
        body["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
        path = resource.item(found["metadata"]["namespace"], found["metadata"]["name"])
        made = await self.transport.request("PUT", path, what="PUT", query={"fieldManager": "headgate"}, body=body)
        self._expect(resource, made)
        return made

    return patch.object(Cluster, "patch", write)


MUTATIONS: dict[str, Callable[[], Mutation]] = {
    "an action is performed before its decision is on the disk": act_before_the_commit,
    "timers are not armed again after a restart": forget_timers_at_a_restart,
    "an ordered action is not repeated after a restart": forget_actions_at_a_restart,
    "what the disk refuses is not decided again": drop_what_the_disk_refuses,
    "where a cluster does not answer, nothing is there": take_silence_for_absence,
    "the fourth timer of all is forgotten": sleep_for_ever_after_a_jump,
    "two releases of an application are carried out at once": carry_out_two_releases_at_once,
    "releases are taken up in the order of their clocks": order_releases_by_the_clock,
    "a failed action is not tried again": never_try_again,
    "nothing settles": do_not_settle,
    "every measurement is within its limits": believe_in_any_measurement,
    "a failed action of the way back counts as done": give_up_an_abort,
    "a weight is given to a version without pods": give_weight_to_no_pods,
    "an abort removes the pods, and leaves the weight": remove_pods_before_the_weight,
    "the pods are handed over before they have all traffic": hand_over_before_the_weight,
    "Services go before the route that names them": remove_services_before_the_route,
    "the canary's pods come up before traffic is kept off them": split_after_the_pods,
    "a pod ratio shrinks before it grows": shrink_before_growing,
    "the weight rises on the way back": raise_the_weight_on_the_way_back,
    "the Services of both versions select both": select_both_versions,
    "what was made by a lost request is taken for somebody else's": take_an_effect_for_a_stranger,
    "a cache is not filled again when its history has expired": list_never_again,
    "a cache hears no deletions": hear_no_deletions,
    "an undo leaves a template that somebody has restarted": leave_an_edited_template,
    "writes go over what others have written since": write_over_others,
    "what is tried again lets nothing go first": lambda: patch.object(decide, "makes_room", lambda turn: False),
    "an abort whose weight is overwritten is content": lambda: patch.object(decide, "_writes_again", lambda *given: False),
    "a retry waits for its instant, wherever the clock has gone": wait_for_the_instant,
    "the weight is not looked at again before the pods go": lambda: patch.object(back, "_confirm_weights", lambda stand: ()),
    "an autoscaler stays held": lambda: handled(ActionKind.RESTORE_AUTOSCALER, lambda task: Done("free")),
    "a Deployment stays paused": lambda: handled(ActionKind.UNFREEZE_WORKLOAD, lambda task: Done("it is as it was")),
    "fields stay ours": lambda: handled(ActionKind.RETURN_FIELDS, lambda task: Done("returned")),
    "a canary Service is left behind": lambda: handled(ActionKind.REMOVE_CANARY_SERVICE, lambda task: Done("removed")),
    "a route is not put back": lambda: handled(ActionKind.REMOVE_ROUTE, lambda task: Done("as it was")),
    "the canary's pods are left behind": lambda: _all(
        handled(ActionKind.REMOVE_CANARY, lambda task: Done("removed")), without(Condition.CANARY_GONE)
    ),
}
"""By what a person would say of it."""


MOST_SEEDS = 1_000
"""In which a planted bug has to show."""


def try_mutation(name: str) -> tuple[str, tuple[int, str] | None]:
    """Here, and not in the command, because another process has to find it by its name."""
    return name, catch(name, range(MOST_SEEDS))


def catch(name: str, seeds: range) -> tuple[int, str] | None:
    """The first of the seeds whose story breaks a rule with the planted bug, and which; None if none does."""
    with MUTATIONS[name]():
        for seed in seeds:
            if wrong := tell(seed).wrong:
                return seed, wrong
    return None
