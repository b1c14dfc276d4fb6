"""What a Deployment's status says: counts, and the conditions that `kubectl rollout status` reads. Pure.

A condition is replaced when its status or its reason changes; a new message alone changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from adapters.embedded import deployment_rules as rules
from adapters.embedded.json_objects import JsonObject, format_time, metadata_of, name_of, parse_time

NO_DEADLINE = 2**31 - 1
LEEWAY_SECONDS = 0.1
"""Times in conditions are whole seconds: a look at the very deadline would find it not yet passed."""

_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def status_of(deployment: JsonObject, owned: Sequence[JsonObject], new: JsonObject | None, now: datetime) -> JsonObject:
    """Counts and availability, as they are written whenever the Deployment is looked at."""
    before: JsonObject = deployment.get("status") or {}
    available = _total(owned, "availableReplicas")
    counts = {
        "replicas": _total(owned, "replicas"),
        "updatedReplicas": rules.status_count(new, "replicas") if new is not None else 0,
        "readyReplicas": _total(owned, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(sum(rules.wanted(one) for one in owned) - available, 0),
    }
    status: JsonObject = {"observedGeneration": metadata_of(deployment)["generation"]}
    status |= {name: counts[name] for name in _COUNTS if counts[name]}
    terminating = _terminating(owned)
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    if "collisionCount" in before:
        status["collisionCount"] = before["collisionCount"]
    status["conditions"] = list(before.get("conditions") or ())
    if available >= rules.wanted(deployment) - rules.limits(deployment)[1]:
        return with_condition(
            status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    text = "Deployment does not have minimum availability."
    return with_condition(status, "Available", "False", "MinimumReplicasUnavailable", text, now)


def roll_out_status_of(
    deployment: JsonObject, owned: Sequence[JsonObject], new: JsonObject | None, now: datetime
) -> JsonObject:
    """The status with what is to be said of a roll-out's progress, and of pods that cannot be made."""
    status, before = status_of(deployment, owned, new, now), deployment.get("status") or {}
    if not has_deadline(deployment):
        status = without_condition(status, "Progressing")
    elif not _was_complete(before, status):
        status = _with_progress(deployment, before, status, new, now)
    return _with_failure(status, [new, *owned] if new is not None else owned)


def pause_status_of(deployment: JsonObject, now: datetime) -> JsonObject | None:
    """The status that says of a Deployment that it was paused or resumed; None where it says so already."""
    before: JsonObject = deployment.get("status") or {}
    reason, paused = condition_of(before, "Progressing").get("reason"), bool(deployment["spec"].get("paused"))
    if not has_deadline(deployment) or reason == "ProgressDeadlineExceeded":
        return None
    if paused and reason != "DeploymentPaused":
        return with_condition(before, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
    if not paused and reason == "DeploymentPaused":
        return with_condition(before, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    return None


def seconds_to_deadline(deployment: JsonObject, status: JsonObject, now: datetime) -> float | None:
    """When to look whether the roll-out is stuck; None when there is nothing to look for."""
    there = condition_of(status, "Progressing")
    if not has_deadline(deployment) or not there or there["reason"] == "ProgressDeadlineExceeded":
        return None
    if is_complete(deployment, status):
        return None
    return max((_deadline(deployment, there) - now).total_seconds(), 0.0) + LEEWAY_SECONDS


def is_complete(deployment: JsonObject, status: JsonObject) -> bool:
    count = rules.wanted(deployment)
    complete = all(status.get(name, 0) == count for name in ("updatedReplicas", "replicas", "availableReplicas"))
    return complete and status.get("observedGeneration", 0) >= metadata_of(deployment)["generation"]


def has_deadline(deployment: JsonObject) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE) != NO_DEADLINE)


def condition_of(status: JsonObject, kind: str) -> JsonObject:
    return next((one for one in status.get("conditions") or () if one["type"] == kind), {})


def without_condition(status: JsonObject, kind: str) -> JsonObject:
    return {**status, "conditions": [one for one in status.get("conditions") or () if one["type"] != kind]}


def with_condition(status: JsonObject, kind: str, value: str, reason: str, message: str, now: datetime) -> JsonObject:
    there = condition_of(status, kind)
    if (there.get("status"), there.get("reason")) == (value, reason):
        return status
    changed = there["lastTransitionTime"] if there.get("status") == value else format_time(now)
    made = {"type": kind, "status": value, "reason": reason, "message": message}
    made |= {"lastUpdateTime": format_time(now), "lastTransitionTime": changed}
    rest = without_condition(status, kind)
    return {**rest, "conditions": [*rest["conditions"], made]}


def _was_complete(before: JsonObject, status: JsonObject) -> bool:
    reason = condition_of(before, "Progressing").get("reason")
    return reason == "NewReplicaSetAvailable" and status.get("replicas", 0) == status.get("updatedReplicas", 0)


def _with_progress(
    deployment: JsonObject, before: JsonObject, status: JsonObject, new: JsonObject | None, now: datetime
) -> JsonObject:
    there = condition_of(before, "Progressing")
    subject = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(deployment)}"'
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return with_condition(status, "Progressing", "True", "NewReplicaSetAvailable", text, now)
    if _has_progressed(before, status):
        rest = without_condition(status, "Progressing")
        made = with_condition(rest, "Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        if there.get("status") == "True":
            made["conditions"][-1]["lastTransitionTime"] = there["lastTransitionTime"]
        return made
    if not there or there["reason"] == "NewReplicaSetAvailable":
        return status
    if there["reason"] == "ProgressDeadlineExceeded" or _deadline(deployment, there) < now:
        text = f"{subject} has timed out progressing."
        return with_condition(status, "Progressing", "False", "ProgressDeadlineExceeded", text, now)
    return status


def _deadline(deployment: JsonObject, condition: JsonObject) -> datetime:
    patience = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return parse_time(condition["lastUpdateTime"]) + patience


def _has_progressed(before: JsonObject, status: JsonObject) -> bool:
    def old(of: JsonObject) -> int:
        return int(of.get("replicas", 0) - of.get("updatedReplicas", 0))

    grown = any(
        status.get(name, 0) > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or old(status) < old(before)


def _with_failure(status: JsonObject, replica_sets: Sequence[JsonObject]) -> JsonObject:
    """That pods cannot be made, as the first of these ReplicaSets says it."""
    failures = (condition_of(one.get("status") or {}, "ReplicaFailure") for one in replica_sets)
    failure = next((one for one in failures if one), None)
    if failure is None:
        return without_condition(status, "ReplicaFailure")
    there = condition_of(status, "ReplicaFailure")
    if (there.get("status"), there.get("reason")) == (failure["status"], failure["reason"]):
        return status
    rest = without_condition(status, "ReplicaFailure")
    return {**rest, "conditions": [*rest["conditions"], {**failure, "lastUpdateTime": failure["lastTransitionTime"]}]}


def _total(replica_sets: Sequence[JsonObject], name: str) -> int:
    return sum(rules.status_count(one, name) for one in replica_sets)


def _terminating(replica_sets: Sequence[JsonObject]) -> int | None:
    """Unknown as long as one of them has been looked at but does not say."""
    total = 0
    for one in replica_sets:
        status: JsonObject = one.get("status") or {}
        if "terminatingReplicas" not in status and status.get("observedGeneration"):
            return None
        total += status.get("terminatingReplicas", 0)
    return total
