"""The one node of the embedded cluster: schedules every pod at once, runs it, and writes its status as a kubelet does.

A pod that is deleted stays as it is while it is given time to end (the endpoints leave it out by its deletionTimestamp); then its
containers are reported as ended, and it is removed. Whatever goes wrong with one pod stays with that pod.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc
import structlog

from adapters.embedded.errors import ApiError
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.pod_status import OVER_PHASES, pod_status
from adapters.embedded.pods import PREFIX, PodPhase, PodReport, PodRuntime, run_guarded, stop_guarded
from adapters.embedded.resources import PODS
from adapters.embedded.storage import Storage

log = structlog.get_logger()

NODE = "embedded"
PORTS_ANNOTATION = f"{PREFIX}ports"


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
            await run_guarded(self._runtime, pod, lambda report: self._report(pod, report))

    async def _terminate(self, pod: JsonObject) -> None:
        uid, namespace, name = metadata_of(pod)["uid"], namespace_of(pod), name_of(pod)
        if pod.get("status", {}).get("phase") not in OVER_PHASES:
            with anyio.move_on_after(metadata_of(pod).get("deletionGracePeriodSeconds", 30)) as grace:
                await stop_guarded(self._runtime, pod)
            self._end(uid)
            ending = PodPhase.KILLED if grace.cancelled_caught else PodPhase.ENDED
            self._report(pod, PodReport(ending, pod.get("status", {}).get("podIP", "")))
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
        if there is None or metadata_of(there)["uid"] != metadata_of(pod)["uid"]:
            return
        try:
            self._write(there, report)
        except ApiError as error:
            log.warning("embedded.pod_status_refused", pod=name_of(pod), namespace=namespace_of(pod), why=str(error))

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
