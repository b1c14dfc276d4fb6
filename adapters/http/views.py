"""From the engine's data to the bodies of the API: where releases and rollouts stand, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from adapters.http.bodies import (
    EntryBody,
    GateBody,
    ParkedBody,
    ReleaseBody,
    ReleaseDetail,
    RolloutBody,
    StepBody,
    StepStanding,
    WeightBody,
    WorkloadBody,
)
from engine import gates
from engine.events import CommandKind
from engine.model import (
    FINAL_STATES,
    STEP_STATES,
    Action,
    Analysis,
    Approval,
    Await,
    Expose,
    Gate,
    JournalEntry,
    Parallel,
    Pause,
    Release,
    RolloutSpec,
    RunCommand,
    RunJob,
    Settle,
    Snapshot,
    State,
    Step,
    TargetPlan,
    Webhook,
    WorkloadPlan,
)
from engine.observation import is_for_silence
from engine.orders import awaits_answer, roles_asked
from engine.ports import StoredRollout
from engine.traffic import FULL_WEIGHT, SetHeaderRoute, SetMirror, SetWeight, describe_header_route, describe_shape, read_shape
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
        link=f"{public_url}/ui/#/releases/{release.id}" if public_url is not None else "",
        rollback_of=release.rollback_of,
        retry_of=release.retry_of,
    )


def release_detail(
    release: Release,
    rollouts: Sequence[StoredRollout],
    public_url: str | None,
    why_waiting: Callable[[str], str],
    orders: Callable[[StoredRollout], tuple[CommandKind, ...]],
) -> ReleaseDetail:
    """`why_waiting` says what keeps a rollout from beginning, by its id; `orders` what whoever looks could order."""
    bodies = tuple(
        rollout_body(stored.spec, stored.snapshot, why_waiting(stored.spec.id), orders(stored)) for stored in rollouts
    )
    return ReleaseDetail(release=release_body(release, public_url), rollouts=bodies)


def rollout_body(
    spec: RolloutSpec, snapshot: Snapshot, waiting: str = "", orders: tuple[CommandKind, ...] = ()
) -> RolloutBody:
    plan = spec.plan
    parked = ParkedBody(state=snapshot.parked.origin, error=snapshot.parked.error) if snapshot.parked else None
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
        timers={str(name): at for name, at in snapshot.deadlines.items()},
        doing=_doing(spec, snapshot, waiting),
        gates=tuple(_gate_body(plan, gate) for gate in snapshot.gates),
        awaits_answer=awaits_answer(spec, snapshot),
        roles=roles_asked(spec, snapshot),
        held=snapshot.held,
        parked=parked,
        reason=snapshot.reason,
        depends_on=plan.depends_on,
        seq=snapshot.seq,
        orders=orders,
        workloads=tuple(_workload(workload, snapshot) for workload in plan.workloads),
        beside=describe_shape(read_shape(snapshot.shape)),
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
        output=str(entry.detail.get("output") or ""),
    )


# --- what is rolled out ------------------------------------------------------------------------------------------------


class _Container(Struct, frozen=True):
    image: str = ""


class _PodSpec(Struct, frozen=True):
    containers: tuple[_Container, ...] = ()


class _Template(Struct, frozen=True):
    spec: _PodSpec = _PodSpec()


class _DeploymentSpec(Struct, frozen=True):
    template: _Template = _Template()


class _Deployment(Struct, frozen=True):
    spec: _DeploymentSpec = _DeploymentSpec()


_DEPLOYMENTS = msgspec.json.Decoder(_Deployment)


def _workload(workload: WorkloadPlan, snapshot: Snapshot) -> WorkloadBody:
    before = snapshot.facts.get(f"{workload.name}.original")
    return WorkloadBody(
        name=workload.name,
        images=_images(workload.manifest),
        images_before=_images(before) if isinstance(before, str) else (),
    )


def _images(manifest: str) -> tuple[str, ...]:
    """None where there is no Deployment to read them from: they are shown, and nothing is decided by them."""
    try:
        containers = _DEPLOYMENTS.decode(manifest).spec.template.spec.containers
    except msgspec.DecodeError:
        return ()
    return tuple(container.image for container in containers)


# --- steps -------------------------------------------------------------------------------------------------------------


def describe_step(step: Step) -> tuple[str, str]:
    """The step's kind as deploy files write it, and what it asks for in words."""
    match step:
        case SetWeight():
            return "setWeight", f"{percent(step.weight):g} %"
        case SetHeaderRoute():
            return "setHeaderRoute", describe_header_route(step)
        case SetMirror(0):
            return "setMirror", "off"
        case SetMirror():
            return "setMirror", f"{percent(step.share):g} % of requests"
        case Pause():
            return "pause", in_words(step.seconds)
        case Approval():
            who = f" by {' or '.join(step.roles)}" if step.roles else ""
            expires = f", within {in_words(step.expires_seconds)}" if step.expires_seconds is not None else ""
            return "pause", f"until approved{who}{expires}"
        case Analysis():
            names = ", ".join(query.name for query in step.queries)
            times = "all the time" if not step.runs else "once" if step.runs == 1 else f"{step.runs} times"
            return "analysis", f"{names}, {times}, every {in_words(step.interval_seconds)}"
        case Webhook():
            back = f", answers within {in_words(step.timeout_seconds)}" if step.callback else ""
            return "runWebhook", f"{step.name}{back}"
        case RunJob():
            return "runJob", f"{step.name}, within {in_words(step.timeout_seconds)}"
        case RunCommand():
            return "runCommand", f"{step.name}, within {in_words(step.timeout_seconds)}"
        case Expose():
            return "exposeServices", f"{', '.join(step.services)}, for {in_words(step.ttl_seconds)}"
        case Parallel():
            inner = (" ".join(describe_step(one)) for one in step.steps)
            return "all of", "; ".join(inner)


def _steps(plan: TargetPlan, snapshot: Snapshot) -> tuple[StepBody, ...]:
    bodies: list[StepBody] = []
    for index, step in enumerate(plan.steps):
        kind, text = describe_step(step)
        standing = _standing(plan, snapshot, index)
        ids = gates.ids_of_step(plan, index) if standing is StepStanding.CURRENT else ()
        notes = (_note(gates.step_of(plan, gate.id), gate) for gate in snapshot.gates if gate.id in ids)
        note = "; ".join(note for note in notes if note)
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


def _note(step: Step, gate: Gate) -> str:
    match step:
        case Analysis() if gate.verdict is not None:
            return f"{gate.verdict}: {gate.verdict_reason}"
        case Analysis():
            runs = f"{gate.counted} of {step.runs} runs" if step.runs else f"{gate.counted} runs"
            outside = f", {gate.failed_runs} outside of the limits" if gate.failed_runs else ""
            again = f", {gate.empty_runs} without data" if gate.empty_runs else ""
            return runs + outside + again
        case Webhook() if gate.called and step.callback and gate.answer is None:
            return "called; waits for the call back"
        case _:
            return gate.answer_reason


def _gate_body(plan: TargetPlan, gate: Gate) -> GateBody:
    step = gates.step_of(plan, gate.id)
    kind, text = describe_step(step)
    asks = gates.awaits_answer(plan, gate)
    return GateBody(
        id=gate.id,
        kind=kind,
        text=text,
        passed=gate.passed,
        note=_note(step, gate) or gate.failure,
        since=gate.started_at,
        due=gate.due_at,
        expires=_expiry(step, gate) if asks else None,
        awaits_answer=asks,
        roles=gates.roles_of(plan, gate) if asks else (),
    )


def _expiry(step: Step, gate: Gate) -> datetime | None:
    """Not always the next deadline: a reminder comes before it."""
    if not isinstance(step, Approval) or step.expires_seconds is None:
        return None
    return gate.started_at + timedelta(seconds=step.expires_seconds)


# --- what is going on --------------------------------------------------------------------------------------------------


def _doing(spec: RolloutSpec, snapshot: Snapshot, waiting: str) -> str:
    if snapshot.state in FINAL_STATES:
        return ""
    if snapshot.state is State.PARKED:
        return "parked until somebody resumes or aborts it"
    if snapshot.action is not None:
        return _describe_action(snapshot.action, snapshot.failures, snapshot.failure)
    if is_for_silence(snapshot.held):
        return "held until it is heard of again"
    if snapshot.held:
        return "held until somebody resumes or aborts it"
    if snapshot.state is State.WAITING:
        return _describe_beginning(spec, snapshot, waiting)
    operation = snapshot.procedure[snapshot.cursor] if snapshot.cursor < len(snapshot.procedure) else None
    if isinstance(operation, Await | Settle):
        return f"waits until {operation.name}" if isinstance(operation, Await) else operation.name
    return _describe_gates(spec, snapshot) or "about to go on"


def _describe_beginning(spec: RolloutSpec, snapshot: Snapshot, waiting: str) -> str:
    if snapshot.cleared and (conditions := _describe_gates(spec, snapshot)):
        return conditions
    if waiting:
        return waiting
    needed = ", ".join(spec.plan.depends_on)
    return f"waits for {needed}" if needed and not snapshot.cleared else "waits to begin"


def _describe_gates(spec: RolloutSpec, snapshot: Snapshot) -> str:
    """What the conditions that are not met yet wait for, each way of waiting once."""
    waiting = [gate for gate in snapshot.gates if not gate.passed and not gates.is_background(gate)]
    return "; ".join(dict.fromkeys(_describe_gate(spec.plan, gate) for gate in waiting))


def _describe_gate(plan: TargetPlan, gate: Gate) -> str:
    if gates.awaits_answer(plan, gate):
        return "waits for an answer: approve or reject"
    if gate.failures and gate.action is not None:
        return _describe_action(gate.action, gate.failures, gate.failure)
    match gates.step_of(plan, gate.id):
        case Pause():
            return "pauses"
        case Analysis():
            return "waits for the next measurement"
        case Webhook() as step:
            return f"waits for webhook {step.name} to call back" if gate.called else f"calls webhook {step.name}"
        case RunJob() | RunCommand() as step:
            return f"waits for the end of {step.name}"
        case Expose() as step:
            return f"makes {', '.join(step.services)} reachable"
        case Approval():
            return "about to go on"


def _describe_action(action: Action, failures: int, failure: str) -> str:
    if failures:
        times = "once" if failures == 1 else f"{failures} times"
        return f"{action.name}, which is tried again; it has failed {times}, lately: {failure}"
    return action.name
