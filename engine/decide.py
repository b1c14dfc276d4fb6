"""The pure heart: where a rollout stands, what woke it and what is seen of the world -> where it stands next, and why.

`decide` reads no clock, draws no randomness and does nothing; it returns a `Decision` to be committed, or None when nothing
changes. One decision makes at most one transition and orders at most one action, and yields exactly one journal entry.
Conditions are level-triggered: the event only wakes, the observation decides.

A rollout has a lane of its own, the procedure of its state, in which one thing is done after another, and beside it gates
(`engine.gates`), each with an action and deadlines of its own: a measurement never waits for a router, nor a router for it.
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
    ActionSucceeded,
    CallbackReceived,
    Cleared,
    Command,
    CommandKind,
    Event,
    FailureKind,
    Measurements,
    Recovered,
    Started,
    TimerFired,
)
from engine.machine import Trigger, fire, is_possible
from engine.model import (
    FINAL_STATES,
    FULL_WEIGHT,
    GATED_STATES,
    STATE_OF_STEP,
    STEP_STATES,
    UNDOING_STATES,
    Act,
    Action,
    ActionKind,
    Analysis,
    Await,
    Condition,
    Expose,
    Facts,
    Gate,
    JournalEntry,
    OnFailure,
    OnTimeout,
    Operation,
    Parked,
    Pause,
    RolloutSpec,
    Settle,
    SetWeight,
    Snapshot,
    State,
    Step,
    TimerName,
    Verdict,
)
from engine.observation import Observation, holds
from engine.orders import answered_by, name_giver
from engine.ports import Strategy

RETRY_FIRST_SECONDS = 0.5
RETRY_MOST_SECONDS = 30.0
RETRY_AFTER_MOST_SECONDS = 300.0
"""Whoever stands in the way may say anything; and on the way back nobody is waited for longer than by our own measure."""
DOUBTS = 5
"""How often a doubtful refusal is asked again: for 8 to 16 seconds in all."""
_NO_STABLE = "no pod of the old version"
_NO_DATA = "no data to judge by"
_SERVING_STATES = STEP_STATES | {State.SCALING, State.PROMOTING}
_BACKGROUND_STATES = STEP_STATES | {State.PROMOTING}
KEPT_OUTPUT = 32_768
"""Characters of a test's output that the journal keeps: its end, which says why."""


class Decision(Struct, frozen=True):
    snapshot: Snapshot
    entry: JournalEntry


def decide(
    spec: RolloutSpec, snapshot: Snapshot, event: Event, observation: Observation, now: datetime, strategy: Strategy
) -> Decision | None:
    """The next stand of the rollout, or None when the event changes nothing."""
    if snapshot.state in FINAL_STATES:
        return None
    turn = _Turn(spec, snapshot, observation, now, strategy)
    turn.absorb(event)
    if not turn.moved:
        turn.proceed()
    return turn.conclude(event)


class _Turn:
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

    # --- what the event says -------------------------------------------------------------------------------------------

    def absorb(self, event: Event) -> None:
        match event:
            case Cleared():
                self._clear_to_begin(event.note)
            case Started():
                self.may_start = True
                self._clear_to_begin(event.note)
            case Recovered():
                self._absorb_recovery()
            case TimerFired():
                pass  # Deadlines are compared with the time below, whichever event woke us.
            case ActionSucceeded():
                self._absorb_success(event)
            case ActionFailed():
                self._absorb_failure(event)
            case Measurements():
                self._absorb_measurements(event)
            case CallbackReceived():
                self._absorb_callback(event)
            case Command():
                self._absorb_command(event)
            case _:
                pass

    def _clear_to_begin(self, note: str) -> None:
        """Its turn has come: what has to hold before it is looked at from now on."""
        if self.at.state is not State.WAITING or self.at.cleared:
            return
        before = gates.open_gates(self.spec.plan, _ids("before", self.spec.plan.before), self.now)
        self.at = replace(self.at, cleared=True, gates=before)
        if note:
            self.story.append(note)
        if before:
            self.story.append("the conditions before the deployment are looked at")

    def _absorb_recovery(self) -> None:
        """Metric samples that a provider kept in memory are gone with the process: it has to be told again what to watch."""
        for gate in self.at.gates:
            if gate.prepared and gate.action is None and not gate.passed and gate.verdict is None:
                self._put(replace(gate, prepared=False))
                self.story.append("the daemon came up again; measuring goes on")

    def _absorb_success(self, event: ActionSucceeded) -> None:
        if (gate := self._gate_of(event.number)) is not None:
            self._put(gates.take_success(gate))
        elif self.at.action is not None and self.at.action.number == event.number:
            self._finish_action(self.at.action)
        else:
            return
        action = self._action_before(event.number)
        self.at = replace(self.at, facts={**self.at.facts, **event.facts})
        self.story.append(event.note or f"done: {action.name}")
        self._keep_output(event.output)

    def _finish_action(self, action: Action) -> None:
        cursor = self.at.cursor
        current = self.at.procedure[cursor] if cursor < len(self.at.procedure) else None
        if isinstance(current, Act) and current.name == action.name:
            cursor += 1
        timers = self._timers_without(TimerName.RETRY)
        self.at = replace(self.at, action=None, cursor=cursor, failures=0, failure="", timers=timers)

    def _keep_output(self, output: str) -> None:
        if output:
            self.detail = {**self.detail, "output": output[-KEPT_OUTPUT:]}

    def _absorb_failure(self, event: ActionFailed) -> None:
        gate = self._gate_of(event.number)
        if gate is not None:
            self._absorb_failure_of(gate, event)
            return
        action = self.at.action
        if action is None or action.number != event.number:
            return
        undoing = self.at.state in UNDOING_STATES
        if event.kind is FailureKind.RETRY or undoing or self._is_doubted(event):
            self._retry_later(action, event)
        elif event.kind is FailureKind.UNKNOWN:
            self._park(f"{action.name}: {event.message}")
        else:
            self._fail(event.message if action.kind is ActionKind.RECORD else f"{action.name}: {event.message}")

    def _absorb_failure_of(self, gate: Gate, event: ActionFailed) -> None:
        assert gate.action is not None
        name = gate.action.name
        self._keep_output(event.output)
        doubted = event.kind is FailureKind.DOUBTFUL and gate.failures < DOUBTS
        if event.kind is FailureKind.RETRY or doubted:
            wait = self._wait_after(gate.action, gate.failures + 1, event)
            retry_at = self.now + timedelta(seconds=wait)
            self._put(replace(gate, failures=gate.failures + 1, failure=event.message, retry_at=retry_at))
            self._tell_retry(name, gate.failures + 1, wait, event.message)
        elif event.kind is FailureKind.UNKNOWN and is_possible(self.at.state, Trigger.PARK):
            self._park(f"{name}: {event.message}")
        else:
            self._fail_gate(gate, f"{name}: {event.message}")

    def _is_doubted(self, event: ActionFailed) -> bool:
        """Before anything was changed a refusal costs nothing, so it is believed at once."""
        return event.kind is FailureKind.DOUBTFUL and not self._has_only_looked() and self.at.failures < DOUBTS

    def _retry_later(self, action: Action, event: ActionFailed) -> None:
        failures = self.at.failures + 1
        wait = self._wait_after(action, failures, event)
        timers = {**self.at.timers, TimerName.RETRY: self.now + timedelta(seconds=wait)}
        self.at = replace(self.at, failures=failures, failure=event.message, timers=timers)
        self._tell_retry(action.name, failures, wait, event.message)

    def _wait_after(self, action: Action, failures: int, event: ActionFailed) -> float:
        most = RETRY_MOST_SECONDS if self.at.state in UNDOING_STATES else RETRY_AFTER_MOST_SECONDS
        return max(_backoff(self.spec.id, action.number, failures), min(event.retry_after_seconds or 0.0, most))

    def _tell_retry(self, name: str, failures: int, wait: float, message: str) -> None:
        self.story.append(f"{name} failed (attempt {failures}), again in {wait:.1f} s: {message}")

    def _absorb_measurements(self, event: Measurements) -> None:
        gate = self._gate_of(event.number)
        step = gates.step_of(self.spec.plan, gate.id) if gate is not None else None
        if gate is None or not isinstance(step, Analysis):
            return
        change = gates.take_measurements(step, gate, event, self.now)
        self._put(change.gate)
        self.story.append(change.text)
        if gates.is_background(gate) and not change.gate.empty_in_a_row and self.at.held.startswith(_NO_DATA):
            self.at = replace(self.at, held="")
            self.story.append("there is data again")

    def _absorb_callback(self, event: CallbackReceived) -> None:
        for gate in self.at.gates:
            if gate.callback_token == event.token and gate.answer is None and not gate.passed:
                self._put(replace(gate, answer=event.verdict, answer_reason=event.message))
                because = f" ({event.message})" if event.message else ""
                self.story.append(f"the called side reported: {event.verdict}{because}")
                return

    def _absorb_command(self, command: Command) -> None:
        because = f": {command.reason}" if command.reason else ""
        match command.kind:
            case CommandKind.ABORT:
                self._fail(f"aborted by {command.by}{because}")
            case CommandKind.PAUSE:
                self.at = replace(self.at, held=f"paused by {command.by}{because}")
                self.story.append(self.at.held)
            case CommandKind.RESUME:
                self._resume(f"resumed by {command.by}{because}")
            case CommandKind.APPROVE | CommandKind.REJECT | CommandKind.SKIP:
                self._answer(command, because)
            case CommandKind.PROMOTE:
                self.at = replace(self.at, promoting=True)
                self.story.append(f"promoted by {command.by}{because}")
                self._pass_pauses(f"promoted by {command.by}")

    def _answer(self, command: Command, because: str) -> None:
        words = {CommandKind.APPROVE: "approved", CommandKind.REJECT: "rejected", CommandKind.SKIP: "skipped"}
        verdict = Verdict.FAILED if command.kind is CommandKind.REJECT else Verdict.PASSED
        reason = f"{words[command.kind]} by {name_giver(self.spec, self.before, command)}{because}"
        for gate in answered_by(self.spec, self.before, command):
            self._put(replace(gate, answer=verdict, answer_reason=reason))
        self.story.append(reason)

    def _pass_pauses(self, reason: str) -> None:
        for gate in self.at.gates:
            if isinstance(gates.step_of(self.spec.plan, gate.id), Pause) and not gate.passed:
                self._put(replace(gate, answer=Verdict.PASSED, answer_reason=reason))

    def _resume(self, sentence: str) -> None:
        self.at = replace(self.at, held="")
        self.story.append(sentence)
        if self.at.parked is not None and self.at.state is State.PARKED:
            origin = self.at.parked.origin
            self.at = replace(self.at, state=fire(self.at.state, Trigger.UNPARK, origin), parked=None)
            self.moved = True

    # --- what follows from it ------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        state = self.at.state
        if state is State.PARKED:
            return
        undoing = state in UNDOING_STATES
        if not undoing and self._is_unhealthy():
            return
        if self._tend_gates():
            return
        if state is State.WAITING:
            self._begin_if_admitted()
            return
        if self.at.action is not None:
            self._retry_now_if_due()
            return
        if not undoing and (self._mends() or self._is_held()):
            return
        self._work()

    def _begin_if_admitted(self) -> None:
        if self.may_start and not self.at.held and self._all_passed(self.at.gates):
            self._enter(Trigger.ADVANCE, State.PREPARING, "the rollout begins")

    # --- gates ---------------------------------------------------------------------------------------------------------

    def _tend_gates(self) -> bool:
        """Let each gate make its next move. True when that is all there is to do in this turn.

        While the rollout is held only what watches it goes on: a bad version serves while somebody thinks.
        """
        for gate in self.at.gates:
            if gate.passed or (self.at.held and not gates.is_background(gate)):
                continue
            if gate.action is not None and gate.answer is None:
                if late := gates.is_late(self.spec, gate, self.now):
                    self._fail_gate(gate, late)
                    return True
                if self._retries(gate, gate.action):
                    return True
                continue
            if self._make_move(gates.finish_action(gate) if gate.action is not None else gate):
                return True
        return False

    def _retries(self, gate: Gate, action: Action) -> bool:
        if gate.retry_at is None or self.now < gate.retry_at:
            return False
        again = replace(action, attempt=action.attempt + 1)
        self._put(replace(gate, action=again, retry_at=None))
        self.story.append(f"again: {again.name}")
        return True

    def _make_move(self, gate: Gate) -> bool:
        match gates.next_move(self.spec, gate, self.now):
            case gates.Order(ordered, act):
                action = self._number(act)
                self._put(replace(ordered, action=action, failures=0, failure="", retry_at=None))
                return True
            case gates.Changed(changed, text):
                self._put(changed)
                self.story.append(text)
            case gates.Passed(text):
                self._put(replace(gate, passed=True, due_at=None))
                if text not in self.story:  # An answer was told when it was given.
                    self.story.append(text or "passed")
            case gates.Failed(text):
                self._fail_gate(gate, text)
                return True
            case gates.Undecided(text):
                self._hold_without_data(text)
            case None:
                self._note_judgement(gate)
        return False

    def _note_judgement(self, gate: Gate) -> None:
        """A person is asked what to make of a verdict; said once."""
        if gate.verdict is None or gate.reminded or gate.answer is not None:
            return
        self._put(replace(gate, reminded=True, due_at=None))
        self.story.append(f"analysis {gate.verdict}: {gate.verdict_reason}; waiting for a person")

    def _hold_without_data(self, text: str) -> None:
        if not self.at.held:
            self.at = replace(self.at, held=f"{_NO_DATA}: {text}")
            self.story.append(f"held: {text}")

    def _fail_gate(self, gate: Gate, text: str) -> None:
        """What a condition that does not hold means depends on when it was looked at."""
        leave = self.spec.plan.on_failure is OnFailure.LEAVE
        if self.at.state is State.WAITING or (self.at.state is State.VERIFYING and leave):
            self.at = replace(self.at, reason=text, held="")
            self._enter(Trigger.FAIL, State.FAILED, text)
        else:
            self._fail(text)

    def _put(self, gate: Gate) -> None:
        self.at = replace(self.at, gates=tuple(gate if one.id == gate.id else one for one in self.at.gates))

    def _gate_of(self, number: int) -> Gate | None:
        """The gate whose action has this number."""
        return next((one for one in self.at.gates if one.action is not None and one.action.number == number), None)

    def _action_before(self, number: int) -> Action:
        return next(action for action in self.before.pending if action.number == number)

    def _all_passed(self, some: Iterable[Gate]) -> bool:
        return all(gate.passed for gate in some if not gates.is_background(gate))

    # --- the rollout's own lane ----------------------------------------------------------------------------------------

    def _mends(self) -> bool:
        mend = self.strategy.mend(self.spec, self.at, self.observation) if self.observation.current else None
        if mend is not None:
            self._order(mend)
        return mend is not None

    def _is_unhealthy(self) -> bool:
        """Undo at once when nothing is left that could serve the canary's share, and later when it stays short of pods."""
        seen = self.observation
        if not seen.current or self.at.state not in _SERVING_STATES or max(self.at.weight, self.at.served) == 0:
            self._clear_timer(TimerName.HEALTH)
            return False
        short = {
            name: workload
            for name, workload in seen.workloads.items()
            if not workload.canary_exists or workload.canary_available < workload.canary_desired
        }
        gone = [name for name, workload in short.items() if workload.canary_available == 0]
        if gone and self.at.served > 0:
            self._fail(f"no pod of the new version of {', '.join(gone)} is available while it serves traffic")
            return True
        if not short or self._is_resizing():
            self._clear_timer(TimerName.HEALTH)
            return False
        return self._fails_by_deadline(short.keys())

    def _fails_by_deadline(self, short: object) -> bool:
        deadline = self.at.timers.get(TimerName.HEALTH)
        if deadline is None:
            deadline = self.now + timedelta(seconds=self.spec.plan.ready_timeout_seconds)
            self.at = replace(self.at, timers={**self.at.timers, TimerName.HEALTH: deadline})
            self.story.append("the new version is short of available pods")
        elif self.now >= deadline:
            self._fail(
                f"the new version stayed short of available pods for {self.spec.plan.ready_timeout_seconds:g} s"
                + self._trouble()
            )
            return True
        return False

    def _is_resizing(self) -> bool:
        current = self._operation()
        if isinstance(current, Act):
            return current.kind is ActionKind.SCALE_CANARY
        return isinstance(current, Await) and current.condition is Condition.CANARY_AVAILABLE

    def _is_held(self) -> bool:
        if self.observation.current:
            self._hold_on_drift()
            self._hold_without_stable()
        return bool(self.at.held)

    def _hold_on_drift(self) -> None:
        drift = self.observation.drift or self.strategy.drift(self.spec, self.at, self.observation)
        if drift and not self.at.held:
            self.at = replace(self.at, held=f"drift: {drift}")
            self.story.append(f"held: {drift}")

    def _hold_without_stable(self) -> None:
        """Not a step further while no pod of the old version can carry the share that it still has. When one can, it goes on."""
        shares = self.at.state in STEP_STATES and self.at.served < FULL_WEIGHT
        workloads = self.observation.workloads.items()
        gone = [name for name, one in workloads if shares and one.canary_exists and one.stable_available == 0]
        if gone and not self.at.held:
            share = (FULL_WEIGHT - self.at.served) / 100
            reason = f"{_NO_STABLE} of {', '.join(gone)} is available, which has {share:g} % of the traffic"
            self.at = replace(self.at, held=reason)
            self.story.append(f"held: {reason}")
        elif not gone and self.at.held.startswith(_NO_STABLE):
            self.at = replace(self.at, held="")
            self.story.append("the old version is available again")

    def _retry_now_if_due(self) -> None:
        due = self.at.timers.get(TimerName.RETRY)
        if self.at.action is None or due is None or self.now < due:
            return
        again = replace(self.at.action, attempt=self.at.action.attempt + 1)
        self.at = replace(self.at, action=again, timers=self._timers_without(TimerName.RETRY))
        self.story.append(f"again: {again.name}")

    def _work(self) -> None:
        """Go through the procedure up to its next action or unmet condition; then see whether the state is done."""
        follow = self.strategy.follow(self.spec, self.at, self.observation) if self.observation.current else None
        if follow is not None:
            self._order(follow)
            return
        while (operation := self._operation()) is not None:
            if isinstance(operation, Act):
                self._order(operation)
                return
            if not self._is_over(operation):
                return
            self.at = replace(self.at, cursor=self.at.cursor + 1, timers=self._timers_without(TimerName.WAIT))
        if not self.moved:
            self._finish_state()

    def _operation(self) -> Operation | None:
        """The operation at the cursor; at the end of the procedure the strategy may know more by now."""
        if self.at.cursor >= len(self.at.procedure):
            longer = self._expand(self.at.state)
            if len(longer) <= len(self.at.procedure):
                return None
            self.at = replace(self.at, procedure=longer)
        return self.at.procedure[self.at.cursor]

    def _expand(self, state: State) -> tuple[Operation, ...]:
        return self.strategy.expand(self.spec, self.at, state)

    def _is_over(self, operation: Await | Settle) -> bool:
        seconds = operation.seconds if isinstance(operation, Settle) else operation.timeout_seconds
        deadline = self.at.timers.get(TimerName.WAIT)
        if isinstance(operation, Await) and holds(operation, self.observation):
            self._note_condition(operation)
            return True
        if deadline is None and seconds is not None:
            deadline = self.now + timedelta(seconds=seconds)
            self.at = replace(self.at, timers={**self.at.timers, TimerName.WAIT: deadline})
            self.story.append(f"waiting at most {seconds:g} s: {operation.name}")
        if deadline is None or self.now < deadline:
            return False
        if isinstance(operation, Settle):
            self.story.append(f"settled for {operation.seconds:g} s")
            return True
        late = f"{operation.name}: not true after {operation.timeout_seconds:g} s{self._trouble()}"
        if operation.on_timeout is OnTimeout.PROCEED or self.at.state in UNDOING_STATES:
            self.story.append(f"{late}; going on")
            return True
        self._fail(late)
        return False

    def _note_condition(self, operation: Await) -> None:
        self.story.append(operation.name)
        if operation.condition is Condition.WEIGHT:
            self.at = replace(self.at, served=self._served(operation.value))
        elif operation.condition is Condition.NO_WEIGHT:
            self.at = replace(self.at, served=0)
        elif operation.condition in (Condition.STABLE_AT, Condition.STABLE_AVAILABLE) and self.at.served:
            self.at = replace(self.at, served=self._served(self.at.served))

    def _note_served(self) -> None:
        """What was really reached, beside what was asked for: a ratio of few pods is coarse."""
        served = self._served(self.at.weight)
        if served != self.at.weight:
            self.story.append(f"asked for {self.at.weight / 100:g} %, reached {served / 100:g} %")
        self.at = replace(self.at, served=served)

    def _served(self, fallback: int) -> int:
        weights = [route.weight for route in self.observation.routes.values() if route.weight is not None]
        return max(weights) if weights else fallback

    def _order(self, act: Act) -> None:
        action = self._number(act)
        begun = self.at.begun if act.name in self.at.begun else (*self.at.begun, act.name)
        changes = replace(self.at, action=action, begun=begun, failures=0, failure="")
        if act.kind is ActionKind.SET_WEIGHT or "weight" in act.args:
            weight = act.args.get("weight")
            changes = replace(changes, weight=weight if isinstance(weight, int) else changes.weight)
        self.at = changes

    def _number(self, act: Act) -> Action:
        """The act as an action that is about to be journaled."""
        number = self.at.actions + 1
        self.at = replace(self.at, actions=number)
        self.story.append(f"next: {act.name}")
        self.detail = {**self.detail, "action": act.name, "number": number}
        return Action(number, act.name, act.kind, act.args)

    # --- the end of a state --------------------------------------------------------------------------------------------

    def _finish_state(self) -> None:
        if self.at.state in GATED_STATES and not self._all_passed(self.at.gates):
            return
        match self.at.state:
            case State.PREPARING:
                self._enter(Trigger.ADVANCE, State.SCALING, "everything is prepared")
            case State.SCALING | State.SHIFTING:
                self._next_step()
            case state if state in STEP_STATES:
                self._next_step()
            case State.PROMOTING:
                self._enter(Trigger.ADVANCE, State.FINALISING, "the new version serves everything")
            case State.FINALISING if self.spec.plan.after:
                self._enter(Trigger.ADVANCE, State.VERIFYING, "the conditions after the deployment are looked at")
                self._open(_ids("after", self.spec.plan.after))
            case State.FINALISING | State.VERIFYING:
                self._enter(Trigger.ADVANCE, State.SUCCEEDED, "succeeded")
            case State.ABORTING:
                self._enter(Trigger.ADVANCE, State.RESTORING, "the stable version serves everything again")
            case State.RESTORING:
                self._enter(Trigger.ADVANCE, State.ROLLED_BACK, "everything is as it was")
            case _:
                raise AssertionError(f"state {self.at.state} has no end of its own")

    def _next_step(self) -> None:
        if self.at.state is State.SHIFTING:
            self._note_served()
        steps = self.spec.plan.steps
        index = self.at.step + 1
        while self.at.promoting and index < len(steps) and _is_left_out(steps[index]):
            index += 1
        if index >= len(steps) or self.strategy.skips_steps(self.spec, self.at):
            self.at = replace(self.at, step=len(steps))
            self._enter(Trigger.ADVANCE, State.PROMOTING, "all steps are done")
            return
        self.at = replace(self.at, step=index)
        self._enter(Trigger.ADVANCE, STATE_OF_STEP[type(steps[index])], f"step {index + 1} of {len(steps)}")
        self._open(gates.ids_of_step(self.spec.plan, index))
        if not any(map(gates.is_background, self.at.gates)):
            self._open(_ids(gates.BACKGROUND, self.spec.plan.background))
        if self.at.promoting:
            self._pass_pauses("promoted")

    def _open(self, ids: Iterable[str]) -> None:
        self.at = replace(self.at, gates=(*self.at.gates, *gates.open_gates(self.spec.plan, ids, self.now)))

    # --- transitions ---------------------------------------------------------------------------------------------------

    def _enter(self, trigger: Trigger, wanted: State, text: str) -> None:
        state = fire(self.at.state, trigger, wanted)
        keep = {TimerName.HEALTH: self.at.timers[TimerName.HEALTH]} if TimerName.HEALTH in self.at.timers else {}
        if state not in _SERVING_STATES:
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
            failure="",
            timers=keep,
            gates=watching,
        )
        if state not in FINAL_STATES:
            self.at = replace(self.at, procedure=self._expand(state))
        elif state is State.SUCCEEDED or (state is State.FAILED and self.before.state is State.VERIFYING):
            # Also where there was nothing to shift, as with a first deployment.
            self.at = replace(self.at, weight=FULL_WEIGHT, served=FULL_WEIGHT)
        elif state is State.ROLLED_BACK:
            self.at = replace(self.at, weight=0, served=0)
        self.moved = True
        self.story.append(text)

    def _fail(self, reason: str) -> None:
        """Undo the rollout: cancelled when it has not begun, rejected when it has only looked, aborted otherwise."""
        self.at = replace(self.at, reason=reason, held="", parked=None)
        if self.at.state is State.WAITING:
            self._enter(Trigger.CANCEL, State.CANCELLED, reason)
        elif self.at.state is State.PREPARING and self._has_only_looked():
            self._enter(Trigger.REFUSE, State.REJECTED, reason)
        elif is_possible(self.at.state, Trigger.ABORT):
            self._enter(Trigger.ABORT, State.ABORTING, reason)

    def _has_only_looked(self) -> bool:
        return all(name.startswith("record:") for name in self.at.begun)

    def _park(self, error: str) -> None:
        parked = Parked(self.at.state, error)
        timers = self._timers_without(TimerName.RETRY)
        self.at = replace(self.at, action=None, failures=0, failure="", timers=timers, gates=_idle(self.at.gates))
        self.at = replace(self.at, state=fire(self.at.state, Trigger.PARK), parked=parked)
        self.moved = True
        self.story.append(f"parked, traffic stays where it is: {error}")

    # --- small readings ------------------------------------------------------------------------------------------------

    def _timers_without(self, name: TimerName) -> dict[TimerName, datetime]:
        return {key: at for key, at in self.at.timers.items() if key is not name}

    def _clear_timer(self, name: TimerName) -> None:
        if name in self.at.timers:
            self.at = replace(self.at, timers=self._timers_without(name))

    def _trouble(self) -> str:
        trouble = [text for workload in self.observation.workloads.values() for text in workload.trouble]
        return f" ({'; '.join(trouble[:3])})" if trouble else ""

    # --- the decision --------------------------------------------------------------------------------------------------

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


def _ids(place: str, listed: Iterable[object]) -> tuple[str, ...]:
    return tuple(f"{place}:{index}" for index, _ in enumerate(listed))


def _is_left_out(step: Step) -> bool:
    """What a person who promotes does not want to wait for."""
    return isinstance(step, Pause | Expose) or (isinstance(step, SetWeight) and step.weight < FULL_WEIGHT)


def _idle(some: Iterable[Gate]) -> tuple[Gate, ...]:
    """Gates whose actions are forgotten; they are ordered anew when the rollout goes on."""
    return tuple(gates.finish_action(gate) for gate in some)


def _name(event: Event) -> str:
    tag = type(event).__struct_config__.tag
    if isinstance(event, Command):
        return f"{tag} {event.kind}"
    if isinstance(event, TimerFired):
        return f"{tag} {event.name}"
    return str(tag)


def _backoff(rollout: str, number: int, failures: int) -> float:
    """Exponential with jitter. The jitter comes from the names, so that a decision made twice is the same decision."""
    ceiling: float = min(RETRY_MOST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** (failures - 1))
    share = crc32(f"{rollout}/{number}/{failures}".encode()) / 0xFFFFFFFF
    return ceiling * (0.5 + 0.5 * share)


def park(spec: RolloutSpec, snapshot: Snapshot, error: str, now: datetime) -> Decision | None:
    """The decision after a defect of ours: stay where traffic is and wait for a person. None where that is not possible."""
    if not is_possible(snapshot.state, Trigger.PARK):
        return None
    parked = replace(
        snapshot,
        state=fire(snapshot.state, Trigger.PARK),
        seq=snapshot.seq + 1,
        action=None,
        gates=_idle(snapshot.gates),
        timers={name: at for name, at in snapshot.timers.items() if name is not TimerName.RETRY},
        parked=Parked(snapshot.state, error),
    )
    text = f"parked, traffic stays where it is: {error}"
    entry = JournalEntry(spec.id, parked.seq, now, "defect", snapshot.state, parked.state, snapshot.step, text)
    return Decision(parked, entry)
