"""What the demo shows: the engine's news and the mesh's statistics as the plain values of the live view. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.dataplane.live_view import DemoState, JournalLine, Outcome, Progress, StepLine, VersionLine
from adapters.dataplane.traffic import Traffic
from engine.model import Analysis, JournalEntry, Snapshot, State, TargetPlan, Webhook
from engine.traffic import FULL_WEIGHT, SetWeight

OLD, NEW = "1.0", "1.1"
ERROR_LIMIT = 0.01
_UNDOING = (State.ABORTING, State.RESTORING, State.ROLLED_BACK)

_HEADLINES = {
    State.WAITING: f"{NEW} is about to be rolled out",
    State.PREPARING: "a split at 100/0 is made before any pod of the new version exists",
    State.SCALING: f"pods of {NEW} come up beside those of {OLD}; nobody is sent to them yet",
    State.SHIFTING: "the split changes, and is read back",
    State.ANALYSING: f"are there at most 1 % errors in {NEW}?",
    State.CALLING: f"an integration test tries {NEW}",
    State.PROMOTING: f"all traffic to {NEW}; its tested pods become the Deployment's own",
    State.FINALISING: "the split and its Services are removed",
    State.SUCCEEDED: f"{NEW} serves everything; not one request was lost",
    State.ABORTING: f"traffic goes back to {OLD}",
    State.RESTORING: f"{NEW} is removed, and everything put back as it was",
    State.ROLLED_BACK: "everything is as it was found",
}


@dataclass(frozen=True, slots=True)
class PodCounts:
    ready: int = 0
    starting: int = 0
    stopping: int = 0


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    plan: TargetPlan
    entries: list[tuple[float, JournalEntry]] = field(default_factory=list)

    def lines(self) -> tuple[JournalLine, ...]:
        return tuple(JournalLine(entry.seq, at, entry.text) for at, entry in self.entries)


def draw(
    story: Story,
    snapshot: Snapshot,
    *,
    elapsed: float,
    lately: Traffic,
    total: Traffic,
    served: float | None,
    pods: dict[str, PodCounts],
) -> DemoState:
    return DemoState(
        title=f"harbour {OLD} → {NEW}",
        state=snapshot.state.value,
        outcome=_outcome(snapshot),
        headline=_headline(snapshot),
        elapsed=elapsed,
        steps=tuple(_steps(story.plan, snapshot)),
        versions=tuple(_version(name, snapshot, lately, served, pods) for name in (OLD, NEW)),
        journal=story.lines(),
        requests=total.sent,
        failed=total.failures,
        latency_p99=lately.latency(0.99),
        error_limit=ERROR_LIMIT,
    )


def _headline(snapshot: Snapshot) -> str:
    headline = _HEADLINES.get(snapshot.state, snapshot.state.value)
    return f"{headline}: {snapshot.reason}" if snapshot.reason and snapshot.state is State.ABORTING else headline


def _outcome(snapshot: Snapshot) -> Outcome:
    match snapshot.state:
        case State.SUCCEEDED:
            return Outcome.SUCCEEDED
        case State.ROLLED_BACK:
            return Outcome.ROLLED_BACK
        case State.ABORTING | State.RESTORING:
            return Outcome.ABORTING
        case State.REJECTED | State.CANCELLED:
            return Outcome.FAILED
        case _:
            return Outcome.RUNNING


def _steps(plan: TargetPlan, snapshot: Snapshot) -> list[StepLine]:
    """The plan's steps between the start and the end, each marked with how far it has come."""
    titles = [f"start {NEW}", *(_title(step) for step in plan.steps), f"100 % to {NEW}", f"{OLD} goes"]
    here = _position(plan, snapshot)
    lines = []
    for index, title in enumerate(titles):
        progress = Progress.DONE if index < here else Progress.CURRENT if index == here else Progress.AHEAD
        if snapshot.state in _UNDOING and index >= here:
            progress = Progress.FAILED if index == here else Progress.SKIPPED
        lines.append(StepLine(title, progress, _detail(snapshot) if index == here else ""))
    return lines


def _title(step: object) -> str:
    match step:
        case SetWeight():
            return f"{step.weight / 100:g} % to {NEW}"
        case Analysis():
            return "analysis: error rate at most 1 %"
        case Webhook():
            return "integration test"
        case _:
            return type(step).__name__.lower()


def _position(plan: TargetPlan, snapshot: Snapshot) -> int:
    if snapshot.state is State.SUCCEEDED:
        return len(plan.steps) + 3
    if snapshot.state is State.FINALISING or (snapshot.state is State.PROMOTING and snapshot.served == FULL_WEIGHT):
        return len(plan.steps) + 2
    return min(snapshot.step + 1, len(plan.steps) + 1)


def _detail(snapshot: Snapshot) -> str:
    if snapshot.state in _UNDOING:
        return snapshot.reason
    samples = [sample for gate in snapshot.gates for sample in gate.samples]
    if snapshot.state is State.ANALYSING and samples:
        return f"measured {len(samples)} times, lately {_percent(samples[-1].values)}"
    return ""


def _percent(values: dict[str, float | None]) -> str:
    value = next(iter(values.values()), None)
    return "no data" if value is None else f"{100 * value:.1f} %"


def _version(
    name: str, snapshot: Snapshot, lately: Traffic, served: float | None, pods: dict[str, PodCounts]
) -> VersionLine:
    is_new = name == NEW
    weight = FULL_WEIGHT if snapshot.state is State.SUCCEEDED else snapshot.weight
    share = served if served is not None else lately.share(NEW)
    counts, traffic = pods.get(name, PodCounts()), lately.of(name)
    return VersionLine(
        name=name,
        role="new version" if is_new else "old version",
        asked=weight if is_new else FULL_WEIGHT - weight,
        served=share if is_new else 1 - share,
        requests_per_second=traffic.answers / lately.seconds if lately.seconds else 0.0,
        error_ratio=traffic.error_ratio,
        pods_ready=counts.ready,
        pods_starting=counts.starting,
        pods_stopping=counts.stopping,
    )
