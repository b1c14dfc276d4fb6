"""The invariants of the design, as a checker that is fed every decision and every write of an engine under test."""

from __future__ import annotations

import anyio

from engine.machine import EDGES
from engine.model import FINAL_STATES, JournalEntry, RolloutSpec, Snapshot, State
from engine.ports import Commit
from engine.traffic import SetWeight


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
        self.ordered.setdefault(rollout, set()).update(action.number for action in snapshot.pending)
        story.append(entry)
        self.snapshots[rollout] = snapshot
        self.notify()

    def check_action(self, rollout: str, number: int) -> None:
        if number not in self.ordered.get(rollout, set()):
            raise Violation(f"{rollout}: action {number} is performed without having been journaled")
