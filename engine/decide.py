"""The pure heart: where a rollout stands, what woke it and what is seen of the world -> where it stands next, and why.

`decide` reads no clock, draws no randomness and does nothing; it returns a `Decision` to be committed, or None when nothing
changes. One decision makes at most one transition and orders at most one action, and yields exactly one journal entry.
Conditions are level-triggered: the event only wakes, the observation decides.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from engine.events import (
    ActionFailed,
    ActionSucceeded,
    CallbackReceived,
    Command,
    CommandKind,
    Event,
    FailureKind,
    Measurements,
    Recovered,
    Started,
    TimerFired,
)
from engine.judgement import RunResult, due_at, judge, judge_run, window
from engine.machine import Trigger, fire, is_possible
from engine.model import (
    FINAL_STATES,
    FULL_WEIGHT,
    STATE_OF_STEP,
    STEP_STATES,
    UNDOING_STATES,
    Act,
    Action,
    ActionKind,
    Analysis,
    Approval,
    Await,
    Condition,
    Facts,
    JournalEntry,
    OnTimeout,
    Operation,
    Parked,
    Pause,
    RolloutSpec,
    Settle,
    Snapshot,
    State,
    Step,
    StepProgress,
    TimerName,
    Verdict,
    Webhook,
)
from engine.observation import Observation, holds
from engine.orders import awaits_judgement
from engine.ports import Strategy

RETRY_FIRST_SECONDS = 0.5
RETRY_MOST_SECONDS = 30.0
RETRY_AFTER_MOST_SECONDS = 300.0
"""Whoever stands in the way may say anything; and on the way back nobody is waited for longer than by our own measure."""
DOUBTS = 5
"""How often a doubtful refusal is asked again: for 8 to 16 seconds in all."""
_NO_STABLE = "no pod of the old version"
_SERVING_STATES = STEP_STATES | {State.SCALING, State.PROMOTING}


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
            case Started():
                self.may_start = True
                if event.note and self.at.state is State.WAITING:
                    self.story.append(event.note)
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

    def _absorb_recovery(self) -> None:
        """Metric samples that a provider kept in memory are gone with the process: it has to be told again what to watch."""
        if self.at.state is State.ANALYSING and self.at.action is None and self.at.progress.verdict is None:
            self.at = replace(self.at, cursor=0)
            self.story.append("the daemon came up again; measuring goes on")

    def _absorb_success(self, event: ActionSucceeded) -> None:
        action = self.at.action
        if action is None or action.number != event.number:
            return
        self._finish_action(action)
        self.at = replace(self.at, facts={**self.at.facts, **event.facts})
        self.story.append(event.note or f"done: {action.name}")
        if action.kind is ActionKind.CALL_WEBHOOK:
            self.at = replace(self.at, progress=replace(self.at.progress, called=True))

    def _finish_action(self, action: Action) -> None:
        cursor = self.at.cursor
        current = self.at.procedure[cursor] if cursor < len(self.at.procedure) else None
        if isinstance(current, Act) and current.name == action.name:
            cursor += 1
        timers = self._timers_without(TimerName.RETRY)
        self.at = replace(self.at, action=None, cursor=cursor, failures=0, failure="", timers=timers)

    def _absorb_failure(self, event: ActionFailed) -> None:
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

    def _is_doubted(self, event: ActionFailed) -> bool:
        """Before anything was changed a refusal costs nothing, so it is believed at once."""
        return event.kind is FailureKind.DOUBTFUL and not self._has_only_looked() and self.at.failures < DOUBTS

    def _retry_later(self, action: Action, event: ActionFailed) -> None:
        failures = self.at.failures + 1
        most = RETRY_MOST_SECONDS if self.at.state in UNDOING_STATES else RETRY_AFTER_MOST_SECONDS
        wait = max(_backoff(self.spec.id, action.number, failures), min(event.retry_after_seconds or 0.0, most))
        timers = {**self.at.timers, TimerName.RETRY: self.now + timedelta(seconds=wait)}
        self.at = replace(self.at, failures=failures, failure=event.message, timers=timers)
        self.story.append(f"{action.name} failed (attempt {failures}), again in {wait:.1f} s: {event.message}")

    def _absorb_measurements(self, event: Measurements) -> None:
        action = self.at.action
        step = self._step()
        if action is None or action.number != event.number or not isinstance(step, Analysis):
            return
        self._finish_action(action)
        result, sample, sentence = judge_run(step, event.results, self.now)
        progress = self.at.progress
        runs = f"run {len(progress.samples) + 1} of {step.runs}"
        if result is RunResult.REPEAT:
            progress = replace(progress, empty_runs=progress.empty_runs + 1)
            self.story.append(f"{runs} is measured again: {sentence}")
        else:
            progress = replace(progress, samples=(*progress.samples, sample))
            self.story.append(f"{runs}: {sentence}")
        if result is RunResult.FAILED:
            progress = replace(progress, verdict=Verdict.FAILED, verdict_reason=sentence)
        elif len(progress.samples) >= step.runs:
            verdict, reason = judge(step, progress.samples)
            progress = replace(progress, verdict=verdict, verdict_reason=reason)
        elif self._out_of_patience(step, progress):
            reason = f"no usable data within {step.patience_seconds:g} s beyond the runs: {sentence}"
            progress = replace(progress, verdict=Verdict.FAILED, verdict_reason=reason)
        self.at = replace(self.at, progress=progress)

    def _out_of_patience(self, step: Analysis, progress: StepProgress) -> bool:
        allowed = step.interval_seconds * step.runs + step.patience_seconds
        return self.now - self._started_at() > timedelta(seconds=allowed)

    def _absorb_callback(self, event: CallbackReceived) -> None:
        progress = self.at.progress
        if self.at.state is not State.CALLING or progress.callback_token != event.token or progress.answer is not None:
            return
        self.at = replace(self.at, progress=replace(progress, answer=event.verdict, answer_reason=event.message))
        self.story.append(f"the called side reported: {event.verdict}" + (f" ({event.message})" if event.message else ""))

    def _absorb_command(self, command: Command) -> None:
        because = f": {command.reason}" if command.reason else ""
        match command.kind:
            case CommandKind.ABORT:
                self._fail(f"aborted by {command.by}{because}")
            case CommandKind.PAUSE:
                self.at = replace(self.at, held=f"paused by {command.by}{because}")
                self.story.append(self.at.held)
            case CommandKind.RESUME:
                self._resume(command)
            case CommandKind.APPROVE | CommandKind.REJECT:
                answer = Verdict.PASSED if command.kind is CommandKind.APPROVE else Verdict.FAILED
                reason = f"{'approved' if answer is Verdict.PASSED else 'rejected'} by {command.by}{because}"
                self.at = replace(self.at, progress=replace(self.at.progress, answer=answer, answer_reason=reason))
                self.story.append(reason)

    def _resume(self, command: Command) -> None:
        self.at = replace(self.at, held="")
        self.story.append(f"resumed by {command.by}")
        if self.at.parked is not None and self.at.state is State.PARKED:
            origin = self.at.parked.origin
            self.at = replace(self.at, state=fire(self.at.state, Trigger.UNPARK, origin), parked=None)
            self.moved = True

    # --- what follows from it ------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        state = self.at.state
        if state is State.WAITING:
            if self.may_start:
                self._enter(Trigger.ADVANCE, State.PREPARING, "the rollout begins")
            return
        if state is State.PARKED:
            return
        undoing = state in UNDOING_STATES
        if not undoing and self._is_unhealthy():
            return
        if self.at.action is not None:
            self._retry_now_if_due()
            return
        if not undoing and (self._mends() or self._is_held()):
            return
        self._work()

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
        if state is State.ANALYSING:
            return (Act("prepare-metrics", ActionKind.PREPARE_METRICS, {"step": self.at.step}),)
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
        number = self.at.actions + 1
        begun = self.at.begun if act.name in self.at.begun else (*self.at.begun, act.name)
        action = Action(number, act.name, act.kind, act.args)
        changes = replace(self.at, action=action, actions=number, begun=begun, failures=0, failure="")
        if act.kind is ActionKind.SET_WEIGHT or "weight" in act.args:
            weight = act.args.get("weight")
            changes = replace(changes, weight=weight if isinstance(weight, int) else changes.weight)
        self.at = changes
        self.story.append(f"next: {act.name}")
        self.detail = {**self.detail, "action": act.name, "number": number}

    # --- the end of a state --------------------------------------------------------------------------------------------

    def _finish_state(self) -> None:
        match self.at.state:
            case State.PREPARING:
                self._enter(Trigger.ADVANCE, State.SCALING, "everything is prepared")
            case State.SCALING | State.SHIFTING:
                self._next_step()
            case State.PAUSING:
                if self._step_deadline_passed():
                    self._next_step()
            case State.APPROVING:
                self._finish_approval()
            case State.ANALYSING:
                self._finish_analysis()
            case State.CALLING:
                self._finish_call()
            case State.PROMOTING:
                self._enter(Trigger.ADVANCE, State.FINALISING, "the new version serves everything")
            case State.FINALISING:
                self._enter(Trigger.ADVANCE, State.SUCCEEDED, "succeeded")
            case State.VERIFYING:
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
        if index >= len(steps) or self.strategy.skips_steps(self.spec, self.at):
            self.at = replace(self.at, step=len(steps))
            self._enter(Trigger.ADVANCE, State.PROMOTING, "all steps are done")
            return
        self.at = replace(self.at, step=index)
        step = steps[index]
        self._enter(Trigger.ADVANCE, STATE_OF_STEP[type(step)], f"step {index + 1} of {len(steps)}")
        self._begin_step(step)

    def _begin_step(self, step: Step) -> None:
        progress = StepProgress(started_at=self.now)
        deadline: datetime | None = None
        match step:
            case Pause():
                deadline = self.now + timedelta(seconds=step.seconds)
            case Approval() if step.expires_seconds is not None:
                deadline = self.now + timedelta(seconds=step.expires_seconds)
            case Analysis():
                deadline = due_at(step, progress, self.now)
            case Webhook():
                deadline = self.now + timedelta(seconds=step.timeout_seconds)
            case _:
                pass
        timers = {**self.at.timers, TimerName.STEP: deadline} if deadline is not None else self.at.timers
        self.at = replace(self.at, progress=progress, timers=timers)

    def _finish_approval(self) -> None:
        progress = self.at.progress
        if progress.answer is Verdict.PASSED:
            self._next_step()
        elif progress.answer is Verdict.FAILED:
            self._fail(progress.answer_reason)
        elif self._step_deadline_passed():
            self._fail("the approval expired")

    def _finish_analysis(self) -> None:
        step, progress = self._step(), self.at.progress
        assert isinstance(step, Analysis)
        if progress.verdict is None:
            self._measure_when_due(step)
        elif awaits_judgement(step, progress):
            if TimerName.STEP in self.at.timers:
                self._clear_timer(TimerName.STEP)
                self.story.append(f"analysis {progress.verdict}: {progress.verdict_reason}; waiting for a person")
        elif (progress.answer or progress.verdict) is Verdict.PASSED:
            self.story.append(progress.answer_reason or progress.verdict_reason)
            self._next_step()
        else:
            self._fail(f"analysis failed: {progress.answer_reason or progress.verdict_reason}")

    def _measure_when_due(self, step: Analysis) -> None:
        due = due_at(step, self.at.progress, self._started_at())
        if self.now < due:
            if self.at.timers.get(TimerName.STEP) != due:
                self.at = replace(self.at, timers={**self.at.timers, TimerName.STEP: due})
                self.story = self.story or ["the next run is due"]
            return
        start, end = window(step, self._started_at(), self.now)
        run = len(self.at.progress.samples) + self.at.progress.empty_runs + 1
        name = f"measure:{self.at.step + 1}:{run}"
        args: Facts = {"step": self.at.step, "start": start.isoformat(), "end": end.isoformat()}
        self._clear_timer(TimerName.STEP)
        self._order(Act(name, ActionKind.MEASURE, args))

    def _finish_call(self) -> None:
        step, progress = self._step(), self.at.progress
        assert isinstance(step, Webhook)
        if not progress.called and progress.answer is None:
            token = sign_callback(self.spec, self.at.step)
            self.at = replace(self.at, progress=replace(progress, callback_token=token))
            self._order(Act(f"call:{self.at.step + 1}:{step.name}", ActionKind.CALL_WEBHOOK, {"step": self.at.step}))
        elif not step.callback or progress.answer is Verdict.PASSED:
            self._next_step()
        elif progress.answer is Verdict.FAILED:
            self._fail(f"webhook {step.name} reported a failure: {progress.answer_reason or 'no reason given'}")
        elif self._step_deadline_passed():
            self._fail(f"webhook {step.name} did not call back within {step.timeout_seconds:g} s")

    # --- transitions ---------------------------------------------------------------------------------------------------

    def _enter(self, trigger: Trigger, wanted: State, text: str) -> None:
        state = fire(self.at.state, trigger, wanted)
        keep = {TimerName.HEALTH: self.at.timers[TimerName.HEALTH]} if TimerName.HEALTH in self.at.timers else {}
        if state not in _SERVING_STATES:
            keep = {}
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
            progress=StepProgress(),
        )
        if state not in FINAL_STATES:
            self.at = replace(self.at, procedure=self._expand(state))
        elif state is State.SUCCEEDED:
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
        self.at = replace(self.at, action=None, failures=0, failure="", timers=self._timers_without(TimerName.RETRY))
        self.at = replace(self.at, state=fire(self.at.state, Trigger.PARK), parked=parked)
        self.moved = True
        self.story.append(f"parked, traffic stays where it is: {error}")

    # --- small readings ------------------------------------------------------------------------------------------------

    def _step(self) -> Step | None:
        steps = self.spec.plan.steps
        return steps[self.at.step] if 0 <= self.at.step < len(steps) else None

    def _started_at(self) -> datetime:
        return self.at.progress.started_at or self.at.entered_at

    def _step_deadline_passed(self) -> bool:
        deadline = self.at.timers.get(TimerName.STEP)
        return deadline is not None and self.now >= deadline

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


def sign_callback(spec: RolloutSpec, step: int) -> str:
    """The unguessable token by which a called side answers for one step of one rollout, once."""
    message = f"{spec.id}/{step}".encode()
    return hmac.new(spec.secret.encode(), message, hashlib.sha256).hexdigest()


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
        timers={name: at for name, at in snapshot.timers.items() if name is not TimerName.RETRY},
        parked=Parked(snapshot.state, error),
    )
    text = f"parked, traffic stays where it is: {error}"
    entry = JournalEntry(spec.id, parked.seq, now, "defect", snapshot.state, parked.state, snapshot.step, text)
    return Decision(parked, entry)
