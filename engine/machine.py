"""The explicit state machine: every way from one state of a rollout to another, as one table.

Two rules of this file. Everything that says which state may follow which lives here and nowhere else. And this file does not
know why: whether a step is done, an analysis failed or an operator gave an order is `engine.decide`'s business.

The table runs on the `transitions` library as one shared flat machine. Models are short-lived and never registered
(registering is quadratic, and nested machines shared by several models corrupt each other); guards are pure functions; there
are no callbacks, because what follows from a transition is decided, committed and only then done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from transitions import EventData, Machine, MachineError

from engine.model import FINAL_STATES, STEP_STATES, State


class Trigger(StrEnum):
    ADVANCE = "advance"
    """What the state was for is done."""
    ABORT = "abort"
    """Put everything back: by an operator's order, a failed judgement, or a state that ran out of time."""
    REFUSE = "refuse"
    """The first look at the world showed that the rollout cannot be done; nothing was changed."""
    CANCEL = "cancel"
    """Ended before it began."""
    FAIL = "fail"
    """A condition before or after the deployment did not hold, and nothing is to be put back."""
    PARK = "park"
    """An error that nobody foresaw: stay where traffic is, raise an alarm, wait for a person."""
    UNPARK = "unpark"


@dataclass(frozen=True, slots=True)
class Edge:
    trigger: Trigger
    source: State
    destination: State
    choice: bool = False
    """Several edges share the trigger and source: the one whose destination was asked for is taken."""


class IllegalTransition(Exception):
    """A trigger that the table does not have for this state: a defect of the caller, never of a user."""


_ACTIVE = tuple(state for state in State if state not in FINAL_STATES and state is not State.PARKED)
_UNDOABLE = (State.PREPARING, State.SCALING, *sorted(STEP_STATES), State.PROMOTING, State.FINALISING, State.VERIFYING)
_PARKABLE = tuple(state for state in _ACTIVE if state not in (State.WAITING, State.ABORTING, State.RESTORING))


def _edges() -> Iterator[Edge]:
    yield Edge(Trigger.ADVANCE, State.WAITING, State.PREPARING)
    yield Edge(Trigger.ADVANCE, State.PREPARING, State.SCALING)
    for source in (State.SCALING, *sorted(STEP_STATES)):
        for destination in (*sorted(STEP_STATES), State.PROMOTING):
            yield Edge(Trigger.ADVANCE, source, destination, choice=True)
    yield Edge(Trigger.ADVANCE, State.PROMOTING, State.FINALISING)
    yield Edge(Trigger.ADVANCE, State.FINALISING, State.VERIFYING, choice=True)
    yield Edge(Trigger.ADVANCE, State.FINALISING, State.SUCCEEDED, choice=True)
    yield Edge(Trigger.ADVANCE, State.VERIFYING, State.SUCCEEDED)
    yield Edge(Trigger.ADVANCE, State.ABORTING, State.RESTORING)
    yield Edge(Trigger.ADVANCE, State.RESTORING, State.ROLLED_BACK)
    yield Edge(Trigger.CANCEL, State.WAITING, State.CANCELLED)
    yield Edge(Trigger.FAIL, State.WAITING, State.FAILED)
    yield Edge(Trigger.FAIL, State.VERIFYING, State.FAILED)
    yield Edge(Trigger.REFUSE, State.PREPARING, State.REJECTED)
    for source in (*_UNDOABLE, State.PARKED):
        yield Edge(Trigger.ABORT, source, State.ABORTING)
    for source in _PARKABLE:
        yield Edge(Trigger.PARK, source, State.PARKED)
        yield Edge(Trigger.UNPARK, State.PARKED, source, choice=True)


EDGES: tuple[Edge, ...] = tuple(_edges())


@dataclass(slots=True)
class _Passage:
    """The machine's model for one transition: where a rollout is (the library wants a plain text), and where it asks to go."""

    state: str
    wanted: State | None


def _wants(destination: State) -> Callable[[EventData], bool]:
    def guard(event: EventData) -> bool:
        passage = event.model
        return isinstance(passage, _Passage) and passage.wanted is destination

    return guard


def _build() -> Machine:
    machine = Machine(
        model=None,
        states=[state.value for state in State],
        initial=State.WAITING.value,
        auto_transitions=False,
        send_event=True,
    )
    for edge in EDGES:
        machine.add_transition(
            edge.trigger.value,
            edge.source.value,
            edge.destination.value,
            conditions=[_wants(edge.destination)] if edge.choice else [],
        )
    return machine


_MACHINE = _build()


def fire(state: State, trigger: Trigger, wanted: State | None = None) -> State:
    """The state that follows, or `IllegalTransition`. `wanted` chooses where the table offers several destinations."""
    passage = _Passage(state.value, wanted)
    try:
        moved = _MACHINE.events[trigger.value].trigger(passage)
    except MachineError as error:
        raise IllegalTransition(f"{trigger} is not possible in state {state}") from error
    if not moved:
        raise IllegalTransition(f"{trigger} in state {state} does not lead to {wanted}")
    return State(passage.state)


def is_possible(state: State, trigger: Trigger) -> bool:
    return any(edge.source is state and edge.trigger is trigger for edge in EDGES)


def destinations(state: State, trigger: Trigger) -> frozenset[State]:
    return frozenset(edge.destination for edge in EDGES if edge.source is state and edge.trigger is trigger)


def draw_mermaid() -> str:
    """The table as a Mermaid state diagram. Parking and aborting are drawn once, from the group of states they leave."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING}"]
    steps = ", ".join(sorted(STEP_STATES))
    step_states = {*STEP_STATES}
    lines.append(f'    state "one step ({steps})" as step')
    drawn: set[tuple[str, str, str]] = set()
    for edge in EDGES:
        source = "step" if edge.source in step_states else edge.source.value
        destination = "step" if edge.destination in step_states else edge.destination.value
        arrow = (source, destination, edge.trigger.value)
        if arrow in drawn:
            continue
        drawn.add(arrow)
        lines.append(f"    {source} --> {destination}: {edge.trigger}")
    lines.extend(f"    {state} --> [*]" for state in sorted(FINAL_STATES))
    return "\n".join(lines) + "\n"
