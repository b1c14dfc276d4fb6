"""Jobs: pods until enough of them have ended well, too many have failed or the time is over; what is over goes after its time.

Kept to Jobs with a number of completions. As the real one since 1.31 it says first what a Job will come to (SuccessCriteriaMet,
FailureTarget), and that it has come to it (Complete, Failed) when none of its pods is left at work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.embedded.controllers import Key
from adapters.embedded.errors import Forbidden, NotFound
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, copy_json, format_time, metadata_of, name_of, namespace_of, parse_time
from adapters.embedded.ownership import OwnerIndex, controller_of, owner_reference
from adapters.embedded.pod_ranking import is_active, is_ready
from adapters.embedded.resources import JOBS, PODS
from adapters.embedded.storage import Storage

FIRST_BACKOFF_SECONDS = 1.0
"""After a failed pod, doubled with each further one. The real one begins with ten; nothing here relies on how long it is."""
LONGEST_BACKOFF_SECONDS = 360.0
_OVER = ("Complete", "Failed")
_DECIDED = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


@dataclass(frozen=True, slots=True)
class _Verdict:
    type: str
    reason: str
    message: str


_PASSED = _Verdict("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
_TOO_MANY = _Verdict("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
_TOO_LATE = _Verdict("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")


class JobController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "jobs"

    def __init__(self, storage: Storage, pods: OwnerIndex, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._pods = pods
        self._now = now

    def keys_for(self, event: StorageEvent) -> list[Key]:
        if event.resource.storage_key == JOBS.storage_key:
            return [(namespace_of(event.object), name_of(event.object))]
        if event.resource.storage_key != PODS.storage_key:
            return []
        owner = controller_of(event.object)
        return [(namespace_of(event.object), owner["name"])] if owner is not None and owner["kind"] == "Job" else []

    def reconcile(self, key: Key) -> float | None:
        job = self._storage.peek(JOBS, *key)
        if job is None or metadata_of(job).get("deletionTimestamp") or job["spec"].get("suspend"):
            return None
        status: JsonObject = job.get("status") or {}
        if _condition(status, *_OVER) is not None:
            return self._remove_when_old(job)
        pods = self._pods.owned_by(metadata_of(job)["uid"])
        if _condition(status, *_DECIDED) is None and (verdict := self._judge(job, pods)) is not None:
            self._write(job, pods, verdict)
            job = self._storage.get(JOBS, *key)
        if (decided := _condition(job.get("status") or {}, *_DECIDED)) is not None:
            self._finish(job, pods, decided)
            return None
        again = self._make_pods(job, pods)
        self._write(job, self._pods.owned_by(metadata_of(job)["uid"]), None)
        return again

    # --- what it comes to ----------------------------------------------------------------------------------------------

    def _judge(self, job: JsonObject, pods: list[JsonObject]) -> _Verdict | None:
        spec = job["spec"]
        if sum(_phase(pod) == "Succeeded" for pod in pods) >= spec.get("completions", 1):
            return _PASSED
        if _failures(job, pods) > spec.get("backoffLimit", 6):
            return _TOO_MANY
        left = self._seconds_left(job)
        return _TOO_LATE if left is not None and left <= 0 else None

    def _seconds_left(self, job: JsonObject) -> float | None:
        deadline, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
        if deadline is None or started is None:
            return None
        return (parse_time(started) + timedelta(seconds=deadline) - self._now()).total_seconds()

    def _finish(self, job: JsonObject, pods: list[JsonObject], decided: JsonObject) -> None:
        """Over when its pods are: those of a Job that has failed are ended."""
        for pod in filter(is_active, pods):
            self._storage.delete(PODS, namespace_of(pod), name_of(pod))
        left = self._pods.owned_by(metadata_of(job)["uid"])
        if not any(_phase(pod) not in ("Succeeded", "Failed") for pod in left):
            final = _Verdict(_DECIDED[decided["type"]], decided["reason"], decided["message"])
            self._write(job, left, final)

    def _remove_when_old(self, job: JsonObject) -> float | None:
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None:
            return None
        over = _condition(job["status"], *_OVER)
        assert over is not None
        left = (parse_time(over["lastTransitionTime"]) + timedelta(seconds=keep) - self._now()).total_seconds()
        if left > 0:
            return left
        self._storage.delete(JOBS, namespace_of(job), name_of(job))
        return None

    # --- its pods ------------------------------------------------------------------------------------------------------

    def _make_pods(self, job: JsonObject, pods: list[JsonObject]) -> float | None:
        """Seconds after which there may be more to do."""
        spec, left = job["spec"], self._seconds_left(job)
        deadline = spec.get("activeDeadlineSeconds") if left is None else left
        active = sum(is_active(pod) for pod in pods)
        done = sum(_phase(pod) == "Succeeded" for pod in pods)
        missing = min(spec.get("parallelism", 1), spec.get("completions", 1) - done) - active
        wait = self._backoff(pods) if missing > 0 else 0.0
        if missing > 0 and wait <= 0:
            try:
                for _ in range(missing):
                    self._storage.create(PODS, _pod_of(job))
            except (Forbidden, NotFound):
                return None  # The namespace is going.
        return min((one for one in (deadline, wait or None) if one is not None), default=None)

    def _backoff(self, pods: list[JsonObject]) -> float:
        """Seconds to wait after the last failure; 0 or less when it is time."""
        ended = [_ended_at(pod) for pod in pods if _phase(pod) == "Failed"]
        if not ended:
            return 0.0
        pause = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (len(ended) - 1))
        return (max(ended) + timedelta(seconds=pause) - self._now()).total_seconds()

    # --- its status ----------------------------------------------------------------------------------------------------

    def _write(self, job: JsonObject, pods: list[JsonObject], verdict: _Verdict | None) -> None:
        before: JsonObject = job.get("status") or {}
        now = format_time(self._now())
        conditions = list(before.get("conditions") or ())
        if verdict is not None:
            made = {"type": verdict.type, "status": "True", "reason": verdict.reason, "message": verdict.message}
            conditions.append({**made, "lastProbeTime": now, "lastTransitionTime": now})
        counts = {
            "active": sum(is_active(pod) for pod in pods),
            "succeeded": sum(_phase(pod) == "Succeeded" for pod in pods),
            "failed": sum(_phase(pod) == "Failed" for pod in pods),
        }
        status: JsonObject = {
            **{name: count for name, count in counts.items() if count},
            "ready": sum(is_ready(pod) for pod in pods),
            "terminating": sum(_is_ending(pod) for pod in pods),
            "startTime": before.get("startTime", now),
            "uncountedTerminatedPods": {},
        }
        if conditions:
            status["conditions"] = conditions
        if verdict is not None and verdict.type == "Complete":
            status["completionTime"] = now
        if status != before:
            self._storage.update(JOBS, {**job, "status": status}, subresource="status")


def _condition(status: JsonObject, *types: str) -> JsonObject | None:
    return next((one for one in status.get("conditions") or () if one["type"] in types and one["status"] == "True"), None)


def _phase(pod: JsonObject) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _is_ending(pod: JsonObject) -> bool:
    return bool(metadata_of(pod).get("deletionTimestamp")) and _phase(pod) not in ("Succeeded", "Failed")


def _failures(job: JsonObject, pods: list[JsonObject]) -> int:
    """Failed pods; and where containers are started again in their pod, each of those starts."""
    failed = sum(_phase(pod) == "Failed" for pod in pods)
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return failed
    containers = (one for pod in pods for one in (pod.get("status") or {}).get("containerStatuses") or ())
    return failed + sum(int(one.get("restartCount", 0)) for one in containers)


def _ended_at(pod: JsonObject) -> datetime:
    ended = [
        (one["state"].get("terminated") or {}).get("finishedAt") for one in pod["status"].get("containerStatuses") or ()
    ]
    return max(parse_time(time or metadata_of(pod)["creationTimestamp"]) for time in ended or [None])


def _pod_of(job: JsonObject) -> JsonObject:
    template = copy_json(job["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{field: metadata[field] for field in ("labels", "annotations") if metadata.get(field)},
            "generateName": f"{name_of(job)}-",
            "namespace": namespace_of(job),
            "ownerReferences": [owner_reference(JOBS, job)],
        },
        "spec": template["spec"],
    }
