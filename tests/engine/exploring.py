"""Every stand that a rollout of a small plan can come to, by every event, as far as the engine tells stands apart.

Time is abstract: a look at the world comes at once, when the next deadline has passed, or when all have. So is the world: it has
done what was written to it, or cannot be seen, or is not heard of any more, or has lost the new version's pods, or was edited by
somebody. How often something is tried before something follows is shortened to once or twice. Left out of a stand is what only
counts up (decisions, numbers of actions) and what only tells (samples, reasons).
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from unittest.mock import patch

from msgspec.structs import replace

from engine import absorbing
from engine.decide import decide
from engine.events import (
    ActionFailed,
    ActionSucceeded,
    CallbackReceived,
    Cleared,
    Command,
    CommandKind,
    Event,
    FailureKind,
    Measured,
    Measurements,
    MeasureOutcome,
    Recovered,
    Started,
    TimerFired,
    WorldChanged,
)
from engine.gates import step_of
from engine.model import (
    FINAL_STATES,
    UNDOING_STATES,
    Action,
    ActionKind,
    Analysis,
    Gate,
    RolloutSpec,
    Snapshot,
    State,
    TargetPlan,
    Verdict,
)
from engine.observation import Observation
from engine.orders import refuse
from strategies.canary import CanaryStrategy
from tests.builders import rollout_spec, waiting
from tests.clocks import START
from tests.engine.model_world import ModelWorld, Place

MOST_FAILURES = 2
"""More make no difference, as often as things are tried here."""
STALE = 1_000_000
"""The number of an action that nobody waits for."""
STRATEGY = CanaryStrategy()


@dataclass(frozen=True)
class Stand:
    snapshot: Snapshot
    place: Place
    key: Hashable


@dataclass(frozen=True)
class Way:
    """What an event has led to."""

    event: str
    to: Hashable
    helps: bool
    """Something that a world without trouble, a daemon and the passing of time bring about by themselves."""
    answers: bool
    """A person's answer, as it is asked for."""


@dataclass
class Explored:
    stands: dict[Hashable, Stand] = field(default_factory=dict)
    ways: dict[Hashable, list[Way]] = field(default_factory=dict)
    handled: Counter[tuple[State, str]] = field(default_factory=Counter)
    """(state, kind of event): how often it led to another stand."""
    ignored: Counter[tuple[State, str]] = field(default_factory=Counter)
    refused: Counter[tuple[State, str]] = field(default_factory=Counter)
    """Orders that were refused, with a sentence."""

    def transitions(self) -> int:
        return sum(map(len, self.ways.values()))


class _World(ModelWorld):
    """Its controllers have no lag."""

    def _later(self, rollout: str, key: str) -> None:
        self._control(rollout, key)


def explore(plan: TargetPlan) -> Explored:
    """From the initial snapshot on. Raises whatever `decide` raises for any of it: nothing may."""
    with patch.multiple(absorbing, DOUBTS=1, DOUBTS_AT_FIRST=1, PATIENCE=2):
        return _explore(plan)


def _explore(plan: TargetPlan) -> Explored:
    spec, found = rollout_spec(plan), Explored()
    first = _stand(waiting(), Place())
    found.stands[first.key] = first
    ahead = deque([first])
    while ahead:
        here = ahead.popleft()
        ways = found.ways[here.key] = []
        if here.snapshot.state in FINAL_STATES:
            continue
        for name, kind, helps, answers, after in _steps(spec, here, found):
            ways.append(Way(name, after.key, helps, answers))
            found.handled[here.snapshot.state, kind] += 1
            if after.key not in found.stands:
                found.stands[after.key] = after
                ahead.append(after)
    return found


def _steps(spec: RolloutSpec, here: Stand, found: Explored) -> Iterator[tuple[str, str, bool, bool, Stand]]:
    at = here.snapshot
    for event, place in _events(spec, here):
        kind = _kind(event)
        if isinstance(event, Command) and refuse(spec, at, event, _moments(at)[0]):
            found.refused[at.state, kind] += 1
            continue
        led = False
        looks = isinstance(event, WorldChanged)
        for view, observation in list(_views(spec, at, place))[: None if looks else 1]:
            for moment in _moments(at)[: None if looks else 1]:
                decision = decide(spec, at, event, observation, moment, STRATEGY)
                if decision is None:
                    continue
                assert decision.entry.text
                led = True
                helps = view == "as it is" and _is_good(event)
                answers = view == "as it is" and isinstance(event, Command) and event.kind in _ANSWERS
                yield f"{kind}, {view}", kind, helps, answers, _stand(decision.snapshot, place)
        if not led:
            found.ignored[at.state, kind] += 1


_ANSWERS = (CommandKind.APPROVE, CommandKind.RESUME)


def _is_good(event: Event) -> bool:
    if isinstance(event, CallbackReceived):
        return event.verdict is Verdict.PASSED
    if isinstance(event, Measurements):
        return all(one.outcome is MeasureOutcome.VALUE and one.value == 0.0 for one in event.results)
    return not isinstance(event, Command | ActionFailed)


def _kind(event: Event) -> str:
    tag = str(type(event).__struct_config__.tag)
    if isinstance(event, Command):
        return f"{tag} {event.kind}"
    return f"{tag}: {event.kind}" if isinstance(event, ActionFailed) else tag


def _moments(at: Snapshot) -> list[datetime]:
    """Now, after the next deadline, after all of them."""
    now = max(at.entered_at, START)
    deadlines = sorted({due for due in at.deadlines.values() if due > now})
    later = [deadlines[0], deadlines[-1]] if deadlines else []
    return list(dict.fromkeys([now, *(one + timedelta(milliseconds=1) for one in later)]))  # In this order.


def _views(spec: RolloutSpec, at: Snapshot, place: Place) -> Iterator[tuple[str, Observation]]:
    world = _World()
    world.places[spec.id] = place
    seen = world.observe(spec, at)
    yield "as it is", seen
    yield "unseen", Observation(current=False)
    if at.state not in UNDOING_STATES:
        yield "unheard of", Observation(current=False, unheard="pods")
    lost = {name: replace(one, canary_available=0) for name, one in seen.workloads.items()}
    yield "pods lost", replace(seen, workloads=lost)
    yield "edited", replace(seen, drift="somebody has edited it")
    yield "proxies behind", replace(seen, behind_seconds=5.0)


def _events(spec: RolloutSpec, here: Stand) -> Iterator[tuple[Event, Place]]:
    """With the world as it is when the event comes: an action that has succeeded has taken effect."""
    at, place = here.snapshot, here.place
    plain: list[Event] = [Cleared(), Started(), Recovered(), WorldChanged(), ActionSucceeded(STALE)]
    plain.append(TimerFired("of another state"))
    plain += [ActionFailed(STALE, kind, "refused") for kind in FailureKind]
    plain += [Command(kind, by="ada") for kind in CommandKind]
    plain += [Command(kind, by="ada", expected_step=99) for kind in CommandKind]
    for gate in at.gates:
        plain += [CallbackReceived(gate.callback_token, verdict) for verdict in (Verdict.PASSED, Verdict.FAILED)]
    plain.append(CallbackReceived("of somebody else", Verdict.PASSED))
    yield from ((event, place) for event in plain)
    for action in at.pending:
        for kind in FailureKind:
            yield ActionFailed(action.number, kind, "refused"), place
        yield ActionFailed(action.number, FailureKind.RETRY, "cannot tell", undecided=True), place
        if action.kind is ActionKind.MEASURE:
            yield from ((Measurements(action.number, results), place) for results in _results(spec, action))
        else:
            yield _succeed(spec, action, place)


def _results(spec: RolloutSpec, action: Action) -> Iterator[tuple[Measured, ...]]:
    step = step_of(spec.plan, str(action.args["gate"]))
    assert isinstance(step, Analysis)
    for outcome, value in ((MeasureOutcome.VALUE, 0.0), (MeasureOutcome.VALUE, 1.0), (MeasureOutcome.NO_DATA, None)):
        yield tuple(Measured(query.name, outcome, value) for query in step.queries)


def _succeed(spec: RolloutSpec, action: Action, place: Place) -> tuple[Event, Place]:
    world = _World()
    world.places[spec.id] = changed = copy.deepcopy(place)
    return ActionSucceeded(action.number, world._apply(spec, action)), changed


# --- which stands are the same -----------------------------------------------------------------------------------------


def _stand(snapshot: Snapshot, place: Place) -> Stand:
    return Stand(snapshot, place, (_key_of(snapshot), _key_of_place(place)))


def _key_of(at: Snapshot) -> Hashable:
    return (
        at.state,
        at.step,
        tuple(one.name for one in at.procedure),
        at.cursor,
        at.action and at.action.name,
        min(at.failures, MOST_FAILURES),
        min(at.doubts, MOST_FAILURES),
        frozenset(at.begun),
        tuple(map(_key_of_gate, at.gates)),
        frozenset(at.timers),
        frozenset(at.gave_way),
        (at.cleared, at.promoting, at.promoted_at, at.weight, at.shape, at.carrying, at.served),
        at.held.partition(":")[0],
        at.parked and at.parked.origin,
    )


def _key_of_gate(gate: Gate) -> Hashable:
    return (
        gate.id,
        (gate.passed, gate.prepared, gate.called, gate.reminded, gate.verdict, gate.answer),
        gate.action and gate.action.kind,
        (min(gate.failures, 1), min(gate.doubts, MOST_FAILURES)),
        (gate.due_at is not None, gate.retry_at is not None),
        (gate.counted, gate.failed_runs, min(gate.empty_runs, 1), min(gate.empty_in_a_row, 1)),
    )


def _key_of_place(place: Place) -> Hashable:
    sets = (frozenset(place.services), frozenset(place.manifests))
    return (*(value for value in vars(place).values() if not isinstance(value, set)), *sets)


# --- what must be true of all of them ----------------------------------------------------------------------------------


def without_end(found: Explored, *, by_itself: bool) -> list[Stand]:
    """The stands from which no end can be reached; `by_itself`: without failures, and with no orders but the answers that are
    asked for."""
    ends = {key for key, one in found.stands.items() if one.snapshot.state in FINAL_STATES}
    return _without(found, ends, by_itself=by_itself)


def never_undone(found: Explored) -> list[Stand]:
    """The undoing stands from which, in a world without trouble and with nobody's help, it is not all put back."""
    ends = {key for key, one in found.stands.items() if one.snapshot.state is State.ROLLED_BACK}
    missing = _without(found, ends, by_itself=True)
    return [one for one in missing if one.snapshot.state in UNDOING_STATES]


def _without(found: Explored, ends: set[Hashable], *, by_itself: bool) -> list[Stand]:
    before: dict[Hashable, list[Hashable]] = {}
    for key, ways in found.ways.items():
        for way in ways:
            if not by_itself or way.helps or way.answers:
                before.setdefault(way.to, []).append(key)
    reached, ahead = set(ends), deque(ends)
    while ahead:
        for key in before.get(ahead.popleft(), ()):
            if key not in reached:
                reached.add(key)
                ahead.append(key)
    return [one for key, one in found.stands.items() if key not in reached]
