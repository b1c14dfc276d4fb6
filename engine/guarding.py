"""What keeps a rollout from going forward, whatever its procedure says: pods that are short, what somebody else has changed,
and what has to be mended first."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from engine.model import (
    STEP_STATES,
    UNDOING_STATES,
    Act,
    Action,
    ActionKind,
    Await,
    Condition,
    OnDrift,
    State,
    TimerName,
)
from engine.observation import UNHEARD, is_for_silence
from engine.traffic import FULL_WEIGHT, RouterKind
from engine.turn import SERVING_STATES, Turn

REASSERT = "reassert:"
"""How the names of the actions begin that put a traffic object back."""
REST_LEAST_SECONDS = 1.0
"""An instant that is not later than now would never come."""
REST_MOST_SECONDS = 75.0
"""Nobody is taken to be behind for as long as this: a rest that would last longer was begun before the clock was set back."""
_LOOKS = frozenset({ActionKind.RECORD, ActionKind.RECORD_ROUTE, ActionKind.CHECK_MANIFEST, ActionKind.CHECK_EFFECT})
"""They write nothing; and what is wrong is to be found out as soon as ever."""
_BRINGS_BACK = frozenset({ActionKind.SET_WEIGHT, ActionKind.FOLLOW_STABLE})
_NO_STABLE = "no pod of the old version"


def makes_room(turn: Turn) -> bool:
    """An action that is tried again may wait for ever for what somebody else has changed meanwhile: what mends that, or keeps up
    with it, comes first. While the rollout is held, what would take it forward is not tried again; nor where what it had waited
    for is not so any more, such as pods that were to take over."""
    action, seen = turn.at.action, turn.observation
    assert action is not None
    _hold_while_unheard(turn)
    mend = turn.strategy.mend(turn.spec, turn.at, seen) if seen.current else None
    if mend is not None and mend.name == action.name:
        return False
    if mend is not None:
        turn.set_aside()
        turn.story.append(f"{action.name} makes room")
        if not rests(turn, mend):
            turn.order(mend)
        return True
    if turn.at.held and not action.name.startswith(REASSERT):
        turn.set_aside()
        turn.story.append(f"{action.name} waits until it goes on")
        return True
    follow = turn.strategy.follow(turn.spec, turn.at, seen) if seen.current else None
    if follow is not None and follow.name != action.name:
        turn.set_aside()
        turn.order(follow)
        return True
    if not turn.still_holds(action.name):
        turn.set_aside()
        turn.story.append(f"{action.name} waits again for what it needs")
        return True
    if seen.current and follow is None and _is_beside_the_procedure(turn, action):
        turn.set_aside()
        turn.story.append(f"{action.name} is not needed any more")
        return True
    return False


def _is_beside_the_procedure(turn: Turn, action: Action) -> bool:
    """Whether it was ordered to mend something, or to keep up with something, and not because it was its turn."""
    return not action.name.startswith(REASSERT) and not _is_in_the_procedure(turn, action)


def _is_in_the_procedure(turn: Turn, act: Act | Action) -> bool:
    return any(one.name == act.name for one in turn.at.procedure)


def mends(turn: Turn) -> bool:
    mend = turn.strategy.mend(turn.spec, turn.at, turn.observation) if turn.observation.current else None
    if mend is not None:
        if rests(turn, mend):
            return False
        turn.order(mend)
    elif turn.observation.current and turn.at.carrying is not None and _is_shown(turn, turn.at.carrying):
        _note_carried(turn, turn.at.carrying)
    return mend is not None


def _is_shown(turn: Turn, weight: int) -> bool:
    """Whether every route is read back at it. Where pods are the weight, no route says so."""
    routes = (route.name for route in turn.spec.plan.routes if route.kind is not RouterKind.POD_RATIO)
    seen = (turn.observation.routes.get(name) for name in routes)
    return all(one.weight == weight for one in seen if one is not None and one.exists)


def _note_carried(turn: Turn, carrying: int) -> None:
    """Every route shows the weight that the canary's pods can carry by now."""
    back = carrying == turn.at.weight
    if back or turn.at.served != carrying:
        turn.at = replace(turn.at, served=carrying, carrying=None if back else carrying)
        turn.story.append(f"{carrying / 100:g} % is what the pods of the new version carry" + (" again" if back else ""))


def reasserts(turn: Turn) -> bool:
    """Put back what somebody else has made of a traffic object, where that is the rollout's policy and its limit allows it."""
    plan, seen = turn.spec.plan, turn.observation
    of_routes = {route.drift for route in seen.routes.values()} - {""}
    if plan.on_drift is not OnDrift.REASSERT or not seen.current or seen.drift not in of_routes:
        return False
    if _count_reasserted(turn) >= plan.reassert_limit:
        return False
    reassert = turn.strategy.reassert(turn.spec, turn.at, seen)
    if reassert is not None:
        turn.story.append(seen.drift)
        turn.order(reassert)
    return reassert is not None


def _count_reasserted(turn: Turn) -> int:
    return sum(name.startswith(REASSERT) for name in turn.at.begun)


def is_unhealthy(turn: Turn) -> bool:
    """Undo at once when nothing is left that could serve the canary's share, and later when it stays short of pods."""
    seen = turn.observation
    if not seen.current or turn.at.state not in SERVING_STATES or not turn.at.sends_to_canary:
        if turn.clear_timer(TimerName.HEALTH):
            turn.story.append("it is not watched any more whether the new version is short of pods")
        return False
    short = {
        name: workload
        for name, workload in seen.workloads.items()
        if not workload.canary_exists or workload.canary_available < workload.canary_desired
    }
    gone = [name for name, workload in short.items() if workload.canary_available == 0]
    if gone and (turn.at.served > 0 or turn.at.shape):
        turn.fail(f"no pod of the new version of {', '.join(gone)} is available while it serves traffic")
        return True
    if not short or _is_resizing(turn):
        if turn.clear_timer(TimerName.HEALTH):
            turn.story.append("the new version changes its size" if short else "the new version has all its pods again")
        return False
    return _fails_by_deadline(turn, short.keys())


def _fails_by_deadline(turn: Turn, short: object) -> bool:
    deadline = turn.at.timers.get(TimerName.HEALTH)
    if deadline is None:
        deadline = turn.now + timedelta(seconds=turn.spec.plan.ready_timeout_seconds)
        turn.at = replace(turn.at, timers={**turn.at.timers, TimerName.HEALTH: deadline})
        turn.story.append("the new version is short of available pods")
    elif turn.now >= deadline:
        turn.fail(
            f"the new version stayed short of available pods for {turn.spec.plan.ready_timeout_seconds:g} s"
            + describe_trouble(turn)
        )
        return True
    return False


def _is_resizing(turn: Turn) -> bool:
    current = turn.current_operation()
    if isinstance(current, Act):
        return current.kind is ActionKind.SCALE_CANARY
    return isinstance(current, Await) and current.condition is Condition.CANARY_AVAILABLE


def is_held(turn: Turn) -> bool:
    _hold_while_unheard(turn)
    if turn.observation.current:
        _hold_on_drift(turn)
        if turn.moved:
            return True
        _hold_without_stable(turn)
    return bool(turn.at.held)


def _hold_while_unheard(turn: Turn) -> None:
    """Not a step further on what may not be so any more. When it is heard of again, it goes on. What was waited for could not be
    seen meanwhile, and those who bring it about were perhaps away too: it has its time anew."""
    seen, was_unheard = turn.observation, is_for_silence(turn.at.held)
    if seen.unheard and (was_unheard or not turn.at.held) and not _only_looks(turn):
        reason = f"{UNHEARD} {seen.unheard}. It goes on by itself when that is mended: see to it (headgate doctor), or abort"
        if turn.at.held != reason:
            turn.hold(reason)
    elif was_unheard and seen.current:
        turn.at = replace(turn.at, held="")
        turn.story.append("the cluster is heard of again")
        if isinstance(turn.current_operation(), Await):
            turn.clear_timer(TimerName.WAIT)


def _only_looks(turn: Turn) -> bool:
    """Whether what comes next changes nothing: who lacks a right is to hear of it, and what is left after the deployment is not
    done to the cluster."""
    operation = turn.current_operation()
    return turn.at.state is State.VERIFYING or (isinstance(operation, Act) and operation.kind in _LOOKS)


def _hold_on_drift(turn: Turn) -> None:
    drift = turn.observation.drift or turn.strategy.drift(turn.spec, turn.at, turn.observation)
    if not drift or turn.at.held:
        return
    if turn.spec.plan.on_drift is OnDrift.ABORT:
        turn.fail(f"drift: {drift}")
    elif count := _count_reasserted(turn):
        turn.hold(f"drift: {drift}. It was put back {count} times and changed again: somebody fights for it, stop them first")
    else:
        turn.hold(f"drift: {drift}")


def _hold_without_stable(turn: Turn) -> None:
    """Not a step further while no pod of the old version can carry the share that it still has. When one can, it goes on."""
    shares = turn.at.state in STEP_STATES and turn.at.served < FULL_WEIGHT
    workloads = turn.observation.workloads.items()
    short = [name for name, one in workloads if shares and one.canary_exists and not one.stable_available]
    gone = [name for name in short if not _was_let_go(turn, name)]
    if gone and not turn.at.held:
        share = (FULL_WEIGHT - turn.at.served) / 100
        reason = f"{_NO_STABLE} of {', '.join(gone)} is available, which has {share:g} % of the traffic"
        turn.at = replace(turn.at, held=reason)
        turn.story.append(f"held: {reason}")
    elif not gone and turn.at.held.startswith(_NO_STABLE):
        turn.at = replace(turn.at, held="")
        turn.story.append("the old version is available again")


def _was_let_go(turn: Turn, workload: str) -> bool:
    """Whether this very step takes the last pods of its old version: where pods are the weight, they go before it is read
    back."""
    begun = [one for at, one in enumerate(turn.at.procedure) if at <= turn.at.cursor or one.name in turn.at.begun]
    scaled = [one.args for one in begun if isinstance(one, Act) and one.kind is ActionKind.SCALE_STABLE]
    return any(args.get("workload") == workload and args.get("replicas") == 0 for args in scaled)


def rests(turn: Turn, act: Act | Action) -> bool:
    """Nothing more is done while the proxies may not have caught up with what was done before: a weight would name what they have
    not heard of, and what they still send to would go. What brings the traffic back, what mends, and what only looks waits for
    nobody. A rest that has begun is kept where nobody is known to be behind any more: a new process has seen no outage."""
    if not turn.spec.plan.routes or _waits_for_nobody(turn, act):
        return False
    until = turn.at.timers.get(TimerName.REST)  # Not over: `ends_rest` has looked.
    if until is not None and until - turn.now <= timedelta(seconds=REST_MOST_SECONDS):
        return True
    if not turn.observation.behind_seconds:
        turn.clear_timer(TimerName.REST)
        return False
    rest = max(turn.observation.behind_seconds, REST_LEAST_SECONDS)
    until = turn.now + timedelta(seconds=rest)
    turn.at = replace(turn.at, timers={**turn.at.timers, TimerName.REST: until})
    turn.story.append(f"rests for {rest:.1f} s: the API server was away, and the proxies may be behind it")
    return True


def ends_rest(turn: Turn) -> None:
    """A rest that is over leaves nothing behind, whatever the rollout is at by now."""
    until = turn.at.timers.get(TimerName.REST)
    if until is not None and turn.now >= until:
        turn.clear_timer(TimerName.REST)
        turn.story.append("the rest is over")


def _waits_for_nobody(turn: Turn, act: Act | Action) -> bool:
    if turn.at.state is State.ABORTING or act.kind in _LOOKS:
        return True
    if turn.at.state in UNDOING_STATES:
        return act.kind in _BRINGS_BACK
    if act.kind is ActionKind.SET_WEIGHT and "carry" in act.args:
        return int(act.args["weight"] or 0) <= turn.at.served
    return act.name.startswith(REASSERT) or not _is_in_the_procedure(turn, act)


def describe_trouble(turn: Turn) -> str:
    seen = turn.observation
    trouble = [route.waits_for for route in seen.routes.values() if route.waits_for]
    trouble += [text for workload in seen.workloads.values() for text in workload.trouble]
    return f" ({'; '.join(trouble[:3])})" if trouble else ""
