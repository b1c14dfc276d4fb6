"""From the engine's data to the bodies of the API: where releases and rollouts stand, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.http.bodies import (
    EntryBody,
    ParkedBody,
    ReleaseBody,
    ReleaseDetail,
    RolloutBody,
    StepBody,
    StepStanding,
    WeightBody,
)
from engine.model import (
    FINAL_STATES,
    FULL_WEIGHT,
    STEP_STATES,
    Action,
    Analysis,
    Approval,
    Await,
    JournalEntry,
    Pause,
    Release,
    RolloutSpec,
    Settle,
    SetWeight,
    Snapshot,
    State,
    Step,
    TargetPlan,
    Verdict,
    Webhook,
)
from engine.orders import awaits_answer
from engine.ports import StoredRollout
from strategies.durations import in_words


def percent(weight: int) -> float:
    """Basis points as a percentage; whole ones without a fraction."""
    return weight * 100 / FULL_WEIGHT


def release_body(release: Release, public_url: str | None) -> ReleaseBody:
    return ReleaseBody(
        id=release.id,
        application=release.application,
        description=release.description,
        status=release.status,
        created_at=release.created_at,
        created_by=release.created_by,
        source=release.source,
        reason=release.reason,
        targets=tuple(rollout.removeprefix(f"{release.id}.") for rollout in release.rollouts),
        link=f"{public_url}/v1/releases/{release.id}" if public_url is not None else "",
        rollback_of=release.rollback_of,
    )


def release_detail(release: Release, rollouts: Sequence[StoredRollout], public_url: str | None) -> ReleaseDetail:
    bodies = tuple(rollout_body(stored.spec, stored.snapshot) for stored in rollouts)
    return ReleaseDetail(release=release_body(release, public_url), rollouts=bodies)


def rollout_body(spec: RolloutSpec, snapshot: Snapshot) -> RolloutBody:
    plan = spec.plan
    current = plan.steps[snapshot.step] if 0 <= snapshot.step < len(plan.steps) else None
    parked = ParkedBody(state=snapshot.parked.origin, error=snapshot.parked.error) if snapshot.parked else None
    asks = awaits_answer(spec, snapshot)
    return RolloutBody(
        id=spec.id,
        target=plan.target,
        account=plan.account,
        namespace=plan.namespace,
        state=snapshot.state,
        since=snapshot.entered_at,
        step=snapshot.step + 1,
        steps=_steps(plan, snapshot),
        weight=WeightBody(asked=percent(snapshot.weight), served=percent(snapshot.served)),
        timers={str(name): at for name, at in snapshot.timers.items()},
        doing=_doing(spec, snapshot),
        awaits_answer=asks,
        roles=current.roles if asks and isinstance(current, Approval) else (),
        held=snapshot.held,
        parked=parked,
        reason=snapshot.reason,
        depends_on=plan.depends_on,
        seq=snapshot.seq,
    )


def entry_body(entry: JournalEntry, target: str) -> EntryBody:
    asked, served = entry.detail.get("weight"), entry.detail.get("served")
    weights = isinstance(asked, int) and isinstance(served, int)
    return EntryBody(
        rollout=entry.rollout,
        target=target,
        seq=entry.seq,
        at=entry.at,
        event=entry.event,
        source=entry.source,
        destination=entry.destination,
        step=entry.step + 1,
        text=entry.text,
        weight=WeightBody(asked=percent(int(asked or 0)), served=percent(int(served or 0))) if weights else None,
    )


# --- steps -------------------------------------------------------------------------------------------------------------


def describe_step(step: Step) -> tuple[str, str]:
    """The step's kind as deploy files write it, and what it asks for in words."""
    match step:
        case SetWeight():
            return "setWeight", f"{percent(step.weight):g} %"
        case Pause():
            return "pause", in_words(step.seconds)
        case Approval():
            who = f" by {' or '.join(step.roles)}" if step.roles else ""
            expires = f", within {in_words(step.expires_seconds)}" if step.expires_seconds is not None else ""
            return "pause", f"until approved{who}{expires}"
        case Analysis():
            names = ", ".join(query.name for query in step.queries)
            times = "once" if step.runs == 1 else f"{step.runs} times"
            return "analysis", f"{names}, {times}, every {in_words(step.interval_seconds)}"
        case Webhook():
            back = f", answers within {in_words(step.timeout_seconds)}" if step.callback else ""
            return "runWebhook", f"{step.name}{back}"


def _steps(plan: TargetPlan, snapshot: Snapshot) -> tuple[StepBody, ...]:
    bodies: list[StepBody] = []
    for index, step in enumerate(plan.steps):
        kind, text = describe_step(step)
        standing = _standing(plan, snapshot, index)
        note = _note(step, snapshot) if standing is StepStanding.CURRENT else ""
        bodies.append(StepBody(number=index + 1, kind=kind, text=text, standing=standing, note=note))
    return tuple(bodies)


def _standing(plan: TargetPlan, snapshot: Snapshot, index: int) -> StepStanding:
    if _skips_steps(plan, snapshot):
        return StepStanding.SKIPPED
    if index != snapshot.step:
        return StepStanding.DONE if index < snapshot.step else StepStanding.AHEAD
    origin = snapshot.parked.origin if snapshot.parked is not None else snapshot.state
    return StepStanding.CURRENT if origin in STEP_STATES else StepStanding.STOPPED


def _skips_steps(plan: TargetPlan, snapshot: Snapshot) -> bool:
    """Whether the first look found nothing to compare the new version with."""
    modes = [snapshot.facts.get(f"{workload.name}.mode") for workload in plan.workloads]
    return bool(modes) and all(modes) and "canary" not in modes


def _note(step: Step, snapshot: Snapshot) -> str:
    progress = snapshot.progress
    match step:
        case Analysis() if progress.verdict is not None:
            verdict = "passed" if progress.verdict is Verdict.PASSED else "failed"
            return f"{verdict}: {progress.verdict_reason}"
        case Analysis():
            runs = f"{len(progress.samples)} of {step.runs} runs"
            again = f", {progress.empty_runs} without data" if progress.empty_runs else ""
            return runs + again
        case Webhook() if progress.called and step.callback and progress.answer is None:
            return "called; waits for the call back"
        case _:
            return progress.answer_reason


# --- what is going on --------------------------------------------------------------------------------------------------


def _doing(spec: RolloutSpec, snapshot: Snapshot) -> str:
    if snapshot.state in FINAL_STATES:
        return ""
    if snapshot.state is State.PARKED:
        return "parked until somebody resumes or aborts it"
    if snapshot.action is not None:
        return _describe_action(snapshot.action, snapshot.failures, snapshot.failure)
    if snapshot.state is State.WAITING:
        needed = ", ".join(spec.plan.depends_on)
        return f"waits for {needed}" if needed else "waits to begin"
    if snapshot.held:
        return "held until somebody resumes or aborts it"
    operation = snapshot.procedure[snapshot.cursor] if snapshot.cursor < len(snapshot.procedure) else None
    if isinstance(operation, Await | Settle):
        return f"waits until {operation.name}" if isinstance(operation, Await) else operation.name
    if awaits_answer(spec, snapshot):
        return "waits for an answer: approve or reject"
    return _describe_waiting(snapshot.state)


def _describe_action(action: Action, failures: int, failure: str) -> str:
    if failures:
        times = "once" if failures == 1 else f"{failures} times"
        return f"{action.name}, which is tried again; it has failed {times}, lately: {failure}"
    return action.name


def _describe_waiting(state: State) -> str:
    match state:
        case State.PAUSING:
            return "pauses"
        case State.ANALYSING:
            return "waits for the next measurement"
        case State.CALLING:
            return "waits for the call back"
        case _:
            return "about to go on"
