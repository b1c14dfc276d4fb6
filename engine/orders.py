"""Whether an operator's command fits where a rollout stands. Commands are compare-and-set (invariant 7); abort always wins."""

from __future__ import annotations

from engine.events import Command, CommandKind
from engine.model import (
    FINAL_STATES,
    UNDOING_STATES,
    Analysis,
    Approval,
    RolloutSpec,
    Snapshot,
    State,
    StepProgress,
    Verdict,
)


def refuse(spec: RolloutSpec, snapshot: Snapshot, command: Command) -> str:
    """Why the command cannot be carried out now, in one sentence; empty when it can."""
    name = f"{spec.application}/{spec.plan.target}"
    if snapshot.state in FINAL_STATES:
        return f"{name} has already ended ({snapshot.state})"
    if command.expected_step is not None and command.expected_step != snapshot.step:
        return (
            f"{name} is at step {snapshot.step + 1}, not at step {command.expected_step + 1}: "
            "the order was meant for another step and was not carried out"
        )
    match command.kind:
        case CommandKind.APPROVE | CommandKind.REJECT:
            return _refuse_answer(spec, snapshot, command, name)
        case CommandKind.PAUSE:
            if snapshot.state in UNDOING_STATES:
                return f"{name} is being undone, which cannot be paused"
            return f"{name} is already held: {snapshot.held}" if snapshot.held else ""
        case CommandKind.RESUME:
            if snapshot.state is State.PARKED or snapshot.held:
                return ""
            return f"{name} is neither held nor parked: there is nothing to resume"
        case CommandKind.ABORT:
            return f"{name} is already being undone" if snapshot.state in UNDOING_STATES else ""


def _refuse_answer(spec: RolloutSpec, snapshot: Snapshot, command: Command, name: str) -> str:
    if snapshot.state is State.APPROVING and snapshot.progress.answer is not None:
        held = f"; it is held: {snapshot.held}" if snapshot.held else ""
        return f"{name} was {snapshot.progress.answer_reason} already{held}"
    if not awaits_answer(spec, snapshot):
        return f"{name} is not waiting for an approval (it is {snapshot.state})"
    step = spec.plan.steps[snapshot.step]
    roles = set(step.roles) if isinstance(step, Approval) else set()
    if roles and command.roles is not None and not roles & set(command.roles):
        return f"{name} asks for an approval by one of these roles: {', '.join(sorted(roles))}"
    return ""


def awaits_answer(spec: RolloutSpec, snapshot: Snapshot) -> bool:
    """Whether a person's approve or reject is what the rollout is waiting for."""
    if snapshot.state is State.APPROVING:
        return snapshot.progress.answer is None
    if snapshot.state is not State.ANALYSING or not 0 <= snapshot.step < len(spec.plan.steps):
        return False
    step = spec.plan.steps[snapshot.step]
    return isinstance(step, Analysis) and awaits_judgement(step, snapshot.progress)


def awaits_judgement(analysis: Analysis, progress: StepProgress) -> bool:
    """Whether the analysis has its verdict and its mode asks a person what to make of it."""
    if progress.verdict is None or progress.answer is not None:
        return False
    mode = analysis.roll_forward if progress.verdict is Verdict.PASSED else analysis.roll_back
    return mode == "manual"
