"""Releases: which targets may begin, and what the whole amounts to. Pure; the daemon carries it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.model import FINAL_STATES, ReleaseStatus, RolloutSpec, Snapshot, State
from engine.orders import awaits_answer
from engine.ports import StoredRollout


def may_start(spec: RolloutSpec, siblings: Iterable[StoredRollout]) -> bool:
    """Whether every target that this one depends on has succeeded."""
    succeeded = {stored.spec.plan.target for stored in siblings if stored.snapshot.state is State.SUCCEEDED}
    return set(spec.plan.depends_on) <= succeeded


def is_ready(spec: RolloutSpec, snapshot: Snapshot) -> bool:
    """Whether a waiting rollout, whose turn it is, waits for nothing any more but to be admitted."""
    if snapshot.held:
        return False
    return (snapshot.cleared or not spec.plan.before) and all(gate.passed for gate in snapshot.gates)


def is_blocked_by(spec: RolloutSpec, siblings: Iterable[StoredRollout]) -> str:
    """The target that this one waits for in vain, because it ended otherwise than in success; empty if there is none."""
    ended = {
        stored.spec.plan.target
        for stored in siblings
        if stored.snapshot.state in FINAL_STATES and stored.snapshot.state is not State.SUCCEEDED
    }
    return next((target for target in spec.plan.depends_on if target in ended), "")


def status_of(rollouts: Sequence[StoredRollout]) -> tuple[ReleaseStatus, str]:
    """What a release's rollouts amount to, and why it failed."""
    snapshots = [stored.snapshot for stored in rollouts]
    reason = next((snapshot.reason for snapshot in snapshots if _has_failed(snapshot) and snapshot.reason), "")
    states = [snapshot.state for snapshot in snapshots]
    if all(state in FINAL_STATES for state in states):
        return _final_status(states), reason
    if any(awaits_answer(stored.spec, stored.snapshot) for stored in rollouts):
        return ReleaseStatus.AWAITING_APPROVAL, reason
    if any(snapshot.held or snapshot.state is State.PARKED for snapshot in snapshots):
        return ReleaseStatus.PAUSED, reason
    if all(state is State.WAITING for state in states):
        return ReleaseStatus.QUEUED, reason
    return ReleaseStatus.RUNNING, reason


def _has_failed(snapshot: Snapshot) -> bool:
    return snapshot.state in (
        State.ABORTING,
        State.RESTORING,
        State.ROLLED_BACK,
        State.REJECTED,
        State.CANCELLED,
        State.FAILED,
    )


def _final_status(states: Sequence[State]) -> ReleaseStatus:
    if all(state is State.SUCCEEDED for state in states):
        return ReleaseStatus.SUCCEEDED
    if all(state is State.CANCELLED for state in states):
        return ReleaseStatus.CANCELLED
    if any(state in (State.ROLLED_BACK, State.FAILED) for state in states):
        return ReleaseStatus.FAILED
    return ReleaseStatus.REJECTED if all(state is not State.SUCCEEDED for state in states) else ReleaseStatus.FAILED
