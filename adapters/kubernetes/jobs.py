"""Performs `runJob` steps: makes the Job, waits for its end and keeps what its pods have said.

The Job's name is made of the rollout and the step, so that a repeat after a crash finds the Job that is already at work, or has
ended, and makes no second one. For that an ended Job stays until its rollout removes all of its Jobs; one around the deployment,
where nothing of the rollout comes after it, is removed at once. It goes by itself if nobody ever comes back: it has a deadline,
and its cluster removes it some time after its end.
"""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime, timedelta

from adapters.hooks.templates import TemplateError, preview_tokens, render, rollout_variables, variables_in
from adapters.kubernetes import wire
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.paths import JOBS, PODS
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject
from adapters.outputs import OutputTail
from adapters.redaction import Redaction
from engine.errors import Rejected, Retryable
from engine.gates import step_of
from engine.model import RunJob

KEPT_SECONDS = 3_600
"""How long an ended Job stays for a daemon that is away to come back and look at it."""
FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 4.0
LOG_LINES = 500
MOST_PODS = 3
"""Whose logs are read: the newest. A test that is tried again has a pod for each attempt."""
LATE_SECONDS = 10.0
"""How long before the step's own deadline a Job is given up, so that what it has said can still be read."""
LATE_SHARE = 0.2
"""Of the step's time, where that is less."""
_NAME_LETTERS = 52
_OF_THE_STEPS = "step:"


async def run_job(task: Task) -> Done:
    step = step_of(task.spec.plan, task.gate)
    assert isinstance(step, RunJob)
    body = _body(task, step)
    name = body["metadata"]["name"]
    found = await task.cluster.find(JOBS, task.namespace, name)
    if found is None:
        found = await task.cluster.create(JOBS, body)
    elif not task.is_ours(found):
        raise Rejected(
            f"Job {name} is in the way: it is in namespace {task.namespace} already, and not this rollout's; remove it "
            f"(kubectl delete job {name} -n {task.namespace}) and deploy again"
        )
    elif found["metadata"].get("deletionTimestamp"):
        raise Retryable(f"Job {name} is still being removed")
    ended = await _wait_for_end(task, step, name, found)
    output = await _read_output(task, name)
    trouble = await _trouble(task, name) if ended is None else ""
    if not task.gate.startswith(_OF_THE_STEPS) or ended is None:
        await task.cluster.delete(JOBS, found)
    if ended is None:
        raise Rejected(f"job {step.name} did not end within {step.timeout_seconds:g} s{trouble}", output)
    if ended["type"] != "Complete":
        raise Rejected(f"job {step.name} failed: {_told(ended)}", output)
    return Done(f"job {step.name} completed", output=output)


async def remove_jobs(task: Task) -> Done:
    """Every Job of this rollout, with its pods: of tests that were cut short, or whose end nobody has seen."""
    made = await task.cluster.list_objects(JOBS, task.namespace, labels=f"{MANAGED_BY_LABEL}={MANAGER}")
    ours = [one for one in made if task.is_ours(one)]
    for job in ours:
        await task.cluster.delete(JOBS, job)
    names = ", ".join(one["metadata"]["name"] for one in ours)
    return Done(f"the Jobs of this rollout are removed: {names}" if ours else "no Job of this rollout is left")


# --- what is made ------------------------------------------------------------------------------------------------------


def _body(task: Task, step: RunJob) -> JsonObject:
    declared: JsonObject = _rendered(task, step)
    metadata, spec = declared["metadata"], declared["spec"]
    seconds = max(1, math.ceil(step.timeout_seconds))
    return {
        **declared,
        "metadata": {
            **metadata,
            "name": job_name(metadata["name"], task.rollout, task.gate),
            "namespace": task.namespace,
            "labels": {**(metadata.get("labels") or {}), MANAGED_BY_LABEL: MANAGER},
            "annotations": {**(metadata.get("annotations") or {}), ROLLOUT_ANNOTATION: task.rollout},
        },
        "spec": {
            **spec,
            "activeDeadlineSeconds": min(spec.get("activeDeadlineSeconds") or seconds, seconds),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
        },
    }


def job_name(name: str, rollout: str, gate: str) -> str:
    """The same for every attempt of one step of one rollout, and another one for every other."""
    own = hashlib.sha256(f"{rollout}/{gate}".encode()).hexdigest()[:10]
    return f"{name[:_NAME_LETTERS].rstrip('-.')}-{own}"


def _rendered(task: Task, step: RunJob) -> JsonObject:
    variables = rollout_variables(task.spec, task.snapshot, step.context)

    def walk(part: object) -> object:
        if isinstance(part, str):
            return _render(step, part, variables)
        if isinstance(part, dict):
            return {key: walk(value) for key, value in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    rendered = walk(json.loads(step.manifest))
    assert isinstance(rendered, dict)
    return rendered


def _render(step: RunJob, text: str, variables: dict[str, str]) -> str:
    if any(name.startswith("secrets.") for name in variables_in(text)):
        raise Rejected(
            f"job {step.name} uses {{{{secrets...}}}}, which would lie open in the cluster; name a Secret of the cluster in its "
            "env (valueFrom.secretKeyRef) instead"
        )
    try:
        return render(text, variables)
    except TemplateError as error:
        raise Rejected(f"job {step.name}: {error}") from error


# --- its end -----------------------------------------------------------------------------------------------------------


async def _wait_for_end(task: Task, step: RunJob, name: str, job: JsonObject) -> JsonObject | None:
    """The condition with which it ended; None when its time is over."""
    clock, give_up_at, wait = task.cluster.clock, _give_up_at(task, step), FIRST_LOOK_SECONDS
    uid = job["metadata"]["uid"]
    while (ended := _end_of(job)) is None:
        left = (give_up_at - clock.now()).total_seconds() if give_up_at is not None else math.inf
        if left <= 0:
            return None
        await clock.sleep(min(wait, left))
        wait = min(wait * 1.5, LONGEST_LOOK_SECONDS)
        found = await task.cluster.find(JOBS, task.namespace, name)
        if found is None or found["metadata"]["uid"] != uid:
            raise Rejected(f"job {step.name} was removed by somebody else before its end (Job {name})")
        job = found
    return ended


def _give_up_at(task: Task, step: RunJob) -> datetime | None:
    due_at = next((gate.due_at for gate in task.snapshot.gates if gate.id == task.gate), None)
    if due_at is None:
        return None
    return due_at - timedelta(seconds=min(LATE_SECONDS, step.timeout_seconds * LATE_SHARE))


def _end_of(job: JsonObject) -> JsonObject | None:
    """`FailureTarget` comes before `Failed`, while the logs of pods that are being stopped can still be read."""
    conditions: list[JsonObject] = (job.get("status") or {}).get("conditions") or []
    final = [one for one in conditions if one["type"] in ("Complete", "Failed", "FailureTarget") and one["status"] == "True"]
    return final[0] if final else None


def _told(condition: JsonObject) -> str:
    reason, message = condition.get("reason") or "no reason given", condition.get("message")
    return f"{reason} ({message})" if message else str(reason)


# --- what it said ------------------------------------------------------------------------------------------------------


async def _read_output(task: Task, name: str) -> str:
    """What its pods have printed. A log that cannot be read is told in its place: the verdict does not rest on it."""
    tail = OutputTail(Redaction(preview_tokens(task.spec, task.snapshot)))
    try:
        pods = await _newest_pods(task, name)
    except ApiError as error:
        return f"(the logs could not be read: {error.message})"
    sources = [(pod, container) for pod in pods for container in _containers(pod)]
    for pod, container in sources:
        if len(sources) > 1:
            tail.add(f"\n--- {pod['metadata']['name']}, container {container} ---\n".encode())
        try:
            await task.cluster.read_log(pod, container, lines=LOG_LINES, keep=tail.add)
        except ApiError as error:
            tail.add(f"(the log of pod {pod['metadata']['name']} could not be read: {error.message})\n".encode())
    return tail.text()


async def _trouble(task: Task, name: str) -> str:
    """Why it has not ended, where its pods say so."""
    try:
        pods = await _newest_pods(task, name)
    except ApiError:
        return ""
    found = [wire.decode_pod(json.dumps(pod).encode()).trouble for pod in pods]
    told = "; ".join(trouble for trouble in found if trouble)
    return f" ({told})" if told else ""


async def _newest_pods(task: Task, name: str) -> list[JsonObject]:
    pods = await task.cluster.list_objects(PODS, task.namespace, labels=f"job-name={name}")
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))[-MOST_PODS:]


def _containers(pod: JsonObject) -> list[str]:
    """Those that have something to say: its own, and those before them that did not end well."""
    before = (pod.get("status") or {}).get("initContainerStatuses") or []
    stuck = [one["name"] for one in before if ((one.get("state") or {}).get("terminated") or {}).get("exitCode")]
    return [*stuck, *(one["name"] for one in pod["spec"]["containers"])]
