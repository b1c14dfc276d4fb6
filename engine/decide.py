"""The pure heart: where a rollout stands, what woke it and what is seen of the world -> where it stands next, and why.

`decide` reads no clock, draws no randomness and does nothing; it returns a `Decision` to be committed, or None when nothing
changes. One decision makes at most one transition and orders at most one action, and yields exactly one journal entry.
Conditions are level-triggered: the event only wakes, the observation decides.

A rollout has a lane of its own, the procedure of its state, in which one thing is done after another, and beside it gates
(`engine.gates`), each with an action and deadlines of its own: a measurement never waits for a router, nor a router for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from engine import gates
from engine.absorbing import absorb
from engine.events import (
    Event,
)
from engine.guarding import describe_trouble, ends_rest, is_held, is_unhealthy, makes_room, mends, reasserts, rests
from engine.machine import Trigger
from engine.model import (
    FINAL_STATES,
    GATED_STATES,
    STATE_OF_STEP,
    STEP_STATES,
    UNDOING_STATES,
    Act,
    ActionKind,
    Await,
    Condition,
    Expose,
    OnTimeout,
    Pause,
    RolloutSpec,
    Settle,
    Snapshot,
    State,
    Step,
    TimerName,
)
from engine.observation import Observation, holds
from engine.ports import Strategy
from engine.tending import tend_gates
from engine.traffic import FULL_WEIGHT, SetWeight, TrafficStep
from engine.turn import Decision, Turn


def decide(
    spec: RolloutSpec, snapshot: Snapshot, event: Event, observation: Observation, now: datetime, strategy: Strategy
) -> Decision | None:
    """The next stand of the rollout, or None when the event changes nothing."""
    if snapshot.state in FINAL_STATES:
        return None
    turn = Turn(spec, snapshot, observation, now, strategy)
    absorb(turn, event)
    if not turn.moved:
        proceed(turn)
    return turn.conclude(event)


def proceed(turn: Turn) -> None:
    state = turn.at.state
    ends_rest(turn)
    if state is State.PARKED:
        return
    undoing = state in UNDOING_STATES
    if not undoing and is_unhealthy(turn):
        return
    if tend_gates(turn):
        return
    if state is State.WAITING:
        _begin_if_admitted(turn)
        return
    if turn.at.action is not None:
        if undoing or not turn.is_backing_off or not makes_room(turn):
            _retry_now_if_due(turn)
        return
    if not undoing and (mends(turn) or reasserts(turn) or is_held(turn)):
        return
    _work(turn)


def _begin_if_admitted(turn: Turn) -> None:
    if turn.may_start and not turn.at.held and turn.all_passed(turn.at.gates):
        turn.enter(Trigger.ADVANCE, State.PREPARING, "the rollout begins")


def _retry_now_if_due(turn: Turn) -> None:
    due = turn.at.timers.get(TimerName.RETRY)
    if turn.at.action is None or due is None or not turn.is_due(due) or rests(turn, turn.at.action):
        return
    again = replace(turn.at.action, attempt=turn.at.action.attempt + 1)
    turn.at = replace(turn.at, action=again, timers=turn.timers_without(TimerName.RETRY))
    turn.story.append(f"again: {again.name}")


def _work(turn: Turn) -> None:
    """Go through the procedure up to its next action or unmet condition; then see whether the state is done."""
    follow = turn.strategy.follow(turn.spec, turn.at, turn.observation) if turn.observation.current else None
    if follow is not None:
        turn.order(follow)
        return
    undoing = turn.at.state in UNDOING_STATES
    if isinstance(stood_at := turn.current_operation(), Act):
        turn.wait_again(stood_at)  # It may have rested, or been held, or made room here.
    while (operation := turn.current_operation()) is not None:
        if isinstance(operation, Act):
            if not rests(turn, operation):
                turn.order(operation)
            return
        if not _is_over(turn, operation):
            if _writes_again(turn, operation):
                return
            if undoing and isinstance(operation, Await) and turn.gives_way():
                continue
            return
        turn.at = replace(turn.at, cursor=turn.at.cursor + 1, timers=turn.timers_without(TimerName.WAIT))
    if not turn.moved:
        _finish_state(turn)


_WEIGHING = (ActionKind.SET_WEIGHT, ActionKind.ENSURE_ROUTE)


def _writes_again(turn: Turn, operation: Await | Settle) -> bool:
    """Order the awaited weight again, and nothing else, if it has been seen not to be there for long enough."""
    if not isinstance(operation, Await) or operation.on_timeout is not OnTimeout.AGAIN:
        return False
    if not turn.observation.current or turn.now < turn.at.timers[TimerName.WAIT]:
        return False
    orders = [
        one
        for one in turn.at.procedure[: turn.at.cursor]
        if isinstance(one, Act) and one.kind in _WEIGHING and one.args.get("route") == operation.subject
    ]
    turn.story.append(f"{operation.name}: not true after {operation.timeout_seconds:g} s")
    turn.clear_timer(TimerName.WAIT)
    turn.order(orders[-1])
    return True


def _is_over(turn: Turn, operation: Await | Settle) -> bool:
    seconds = operation.seconds if isinstance(operation, Settle) else operation.timeout_seconds
    turn.take_up_wait(operation)
    deadline = turn.at.timers.get(TimerName.WAIT)
    if isinstance(operation, Await) and holds(operation, turn.observation):
        _note_condition(turn, operation)
        return True
    if deadline is None and seconds is not None:
        deadline = turn.now + timedelta(seconds=seconds)
        turn.at = replace(turn.at, timers={**turn.at.timers, TimerName.WAIT: deadline})
        turn.story.append(f"waiting at most {seconds:g} s: {operation.name}")
    if deadline is None or seconds is None or turn.now < deadline:
        return False
    if isinstance(operation, Settle):
        turn.story.append(f"settled for {operation.seconds:g} s")
        return True
    if operation.on_timeout is OnTimeout.AGAIN:
        return False
    if not turn.observation.current and turn.at.state not in UNDOING_STATES:
        return False  # It may have become true while nobody looked: the first good look decides, or `is_held` has no more of it.
    late = f"{operation.name}: not true after {operation.timeout_seconds:g} s{describe_trouble(turn)}"
    if operation.on_timeout is OnTimeout.PROCEED or turn.at.state in UNDOING_STATES:
        turn.story.append(f"{late}; going on")
        return True
    turn.fail(late)
    return False


def _note_condition(turn: Turn, operation: Await) -> None:
    turn.story.append(operation.name)
    if operation.condition is Condition.WEIGHT:
        turn.at = replace(turn.at, served=_served(turn, operation.value))
    elif operation.condition is Condition.NO_WEIGHT:
        turn.at = replace(turn.at, served=0)
    elif operation.condition in (Condition.STABLE_AT, Condition.STABLE_AVAILABLE) and turn.at.served:
        turn.at = replace(turn.at, served=_served(turn, turn.at.served))


def _note_served(turn: Turn) -> None:
    """What was really reached, beside what was asked for: a ratio of few pods is coarse, and a step may change nothing in it."""
    step = turn.spec.plan.steps[turn.at.step]
    if isinstance(step, SetWeight) and turn.at.weight != step.weight:
        turn.at = replace(turn.at, weight=step.weight)
    served = _served(turn, turn.at.weight)
    if served != turn.at.weight:
        turn.story.append(f"asked for {turn.at.weight / 100:g} %, reached {served / 100:g} %")
    turn.at = replace(turn.at, served=served)


def _served(turn: Turn, fallback: int) -> int:
    weights = [route.weight if route.reached is None else route.reached for route in turn.observation.routes.values()]
    return max((one for one in weights if one is not None), default=fallback)


def _finish_state(turn: Turn) -> None:
    if turn.at.state in GATED_STATES and not turn.all_passed(turn.at.gates):
        return
    match turn.at.state:
        case State.PREPARING:
            turn.enter(Trigger.ADVANCE, State.SCALING, "everything is prepared")
        case State.SCALING | State.SHIFTING:
            _next_step(turn)
        case state if state in STEP_STATES:
            _next_step(turn)
        case State.PROMOTING:
            turn.enter(Trigger.ADVANCE, State.FINALISING, "the new version serves everything")
        case State.FINALISING if turn.spec.plan.after:
            turn.enter(Trigger.ADVANCE, State.VERIFYING, "the conditions after the deployment are looked at")
            turn.open(gates.ids_of("after", turn.spec.plan.after))
        case State.FINALISING | State.VERIFYING:
            turn.enter(Trigger.ADVANCE, State.SUCCEEDED, "succeeded")
        case State.ABORTING:
            turn.enter(Trigger.ADVANCE, State.RESTORING, "the stable version serves everything again")
        case State.RESTORING:
            turn.enter(Trigger.ADVANCE, State.ROLLED_BACK, "everything is as it was")
        case _:
            raise AssertionError(f"state {turn.at.state} has no end of its own")


def _next_step(turn: Turn) -> None:
    if turn.at.state is State.SHIFTING:
        _note_served(turn)
    steps = turn.spec.plan.steps
    index = turn.at.step + 1
    while turn.at.promoting and index < len(steps) and _is_left_out(steps[index]):
        index += 1
    if index >= len(steps) or turn.strategy.skips_steps(turn.spec, turn.at):
        turn.at = replace(turn.at, step=len(steps))
        turn.enter(Trigger.ADVANCE, State.PROMOTING, "all steps are done")
        return
    turn.at = replace(turn.at, step=index)
    turn.enter(Trigger.ADVANCE, STATE_OF_STEP[type(steps[index])], f"step {index + 1} of {len(steps)}")
    turn.open(gates.ids_of_step(turn.spec.plan, index))
    if not any(map(gates.is_background, turn.at.gates)):
        turn.open(gates.ids_of(gates.BACKGROUND, turn.spec.plan.background))
    if turn.at.promoting:
        turn.pass_pauses("promoted")


def _is_left_out(step: Step) -> bool:
    """What a person who promotes does not want to wait for."""
    if isinstance(step, SetWeight):
        return step.weight < FULL_WEIGHT
    return isinstance(step, Pause | Expose | TrafficStep)
