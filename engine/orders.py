"""Whether an operator's command fits where a rollout stands. Commands are compare-and-set (invariant 7); abort always wins."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from engine import gates
from engine.events import Command, CommandKind
from engine.model import FINAL_STATES, GATED_STATES, STEP_STATES, UNDOING_STATES, Gate, RolloutSpec, Snapshot, State
from engine.observation import is_for_silence

_ANSWERS = frozenset({CommandKind.APPROVE, CommandKind.REJECT, CommandKind.SKIP})


def meant_for(command: Command, snapshot: Snapshot) -> Command:
    """The order as it is when it arrives: an answer is an answer to the step of that moment, also where its giver named none.

    Without this, the second of two approvals that arrive at once would answer the step after.
    """
    if command.kind not in _ANSWERS or command.expected_step is not None:
        return command
    return replace(command, expected_step=snapshot.step)


def refuse(spec: RolloutSpec, snapshot: Snapshot, command: Command, now: datetime) -> str:
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
            return _refuse_answer(spec, snapshot, command, name) or _refuse_late(spec, snapshot, command, now, name)
        case CommandKind.SKIP:
            return _refuse_skip(spec, snapshot, command, name) or _refuse_late(spec, snapshot, command, now, name)
        case CommandKind.PROMOTE:
            return _refuse_promotion(snapshot, name)
        case CommandKind.PAUSE:
            if snapshot.state in UNDOING_STATES:
                return f"{name} is being undone, which cannot be paused"
            is_held = snapshot.held and not is_for_silence(snapshot.held)
            return f"{name} is already held: {snapshot.held}" if is_held else ""
        case CommandKind.RESUME:
            if snapshot.state is State.PARKED or snapshot.held:
                return ""
            return f"{name} is neither held nor parked: there is nothing to resume"
        case CommandKind.ABORT:
            return f"{name} is already being undone" if snapshot.state in UNDOING_STATES else ""


def _refuse_answer(spec: RolloutSpec, snapshot: Snapshot, command: Command, name: str) -> str:
    asked = [gate for gate in _named(snapshot, command) if gates.awaits_answer(spec.plan, gate)]
    if not asked:
        given = next((gate for gate in _named(snapshot, command) if gate.answer_reason and not gate.passed), None)
        if given is not None:
            held = f"; it is held: {snapshot.held}" if snapshot.held else ""
            return f"{name} was {given.answer_reason} already{held}"
        return f"{name} is not waiting for an approval (it is {snapshot.state})"
    return "" if answered_by(spec, snapshot, command) else _lacking_roles(spec, asked, name)


def _refuse_skip(spec: RolloutSpec, snapshot: Snapshot, command: Command, name: str) -> str:
    if snapshot.state not in GATED_STATES:
        return f"{name} is {snapshot.state}, which cannot be skipped; only what is waited for can be"
    asked = _skippable(snapshot, command)
    if not asked:
        return f"{name} waits for nothing that could be skipped (it is {snapshot.state})"
    kept = [gate for gate in asked if not _may_answer(spec, gate, command)]
    return _lacking_roles(spec, kept, name) if kept else ""


def _refuse_late(spec: RolloutSpec, snapshot: Snapshot, command: Command, now: datetime, name: str) -> str:
    """An approval has expired at its instant, whoever notices it first: the clock, or a person."""
    for gate in answered_by(spec, snapshot, command):
        expires_at = gates.expires_at(spec.plan, gate)
        if expires_at is not None and expires_at <= now:
            held = " as soon as it is resumed" if snapshot.held else ""
            when = f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"
            return f"the approval of {name} expired at {when}: it is undone{held}, and can be deployed anew"
    return ""


def _refuse_promotion(snapshot: Snapshot, name: str) -> str:
    if snapshot.state in UNDOING_STATES:
        return f"{name} is being undone; a promotion never goes past an abort"
    if snapshot.state is State.PARKED or snapshot.held:
        return f"{name} is {'parked' if snapshot.state is State.PARKED else 'held'}; resume it first, or abort"
    if snapshot.promoting or snapshot.state not in STEP_STATES | {State.WAITING, State.PREPARING, State.SCALING}:
        return f"{name} is on its way to the end already"
    return ""


def answered_by(spec: RolloutSpec, snapshot: Snapshot, command: Command) -> tuple[Gate, ...]:
    """The gates that the command answers: all that wait for it and that this person may answer, or the one it names."""
    if command.kind is CommandKind.SKIP:
        return tuple(gate for gate in _skippable(snapshot, command) if _may_answer(spec, gate, command))
    named = _named(snapshot, command)
    return tuple(gate for gate in named if gates.awaits_answer(spec.plan, gate) and _may_answer(spec, gate, command))


def name_giver(spec: RolloutSpec, snapshot: Snapshot, command: Command) -> str:
    """Who answers, for the journal: with those of the asked roles that the right to answer comes from."""
    asked = dict.fromkeys(
        role for gate in answered_by(spec, snapshot, command) for role in gates.roles_of(spec.plan, gate)
    )
    if not asked:
        return command.by
    if command.roles is None:
        return f"{command.by} (full access)"
    return f"{command.by} ({', '.join(role for role in asked if _folded([role]) <= _folded(command.roles))})"


def awaits_answer(spec: RolloutSpec, snapshot: Snapshot) -> bool:
    """Whether a person's approve or reject is what the rollout is waiting for."""
    return any(gates.awaits_answer(spec.plan, gate) for gate in snapshot.gates)


def roles_asked(spec: RolloutSpec, snapshot: Snapshot) -> tuple[str, ...]:
    """The roles of which one is asked for; empty when anybody with access may answer, or when nobody is asked."""
    asked = [gate for gate in snapshot.gates if gates.awaits_answer(spec.plan, gate)]
    return tuple(dict.fromkeys(role for gate in asked for role in gates.roles_of(spec.plan, gate)))


def _named(snapshot: Snapshot, command: Command) -> tuple[Gate, ...]:
    return tuple(gate for gate in snapshot.gates if command.gate in (None, gate.id))


def _skippable(snapshot: Snapshot, command: Command) -> tuple[Gate, ...]:
    return tuple(
        gate
        for gate in _named(snapshot, command)
        if not gate.passed and gate.answer is None and not gates.is_background(gate)
    )


def _may_answer(spec: RolloutSpec, gate: Gate, command: Command) -> bool:
    roles = gates.roles_of(spec.plan, gate)
    return not roles or command.roles is None or not _folded(roles).isdisjoint(_folded(command.roles))


def _folded(roles: Iterable[str]) -> set[str]:
    """The names of roles say the same in capital letters (as in CD-as-a-Service)."""
    return {role.casefold() for role in roles}


def _lacking_roles(spec: RolloutSpec, asked: Iterable[Gate], name: str) -> str:
    roles = dict.fromkeys(role for gate in asked for role in gates.roles_of(spec.plan, gate))
    return f"{name} asks for an approval by one of these roles: {', '.join(roles)}"
