"""The one node of the embedded cluster: schedules every pod at once, runs it, and writes its status as a kubelet does.

A pod that is deleted is not ready first, so that it leaves the endpoints; then it is given time to end; then it is removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc

from adapters.embedded.errors import ApiError
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, format_time, metadata_of, name_of, namespace_of
from adapters.embedded.pods import PREFIX, PodPhase, PodReport, PodRuntime
from adapters.embedded.resources import PODS
from adapters.embedded.storage import Storage

NODE = "embedded"
NODE_IP = "10.0.0.1"
PORTS_ANNOTATION = f"{PREFIX}ports"

_CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")


class Kubelet:
    def __init__(
        self, storage: Storage, runtime: PodRuntime, now: Callable[[], datetime], tasks: anyio.abc.TaskGroup
    ) -> None:
        self._storage = storage
        self._runtime = runtime
        self._now = now
        self._tasks = tasks
        self._running: dict[str, anyio.CancelScope] = {}

    def notice(self, event: StorageEvent) -> None:
        if event.resource.storage_key != PODS.storage_key:
            return
        uid = metadata_of(event.object)["uid"]
        if event.type is EventType.DELETED:
            self._end(uid)
        elif metadata_of(event.object).get("deletionTimestamp"):
            if not (event.previous is not None and metadata_of(event.previous).get("deletionTimestamp")):
                self._tasks.start_soon(self._terminate, event.object, name=f"end of pod {name_of(event.object)}")
        elif event.type is EventType.ADDED:
            scope = self._running[uid] = anyio.CancelScope()
            self._tasks.start_soon(self._run, event.object, scope, name=f"pod {name_of(event.object)}")

    def set_ready(self, namespace: str, name: str, ready: bool) -> None:
        """Make a running pod ready or not, as a readiness probe does."""
        pod = self._storage.get(PODS, namespace, name)
        phase = PodPhase.READY if ready else PodPhase.UNREADY
        self._write(pod, PodReport(phase, pod.get("status", {}).get("podIP", "")))

    async def _run(self, pod: JsonObject, scope: anyio.CancelScope) -> None:
        with scope:
            await self._runtime.run(pod, lambda report: self._report(pod, report))

    async def _terminate(self, pod: JsonObject) -> None:
        uid, namespace, name = metadata_of(pod)["uid"], namespace_of(pod), name_of(pod)
        self._report(pod, PodReport(PodPhase.UNREADY, pod.get("status", {}).get("podIP", "")))
        grace = metadata_of(pod).get("deletionGracePeriodSeconds", 30)
        with anyio.move_on_after(grace):
            await self._runtime.stop(pod)
        self._end(uid)
        try:
            self._storage.delete(PODS, namespace, name, uid=uid, grace_period_seconds=0)
        except ApiError:
            return  # Gone already, by force or by another of its name.

    def _end(self, uid: str) -> None:
        scope = self._running.pop(uid, None)
        if scope is not None:
            scope.cancel()

    def _report(self, pod: JsonObject, report: PodReport) -> None:
        there = self._storage.peek(PODS, namespace_of(pod), name_of(pod))
        if there is not None and metadata_of(there)["uid"] == metadata_of(pod)["uid"]:
            self._write(there, report)

    def _write(self, pod: JsonObject, report: PodReport) -> None:
        changed = {**pod, "spec": {**pod["spec"], "nodeName": NODE}}
        if report.ports:
            ports = json.dumps({str(port): actual for port, actual in report.ports.items()})
            annotations = {**(metadata_of(pod).get("annotations") or {}), PORTS_ANNOTATION: ports}
            changed["metadata"] = {**metadata_of(pod), "annotations": annotations}
        if changed["spec"] != pod["spec"] or changed.get("metadata") != pod.get("metadata"):
            pod = self._storage.update(PODS, changed, manager="kubelet")
        status = pod_status(pod, report, self._now())
        if pod.get("status") != status:
            self._storage.update(PODS, {**pod, "status": status}, subresource="status", manager="kubelet")


def pod_status(pod: JsonObject, report: PodReport, now: datetime) -> JsonObject:
    before: JsonObject = pod.get("status") or {}
    ready = report.phase is PodPhase.READY
    truth = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    status: JsonObject = {
        "phase": "Running" if report.phase in (PodPhase.READY, PodPhase.UNREADY, PodPhase.CRASHED) else "Pending",
        "conditions": [_condition(before, kind, truth[kind], now) for kind in _CONDITIONS],
        "containerStatuses": [_container(before, one, report, now) for one in pod["spec"]["containers"]],
        "hostIP": NODE_IP,
        "startTime": before.get("startTime") or format_time(now),
        "qosClass": before.get("qosClass", "BestEffort"),
    }
    if report.ip:
        status |= {"podIP": report.ip, "podIPs": [{"ip": report.ip}]}
    return status


def _condition(before: JsonObject, kind: str, value: bool, now: datetime) -> JsonObject:
    there: JsonObject = next((one for one in before.get("conditions") or () if one["type"] == kind), {})
    if there.get("status") == str(value):
        return there
    return {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": format_time(now)}


def _container(before: JsonObject, container: JsonObject, report: PodReport, now: datetime) -> JsonObject:
    name = container["name"]
    there: JsonObject = next((one for one in before.get("containerStatuses") or () if one["name"] == name), {})
    restarts = there.get("restartCount", 0) + (report.phase is PodPhase.CRASHED and bool(there))
    waiting = {
        PodPhase.STARTING: {"reason": "ContainerCreating"},
        PodPhase.CRASHED: {"reason": "CrashLoopBackOff", "message": report.message},
        PodPhase.IMAGE_MISSING: {"reason": "ImagePullBackOff", "message": report.message},
    }.get(report.phase)
    running = there.get("state", {}).get("running") or {"startedAt": format_time(now)}
    return {
        "name": name,
        "image": container["image"],
        "imageID": "",
        "ready": report.phase is PodPhase.READY,
        "started": report.phase in (PodPhase.READY, PodPhase.UNREADY),
        "restartCount": restarts,
        "state": {"waiting": waiting} if waiting else {"running": running},
        "lastState": {},
    }
