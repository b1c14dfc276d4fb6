"""One decision in the making: a working copy of the snapshot, the sentences for the journal, and the moves that are made of both.

What an event says is read by `engine.absorbing`; what follows is decided by `engine.tending`, `engine.guarding` and
`engine.decide`. This only keeps the moves consistent: a transition clears what belonged to the state before, an action gets
the next number.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from engine import gates
from engine.events import (
    ActionFailed,
    Command,
    Event,
    TimerFired,
)
from engine.giving_way import give_way
from engine.machine import Trigger, fire, is_possible
from engine.model import (
    FINAL_STATES,
    STEP_STATES,
    UNDOING_STATES,
    Act,
    Action,
    ActionKind,
    Await,
    Facts,
    Gate,
    GaveWay,
    JournalEntry,
    OnFailure,
    OnTimeout,
    Operation,
    Parked,
    Pause,
    RolloutSpec,
    Snapshot,
    State,
    TimerName,
    Verdict,
)
from engine.observation import Observation, holds
from engine.ports import Strategy
from engine.traffic import FULL_WEIGHT

RETRY_FIRST_SECONDS = 0.5
RETRY_MOST_SECONDS = 30.0
RETRY_AFTER_MOST_SECONDS = 300.0
"""Whoever stands in the way may say anything; and on the way back nobody is waited for longer than by our own measure."""
SERVING_STATES = STEP_STATES | {State.SCALING, State.PROMOTING}
_BACKGROUND_STATES = STEP_STATES | {State.PROMOTING}


class Decision(Struct, frozen=True):
    snapshot: Snapshot
    entry: JournalEntry


class Turn:
    """One decision in the making: a working copy of the snapshot and the sentences for the journal."""

    def __init__(
        self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation, now: datetime, strategy: Strategy
    ) -> None:
        self.spec = spec
        self.before = snapshot
        self.at = snapshot
        self.observation = observation
        self.now = now
        self.strategy = strategy
        self.moved = False
        self.may_start = False
        self.story: list[str] = []
        self.detail: Facts = {}

    def put(self, gate: Gate) -> None:
        self.at = replace(self.at, gates=tuple(gate if one.id == gate.id else one for one in self.at.gates))

    def gate_of(self, number: int) -> Gate | None:
        """The gate whose action has this number."""
        return next((one for one in self.at.gates if one.action is not None and one.action.number == number), None)

    def action_before(self, number: int) -> Action:
        return next(action for action in self.before.pending if action.number == number)

    def number(self, act: Act) -> Action:
        """The act as an action that is about to be journaled."""
        number = self.at.actions + 1
        self.at = replace(self.at, actions=number)
        self.story.append(f"next: {act.name}")
        self.detail = {**self.detail, "action": act.name, "number": number}
        return Action(number, act.name, act.kind, act.args)

    def order(self, act: Act) -> None:
        action = self.number(act)
        begun = self.at.begun if act.name in self.at.begun else (*self.at.begun, act.name)
        gave_way, failures = dict(self.at.gave_way), 0
        if (former := gave_way.pop(act.name, None)) is not None:
            failures = former.failures
        changes = replace(self.at, action=action, begun=begun, failures=failures, doubts=0, failure="", gave_way=gave_way)
        if act.patience_seconds is not None:
            left = former.left_seconds if former is not None else None
            until = self.now + timedelta(seconds=act.patience_seconds if left is None else left)
            changes = replace(changes, timers={**changes.timers, TimerName.WAIT: until})
        self.at = _with_weight(changes, act)

    @property
    def is_backing_off(self) -> bool:
        """Whether the lane's action has failed and waits for its next attempt."""
        return self.at.action is not None and TimerName.RETRY in self.at.timers

    def set_aside(self) -> None:
        """The action that waits for its next attempt makes room. It is ordered anew once what it waited for holds again; where it
        is tried for a time only, it has then what is left of that time."""
        action = self.at.action
        assert action is not None
        timers, gave_way = self.timers_without(TimerName.RETRY), dict(self.at.gave_way)
        if self.patience_of(action) is not None:
            until = timers.pop(TimerName.WAIT, None)
            if until is not None:
                left = max((until - self.now).total_seconds(), 0.0)
                gave_way[action.name] = GaveWay(until, self.at.failures, left)
        cursor = self.cursor_before(action.name)
        changes = replace(self.at, action=None, cursor=cursor, failures=0, failure="")
        self.at = replace(changes, timers=timers, gave_way=gave_way)

    def cursor_before(self, name: str) -> int:
        """Where the procedure stands when it looks again at what its current act, of this name, has waited for."""
        return self.at.cursor - len(self._waited_for(name))

    def still_holds(self, name: str) -> bool:
        """Whether what the procedure's current act, of this name, had to wait for is true still, as far as is seen. While undoing
        that is nothing but a weight."""
        binding = {OnTimeout.AGAIN} if self.at.state in UNDOING_STATES else {OnTimeout.AGAIN, OnTimeout.FAIL}
        must = [one for one in self._waited_for(name) if one.on_timeout in binding]
        return not self.observation.current or all(holds(one, self.observation) for one in must)

    def wait_again(self, act: Act) -> None:
        """What the current act had waited for, some time ago, is waited for once more if it is not so any more."""
        if not self.still_holds(act.name):
            self.at = replace(self.at, cursor=self.cursor_before(act.name))
            self.story.append(f"{act.name} waits again for what it needs")

    def _waited_for(self, name: str) -> list[Await]:
        found: list[Await] = []
        cursor, procedure = self.at.cursor, self.at.procedure
        if cursor < len(procedure) and procedure[cursor].name == name:
            while len(found) < cursor and isinstance(before := procedure[cursor - 1 - len(found)], Await):
                found.append(before)
        return found

    def patience_of(self, action: Action) -> Act | None:
        """The act as the procedure has it, where it is tried for a time only."""
        ordered = (one for one in self.at.procedure if isinstance(one, Act) and one.name == action.name)
        return next((one for one in ordered if one.patience_seconds is not None), None)

    def is_due(self, again_at: datetime) -> bool:
        """Whether a next attempt may be made. One that is further off than any back-off is due too: the clock was set back."""
        return self.now >= again_at or again_at - self.now > timedelta(seconds=RETRY_AFTER_MOST_SECONDS)

    def open(self, ids: Iterable[str]) -> None:
        self.at = replace(self.at, gates=(*self.at.gates, *gates.open_gates(self.spec.plan, ids, self.now)))

    def pass_pauses(self, reason: str) -> None:
        for gate in self.at.gates:
            if isinstance(gates.step_of(self.spec.plan, gate.id), Pause) and not gate.passed:
                self.put(replace(gate, answer=Verdict.PASSED, answer_reason=reason))

    def enter(self, trigger: Trigger, wanted: State, text: str) -> None:
        state = fire(self.at.state, trigger, wanted)
        keep = {TimerName.HEALTH: self.at.timers[TimerName.HEALTH]} if TimerName.HEALTH in self.at.timers else {}
        if state not in SERVING_STATES:
            keep = {}
        watching = tuple(filter(gates.is_background, self.at.gates)) if state in _BACKGROUND_STATES else ()
        self.at = replace(
            self.at,
            state=state,
            entered_at=self.now,
            procedure=(),
            cursor=0,
            action=None,
            failures=0,
            doubts=0,
            failure="",
            gave_way={},
            timers=keep,
            gates=watching,
        )
        if state not in FINAL_STATES:
            self.at = replace(self.at, procedure=self.expand(state))
        elif state is State.SUCCEEDED or (state is State.FAILED and self.before.state is State.VERIFYING):
            # Also where there was nothing to shift, as with a first deployment.
            self.at = replace(self.at, weight=FULL_WEIGHT, served=FULL_WEIGHT)
        elif state is State.ROLLED_BACK:
            self.at = replace(self.at, weight=0, served=0, shape="", carrying=None)
        self.moved = True
        self.story.append(text)

    def expand(self, state: State) -> tuple[Operation, ...]:
        return self.strategy.expand(self.spec, self.at, state)

    def current_operation(self) -> Operation | None:
        """The operation at the cursor; at the end of the procedure the strategy may know more by now."""
        if self.at.cursor >= len(self.at.procedure):
            longer = self.expand(self.at.state)
            if len(longer) <= len(self.at.procedure):
                return None
            self.at = replace(self.at, procedure=longer)
        return self.at.procedure[self.at.cursor]

    def gives_way(self) -> bool:
        """Let the operations of another workload come first, if there is one for which something can be done. One that is tried
        again later, or not waited for after a while, keeps its time: two that are stuck must not keep each other from it."""

        def is_ready(operation: Operation) -> bool:
            former = self.at.gave_way.get(operation.name)
            if isinstance(operation, Act):
                return former is None or self.now >= former.at
            if former is not None and self.now >= former.at:
                return True
            return isinstance(operation, Await) and holds(operation, self.observation)

        procedure = give_way(self.spec.plan, self.at.procedure, self.at.cursor, is_ready)
        if procedure is None:
            return False
        stuck = self.at.procedure[self.at.cursor]
        gave_way = dict(self.at.gave_way)
        if (again_at := self.at.timers.get(TimerName.RETRY) or self.at.timers.get(TimerName.WAIT)) is not None:
            gave_way[stuck.name] = GaveWay(again_at, self.at.failures)
        keep = {name: at for name, at in self.at.timers.items() if name is TimerName.HEALTH}
        self.at = replace(
            self.at, procedure=procedure, action=None, failures=0, doubts=0, failure="", timers=keep, gave_way=gave_way
        )
        return True

    def take_up_wait(self, operation: Operation) -> None:
        """Its patience ends when it would have ended if it had not given way."""
        former = self.at.gave_way.get(operation.name)
        if former is not None:
            gave_way = {name: one for name, one in self.at.gave_way.items() if name != operation.name}
            self.at = replace(self.at, gave_way=gave_way, timers={**self.at.timers, TimerName.WAIT: former.at})

    def hold(self, reason: str) -> None:
        self.at = replace(self.at, held=reason)
        self.story.append(f"held: {reason.removeprefix('drift: ')}")

    def fail(self, reason: str) -> None:
        """Undo the rollout: cancelled when it has not begun, rejected when it has only looked, aborted otherwise."""
        self.at = replace(self.at, reason=reason, held="", parked=None)
        if self.at.state is State.WAITING:
            self.enter(Trigger.CANCEL, State.CANCELLED, reason)
        elif self.at.state is State.PREPARING and self.has_only_looked():
            self.enter(Trigger.REFUSE, State.REJECTED, reason)
        elif is_possible(self.at.state, Trigger.ABORT):
            self.enter(Trigger.ABORT, State.ABORTING, reason)

    def fail_gate(self, gate: Gate, text: str) -> None:
        """What a condition that does not hold means depends on when it was looked at."""
        leave = self.spec.plan.on_failure is OnFailure.LEAVE
        if self.at.state is State.WAITING or (self.at.state is State.VERIFYING and leave):
            self.at = replace(self.at, reason=text, held="")
            self.enter(Trigger.FAIL, State.FAILED, text)
        else:
            self.fail(text)

    def has_only_looked(self) -> bool:
        return all(name.startswith("record:") for name in self.at.begun)

    def park(self, error: str) -> None:
        parked = Parked(self.at.state, error)
        timers = self.timers_without(TimerName.RETRY)
        quiet = replace(self.at, action=None, failures=0, doubts=0, failure="", timers=timers)
        self.at = replace(quiet, gates=idle(self.at.gates))
        self.at = replace(self.at, state=fire(self.at.state, Trigger.PARK), parked=parked)
        self.moved = True
        self.story.append(f"parked, traffic stays where it is: {error}")

    def all_passed(self, some: Iterable[Gate]) -> bool:
        return all(gate.passed for gate in some if not gates.is_background(gate))

    def wait_after(self, action: Action, failures: int, event: ActionFailed) -> float:
        most = RETRY_MOST_SECONDS if self.at.state in UNDOING_STATES else RETRY_AFTER_MOST_SECONDS
        return max(_backoff(self.spec.id, action.number, failures), min(event.retry_after_seconds or 0.0, most))

    def tell_retry(self, name: str, failures: int, wait: float, message: str) -> None:
        self.story.append(f"{name} failed (attempt {failures}), again in {wait:.1f} s: {message}")

    def timers_without(self, name: TimerName) -> dict[TimerName, datetime]:
        return {key: at for key, at in self.at.timers.items() if key is not name}

    def clear_timer(self, name: TimerName) -> bool:
        """Whether it was set."""
        if name not in self.at.timers:
            return False
        self.at = replace(self.at, timers=self.timers_without(name))
        return True

    def conclude(self, event: Event) -> Decision | None:
        if self.at == self.before:
            return None
        seq = self.before.seq + 1
        snapshot = replace(self.at, seq=seq)
        entry = JournalEntry(
            rollout=self.spec.id,
            seq=seq,
            at=self.now,
            event=_name(event),
            source=self.before.state,
            destination=snapshot.state,
            step=snapshot.step,
            text="; ".join(self.story) or "noted",
            detail={**self.detail, "weight": snapshot.weight, "served": snapshot.served},
        )
        return Decision(snapshot, entry)


def _with_weight(at: Snapshot, act: Act) -> Snapshot:
    """What was ordered of the traffic by now. Pods that are scaled may be a weight, too."""
    weight = act.args.get("weight")
    if not isinstance(weight, int) or act.kind in (ActionKind.REASSERT_ROUTE, ActionKind.CHECK_EFFECT):
        return at
    if "carry" in act.args:
        return replace(at, carrying=weight)
    if act.kind is not ActionKind.SET_WEIGHT:
        return replace(at, weight=weight)
    return replace(at, weight=weight, shape=str(act.args.get("shape") or ""), carrying=None)


def park(spec: RolloutSpec, snapshot: Snapshot, error: str, now: datetime) -> Decision | None:
    """The decision after a defect of ours: stay where traffic is and wait for a person. None where that is not possible."""
    if not is_possible(snapshot.state, Trigger.PARK):
        return None
    parked = replace(
        snapshot,
        state=fire(snapshot.state, Trigger.PARK),
        seq=snapshot.seq + 1,
        action=None,
        gates=idle(snapshot.gates),
        timers={name: at for name, at in snapshot.timers.items() if name is not TimerName.RETRY},
        parked=Parked(snapshot.state, error),
    )
    text = f"parked, traffic stays where it is: {error}"
    entry = JournalEntry(spec.id, parked.seq, now, "defect", snapshot.state, parked.state, snapshot.step, text)
    return Decision(parked, entry)


def idle(some: Iterable[Gate]) -> tuple[Gate, ...]:
    """Gates whose actions are forgotten; they are ordered anew when the rollout goes on."""
    return tuple(gates.forget_action(gate) for gate in some)


def _name(event: Event) -> str:
    tag = type(event).__struct_config__.tag
    if isinstance(event, Command):
        return f"{tag} {event.kind}"
    if isinstance(event, TimerFired):
        return f"{tag} {event.name}"
    return str(tag)


def _backoff(rollout: str, number: int, failures: int) -> float:
    """Exponential with jitter. The jitter comes from the names, so that a decision made twice is the same decision."""
    doublings = min(failures - 1, 10)  # A day has thousands of attempts, and no number is that large.
    ceiling: float = min(RETRY_MOST_SECONDS, RETRY_FIRST_SECONDS * 2.0**doublings)
    share = crc32(f"{rollout}/{number}/{failures}".encode()) / 0xFFFFFFFF
    return ceiling * (0.5 + 0.5 * share)
