"""Lets each gate of a rollout make its next move (`engine.gates`), and says what a move means for the rollout.
"""

from __future__ import annotations

from msgspec.structs import replace

from engine import gates
from engine.model import (
    Action,
    Gate,
)
from engine.observation import is_for_silence
from engine.turn import Turn

NO_DATA = "no data to judge by"


def tend_gates(turn: Turn) -> bool:
    """Let each gate make its next move. True when that is all there is to do in this turn.

    While the rollout is held only what watches it goes on: a bad version serves while somebody thinks. Where nothing is heard of
    the cluster all of them do: none is judged by that, and what they come to is all that tells of the new version.
    """
    stands_still = turn.at.held and not is_for_silence(turn.at.held)
    for gate in turn.at.gates:
        if gate.passed or (stands_still and not gates.is_background(gate)):
            continue
        if gate.action is not None and gate.answer is None:
            if late := gates.is_late(turn.spec, gate, turn.now):
                turn.fail_gate(gate, late)
                return True
            if _retries(turn, gate, gate.action):
                return True
            continue
        if _make_move(turn, gates.finish_action(gate) if gate.action is not None else gate):
            return True
    return False


def _retries(turn: Turn, gate: Gate, action: Action) -> bool:
    if gate.retry_at is None or not turn.is_due(gate.retry_at):
        return False
    again = replace(action, attempt=action.attempt + 1)
    turn.put(replace(gate, action=again, retry_at=None))
    turn.story.append(f"again: {again.name}")
    return True


def _make_move(turn: Turn, gate: Gate) -> bool:
    match gates.next_move(turn.spec, gate, turn.now):
        case gates.Order(ordered, act):
            action = turn.number(act)
            turn.put(replace(ordered, action=action, failures=0, doubts=0, failure="", retry_at=None))
            return True
        case gates.Changed(changed, text):
            turn.put(changed)
            turn.story.append(text)
        case gates.Passed(text):
            turn.put(replace(gate, passed=True, due_at=None))
            if text not in turn.story:  # An answer was told when it was given.
                turn.story.append(text or "passed")
        case gates.Failed(text):
            turn.fail_gate(gate, text)
            return True
        case gates.Undecided(text):
            _hold_without_data(turn, text)
        case None:
            _note_judgement(turn, gate)
    return False


def _note_judgement(turn: Turn, gate: Gate) -> None:
    """A person is asked what to make of a verdict; said once."""
    if gate.verdict is None or gate.reminded or gate.answer is not None:
        return
    turn.put(replace(gate, reminded=True, due_at=None))
    turn.story.append(f"analysis {gate.verdict}: {gate.verdict_reason}; waiting for a person")


def _hold_without_data(turn: Turn, text: str) -> None:
    if not turn.at.held:
        turn.at = replace(turn.at, held=f"{NO_DATA}: {text}")
        turn.story.append(f"held: {text}")
