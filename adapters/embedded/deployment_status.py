"""What a Deployment's status says: counts, and the conditions that `kubectl rollout status` reads. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from adapters.embedded import deployment_rules as rules
from adapters.embedded.json_objects import JsonObject, format_time, metadata_of, name_of, parse_time


def status_of(deployment: JsonObject, owned: list[JsonObject], now: datetime) -> tuple[JsonObject, float | None]:
    """The status, and the seconds until the progress deadline has to be looked at, if one runs."""
    new = rules.new_replica_set_of(deployment, owned)
    before: JsonObject = deployment.get("status") or {}
    available = sum(rules.status_count(one, "availableReplicas") for one in owned)
    counts = {
        "replicas": sum(rules.status_count(one, "replicas") for one in owned),
        "updatedReplicas": rules.status_count(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(rules.status_count(one, "readyReplicas") for one in owned),
        "availableReplicas": available,
        "unavailableReplicas": max(sum(rules.wanted(one) for one in owned) - available, 0),
        "collisionCount": before.get("collisionCount", 0),
    }
    status: JsonObject = {"observedGeneration": metadata_of(deployment)["generation"]}
    status |= {name: count for name, count in counts.items() if count}
    progressing, again = _progressing(deployment, before, status, new, now)
    conditions = [_available(deployment, before, available, now), progressing]
    status["conditions"] = [one for one in conditions if one is not None]
    return status, again


def _available(deployment: JsonObject, before: JsonObject, available: int, now: datetime) -> JsonObject:
    if available >= rules.wanted(deployment) - rules.limits(deployment)[1]:
        return _condition(before, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    text = "Deployment does not have minimum availability."
    return _condition(before, "Available", "False", "MinimumReplicasUnavailable", text, now)


def _progressing(
    deployment: JsonObject, before: JsonObject, status: JsonObject, new: JsonObject | None, now: datetime
) -> tuple[JsonObject | None, float | None]:
    there = _of(before, "Progressing")
    if deployment["spec"].get("paused"):
        return _condition(before, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now), None
    if there.get("reason") == "DeploymentPaused":
        return _condition(before, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now), 0.0
    subject = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(deployment)}"'
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return _condition(before, "Progressing", "True", "NewReplicaSetAvailable", text, now), None
    if _has_progressed(before, status) or not there or there.get("reason") in ("NewReplicaSetAvailable", "DeploymentResumed"):
        made = _condition(before, "Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        return {**made, "lastUpdateTime": format_time(now)}, _patience(deployment)
    return _timed_out(deployment, before, there, subject, now)


def _timed_out(
    deployment: JsonObject, before: JsonObject, there: JsonObject, subject: str, now: datetime
) -> tuple[JsonObject, float | None]:
    left = (parse_time(there["lastUpdateTime"]) + timedelta(seconds=_patience(deployment)) - now).total_seconds()
    if left > 0 or there.get("reason") == "ProgressDeadlineExceeded":
        return there, left if left > 0 else None
    text = f"{subject} has timed out progressing."
    return _condition(before, "Progressing", "False", "ProgressDeadlineExceeded", text, now), None


def _patience(deployment: JsonObject) -> float:
    return float(deployment["spec"].get("progressDeadlineSeconds", 600))


def is_complete(deployment: JsonObject, status: JsonObject) -> bool:
    count = rules.wanted(deployment)
    return all(status.get(name, 0) == count for name in ("updatedReplicas", "replicas", "availableReplicas"))


def _has_progressed(before: JsonObject, status: JsonObject) -> bool:
    def old(of: JsonObject) -> int:
        return int(of.get("replicas", 0) - of.get("updatedReplicas", 0))

    grown = any(
        status.get(name, 0) > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or old(status) < old(before)


def _of(status: JsonObject, kind: str) -> JsonObject:
    return next((one for one in status.get("conditions") or () if one["type"] == kind), {})


def _condition(before: JsonObject, kind: str, value: str, reason: str, message: str, now: datetime) -> JsonObject:
    there = _of(before, kind)
    if (there.get("status"), there.get("reason"), there.get("message")) == (value, reason, message):
        return there
    changed = there.get("lastTransitionTime") if there.get("status") == value else None
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastUpdateTime": format_time(now),
        "lastTransitionTime": changed or format_time(now),
    }
