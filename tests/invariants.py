"""The invariants of the design, as a checker that is fed every decision and every write of an engine under test."""

from __future__ import annotations

import anyio

from engine.machine import EDGES
from engine.model import FINAL_STATES, STEP_STATES, UNDOING_STATES, JournalEntry, RolloutSpec, Snapshot, State
from engine.ports import Commit
from engine.traffic import FULL_WEIGHT, SetHeaderRoute, SetMirror, SetWeight, Shape, write_shape


class Violation(AssertionError):
    """An invariant is broken."""


def allowed_weight(spec: RolloutSpec, snapshot: Snapshot) -> int:
    """The most that the canary may get where the rollout stands: the last weight that its steps have come to."""
    if snapshot.state in (State.PROMOTING, State.FINALISING, State.VERIFYING, State.SUCCEEDED):
        return 10_000
    if snapshot.state in (State.ABORTING, State.RESTORING, State.PARKED):
        return 10_000
    if snapshot.state is State.FAILED:  # Nothing was deployed, or the new version serves.
        return 10_000 if snapshot.step >= len(spec.plan.steps) else 0
    steps = spec.plan.steps[: snapshot.step + 1]
    return max((step.weight for step in steps if isinstance(step, SetWeight)), default=0)


def shape_of_steps(spec: RolloutSpec, snapshot: Snapshot) -> str:
    """What the steps have singled out where the rollout stands, but for those that a promotion has left out."""
    last = snapshot.step if snapshot.promoted_at is None else min(snapshot.step, snapshot.promoted_at)
    routes: dict[str, SetHeaderRoute] = {}
    mirror = 0
    for index, step in enumerate(spec.plan.steps[: snapshot.step + 1]):
        if isinstance(step, SetWeight) and step.weight == FULL_WEIGHT:
            routes, mirror = {}, 0
        elif isinstance(step, SetHeaderRoute) and index <= last:
            routes.pop(step.name, None)
            routes |= {step.name: step} if step.matches else {}
        elif isinstance(step, SetMirror) and index <= last:
            mirror = step.share
    return write_shape(Shape(tuple(routes.values()), mirror))


def check_shape(spec: RolloutSpec, before: Snapshot | None, snapshot: Snapshot) -> None:
    """Requests are singled out by the steps and by nothing else, stay so while they wait, and never again on the way back."""
    shape, former = snapshot.shape, before.shape if before is not None else ""
    if shape not in ("", former, shape_of_steps(spec, snapshot)):
        raise Violation(f"{spec.id}: {shape} at step {snapshot.step}, which no step asked for")
    if shape and (shape != former or snapshot.weight) and snapshot.state in FINAL_STATES:
        raise Violation(f"{spec.id}: ended with {shape}")
    if shape != former and shape and snapshot.state in UNDOING_STATES:
        raise Violation(f"{spec.id}: {shape} is ordered on the way back")
    waits = snapshot.state in STEP_STATES - {State.SHIFTING}
    routed = any(name.startswith("ensure-route:") for name in snapshot.begun)
    if waits and routed and shape != shape_of_steps(spec, snapshot):
        raise Violation(f"{spec.id}: {shape or 'nothing'} is singled out at step {snapshot.step}, not what the steps say")


class Journal:
    """Checks every commit as it is made: one entry each, a gapless story, only the table's transitions, journaled first."""

    def __init__(self) -> None:
        self.entries: dict[str, list[JournalEntry]] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.ordered: dict[str, set[int]] = {}
        self.changed = anyio.Event()
        """Set, and replaced by a new one, at every commit."""

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def check(self, commit: Commit) -> None:
        rollout, entry, snapshot = commit.spec.id, commit.entry, commit.snapshot
        story = self.entries.setdefault(rollout, [])
        if entry.seq != commit.previous_seq + 1 or snapshot.seq != entry.seq:
            raise Violation(f"{rollout}: entry {entry.seq} after {commit.previous_seq}")
        if story and (entry.seq != story[-1].seq + 1 or entry.source is not story[-1].destination):
            raise Violation(f"{rollout}: the story breaks between {story[-1]} and {entry}")
        moved = entry.source is not entry.destination
        if moved and not any(e.source is entry.source and e.destination is entry.destination for e in EDGES):
            raise Violation(f"{rollout}: {entry.source} -> {entry.destination} is not in the table")
        if not entry.text:
            raise Violation(f"{rollout}: an entry that says nothing: {entry}")
        if not 0 <= snapshot.weight <= 10_000:
            raise Violation(f"{rollout}: weight {snapshot.weight}")
        if snapshot.weight > allowed_weight(commit.spec, snapshot):
            raise Violation(f"{rollout}: weight {snapshot.weight} in {snapshot.state} at step {snapshot.step}")
        if snapshot.state in FINAL_STATES and snapshot.pending:
            raise Violation(f"{rollout}: ended with {snapshot.pending} pending")
        check_shape(commit.spec, self.snapshots.get(rollout), snapshot)
        self.ordered.setdefault(rollout, set()).update(action.number for action in snapshot.pending)
        story.append(entry)
        self.snapshots[rollout] = snapshot
        self.notify()

    def check_action(self, rollout: str, number: int) -> None:
        if number not in self.ordered.get(rollout, set()):
            raise Violation(f"{rollout}: action {number} is performed without having been journaled")
