"""What an event says to a rollout: the first half of a decision. What follows from it is the other half's business.
"""

from __future__ import annotations

from datetime import timedelta

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
from engine.giving_way import PATIENCE
from engine.machine import Trigger, fire, is_possible
from engine.model import (
    UNDOING_STATES,
    Act,
    Action,
    ActionKind,
    Analysis,
    Gate,
    OnTimeout,
    State,
    TimerName,
    Verdict,
)
from engine.orders import answered_by, name_giver
from engine.tending import NO_DATA
from engine.turn import Turn

DOUBTS = 5
"""How often in a row a doubtful refusal is asked again: for 8 to 16 seconds in all."""
DOUBTS_AT_FIRST = 4
"""While nothing was changed: for 4 to 8 seconds. Whoever lacks a right is to hear of it soon."""
KEPT_OUTPUT = 32_768
"""Characters of a test's output that the journal keeps: its end, which says why."""


def absorb(turn: Turn, event: Event) -> None:
    match event:
        case Cleared():
            _clear_to_begin(turn, event.note)
        case Started():
            turn.may_start = True
            _clear_to_begin(turn, event.note)
        case Recovered():
            _absorb_recovery(turn)
        case TimerFired():
            pass  # Deadlines are compared with the time below, whichever event woke us.
        case ActionSucceeded():
            _absorb_success(turn, event)
        case ActionFailed():
            _absorb_failure(turn, event)
        case Measurements():
            _absorb_measurements(turn, event)
        case CallbackReceived():
            _absorb_callback(turn, event)
        case Command():
            _absorb_command(turn, event)
        case _:
            pass


def _clear_to_begin(turn: Turn, note: str) -> None:
    """Its turn has come: what has to hold before it is looked at from now on."""
    if turn.at.state is not State.WAITING or turn.at.cleared:
        return
    before = gates.open_gates(turn.spec.plan, gates.ids_of("before", turn.spec.plan.before), turn.now)
    turn.at = replace(turn.at, cleared=True, gates=before)
    if note:
        turn.story.append(note)
    if before:
        turn.story.append("the conditions before the deployment are looked at")
    if turn.at.promoting:
        turn.pass_pauses("promoted")


def _absorb_recovery(turn: Turn) -> None:
    """Metric samples that a provider kept in memory are gone with the process: it has to be told again what to watch."""
    for gate in turn.at.gates:
        if gate.prepared and gate.action is None and not gate.passed and gate.verdict is None:
            turn.put(replace(gate, prepared=False))
            turn.story.append("the daemon came up again; measuring goes on")


def _absorb_success(turn: Turn, event: ActionSucceeded) -> None:
    if (gate := turn.gate_of(event.number)) is not None:
        turn.put(gates.take_success(gate))
    elif turn.at.action is not None and turn.at.action.number == event.number:
        _finish_action(turn, turn.at.action)
    else:
        return
    action = turn.action_before(event.number)
    turn.at = replace(turn.at, facts={**turn.at.facts, **event.facts})
    turn.story.append(event.note or f"done: {action.name}")
    _keep_output(turn, event.output)


def _finish_action(turn: Turn, action: Action) -> None:
    cursor = turn.at.cursor
    current = turn.at.procedure[cursor] if cursor < len(turn.at.procedure) else None
    if isinstance(current, Act) and current.name == action.name:
        cursor += 1
    over = {TimerName.RETRY} | ({TimerName.WAIT} if turn.patience_of(action) is not None else set())
    timers = {name: at for name, at in turn.at.timers.items() if name not in over}
    turn.at = replace(turn.at, action=None, cursor=cursor, failures=0, doubts=0, failure="", timers=timers)


def _keep_output(turn: Turn, output: str) -> None:
    if output:
        turn.detail = {**turn.detail, "output": output[-KEPT_OUTPUT:]}


def _absorb_failure(turn: Turn, event: ActionFailed) -> None:
    gate = turn.gate_of(event.number)
    if gate is not None:
        _absorb_failure_of(turn, gate, event)
        return
    action = turn.at.action
    if action is None or action.number != event.number:
        return
    undoing = turn.at.state in UNDOING_STATES
    if undoing and turn.at.failures + 1 >= PATIENCE and _only_helps(turn, action):
        _finish_action(turn, action)
        turn.story.append(f"{action.name} is refused, and left out: {event.message}")
        return
    if action.kind is ActionKind.REASSERT_ROUTE and event.kind in (FailureKind.REJECTED, FailureKind.DOUBTFUL):
        _finish_action(turn, action)
        turn.hold(f"drift: {event.message}")
        return
    if event.kind is FailureKind.RETRY and _is_out_of_patience(turn, action):
        _give_up(turn, action, event)
    elif event.kind is FailureKind.RETRY or undoing or _is_doubted(turn, event):
        _retry_later(turn, action, event)
        if undoing and turn.at.failures >= PATIENCE and turn.gives_way():
            turn.story.append("the others come first")
    elif event.kind is FailureKind.UNKNOWN:
        turn.park(f"{action.name}: {event.message}")
    else:
        turn.fail(event.message if action.kind is ActionKind.RECORD else f"{action.name}: {event.message}")


def _is_out_of_patience(turn: Turn, action: Action) -> bool:
    until = turn.at.timers.get(TimerName.WAIT)
    return turn.patience_of(action) is not None and until is not None and turn.now >= until


def _give_up(turn: Turn, action: Action, event: ActionFailed) -> None:
    act = turn.patience_of(action)
    assert act is not None
    late = f"not after {act.patience_seconds:g} s: {event.message}"
    if event.undecided and act.on_undecided is OnTimeout.PROCEED:
        _finish_action(turn, action)
        turn.story.append(f"{action.name}: {late}; going on")
    else:
        turn.fail(f"{action.name}: {late}")


def _only_helps(turn: Turn, action: Action) -> bool:
    current = turn.current_operation()
    return isinstance(current, Act) and current.name == action.name and current.only_helps


def _absorb_failure_of(turn: Turn, gate: Gate, event: ActionFailed) -> None:
    assert gate.action is not None
    name = gate.action.name
    _keep_output(turn, event.output)
    doubts = _doubts_after(gate.doubts, event)
    if event.kind is FailureKind.RETRY or 0 < doubts <= DOUBTS:
        wait = turn.wait_after(gate.action, doubts or gate.failures + 1, event)
        retry_at = turn.now + timedelta(seconds=wait)
        turn.put(replace(gate, failures=gate.failures + 1, doubts=doubts, failure=event.message, retry_at=retry_at))
        turn.tell_retry(name, gate.failures + 1, wait, event.message)
    elif event.kind is FailureKind.UNKNOWN and is_possible(turn.at.state, Trigger.PARK):
        turn.park(f"{name}: {event.message}")
    else:
        turn.fail_gate(gate, f"{name}: {event.message}")


def _is_doubted(turn: Turn, event: ActionFailed) -> bool:
    most = DOUBTS_AT_FIRST if turn.has_only_looked() else DOUBTS
    return event.kind is FailureKind.DOUBTFUL and turn.at.doubts < most


def _doubts_after(doubts: int, event: ActionFailed) -> int:
    """Counted apart from other failures: an API server that was away for an hour is to be doubted when it is back, too."""
    return doubts + 1 if event.kind is FailureKind.DOUBTFUL else 0


def _retry_later(turn: Turn, action: Action, event: ActionFailed) -> None:
    failures, doubts = turn.at.failures + 1, _doubts_after(turn.at.doubts, event)
    wait = turn.wait_after(action, failures if turn.at.state in UNDOING_STATES else doubts or failures, event)
    timers = {**turn.at.timers, TimerName.RETRY: turn.now + timedelta(seconds=wait)}
    turn.at = replace(turn.at, failures=failures, doubts=doubts, failure=event.message, timers=timers)
    if event.undecided:
        turn.story.append(f"{action.name}: {event.message}; again in {wait:.1f} s")
    else:
        turn.tell_retry(action.name, failures, wait, event.message)


def _absorb_measurements(turn: Turn, event: Measurements) -> None:
    gate = turn.gate_of(event.number)
    step = gates.step_of(turn.spec.plan, gate.id) if gate is not None else None
    if gate is None or not isinstance(step, Analysis):
        return
    change = gates.take_measurements(step, gate, event, turn.now)
    turn.put(change.gate)
    turn.story.append(change.text)
    if gates.is_background(gate) and not change.gate.empty_in_a_row and turn.at.held.startswith(NO_DATA):
        turn.at = replace(turn.at, held="")
        turn.story.append("there is data again")


def _absorb_callback(turn: Turn, event: CallbackReceived) -> None:
    for gate in turn.at.gates:
        if gate.callback_token == event.token and gate.answer is None and not gate.passed:
            turn.put(replace(gate, answer=event.verdict, answer_reason=event.message))
            because = f" ({event.message})" if event.message else ""
            turn.story.append(f"the called side reported: {event.verdict}{because}")
            return


def _absorb_command(turn: Turn, command: Command) -> None:
    because = f": {command.reason}" if command.reason else ""
    match command.kind:
        case CommandKind.ABORT:
            turn.fail(f"aborted by {command.by}{because}")
        case CommandKind.PAUSE:
            turn.at = replace(turn.at, held=f"paused by {command.by}{because}")
            turn.story.append(turn.at.held)
        case CommandKind.RESUME:
            _resume(turn, f"resumed by {command.by}{because}")
        case CommandKind.APPROVE | CommandKind.REJECT | CommandKind.SKIP:
            _answer(turn, command, because)
        case CommandKind.PROMOTE:
            turn.at = replace(turn.at, promoting=True, promoted_at=turn.at.step)
            turn.story.append(f"promoted by {command.by}{because}")
            turn.pass_pauses(f"promoted by {command.by}")


def _answer(turn: Turn, command: Command, because: str) -> None:
    words = {CommandKind.APPROVE: "approved", CommandKind.REJECT: "rejected", CommandKind.SKIP: "skipped"}
    verdict = Verdict.FAILED if command.kind is CommandKind.REJECT else Verdict.PASSED
    reason = f"{words[command.kind]} by {name_giver(turn.spec, turn.before, command)}{because}"
    for gate in answered_by(turn.spec, turn.before, command):
        turn.put(replace(gate, answer=verdict, answer_reason=reason))
    turn.story.append(reason)


def _resume(turn: Turn, sentence: str) -> None:
    turn.at = replace(turn.at, held="")
    turn.story.append(sentence)
    if turn.at.parked is not None and turn.at.state is State.PARKED:
        origin = turn.at.parked.origin
        turn.at = replace(turn.at, state=fire(turn.at.state, Trigger.UNPARK, origin), parked=None)
        _order_again(turn)
        turn.moved = True


def _order_again(turn: Turn) -> None:
    """What had been begun when it parked comes first: nobody knows whether it has taken effect, so what is seen of it by now must
    not be taken for somebody else's doing."""
    operation = turn.current_operation()
    if not isinstance(operation, Act) or operation.name not in turn.at.begun:
        return
    if turn.still_holds(operation.name):
        turn.order(operation)
    else:
        turn.at = replace(turn.at, cursor=turn.cursor_before(operation.name))
