"""What a kubelet writes into a pod's status for what its runtime reports. Pure; it knows no storage and no node."""

from __future__ import annotations

from datetime import datetime

from adapters.embedded.json_objects import JsonObject, format_time
from adapters.embedded.pods import PodPhase, PodReport

NODE_IP = "10.0.0.1"

_CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
_RUNNING = (PodPhase.READY, PodPhase.UNREADY, PodPhase.CRASHED)
_OVER = {PodPhase.ENDED: "Succeeded", PodPhase.FAILED: "Failed", PodPhase.KILLED: "Failed"}
OVER_PHASES = frozenset(_OVER.values())
_KILLED = 137
_WAITING = {
    PodPhase.STARTING: "ContainerCreating",
    PodPhase.CRASHED: "CrashLoopBackOff",
    PodPhase.IMAGE_MISSING: "ImagePullBackOff",
    PodPhase.MISCONFIGURED: "CreateContainerConfigError",
    PodPhase.BROKEN: "RunContainerError",
}


def pod_status(pod: JsonObject, report: PodReport, now: datetime) -> JsonObject:
    """The status after the report; `pod` has the one before."""
    before: JsonObject = pod.get("status") or {}
    containers = [_container(before, one, report, now) for one in pod["spec"]["containers"]]
    status: JsonObject = {
        "phase": _phase(before, report),
        "conditions": [_condition(before, kind, containers, report, now) for kind in _CONDITIONS],
        "containerStatuses": containers,
        "hostIP": NODE_IP,
        "startTime": before.get("startTime") or format_time(now),
        "qosClass": before.get("qosClass", "BestEffort"),
    }
    if report.ip:
        status |= {"podIP": report.ip, "podIPs": [{"ip": report.ip}]}
    return status


def _phase(before: JsonObject, report: PodReport) -> str:
    """A pod that ran is never pending again."""
    if report.phase in _OVER:
        return _OVER[report.phase]
    return "Running" if report.phase in _RUNNING or before.get("phase") == "Running" else "Pending"


def _condition(before: JsonObject, kind: str, containers: list[JsonObject], report: PodReport, now: datetime) -> JsonObject:
    about_containers = kind in ("ContainersReady", "Ready")
    unready = [one["name"] for one in containers if not one["ready"]]
    value = not (about_containers and unready)
    there: JsonObject = next((one for one in before.get("conditions") or () if one["type"] == kind), {})
    since = there["lastTransitionTime"] if there.get("status") == str(value) else format_time(now)
    condition = {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since}
    if value:
        return condition
    if report.phase in _OVER:
        return {**condition, "reason": "PodCompleted" if report.phase is PodPhase.ENDED else "PodFailed"}
    text = f"containers with unready status: [{' '.join(unready)}]"
    return {**condition, "reason": "ContainersNotReady", "message": text}


def _container(before: JsonObject, container: JsonObject, report: PodReport, now: datetime) -> JsonObject:
    name = container["name"]
    there: JsonObject = next((one for one in before.get("containerStatuses") or () if one["name"] == name), {})
    crashed = report.phase is PodPhase.CRASHED
    return {
        "name": name,
        "image": container["image"],
        "imageID": "",
        "ready": report.phase is PodPhase.READY,
        "started": report.phase in (PodPhase.READY, PodPhase.UNREADY),
        "restartCount": there.get("restartCount", 0) + (crashed and bool(there)),
        "state": _state(there, report, now),
        "lastState": {"terminated": _terminated(there, 1, now)} if crashed else there.get("lastState", {}),
    }


def _state(there: JsonObject, report: PodReport, now: datetime) -> JsonObject:
    if report.phase in _OVER:
        return {"terminated": _terminated(there, _KILLED if report.phase is PodPhase.KILLED else report.exit_code, now)}
    if report.phase in _WAITING:
        waiting = {"reason": _WAITING[report.phase]}
        return {"waiting": {**waiting, "message": report.message} if report.message else waiting}
    return {"running": there.get("state", {}).get("running") or {"startedAt": format_time(now)}}


def _terminated(there: JsonObject, exit_code: int, now: datetime) -> JsonObject:
    state = there.get("state", {})
    started = (state.get("running") or {}).get("startedAt") or format_time(now)
    reason = "Error" if exit_code else "Completed"
    return {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": format_time(now)}
