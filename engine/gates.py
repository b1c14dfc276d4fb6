"""Gates: the conditions that a rollout waits for beside its own work — a time, a person, a measurement, somebody else's verdict.

Pure. A gate is opened, told what has happened (`take_...`), and asked for its next move; what a failed one means for the
rollout, and when gates are opened at all, is `engine.decide`'s business. Each gate has an action and deadlines of its own, so
that several wait at the same time and none of them waits for the rollout's own work on the cluster.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from engine.events import Measurements
from engine.judgement import (
    RunResult,
    add,
    describe_budget,
    due_at,
    is_out_of_patience,
    is_over_budget,
    judge,
    judge_run,
    tick_at,
    window,
)
from engine.model import (
    Act,
    ActionKind,
    Analysis,
    Approval,
    Expose,
    Facts,
    Gate,
    GateStep,
    Mode,
    NoDataPolicy,
    Parallel,
    Pause,
    RolloutSpec,
    RunCommand,
    RunJob,
    TargetPlan,
    Verdict,
    Webhook,
)
from engine.traffic import SetHeaderRoute, SetMirror, SetWeight, TrafficStep

KEPT_SAMPLES = 20
"""Runs that are kept with the rollout; the verdict rests on tallies of all of them."""
BACKGROUND = "background"


class Order(Struct, frozen=True):
    """Have this done for the gate."""

    gate: Gate
    act: Act


class Changed(Struct, frozen=True):
    """The gate goes on waiting, and something about it is worth an entry in the journal."""

    gate: Gate
    text: str


class Passed(Struct, frozen=True):
    text: str


class Failed(Struct, frozen=True):
    text: str


class Undecided(Struct, frozen=True):
    """There is nothing to judge by, and the policy is not to go on without."""

    text: str


Move = Order | Changed | Passed | Failed | Undecided | None
"""None: it waits."""


# --- which gates there are ---------------------------------------------------------------------------------------------


def step_of(plan: TargetPlan, gate_id: str) -> GateStep:
    """The condition of the plan that a gate stands for."""
    place, _, number = gate_id.partition(":")
    if place == "step":
        index, _, inner = number.partition(".")
        step = plan.steps[int(index)]
        if isinstance(step, Parallel):
            return step.steps[int(inner)]
        assert not isinstance(step, TrafficStep)
        return step
    listed: dict[str, tuple[GateStep, ...]] = {"before": plan.before, "after": plan.after, BACKGROUND: plan.background}
    return listed[place][int(number)]


def all_ids(plan: TargetPlan) -> tuple[str, ...]:
    """The ids of every gate that a rollout of this plan may come to."""
    steps = (one for index in range(len(plan.steps)) for one in ids_of_step(plan, index))
    lists = (("before", plan.before), ("after", plan.after), (BACKGROUND, plan.background))
    return (*steps, *(f"{place}:{index}" for place, listed in lists for index in range(len(listed))))


def ids_of_step(plan: TargetPlan, index: int) -> tuple[str, ...]:
    match plan.steps[index]:
        case SetWeight() | SetHeaderRoute() | SetMirror():
            return ()
        case Parallel(steps):
            return tuple(f"step:{index}.{inner}" for inner in range(len(steps)))
        case _:
            return (f"step:{index}",)


def ids_of(place: str, listed: Iterable[object]) -> tuple[str, ...]:
    """The ids of a list of conditions: `before`, `after` or `background`."""
    return tuple(f"{place}:{index}" for index, _ in enumerate(listed))


def is_background(gate: Gate) -> bool:
    return gate.id.startswith(BACKGROUND)


def open_gates(plan: TargetPlan, ids: Iterable[str], now: datetime) -> tuple[Gate, ...]:
    return tuple(_open(gate_id, step_of(plan, gate_id), now) for gate_id in ids)


def _open(gate_id: str, step: GateStep, now: datetime) -> Gate:
    gate = Gate(gate_id, started_at=now)
    match step:
        case Pause():
            return replace(gate, due_at=now + timedelta(seconds=step.seconds))
        case Approval():
            first = step.remind_seconds if step.remind_seconds is not None else step.expires_seconds
            return replace(gate, due_at=None if first is None else now + timedelta(seconds=first))
        case Analysis():
            return replace(gate, due_at=due_at(step, gate))
        case Webhook() | RunJob() | RunCommand():
            return replace(gate, due_at=now + timedelta(seconds=step.timeout_seconds))
        case Expose():
            return gate


def sign_callback(spec: RolloutSpec, gate_id: str) -> str:
    """The unguessable token by which a called side answers for one condition of one rollout, once."""
    return _sign(spec, f"{spec.id}/{gate_id}")


def sign_preview(spec: RolloutSpec, service: str) -> str:
    """The unguessable part of the preview address of one Service in one rollout."""
    return _sign(spec, f"{spec.id}/preview/{service}")


def _sign(spec: RolloutSpec, message: str) -> str:
    return hmac.new(spec.secret.encode(), message.encode(), hashlib.sha256).hexdigest()


# --- what has happened -------------------------------------------------------------------------------------------------


def finish_action(gate: Gate) -> Gate:
    return replace(gate, action=None, failures=0, doubts=0, failure="", retry_at=None)


def forget_action(gate: Gate) -> Gate:
    """Its action came to nothing, and is ordered anew: a measurement is due since it was ordered."""
    if gate.action is None or gate.action.kind is not ActionKind.MEASURE:
        return finish_action(gate)
    ordered_at = datetime.fromisoformat(str(gate.action.args["end"]))
    return replace(finish_action(gate), due_at=ordered_at, ticks=gate.ticks - 1)


def take_success(gate: Gate) -> Gate:
    """Its action was done."""
    assert gate.action is not None
    prepared = gate.prepared or gate.action.kind is ActionKind.PREPARE_METRICS
    called = gate.called or gate.action.kind is not ActionKind.PREPARE_METRICS
    return replace(finish_action(gate), prepared=prepared, called=called)


def take_measurements(step: Analysis, gate: Gate, event: Measurements, now: datetime) -> Changed:
    """One run's values, counted, or to be measured again."""
    run = judge_run(step, event.results, now)
    number = f"run {gate.counted + 1}" + (f" of {step.runs}" if step.runs else "")
    gate = finish_action(gate)
    if run.result is RunResult.REPEAT:
        gate = replace(gate, empty_runs=gate.empty_runs + 1, empty_in_a_row=gate.empty_in_a_row + 1)
        text = f"{number} is measured again: {run.text}"
    else:
        outside = run.result in (RunResult.OUTSIDE, RunResult.FAILED)
        gate = replace(
            gate,
            counted=gate.counted + 1,
            failed_runs=gate.failed_runs + outside,
            empty_in_a_row=0,
            tallies=add(gate.tallies, run.sample),
            samples=(*gate.samples, run.sample)[-KEPT_SAMPLES:],
        )
        text = f"{number}: {run.text}"
    gate = _judged(step, gate, run.result, run.text, now)
    return Changed(replace(gate, due_at=due_at(step, gate) if gate.verdict is None else None), text)


def _judged(step: Analysis, gate: Gate, result: RunResult, text: str, now: datetime) -> Gate:
    if result is RunResult.FAILED:
        return replace(gate, verdict=Verdict.FAILED, verdict_reason=text)
    if is_over_budget(step, gate):
        reason = f"{describe_budget(step, gate)}; lately {text}"
        return replace(gate, verdict=Verdict.FAILED, verdict_reason=reason)
    if step.runs and gate.counted >= step.runs:
        verdict, reason = judge(step, gate)
        return replace(gate, verdict=verdict, verdict_reason=reason)
    if result is RunResult.REPEAT and is_out_of_patience(step, gate, now):
        reason = f"no usable data within {step.patience_seconds:g} s beyond the runs: {text}"
        held = any(query.no_data is NoDataPolicy.HOLD for query in step.queries)
        if held and is_background(gate):
            return gate  # It goes on measuring; `next_move` says that there is nothing to judge by.
        return replace(gate, verdict=Verdict.UNDECIDED if held else Verdict.FAILED, verdict_reason=reason)
    return gate


# --- what follows ------------------------------------------------------------------------------------------------------


def next_move(spec: RolloutSpec, gate: Gate, now: datetime) -> Move:
    """What a gate without an action under way does next."""
    step = step_of(spec.plan, gate.id)
    match step:
        case Analysis():
            return _move_analysis(step, gate, now)
        case _ if gate.answer is Verdict.PASSED:
            return Passed(gate.answer_reason)
        case Pause():
            return Passed(f"paused for {step.seconds:g} s") if _is_due(gate, now) else None
        case Approval():
            return _move_approval(step, gate, now)
        case Webhook():
            return _move_webhook(spec, step, gate, now)
        case RunJob() | RunCommand():
            return _move_test(step, gate, now)
        case Expose():
            services = ", ".join(step.services)
            act = Act(f"expose:{gate.id}", ActionKind.EXPOSE_SERVICES, {"gate": gate.id})
            return Passed(f"{services} can be looked at") if gate.called else Order(gate, act)


def is_late(spec: RolloutSpec, gate: Gate, now: datetime) -> str:
    """Why the gate fails although its action is still under way; empty when it does not."""
    step = step_of(spec.plan, gate.id)
    if not isinstance(step, Webhook | RunJob | RunCommand) or gate.answer is not None or not _is_due(gate, now):
        return ""
    return _describe_late(step)


def _describe_late(step: Webhook | RunJob | RunCommand) -> str:
    match step:
        case Webhook():
            return f"webhook {step.name} did not call back within {step.timeout_seconds:g} s"
        case RunJob():
            return f"job {step.name} did not end within {step.timeout_seconds:g} s"
        case RunCommand():
            return f"command {step.name} did not end within {step.timeout_seconds:g} s"


def _is_due(gate: Gate, now: datetime) -> bool:
    return gate.due_at is not None and now >= gate.due_at


def _move_approval(step: Approval, gate: Gate, now: datetime) -> Move:
    if gate.answer is not None:
        return Failed(gate.answer_reason)
    if not _is_due(gate, now):
        return None
    expires = _expiry(step, gate)
    if expires is not None and now >= expires:
        return Failed("the approval expired")
    left = "" if expires is None else f", which expires in {(expires - now).total_seconds():.0f} s"
    return Changed(replace(gate, due_at=expires, reminded=True), f"reminder: an approval is still awaited{left}")


def _move_analysis(step: Analysis, gate: Gate, now: datetime) -> Move:
    if gate.answer is not None:
        passed = gate.answer is Verdict.PASSED
        return Passed(gate.answer_reason) if passed else Failed(f"analysis failed: {gate.answer_reason}")
    if gate.verdict is not None:
        if awaits_judgement(step, gate):
            return None
        passed = gate.verdict is Verdict.PASSED
        return Passed(gate.verdict_reason) if passed else Failed(f"analysis failed: {gate.verdict_reason}")
    if not gate.prepared:
        return Order(gate, Act(_named(gate, "prepare-metrics"), ActionKind.PREPARE_METRICS, {"gate": gate.id}))
    if is_background(gate) and gate.empty_in_a_row and is_out_of_patience(step, gate, now) and not _is_due(gate, now):
        return Undecided(f"no usable data for {step.patience_seconds:g} s")
    return _measure(step, gate, now) if _is_due(gate, now) else None


def _measure(step: Analysis, gate: Gate, now: datetime) -> Order:
    start, end = window(step, gate.started_at, now)
    run = gate.counted + gate.empty_runs + 1
    args: Facts = {"gate": gate.id, "start": start.isoformat(), "end": end.isoformat()}
    measuring = replace(gate, due_at=None, ticks=tick_at(step, gate, now))
    return Order(measuring, Act(_named(gate, "measure", str(run)), ActionKind.MEASURE, args))


def _move_webhook(spec: RolloutSpec, step: Webhook, gate: Gate, now: datetime) -> Move:
    if gate.answer is Verdict.FAILED:
        return Failed(f"webhook {step.name} reported a failure: {gate.answer_reason or 'no reason given'}")
    if gate.called and not step.callback:
        return Passed(f"webhook {step.name} was called")
    if _is_due(gate, now):
        return Failed(_describe_late(step))
    if gate.called:
        return None
    calling = replace(gate, callback_token=sign_callback(spec, gate.id))
    return Order(calling, Act(_named(gate, "call", step.name), ActionKind.CALL_WEBHOOK, {"gate": gate.id}))


def _move_test(step: RunJob | RunCommand, gate: Gate, now: datetime) -> Move:
    kind, word = (ActionKind.RUN_JOB, "job") if isinstance(step, RunJob) else (ActionKind.RUN_COMMAND, "command")
    if gate.called:
        return Passed(f"{word} {step.name} passed")
    if _is_due(gate, now):
        return Failed(_describe_late(step))
    return Order(gate, Act(_named(gate, f"run-{word}", step.name), kind, {"gate": gate.id}))


def _named(gate: Gate, *words: str) -> str:
    """An action's name, which says for which condition it is; steps are counted from 1 in it, as people count them."""
    place, _, number = gate.id.partition(":")
    index, dot, inner = number.partition(".")
    ours = f"{int(index) + 1}" + (f"{dot}{int(inner) + 1}" if dot else "")
    return ":".join((words[0], ours if place == "step" else f"{place}-{ours}", *words[1:]))


# --- whose answer is awaited -------------------------------------------------------------------------------------------


def awaits_judgement(analysis: Analysis, gate: Gate) -> bool:
    """Whether the analysis has its verdict and its mode asks a person what to make of it."""
    if gate.verdict is None or gate.answer is not None:
        return False
    if gate.verdict is Verdict.UNDECIDED:
        return True
    return (analysis.roll_forward if gate.verdict is Verdict.PASSED else analysis.roll_back) is Mode.MANUAL


def awaits_answer(plan: TargetPlan, gate: Gate) -> bool:
    """Whether a person's approve or reject is what the gate is waiting for."""
    if gate.passed or gate.answer is not None:
        return False
    step = step_of(plan, gate.id)
    return isinstance(step, Approval) or (isinstance(step, Analysis) and awaits_judgement(step, gate))


def expires_at(plan: TargetPlan, gate: Gate) -> datetime | None:
    """From when on the gate's approval can no longer be given; None where that is never."""
    step = step_of(plan, gate.id)
    return _expiry(step, gate) if isinstance(step, Approval) else None


def _expiry(step: Approval, gate: Gate) -> datetime | None:
    return None if step.expires_seconds is None else gate.started_at + timedelta(seconds=step.expires_seconds)


def roles_of(plan: TargetPlan, gate: Gate) -> tuple[str, ...]:
    """Any one of these roles may answer; empty means anybody with access."""
    step = step_of(plan, gate.id)
    return step.roles if isinstance(step, Approval) else ()
